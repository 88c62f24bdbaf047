"""Long sums of products, done in blocks of the reduced dim, against numpy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from llvm_backend.native import resolve_target
from lowering import build as B
from lowering import expr as E
from lowering.lower import lower_program
from lowering.optimize import optimize
from lowering.schedule import sum_blocks
from lowering.schedule.sum_blocks import _LEAST_ROWS, _MOST_STEPS
from lowering.schedule.tiles import choose_tile
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import f32, f64
from tests.compiled_engines import run_compiled, with_structures


def product(rows: int, columns: int, steps: int, dtype, constant: bool,
            batch: int = 1) -> tuple[TensorProgram, list[np.ndarray], np.ndarray]:
    """relu(x @ w + bias) + residual; w is a constant or an argument, x has `batch` matrices."""
    rng = np.random.default_rng(rows)
    x, w, bias, residual = (
        rng.uniform(-1, 1, shape).astype(dtype.storage)
        for shape in ((batch, rows, steps), (steps, columns), (columns,), (batch, rows, columns)))
    arrays = [x, residual] + ([] if constant else [w])
    region = Region([Value(a.shape, dtype) for a in arrays])
    with B.collect(region):
        right = B.constant(w, dtype) if constant else region.params[2]
        b, i, j, k = (E.index(d) for d in range(4))
        sums = B.generic((batch, rows, columns, steps), 3,
                         E.load(region.params[0], [b, i, k]) * E.load(right, [k, j]), "add")
        y = B.pointwise(lambda s, c: E.maximum(s + c, 0), sums, B.constant(bias, dtype))
        region.results = [B.pointwise(lambda p, q: p + q, y, region.params[1])]
    wanted = np.maximum(x.astype(np.float64) @ w + bias, 0) + residual
    return TensorProgram("forward", region, ["x", "r", "w"][:len(arrays)], "", ""), arrays, wanted


@pytest.mark.parametrize("rows, columns, steps, batch", [
    (_LEAST_ROWS, 600, _MOST_STEPS + 1, 1),  # two blocks, the last one shorter
    (_LEAST_ROWS + 3, 557, 2 * _MOST_STEPS + 37, 1),  # several: a loop between first and last
    (300, 600, 2048, 1),  # rows in blocks too
    (70, 600, 801, 2),
    (_LEAST_ROWS - 1, 600, 801, 1),  # few rows: in one
])
@pytest.mark.parametrize("cpu, constant, dtype, threads", [
    ("native", True, f32, 1), ("native", False, f32, 2), ("x86-64-v3", True, f64, 1)])
def test_blocks_of_the_sum_give_the_sum(rows, columns, steps, batch, cpu, constant, dtype,
                                        threads, monkeypatch) -> None:
    monkeypatch.setattr(sum_blocks, "_stays", lambda b_bytes, target: False)
    program, arrays, wanted = product(rows, columns, steps, dtype, constant, batch)
    found, = run_compiled(program, arrays, True, cpu, threads)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("rows, steps, divided", [
    (_LEAST_ROWS, _MOST_STEPS + 1, True), (_LEAST_ROWS, _MOST_STEPS, False),
    (_LEAST_ROWS - 1, _MOST_STEPS + 1, False)])
def test_long_sums_of_many_rows_are_divided(rows: int, steps: int, divided: bool) -> None:
    target = replace(resolve_target("native"), l3=600 * (_MOST_STEPS + 1) * 8)  # twice b
    program, _, _ = product(rows, 600, steps, f32, True)
    optimize(program, target)
    kernels = lower_program(with_structures(program), target, "m").kernels()
    assert any("_rows" in kernel.name for kernel in kernels) == divided


def test_a_factor_that_stays_in_the_last_cache_is_left_whole() -> None:
    target = replace(resolve_target("native"), l3=600 * (_MOST_STEPS + 1) * 8 + 8)
    program, _, _ = product(_LEAST_ROWS, 600, _MOST_STEPS + 1, f32, True)
    optimize(program, target)
    kernels = lower_program(with_structures(program), target, "m").kernels()
    assert not any("_rows" in kernel.name for kernel in kernels)


@pytest.mark.parametrize("rows, columns, steps, batch", [
    (128, 96, 40, 1), (29, 70, 24, 1), (1, 200, 64, 1), (7, 33, 48, 3), (300, 31, 20, 2)])
@pytest.mark.parametrize("cpu, threads", [("native", 1), ("native", 2), ("x86-64-v3", 1)])
@pytest.mark.parametrize("reads_result", (False, True))
def test_long_functions_of_sums(rows, columns, steps, batch, cpu, threads, reads_result) -> None:
    """They are applied row by row behind a tile; with edges, several rows a tile, and operands."""
    program, arrays, _ = product(rows, columns, steps, f32, True, batch)
    region = program.body
    with B.collect(region):
        y, = region.results
        y = B.pointwise(lambda s: 0.5 * s * (1 + E.unary("erf", s * math.sqrt(0.5))), y)
        if reads_result:
            y = B.pointwise(lambda s, r: E.unary("tanh", s) * r, y, region.params[1])
        region.results = [y]
    wanted, = run_compiled(program, arrays, False, cpu, threads)
    found, = run_compiled(program, arrays, True, cpu, threads)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def test_a_sum_over_several_dims_that_lie_in_a_row_is_divided_as_one(monkeypatch) -> None:
    monkeypatch.setattr(sum_blocks, "_stays", lambda b_bytes, target: False)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (300, 30, 29)).astype(np.float32)
    w = rng.uniform(-1, 1, (30, 29, 600)).astype(np.float32)
    region = Region([Value(x.shape, f32)])
    with B.collect(region):
        i, j, k, n = (E.index(d) for d in range(4))
        region.results = [B.generic((300, 600, 30, 29), 2, E.load(region.params[0], [i, k, n])
                                    * E.load(B.constant(w, f32), [k, n, j]), "add")]
    program = TensorProgram("forward", region, ["x"], "", "")
    found, = run_compiled(program, [x], True, "native", 1)
    wanted = np.tensordot(x.astype(np.float64), w, 2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_rows_that_share_a_set_of_the_first_cache_are_not_taken_together() -> None:
    target = resolve_target("x86-64-v4")
    assert choose_tile(1, 1024, 16, 16, False, target, 0, 4160).rows > 16
    assert choose_tile(1, 1024, 16, 16, False, target, 0, 4096).rows <= 12
    assert choose_tile(1, 1024, 16, 16, False, target, 0, 2048).rows <= 24
