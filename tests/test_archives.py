"""Archives that PyTorch wrote, with recorded calls: interpreted and compiled, without PyTorch.

tests/archives/make.py writes them. The digits archive has real, trained weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aot
from aot.archive.reader import read_archive
from runtime import dtypes
from tests.conformance.compare import TOLERANCE, relative_error
from tests.conformance.corpus_table import call_together, plain, read_calls
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "archives"
ARCHIVES = sorted(FOLDER.glob("*.pt"))
DIGITS = ROOT / "examples" / "digits"
each_archive = pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)


def test_the_archives_are_here() -> None:
    assert len(ARCHIVES) >= 10
    assert all(path.with_suffix(".npz").exists() for path in ARCHIVES)


@each_archive
def test_interpreted(path: Path) -> None:
    module = aot.jit.load(str(path))
    for i, (method, arguments, expected) in enumerate(read_calls(path)):
        found = plain(getattr(module, method)(*arguments))
        assert relative_error(found, expected, f"{method} #{i}") <= TOLERANCE


@pytest.mark.parametrize(
    "path", [p for p in ARCHIVES if p.stem != "stateful_script"], ids=lambda path: path.stem
)
def test_compiled(path: Path) -> None:
    """Every recorded call, each compiled for its own arguments."""
    for i, (method, arguments, expected) in enumerate(read_calls(path)):
        module = aot.jit.load(str(path))
        function = aot.compile(module, example_inputs=tuple(arguments), method=method, threads=1)
        found = plain(function(*arguments))
        assert relative_error(found, expected, f"{method} #{i}") <= TOLERANCE


def test_state_is_kept_between_calls() -> None:
    path = FOLDER / "stateful_script.pt"
    for name, found, expected in call_together(path, read_calls(path)):
        assert relative_error(found, expected, name) <= TOLERANCE


def test_trained_digits() -> None:
    """99 of the 100 held-out images, which is what PyTorch gets right of them."""
    images, labels = np.load(DIGITS / "images.npy"), np.load(DIGITS / "labels.npy")
    module = aot.jit.load(str(DIGITS / "digits.pt"))
    found = plain(module(images[:10]))
    assert (found.argmax(1) == labels[:10]).all()
    function = aot.compile(module, example_inputs=(images,), threads=1)
    assert int((plain(function(images)).argmax(1) == labels).sum()) == 99


def test_traced_inputs_have_shapes_without_values() -> None:
    """PyTorch 2.13 writes their storages empty; the shapes are what --input needs."""
    for path, sizes in (
        (DIGITS / "digits.pt", (1, 1, 8, 8)),
        (FOLDER / "conv_trace.pt", (2, 3, 11, 13)),
    ):
        (example,) = read_archive(str(path)).traced_inputs()["forward"]
        assert tuple(example.sizes) == sizes and example.dtype is dtypes.f32
        assert not example.numpy().any()
