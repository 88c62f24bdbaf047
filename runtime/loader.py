"""Run compiled models from Python: numpy arrays in, numpy arrays out. Needs numpy and ctypes only.

    model = load_library("digits.so")        # or CompiledModel(address_of_descriptor, keepalive)
    logits = model(images)                   # the method `forward`, or the only one
    other = model.methods["encode"](x, n=3)  # any method; model.encode(x, n=3) is the same

An argument may be anything that gives an array (numpy, DLPack, __array__); bfloat16 is passed and
returned as its bits in uint16. Calls release the GIL and may come from many threads: each runs on
an instance of its own. A model with state (`description.stateful`) has one instance and runs one
call at a time, in the order of the calls; `reset()` puts it back to the archive's state, `copy()`
is a model that goes on from there by itself, `save_state` and `restore_state` are for files.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from runtime import abi
from runtime.call import Method
from runtime.description import ModelDescription
from runtime.errors import InputError
from runtime.instances import Instances, Lent
from runtime.library_file import open_library
from runtime.pool import pool_options
from runtime.reports import REPORT
from runtime.signatures import Signatures

ENTRY = "aot_model_entry"  # the descriptor's name in every shared library


class CompiledModel:
    """A model at a descriptor's address in this process. See the module's text.

    keepalive: what holds the code in memory (a library, a JIT engine), kept as long as the model
    or one of its methods. threads: how many threads one call may use; 0 is all CPUs. seed: of its
    random numbers, 0 is the default. library: where to look for the thread pool first.
    """

    def __init__(
        self,
        address: int,
        keepalive: object = None,
        threads: int = 1,
        seed: int = 0,
        library: ctypes.CDLL | None = None,
    ):
        pool = pool_options(threads, library)
        options = abi.Options(pool.threads, pool.parallel_for, pool.pool, seed, REPORT)
        self._run_on(Instances(address, keepalive, options))

    def _run_on(self, instances: Instances) -> None:
        self._instances = instances
        # Methods hold the instances, not this object: no cycle, so memory goes with the last user.
        rows: dict[str, list[Method]] = {}
        for i, m in enumerate(self.description.methods):
            rows.setdefault(m.name, []).append(Method(self._instances, i))
        self.methods: dict[str, Method | Signatures] = {
            name: methods[0] if len(methods) == 1 else Signatures(methods)
            for name, methods in rows.items()
        }
        for name, method in self.methods.items():
            if not hasattr(type(self), name):  # or it is to be had from `methods` only
                self.__dict__.setdefault(name, method)
        self._main = self.methods.get("forward")
        if self._main is None and len(self.methods) == 1:
            (self._main,) = self.methods.values()

    @property
    def description(self) -> ModelDescription:
        """What the object says about itself: methods, types, sizes, target."""
        return self._instances.description

    @property
    def name(self) -> str:
        """The name that the model was compiled with."""
        return self.description.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the method `forward`, or the only method."""
        main = self._main
        if main is None:
            raise InputError(f"{self.name} has no method 'forward': call one of "
                             f"{', '.join(self.methods)}")
        if kwargs or len(args) != main.direct_count:
            return main(*args, **kwargs)
        return main.direct(*args)

    def __getattr__(self, name: str) -> Method | Signatures:
        raise AttributeError(f"{type(self).__name__} has no attribute or method {name!r}")

    def manual_seed(self, seed: int) -> None:
        """Begin the model's random numbers anew: those of PyTorch's CPU generator after
        torch.manual_seed(seed). Nothing happens to a model without random numbers."""
        self._instances.seed(seed)

    def lend(self, lent: Lent | None) -> None:
        """What calls find in the instance, and leave there: in models that have state."""
        self._instances.lent = lent

    def reset(self) -> None:
        """Put the model's state (buffers that calls changed, random numbers) back to the start."""
        self._instances.reset()

    def copy(self) -> CompiledModel:
        """Another model of the same code, whose state begins as this one's is now."""
        other = CompiledModel.__new__(CompiledModel)
        other._run_on(self._instances.copy())
        return other

    def save_state(self) -> bytes:
        """What the model keeps from call to call, for `restore_state` in this process or another;
        empty where it keeps nothing."""
        return self._instances.save()

    def restore_state(self, saved: bytes) -> None:
        """Put the state back to what `save_state` gave. InputError, and the state stays, where the
        bytes are not of this model."""
        self._instances.restore(saved)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} '{self.name}' for {self.description.target_cpu}"]
        return "\n  ".join([*lines, *map(str, self.description.methods)])


class CompiledLibrary(CompiledModel):
    """A model in a shared library. `path` is the file."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1, seed: int = 0):
        self.path = os.path.abspath(os.fspath(path))
        library = open_library(self.path)
        try:
            address = ctypes.addressof(ctypes.c_char.in_dll(library, ENTRY))
        except ValueError:
            raise InputError(f"{self.path}: not a compiled model: the library does not define "
                             f"{ENTRY}") from None
        super().__init__(address, library, threads, seed, library)


def load_library(
    path: str | os.PathLike[str], threads: int = 1, seed: int = 0
) -> CompiledLibrary:
    """The model of a shared library that `aot-compile --emit lib` wrote.

    The file is code and runs: load only what you trust. InputError: no such file, not a library,
    not a model; TargetError: this CPU cannot run it."""
    return CompiledLibrary(path, threads, seed)
