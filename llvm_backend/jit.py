"""Machine code in this process: LLVM links an object in memory, weights stay where they are."""

from __future__ import annotations

import ctypes
import functools
import itertools
from typing import Callable, Sequence

import llvmlite.binding as llvm
import numpy as np

from llvm_backend import codegen
from llvm_backend.artifact import Artifact, weights_name
from llvm_backend.emit_kernel import COMPUTED, attributes, emit_kernel, trip_count
from llvm_backend.expand_math import expand_math
from llvm_backend.kernel import Kernel
from llvm_backend.native import native_target
from llvm_backend.target import Target
from llvm_backend.verify_kernel import verify
from runtime.errors import TargetError
from runtime.foreign_call import address_of

_library_names = itertools.count()
_LIBC = ("memcpy", "memmove", "memset")


class LoadedObject:
    """Linked machine code. The addresses are good for as long as this object lives."""

    def __init__(self, data: bytes, exports: list[str], imports: dict[str, int] | None = None):
        """Links object code for this process; `imports` gives addresses to undefined symbols."""
        self._compiler = llvm.create_lljit_compiler(
            codegen.machine_of(native_target(), jit=True), use_jit_link=False)
        builder = llvm.JITLibraryBuilder().add_object_img(data)
        process = ctypes.CDLL(None)
        for name in _LIBC:
            address = ctypes.cast(getattr(process, name), ctypes.c_void_p).value
            builder.import_symbol(name, address)
        for name, address in (imports or {}).items():
            builder.import_symbol(name, address)
        for name in exports:
            builder.export_symbol(name)
        self._tracker = builder.link(self._compiler, f"aot{next(_library_names)}")
        self.addresses: dict[str, int] = {name: self._tracker[name] for name in exports}


def check_runs_here(target: Target) -> None:
    """TargetError if code for the target cannot run in this process."""
    here = native_target()
    missing = [f for f in target.features if f not in here.features]
    if target.triple.split("-")[0] != here.triple.split("-")[0]:
        raise TargetError(f"code for {target.triple} cannot run here ({here.triple})")
    if missing:
        raise TargetError(f"this CPU lacks {', '.join(missing)}, which {target.name} code uses; "
                          "choose --cpu native")


class JitModel:
    """An artifact as machine code of this process; `address` is its aot_model descriptor's.

    TargetError if it is of another architecture; whether this CPU runs it, its init says."""

    def __init__(self, artifact: Artifact):
        self.description = artifact.description
        here, name = native_target().triple, artifact.description.name
        if artifact.description.target_triple.split("-")[0] != here.split("-")[0]:
            raise TargetError(f"code for {artifact.description.target_triple} cannot run here "
                              f"({here})")
        self._weights = artifact.weights()  # where they are, for as long as the code
        symbol = f"{name}_model"
        imports = {weights_name(name): self._weights.ctypes.data}
        imports.update((f.symbol, address_of(f.symbol)) for f in artifact.description.foreign)
        self._loaded = LoadedObject(artifact.code, [symbol], imports)
        self.address = self._loaded.addresses[symbol]


class KernelFunction:
    """One kernel as a Python function of numpy arrays, for tests, benchmarks and tuning.

    Arrays come in the order of the buffers, with the buffer's storage dtype (bf16 is uint16),
    contiguous, and at least the buffer's size; a parallel kernel runs its whole range. `library`
    holds llvm_text, assembly and object."""

    def __init__(self, kernel: Kernel, target: Target | None = None,
                 library: KernelLibrary | None = None, symbol: str = "k0"):
        self.kernel = kernel
        self.library = library or KernelLibrary([kernel], target or native_target())
        self._trips = trip_count(kernel)
        types = [ctypes.c_void_p] * len(kernel.buffers)
        if self._trips is not None:
            types += [ctypes.c_int64] * 2
        self.function = ctypes.CFUNCTYPE(None, *types)(self.library.loaded.addresses[symbol])

    @property
    def assembly(self) -> str:
        return self.library.assembly()

    def __call__(self, *arrays: np.ndarray) -> None:
        self.bound(*arrays)()

    def bound(self, *arrays: np.ndarray) -> Callable[[], None]:
        """A call on these arrays, which must outlive it."""
        pointers = []
        for b, a in zip(self.kernel.buffers, arrays, strict=True):
            if a.dtype != b.dtype.storage or not a.flags.c_contiguous or a.size < b.size:
                raise ValueError(f"buffer {b.name}: expected {b.size} contiguous {b.dtype}, "
                                 f"got {a.size} {a.dtype}")
            if a.ctypes.data % max(b.align, 1):
                raise ValueError(f"buffer {b.name}: expected alignment {b.align}")
            pointers.append(ctypes.c_void_p(a.ctypes.data))
        trips = (1 << 63) - 1 if self._trips == COMPUTED else self._trips
        extra = () if trips is None else (0, trips)
        return functools.partial(self.function, *pointers, *extra)


class KernelLibrary:
    """Several kernels compiled together, which is cheaper than one by one."""

    def __init__(self, kernels: Sequence[Kernel], target: Target):
        check_runs_here(target)
        for kernel in kernels:
            verify(kernel)
        self.target = target
        self.llvm_text = "\n".join(
            [emit_kernel(expand_math(kernel, target), target, f"k{n}", "dso_local")
             for n, kernel in enumerate(kernels)] + [attributes(target)])
        module = codegen.parse(self.llvm_text)
        machine = codegen.machine_of(target)
        codegen.optimise(module, machine)
        self.object = codegen.object_code(module, machine)
        self.loaded = LoadedObject(self.object, [f"k{n}" for n in range(len(kernels))])
        self.functions = [KernelFunction(kernel, target, self, f"k{n}")
                          for n, kernel in enumerate(kernels)]

    def assembly(self) -> str:
        """The text of the code, generated once more."""
        machine = codegen.machine_of(self.target)
        module = codegen.parse(self.llvm_text)
        codegen.optimise(module, machine)
        return codegen.assembly(module, machine)
