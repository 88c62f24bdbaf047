"""The standalone program around a model (runtime/src/main.c), and the files of linking.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from llvm_backend.linking import (
    write_executable,
    write_file,
    write_object,
    write_shared_library,
)
from runtime import c_compiler
from runtime.c_compiler import SOURCE_DIR
from runtime.errors import CompileError
from tests.conftest import require
from tests.sample_model import C_DIR, COPIED, WARNINGS, compile_c, run, sample_object

X = np.array([[1, -1, 2], [-3, 4, -5]], np.float32)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return sample_object(tmp_path_factory.mktemp("object"))


@pytest.fixture(scope="module")
def program(code: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "sample"
    write_executable(code, path, "sample")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    return tmp_path


def refused(program: Path, *words: str, code: int = 2) -> str:
    """What the program says when it refuses; nothing is written and nothing printed."""
    before = sorted(os.listdir())
    result = run([program, *words])
    assert (result.returncode, result.stdout) == (code, "")
    assert sorted(os.listdir()) == before
    assert result.stderr.startswith(f"{program}: ")
    return result.stderr.removeprefix(f"{program}: ")


def test_runs(program: Path, here: Path) -> None:
    result = run([program, "x.npy"])
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "out0: f32[2,3] -> out.0.npy\n"
    assert np.array_equal(np.load("out.0.npy"), np.maximum(X, 0))
    assert sorted(os.listdir()) == ["out.0.npy", "x.npy"]


def test_order_of_words_and_prefix(program: Path, here: Path) -> None:
    (here / "to").mkdir()
    np.save("-x.npy", X)
    for words in (["-o", "to/y", "x.npy"], ["x.npy", "-o", "to/y"], ["-o", "to/y", "--", "-x.npy"]):
        assert run([program, *words]).stdout == "out0: f32[2,3] -> to/y.0.npy\n"
        assert np.array_equal(np.load("to/y.0.npy"), np.maximum(X, 0))
        os.remove("to/y.0.npy")


def test_scalars_and_several_outputs(program: Path, here: Path) -> None:
    np.save("a.npy", np.arange(4, dtype=np.float32))
    np.save("pair.npy", np.array([10, 20]))
    np.save("half.npy", np.float64(0.5))
    for half, n in (("0.5", "-3"), ("half.npy", "-3"), ("5e-1", "-3"), (".5", "-3")):
        result = run([program, "--method", "mix", "a.npy", "pair.npy", half, n, "true"])
        assert result.stderr == ""
        assert result.stdout.splitlines() == [
            "out0: f32[4] -> out.0.npy", "out1: i64[] -> out.1.npy", "out2: bool[] -> out.2.npy"]
        assert np.load("out.0.npy").tolist() == [-3, -2.5, -2, -1.5]
        assert np.load("out.1.npy") == 27 and not np.load("out.2.npy")
    message = refused(program, "--method", "mix", "a.npy", "pair.npy", "0.5", "3.5", "1")
    assert "input 3 'n': expected an .npy file or an int of 64 bits, found 3.5\n" in message
    assert "input 4 'flag': expected an .npy file or true or false, found 1\n" in message
    assert "input 3 'n': expected an .npy file or an int of 64 bits, found 9999" in refused(
        program, "--method", "mix", "a.npy", "pair.npy", "0.5", "99999999999999999999", "true")


def test_every_dtype(program: Path, here: Path) -> None:
    arrays = [np.asarray([1, 0], d.storage) for d in COPIED] + [np.zeros((0, 3), np.float32)]
    for i, array in enumerate(arrays):
        np.save(f"a{i}.npy", array)
    result = run([program, "--method", "copy", *(f"a{i}.npy" for i in range(11))])
    assert result.stderr == "" and "out3: bf16[2] -> out.3.npy" in result.stdout
    for i, array in enumerate(arrays):
        out = np.load(f"out.{i}.npy")
        assert out.dtype == array.dtype and np.array_equal(out, array)


def test_named_dims(program: Path, here: Path) -> None:
    for rows in (0, 1, 7):
        np.save("a.npy", np.full((rows, 2), 2, np.float32))
        result = run([program, "--method", "add", "a.npy", "a.npy"])
        assert result.stdout == f"out0: f32[{rows},2] -> out.0.npy\n"
        assert np.array_equal(np.load("out.0.npy"), np.full((rows, 2), 4, np.float32))
    os.remove("out.0.npy")
    np.save("b.npy", np.zeros((3, 2), np.float32))
    assert refused(program, "--method", "add", "a.npy", "b.npy") == (
        "b.npy: input 1 'y': expected f32[N,2], found f32[3,2]\n  where N is 7\n")


def test_wrong_inputs(program: Path, here: Path) -> None:
    assert refused(program) == "expected 1 inputs, found 0\n  input 0 'x': f32[2,3]\n"
    assert "expected 1 inputs, found 2" in refused(program, "x.npy", "x.npy")
    assert refused(program, "none.npy") == "none.npy: No such file or directory\n"
    np.save("t.npy", X.T)
    assert refused(program, "t.npy") == (
        "t.npy: input 0 'x': expected f32[2,3], found f32[3,2]\n")
    np.save("d.npy", X.astype(np.float64))
    assert "expected f32[2,3], found f64[2,3]" in refused(program, "d.npy")
    np.save("u.npy", X.astype(np.uint16))
    assert "expected f32[2,3], found u16[2,3]" in refused(program, "u.npy")
    (here / "bad.npy").write_bytes((here / "x.npy").read_bytes()[:-1])
    assert "bad.npy: truncated: expected 24 bytes" in refused(program, "bad.npy")
    # Every problem is told at once.
    message = refused(program, "--method", "add", "d.npy", "none.npy")
    assert "d.npy: input 0 'x'" in message and "none.npy: No such file" in message


def test_wrong_command_lines(program: Path, here: Path) -> None:
    assert refused(program, "--wrong") == "unknown option --wrong, see --help\n"
    assert "--method: the model has no method 'no', only forward, mix" in refused(
        program, "--method", "no")
    for option, least in (("--bench", 1), ("--threads", 0)):
        for value in ("-1", "x", "", "1x", "99999999999999999999"):
            assert refused(program, option, value).startswith(
                f"{option}: expected a number from {least} to ")
        assert "found nothing" in refused(program, option)
    assert refused(program, "-o") == "-o: expected a name\n"
    assert refused(program, "--method") == "--method: expected a name\n"


def test_help(program: Path, here: Path) -> None:
    result = run([program, "--help"])
    assert (result.returncode, result.stderr) == (0, "")
    for text in ("usage:", "--bench N", "input 0   x: f32[2,3]", "input 0   x: f32[N,2]",
                 "input 3   n: int"):
        assert text in result.stdout


@pytest.mark.parametrize("threads", ["1", "3", "0"])
def test_bench_and_threads(program: Path, here: Path, threads: str) -> None:
    np.save("x.npy", np.arange(1000, dtype=np.float32))
    result = run([program, "--method", "square", "--bench", "20", "--threads", threads, "x.npy"])
    assert result.stderr == ""
    assert re.fullmatch(r"bench: 20 runs, median \d+\.\d{4} ms, minimum \d+\.\d{4} ms",
                        result.stdout.splitlines()[-1])
    assert np.array_equal(np.load("out.0.npy"), np.arange(1000, dtype=np.float32) ** 2)


def test_the_written_output_is_that_of_the_first_run(program: Path, here: Path) -> None:
    assert run([program, "--method", "count", "--bench", "5"]).returncode == 0
    assert np.load("out.0.npy") == 1


def test_failures_of_model_and_machine(program: Path, code: bytes, here: Path) -> None:
    assert run([program, "--method", "raise", "false"]).returncode == 0
    message = refused(program, "--method", "raise", "true", code=1)
    assert message == ("the model raised an error: sample.py:3: AssertionError: x must be false\n")
    assert "no/y.0.npy: cannot be written: No such file" in refused(
        program, "-o", "no/y", "x.npy", code=1)
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            result = subprocess.run([program, "--help"], stdout=full, stderr=subprocess.PIPE)
        assert result.returncode == 1 and b"standard output" in result.stderr


def test_a_cpu_that_does_not_fit(here: Path) -> None:
    code = sample_object(here, "-DSAMPLE_NEEDS_BETTER_CPU")
    write_executable(code, here / "model", "sample")
    message = refused(here / "model", "x.npy", code=1)
    assert message == "this CPU cannot run the model: the CPU lacks avx1024\n"


def test_needs_the_c_library_only(program: Path) -> None:
    require(shutil.which("ldd") is not None, "ldd")
    libraries = [line.split()[0] for line in run(["ldd", program]).stdout.splitlines()]
    allowed = ("linux-vdso", "libc.so", "libpthread.so", "/lib64/ld-linux", "/lib/ld-linux")
    assert libraries and all(name.startswith(allowed) for name in libraries), libraries


def test_clean_under_valgrind_and_sanitizers(program: Path, here: Path) -> None:
    np.save("x1000.npy", np.arange(1000, dtype=np.float32))
    sources = [SOURCE_DIR / name for name in ("main.c", "aot_npy.c", "aot_pool.c")]
    sample_object(here)
    compile_c(["-std=c99", "-pedantic", "-g", *WARNINGS, "-fsanitize=address,undefined",
               "-fno-sanitize-recover=all", "-DAOT_MODEL=sample_model", f"-I{here}", "-pthread",
               *sources, C_DIR / "sample.c", "-o", here / "checked"])
    commands = [
        (0, ["x.npy"]),
        (0, ["--method", "square", "--threads", "2", "--bench", "3", "x1000.npy"]),
        (0, ["--help"]),
        (1, ["--method", "raise", "true"]),
        (2, ["none.npy"]),
        (2, ["x1000.npy"]),
        (2, ["--method", "mix", "x.npy", "x.npy", "1", "2", "true"]),
    ]
    for code, words in commands:
        result = run([here / "checked", *words])
        assert result.returncode == code, result.stderr
        assert "Sanitizer" not in result.stderr and "runtime error" not in result.stderr
    require(shutil.which("valgrind") is not None, "valgrind")
    for code, words in commands[:5]:
        result = run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", program, *words])
        assert result.returncode == code and "==" not in result.stderr, result.stderr


# ---- linking.py ---------------------------------------------------------------------------------


def test_files_are_replaced_whole(code: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.o"
    path.write_bytes(b"old")
    os.link(path, tmp_path / "old")
    write_object(code, path)
    assert path.read_bytes() == code and (tmp_path / "old").read_bytes() == b"old"
    write_file("text: ü\n", tmp_path / "t.h")
    assert (tmp_path / "t.h").read_text("utf-8") == "text: ü\n"
    (tmp_path / "link").symlink_to(path)
    write_file(b"new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and path.read_bytes() == b"new"
    write_object(code, "/dev/null")
    assert Path("/dev/null").is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["link", "m.o", "old", "t.h"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_clear_errors(code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompileError, match="cannot be written: No such file or directory"):
        write_object(code, tmp_path / "no" / "m.o")
    with pytest.raises(CompileError, match="cannot be written: it is a folder"):
        write_shared_library(code, tmp_path, "sample")
    with pytest.raises(CompileError, match="no C identifier"):
        write_executable(code, tmp_path / "x", "a;b")
    with pytest.raises(CompileError, match="failed:"):
        write_shared_library(b"not an object", tmp_path / "m.so", "sample")
    with pytest.raises(CompileError, match="failed:(.|\n)*other_model"):
        write_shared_library(code, tmp_path / "m.so", "other")
    monkeypatch.setenv("CC", "/no/such/compiler")
    with pytest.raises(CompileError, match="CC=/no/such/compiler is not there"):
        write_executable(code, tmp_path / "m", "sample")
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompileError, match="needs a C compiler"):
        write_shared_library(code, tmp_path / "m.so", "sample")
    monkeypatch.setattr(c_compiler, "SOURCE_DIR", tmp_path)
    with pytest.raises(CompileError, match="without its C sources"):
        write_executable(code, tmp_path / "m", "sample")
    assert os.listdir(tmp_path) == []


def test_library_exports(code: bytes, tmp_path: Path) -> None:
    require(shutil.which("nm") is not None, "nm")
    write_shared_library(code, tmp_path / "m.so", "sample")
    exported = set(re.findall(r" [A-Z] (\w+)$",
                              run(["nm", "-D", "--defined-only", tmp_path / "m.so"]).stdout, re.M))
    assert {"aot_model_entry", "sample_model", "sample_forward", "aot_pool_create"} <= exported
    assert all(name.startswith(("sample_", "aot_")) for name in exported)
