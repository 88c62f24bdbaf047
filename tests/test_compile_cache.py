"""Compilations are found again where nothing has changed, and only there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import aot
from aot import compile_cache
from aot.cli import main
from aot.disk_cache import DiskCache
from aot.inputs import parse_inputs
from aot.options import CompileOptions
from runtime.errors import InputError
from tests.conftest import ROOT

X = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AOT_CACHE_MB", "100")
    return tmp_path / "cache"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "m.pt", 2.0)


class Scale(aot.nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.weight = aot.nn.Parameter(aot.full((4, 5), factor))
        self.register_buffer("calls", aot.zeros(()))

    def forward(self, x: aot.Tensor) -> aot.Tensor:
        return x @ self.weight + self.calls


class Counts(Scale):
    def forward(self, x: aot.Tensor) -> aot.Tensor:
        self.calls.add_(1)
        return x @ self.weight + self.calls


def write_archive(path: Path, factor: float, kind: type[Scale] = Scale) -> Path:
    aot.jit.save(aot.jit.script(kind(factor)), path)
    return path


def compile_it(archive: Path, words: tuple[str, ...] = ("x:f32[3,4]",), **options: object):
    compiled = aot.compile(archive, inputs=words, **options)
    compiled.artifact  # machine code is made, or kept, when needed
    return compiled


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kept"))


def was_found(compiled: object) -> bool:
    return compiled._lowered_once is None


def test_found_again_with_the_same_results(folder: Path, archive: Path, tmp_path: Path) -> None:
    first, second = compile_it(archive), compile_it(archive)
    assert not was_found(first) and was_found(second) and len(entries(folder)) == 1
    assert np.array_equal(first(X), X @ np.full((4, 5), 2, np.float32))
    assert np.array_equal(second(X), first(X)) and second.stats == first.stats
    assert second.object_bytes() == first.object_bytes()
    assert second.header_text() == first.header_text() and second.inputs == first.inputs
    second.save(tmp_path / "m.so")
    assert np.array_equal(aot.load_library(tmp_path / "m.so")(X), first(X))
    assert was_found(second), "the compiler has run"
    assert second.text("llvm") == first.text("llvm") and np.array_equal(second.interpret(X), first(X))


def test_examples_tell_the_inputs(folder: Path, archive: Path) -> None:
    def compile_like(x: object):
        compiled = aot.compile(archive, (x,))
        return compiled.artifact and compiled

    first = compile_like(X)
    assert was_found(compile_like(X + 1)) and was_found(compile_like(aot.tensor(X)))
    assert [i.name for i in compile_like(X).inputs] == [i.name for i in first.inputs] == ["x"]
    assert not was_found(compile_like(X[:2]))
    with pytest.raises(InputError, match="takes 1 arguments"):
        aot.compile(archive, (X, X))


def test_state_begins_as_the_archives(folder: Path, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "m.pt", 0.0, Counts)
    compile_it(archive)
    for _ in range(2):
        again = compile_it(archive)
        assert was_found(again) and again.changes_module
        assert [again(X)[0, 0] for _ in range(3)] == [1, 2, 3]
        assert [float(again.interpret(X)[0, 0]) for _ in range(2)] == [1, 2]
        again.reset()
        assert again(X)[0, 0] == 1


def test_modules_are_found_by_what_they_hold(folder: Path) -> None:
    def compile_module(factor: float, kind: type[Scale] = Scale):
        compiled = aot.compile(aot.jit.script(kind(factor)), inputs=("x:f32[3,4]",))
        return compiled.artifact and compiled

    assert not was_found(compile_module(2.0))
    found = compile_module(2.0)
    assert was_found(found) and np.array_equal(found(X), X @ np.full((4, 5), 2, np.float32))
    assert np.array_equal(found.interpret(X), found(X))
    assert not was_found(compile_module(3.0)) and len(entries(folder)) == 2
    for _ in range(2):  # the interpreter begins with the module as it is now
        assert not was_found(compile_module(0.0, Counts))


def test_a_module_that_has_changed(folder: Path) -> None:
    module = aot.jit.script(Scale(2.0))
    for _ in range(2):
        compiled = compile_it(module)
    with aot.no_grad():
        module.weight.fill_(3)
    assert was_found(compiled) and compiled(X)[0, 1] == 12
    with pytest.raises(InputError, match="the module has changed since it was compiled"):
        compiled.text("tensor")
    changed = compile_it(module)
    assert not was_found(changed) and changed(X)[0, 1] == 18


def test_a_module_with_examples_of_its_own_is_compiled(folder: Path) -> None:
    """A traced archive's inputs are no part of what `save` writes, so it does not tell them."""
    for _ in range(2):
        compiled = aot.compile(aot.jit.load(ROOT / "tests" / "archives" / "conv_trace.pt"))
        assert compiled.artifact and not was_found(compiled)
    assert not folder.exists()


@pytest.mark.parametrize(
    "changed",
    [{"words": ("x:f32[2,4]",)}, {"words": ("y:f32[3,4]",)}, {"name": "other"},
     {"cpu": "x86-64-v2"}, {"threads": 2}, {"optimize": False}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_options_are_another_compilation(folder: Path, archive: Path, changed: dict) -> None:
    compile_it(archive)
    assert not was_found(compile_it(archive, **changed))
    assert was_found(compile_it(archive, **changed)) and len(entries(folder)) == 2


def test_another_archive_under_the_same_name(folder: Path, archive: Path) -> None:
    compile_it(archive)
    found = compile_it(archive)
    write_archive(archive, 3.0)
    other = compile_it(archive)
    assert not was_found(other) and other(X)[0, 1] == 18 and found(X)[0, 1] == 12
    with pytest.raises(InputError, match="has changed since it was compiled"):
        found.text("tensor")
    write_archive(archive, 2.0)
    assert was_found(compile_it(archive))


def test_another_compiler_or_machine(folder: Path, archive: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    compile_it(archive)
    for name in ("_compiler", "this_machine"):
        with monkeypatch.context() as patch:
            patch.setattr(compile_cache, name, lambda: ("another",))
            assert not was_found(compile_it(archive))
    assert was_found(compile_it(archive)) and len(entries(folder)) == 3
    assert any(str(item[0]).endswith("compile_cache.py") for item in compile_cache._compiler()[1:])


def test_damaged_entries_are_written_again(folder: Path, archive: Path) -> None:
    compile_it(archive)
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    for damaged in (b"", b"x", whole[:100], whole[:-1], whole + b"x", b"y" + whole[1:],
                    *(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1:]
                      for k in (9, 20, 40, 4096, len(whole) - 9))):
        entry.write_bytes(damaged)
        again = compile_it(archive)
        assert not was_found(again) and again(X)[0, 1] == 12
        assert entry.read_bytes() == whole and was_found(compile_it(archive))


def test_switched_off(folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_it(archive, cache=False)
    for name, value in (("AOT_CACHE", "0"), ("AOT_CACHE_MB", "0"), ("AOT_DUMP", "x")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            compile_it(archive)
    assert not folder.exists()


def test_places_that_cannot_be_used(tmp_path: Path, archive: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that others can write to: code from it would be anybody's."""
    monkeypatch.setenv("AOT_CACHE_MB", "100")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for place in (tmp_path / "open", archive, archive / "below", Path("/proc/none")):
        monkeypatch.setenv("AOT_CACHE", str(place))
        assert not was_found(compile_it(archive)) and not was_found(compile_it(archive))
    monkeypatch.delenv("AOT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    compile_it(archive)
    assert len(entries(tmp_path / "xdg" / "aot")) == 1


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 50_000)
    for k, key in enumerate("abcd"):
        cache.put(key, k, [bytes(6000), memoryview(b"!" * 2000)])
        os.utime(tmp_path / f"{key}.kept", (k, k))
    record, data = cache.get("a")  # now the youngest
    assert record == 0 and bytes(data) == bytes(6000) + b"!" * 2000
    cache.put("e", 4, [bytes(8000)])
    assert {p.stem for p in tmp_path.iterdir()} == set("acde")
    small = DiskCache(tmp_path, 30_000)
    small.put("f", 5, [bytes(8000)])
    assert {p.stem for p in tmp_path.iterdir()} == {"e", "f"} and small.get("a") is None
    small.put("too large", 6, [bytes(40_000)])
    assert {p.stem for p in tmp_path.iterdir()} == {"e", "f"}


def test_keys_tell_values_apart() -> None:
    def key(**options: object) -> str:
        return compile_cache.key_of(b"digest", CompileOptions(**options))

    words = (("x:f32[1,2]",), ("x:f32[12]",), ("x:f64[1,2]",), ("x:int",), ("x:int=1",),
             ("x:float=1",), ("x:str=1",), ("x:(f32[1],f32[2])",), ("x:[f32[1],f32[2]]",), None)
    keys = [key(inputs=w and parse_inputs(w)) for w in words]
    keys += [key(without=frozenset({"fuse"})), key(more_methods=(("a", None),)), key(method="a")]
    assert len(set(keys)) == len(keys)
    names = frozenset(f"p{k}" for k in range(20))
    assert key(without=names) == key(without=frozenset(sorted(names, reverse=True)))
    assert key(check=True, cache=False) == key()


def test_a_digest_is_remembered_until_the_file_changes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache, "_LARGE", 1)
    file, cache = tmp_path / "archive", DiskCache(tmp_path, 1 << 20)
    file.write_bytes(b"one")
    now = compile_cache.file_digest(file, cache)
    assert now == hashlib.sha256(b"one").digest()
    assert not entries(tmp_path), "its time may not tell it from what is written next"
    monkeypatch.setattr(compile_cache, "_SETTLED", 0)
    assert compile_cache.file_digest(file, cache) == now and len(entries(tmp_path)) == 1
    cache.put(entries(tmp_path)[0].stem, b"as remembered", [])
    assert compile_cache.file_digest(file, cache) == b"as remembered", "it was read again"
    before = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps times does
    assert compile_cache.file_digest(file, cache) == hashlib.sha256(b"two").digest()


def test_the_command_line(folder: Path, archive: Path, tmp_path: Path,
                          capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(archive), "--input", "x:f32[3,4]", "-v", "-o", str(tmp_path / "out.o")]
    said = []
    for extra in ([], [], ["--no-cache"], ["--verify"]):
        assert main([*command, *extra]) == 0
        said.append(capsys.readouterr())
        said.append((tmp_path / "out.o").read_bytes())
    assert "schedule" in said[0].err and "schedule" not in said[2].err and "schedule" in said[4].err
    assert said[1] == said[3] == said[5] and "verify: largest error" in said[6].out
    assert len(entries(folder)) == 1


def test_what_is_found_needs_no_compiler(folder: Path, archive: Path, tmp_path: Path) -> None:
    """A second aot-compile of the same loads neither LLVM nor the compiler: that is its speed."""
    out = tmp_path / "out.o"
    script = f"""
import sys
from aot.cli import main
assert main([{str(archive)!r}, "--input", "x:f32[3,4]", "-o", {str(out)!r}]) == 0
loaded = [m for m in sys.modules if m.split(".")[0] in ("llvmlite", "lowering", "aot")]
print(*sorted(loaded))
"""
    for _ in range(2):
        begun = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True,
                             text=True, check=True, env={**os.environ, "AOT_CACHE_MB": "100"})
        seconds = time.perf_counter() - begun
    loaded = run.stdout.split()
    assert "aot.pipeline" not in loaded and "llvmlite" not in loaded
    assert "lowering.graph" not in loaded and "aot.jit" not in loaded
    assert seconds < 3, "0.2 on a machine with nothing else to do"
