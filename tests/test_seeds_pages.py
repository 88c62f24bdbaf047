"""The tutorials of TorchScript, listing by listing, with `import aot as torch` (pages: tests/seeds).

Each page is run as one program. What it prints is what the page shows, and, where PyTorch is
installed, what the same program prints with it, digit for digit.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from runtime.c_compiler import INCLUDE_DIR
from tests.conftest import needs_torch, require
from tests.listings import Listing, check_shown, form, read_page, run_listings
from tests.sample_model import WARNINGS, compile_c, run

PAGES = ["introduction", "overview", "chapter", "cpp_export"]


@pytest.fixture(scope="module")
def run_page(tmp_path_factory: pytest.TempPathFactory):
    """A page's Python listings, what each printed, stderr and the folder; run once."""
    done: dict[str, tuple[list[Listing], list[str], str, Path]] = {}

    def get(name: str) -> tuple[list[Listing], list[str], str, Path]:
        if name not in done:
            listings = [x for x in read_page(name) if x.language == "python"]
            folder = tmp_path_factory.mktemp(name)
            printed, errors = run_listings([x.source for x in listings], folder)
            done[name] = listings, printed, errors, folder
        return done[name]

    return get


@pytest.mark.parametrize("name", PAGES)
def test_page(run_page, name: str) -> None:
    listings, printed, errors, _ = run_page(name)
    for listing, text in zip(listings, printed):
        check_shown(listing, text)
    expected = [text for listing in listings for text in listing.of("warning")]
    assert re.sub(r"^\S+\.py:\d+: ", "", errors, flags=re.M) == "".join(expected)


@needs_torch
@pytest.mark.parametrize("name", PAGES)
def test_page_prints_what_it_prints_with_pytorch(run_page, name: str, tmp_path: Path) -> None:
    listings, printed, _, _ = run_page(name)
    expected, _ = run_listings([x.source for x in listings], tmp_path, "torch")
    for listing, ours, theirs in zip(listings, printed, expected):
        if listing.source.startswith("import torch  #") or listing.of("pattern"):
            continue  # the generator's and the library's own names
        assert ours == theirs, listing.source


def test_cpp_programs(run_page, tmp_path: Path) -> None:
    """The page's C++ programs with our headers, on its model; the numbers are Python's."""
    require(shutil.which("g++") is not None, "a C++ compiler")
    from aot.cli import main

    listings, printed, _, folder = run_page("cpp_export")
    library = tmp_path / "model.so"
    assert main([str(folder / "model.pt"), "--input", "x:f32[1,3,224,224]", "--emit", "lib",
                 "-o", str(library)]) == 0
    programs = [x for x in read_page("cpp_export") if x.language == "cpp"]
    assert len(programs) == 2
    for program in programs:
        source = tmp_path / "example-app.cpp"
        source.write_text(program.source)
        compile_c(["-std=c++17", "-O1", *WARNINGS, f"-I{INCLUDE_DIR}", source, "-ldl",
                   "-o", tmp_path / "example-app"], cxx=True)
        done = run([tmp_path / "example-app", library])
        assert (done.returncode, done.stderr) == (0, "")
        check_shown(program, done.stdout)
    (in_python,) = [text for x, text in zip(listings, printed) if "output[0, :5]" in x.source]
    # The page's model is in training mode and its image all ones: what the statistics divide by is
    # small, and so roundings grow; printed are four digits.
    assert numbers(done.stdout) == pytest.approx(numbers(in_python), abs=1.01e-4)
    assert run([tmp_path / "example-app"]).stderr.startswith("usage: example-app")


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+\.\d{4}", text)]
