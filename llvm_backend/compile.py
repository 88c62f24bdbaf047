"""The back end's front door: `compile_program` to machine code, `program_text` to a text of it."""

from __future__ import annotations

import time
from typing import Callable

from llvm_backend import codegen
from llvm_backend.artifact import Artifact
from llvm_backend.module import build_module
from llvm_backend.program import Program
from llvm_backend.target import Target

TEXTS = ("llvm", "optimised", "assembly")


def compile_program(program: Program, target: Target,
                    progress: Callable[[str], None] | None = None) -> Artifact:
    """The machine code of a program. progress: told the name of each stage as it begins."""
    seconds: dict[str, float] = {}

    def stage(name: str) -> _Stage:
        if progress is not None:
            progress(name)
        return _Stage(seconds, name)

    with stage("text"):
        built = build_module(program, target)
    machine = codegen.machine_of(target)
    with stage("parse"):
        module = codegen.parse(built.text)
    with stage("optimise"):
        codegen.optimise(module, machine)
    with stage("code"):
        code = codegen.object_code(module, machine)
    return Artifact(built.description, built.kernels, code, program.constants,
                    program.constant_bytes, seconds)


def program_text(program: Program, target: Target, kind: str) -> str:
    """One of TEXTS: the LLVM IR as written, the IR after LLVM's pass, or the assembly."""
    text = build_module(program, target).text
    if kind == "llvm":
        return text
    module, machine = codegen.parse(text), codegen.machine_of(target)
    codegen.optimise(module, machine)
    return {"optimised": str, "assembly": lambda m: codegen.assembly(m, machine)}[kind](module)


class _Stage:
    def __init__(self, seconds: dict[str, float], name: str):
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds[self.name] = time.perf_counter() - self.start
