"""The whole way from an archive to machine code, in order.

    archive --read--> module --evaluate--> TensorProgram --passes--> TensorProgram
            --lower--> Program of kernels --LLVM--> object, library, program, code in this process
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aot.inputs import Input, input_of_value
from aot.jit import Method, ScriptModule, load
from aot.options import CompileOptions, environment
from aot.progress import Progress, Stats
from aot.specs import (
    as_choices, as_specs, example_inputs, has_constants, run_time_arguments,
)  # fmt: skip
from lowering.evaluate import evaluate_methods
from lowering.graph import Function
from lowering.lower import lower_programs
from lowering.objects import ScriptObject, copy_object
from lowering.optimize import optimize
from lowering.passes.rewriting import remove_dead
from lowering.print_linalg import print_tensor_programs
from lowering.random_words import DEFAULT_SEED, RandomState
from lowering.run_method import run_method
from lowering.tensor_ir import TensorProgram
from llvm_backend.compile import Artifact, JitModel, compile_program
from llvm_backend.header import header_text
from llvm_backend.linking import write_executable, write_file, write_object, write_shared_library
from llvm_backend.native import resolve_target
from llvm_backend.print_mlir import print_kernels
from llvm_backend.program import Program
from llvm_backend.target import Target
from runtime.errors import CompileError
from runtime.loader import CompiledModel
from runtime.signatures import run_first

_NO_TENSORS = (np.ndarray, int, float, str, type(None))


def archive_text(path: Path, options: CompileOptions, kind: str) -> str:
    """The Graph ('graph') or the code ('code') of the archive's methods, in TorchScript's form."""
    module = load(path)
    return _source([_method(module, name, path) for name, _ in options.methods], kind)


def _source(methods: Sequence[Method], kind: str) -> str:
    return "\n".join(str(m.graph) if kind == "graph" else m.code for m in methods)


def compile_archive(path: Path, options: CompileOptions, progress: Progress) -> Compiled:
    """Reads and compiles an archive."""
    progress.stage("read")
    return compile_module(load(path), options, progress, path)


def compile_module(module: ScriptModule, options: CompileOptions, progress: Progress,
                   where: object = "the module") -> Compiled:
    """Compiles methods of a module. AotError for whatever cannot be compiled."""
    with _collector_paused():
        return _compile_module(module, options, progress, where)


def compile_call(function: Function, instance: ScriptObject | None, args: Sequence[object],
                 without: frozenset[str] = frozenset()) -> Compiled:
    """Compiles a function, or a method of an object, for arguments like these numpy arrays and
    Python values; what is no tensor is compiled in. `without` names passes that are left out."""
    names = [p.name for p in function.parameters[0 if instance is None else 1:]]
    inputs = tuple(input_of_value(value, name) for value, name in zip(args, names))
    options = CompileOptions(inputs, function.name.rpartition(".")[2], "call", without=without)
    with _collector_paused():
        compiled = _compile(None, [function], instance, [inputs], options, Progress())
    if compiled.changes_module:
        raise CompileError(f"{function.name} changes what its object holds, which is then kept in "
                           "the compiled code and not in the object")
    return compiled


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of small nodes live to the end: the collector would walk them over and over, for
    half of the time that lowering takes."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _compile_module(module: ScriptModule, options: CompileOptions, progress: Progress,
                    where: object) -> Compiled:
    methods = [_method(module, name, where) for name, _ in options.methods]
    inputs = [given if given is not None else example_inputs(method, where)
              for method, (_, given) in zip(methods, options.methods)]
    functions = [method.function for method in methods]
    return _compile(module, functions, module.object, inputs, options, progress)


def _compile(module: ScriptModule | None, functions: list[Function],
             instance: ScriptObject | None, inputs: list[tuple[Input, ...]],
             options: CompileOptions, progress: Progress) -> Compiled:
    target = replace(resolve_target(options.cpu), threads=options.threads)

    progress.stage("evaluate")
    inputs = _choices(functions, inputs)
    programs = evaluate_methods([(f, as_specs(i)) for f, i in zip(functions, inputs)], instance)
    _debug(2, lambda: "\n".join(str(f.graph) for f in functions))

    progress.stage("optimise")
    for program in programs:
        if options.optimize:
            optimize(program, target, options.without)
        else:
            remove_dead(program.body)
    _debug(3, lambda: print_tensor_programs(programs))

    progress.stage("schedule", sum(len(p.body.ops) for p in programs))
    lowered = lower_programs(programs, target, options.name, options.optimize,
                             lambda done, total: progress.step(f"{done}/{total}"))
    _debug(4, lambda: print_kernels(lowered.kernels()))
    return Compiled(module, options, functions, inputs, programs, lowered, target, progress)


def _choices(functions: list[Function],
             inputs: list[tuple[Input, ...]]) -> list[tuple[Input, ...]]:
    """The inputs, with numbers that choose among the signatures of a method as such."""
    inputs = list(inputs)
    for function in dict.fromkeys(functions):
        rows = [k for k, f in enumerate(functions) if f is function]
        for k, signature in zip(rows, as_choices([inputs[k] for k in rows])):
            inputs[k] = signature
    return inputs


def _method(module: ScriptModule, name: str, where: object) -> Method:
    methods = module.method_names()
    if name not in methods:
        raise CompileError(f"{where}: no method '{name}'; it has {', '.join(methods) or 'none'}")
    return module.method(name)


def _debug(level: int, text: Callable[[], str]) -> None:
    if environment().debug >= level:
        print(text(), file=sys.stderr)


class Compiled:
    """Compiled methods. Call it with numpy arrays, or write it with `save`.

    A call runs the first method; `methods[name]`, or the name as an attribute, is any of them. They
    share one state, which begins as the module's; `reset` puts it back, `instance` makes another.
    Machine code is made when first needed: in this process for a call, as an object for files."""

    def __init__(self, module: ScriptModule | None, options: CompileOptions,
                 functions: list[Function], inputs: list[tuple[Input, ...]],
                 programs: list[TensorProgram], lowered: Program, target: Target,
                 progress: Progress):
        self.options, self.inputs = options, inputs[0]
        self._module, self._programs, self._lowered = module, programs, lowered
        self._functions = {p.name: f for p, f in zip(programs, functions)}
        self._target, self._progress = target, progress
        self._artifact: Artifact | None = None
        self._jit: JitModel | None = None
        self._model: CompiledModel | None = None
        self._interpreted: ScriptObject | None = None
        self._generator = RandomState(DEFAULT_SEED)  # the interpreter's
        self._start: ScriptObject | None = None  # the module, for the interpreter to begin with
        if module is not None:
            self._start = copy_object(module.object) if self.changes_module else module.object
        signatures: dict[str, list[tuple[Input, ...]]] = {}
        for p, i in zip(programs, inputs):
            signatures.setdefault(p.name, []).append(i)
        self.methods = {name: CompiledMethod(self, name, s) for name, s in signatures.items()}
        self._main = self.methods[programs[0].name]

    def __call__(self, *args: Any) -> Any:
        """Runs it: numpy in, numpy out, in the structure of the method's arguments and results.
        Tensors, ours or PyTorch's, give such tensors.

        Releases the GIL while it runs; safe from several threads at once."""
        for x in args:
            if type(x) is not np.ndarray and not isinstance(x, _NO_TENSORS):
                return importlib.import_module("aot.accept").call_on_tensors(self._main, args)
        return self._main(*args)

    def __getattr__(self, name: str) -> CompiledMethod:
        methods = self.__dict__.get("methods", {})
        if name in methods:
            return methods[name]
        raise AttributeError(f"{type(self).__name__} has no attribute or method {name!r}")

    @property
    def changes_module(self) -> bool:
        """Whether the methods change what the module holds."""
        return any(p.changes for p in self._programs)

    def instance(self) -> CompiledModel:
        """A model of the same code with a state of its own."""
        if self._jit is None:
            self._jit = JitModel(self._lowered, self._target, self._progress.stage)
        return CompiledModel(self._jit.address, keepalive=self._jit, threads=self.options.threads)

    @property
    def model(self) -> CompiledModel:
        """The instance that calls run on."""
        if self._model is None:
            self._model = self.instance()
        return self._model

    def reset(self) -> None:
        """Puts the state, compiled and interpreted, back to the start."""
        self._interpreted = None
        self._generator = RandomState(DEFAULT_SEED)
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

    def interpret(self, *args: Any) -> Any:
        """The first method in the numpy interpreter."""
        return self._main.interpret(*args)

    def _interpret(self, method: str, args: tuple) -> Any:
        """A method in the interpreter, on a copy of the module as it was when it was compiled."""
        if self._interpreted is None:
            assert self._start is not None, "a call's code knows no module"
            self._interpreted = copy_object(self._start) if self.changes_module else self._start
        return run_method(self._functions[method], [self._interpreted, *args],
                          generator=self._generator)

    @property
    def artifact(self) -> Artifact:
        if self._artifact is None:
            self._artifact = compile_program(self._lowered, self._target, ("object",),
                                             self._progress.stage)
        return self._artifact

    def object_bytes(self) -> bytes:
        assert self.artifact.object is not None
        return self.artifact.object

    def header_text(self) -> str:
        return header_text(self.artifact.description)

    def text(self, kind: str) -> str:
        """One stage as text: graph, code, tensor, kernels, llvm or asm."""
        if kind in ("graph", "code"):
            assert self._module is not None, "a call's code knows no module"
            return _source([self._module.method(name) for name in self.methods], kind)
        if kind == "tensor":
            return print_tensor_programs(self._programs)
        if kind == "kernels":
            return print_kernels(self._lowered.kernels())
        wanted = {"llvm": "llvm", "asm": "assembly"}[kind]
        artifact = compile_program(self._lowered, self._target, (wanted,), self._progress.stage)
        text = artifact.llvm_text if kind == "llvm" else artifact.assembly
        assert text is not None
        return text

    @property
    def stats(self) -> Stats:
        flops = sum(m.flops for m in self.artifact.description.methods)
        return Stats(self.artifact.kernels, flops, self.artifact.code_bytes,
                     self._lowered.constant_bytes, self._lowered.arena_bytes)

    def save(self, path: str | Path) -> None:
        """Writes an object (.o), a shared library (.so) or, with any other name, a program. Objects
        and libraries get a header beside them."""
        path = Path(path)
        code = self.object_bytes()
        if path.suffix == ".o":
            write_object(code, path)
        elif path.suffix == ".so":
            write_shared_library(code, path, self.options.name)
        else:
            write_executable(code, path, self.options.name)
            return
        write_file(self.header_text(), path.with_suffix(".h"))


class CompiledMethod:
    """One method of a Compiled: callable with numpy arrays. `signatures` has the inputs of each
    that it was compiled for; a call runs the first one that its arguments fit."""

    def __init__(self, compiled: Compiled, name: str, signatures: list[tuple[Input, ...]]):
        self.name, self.signatures = name, signatures
        self._compiled = compiled
        self._constants = any(map(has_constants, signatures))
        self._method: Callable[..., Any] | None = None

    def __call__(self, *args: Any) -> Any:
        """Runs it on the Compiled's instance."""
        if self._method is None:
            self._method = self._compiled.model.methods[self.name]
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
