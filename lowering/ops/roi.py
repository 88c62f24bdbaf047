"""Regions of interest: each box of an image as features on a grid of fixed size.

Sampling positions are the same for all channels, so they are computed once, for rows and for
columns (`_Samples`); the features are a weighted sum over four neighbours of each position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from lowering import expr as E
from lowering.build import cast, compute, compute_dtype, full, generic, reduce, reindex
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.sizes import Size
from lowering.tensor_ir import Dim, Value
from runtime.dtypes import DType, i32, i64


@aten("roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
      "int pooled_width, int sampling_ratio, bool aligned) -> Tensor", namespace="torchvision")
def roi_align(x, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned):
    """(k, c, pooled_height, pooled_width): the mean over each bin's samples (He et al. 2017).

    rois (k, 5) are batch index, x1, y1, x2, y2. sampling_ratio: samples a bin in each dim; at most
    0: as many as the bin has pixels. aligned: pixels are centred on whole numbers."""
    _check(x, rois)
    channels = x.shape[1]
    offset = 0.5 if aligned else 0.0
    sides = [_Samples.of(rois, spatial_scale, offset, first, n, pooled, sampling_ratio,
                         1.0 if not aligned else None, compute_dtype(x.dtype))
             for first, n, pooled in ((2, x.shape[2], pooled_height),
                                      (1, x.shape[3], pooled_width))]
    y = _pooled(x, rois, sides, channels, lambda c, p, q: c)
    return reindex(y, (rois.shape[0], channels, pooled_height, pooled_width),
                   lambda k, c, p, q: [k, p, q, c])


@aten("ps_roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
      "int pooled_width, int sampling_ratio) -> (Tensor, Tensor)", namespace="torchvision")
def ps_roi_align(x, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio):
    """roi_align where each bin has channels of its own (Dai et al. 2016, Li et al. 2017), and
    (i32) which channel each result was taken from."""
    _check(x, rois)
    bins = pooled_height * pooled_width
    if x.shape[1] % bins:
        raise RuntimeError("input channels must be a multiple of pooling height * pooling width")
    channels = x.shape[1] // bins
    sides = [_Samples.of(rois, spatial_scale, 0.5, first, n, pooled, sampling_ratio, None,
                         compute_dtype(x.dtype))
             for first, n, pooled in ((2, x.shape[2], pooled_height),
                                      (1, x.shape[3], pooled_width))]

    def channel(c: Expr, p: Expr, q: Expr) -> Expr:
        return (c * pooled_height + p) * pooled_width + q

    y = _pooled(x, rois, sides, channels, channel)
    shape = (rois.shape[0], channels, pooled_height, pooled_width)
    return (reindex(y, shape, lambda k, c, p, q: [k, p, q, c]),
            compute(shape, lambda k, c, p, q: E.cast(channel(c, p, q), i32)))


def _check(x: Value, rois: Value) -> None:
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise RuntimeError("rois must have shape as Tensor[K, 5]")
    if x.ndim != 4:
        raise RuntimeError(f"input must have 4 dims, found {x.ndim}")
    if x.dtype is not rois.dtype:
        raise RuntimeError(f"Expected tensor for argument #1 'input' to have the same type as "
                           f"tensor for argument #2 'rois'; but type {x.dtype.torch_name} does not "
                           f"equal {rois.dtype.torch_name}")


@dataclass
class _Samples:
    """Where one spatial dim is sampled: (k, bins, samples) Values. `low` and `high` are the
    neighbours, `weight` that of high; `inside` is false where nothing is to be read. `count` (k):
    how many samples a bin has; those from there on do not count."""

    bins: int
    most: Dim
    count: Value
    low: Value
    high: Value
    weight: Value
    inside: Value

    @staticmethod
    def of(rois: Value, scale: float | Value, offset: float, first: int, n: int, bins: int,
           ratio: int, shortest: float | None, dtype: DType) -> _Samples:
        """The samples of a dim of n pixels; `first` and first + 2 are the columns of rois."""
        k = rois.shape[0]
        factor = E.const(scale, dtype) if not isinstance(scale, Value) else E.cast(
            E.load(scale), dtype)
        edges = [compute((k,), lambda r, c=c: E.cast(E.load(rois, [r, c]), dtype) * factor - offset)
                 for c in (first, first + 2)]
        length = compute((k,), lambda r: _at_least(
            E.load(edges[1], [r]) - E.load(edges[0], [r]), shortest))
        if ratio > 0:
            most: Dim = ratio
            count = full((k,), ratio, i64)
        else:
            count = compute((k,), lambda r: E.maximum(
                E.cast(E.unary("ceil", E.load(length, [r]) / bins), i64), 0))
            most = 0 if k == 0 else Size(compute(
                (), lambda w=reduce("max", count, None, False): E.maximum(E.load(w), 0)))
        shape = (k, bins, most)

        def position(r: Expr, p: Expr, s: Expr) -> Expr:
            size = E.load(length, [r]) / bins
            step = (E.cast(s, dtype) + 0.5) * size / E.cast(E.load(count, [r]), dtype)
            return E.load(edges[0], [r]) + E.cast(p, dtype) * size + step

        at = compute(shape, position)
        inside = compute(shape, lambda *i: (E.load(at, i) >= -1) & (E.load(at, i) <= n)
                         & (i[2] < E.load(count, [i[0]])))
        held = compute(shape, lambda *i: E.minimum(E.maximum(E.load(at, i), 0), n - 1))
        low = compute(shape, lambda *i: _within(E.cast(E.load(held, i), i64), n))
        return _Samples(
            bins, most, count, low,
            compute(shape, lambda *i: E.minimum(E.load(low, i) + 1, n - 1)),
            compute(shape, lambda *i: E.load(held, i) - E.cast(E.load(low, i), dtype)), inside)


def _at_least(x: Expr, shortest: float | None) -> Expr:
    return x if shortest is None else E.maximum(x, shortest)


def _within(x: Expr, n: int) -> Expr:
    return E.minimum(E.maximum(x, 0), n - 1)


def _pooled(x: Value, rois: Value, sides: list[_Samples], channels: int,
            channel: Callable[[Expr, Expr, Expr], Expr]) -> Value:
    """(k, rows, columns, channels): the means over the bins; channels innermost, as neighbouring
    channels are read at the same positions."""
    rows, columns = sides
    dtype = compute_dtype(x.dtype)
    image = _image(x, rois)

    def sample(k: Expr, p: Expr, q: Expr, c: Expr, s: Expr, t: Expr) -> Expr:
        n, plane = E.load(image, [k]), channel(c, p, q)
        at, beside = (k, p, s), (k, q, t)
        v, u = E.load(rows.weight, at), E.load(columns.weight, beside)

        def read(y: Value, z: Value) -> Expr:
            return E.cast(E.load(x, [n, plane, E.load(y, at), E.load(z, beside)]), dtype)

        total = ((1 - v) * (1 - u) * read(rows.low, columns.low)
                 + (1 - v) * u * read(rows.low, columns.high)
                 + v * (1 - u) * read(rows.high, columns.low)
                 + v * u * read(rows.high, columns.high))
        inside = E.load(rows.inside, at) & E.load(columns.inside, beside)
        return E.select(inside, total, E.const(0, dtype))

    index = E.identity(6)
    many = E.load(rows.count, [index[0]]) * E.load(columns.count, [index[0]])
    mean = E.acc(dtype) / E.cast(E.maximum(many, 1), dtype)
    total = generic((rois.shape[0], rows.bins, columns.bins, channels, rows.most, columns.most), 4,
                    sample(*index), "add", mean)
    return cast(total, x.dtype)


@aten("roi_pool(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
      "int pooled_width) -> (Tensor, Tensor)", namespace="torchvision")
def roi_pool(x, rois, spatial_scale, pooled_height, pooled_width):
    """(k, c, pooled_height, pooled_width): the largest element of each bin, 0 of one without
    pixels (Girshick 2015); and (i32) where in its plane the first such is, -1 where there is none.
    Corners are rounded to whole pixels, both within the box."""
    _check(x, rois)
    sides = _bins(x, rois, spatial_scale, pooled_height, pooled_width, 1)
    shape = (rois.shape[0], x.shape[1], pooled_height, pooled_width)
    image = _image(x, rois)
    low = E.const(-float("inf"), compute_dtype(x.dtype))

    def read(i: tuple[Expr, ...]) -> tuple[Expr, Expr, Expr]:
        """Whether the pixel is in the bin, its value, and its place."""
        k, c, p, q, s, t = i
        (y, in_rows), (z, in_columns) = (
            side.at(k, b, n) for side, b, n in zip(sides, (p, q), (s, t)))
        value = E.cast(E.load(x, [E.load(image, [k]), c, y, z]), low.dtype)
        return in_rows & in_columns, value, y * x.shape[3] + z

    domain = (*shape, sides[0].most, sides[1].most)
    index = E.identity(6)
    inside, value, place = read(index)
    most = generic(domain, 4, E.select(inside, value, low), "max")
    far = E.const(1 << 62, i64)
    found = inside & E.eq(value, E.load(most, index[:4]))
    first = generic(domain, 4, E.select(found, place, far), "min")
    empty = [side.empty for side in sides]

    def nothing(k: Expr, c: Expr, p: Expr, q: Expr) -> Expr:
        return E.load(empty[0], [k, p]) | E.load(empty[1], [k, q])

    largest = compute(shape, lambda *i: E.select(
        nothing(*i), E.const(0, low.dtype), E.load(most, i)))
    where = compute(shape, lambda *i: E.cast(E.select(
        nothing(*i), E.const(-1, i64), E.load(first, i)), i32))
    return cast(largest, x.dtype), where


@aten("ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, int pooled_height, "
      "int pooled_width) -> (Tensor, Tensor)", namespace="torchvision")
def ps_roi_pool(x, rois, spatial_scale, pooled_height, pooled_width):
    """The mean of each bin, 0 of one without pixels, where each bin has channels of its own (Dai et
    al. 2016); and (i32) which channel each result was taken from."""
    _check(x, rois)
    if x.shape[1] % (pooled_height * pooled_width):
        raise RuntimeError("input channels must be a multiple of pooling height * pooling width")
    sides = _bins(x, rois, spatial_scale, pooled_height, pooled_width, 0)
    shape = (rois.shape[0], x.shape[1] // (pooled_height * pooled_width), pooled_height,
             pooled_width)
    image, dtype = _image(x, rois), compute_dtype(x.dtype)

    def channel(c: Expr, p: Expr, q: Expr) -> Expr:
        return (c * pooled_height + p) * pooled_width + q

    k, c, p, q, s, t = index = E.identity(6)
    (y, in_rows), (z, in_columns) = (
        side.at(k, b, n) for side, b, n in zip(sides, (p, q), (s, t)))
    value = E.cast(E.load(x, [E.load(image, [k]), channel(c, p, q), y, z]), dtype)
    count = E.load(sides[0].count, [k, p]) * E.load(sides[1].count, [k, q])
    mean = E.acc(dtype) / E.cast(E.maximum(count, 1), dtype)
    domain = (*shape, sides[0].most, sides[1].most)
    total = generic(domain, 4, E.select(in_rows & in_columns, value, E.const(0, dtype)), "add",
                    mean)
    return (cast(total, x.dtype),
            compute(shape, lambda k, c, p, q: E.cast(channel(c, p, q), i32)))


@dataclass
class _Bins:
    """The pixels of each bin in one spatial dim: (k, bins) Values of the first one and how many;
    `most`: of all bins, at most."""

    first: Value
    count: Value
    empty: Value
    most: Dim
    n: int

    def at(self, k: Expr, b: Expr, s: Expr) -> tuple[Expr, Expr]:
        """Pixel s of a bin, and whether it has so many."""
        return (_within(E.load(self.first, [k, b]) + s, self.n),
                s < E.load(self.count, [k, b]))


def _bins(x: Value, rois: Value, scale: float | Value, rows: int, columns: int,
          last: int) -> list[_Bins]:
    """The bins of both dims; last: 1 where a box ends with the pixel of its corner, 0 before, and
    then the image before its last pixel (torchvision has it so)."""
    dtype = compute_dtype(x.dtype)
    factor = E.const(scale, dtype) if not isinstance(scale, Value) else E.cast(
        E.load(scale), dtype)
    k, found = rois.shape[0], []
    for first, n, bins in ((2, x.shape[2], rows), (1, x.shape[3], columns)):
        start, end = (compute((k,), lambda r, c=c: _rounded(
            E.cast(E.load(rois, [r, c]), dtype) * factor)) for c in (first, first + 2))

        def edge(r: Expr, b: Expr, way: str, start=start, end=end, bins=bins, n=n) -> Expr:
            length = E.maximum(E.load(end, [r]) - E.load(start, [r]) + last, 1)
            size = length / bins
            at = E.cast(E.unary(way, E.cast(b, dtype) * size), i64)
            return E.minimum(E.maximum(at + E.cast(E.load(start, [r]), i64), 0), n - 1 + last)

        begin = compute((k, bins), lambda r, b: edge(r, b, "floor"))
        count = compute((k, bins), lambda r, b: E.maximum(
            edge(r, b + 1, "ceil") - E.load(begin, [r, b]), 0))
        empty = compute((k, bins), lambda r, b: E.load(count, [r, b]) <= 0)
        most: Dim = 0 if k == 0 else Size(compute(
            (), lambda w=reduce("max", count, None, False): E.maximum(E.load(w), 0)))
        found.append(_Bins(begin, count, empty, most, n))
    return found


def _rounded(x: Expr) -> Expr:
    """To the nearest whole number, halves away from 0."""
    whole = E.unary("floor", E.unary("abs", x) + 0.5)
    return E.select(x < 0, -whole, whole)


def _image(x: Value, rois: Value) -> Value:
    """(k): which image each box is of."""
    return compute((rois.shape[0],), lambda k: _within(E.cast(E.load(rois, [k, 0]), i64),
                                                       x.shape[0]))
