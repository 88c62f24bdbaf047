"""The example programs with the real compiled model: they build strictly, run clean, and read right.

The model is compiled for x86-64-v3, because valgrind 3 does not know AVX-512.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import aot
from runtime.c_compiler import SOURCE_DIR
from tests.conftest import ROOT, require
from tests.sample_model import WARNINGS, compile_c, run

DIGITS = ROOT / "examples" / "digits"
IMAGES, LABELS = DIGITS / "images.npy", DIGITS / "labels.npy"
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits.o, digits.h, aot_npy.o."""
    path = tmp_path_factory.mktemp("digits")
    model = aot.compile(DIGITS / "digits.pt", inputs=["input:f32[1,1,8,8]"], cpu="x86-64-v3",
                        name="digits")
    model.save(path / "digits.o")
    compile_c(["-std=c99", "-O1", "-g", *WARNINGS, "-c", SOURCE_DIR / "aot_npy.c",
               "-o", path / "aot_npy.o"])
    return path


def build_c(folder: Path, out: Path, *flags: str) -> None:
    compile_c(["-std=c99", "-pedantic", "-O1", "-g", *WARNINGS, *flags, f"-I{folder}",
               DIGITS / "digits.c", folder / "digits.o", SOURCE_DIR / "aot_npy.c", "-o", out])


def test_c_program(folder: Path, tmp_path: Path) -> None:
    build_c(folder, tmp_path / "digits")
    result = run([tmp_path / "digits", IMAGES, LABELS])
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("99 of 100 digits read right")  # as many as PyTorch reads
    shown = [line for line in lines if line.startswith("reads")]
    answers = [int(words.split()[0]) for line in shown for words in line.split("reads")[1:]]
    assert answers == np.load(LABELS)[:8].tolist()
    assert sum("@@" in line for line in lines) >= 8  # and they are drawn


def test_cpp_program(folder: Path, tmp_path: Path) -> None:
    require(shutil.which("g++") is not None, "a C++ compiler")
    for name, flags in (("plain", []), ("checked", ADDRESS)):
        compile_c(["-std=c++17", "-pedantic", "-O1", "-g", *WARNINGS, *flags, f"-I{folder}",
                   DIGITS / "digits.cpp", folder / "digits.o", folder / "aot_npy.o", "-pthread",
                   "-o", tmp_path / name], cxx=True)
        result = run([tmp_path / name, IMAGES, LABELS])
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("99 of 100 digits read right by 2 threads.")
    result = run([tmp_path / "plain", IMAGES, tmp_path / "none.npy"])
    assert result.returncode == 2 and "none.npy: No such file" in result.stderr


def test_clean_under_sanitizers_and_valgrind(folder: Path, tmp_path: Path) -> None:
    build_c(folder, tmp_path / "checked", *ADDRESS)
    build_c(folder, tmp_path / "plain")
    require(shutil.which("valgrind") is not None, "valgrind")
    valgrind = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full"]
    for command in ([tmp_path / "checked"], [*valgrind, tmp_path / "plain"]):
        result = run([*command, IMAGES, LABELS])
        assert (result.returncode, result.stderr) == (0, "")
        result = run([*command, LABELS, LABELS])
        assert result.returncode == 2 and "expected float32 with 4 dims" in result.stderr
        assert "==" not in result.stderr and "Sanitizer" not in result.stderr
