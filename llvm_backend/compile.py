"""The back end's front door: `compile_program` for files, `jit_program` for this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from llvm_backend import codegen
from llvm_backend.descriptor import weights_symbol
from llvm_backend.elf_weights import attach_weights
from llvm_backend.jit import LoadedObject, check_runs_here
from llvm_backend.module import build_module
from llvm_backend.program import Program
from llvm_backend.target import Target
from runtime.description import ModelDescription

KINDS = ("object", "llvm", "optimised", "assembly")


@dataclass
class Artifact:
    """What came out: `object` is machine code with the weights in it; the texts are without them.

    seconds: stage -> time. code_bytes: size of the object without the weights."""

    description: ModelDescription
    kernels: int
    object: bytes | None = None
    llvm_text: str | None = None
    optimised_text: str | None = None
    assembly: str | None = None
    code_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def compile_program(program: Program, target: Target, emit: tuple[str, ...] = ("object",),
                    progress: Callable[[str], None] | None = None) -> Artifact:
    """Compiles a program. emit: any of KINDS; llvm alone runs no pass and no code generator."""
    unknown = set(emit) - set(KINDS)
    if unknown:
        raise ValueError(f"expected kinds of {KINDS}, got {sorted(unknown)}")
    seconds: dict[str, float] = {}
    clock = _clock(seconds, progress)
    with clock("text"):
        built = build_module(program, target)
    artifact = Artifact(built.description, built.kernels, seconds=seconds)
    if "llvm" in emit:
        artifact.llvm_text = built.text
    if set(emit) <= {"llvm"}:
        return artifact
    machine = codegen.machine_of(target)
    with clock("parse"):
        module = codegen.parse(built.text)
    with clock("optimise"):
        codegen.optimise(module, machine)
    if "optimised" in emit:
        artifact.optimised_text = str(module)
    if "assembly" in emit:
        artifact.assembly = codegen.assembly(module, machine)
    if "object" in emit:
        with clock("code"):
            code = codegen.object_code(module, machine)
        artifact.code_bytes = len(code)
        with clock("weights"):
            artifact.object = attach_weights(code, weights_symbol(program), program.constants,
                                             program.constant_bytes)
    return artifact


class JitModel:
    """A program as machine code of this process: `address` is that of its aot_model descriptor."""

    def __init__(self, program: Program, target: Target,
                 progress: Callable[[str], None] | None = None):
        check_runs_here(target)
        self.seconds: dict[str, float] = {}
        clock = _clock(self.seconds, progress)
        self._weights = aligned_constants(program)
        with clock("text"):
            built = build_module(program, target, near=False)
        self.description, self.kernels = built.description, built.kernels
        machine = codegen.machine_of(target)
        with clock("parse"):
            module = codegen.parse(built.text)
        with clock("optimise"):
            codegen.optimise(module, machine)
        with clock("code"):
            code = codegen.object_code(module, machine)
        self.code_bytes = len(code)
        symbol = f"{program.name}_model"
        with clock("link"):
            address = self._weights.ctypes.data
            self._loaded = LoadedObject(code, [symbol], {weights_symbol(program): address})
        self.address = self._loaded.addresses[symbol]


def aligned_constants(program: Program) -> np.ndarray:
    """All constants in one array of bytes at a multiple of 64."""
    raw = np.zeros(program.constant_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    memory = raw[start:start + program.constant_bytes]
    for offset, data in program.constants:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        memory[offset:offset + flat.size] = flat
    return memory


class _Stage:
    def __init__(self, seconds: dict[str, float], name: str):
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds[self.name] = time.perf_counter() - self.start


def _clock(seconds: dict[str, float],
           progress: Callable[[str], None] | None) -> Callable[[str], _Stage]:
    def stage(name: str) -> _Stage:
        if progress is not None:
            progress(name)
        return _Stage(seconds, name)

    return stage
