"""Resizing by nearest neighbour, linear and cubic interpolation.

Where sizes and scales are known when compiling, the source positions and weights of every dim are
tables, computed here in the precision that PyTorch computes them in (f32, or f64 for f64 inputs). A
resize of several dims is one pass a dim, the dims that shrink first.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Sequence

import numpy as np

from lowering import expr as E
from lowering.build import as_size, cast, compute, compute_dtype, constant, reindex
from lowering.expr import Expr
from lowering.ops.interpolation_run_time import cubic_taps, linear_taps, nearest_tap
from lowering.ops.interpolation_u8 import resize_u8
from lowering.ops.table import aten
from lowering.sizes import Number, Size, is_dynamic, nominal
from lowering.tensor_ir import Value
from runtime.dtypes import f32, f64, i64, u8


def index_of_table(table: np.ndarray, i: Expr) -> Expr:
    """table[i], as arithmetic where the table is affine or an integer division of i."""
    n = len(table)
    step = int(table[1] - table[0]) if n > 1 else 1
    k = np.arange(n)
    if np.array_equal(table, table[0] + step * k):
        return i * step + int(table[0])
    repeat = int(np.argmax(table != table[0])) if table[-1] != table[0] else n
    if table[0] == 0 and np.array_equal(table, k // repeat):
        return i // repeat
    return E.load(constant(table.astype(np.int64), i64), (i,))


def positions_at(table: np.ndarray | Value, i: Expr) -> Expr:
    """table[i], of a table known now or computed at run time."""
    return E.load(table, (i,)) if isinstance(table, Value) else index_of_table(table, i)


def gather_dim(x: Value, dim: int, table: np.ndarray) -> Value:
    """x with dim read at the positions of the table."""
    shape = tuple(len(table) if k == dim else n for k, n in enumerate(x.shape))
    return reindex(x, shape, lambda *i: [
        index_of_table(table, p) if k == dim else p for k, p in enumerate(i)
    ])


def blend_dim(x: Value, dim: int, tables: Sequence[np.ndarray | Value],
              weights: Sequence[np.ndarray | Value]) -> Value:
    """out[..., i, ...] = sum over t of x[..., tables[t][i], ...] * weights[t][i], in the dtype that
    is computed in."""
    working = compute_dtype(x.dtype)
    shape = tuple(tables[0].shape[0] if k == dim else n for k, n in enumerate(x.shape))
    values = [w if isinstance(w, Value) else constant(w.astype(working.compute), working)
              for w in weights]

    def body(*i: Expr) -> Expr:
        total: Expr | None = None
        for table, w in zip(tables, values):
            at = [positions_at(table, p) if k == dim else p for k, p in enumerate(i)]
            term = E.cast(E.load(x, at), working) * E.load(w, (i[dim],))
            total = term if total is None else total + term
        return total

    return compute(shape, body)


# Where the positions of a result lie


def source_scale(n: int, out: int, align_corners: bool, scale: float | None, real: type) -> float:
    """Distance in the input between neighbours of the result."""
    if align_corners:
        return real(n - 1) / real(out - 1) if out > 1 else real(0)
    return real(1.0 / scale) if scale is not None and scale > 0 else real(n) / real(out)


def source_positions(n: int, out: int, align_corners: bool, scale: float | None,
                     real: type) -> np.ndarray:
    """Unclamped real positions in the input; pixels have an area unless corners are aligned."""
    step = source_scale(n, out, align_corners, scale, real)
    k = np.arange(out).astype(real)
    return step * k if align_corners else step * (k + real(0.5)) - real(0.5)


def _nearest(n: Number, out: Number, scale: float | None, exact: bool) -> np.ndarray | Value | None:
    """Positions are computed in f32 for every dtype. None: each element is where it was."""
    if is_dynamic((n, out)):
        same = n == out and (not exact or scale in (None, 1.0))
        return None if same else nearest_tap(n, out, scale, exact)
    step = source_scale(n, out, False, scale, np.float32)
    k = np.arange(out).astype(np.float32)
    at = np.floor((k + np.float32(0.5)) * step if exact else k * step)
    if not exact and out == n:
        return np.arange(out)
    if not exact and out == 2 * n:
        return np.arange(out) // 2
    return np.minimum(at.astype(np.int64), n - 1)


def _linear(n: int, out: int, align_corners: bool, scale: float | None, real: type):
    """Two taps and their weights."""
    if out == n:
        return [np.arange(nominal(n))], [np.ones(nominal(n), real)]  # one tap: nothing to do
    if is_dynamic((n, out)):
        return linear_taps(n, out, align_corners, scale, f64 if real is np.float64 else f32)
    at = np.maximum(source_positions(n, out, align_corners, scale, real), real(0))
    first = np.minimum(np.floor(at).astype(np.int64), n - 1)
    second = first + (first < n - 1)
    w = np.clip(at - first.astype(real), real(0), real(1))
    return [first, second], [real(1) - w, w]


def cubic_weights(t: np.ndarray, a: float) -> list[np.ndarray]:
    """Weights of the taps at -1, 0, 1, 2 for the fraction t (R. Keys, 1981)."""
    real = t.dtype.type
    a = real(a)

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    one = real(1)
    return [far(t + one), near(t), near(one - t), far(real(2) - t)]


def _cubic(n: int, out: int, align_corners: bool, scale: float | None, real: type):
    """Four taps and their weights; positions past the border read the border."""
    if is_dynamic((n, out)):
        return cubic_taps(n, out, align_corners, scale, f64 if real is np.float64 else f32)
    at = source_positions(n, out, align_corners, scale, real)
    first = np.floor(at)
    weights = cubic_weights((at - first).astype(real), -0.75)
    taps = [np.clip(first.astype(np.int64) + k, 0, n - 1) for k in (-1, 0, 1, 2)]
    return taps, weights


# Operators


def output_size(x: Value, size: Sequence[int] | None, factors: Sequence[float] | None,
                dims: int) -> list[int]:
    """Sizes of the resized dims, given themselves or as factors."""
    if (size is None) == (factors is None):
        raise RuntimeError("Must specify exactly one of output_size and scale_factors")
    if size is not None:
        if len(size) != dims:
            raise RuntimeError(
                f"It is expected output_size equals to {dims}, but got size {len(size)}"
            )
        return list(size)
    return [_scaled(n, f) for n, f in zip(x.shape[2:], factors)]


def _scaled(n: Number, factor: float) -> Number:
    """n * factor, rounded down."""
    if not isinstance(n, Size):
        return int(n * factor)
    exact = Fraction(factor).limit_denominator(64)
    if float(exact) == factor:
        return n * exact.numerator // exact.denominator
    return as_size(compute((), lambda: E.cast(
        E.unary("floor", E.const(n, f64) * float(factor)), i64)))


def check_sizes(x: Value, out: Sequence[int], dims: int) -> None:
    if x.ndim != dims + 2:
        raise RuntimeError(f"It is expected input_size equals to {dims + 2}, but got size {x.ndim}")
    if any(n <= 0 for n in (*x.shape[2:], *out)):
        names = ("D", "H", "W")[3 - dims:]
        given = ", ".join(f"{a}: {n}" for a, n in zip(names, x.shape[2:]))
        wanted = ", ".join(f"{a}: {n}" for a, n in zip(names, out))
        raise RuntimeError("Input and output sizes should be greater than 0, but got input "
                           f"({given}) output ({wanted})")
    if 0 in x.shape[1:]:
        raise RuntimeError(f"Non-empty {dims + 2}D data tensor expected but got a tensor with "
                           f"sizes {list(x.shape)}")


def order_of_passes(x: Value, out: Sequence[int]) -> list[int]:
    """The dims that shrink most come first; of equal ones the last."""
    return sorted(range(len(out)),
                  key=lambda k: (nominal(out[k]) / nominal(x.shape[2 + k]), -k))


def resize(x: Value, out: Sequence[int], scales: Sequence[float | None], taps) -> Value:
    """Passes with the taps and weights that `taps(n, out, scale, real)` gives."""
    check_sizes(x, out, len(out))
    dtype = x.dtype
    if dtype is u8 and len(out) == 2:
        def columns(n, size, scale, real):
            tables, weights = taps(n, size, scale, real)
            return np.stack(tables, 1), np.stack(weights, 1)

        return resize_u8(x, out, scales, columns)
    if not dtype.is_float:
        raise NotImplementedError(f'"upsample" not implemented for \'{dtype.torch_name}\'')
    real = np.float64 if dtype is f64 else np.float32
    y = x
    for k in order_of_passes(x, out):
        tables, weights = taps(x.shape[2 + k], out[k], scales[k], real)
        if len(tables) > 1:
            y = blend_dim(y, 2 + k, tables, weights)
    if y is x:
        return reindex(x, x.shape, lambda *i: i)
    return cast(y, dtype)


def _resize_nearest(x: Value, out: Sequence[int], scales, exact: bool) -> Value:
    check_sizes(x, out, len(out))
    tables = [_nearest(n, t, s, exact) for n, t, s in zip(x.shape[2:], out, scales)]
    shape = (*x.shape[:2], *out)
    return reindex(x, shape, lambda *i: [
        *i[:2], *(p if t is None else positions_at(t, p) for t, p in zip(tables, i[2:]))
    ])


def _factors(factors: Sequence[float] | None, dims: int) -> Sequence[float | None]:
    return factors if factors is not None else [None] * dims


def _declare_nearest(dims: int, exact: bool) -> None:
    """upsample_nearest1d ... and _upsample_nearest_exact1d ...: by size, and .vec by either."""
    name = f"_upsample_nearest_exact{dims}d" if exact else f"upsample_nearest{dims}d"

    @aten(f"{name}(Tensor self, int[{dims}] output_size{_scale_arguments(dims)}) -> Tensor")
    def by_size(x, size, *scales):
        return _resize_nearest(x, size, [*scales, *[None] * (dims - len(scales))], exact)

    @aten(f"{name}.vec(Tensor input, int[]? output_size, float[]? scale_factors) -> Tensor")
    def by_factor(x, size, factors):
        out = output_size(x, size, factors, dims)
        return _resize_nearest(x, out, _factors(factors, dims), exact)


def _scale_arguments(dims: int) -> str:
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    return "".join(f", float? {n}=None" for n in names[dims])


def declare_blend(name: str, dims: int, taps) -> None:
    """An operator with align_corners, by size, and .vec by either size or factors."""

    @aten(f"{name}(Tensor self, int[{dims}] output_size, bool align_corners"
          f"{_scale_arguments(dims)}) -> Tensor")
    def by_size(x, size, align_corners, *scales):
        scales = [*scales, *[None] * (dims - len(scales))]
        return resize(x, size, scales, lambda n, out, s, real: taps(n, out, align_corners, s, real))

    @aten(f"{name}.vec(Tensor input, int[]? output_size, bool align_corners, "
          "float[]? scale_factors) -> Tensor")
    def by_factor(x, size, align_corners, factors):
        out = output_size(x, size, factors, dims)
        return resize(x, out, _factors(factors, dims),
                      lambda n, out, s, real: taps(n, out, align_corners, s, real))


for _dims in (1, 2, 3):
    _declare_nearest(_dims, False)
    _declare_nearest(_dims, True)
for _name, _dims, _taps in (
    ("upsample_linear1d", 1, _linear),
    ("upsample_bilinear2d", 2, _linear),
    ("upsample_trilinear3d", 3, _linear),
    ("upsample_bicubic2d", 2, _cubic),
):
    declare_blend(_name, _dims, _taps)
