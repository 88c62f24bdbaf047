"""Accuracy and edge values of vector math, against numpy in a wider type.

f32 is compared with f64, f64 with the 80-bit long double of x86 (64-bit fraction), which leaves
errors of the reference at 2^-11 of ours. ULPS are the promised bounds in units of the last place.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from llvm_backend.expand_math import MATH, expand_math
from llvm_backend.jit import KernelLibrary, check_runs_here
from llvm_backend.kernel import KernelBuilder
from llvm_backend.native import resolve_target
from runtime.dtypes import DType, f32, f64
from runtime.errors import TargetError
from tests.backend_kernels import MATH_BINARY, MATH_UNARY, op_kernel

N = 1 << 14
LONG = np.longdouble
has_long_double = np.finfo(LONG).nmant >= 63

# op: (f32, f64)
ULPS = {
    "exp": (1.1, 1.1), "exp2": (1.3, 1.3), "expm1": (1.5, 2), "log": (1, 1), "log2": (1.3, 1.3),
    "log10": (1.5, 1.5), "log1p": (1.3, 1.3), "sin": (1.6, 2.2), "cos": (1.6, 2.2), "tan": (3, 4.5),
    "asin": (2.5, 2.5), "acos": (2, 2), "atan": (2, 2), "sinh": (3, 3), "cosh": (3, 3),
    "tanh": (2.2, 2.5), "asinh": (2, 2), "acosh": (2, 2), "atanh": (2, 2), "erf": (1.5, 2.5),
    "erfc": (0.6, 4), "erfinv": (0.6, 4), "lgamma": (0.6, 8), "digamma": (0.6, 6),
    "rsqrt": (1.5, 1.5), "pow": (0.6, 1.5), "atan2": (2, 2), "fmod": (0, 0),
}


@pytest.fixture(params=("x86-64", "x86-64-v3", "native"))
def target(request):
    t = resolve_target(request.param)
    try:
        check_runs_here(t)
    except TargetError as e:
        pytest.skip(str(e))
    return t


def spread(rng, low: float, high: float, n: int) -> np.ndarray:
    """Random signs, magnitudes 2^low .. 2^high."""
    return 2.0 ** rng.uniform(low, high, n) * rng.choice([-1.0, 1.0], n)


def samples(op: str, dtype: DType, arity: int) -> list[np.ndarray]:
    """Arguments that cover the domain, small and large magnitudes, and where formulas change."""
    rng = np.random.default_rng(sum(map(ord, op)) + dtype.bits)
    wide = 1 if dtype is f32 else 8
    quarter = N // 4
    near = rng.uniform(-4, 4, quarter)
    small = spread(rng, -30, 1, quarter)
    ranges = {"exp": (-87, 88), "exp2": (-125, 127.9), "expm1": (-50, 88), "sinh": (-88, 88),
              "cosh": (-88, 88)}
    if op in ranges:
        low, high = ranges[op]
        x = np.concatenate([near, small, rng.uniform(low * wide, high * wide, 2 * quarter)])
    elif op in ("log", "log2", "log10", "rsqrt"):
        x = np.abs(np.concatenate([near, 1 + small / 4, spread(rng, -120 * wide, 120 * wide,
                                                               2 * quarter)]))
    elif op == "log1p":
        x = np.concatenate([rng.uniform(-1, 1, quarter), small, 1 + small / 4,
                            abs(spread(rng, -30, 100, quarter))])
        x = np.where(x <= -1, 0.5, x)
    elif op == "acosh":
        x = 1 + np.abs(np.concatenate([near, small, spread(rng, -10, 100, 2 * quarter)]))
    elif op in ("asin", "acos", "atanh", "erfinv"):
        x = np.concatenate([rng.uniform(-1, 1, 2 * quarter), np.clip(small, -1, 1),
                            1 - abs(spread(rng, -23 if dtype is f32 else -52, -1, quarter))])
    elif op in ("sin", "cos", "tan"):
        turns = np.round(rng.uniform(-60000, 60000, quarter)) * (math.pi / 2)
        x = np.concatenate([near * 10, small, turns, spread(rng, 8, 120 * wide, quarter)])
    elif op in ("lgamma", "digamma"):
        x = np.abs(np.concatenate([near, small, near * 10, spread(rng, 1, 100, quarter)]))
    elif op in ("erf", "erfc", "tanh"):
        x = np.concatenate([near, small, near * 2.2, rng.uniform(-1, 1, quarter)])
    else:
        x = np.concatenate([near, small, spread(rng, -60, 60, 2 * quarter)])
    x = x.astype(dtype.storage)
    if op == "erfinv":
        x[abs(x) == 1] = 0.75
    if arity == 1:
        return [x]
    y = np.concatenate([rng.uniform(-4, 4, N // 2), spread(rng, -60, 60, N // 2)])
    if op == "pow":
        x = np.abs(x) + dtype.storage.type(1e-30)
        with np.errstate(divide="ignore"):
            size = np.maximum(np.abs(np.log(x.astype(float))), 1e-9)
            limit = (80 if dtype is f32 else 700) / size
        y = rng.uniform(-1, 1, N) * np.minimum(limit, 1e6)
    return [x, rng.permutation(y).astype(dtype.storage)]


def digamma_reference(x: np.ndarray) -> np.ndarray:
    """digamma for x > 0 in long double: raised to x >= 40, then the asymptotic series."""
    shift = np.zeros_like(x)
    y = x.copy()
    for _ in range(40):
        low = y < 40
        shift[low] += 1 / y[low]
        y[low] += 1
    terms = [LONG(1) / 6, LONG(-1) / 30, LONG(1) / 42, LONG(-1) / 30, LONG(5) / 66,
             LONG(-691) / 2730, LONG(7) / 6]
    tail = sum(b / (2 * k) * y ** (-2 * k) for k, b in enumerate(terms, 1))
    return np.log(y) - 1 / (2 * y) - tail - shift


def reference(op: str, dtype: DType, *xs: np.ndarray) -> np.ndarray:
    """The function in a wider type."""
    wide = np.float64 if dtype is f32 else LONG
    x, *rest = (v.astype(wide) for v in xs)
    direct = {"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
              "acosh": np.arccosh, "atanh": np.arctanh, "atan2": np.arctan2, "fmod": np.fmod,
              "rsqrt": lambda v: 1 / np.sqrt(v), "pow": np.power}
    with np.errstate(all="ignore"):
        if op == "digamma":
            return digamma_reference(x.astype(LONG)).astype(wide)
        if op in ("erf", "erfc", "lgamma"):  # the C library's, off by an ulp or two itself
            return np.array([getattr(math, op)(float(v)) for v in x], wide)
        if op == "erfinv":
            return inverse_of_erf(x).astype(wide)
        return direct.get(op, getattr(np, op, None))(x, *rest)


def inverse_of_erf(x: np.ndarray) -> np.ndarray:
    """Bisection on math.erf and math.erfc."""
    a = np.abs(x.astype(np.float64))
    low, high = a * 0.88, np.where(a < 0.5, a * 0.96, 6.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = np.array([math.erf(m) > v if v < 0.5 else math.erfc(m) < 1 - v
                          for m, v in zip(middle, a)])
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    y = ((low + high) / 2).astype(LONG)
    return np.sign(x) * y


def in_ulps(got: np.ndarray, want: np.ndarray, dtype: DType) -> np.ndarray:
    info = np.finfo(dtype.storage)
    with np.errstate(all="ignore"):
        exponent = np.frexp(np.abs(want))[1] - 1
    unit = np.ldexp(np.ones_like(want), np.maximum(exponent, info.minexp) - info.nmant)
    return np.abs(got.astype(want.dtype) - want) / unit


@pytest.mark.parametrize("dtype", (f32, f64), ids=str)
def test_errors_stay_in_bounds(target, dtype):
    if dtype is f64 and not has_long_double:
        pytest.skip("long double is no wider than double here")
    lanes = target.lanes(dtype.bytes)
    todo = [(op, 1) for op in MATH_UNARY] + [(op, 2) for op in MATH_BINARY]
    library = KernelLibrary([op_kernel(op, dtype, lanes, N, arity) for op, arity in todo], target)
    failures = []
    for (op, arity), function in zip(todo, library.functions):
        xs = samples(op, dtype, arity)
        count = 4000 if op in ("erfinv", "erf", "erfc", "lgamma") else N
        got = np.zeros(N, dtype.storage)
        function(*xs, got)
        every = N // count
        xs, got = [v[::every] for v in xs], got[::every]
        want = reference(op, dtype, *xs)
        finite = np.isfinite(want) & (np.abs(want) < float(np.finfo(dtype.storage).max))
        bound = ULPS[op][dtype is f64]
        if op in ("digamma", "lgamma") and dtype is f64:
            # around their zeros the references' absolute error is small: units of values up to 2
            got, want = got + np.copysign(1, want), want + np.copysign(1, want)
        if op == "erfinv" and dtype is f64:
            # the reference is as good as math.erf: its error counts for the slope of the inverse
            bound += 6
        error = np.where(finite, in_ulps(got, np.where(finite, want, 1), dtype), 0)
        worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
        if not error[worst] <= bound:
            failures.append(f"{op} {[float(v[worst]) for v in xs]}: got {got[worst]!r}, expected "
                            f"{want[worst]!r}, {float(error[worst]):.2f} ulp > {bound}")
    assert not failures, "\n".join(failures)


INF, NAN = math.inf, math.nan
# Beyond these, values at zeros, infinities and NaN are those of C's functions, as numpy has them.
EDGES = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-310, -1e-310,
         1e-40, -1e-40, 1e30, -1e30, 1e300, -1e300, 88.7, -88.0, -100.0, -103.9, -104.1, 128.0,
         -149.0, -150.1, 709.7, -745.0, -746.5, 710.5]
TABLES = {
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e30, 1.0)],
    "erfc": [(0.0, 1.0), (INF, 0.0), (-INF, 2.0), (NAN, NAN), (1e30, 0.0), (-1e30, 2.0)],
    "erfinv": [(0.0, 0.0), (-0.0, -0.0), (1.0, INF), (-1.0, -INF), (2.0, NAN), (-INF, NAN),
               (NAN, NAN)],
    "lgamma": [(0.0, INF), (-0.0, INF), (1.0, 0.0), (2.0, 0.0), (-1.0, INF), (-2.0, INF),
               (INF, INF), (-INF, INF), (NAN, NAN)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-1.0, NAN), (-2.0, NAN), (INF, INF), (-INF, NAN),
                (NAN, NAN)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-1.0, NAN), (NAN, NAN)],
}


@pytest.mark.parametrize("dtype", (f32, f64), ids=str)
def test_edges_of_unary_functions(target, dtype):
    n = 48
    names = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
             "acosh": "arccosh", "atanh": "arctanh"}
    for lanes in (1, 16):
        library = KernelLibrary([op_kernel(op, dtype, lanes, n, 1) for op in MATH_UNARY], target)
        for op, function in zip(MATH_UNARY, library.functions):
            table = TABLES.get(op)
            with np.errstate(all="ignore"):
                if table:
                    x, want = (np.resize(np.array(v, dtype.storage), n) for v in zip(*table))
                else:
                    x = np.resize(np.array(EDGES, dtype.storage), n)
                    want = getattr(np, names.get(op, op))(x)
            got = np.zeros(n, dtype.storage)
            function(x, got)
            check_edges(f"{op} {dtype} lanes {lanes}", x, got, want.astype(dtype.storage))


def check_edges(what: str, x, got: np.ndarray, want: np.ndarray) -> None:
    """NaN where NaN, equal infinities and signs, else 5 units (a denormal may differ by 2)."""
    nan = np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), nan, err_msg=f"{what} at {x}")
    infinite = np.isinf(want)
    np.testing.assert_array_equal(got[infinite], want[infinite], err_msg=f"{what} at {x}")
    np.testing.assert_array_equal(np.signbit(got[~nan]), np.signbit(want[~nan]),
                                  err_msg=f"sign of {what} at {x[~nan]}")
    finite = ~nan & ~infinite
    unit = np.spacing(np.abs(want[finite]))
    with np.errstate(invalid="ignore"):
        off = np.abs(got[finite] - want[finite]) > 5 * unit
    assert not off.any(), f"{what} at {x[finite][off]}: {got[finite][off]} not {want[finite][off]}"


@pytest.mark.parametrize("op", MATH_BINARY)
@pytest.mark.parametrize("dtype", (f32, f64), ids=str)
def test_edges_of_binary_functions(target, dtype, op):
    edges = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e-40, 1e30,
             -1e30, 2.5, 1e-3]
    if dtype is f64:
        edges += [1e300, 5e-324, -1e-310]
    with np.errstate(all="ignore"):
        x = np.array([a for a in edges for _ in edges], dtype.storage)
        y = np.array([b for _ in edges for b in edges], dtype.storage)
        n = -(-x.size // 16) * 16
        x, y = np.resize(x, n), np.resize(y, n)
        want = {"pow": np.power, "atan2": np.arctan2, "fmod": np.fmod}[op](x, y)
    for lanes in (1, 16):
        got = np.zeros(n, dtype.storage)
        KernelLibrary([op_kernel(op, dtype, lanes, n, 2)], target).functions[0](x, y, got)
        check_edges(f"{op} {dtype} lanes {lanes}", np.stack([x, y], 1), got, want)


def test_large_angles_are_reduced_exactly(target):
    """Against the C library, which reduces exactly too; and the f64 closest to a multiple of pi/2,
    by Muller, Elementary Functions, table 11.1."""
    x = np.array([-5.0**200, 7.0**300, 2.0**1023, 1e22, 2.0**60, 3.0**300, 1e9, -1e9 - 1])
    for op, exact in (("sin", math.sin), ("cos", math.cos), ("tan", math.tan)):
        got = np.zeros(8)
        KernelLibrary([op_kernel(op, f64, 8, 8, 1)], target).functions[0](x, got)
        np.testing.assert_allclose(got, [exact(v) for v in x], rtol=1e-15, err_msg=op)
    hardest, got = np.full(8, 6381956970095103.0 * 2.0**797), np.zeros(8)
    KernelLibrary([op_kernel("cos", f64, 8, 8, 1)], target).functions[0](hardest, got)
    np.testing.assert_allclose(got, -4.68716592425462761112e-19, rtol=1e-15)


@pytest.mark.parametrize("one_first", (False, True))
def test_one_plus_erf_is_as_good_as_a_sum(target, one_first):
    """Written as one function: its error is at most what the bound of erf and the rounding of the
    sum come to; below 0, where digits of a sum would cancel, nothing is lost."""
    lanes, few = target.lanes(f32.bytes), 3
    with np.errstate(over="ignore"):
        x = np.concatenate([samples("erf", f32, 1)[0], EDGES, -np.geomspace(0.1, 50, 500)])
        x = np.resize(x, -(-x.size // (few * lanes)) * few * lanes).astype(np.float32)
    b = KernelBuilder("plus_one")
    given, out = b.buffer("x", f32, x.size, False), b.buffer("y", f32, x.size, True)
    with b.loop(0, x.size, few * lanes) as f:
        one = b.const(1.0, f32, lanes)
        erfs = [b.unary("erf", b.load(given, f.counter, lanes, offset=k * lanes))
                for k in range(few)]
        for k, v in enumerate(erfs):
            b.store(out, f.counter, b.binary("add", *((one, v) if one_first else (v, one))),
                    offset=k * lanes)
    got = np.zeros_like(x)
    KernelLibrary([b.kernel], target).functions[0](x, got)
    want = np.array([math.erfc(-float(v)) for v in x])
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    known = ~np.isnan(want)
    error = np.abs(got - want)[known]
    bound = ULPS["erf"][0] * 2.0**-24 + 2.0**-24
    assert error.max() <= bound, x[known][np.argmax(error)]
    assert error[x[known] < -1].max() <= 2.0**-24 and (got[x < -4] == 0).all()


@pytest.mark.parametrize("k, c", [(0.5, math.sqrt(0.5)), (1.0, 1.0), (3.0, 0.25)])
@pytest.mark.parametrize("order", ("(k x) s", "x s", "s (x k)"))
def test_gelu_is_one_function(target, k, c, order):
    """k x (1 + erf(c x)) as it may be written, beside what it comes to step by step in f64."""
    lanes = target.lanes(f32.bytes)
    x = np.concatenate([samples("erf", f32, 1)[0], np.linspace(-40, 40, 801),
                        [INF, -INF, NAN, 0.0, 1e30, -1e30]])
    x = np.resize(x, -(-x.size // lanes) * lanes).astype(np.float32)
    b = KernelBuilder("gelu")
    given, out = b.buffer("x", f32, x.size, False), b.buffer("y", f32, x.size, True)
    with b.loop(0, x.size, lanes) as f:
        v = b.load(given, f.counter, lanes)
        number = [b.const(n, f32, lanes) for n in (k, c, 1.0)]
        total = b.binary("add", number[2], b.unary("erf", b.binary("mul", v, number[1])))
        if order == "(k x) s":
            y = b.binary("mul", b.binary("mul", number[0], v), total)
        elif order == "x s":
            y = b.binary("mul", b.binary("mul", v, total), number[0])
        else:
            y = b.binary("mul", total, b.binary("mul", v, number[0]))
        b.store(out, f.counter, y)
    assert not any(s.op in ("erf", "div") for s in expand_math(b.kernel, target).body[-1].body)
    got = np.zeros_like(x)
    KernelLibrary([b.kernel], target).functions[0](x, got)
    with np.errstate(all="ignore"):
        wide = x.astype(float)
        want = k * wide * np.array([math.erfc(-float(v) * c) for v in x])
    want[x == -INF] = 0
    assert np.isnan(got[np.isnan(x)]).all() and (got[x == INF] == INF).all()
    known = np.isfinite(want)
    # the sum and two products round, too, by half a unit each at least
    bound = 2 * k * np.abs(wide[known]) * (ULPS["erf"][0] + 2) * 2.0**-24 + 1e-37
    worst = np.argmax(np.abs(got[known] - want[known]) / bound)
    assert np.abs(got[known] - want[known])[worst] <= bound[worst], (x[known][worst], k, c)


def test_every_operation_has_a_bound():
    assert set(ULPS) == set(MATH) == set(MATH_UNARY) | set(MATH_BINARY)
