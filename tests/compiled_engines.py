"""Runs a TensorProgram as machine code in this process: what the harness calls an engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llvm_backend.compile import compile_program
from llvm_backend.jit import JitModel
from llvm_backend.native import resolve_target
from lowering.lower import lower_program
from lowering.optimize import optimize
from lowering.passes.rewriting import remove_dead
from lowering.tensor_ir import TensorProgram
from runtime.loader import CompiledModel


def run_compiled(program: TensorProgram, arrays: list[np.ndarray], optimized: bool,
                 cpu: str = "native", threads: int = 1) -> list[np.ndarray]:
    """The program's results for interface arrays. Rewrites the program on the way."""
    target = replace(resolve_target(cpu), threads=threads)
    if optimized:
        optimize(program, target)
    else:
        remove_dead(program.body)
    count = len(program.body.params) - len(program.dims) - len(program.state)
    names = [f"x{k}" for k in range(count)]
    program.input_names = names
    program.input_structure = "(" + ",".join(f"{n}=T" for n in names) + ")"
    program.output_structure = "[" + ",".join("T" for _ in program.body.results) + "]"
    jit = JitModel(compile_program(lower_program(program, target, "m", optimized), target))
    given = [a.item() if v.wrapped else a for a, v in zip(arrays, program.inputs)]
    return CompiledModel(jit.address, keepalive=jit, threads=threads)(*given)


def with_structures(program: TensorProgram) -> TensorProgram:
    """The program with names for its inputs, and a list of its results as the result."""
    names = [f"x{k}" for k in range(len(program.body.params))]
    program.input_names = names
    program.input_structure = "(" + ",".join(f"{n}=T" for n in names) + ")"
    program.output_structure = "[" + ",".join("T" for _ in program.body.results) + "]"
    return program


def unoptimised(program: TensorProgram, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return run_compiled(program, arrays, False)


def optimised(program: TensorProgram, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return run_compiled(program, arrays, True)
