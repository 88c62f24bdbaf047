"""Compiled: a program's methods as machine code, to call and to save; new or from the cache.

This module loads neither the compiler nor LLVM: code that the cache has (compile_cache.py) is
written to files without them, and run with no more than LLVM's linker.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aot.inputs import Input, has_constants, run_time_arguments
from aot.options import CompileOptions
from aot.progress import Progress, Stats
from llvm_backend.artifact import Artifact
from llvm_backend.linking import write_executable, write_file, write_object, write_shared_library
from runtime.loader import CompiledModel
from runtime.signatures import run_first

if TYPE_CHECKING:
    from aot.jit import ScriptModule
    from llvm_backend.jit import JitModel
    from llvm_backend.program import Program
    from llvm_backend.target import Target
    from lowering.graph import Function
    from lowering.objects import ScriptObject
    from lowering.random_words import RandomState
    from lowering.tensor_ir import TensorProgram

Signature = tuple[str, tuple[Input, ...]]  # a method's name and inputs; one name may have several
_ARRAY = np.ndarray  # its name is looked up a time less in every call
_NO_TENSORS = (np.ndarray, int, float, str, type(None))


@dataclass
class Lowered:
    """What the compiler knows before machine code is made; one function, one tuple of inputs and
    one TensorProgram a method. module: None for the code of a single call."""

    module: ScriptModule | None
    functions: list[Function]
    inputs: list[tuple[Input, ...]]
    programs: list[TensorProgram]
    program: Program
    target: Target

    @property
    def changes_module(self) -> bool:
        """Whether the methods change what the module holds."""
        return any(p.changes for p in self.programs)

    @property
    def signatures(self) -> list[Signature]:
        """The methods by name, with their inputs."""
        return [(p.name, given) for p, given in zip(self.programs, self.inputs)]


class Compiled:
    """Compiled methods. Call it with numpy arrays, or write it with `save`.

    A call runs the first method; `methods[name]`, or the name as an attribute, is any of them. They
    share one state, which begins as the module's; `reset` puts it back, `instance` makes another.
    Machine code is made when first needed: in this process for a call, as an object for files."""

    def __init__(self, options: CompileOptions, signatures: Sequence[Signature],
                 changes_module: bool, lower: Callable[[], Lowered],
                 artifact: Artifact | None = None,
                 made: Callable[[Artifact], None] | None = None,
                 progress: Progress | None = None):
        """signatures: in the order of the code's methods. lower: what to do to have
        the compiler's texts, or code where there is no artifact. made: is told the artifact."""
        self.options, self.changes_module = options, changes_module
        self._lower, self._found = lower, artifact
        self._made, self._progress = made, progress or Progress()
        self._lowered_once: Lowered | None = None
        self._jit: JitModel | None = None
        self._model: CompiledModel | None = None
        self._interpreted: ScriptObject | None = None
        self._random: Any = None  # the interpreter's stream of random numbers
        self._start: ScriptObject | None = None  # the module, for the interpreter to begin with
        by_name: dict[str, list[tuple[Input, ...]]] = {}
        for name, inputs in signatures:
            by_name.setdefault(name, []).append(inputs)
        self.methods = {name: CompiledMethod(self, name, s) for name, s in by_name.items()}
        self._main = next(iter(self.methods.values()))
        self.inputs = signatures[0][1]

    @classmethod
    def of(cls, lowered: Lowered, options: CompileOptions, progress: Progress,
           made: Callable[[Artifact], None] | None = None) -> Compiled:
        """What has just been compiled to kernels."""
        compiled = cls(options, lowered.signatures, lowered.changes_module, lambda: lowered, None,
                       made, progress)
        compiled.keep_start()
        return compiled

    def __call__(self, *args: Any) -> Any:
        """Runs it: numpy in, numpy out, in the structure of the method's arguments and results.
        Tensors, ours or PyTorch's, give such tensors.

        Releases the GIL while it runs; safe from several threads at once."""
        for x in args:
            if type(x) is not _ARRAY and not isinstance(x, _NO_TENSORS):
                return importlib.import_module("aot.torch_bridge").call_on_tensors(self._main, args)
        main = self._main
        return main.direct(*args) if len(args) == main.direct_count else main(*args)

    def __getattr__(self, name: str) -> CompiledMethod:
        methods = self.__dict__.get("methods", {})
        if name in methods:
            return methods[name]
        raise AttributeError(f"{type(self).__name__} has no attribute or method {name!r}")

    @property
    def lowered(self) -> Lowered:
        """What the compiler knows of it; compiles what came from the cache."""
        if self._lowered_once is None:
            self._lowered_once = self._lower()
        return self._lowered_once

    @property
    def artifact(self) -> Artifact:
        """The machine code."""
        if self._found is None:
            compile_program = importlib.import_module("llvm_backend.compile").compile_program
            self._found = compile_program(self.lowered.program, self.lowered.target,
                                          self._progress.stage)
            if self._made is not None:
                self._made(self._found)
        return self._found

    def instance(self) -> CompiledModel:
        """A model of the same code with a state of its own."""
        if self._jit is None:
            jit = importlib.import_module("llvm_backend.jit")
            artifact = self.artifact
            self._progress.stage("link")
            self._jit = jit.JitModel(artifact)
        return CompiledModel(self._jit.address, keepalive=self._jit, threads=self.options.threads)

    @property
    def model(self) -> CompiledModel:
        """The instance that calls run on."""
        if self._model is None:
            self._model = self.instance()
        return self._model

    def manual_seed(self, seed: int) -> None:
        """Begins its random numbers anew: those of PyTorch after torch.manual_seed(seed)."""
        self.model.manual_seed(seed)

    def draw_from(self, stream: Callable[[], RandomState]) -> None:
        """Makes calls draw their random numbers from a generator of the process, and move it."""
        places = self.lowered.program.generator
        if places:
            shared = importlib.import_module("aot.shared_stream")
            self.model.lend(shared.SharedStream(stream, places))

    def reset(self) -> None:
        """Puts the state, compiled and interpreted, back to the start."""
        self._interpreted = self._random = None
        if self._model is not None:
            self._model.reset()

    def copy(self) -> CompiledModel:
        """A model of the same code whose state begins as this one's is now."""
        return self.model.copy()

    def save_state(self) -> bytes:
        """What the compiled model keeps from call to call, for `restore_state`."""
        return self.model.save_state()

    def restore_state(self, saved: bytes) -> None:
        """Puts the state back to what `save_state` gave; InputError where it is none."""
        self.model.restore_state(saved)

    def keep_start(self) -> None:
        """Keeps the module as it is now, for the interpreter to begin with."""
        module = self.lowered.module
        if module is not None:
            copy = importlib.import_module("lowering.objects").copy_object
            self._start = copy(module.object) if self.changes_module else module.object

    def interpret(self, *args: Any) -> Any:
        """The first method in the numpy interpreter."""
        return self._main.interpret(*args)

    def _interpret(self, method: str, args: tuple) -> Any:
        """A method in the interpreter, on a copy of the module as it was when it was compiled."""
        if self._start is None:
            self.keep_start()
        assert self._start is not None, "a call's code knows no module"
        if self._interpreted is None:
            copy = importlib.import_module("lowering.objects").copy_object
            self._interpreted = copy(self._start) if self.changes_module else self._start
        if self._random is None:
            words = importlib.import_module("lowering.random_words")
            self._random = words.RandomState(words.DEFAULT_SEED)
        lowered = self.lowered
        functions = {p.name: f for p, f in zip(lowered.programs, lowered.functions)}
        run_method = importlib.import_module("lowering.run_method").run_method
        return run_method(functions[method], [self._interpreted, *args], generator=self._random)

    def object_bytes(self) -> bytes:
        """The relocatable object, weights included."""
        return self.artifact.object_bytes()

    def header_text(self) -> str:
        """The C header of the object."""
        return importlib.import_module("llvm_backend.header").header_text(
            self.artifact.description)

    def text(self, kind: str) -> str:
        """One stage as text: graph, code, tensor, kernels, llvm or asm."""
        lowered = self.lowered
        if kind in ("graph", "code"):
            assert lowered.module is not None, "a call's code knows no module"
            methods = [lowered.module.method(name) for name in self.methods]
            return "\n".join(str(m.graph) if kind == "graph" else m.code for m in methods)
        if kind == "tensor":
            printer = importlib.import_module("lowering.print_linalg")
            return printer.print_tensor_programs(lowered.programs)
        if kind == "kernels":
            printer = importlib.import_module("llvm_backend.print_mlir")
            return printer.print_kernels(lowered.program.kernels())
        program_text = importlib.import_module("llvm_backend.compile").program_text
        wanted = {"llvm": "llvm", "asm": "assembly"}[kind]
        return program_text(lowered.program, lowered.target, wanted)

    @property
    def stats(self) -> Stats:
        """The figures that sum it up."""
        artifact = self.artifact
        return Stats(artifact.kernels, artifact.flops, len(artifact.code),
                     artifact.constant_bytes, artifact.description.arena_bytes)

    def save(self, path: str | Path) -> None:
        """Writes an object (.o), a shared library (.so) or, with any other name, a program. Objects
        and libraries get a header beside them."""
        path = Path(path)
        if path.suffix == ".o":
            write_object(self.artifact.object_parts(), path)
        elif path.suffix == ".so":
            write_shared_library(self.artifact.object_parts(), path, self.options.name,
                                 self._foreign)
        else:
            self.save_program(path)
            return
        write_file(self.header_text(), path.with_suffix(".h"))

    def save_program(self, path: str | Path) -> None:
        """Writes a program, whatever its name ends in."""
        write_executable(self.artifact.object_parts(), Path(path), self.options.name,
                         self._foreign)

    @property
    def _foreign(self) -> list[str]:
        """The C functions that it calls."""
        return [f.symbol for f in self.artifact.description.foreign]


class CompiledMethod:
    """One method of a Compiled: callable with numpy arrays. `signatures` has the inputs of each
    that it was compiled for; a call runs the first one that its arguments fit."""

    def __init__(self, compiled: Compiled, name: str, signatures: list[tuple[Input, ...]]):
        self.name, self.signatures = name, signatures
        self._compiled = compiled
        self._constants = any(map(has_constants, signatures))
        self._method: Callable[..., Any] | None = None
        # What a call with so many arguments comes to, once the first has been made.
        self.direct: Callable[..., Any] | None = None
        self.direct_count = -1

    def __call__(self, *args: Any) -> Any:
        """Runs it on the Compiled's instance."""
        if self._method is None:
            method = self._method = self._compiled.model.methods[self.name]
            if not self._constants and method.direct_count >= 0:
                self.direct, self.direct_count = method.direct, method.direct_count
        if not self._constants:
            return self._method(*args)
        if len(self.signatures) == 1:
            return self._method(*run_time_arguments(self.signatures[0], args))
        calls = [(f"({', '.join(map(str, inputs))})", _without_constants(inputs, method))
                 for inputs, method in zip(self.signatures, self._method.methods)]
        return run_first(self.name, calls, *args)

    def interpret(self, *args: Any) -> Any:
        """The same method in the numpy interpreter, which has a state of its own."""
        return self._compiled._interpret(self.name, args)


def _without_constants(inputs: tuple[Input, ...],
                       method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: method(*run_time_arguments(inputs, args))
