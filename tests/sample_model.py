"""The hand-written model tests/c/sample.c: its description, and how to build it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from llvm_backend.header import header_text
from runtime import dtypes
from runtime.c_compiler import INCLUDE_DIR, find_compiler
from runtime.description import MethodDescription, ModelDescription, ValueInfo
from tests.conftest import ROOT

C_DIR = ROOT / "tests" / "c"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
COPIED = (dtypes.f32, dtypes.f64, dtypes.f16, dtypes.bf16, dtypes.i8, dtypes.i16, dtypes.i32,
          dtypes.i64, dtypes.u8, dtypes.bool_)


def _copies(prefix: str) -> tuple[ValueInfo, ...]:
    plain = tuple(ValueInfo(f"{prefix}{i}", d, (2,)) for i, d in enumerate(COPIED))
    return (*plain, ValueInfo(f"{prefix}10", dtypes.f32, (0, 3)))


SAMPLE = ModelDescription(
    name="sample",
    methods=(
        MethodDescription(
            "forward",
            (ValueInfo("x", dtypes.f32, (2, 3)),),
            (ValueInfo("out0", dtypes.f32, (2, 3)),),
            "(x=T)",
            "T",
            flops=6,
        ),
        MethodDescription(
            "mix",
            (
                ValueInfo("a", dtypes.f32, (4,)),
                ValueInfo("pair.0", dtypes.i64, (2,)),
                ValueInfo("pair.1", dtypes.f64, (), "float"),
                ValueInfo("n", dtypes.i64, (), "int"),
                ValueInfo("flag", dtypes.bool_, (), "bool"),
            ),
            (
                ValueInfo("out0", dtypes.f32, (4,)),
                ValueInfo("out1", dtypes.i64, (), "int"),
                ValueInfo("out2", dtypes.bool_, (), "bool"),
            ),
            "(a=T,pair=(T,T),n=T,flag=T)",
            "{'sum':T,'more':[T,(T,N)]}",
        ),
        MethodDescription(
            "copy",
            _copies("a"),
            _copies("out"),
            "(" + ",".join(f"a{i}=T" for i in range(11)) + ")",
            "(" + ",".join("T" * 11) + ")",
        ),
        MethodDescription(
            "add",
            (ValueInfo("x", dtypes.f32, (-1, 2)), ValueInfo("y", dtypes.f32, (-1, 2))),
            (ValueInfo("out0", dtypes.f32, (-1, 2)),),
            "(x=T,y=T)",
            "T",
            dim_names=("N",),
        ),
        MethodDescription(
            "square",
            (ValueInfo("x", dtypes.f32, (1000,)),),
            (ValueInfo("out0", dtypes.f32, (1000,)), ValueInfo("out1", dtypes.f32, ())),
            "(x=T)",
            "Squares(y=T,last=T)",
        ),
        MethodDescription("count", (), (ValueInfo("out0", dtypes.i64, (), "int"),), "()", "T"),
        MethodDescription("raise", (ValueInfo("x", dtypes.bool_, (), "bool"),), (), "(x=T)", "N"),
    ),
    instance_size=128,
    weight_bytes=12,
    producer="a person",
    target_triple="x86_64-unknown-linux-gnu",
    target_cpu="x86-64",
    cpu_features=("sse2",),
    stateful=True,
    state_size=16,
)


def compile_c(arguments: list[str | Path], cxx: bool = False) -> None:
    """Run the C (or C++) compiler with our include folder; AssertionError with its words."""
    compiler = ["g++"] if cxx else find_compiler()
    assert compiler is not None, "the tests need a C compiler"
    command = [*compiler, f"-I{INCLUDE_DIR}", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"


def run(command: list[str | Path], **kwargs) -> subprocess.CompletedProcess[str]:
    """Run a program and capture what it prints."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120,
                          **kwargs)


def sample_object(folder: Path, *flags: str) -> bytes:
    """sample.c as object code, compiled against its generated header, left in `folder`."""
    (folder / "sample.h").write_text(header_text(SAMPLE), "utf-8")
    path = folder / f"sample{'_'.join(flags).replace('/', '')}.o"
    compile_c(["-std=c99", "-O1", "-g", "-fPIC", *WARNINGS, *flags, f"-I{folder}", "-c",
               C_DIR / "sample.c", "-o", path])
    os.replace(path, folder / "sample.o")
    return (folder / "sample.o").read_bytes()
