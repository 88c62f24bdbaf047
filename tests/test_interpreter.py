"""The numpy interpreter against plain Python loops over the meaning of each op."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lowering import build as B
from lowering import expr as E
from lowering import interpreter_contract, special_functions
from lowering.interpreter import run_program
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import bf16, bool_, f16, f32, f64, i8, i32, i64, u8
from runtime.errors import InputError, RuntimeFailure

RNG = np.random.default_rng(7)


def run(build, *arrays, dtypes=None):
    """The results of a program whose ops `build` appends, given Values for the arrays."""
    dtypes = dtypes or [B.dtype_of_numpy(a.dtype) for a in arrays]
    region = Region([Value(a.shape, d) for a, d in zip(arrays, dtypes)])
    with B.collect(region):
        out = build(*region.params)
    region.results = list(out) if isinstance(out, (list, tuple)) else [out]
    names = [f"x{i}" for i in range(len(arrays))]
    results = run_program(TensorProgram("test", region, names, "", ""), list(arrays))
    for value, array in zip(region.results, results):
        assert array.shape == value.shape and array.dtype == value.dtype.compute
    return results[0] if len(results) == 1 else results


def test_pointwise_broadcasts():
    x, y = RNG.random((3, 1, 4), np.float32), RNG.random((5, 1), np.float32)
    assert np.array_equal(run(lambda a, b: B.pointwise(lambda p, q: p * q + 1, a, b), x, y),
                          x * y + 1)


def test_views_are_windows_on_their_base():
    x = RNG.random((4, 6), np.float32)
    flipped = run(lambda a: B.reindex(a, (3, 4), lambda i, j: [3 - j, i * 2]), x)
    assert np.array_equal(flipped, x[::-1, ::2].T)


def test_gather_along_one_dim_and_along_two():
    x = RNG.random((5, 7), np.float32)
    rows = np.array([4, 0, 2], np.int64)
    where = RNG.integers(0, 5, (3, 7))
    picked = run(lambda a, r: B.compute((3, 7), lambda i, j: E.load(a, [E.load(r, [i]), j])),
                 x, rows)
    assert np.array_equal(picked, x[rows])
    along = run(lambda a, r: B.compute((3, 7), lambda i, j: E.load(a, [E.load(r, [i, j]), j])),
                x, where)
    assert np.array_equal(along, np.take_along_axis(x, where, 0))


def test_gather_out_of_bounds_fails():
    x, rows = np.zeros((5, 7), np.float32), np.array([5], np.int64)
    with pytest.raises(RuntimeFailure, match="out of bounds"):
        run(lambda a, r: B.compute((1, 7), lambda i, j: E.load(a, [E.load(r, [i]), j])), x, rows)


def test_padding_reads_only_where_valid():
    x = RNG.random((2, 3), np.float32)
    padded = run(lambda a: B.gather(a, (4, 5), lambda i, j: [i - 1, j - 1],
                                    lambda i, j: (i >= 1) & (i < 3) & (j >= 1) & (j < 4), 9.0), x)
    assert np.array_equal(padded, np.pad(x, 1, constant_values=9))


@pytest.mark.parametrize("combiner", ["add", "mul", "min", "max"])
@pytest.mark.parametrize("dims", [(0,), (1, 2), (0, 1, 2)])
def test_reductions(combiner, dims):
    x = RNG.random((3, 4, 5), np.float32)
    ufunc = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[combiner]
    expected = ufunc.reduce(x, axis=dims, dtype=np.float64)
    found = run(lambda a: B.reduce(combiner, a, dims, False), x)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_reductions_in_blocks_agree(monkeypatch):
    x = RNG.random((6, 50), np.float32)
    monkeypatch.setattr("lowering.interpreter.BLOCK_ELEMENTS", 17)
    np.testing.assert_allclose(run(lambda a: B.reduce("add", a, 1, False), x), x.sum(1), rtol=1e-6)
    np.testing.assert_allclose(run(lambda a: B.reduce("add", a, 0, False), x), x.sum(0), rtol=1e-6)
    assert np.array_equal(run(lambda a: B.pointwise(lambda p: p + p, a), x), x + x)
    assert np.array_equal(run(lambda a: B.reduce("argmax", a, 1, False), x), x.argmax(1))


def test_empty_reductions_give_the_neutral_element():
    x = np.zeros((2, 0), np.float32)
    assert run(lambda a: B.reduce("max", a, 1, False), x).tolist() == [-math.inf] * 2
    assert run(lambda a: B.reduce("add", a, 1, False), x).tolist() == [0, 0]
    i = np.zeros((2, 0), np.int8)
    assert run(lambda a: B.reduce("min", a, 1, False), i).tolist() == [127, 127]


def test_argmax_takes_the_first_and_nan_wins():
    x = np.array([[1, 3, 3], [2, math.nan, 9]], np.float32)
    assert run(lambda a: B.reduce("argmax", a, 1, False), x).tolist() == [1, 1]
    assert run(lambda a: B.reduce("argmin", a, 1, False), x).tolist() == [0, 1]
    assert run(lambda a: B.reduce("argmax", a, None, False), x).tolist() == 4


def test_integers_wrap_and_divide_by_zero():
    x, y = np.array([127, -128, -7, -7], np.int8), np.array([1, -1, 2, 0], np.int8)
    table = {"add": [-128, 127, -5, -7], "idiv": [127, -128, -3, 0], "irem": [0, 0, -1, 0],
             "floordiv": [127, -128, -4, 0], "mod": [0, 0, 1, 0]}
    for op, expected in table.items():
        found = run(lambda a, b: B.pointwise(lambda p, q: E.binary(op, p, q), a, b), x, y)
        assert found.tolist() == expected, op


def test_casts_saturate_from_floats_and_wrap_from_integers():
    def to(dtype):  # the node itself: E.cast may go a longer way, as PyTorch does
        return lambda a: B.compute(a.shape, lambda i: E.Expr("cast", (E.load(a, [i]),), dtype))

    x = np.array([1e30, -1e30, math.nan, 2.9, -2.9, math.inf], np.float32)
    big = 2**63 - 1
    assert run(to(i64), x).tolist() == [big, -big - 1, 0, 2, -2, big]
    assert run(to(i8), x).tolist() == [127, -128, 0, 2, -2, 127]
    assert run(to(u8), x).tolist() == [255, 0, 0, 2, 0, 255]
    assert run(to(bool_), x).tolist() == [True] * 6
    n = np.array([300, -1], np.int64)
    assert run(to(u8), n).tolist() == [44, 255]


def test_halves_round_to_even():
    x = np.array([1 + 2**-11, 1 + 3 * 2**-11, 70000], np.float64)
    assert run(lambda a: B.cast(a, f16), x).tolist() == [1, 1 + 2**-9, math.inf]
    y = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1e39], np.float64)
    assert run(lambda a: B.cast(a, bf16), y).tolist() == [1, 1 + 2**-6, math.inf]


def test_nan_rules_of_min_max():
    x, y = np.array([1, math.nan], np.float32), np.array([math.nan, 2], np.float32)
    assert np.isnan(run(lambda a, b: B.pointwise(E.maximum, a, b), x, y)).all()
    fmax = run(lambda a, b: B.pointwise(lambda p, q: E.binary("fmax", p, q), a, b), x, y)
    assert fmax.tolist() == [1, 2]


def convolution(x, w, stride=1, groups=1):
    """An unpadded 2-d convolution as one Generic."""
    n, c, h, wd = x.shape
    o, cg, kh, kw = w.shape
    oh, ow, og = (h - kh) // stride + 1, (wd - kw) // stride + 1, o // groups
    i, g, m, p, q, k, r, s = E.identity(8)
    body = (E.load(x, [i, g * cg + k, p * stride + r, q * stride + s])
            * E.load(w, [g * og + m, k, r, s]))
    y = B.generic((n, groups, og, oh, ow, cg, kh, kw), 5, body, "add")
    return B.reindex(y, (n, o, oh, ow), lambda a, b, c, d: [a, b // og, b % og, c, d])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("limit", [1 << 22, 50])
def test_contractions_are_sums_of_products(monkeypatch, groups, limit):
    monkeypatch.setattr(interpreter_contract, "OPERAND_ELEMENTS", limit)
    x = RNG.random((2, 4, 6, 7), np.float32)
    w = RNG.random((8, 4 // groups, 3, 2), np.float32)
    found = run(lambda a, b: convolution(a, b, 2, groups), x, w)
    expected = np.zeros((2, 8, 2, 3))
    for n, o, p, q in np.ndindex(expected.shape):
        first = o // (8 // groups) * (4 // groups)
        patch = x[n, first : first + 4 // groups, 2 * p : 2 * p + 3, 2 * q : 2 * q + 2]
        expected[n, o, p, q] = (patch.astype(np.float64) * w[o]).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_contraction_of_integers_wraps():
    x, y = np.array([[100, 100]], np.int8), np.array([[2], [1]], np.int8)
    i, j, k = E.identity(3)
    found = run(lambda a, b: B.generic((1, 1, 2), 2, E.load(a, [i, k]) * E.load(b, [k, j]), "add"),
                x, y)
    assert found.tolist() == [[44]]


def test_contraction_with_dims_that_neither_operand_has():
    x, y = RNG.random(3, np.float32), RNG.random(4, np.float32)
    i, j, k = E.identity(3)
    found = run(lambda a, b: B.generic((3, 5, 4), 1, E.load(a, [i]) * E.load(b, [k]) * 2.0, "add"),
                x, y)
    np.testing.assert_allclose(found, x * y.sum() * 10, rtol=1e-6)


def test_post_reads_the_accumulator():
    x, b = RNG.random((3, 4), np.float32), RNG.random(3, np.float32)
    i, k = E.identity(2)
    found = run(lambda a, c: B.generic((3, 4), 1, E.load(a, [i, k]), "add",
                                       E.acc(f32) * 0.5 + E.load(c, [i])), x, b)
    np.testing.assert_allclose(found, x.sum(1) * 0.5 + b, rtol=1e-6)


def test_insert_writes_into_a_copy_of_the_base():
    base, x = np.zeros((4, 6), np.float32), np.ones((2, 3), np.float32)
    found = run(lambda a, b: B.insert(a, b, [1, 0], [2, 2]), base, x)
    expected = base.copy()
    expected[1::2, ::2] = 1
    assert np.array_equal(found, expected) and not base.any()


def test_sort_is_stable_with_nan_greatest():
    x = np.array([3, math.nan, 1, 3, 1], np.float32)
    values, order = run(lambda a: B.sort(a, 0, False), x)
    assert order.tolist() == [2, 4, 0, 3, 1] and np.isnan(values[4])
    values, order = run(lambda a: B.sort(a, 0, True), x)
    assert order.tolist() == [1, 0, 3, 2, 4] and np.isnan(values[0])


def test_scans():
    x = np.array([[1, 3, 3, 2], [1, math.nan, 5, math.nan]], np.float32)
    values, where = run(lambda a: B.scan(a, 1, "max", True), x)
    assert where.tolist() == [[0, 1, 2, 2], [0, 1, 1, 3]]
    assert np.array_equal(values, np.maximum.accumulate(x, 1), equal_nan=True)
    i = np.array([100, 100], np.int8)
    assert run(lambda a: B.scan(a, 0, "add"), i)[0].tolist() == 100
    assert run(lambda a: B.scan(a, 0, "add"), i).tolist() == [100, -56]


def test_scatter_modes_and_out_of_bounds():
    base, at = np.full(3, 5, np.int64), np.array([0, 2, 0, 7, -1], np.int64)
    src = np.array([1, 2, 3, 4, 5], np.int64)
    expected = {"set": [3, 5, 2], "add": [9, 5, 7], "mul": [15, 5, 10], "max": [5, 5, 5],
                "min": [1, 5, 2]}
    for mode, result in expected.items():
        found = run(lambda b, i, s: B.scatter(b, (5,), lambda k: [E.load(i, [k])],
                                              lambda k: E.load(s, [k]), mode), base, at, src)
        assert found.tolist() == result, mode


def test_control():
    x = np.array(3, np.int64)
    doubled = lambda v: B.loop(5, [v], lambda n, a: [B.pointwise(lambda p, q: p + q, a, n)])[0]
    assert run(doubled, x) == 13
    chosen = lambda c, v: B.cond(c, lambda: [B.pointwise(lambda p: p + 1, v)], lambda: [v])
    assert run(chosen, np.array(True), x) == 4 and run(chosen, np.array(False), x) == 3
    with pytest.raises(RuntimeFailure, match="no good"):
        run(lambda c: [B.check(c, "no good")] and [c], np.array(False))


def test_inputs_are_checked():
    with pytest.raises(InputError, match="x0"):
        run(lambda a: a, np.zeros(3, np.float32), dtypes=[f64])


def test_special_functions():
    x = np.linspace(-8, 28, 20001)
    with np.errstate(all="ignore"):
        expected = np.array([math.erf(v) for v in x])
        assert np.abs(special_functions.erf(x) - expected).max() < 1e-15
        tail = x[x < 26]
        expected = np.array([math.erfc(v) for v in tail])
        assert np.abs(special_functions.erfc(tail) / expected - 1).max() < 1e-13
        y = special_functions.erf(np.linspace(-3, 3, 1001))
        assert np.abs(special_functions.erf(special_functions.erfinv(y)) - y).max() < 1e-15
        assert special_functions.erfinv(np.array([1.0, -1.0])).tolist() == [math.inf, -math.inf]
        # digamma is the derivative of lgamma, and digamma(1) is minus Euler's constant
        assert abs(special_functions.digamma(np.array(1.0)) + 0.57721566490153286) < 1e-15
        z = np.linspace(-3.9, 9, 500)
        slope = (special_functions.lgamma(z + 1e-5) - special_functions.lgamma(z - 1e-5)) / 2e-5
        close = np.abs(slope) < 50
        np.testing.assert_allclose(special_functions.digamma(z)[close], slope[close], rtol=1e-4,
                                   atol=1e-4)


def test_every_scalar_operation_has_a_meaning():
    from llvm_backend.kernel import BINARY, COMBINERS, COMPARE, UNARY
    from lowering import interpreter_scalar

    assert set(interpreter_scalar.UNARY) == UNARY
    assert set(interpreter_scalar.BINARY) == BINARY | COMPARE
    assert set(interpreter_scalar.REDUCE) == COMBINERS


def test_a_large_convolution_is_fast_enough_to_be_an_oracle():
    x, w = RNG.random((1, 64, 58, 58), np.float32), RNG.random((64, 64, 3, 3), np.float32)
    y = run(convolution, x, w)
    spot = (x[0, :, 10:13, 20:23].astype(np.float64) * w[5]).sum()
    assert abs(y[0, 5, 10, 20] / spot - 1) < 1e-6


def test_random_affine_loads_agree_with_loops():
    for _ in range(30):
        domain = tuple(int(n) for n in RNG.integers(1, 5, 3))
        shape, maps = [], []
        for _ in range(int(RNG.integers(1, 4))):
            steps = [int(s) for s in RNG.integers(0, 3, 3)]
            offset = int(RNG.integers(0, 3))
            shape.append(sum(s * (n - 1) for s, n in zip(steps, domain)) + offset + 1)
            maps.append((steps, offset))
        x = RNG.integers(0, 100, shape, dtype=np.int32)
        at = lambda i: [sum(s * k for s, k in zip(steps, i)) + c for steps, c in maps]
        found = run(lambda a: B.reindex(a, domain, lambda *i: [
            sum((k * s for s, k in zip(steps, i)), E.const(c)) for steps, c in maps]), x,
            dtypes=[i32])
        for i in itertools.product(*map(range, domain)):
            assert found[i] == x[tuple(at(i))]
