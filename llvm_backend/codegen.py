"""LLVM text -> optimised module -> object or assembly, through llvmlite.

Kernels arrive scheduled, so one pass cleans up: no vectoriser and no unroller runs that could undo
a schedule. The code generator does the rest; its level (-O1 to -O3) changes neither time nor speed.
"""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

from llvm_backend.target import Target
from runtime.errors import CompileError


@functools.lru_cache(maxsize=None)
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


def machine_of(target: Target, jit: bool = False) -> llvm.TargetMachine:
    """A target machine. Rows come from a closed list: a CPU name that LLVM does not know would end
    the process."""
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.attributes, opt=2, reloc="pic",
        codemodel="jitdefault" if jit else "small", jit=jit)


def parse(text: str) -> llvm.ModuleRef:
    """The module of a text. CompileError with LLVM's message means a fault of this compiler."""
    _initialize()
    try:
        return llvm.parse_assembly(text)
    except RuntimeError as e:
        raise CompileError(f"internal error, LLVM rejects the generated code: {e}") from e


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """instcombine, in place: it folds casts, selects, compares and index arithmetic.

    Nothing else pays: on ResNet-18, ConvNeXt, EfficientNet and a transformer encoder neither GVN
    nor the whole of O1 made the code faster (O1 undid schedules in ConvNeXt, 15 % slower), and the
    code generator repeats common subexpressions and loop invariants itself."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_function_pass_manager()
    passes.add_instruction_combine_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def object_code(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> bytes:
    return machine.emit_object(module)


def assembly(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> str:
    machine.set_asm_verbosity(False)
    return machine.emit_assembly(module)
