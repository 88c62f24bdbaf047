"""What aot-compile writes, checked from outside: with nm, ldd, a process without the compiler."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, require
from tests.test_cli import fails, run

DIGITS = ROOT / "examples" / "digits"
ARCHIVE = DIGITS / "digits.pt"
BATCH = "images:f32[100,1,8,8]"
LIBC_ONLY = {"memcpy", "memmove", "memset"}
SYSTEM_LIBRARIES = ("linux-vdso", "libc.so", "libpthread.so", "ld-linux", "/lib64/ld-linux")


def compiled(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = run(ARCHIVE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done


def needs_command(name: str) -> None:
    require(shutil.which(name) is not None, name)


def accuracy(probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(1) == np.load(DIGITS / "labels.npy")).mean())


def test_object(tmp_path: Path) -> None:
    needs_command("nm")
    done = compiled(tmp_path, "-o", "net", "--name", "net")
    assert (done.stdout, done.stderr) == ("", "")  # silent: this is no terminal
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.h", "net.o"]
    nm = subprocess.run(["nm", tmp_path / "net.o"], capture_output=True, text=True, check=True)
    symbols = [line.split()[-2:] for line in nm.stdout.splitlines()]
    assert {name for kind, name in symbols if kind == "U"} <= LIBC_ONLY
    exported = {name for kind, name in symbols if kind.isupper() and kind != "U"}
    assert "net_forward" in exported and all(name.startswith("net_") for name in exported)
    # The descriptor holds addresses: it is relocated, then read-only (.data.rel.ro), a D to nm.
    changing = [name for kind, name in symbols if kind in "BbDC" and name != "net_model"]
    assert not changing, "something global changes"


def test_library_runs_without_the_compiler(tmp_path: Path) -> None:
    compiled(tmp_path, "--emit", "lib", "-o", "net", "--input", BATCH)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.h", "net.so"]
    script = f"""
import sys, numpy as np
from runtime.loader import load_library
result = load_library("net.so")(np.load({str(DIGITS / "images.npy")!r}))
np.save("result.npy", result)
loaded = {{name.split(".")[0] for name in sys.modules}}
assert not loaded & {{"llvmlite", "llvm_backend", "lowering", "torch"}}, loaded
"""
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    result = np.load(tmp_path / "result.npy")
    assert result.shape == (100, 10) and result.dtype == np.float32
    np.testing.assert_allclose(result.sum(1), 1, atol=1e-5)
    assert accuracy(result) == 0.99  # PyTorch's own answer for these images


def test_program(tmp_path: Path) -> None:
    compiled(tmp_path, "--emit", "exe", "-o", "net", "--input", BATCH)
    program = tmp_path / "net"
    images = str(DIGITS / "images.npy")
    done = subprocess.run(
        [program, "-o", "out", images], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "100" in done.stdout and "10" in done.stdout
    assert accuracy(np.load(tmp_path / "out.0.npy")) == 0.99
    bench = subprocess.run(
        [program, "--bench", "3", images], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "median" in bench.stdout and "min" in bench.stdout
    if shutil.which("ldd"):
        ldd = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        needed = [line.split()[0] for line in ldd.stdout.splitlines() if line.strip()]
        assert all(name.startswith(SYSTEM_LIBRARIES) for name in needed), needed


@pytest.mark.parametrize(
    "kind, words",
    [
        ("graph", ["graph(", "prim::GetAttr"]),
        ("code", ["def forward"]),
        ("tensor", ["linalg"]),
        ("kernels", ["func"]),
        ("llvm", ["define "]),
        ("asm", [".globl"]),
    ],
)
def test_texts(kind: str, words: list[str], tmp_path: Path) -> None:
    text = compiled(tmp_path, "--emit", kind).stdout
    assert all(word in text for word in words), text[:400]
    compiled(tmp_path, "--emit", kind, "-o", "text")
    assert (tmp_path / "text").read_text() == text


def test_texts_are_stable(tmp_path: Path) -> None:
    first, second = (compiled(tmp_path, "--emit", "llvm").stdout for _ in range(2))
    assert first == second


def test_verify_prints_the_largest_error(tmp_path: Path) -> None:
    done = compiled(tmp_path, "--verify")
    assert "verify: largest error" in done.stdout


def test_summary_with_v(tmp_path: Path) -> None:
    line = compiled(tmp_path, "-v", "-o", "net").stderr.strip().splitlines()[-1]
    for word in ("net: ", " kernels, ", "FLOP, ", "B code, ", "B weights, ", "B arena, ", " s"):
        assert word in line


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    """Standard error is a terminal: a line is redrawn, then the summary stands alone."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "aot.cli", str(ARCHIVE), "-o", "net"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert child.wait() == 0
    assert b"\r" in shown
    assert b"kernels, " in shown.replace(b"\r\n", b"\n").splitlines()[-1].rpartition(b"\r")[2]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m aot.cli {ARCHIVE} --emit asm | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_other_cpus(cpu: str, tmp_path: Path) -> None:
    compiled(tmp_path, "--cpu", cpu, "-o", "net", "--verify")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--cpu", "pentium"], "unknown CPU 'pentium'"),
        (["--method", "backward"], "backward"),
        (["--input", "x:f32[1,3,8,8]"], "3"),
        (["--input", "x:f32[8]"], "8"),
        (["--input", "x:f32[1,1,8,8]", "--input", "y:f32[1]"], "takes 1"),
        (["--input", "n:int=3"], "input"),
        (["--input", "x:i64[1,1,8,8]"], "i64"),
    ],
)
def test_what_does_not_fit_the_archive(arguments: list, expected: str, tmp_path: Path) -> None:
    message = fails(tmp_path, ARCHIVE, *arguments)
    assert expected in message and "a bug in aot" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x80\x02."])
def test_not_an_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    message = fails(tmp_path, path)
    assert "model.pt" in message and "a bug in aot" not in message


def test_truncated_archive(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(ARCHIVE.read_bytes()[:50_000])
    message = fails(tmp_path, path)
    assert "model.pt" in message and "a bug in aot" not in message
