"""Histograms, counts and distinct elements."""

from __future__ import annotations

import numpy as np

from lowering import expr as E
from lowering.build import (
    cast, check, compute, compute_dtype, constant, full, pointwise, reduce, reindex, scan, scatter,
    sort,
)
from lowering.index_algebra import contiguous_strides, delinearize, linearize
from lowering.known import Unsupported, known, known_or_none
from lowering.ops.positions import true_positions
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import f32, f64, i64


@aten("histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor")
def histc(x, bins=100, min=0, max=0):
    """Counts in equal bins from min to max, the last one closed; equal bounds mean x's own."""
    if bins <= 0:
        raise RuntimeError("torch.histc(): bins must be > 0")
    if isinstance(min, Value) or isinstance(max, Value):
        raise Unsupported("histc's bounds must be known at compile time")
    if min > max:
        raise RuntimeError("torch.histc: max must be larger than min")
    if not x.dtype.is_float:
        raise RuntimeError(f'"histogram_cpu" not implemented for \'{x.dtype.torch_name}\'')
    dtype = compute_dtype(x.dtype)
    low, high = constant(min, dtype), constant(max, dtype)
    if min == max and x.numel:
        low = reduce("min", x, None, False, out=dtype)
        high = reduce("max", x, None, False, out=dtype)
    if min == max:
        same = pointwise(lambda a, b: E.eq(a, b), low, high)
        low = pointwise(lambda a, s: a - s, low, same, dtype=dtype)
        high = pointwise(lambda a, s: a + s, high, same, dtype=dtype)

    def bin_of(n):
        value = E.cast(E.load(x, delinearize(n, x.shape)), dtype)
        a, b = E.load(low), E.load(high)
        place = E.cast(E.unary("floor", (value - a) / (b - a) * bins), i64)
        place = E.select(E.eq(value, b), E.const(bins - 1), E.minimum(place, bins - 1))
        inside = (value >= a) & (value <= b)
        return [E.select(inside, place, E.const(bins))]

    zeros = full((bins,), 0, dtype)
    counts = scatter(zeros, (x.numel,), bin_of, lambda n: E.const(1, dtype), "add")
    return pointwise(lambda c: c, counts, out=x.dtype)


@aten("bincount(Tensor self, Tensor? weights=None, int minlength=0) -> Tensor")
def bincount(x, weights=None, minlength=0):
    """How often each number occurs; the numbers decide the length."""
    data = known_or_none(x)
    if x.ndim != 1 or data is not None and (data < 0).any():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if data is None:
        return _bincount(x, weights, minlength)
    length = max(int(data.max()) + 1 if data.size else 0, minlength)
    if weights is None:
        return constant(np.bincount(data.astype(np.int64), minlength=minlength), i64)
    dtype = weights.dtype if weights.dtype.name == "f32" else f64
    return scatter(full((length,), 0, dtype), (x.numel,), lambda n: [E.cast(E.load(x, [n]), i64)],
                   lambda n: E.cast(E.load(weights, [n]), dtype), "add")


def _bincount(x: Value, weights: Value | None, minlength: int) -> Value:
    """bincount of numbers known only at run time."""
    check(reduce("and", x, None, False, lambda a: a >= 0),
          "bincount only supports 1-d non-negative integral inputs.")
    size = Size(reduce("max", x, None, False, lambda a: E.maximum(E.cast(a, i64) + 1, minlength),
                       lambda n: E.maximum(n, 0), out=i64))
    dtype = i64 if weights is None else weights.dtype if weights.dtype is f32 else f64
    return scatter(full((size,), 0, dtype), x.shape, lambda n: [E.cast(E.load(x, [n]), i64)],
                   lambda n: E.const(1, i64) if weights is None
                   else E.cast(E.load(weights, [n]), dtype), "add")


_DISTINCT = "bool return_inverse=False, bool return_counts=False"
_THREE = "-> (Tensor, Tensor, Tensor)"


@aten(f"_unique2(Tensor self, bool sorted=True, {_DISTINCT}) {_THREE}",
      f"unique_dim(Tensor self, int dim, bool sorted=True, {_DISTINCT}) {_THREE}")
def unique(x, *arguments):
    """The distinct elements (or, where x is known at compile time, slices of a dim) in order."""
    dim = arguments[0] if arguments and not isinstance(arguments[0], bool) else None
    with_inverse, with_counts = arguments[-2:]
    if dim is None and known_or_none(x) is None:
        flat, order = sort(ravel(x), 0, False)
        return _groups(x, flat, order, with_inverse, with_counts)
    data = known(x, "unique's argument")
    values, inverse, counts = np.unique(data, return_inverse=True, return_counts=True, axis=dim)
    empty = np.zeros((0,), np.int64)
    inverse = inverse.reshape(-1) if dim is not None else inverse.reshape(x.shape)
    return (constant(values, x.dtype),
            constant(inverse if with_inverse or dim is not None else empty, i64),
            constant(counts if with_counts or dim is not None else empty, i64))


def _groups(x: Value, flat: Value, order: Value | None, with_inverse: bool,
            with_counts: bool) -> tuple[Value, Value, Value]:
    """The first of each run of equal elements of `flat`, the run that each element of x is in, and
    the runs' lengths; order: where in x the elements of flat are, None for as they are there."""
    n = flat.numel
    new = compute((n,), lambda i: E.eq(i, 0) | E.ne(
        E.load(flat, [i]), E.load(flat, [E.maximum(i - 1, 0)])))
    first = true_positions(new)
    values = reindex(flat, first.shape, lambda i: [E.load(first, [i])])
    inverse = counts = full((0,), 0, i64)
    if with_inverse:
        rank = scan(cast(new, i64), 0, "add")[0]
        inverse = scatter(full((n,), 0, i64), (n,),
                          lambda i: [i if order is None else E.load(order, [i])],
                          lambda i: E.load(rank, [i]) - 1)
        inverse = reindex(inverse, x.shape, lambda *i: [linearize(i, contiguous_strides(x.shape))])
    if with_counts:
        size = E.lift(first.shape[0], i64)
        counts = compute(first.shape, lambda i: E.select(
            i + 1 < size, E.load(first, [E.minimum(i + 1, E.maximum(size - 1, 0))]), E.const(n))
            - E.load(first, [i]))
    return values, inverse, counts


@aten(f"unique_consecutive(Tensor self, {_DISTINCT}, int? dim=None) {_THREE}")
def unique_consecutive(x, return_inverse=False, return_counts=False, dim=None):
    """Without repetitions of neighbours."""
    if dim is not None and (x.ndim != 1 or dim not in (0, -1)):
        raise Unsupported("unique_consecutive of a dim")
    if known_or_none(x) is None:
        return _groups(x, ravel(x), None, return_inverse, return_counts)
    data = known(x, "unique_consecutive's argument").reshape(-1)
    new = np.ones(data.size, bool)
    new[1:] = data[1:] != data[:-1]
    starts = np.flatnonzero(new)
    inverse = (np.cumsum(new) - 1).reshape(x.shape) if return_inverse else np.zeros((0,), np.int64)
    counts = np.diff(np.append(starts, data.size)) if return_counts else np.zeros((0,), np.int64)
    return constant(data[new], x.dtype), constant(inverse, i64), constant(counts, i64)
