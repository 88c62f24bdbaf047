"""Archives that are written here: what PyTorch wrote, loaded and saved again, stays what it was."""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import aot
from runtime.errors import InputError
from tests.conformance.compare import TOLERANCE, relative_error
from tests.conformance.corpus_table import archives, plain, read_calls
from tests.conftest import ROOT

ARCHIVES = sorted({*archives(), *(ROOT / "tests" / "archives").glob("*.pt")})
each_archive = pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def lines(text: bytes) -> list[str]:
    """Sorted: classes may stand in another order, and so constants have other numbers."""
    known = re.sub(r"CONSTANTS\.c\d+|\b_\d+\b", "_", text.decode())
    return sorted(known.split("\n"))


@each_archive
def test_saved_again_it_is_the_same_program(path: Path) -> None:
    calls = read_calls(path)
    module = aot.jit.load(aot.jit.load(str(path)).save_to_buffer())
    for i, (method, arguments, expected) in enumerate(calls):
        found = plain(module.method(method).interpret(*arguments))
        assert relative_error(found, expected, f"{method} #{i}") <= TOLERANCE


@each_archive
def test_saving_is_a_fixed_point(path: Path) -> None:
    once = aot.jit.load(str(path)).save_to_buffer()
    assert aot.jit.load(once).save_to_buffer() == once


@each_archive
def test_texts_are_those_of_the_archive(path: Path) -> None:
    """The same members, class texts as PyTorch wrote them, no source lines, no example inputs."""
    ours = members(aot.jit.load(str(path)).save_to_buffer())
    theirs = members(path.read_bytes())
    left_out = {n for n in theirs if n.endswith(".debug_pkl") or n.startswith("traced_inputs")}
    assert set(ours) == set(theirs) - left_out
    for name in ours:
        if name.endswith(".py"):
            assert lines(ours[name]) == lines(theirs[name]), name


def test_the_zip_is_laid_out_as_pytorchs() -> None:
    data = aot.jit.load(str(ARCHIVES[0])).save_to_buffer()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        for info in file.infolist():
            head = struct.unpack_from("<4s5H3L2H", data, info.header_offset)
            start = info.header_offset + 30 + head[9] + head[10]
            assert start % 64 == 0
            assert head[2] == 0x808 and head[6:9] == (0, 0, 0)
            extra = data[start - head[10] : start]
            assert extra[:2] == b"FB" and set(extra[4:]) <= {0x5A}
            after = data[start + info.compress_size :][:16]
            sizes = (info.CRC, info.compress_size, info.file_size)
            assert after == b"PK\7\10" + struct.pack("<3L", *sizes)
            deflated = info.filename.split("/")[1] == "code" and info.file_size > 200
            assert info.compress_type == (8 if deflated else 0)
    assert b"PK\6\6" in data[-200:] and b"PK\6\7" in data[-60:]


def test_version_follows_the_operators(tmp_path: Path) -> None:
    @aot.jit.script
    def divide(x):
        return x / 2

    @aot.jit.script
    def smooth(x):
        return aot.nn.functional.gelu(x)

    @aot.jit.script
    def double(x):
        return x + x

    expected = ((divide, "version", b"4\n"), (smooth, ".data/version", b"10\n"),
                (double, "version", b"3\n"))
    for function, name, version in expected:
        assert members(function.save_to_buffer())[name] == version
        path = tmp_path / "f.pt"
        function.save(path)
        x = aot.tensor([1.0, 2.0])
        assert bool((aot.jit.load(path)(x) == function(x)).all())


def test_the_root_is_the_files_name(tmp_path: Path) -> None:
    module = aot.jit.load(str(ARCHIVES[0]))
    aot.jit.save(module, tmp_path / "model.v2.pt")
    with zipfile.ZipFile(tmp_path / "model.v2.pt") as file:
        assert {n.split("/")[0] for n in file.namelist()} == {"model.v2"}


def test_extra_files_travel_along(tmp_path: Path) -> None:
    module = aot.jit.load(str(ARCHIVES[0]))
    aot.jit.save(module, tmp_path / "m.pt", _extra_files={"note.txt": "grüße", "raw": b"\0\1"})
    extra = {"note.txt": None, "raw": None}
    aot.jit.load(tmp_path / "m.pt", _extra_files=extra)
    assert extra == {"note.txt": "grüße".encode(), "raw": b"\0\1"}


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    module = aot.jit.load(str(ARCHIVES[0]))
    path = tmp_path / "m.pt"
    module.save(path)
    before = path.read_bytes()
    module.object.attributes["training"] = object()
    with pytest.raises(InputError, match="object cannot stand in an archive"):
        module.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.pt"]
    with pytest.raises(InputError, match="cannot be written"):
        aot.jit.load(str(ARCHIVES[0])).save(tmp_path / "no" / "folder.pt")


def test_only_programs_are_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a scripted or traced module"):
        aot.jit.save(aot.nn.Linear(2, 2), tmp_path / "m.pt")


def test_example_inputs_only_on_request() -> None:
    traced = aot.jit.trace(aot.nn.Linear(4, 2), aot.ones(3, 4))
    assert not any(n.startswith("traced_inputs") for n in members(traced.save_to_buffer()))
    buffer = io.BytesIO()
    traced.save(buffer, _example_inputs={"forward": (aot.ones(3, 4),)})
    shown = aot.jit.load(buffer.getvalue()).archive.traced_inputs()["forward"]
    assert [t.sizes for t in shown] == [(3, 4)]


def test_modules_of_two_archives_in_one(tmp_path: Path) -> None:
    """Classes of one name that mean different things are told apart."""

    class Pair(aot.nn.Module):
        def __init__(self, a, b) -> None:
            super().__init__()
            self.a, self.b = a, b

        def forward(self, x):
            return self.a(x) + self.b(x)

    def saved(layer: aot.nn.Module):
        return aot.jit.load(aot.jit.script(aot.nn.Sequential(layer)).save_to_buffer())

    pair = aot.jit.trace(Pair(saved(aot.nn.ReLU()), saved(aot.nn.Sigmoid())), aot.ones(3))
    x = aot.tensor([-1.0, 0.0, 2.0])
    loaded = aot.jit.load(pair.save_to_buffer())
    assert np.allclose(loaded(x).numpy(), (x.relu() + x.sigmoid()).numpy())
