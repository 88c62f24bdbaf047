"""--tune measures what the cost model chooses; what it keeps changes code, and no results."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aot
from aot import pipeline, tune, tuned
from aot.cli import main
from aot.compiler import compile_archive
from aot.inputs import parse_inputs
from aot.options import CompileOptions
from aot.progress import Progress
from llvm_backend.native import native_target
from llvm_backend.target import TARGETS
from lowering.schedule.knobs import Knobs, knobs_fit, knobs_of
from lowering.schedule.product import Product
from runtime.errors import AotError, CompileError

X = np.random.default_rng(0).standard_normal((1, 3, 20, 18)).astype(np.float32)


class Layers(aot.nn.Module):
    """A convolution, a depthwise one, and a product of few rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first = aot.nn.Conv2d(3, 24, 3, stride=2, padding=1)
        self.deep = aot.nn.Conv2d(24, 24, 5, groups=24)
        self.last = aot.nn.Linear(24, 37)

    def forward(self, x: aot.Tensor) -> aot.Tensor:
        return self.last(self.deep(aot.relu(self.first(x))).mean((2, 3)))


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOT_CACHE", str(tmp_path / "cache"))
    for name, value in {"_TILES": 4, "_TURN": 1e-4, "_DUEL": 3, "_MOST_COPIES": 2}.items():
        monkeypatch.setattr(tune, name, value)


def write(folder: Path, module: aot.nn.Module) -> Path:
    path = folder / "m.pt"
    aot.jit.save(aot.jit.script(module.eval()), path)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    aot.manual_seed(0)
    return write(tmp_path, Layers())


def options(**given: object) -> CompileOptions:
    return CompileOptions(parse_inputs(["x:f32[1,3,20,18]"]), **given)


def run(archive: Path, given: CompileOptions) -> tuple[np.ndarray, str]:
    compiled = compile_archive(archive, given, Progress())
    return compiled(X), compiled.text("llvm")


def stored(path: Path) -> dict[str, dict[str, list[int]]]:
    return json.loads(path.read_text())["rows"]


def test_every_product_is_measured_and_kept(archive: Path, tmp_path: Path) -> None:
    outcomes = tune.tune_archive(archive, options(), Progress())
    assert len(outcomes) == 3 and all(o.ratio == 1 or o.ratio >= 1.03 for o in outcomes)
    assert all((o.chosen == o.fastest) == (o.ratio == 1) for o in outcomes)
    (cpu, rows), = stored(tmp_path / "cache/tuned.json").items()
    assert cpu.startswith("native ") and {o.kernel: list(o.fastest.row()) for o in outcomes} == rows
    text = tune.table(outcomes)
    assert all(o.kernel in text for o in outcomes) and "of 3 kernels faster" in text


def test_what_is_kept_changes_the_code_and_not_the_results(archive: Path, tmp_path: Path) -> None:
    wanted, before = run(archive, options())
    assert run(archive, options())[1] == before
    tune.tune_archive(archive, options(), Progress())
    path = tmp_path / "cache/tuned.json"
    (_, rows), = stored(path).items()
    # Other knobs than anybody would choose: one row and one vector at a time.
    odd = {kernel: (1, 1, 1, row[3], row[3], 0) for kernel, row in rows.items()}
    tuned.keep_rows(path, "native", odd)
    found, after = run(archive, options())
    assert after != before, "found in the cache, or not read"
    assert np.allclose(found, wanted, atol=1e-5)
    assert run(archive, options(optimize=False))[1] == run(
        archive, options(optimize=False, tune_db=str(path)))[1]
    os.rename(path, tmp_path / "elsewhere")
    assert run(archive, options())[1] == before
    assert run(archive, options(tune_db=str(tmp_path / "elsewhere")))[1] == after


def test_knobs_that_no_schedule_can_have_are_not_used(archive: Path, tmp_path: Path) -> None:
    before = run(archive, options())[1]
    tune.tune_archive(archive, options(), Progress())
    path = tmp_path / "cache/tuned.json"
    (_, rows), = stored(path).items()
    kernel = next(iter(rows))
    for row in ([], [1] * 5, [0, 1, 1, 16, 16, 0], [1, 1, 1, 3, 3, 0], [1, 99, 9, 16, 144, 0],
                [1, 1, 1, 16, 10**30, 0], [1, 1, 1, 16, 16, 7], [1, 1, 1, 16, 16, -4]):
        tuned.keep_rows(path, "native", {k: tuple(row) for k in rows})
        assert run(archive, options())[1] == before, (kernel, row)


def test_rows_for_several_cpus_share_their_panels(archive: Path, tmp_path: Path) -> None:
    levels = [n for n in ("x86-64-v2", "x86-64-v3", "x86-64-v4")
              if set(TARGETS[n].features) <= set(native_target().features)]
    both = options(cpu=",".join(levels[-2:]))
    wanted = run(archive, both)[0]
    outcomes = tune.tune_archive(archive, both, Progress())
    assert {o.cpu for o in outcomes} == set(levels[-2:]) == set(
        stored(tmp_path / "cache/tuned.json"))
    assert np.allclose(run(archive, both)[0], wanted, atol=1e-5)


def test_long_sums_are_divided_as_the_knobs_say(tmp_path: Path) -> None:
    archive = write(tmp_path, aot.nn.Linear(1030, 40))
    given = CompileOptions(parse_inputs(["x:f32[70,1030]"]))
    outcome, = tune.tune_archive(archive, given, Progress())  # which compares the results
    seen: list[Product] = []

    class Keeps:
        def find(self, product: Product) -> Knobs | None:
            seen.append(product)
            return replace(outcome.chosen, sum_block=256)

    target = replace(native_target(), choices=Keeps())
    (_, _, products, _), = pipeline.products_of(aot.jit.load(archive), given, "it", Progress(), {})
    product, = products.values()
    assert knobs_of(product, target).sum_block == 256 and seen == [product]
    assert knobs_fit(outcome.chosen, product, target)
    assert not knobs_fit(replace(outcome.chosen, sum_block=2000), product, target)


@pytest.mark.parametrize(("content", "problem"), [
    (b"{", "expected a database"), (b"\xff\xfe", "expected a database"), (b"[]", "begin with"),
    (b'{"aot-tune": 1, "rows": {"native": {"k": "x"}}}', "list of integers"),
    (b'{"aot-tune": 1, "rows": 3}', "expected a database"),
])
def test_a_file_that_is_no_database(archive: Path, tmp_path: Path, content: bytes,
                                    problem: str) -> None:
    path = tmp_path / "db"
    path.write_bytes(content)
    with pytest.raises(CompileError, match=problem):
        run(archive, options(tune_db=str(path)))
    with pytest.raises(CompileError, match="--tune makes it"):
        run(archive, options(tune_db=str(tmp_path / "missing")))


def test_the_command_line(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AOT_CACHE", "0")
    command = [str(archive), "--input", "x:f32[1,3,20,18]", "-o", str(tmp_path / "m.o")]
    assert main([*command, "--tune"]) == 2
    assert "give --tune-db FILE" in capsys.readouterr().err
    database = ["--tune-db", str(tmp_path / "db")]
    assert main([*command, *database, "--tune", "--verify"]) == 0
    said = capsys.readouterr().out
    assert "cost model" in said and "tune: " in said and "verify: largest error" in said
    assert main([*command, *database]) == 0
    with pytest.raises(AotError, match="no directory"):
        tune.tune_archive(archive, options(tune_db=str(tmp_path / "no/db")), Progress())
