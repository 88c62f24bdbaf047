"""The whole way from an archive to machine code, in order.

    archive --read--> module --evaluate--> TensorProgram --passes--> TensorProgram
            --lower--> Program of kernels --LLVM--> object, library, program, or code in this process
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aot.inputs import Input, input_of_value
from aot.jit import Method, ScriptModule, load
from aot.options import CompileOptions, environment
from aot.progress import Progress, Stats
from aot.specs import as_specs, example_inputs, has_constants, run_time_arguments
from lowering.evaluate import evaluate
from lowering.graph import Function
from lowering.lower import lower_program
from lowering.objects import ScriptObject
from lowering.optimize import optimize
from lowering.passes.rewriting import remove_dead
from lowering.print_linalg import print_tensor_program
from lowering.tensor_ir import TensorProgram
from llvm_backend.compile import Artifact, JitModel, compile_program
from llvm_backend.header import header_text
from llvm_backend.linking import write_executable, write_file, write_object, write_shared_library
from llvm_backend.native import resolve_target
from llvm_backend.print_mlir import print_kernels
from llvm_backend.program import Program
from runtime.errors import CompileError
from runtime.loader import CompiledModel


def archive_text(path: Path, options: CompileOptions, kind: str) -> str:
    """The Graph ('graph') or the code ('code') of the archive's method, as TorchScript prints it."""
    method = _method(load(path), options.method, path)
    return str(method.graph) if kind == "graph" else method.code


def compile_archive(path: Path, options: CompileOptions, progress: Progress) -> Compiled:
    """Reads and compiles an archive."""
    progress.stage("read")
    return compile_module(load(path), options, progress, path)


def compile_module(module: ScriptModule, options: CompileOptions, progress: Progress,
                   where: object = "the module") -> Compiled:
    """Compiles one method of a module. AotError for whatever cannot be compiled."""
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
        return _compile(None, function, instance, inputs, options, Progress())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of small nodes live to the end: the collector would walk them over and over, for half
    of the time that lowering takes."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _compile_module(module: ScriptModule, options: CompileOptions, progress: Progress,
                    where: object) -> Compiled:
    method = _method(module, options.method, where)
    inputs = options.inputs if options.inputs is not None else example_inputs(method, where)
    return _compile(module, method.function, module.object, inputs, options, progress)


def _compile(module: ScriptModule | None, function: Function, instance: ScriptObject | None,
             inputs: tuple[Input, ...], options: CompileOptions, progress: Progress) -> Compiled:
    target = replace(resolve_target(options.cpu), threads=options.threads)

    progress.stage("evaluate")
    program = evaluate(function, instance, as_specs(inputs))
    _debug(2, lambda: str(function.graph))

    progress.stage("optimise")
    if options.optimize:
        optimize(program, target, options.without)
    else:
        remove_dead(program.body)
    _debug(3, lambda: print_tensor_program(program))

    progress.stage("schedule", len(program.body.ops))
    lowered = lower_program(program, target, options.name, options.optimize,
                            lambda done, total: progress.step(f"{done}/{total}"))
    _debug(4, lambda: print_kernels(lowered.kernels()))
    return Compiled(module, options, inputs, program, lowered, target, progress)


def _method(module: ScriptModule, name: str, where: object) -> Method:
    methods = module.method_names()
    if name not in methods:
        raise CompileError(f"{where}: no method '{name}'; it has {', '.join(methods) or 'none'}")
    return module.method(name)


def _debug(level: int, text: Callable[[], str]) -> None:
    if environment().debug >= level:
        print(text(), file=sys.stderr)


class Compiled:
    """A compiled method. Call it with numpy arrays, or write it with `save`.

    Machine code is made when first needed: in this process for a call, as an object for files."""

    def __init__(self, module: ScriptModule | None, options: CompileOptions, inputs: tuple[Input, ...],
                 program: TensorProgram, lowered: Program, target, progress: Progress):
        self.options, self.inputs = options, inputs
        self._constants = has_constants(inputs)
        self._module, self._program, self._lowered = module, program, lowered
        self._target, self._progress = target, progress
        self._artifact: Artifact | None = None
        self._model: CompiledModel | None = None

    def __call__(self, *args: Any) -> Any:
        """Runs it: numpy in, numpy out, in the structure of the method's arguments and results.

        Releases the GIL while it runs; safe from several threads at once."""
        if self._model is None:
            self._model = self._jit()
        if self._constants:
            args = run_time_arguments(self.inputs, args)
        return self._model(*args)

    def _jit(self) -> CompiledModel:
        jit = JitModel(self._lowered, self._target, self._progress.stage)
        return CompiledModel(jit.address, keepalive=jit, threads=self.options.threads)

    def interpret(self, *args: Any) -> Any:
        """The same method in the numpy interpreter."""
        return self._method.interpret(*args)

    @property
    def _method(self) -> Method:
        assert self._module is not None, "a call's code knows no module"
        return self._module.method(self.options.method)

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
            method = self._method
            return str(method.graph) if kind == "graph" else method.code
        if kind == "tensor":
            return print_tensor_program(self._program)
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
