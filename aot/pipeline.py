"""The whole way from an archive to kernels, in order; compiled.py has the rest of it.

    archive --read--> module --evaluate--> TensorProgram --passes--> TensorProgram
            --lower--> Program of kernels --LLVM--> object, library, program, code in this process
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aot.compiled import Compiled, Lowered
from aot.inputs import Input, input_of_value
from aot.options import CompileOptions, environment
from aot.progress import Progress
from aot.specs import as_choices, as_specs, example_inputs
from aot.tuned import Rows, measured_rows
from lowering.evaluate import evaluate_methods
from lowering.graph import Function
from lowering.lower import lower_programs
from lowering.objects import ScriptObject
from lowering.optimize import optimize
from lowering.passes.rewriting import remove_dead
from lowering.print_linalg import print_tensor_programs
from lowering.schedule.knobs import Choices, Measured, Seen
from lowering.schedule.product import Product
from lowering.sizes import Unsupported
from lowering.tensor_ir import TensorProgram
from llvm_backend.native import resolve_target
from llvm_backend.print_mlir import print_kernels
from llvm_backend.program import Program
from llvm_backend.target import TARGETS, Target
from llvm_backend.versions import in_order, merge_versions
from runtime.errors import CompileError

if TYPE_CHECKING:
    from aot.jit import Method, ScriptModule


def archive_text(module: ScriptModule, options: CompileOptions, kind: str, path: Path) -> str:
    """The Graph ('graph') or the code ('code') of the module's methods, in TorchScript's form."""
    methods = [_method(module, name, path) for name, _ in options.methods]
    return "\n".join(str(m.graph) if kind == "graph" else m.code for m in methods)


def compile_module(module: ScriptModule, options: CompileOptions, progress: Progress,
                   where: object = "the module") -> Lowered:
    """Compiles methods of a module to kernels. AotError for whatever cannot be compiled."""
    functions, inputs = _requested(module, options, where)
    return _compile(module, functions, module.object, inputs, options, progress)


def _requested(module: ScriptModule, options: CompileOptions,
               where: object) -> tuple[list[Function], list[tuple[Input, ...]]]:
    """The functions of the methods that the options name, and the inputs of each."""
    methods = [_method(module, name, where) for name, _ in options.methods]
    inputs = [given if given is not None else example_inputs(method, where)
              for method, (_, given) in zip(methods, options.methods)]
    return [method.function for method in methods], inputs


def compile_call(function: Function, instance: ScriptObject | None, args: Sequence[object],
                 without: frozenset[str] = frozenset(), more: Sequence[Input] = ()) -> Compiled:
    """Compiles a function, or a method of an object, for arguments like these numpy arrays and
    Python values; what is no tensor is compiled in. `more` are inputs that follow them. `without`
    names passes that are left out."""
    names = [p.name for p in function.parameters[0 if instance is None else 1:]]
    inputs = (*(input_of_value(value, name) for value, name in zip(args, names)), *more)
    options = CompileOptions(inputs, function.name.rpartition(".")[2], "call", without=without)
    lowered = _compile(None, [function], instance, [inputs], options, Progress())
    compiled = Compiled.of(lowered, options, Progress())
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


def _compile(module: ScriptModule | None, functions: list[Function],
             instance: ScriptObject | None, inputs: list[tuple[Input, ...]],
             options: CompileOptions, progress: Progress) -> Lowered:
    with _collector_paused():
        return _compile_stages(module, functions, instance, inputs, options, progress)


def _compile_stages(module: ScriptModule | None, functions: list[Function],
                    instance: ScriptObject | None, inputs: list[tuple[Input, ...]],
                    options: CompileOptions, progress: Progress) -> Lowered:
    measured = measured_rows(options)
    targets = _targets(options, {name: Measured(rows) for name, rows in measured.items() if rows})
    inputs = _choices(functions, inputs)
    versions = [_lowered(functions, inputs, instance, target, options, progress)
                for target in targets]
    programs, kernels = versions[0]
    merged = merge_versions([kernels for _, kernels in versions], targets)
    target = targets[0] if len(targets) == 1 else TARGETS["x86-64"]  # of what is no version
    return Lowered(module, functions, inputs, programs, merged, target)


def products_of(module: ScriptModule, options: CompileOptions, where: object, progress: Progress,
                measured: dict[str, Rows]) -> Iterator[tuple[str, Target, dict[str, Product], int]]:
    """For each CPU of the options in turn: --cpu's name of it, its row, the products that the
    methods have there by their texts, and the bytes of the weights. A CPU reads the weights as one
    before it packs them; so the caller fills in `measured` for it, by name, before it goes on."""
    names = [t.name for t in _targets(options, {})]
    for name in names:
        choices: dict[str, Choices] = {n: Measured(rows) for n, rows in measured.items()}
        choices[name] = seen = Seen()
        targets = _targets(options, choices)
        target = next(t for t in targets if t.name == name)
        functions, inputs = _requested(module, options, where)
        with _collector_paused():
            _, program = _lowered(functions, _choices(functions, inputs), module.object, target,
                                  options, progress)
        yield name, target, seen.products, program.constant_bytes


def _targets(options: CompileOptions, choices: Mapping[str, Choices]) -> list[Target]:
    """The rows of --cpu in the order in which a CPU is asked; choices: by --cpu's name of a row."""
    names = dict.fromkeys(name.strip() for name in options.cpu.split(","))
    rows = in_order([replace(resolve_target(n), choices=choices.get(n)) for n in names])
    return [replace(row, threads=options.threads, precision=options.precision) for row in rows]


def _lowered(functions: list[Function], inputs: list[tuple[Input, ...]],
             instance: ScriptObject | None, target: Target, options: CompileOptions,
             progress: Progress) -> tuple[list[TensorProgram], Program]:
    """The methods for one CPU. A size of run time that a pass or schedule would have to know is a
    CompileError, as where an operator would."""
    try:
        return _brought_to_kernels(functions, inputs, instance, target, options, progress)
    except Unsupported as e:
        raise CompileError(f"the sizes that each call decides keep the program from being "
                           f"compiled: {e}; give them as numbers") from e


def _brought_to_kernels(functions: list[Function], inputs: list[tuple[Input, ...]],
                        instance: ScriptObject | None, target: Target, options: CompileOptions,
                        progress: Progress) -> tuple[list[TensorProgram], Program]:
    progress.stage("evaluate")
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
    kernels = lower_programs(programs, target, options.name, options.optimize,
                             lambda done, total: progress.step(f"{done}/{total}"))
    _debug(4, lambda: print_kernels(kernels.kernels()))
    return programs, kernels


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
