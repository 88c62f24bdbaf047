"""Products whose factors lie badly: they are copied before, and the sums stay the sums."""

from __future__ import annotations

import numpy as np
import pytest

from llvm_backend.native import resolve_target
from lowering import build as B
from lowering import expr as E
from lowering.lower import lower_program
from lowering.optimize import optimize
from lowering.schedule import packing
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import f32, f64
from tests.compiled_engines import run_compiled, with_structures


def product(rows: int, columns: int, steps: int, batch: int, form: str, dtype=f32
            ) -> tuple[TensorProgram, list[np.ndarray], np.ndarray]:
    """x @ w of `batch` matrices; form: n or t for each, t is a matrix that lies transposed."""
    rng = np.random.default_rng(rows + columns)
    x = rng.uniform(-1, 1, (batch, rows, steps) if form[0] == "n" else (batch, steps, rows))
    w = rng.uniform(-1, 1, (batch, steps, columns) if form[1] == "n" else (batch, columns, steps))
    arrays = [x.astype(dtype.storage), w.astype(dtype.storage)]
    region = Region([Value(a.shape, dtype) for a in arrays])
    b, i, j, k = (E.index(d) for d in range(4))
    with B.collect(region):
        left = E.load(region.params[0], [b, i, k] if form[0] == "n" else [b, k, i])
        right = E.load(region.params[1], [b, k, j] if form[1] == "n" else [b, j, k])
        region.results = [B.generic((batch, rows, columns, steps), 3, left * right, "add")]
    wanted = (x if form[0] == "n" else x.transpose(0, 2, 1)) @ (
        w if form[1] == "n" else w.transpose(0, 2, 1))
    return TensorProgram("forward", region, ["x", "w"], "", ""), arrays, wanted


def names(rows: int, columns: int, steps: int, form: str) -> list[str]:
    target = resolve_target("x86-64-v4")
    program, _, _ = product(rows, columns, steps, 1, form)
    optimize(program, target)
    return [k.name for k in lower_program(with_structures(program), target, "m").kernels()]


@pytest.mark.parametrize("form, rows, columns, steps, ordered, columns_copied", [
    ("nn", 1024, 1024, 1024, False, True),  # rows 4096 bytes apart share a set of L1
    ("nn", 1040, 1040, 1040, False, False),
    ("nn", 32, 1024, 1024, False, False),  # too few rows read them
    ("nt", 256, 256, 256, False, True),  # columns that do not lie together always are
    ("nt", 4, 256, 256, False, False),  # dot products, where copying would take longer
    ("nt", 5, 256, 256, False, True),
    ("tn", 1024, 1024, 1024, True, True),
    ("tn", 256, 256, 256, False, False),
    ("tn", 1024, 32, 1024, False, False)])
def test_what_is_copied(form, rows, columns, steps, ordered, columns_copied) -> None:
    found = names(rows, columns, steps, form)
    assert any("_ordered" in n for n in found) == ordered
    assert any("_columns" in n for n in found) == columns_copied


@pytest.mark.parametrize("form", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("rows, columns, steps, batch", [
    (1, 50, 70, 3), (4, 31, 64, 1), (64, 64, 64, 1), (65, 67, 33, 3), (100, 96, 20, 2),
    (70, 65, 7, 1), (300, 200, 130, 1)])
@pytest.mark.parametrize("cpu, dtype, threads", [
    ("native", f32, 1), ("native", f32, 2), ("x86-64-v3", f64, 1)])
def test_copied_factors_give_the_product(form, rows, columns, steps, batch, cpu, dtype, threads,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_lies_badly", lambda *_: True)
    program, arrays, wanted = product(rows, columns, steps, batch, form, dtype)
    found, = run_compiled(program, arrays, True, cpu, threads)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())
