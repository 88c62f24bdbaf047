"""Chains of ops that go row by row, as one kernel: attention, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from llvm_backend.native import resolve_target
from lowering import build as B
from lowering import expr as E
from lowering.interpreter import run_program
from lowering.lower import lower_program
from lowering.optimize import optimize
from lowering.passes.row_groups import find_row_groups
from lowering.tensor_ir import Generic, Region, TensorProgram, Value
from lowering.tensor_verify import verify_program
from runtime.dtypes import f32
from tests.compiled_engines import run_compiled, with_structures

I = E.index


def attention(batch: int, heads: int, rows: int, columns: int, width: int, apart: bool = False,
              masked: bool = False, also: str = "") -> tuple[TensorProgram, list[np.ndarray]]:
    """softmax(q k^T / 8 + mask) v. apart: keys lie with their columns innermost. also: what else is
    a result: 'scores' (before the softmax), 'sums', or nothing."""
    rng = np.random.default_rng(rows)
    shapes = [(batch, rows, heads, width),
              (batch, heads, width, columns) if apart else (batch, columns, heads, width),
              (batch, columns, heads, width), (rows, columns)]
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes[:3 + masked]]
    region = Region([Value(a.shape, f32) for a in arrays])
    q, k, v = region.params[:3]
    with B.collect(region):
        key = [I(0), I(1), I(4), I(3)] if apart else [I(0), I(3), I(1), I(4)]
        s = B.generic((batch, heads, rows, columns, width), 4,
                      E.load(q, [I(0), I(2), I(1), I(4)]) * E.load(k, key), "add")
        s = B.generic((batch, heads, rows, columns), 4, E.load(s, [*map(I, range(4))]) * 0.125)
        if masked:
            s = B.generic(s.shape, 4, E.load(s, [*map(I, range(4))])
                          + E.load(region.params[3], [I(2), I(3)]))
        top = B.generic(s.shape, 3, E.load(s, [*map(I, range(4))]), "max")
        p = B.generic(s.shape, 4, E.unary("exp", E.load(s, [*map(I, range(4))])
                                          - E.load(top, [I(0), I(1), I(2)])))
        total = B.generic(s.shape, 3, E.load(p, [*map(I, range(4))]), "add")
        y = B.generic((batch, heads, rows, width, columns), 4,
                      E.load(p, [I(0), I(1), I(2), I(4)]) * E.load(v, [I(0), I(4), I(1), I(3)]),
                      "add")
        y = B.generic(y.shape, 4, E.load(y, [*map(I, range(4))])
                      / E.load(total, [I(0), I(1), I(2)]))
        region.results = [y, *{"scores": [s], "sums": [total], "": []}[also]]
    return TensorProgram("forward", region, [f"x{k}" for k in range(len(arrays))], "", ""), arrays


def chains(program: TensorProgram) -> list[int]:
    """The lengths of the chains that are left to the schedule."""
    target = resolve_target("native")
    optimize(program, target, after=lambda name, p: verify_program(p, name))
    return [len(g.ops) for g in find_row_groups(program.body, target)]


SIZES = [(1, 3, 128, 128, 32), (2, 2, 97, 131, 16), (1, 1, 200, 77, 24), (1, 4, 5, 2000, 8)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("apart, masked, also, cpu, threads", [
    (False, False, "", "native", 1), (True, True, "", "native", 2),
    (False, True, "sums", "native", 1), (False, True, "", "x86-64-v3", 1), (True, False, "scores", "native", 2)])
def test_attention_is_what_the_interpreter_says(size, apart, masked, also, cpu, threads) -> None:
    program, arrays = attention(*size, apart, masked, also)
    expected = run_program(program, arrays)
    found = run_compiled(attention(*size, apart, masked, also)[0], arrays, True, cpu, threads)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("masked, also, length", [(False, "", 5), (True, "", 5), (True, "sums", 5)])
def test_attention_is_one_chain(size, masked, also, length) -> None:
    assert chains(attention(*size, masked=masked, also=also)[0]) == [length]


def test_a_chain_begins_behind_scores_that_somebody_wants() -> None:
    assert chains(attention(*SIZES[0], also="scores")[0]) == [3]


def test_small_scores_stay_in_a_cache_by_themselves() -> None:
    assert chains(attention(1, 2, 16, 16, 8)[0]) == []


def test_layers_of_one_shape_are_one_kernel() -> None:
    """Two attentions, one after another, are scheduled once."""
    program, _ = attention(1, 2, 128, 128, 32)
    other, _ = attention(1, 2, 128, 128, 32)
    region = program.body
    region.params += other.body.params
    region.ops += other.body.ops
    region.results += other.body.results
    target = resolve_target("native")
    optimize(program, target)
    assert sum(isinstance(op, Generic) for op in region.ops) == 10
    lowered = lower_program(with_structures(program), target, "m")
    assert len(lowered.kernels()) == 2  # one rearranges keys, one is the chain


@pytest.mark.parametrize("size", SIZES[:2])
@pytest.mark.parametrize("cpu", ("native", "x86-64-v3"))
def test_rows_with_nan_and_infinity(size, cpu) -> None:
    """A NaN among the scores is in its row's results and in no other; -inf counts for nothing."""
    program, arrays = attention(*size, masked=True)
    rng, mask = np.random.default_rng(0), arrays[3]
    places = rng.integers(0, mask.shape[1], 40)
    for row, column in enumerate(places):
        mask[row, column] = (np.nan, -np.inf, np.inf, -np.nan)[row % 4]
    expected, = run_program(program, arrays)
    found, = run_compiled(attention(*size, masked=True)[0], arrays, True, cpu)
    bad = np.isnan(expected)
    assert bad.any() and not bad.all()
    np.testing.assert_array_equal(np.isnan(found), bad)
    np.testing.assert_allclose(found[~bad], expected[~bad], rtol=0,
                               atol=2e-6 * np.abs(expected[~bad]).max())


@pytest.mark.parametrize("columns", (1, 7, 16, 40, 64, 131))
@pytest.mark.parametrize("cpu", ("native", "x86-64-v3"))
@pytest.mark.parametrize("combiner", ("min", "max"))
def test_extremes_of_rows_keep_nan(columns, cpu, combiner) -> None:
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((60, columns)).astype(np.float32)
    x[np.arange(20), rng.integers(0, columns, 20)] = np.nan
    x[20:30] = np.inf
    x[30:40] = -np.inf
    region = Region([Value(x.shape, f32)])
    with B.collect(region):
        load = E.load(region.params[0], [I(0), I(1)])
        region.results = [B.generic(x.shape, 1, load, combiner)]
    program = TensorProgram("forward", region, ["x"], "", "")
    found, = run_compiled(program, [x], True, cpu)
    np.testing.assert_array_equal(found, getattr(x, combiner)(1))


def test_what_ends_a_product_stays_with_it() -> None:
    """x w + bias, read three times in other orders of dims: the sums are written with their bias,
    and the readers read memory."""
    rng = np.random.default_rng(0)
    x, w, bias, other = (rng.standard_normal(s).astype(np.float32)
                         for s in ((20, 24), (24, 36), (36,), (4, 20, 5)))
    region = Region([Value(a.shape, f32) for a in (x, w, bias, other)])
    with B.collect(region):
        y = B.generic((20, 36, 24), 2, E.load(region.params[0], [I(0), I(2)])
                      * E.load(region.params[1], [I(2), I(1)]), "add")
        y = B.pointwise(lambda s, c: s + c, y, region.params[2])
        y = B.generic((20, 3, 4, 3), 4, E.load(y, [I(0), I(1) * 12 + I(2) * 3 + I(3)]))
        parts = [B.generic((4, 20, 3), 3, E.load(y, [I(1), k, I(0), I(2)])) for k in range(3)]
        region.results = [B.generic((4, 3, 5, 20), 3, E.load(p, [I(0), I(3), I(1)])
                                    * E.load(region.params[3], [I(0), I(3), I(2)]), "add")
                          for p in parts]
    program = TensorProgram("forward", region, ["x", "w", "bias", "other"], "", "")
    expected = run_program(program, [x, w, bias, other])
    found = run_compiled(program, [x, w, bias, other], True)
    assert all(isinstance(op, Generic) and op.combiner == "add" for op in region.ops)
    assert [op.post is not None for op in region.ops] == [True, False, False, False]
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())
