"""Every Kernel instruction through LLVM against numpy: dtypes, lanes, special values, targets."""

from __future__ import annotations

import numpy as np
import pytest

from llvm_backend.jit import KernelLibrary, check_runs_here
from llvm_backend.kernel import COMPARE, KernelBuilder, Type
from llvm_backend.native import resolve_target
from runtime import dtypes
from runtime.dtypes import (
    ALL, DType, bf16, bool_, f16, f32, f64, i32, i64, round_bf16, to_storage,
)
from runtime.errors import TargetError
from tests.backend_kernels import (COMPUTE, FLOAT_BINARY, FLOAT_UNARY, INT_BINARY, INT_UNARY,
                                   op_kernel)

TARGET_NAMES = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
N = 480  # a multiple of every lanes below
LANES = (1, 5, 16)


@pytest.fixture(params=TARGET_NAMES)
def target(request):
    t = resolve_target(request.param)
    try:
        check_runs_here(t)
    except TargetError as e:
        pytest.skip(str(e))
    return t


def values(dtype: DType, seed: int, n: int = N) -> np.ndarray:
    """Ordinary values with every special one among them, as an interface array."""
    rng = np.random.default_rng(seed)
    if dtype is bool_:
        return rng.integers(0, 2, n).astype(np.bool_)
    if dtype.is_float:
        info = np.finfo(np.float32 if dtype is bf16 else dtype.storage)
        x = (rng.standard_normal(n) * 2.0 ** rng.uniform(-8, 8, n)).astype(np.float64)
        special = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, -0.5, 0.49999997, float(info.max),
                   float(info.min), float(info.tiny), float(info.smallest_subnormal), np.inf,
                   -np.inf, np.nan, 2.0**23, 2.0**31, -(2.0**31), 2.0**52 + 1, 2.0**63, 255.5]
        x[rng.choice(n, len(special) * 4, replace=False)] = special * 4
        with np.errstate(over="ignore"):
            return dtypes.to_storage(x.astype(dtype.compute), dtype)
    info = np.iinfo(dtype.storage)
    x = rng.integers(info.min, info.max, n, dtype.storage, endpoint=True)
    x[: n // 2] = rng.integers(-9 if dtype.kind == "i" else 0, 10, n // 2).astype(dtype.storage)
    special = [0, 1, info.max, info.min, info.max - 1] * 6
    x[rng.choice(n, len(special), replace=False)] = np.array(special, dtype.storage)
    return x


def int_divide(a: np.ndarray, b: np.ndarray, floor: bool) -> tuple[np.ndarray, np.ndarray]:
    """(quotient, remainder) in Python integers, as kernel.py defines them."""
    quotients, remainders = [], []
    for x, y in zip(a.tolist(), b.tolist()):
        if y == 0:
            quotients.append(0)
            remainders.append(0)
            continue
        q = x // y if floor or (x < 0) == (y < 0) else -(-x // y)
        quotients.append(q)
        remainders.append(x - q * y)
    wrap = (1 << (8 * a.itemsize)) - 1
    unsigned = np.dtype(f"u{a.itemsize}")
    return (np.array([q & wrap for q in quotients], unsigned).view(a.dtype),
            np.array([r & wrap for r in remainders], unsigned).view(a.dtype))


def shifted(op: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    bits = 8 * a.itemsize
    amounts = b.astype(np.int64)
    inside = (amounts >= 0) & (amounts < bits)
    if op == "shl":
        return np.where(inside, a << np.where(inside, b, 0), 0).astype(a.dtype)
    if a.dtype.kind == "i":
        return a >> np.where(inside, b, bits - 1).astype(a.dtype)
    return np.where(inside, a >> np.where(inside, b, 0), 0).astype(a.dtype)


def expected(op: str, *xs: np.ndarray) -> np.ndarray:
    a, b = (*xs, None)[:2]
    simple = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
              "min": np.minimum, "max": np.maximum, "fmin": np.fmin, "fmax": np.fmax,
              "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor,
              "ceil": np.ceil, "trunc": np.trunc, "round": np.rint, "not": np.invert,
              "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "lt": np.less,
              "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
              "ne": np.not_equal}
    with np.errstate(all="ignore"):
        if op in simple:
            return simple[op](*xs)
        if op in ("idiv", "irem"):
            return int_divide(a, b, floor=False)[op == "irem"]
        if op in ("floordiv", "mod"):
            return int_divide(a, b, floor=True)[op == "mod"]
        return shifted(op, a, b)


def same(got: np.ndarray, want: np.ndarray, signed_zeros: bool = True) -> None:
    """Equal bits; any NaN equals any NaN."""
    if got.dtype.kind == "f":
        nan = np.isnan(want)
        np.testing.assert_array_equal(np.isnan(got), nan)
        np.testing.assert_array_equal(got[~nan], want[~nan])
        if signed_zeros:
            np.testing.assert_array_equal(np.signbit(got[~nan]), np.signbit(want[~nan]))
    else:
        np.testing.assert_array_equal(got, want)


def cases() -> list[tuple[str, DType, int]]:
    """(op, dtype, arity)."""
    found = []
    for d in COMPUTE:
        if d.is_float:
            unary, binary = FLOAT_UNARY, FLOAT_BINARY
        elif d is bool_:
            unary, binary = ("not",), ("and", "or", "xor", "min", "max")
        else:
            unary, binary = INT_UNARY, INT_BINARY
        found += [(op, d, 1) for op in unary] + [(op, d, 2) for op in binary]
        found += [(op, d, 2) for op in sorted(COMPARE)]
    return found


@pytest.mark.parametrize("lanes", LANES)
def test_arithmetic(target, lanes):
    todo = cases()
    library = KernelLibrary([op_kernel(op, d, lanes, N, arity) for op, d, arity in todo], target)
    for (op, d, arity), function in zip(todo, library.functions):
        xs = [values(d, seed) for seed in range(arity)]
        out = np.zeros(N, function.kernel.buffers[-1].dtype.storage)
        function(*xs, out)
        try:
            same(out, expected(op, *xs), signed_zeros=op not in ("min", "max", "fmin", "fmax"))
        except AssertionError as e:
            raise AssertionError(f"{op} {d} lanes {lanes} on {target.name}: {e}") from None


def cast_expected(x: np.ndarray, d: DType, to: DType) -> np.ndarray:
    wide = dtypes.to_compute(x, d)
    with np.errstate(all="ignore"):
        if to is bool_:
            return wide != 0
        if d.is_float and not to.is_float:
            info = np.iinfo(to.storage)
            whole = [0 if v != v else info.max if v >= info.max else info.min if v <= info.min
                     else int(v) for v in wide.tolist()]
            return np.array(whole, to.storage)
        if to in (f16, bf16):
            return dtypes.to_storage(wide.astype(np.float32).astype(to.compute), to)
        return wide.astype(to.storage)


@pytest.mark.parametrize("lanes", LANES)
def test_casts(target, lanes):
    todo = [(a, b) for a in ALL for b in ALL if a is not b]
    library = KernelLibrary([op_kernel("cast", a, lanes, N, 1, b) for a, b in todo], target)
    for (d, to), function in zip(todo, library.functions):
        x = values(d, 7)
        out = np.zeros(N, to.storage)
        function(x, out)
        want = cast_expected(x, d, to)
        if to is bf16:
            out, want = dtypes.to_compute(out, to), dtypes.to_compute(want, to)
        try:
            same(out, want)
        except AssertionError as e:
            raise AssertionError(f"cast {d} to {to} lanes {lanes} on {target.name}: {e}") from None


def test_every_half_converts_exactly(target):
    """All 65,536 halves to float and back; NaN stays NaN."""
    n = 1 << 16
    library = KernelLibrary([op_kernel("cast", f16, 16, n, 1, f32),
                             op_kernel("cast", f32, 16, n, 1, f16)], target)
    halves = np.arange(n, dtype=np.uint16).view(np.float16)
    floats, back = np.zeros(n, np.float32), np.zeros(n, np.float16)
    library.functions[0](halves, floats)
    same(floats, halves.astype(np.float32))
    library.functions[1](floats, back)
    same(back, halves)
    # halfway between neighbours, and one step of f32 to either side
    middles = (floats[:-1] + floats[1:]) / 2
    middles = np.resize(middles[np.isfinite(middles)], n).astype(np.float32)
    for x in (middles, np.nextafter(middles, np.float32(9e9)),
              np.nextafter(middles, np.float32(-9e9))):
        library.functions[1](x, back)
        with np.errstate(over="ignore"):
            same(back, x.astype(np.float16))


@pytest.mark.parametrize("lanes", (1, 3, 8, 16, 17))
def test_reduce(target, lanes):
    todo = [(c, d) for c in ("add", "mul", "min", "max") for d in COMPUTE if d is not bool_]
    todo += [(c, d) for c in ("and", "or") for d in COMPUTE if not d.is_float]
    kernels = []
    for combine, d in todo:
        b = KernelBuilder("reduce")
        x, y = b.buffer("x", d, lanes, False), b.buffer("y", d, 1, True)
        b.store(y, 0, b.reduce(combine, b.load(x, 0, lanes)))
        kernels.append(b.kernel)
    library = KernelLibrary(kernels, target)
    rng = np.random.default_rng(3)
    for (combine, d), function in zip(todo, library.functions):
        x = rng.integers(0 if d.kind in "ub" else -3, 2 if d is bool_ else 4, lanes)
        x = x.astype(d.storage)
        out = np.zeros(1, d.storage)
        function(x, out)
        ufunc = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
                 "and": np.bitwise_and, "or": np.bitwise_or}[combine]
        assert out[0] == ufunc.reduce(x, dtype=d.storage), (combine, d, lanes)
        if d.is_float and combine in ("min", "max"):
            x[lanes // 2] = np.nan
            function(x, out)
            assert np.isnan(out[0]), (combine, d, lanes)


def test_constants_with_min_max_keep_nan(target):
    """A constant operand takes the one-instruction form, which must keep NaN on either side."""
    kernels, todo = [], []
    for op in ("min", "max", "fmin", "fmax"):
        for first in (True, False):
            b = KernelBuilder("clamp")
            x, y = b.buffer("x", f32, N, False), b.buffer("y", f32, N, True)
            with b.loop(0, N, 16) as f:
                v, c = b.load(x, f.counter, 16), b.const(0.25, f32, 16)
                b.store(y, f.counter, b.binary(op, c, v) if first else b.binary(op, v, c))
            kernels.append(b.kernel)
            todo.append(op)
    library = KernelLibrary(kernels, target)
    x = values(f32, 5)
    for op, function in zip(todo, library.functions):
        out = np.zeros(N, np.float32)
        function(x, out)
        same(out, expected(op, x, np.full(N, 0.25, np.float32)), signed_zeros=False)


def test_division_by_constants(target):
    todo = [(op, d, c) for op in ("idiv", "irem", "floordiv", "mod") for d in (i32, i64, dtypes.u8)
            for c in (1, 2, 7, 8, 64, -1, -4, 0) if c >= 0 or d.kind == "i"]
    kernels = []
    for op, d, c in todo:
        b = KernelBuilder("divide")
        x, y = b.buffer("x", d, N, False), b.buffer("y", d, N, True)
        with b.loop(0, N, 8) as f:
            b.store(y, f.counter, b.binary(op, b.load(x, f.counter, 8), b.const(c, d, 8)))
        kernels.append(b.kernel)
    for (op, d, c), function in zip(todo, KernelLibrary(kernels, target).functions):
        x, out = values(d, 11), np.zeros(N, d.storage)
        function(x, out)
        np.testing.assert_array_equal(out, expected(op, x, np.full(N, c, d.storage)),
                                      err_msg=f"{op} {d} by {c}")


def test_fused_multiply_add(target):
    b = KernelBuilder("fma")
    xs = [b.buffer(n, f32, N, False) for n in "abc"]
    y = b.buffer("y", f32, N, True)
    with b.loop(0, N, 16) as f:
        b.store(y, f.counter, b.fma(*[b.load(x, f.counter, 16) for x in xs]))
    function = KernelLibrary([b.kernel], target).functions[0]
    rng = np.random.default_rng(0)
    a, c = (rng.standard_normal(N).astype(np.float32) for _ in range(2))
    out = np.zeros(N, np.float32)
    function(a, c, -(a * c), out)
    exact = a.astype(np.float64) * c - (a * c).astype(np.float64)
    fused = "fma" in target.features
    np.testing.assert_array_equal(out, exact.astype(np.float32) if fused else np.zeros(N))


@pytest.mark.parametrize("lanes", [2, 8, 16, 32])
@pytest.mark.parametrize("cpu", [*TARGET_NAMES, "x86-64-v4-bf16"])
def test_sums_of_two_products(cpu, lanes):
    target = resolve_target(cpu)
    try:
        check_runs_here(target)
    except TargetError as e:
        pytest.skip(str(e))
    b = KernelBuilder("dot2")
    x, y = b.buffer("x", bf16, 2 * N, False), b.buffer("y", bf16, 2 * N, False)
    z, out = b.buffer("z", f32, N, False), b.buffer("out", f32, N, True)
    with b.loop(0, N, lanes) as f:
        at = b.mul(f.counter, 2)
        pairs = [b.load(m, at, 2 * lanes) for m in (x, y)]
        b.store(out, f.counter, b.dot2(*pairs, b.load(z, f.counter, lanes)))
    function = KernelLibrary([b.kernel], target).functions[0]
    rng = np.random.default_rng(0)
    wide = [round_bf16(rng.standard_normal(2 * N).astype(np.float32)) for _ in range(2)]
    c, result = rng.standard_normal(N).astype(np.float32), np.zeros(N, np.float32)
    function(*(to_storage(w, bf16) for w in wide), c, result)
    products = (wide[0].astype(np.float64) * wide[1]).reshape(N, 2)
    np.testing.assert_allclose(result, products.sum(1) + c, rtol=1e-6, atol=1e-6)


def test_select_iota_broadcast_extract_shuffle(target):
    b = KernelBuilder("moves")
    x, y = b.buffer("x", f64, 8, False), b.buffer("y", f64, 8, True)
    z, w = b.buffer("z", i32, 8, True), b.buffer("w", f64, 8, True)
    v = b.load(x, 0, 8)
    third = b.broadcast(b.extract(v, 3), 8)
    b.store(y, 0, b.select(b.binary("lt", b.iota(8), b.const(5, i64, 8)), v, third))
    b.store(z, 0, b.iota(8, i32))
    b.store(w, 0, b.emit("shuffle", (v, third), Type(f64, 8), lanes=(7, 6, 5, 4, 8, 0, 1, 2)))
    data = np.arange(8.0) * 1.5
    out, count, mixed = np.zeros(8), np.zeros(8, np.int32), np.zeros(8)
    KernelLibrary([b.kernel], target).functions[0](data, out, count, mixed)
    np.testing.assert_array_equal(out, np.where(np.arange(8) < 5, data, data[3]))
    np.testing.assert_array_equal(count, np.arange(8))
    np.testing.assert_array_equal(mixed, data[[7, 6, 5, 4, 3, 0, 1, 2]])
