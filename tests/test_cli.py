"""The command line: what it accepts, and one clear message for everything that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aot import cli, output
from aot.options import name_of_path
from llvm_backend.linking import write_file
from runtime.errors import CompileError
from tests.conftest import ROOT

DIGITS = ROOT / "examples" / "digits" / "digits.pt"


def run(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """aot-compile in a process of its own, its output captured."""
    return subprocess.run(
        [sys.executable, "-m", "aot.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def fails(cwd: Path, *arguments: object) -> str:
    """The one message of a command line that must fail: status 2, one line's prefix, no
    traceback."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("aot-compile: error: ") == 1
    return done.stderr


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "required: MODEL.pt"),
        (["missing.pt"], "missing.pt: No such file or directory"),
        (["."], "is a directory"),
        (["/dev/null"], "not a regular file"),
        ([DIGITS, "--emit", "wasm"], "invalid choice: 'wasm'"),
        ([DIGITS, "--threads", "many"], "invalid int value: 'many'"),
        ([DIGITS, "--threads", "0"], "expected a number from 1 to 1024"),
        ([DIGITS, "--name", "2x"], "expected a C identifier"),
        ([DIGITS, "--input", "x"], "there is no colon"),
        ([DIGITS, "--nonsense"], "unrecognized arguments: --nonsense"),
        ([DIGITS, "-o", "no/such/place"], "there is no directory no/such"),
        ([DIGITS, "-o", "."], "is a directory"),
        ([DIGITS, "--emit", "exe", "-o", DIGITS], "it is the archive itself"),
    ],
)
def test_what_is_typed_wrong_is_said(arguments: list, expected: str, tmp_path: Path) -> None:
    assert expected in fails(tmp_path, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_no_permission_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the check itself: root, whom CI runs as, may write everywhere."""
    monkeypatch.setattr(output.os, "access", lambda path, mode: False)
    with pytest.raises(CompileError, match="no permission to write in"):
        output.check_writable(tmp_path / "model.o", DIGITS)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(CompileError, match="No space left"):
        write_file("text", "/dev/full")


@pytest.mark.parametrize(
    "out, emit, written",
    [
        ("build/net", "obj", ["build/net.o", "build/net.h"]),
        ("build/net.o", "obj", ["build/net.o", "build/net.h"]),
        ("net.so", "lib", ["net.so", "net.h"]),
        ("net", "exe", ["net"]),
        ("net.v2", "obj", ["net.v2.o", "net.v2.h"]),
        ("net.ll", "llvm", ["net.ll"]),
        (None, "lib", ["digits.so", "digits.h"]),
    ],
)
def test_names_of_outputs(out: str | None, emit: str, written: list[str]) -> None:
    found = output.files(output.stem(DIGITS, out, emit), emit)
    assert [str(path) for path in found] == written


@pytest.mark.parametrize(
    "stem, name",
    [("resnet-18", "resnet_18"), ("3d", "m_3d"), ("", "m_"), ("é", "m_u00e9")],
)
def test_a_name_is_made_from_a_file(stem: str, name: str) -> None:
    assert name_of_path(stem) == name


def test_help_and_version(tmp_path: Path) -> None:
    for option in ("--help", "--version"):
        done = run(option, cwd=tmp_path)
        assert done.returncode == 0 and "aot-compile" in done.stdout and done.stderr == ""


def test_an_internal_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in a pass")

    monkeypatch.setattr(cli, "_compile", broken)
    monkeypatch.setenv("AOT_CRASH_DIR", str(tmp_path))
    monkeypatch.delenv("AOT_DEBUG", raising=False)
    status = cli.main([str(DIGITS), "-o", str(tmp_path / "x"), "--name", "x"])
    message = capsys.readouterr().err
    assert status == 2
    assert "a bug in aot: ZeroDivisionError: in a pass" in message and "Traceback" not in message
    (report,) = tmp_path.glob("aot-crash-*.txt")
    assert str(report) in message
    text = report.read_text()
    assert "Traceback" in text and "--name x" in text and "AOT_DEBUG=1" in text


@pytest.mark.parametrize(
    "error, status, message",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "not enough memory"),
        (RecursionError(), 2, "nested too deeply"),
    ],
)
def test_what_can_stop_a_compilation(
    error: BaseException,
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_compile", stopped)
    assert cli.main([str(DIGITS), "-o", str(tmp_path / "x")]) == status
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("missing.pt", cwd=tmp_path, AOT_DEBUG="1")
    assert done.returncode == 2 and "Traceback" in done.stderr
