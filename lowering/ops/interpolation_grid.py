"""Sampling an image at positions that a grid tensor gives (spatial transformers).

Positions and weights are computed once a grid point, for all channels; taps outside the image have
weight zero and read its border.
"""

from __future__ import annotations

import itertools
from typing import Sequence

import numpy as np

from lowering import expr as E
from lowering.build import compute, compute_dtype, constant, generic
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, f64, i64

BILINEAR, NEAREST, BICUBIC = 0, 1, 2
ZEROS, BORDER, REFLECTION = 0, 1, 2


def _unnormalized(x: Expr, n: int, align_corners: bool) -> Expr:
    """-1 ... 1 to the positions of the first and last pixel, or of their outer edges."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _clipped(x: Expr, n: int) -> Expr:
    """Into the image; NaN becomes 0."""
    inside = E.minimum(E.maximum(x, 0), n - 1)
    return E.select(E.eq(x, x), inside, E.const(0, x.dtype))


def _reflected(x: Expr, low: float, high: float) -> Expr:
    """Mirrored at low and high until inside."""
    if low == high:
        return E.const(0, x.dtype)
    span = high - low
    x = E.unary("abs", x - low)
    turns = E.unary("floor", x / span)
    rest = x - turns * span
    even = E.eq(turns - E.unary("floor", turns / 2) * 2, 0)
    return E.select(even, rest + low, span - rest + low)


def _padded(x: Expr, n: int, padding: int, align_corners: bool) -> Expr:
    """A real position with the padding mode applied."""
    if padding == BORDER:
        return _clipped(x, n)
    if padding == REFLECTION:
        low, high = (0, n - 1) if align_corners else (-0.5, n - 0.5)
        return _clipped(_reflected(x, low, high), n)
    return x


def _tap(position: Expr, weight: Expr, n: int) -> tuple[Expr, Expr]:
    """Index and weight of a whole position; outside the image the weight is 0."""
    inside = (position >= 0) & (position <= n - 1)
    index = E.cast(E.minimum(E.maximum(position, 0), n - 1), i64)
    index = E.minimum(E.maximum(index, 0), n - 1)
    return index, E.select(inside, weight, E.const(0, weight.dtype))


def _taps(x: Expr, n: int, mode: int, padding: int, align_corners: bool) -> list:
    """(index, weight) of the taps of one dim."""
    at = _unnormalized(x, n, align_corners)
    one = E.const(1, x.dtype)
    if mode == NEAREST:
        return [_tap(E.unary("round", _padded(at, n, padding, align_corners)), one, n)]
    if mode == BILINEAR:
        at = _padded(at, n, padding, align_corners)
        first = E.unary("floor", at)
        w = at - first
        return [_tap(first, 1 - w, n), _tap(first + 1, w, n)]
    first = E.unary("floor", at)
    return [
        _tap(_padded(first + k, n, padding, align_corners), w, n)
        for k, w in zip((-1, 0, 1, 2), _cubic(at - first))
    ]


def _cubic(t: Expr) -> list[Expr]:
    """Weights of the taps at -1, 0, 1, 2 (R. Keys, 1981, a = -3/4)."""
    a = -0.75

    def near(x: Expr) -> Expr:
        return (x * (a + 2) - (a + 3)) * x * x + 1

    def far(x: Expr) -> Expr:
        return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _sample(x: Value, grid: Value, mode: int, padding: int, align_corners: bool) -> Value:
    """x (n, c, s...), grid (n, t..., dims), its last dim counting from the last dim of x."""
    dims = x.ndim - 2
    _check(x, grid, mode)
    working = f64 if x.dtype is f64 else compute_dtype(x.dtype)
    points = grid.shape[:-1]
    indices: list[list[Value]] = []
    weights: list[list[Value]] = []
    for k in range(dims):
        coordinate = dims - 1 - k

        def taps(*i: Expr) -> list:
            g = E.cast(E.load(grid, (*i, coordinate)), working)
            return _taps(g, x.shape[2 + k], mode, padding, align_corners)

        count = len(taps(*E.identity(len(points))))
        indices.append([compute(points, lambda *i, t=t: taps(*i)[t][0]) for t in range(count)])
        weights.append([compute(points, lambda *i, t=t: taps(*i)[t][1]) for t in range(count)])

    def body(n: Expr, c: Expr, *i: Expr) -> Expr:
        total: Expr | None = None
        for choice in itertools.product(*(range(len(v)) for v in indices)):
            at = [E.load(indices[k][t], (n, *i)) for k, t in enumerate(choice)]
            term = E.cast(E.load(x, (n, c, *at)), working)
            for k, t in enumerate(choice):
                term = term * E.load(weights[k][t], (n, *i))
            total = term if total is None else total + term
        return E.cast(total, x.dtype)

    return compute((*x.shape[:2], *points[1:]), body)


def _check(x: Value, grid: Value, mode: int) -> None:
    dims = x.ndim - 2
    if grid.ndim != x.ndim or x.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {list(x.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != dims:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {dims} in last dimension, "
                           f"but got grid with sizes {list(grid.shape)}")
    if x.dtype is not grid.dtype:
        raise RuntimeError("grid_sampler(): expected input and grid to have same dtype, but input "
                           f"has {x.dtype.torch_name} and grid has {grid.dtype.torch_name}")
    for k, n in enumerate(x.shape[2:], 2):
        if n == 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input "
                f"has sizes {list(x.shape)} with dimension {k} being empty"
            )
    if dims == 3 and mode == BICUBIC:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


@aten("grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, "
      "bool align_corners) -> Tensor",
      "grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool "
      "align_corners) -> Tensor",
      "grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, "
      "bool align_corners) -> Tensor")
def grid_sampler(x, grid, interpolation_mode, padding_mode, align_corners):
    """Modes: 0 bilinear, 1 nearest, 2 bicubic; paddings: 0 zeros, 1 border, 2 reflection."""
    if x.ndim not in (4, 5):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got input with sizes {list(x.shape)} and grid with sizes {list(grid.shape)}"
        )
    return _sample(x, grid, interpolation_mode, padding_mode, align_corners)


@aten("affine_grid_generator(Tensor theta, int[] size, bool align_corners) -> Tensor")
def affine_grid_generator(theta, size, align_corners):
    """The grid of an affine map. theta (n, d, d + 1), size (n, c, s...) -> (n, s..., d)."""
    spatial = list(size[2:])
    dims = len(spatial)
    if dims not in (2, 3):
        raise RuntimeError(
            "AffineGridGenerator needs 4d (spatial) or 5d (volumetric) inputs."
        )
    if theta.shape != (size[0], dims, dims + 1):
        raise RuntimeError(f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x"
                           f"{dims + 1} for size {list(size)}. Got {list(theta.shape)}.")
    working = compute_dtype(theta.dtype)
    lines = [constant(_line(n, align_corners, working), working) for n in spatial]

    def body(*i: Expr) -> Expr:
        n, row = i[0], i[-1]
        total = E.cast(E.load(theta, (n, row, dims)), working)
        for k, line in enumerate(reversed(lines)):
            total = total + (E.cast(E.load(theta, (n, row, k)), working)
                             * E.load(line, (i[dims - k],)))
        return E.cast(total, theta.dtype)

    shape = (size[0], *spatial, dims)
    return generic(shape, len(shape), body(*E.identity(len(shape))))


def _line(n: int, align_corners: bool, dtype: DType) -> Sequence[float]:
    if n == 1:
        return np.zeros(1, dtype.compute)
    line = np.linspace(-1, 1, n)
    return (line if align_corners else line * (n - 1) / n).astype(dtype.compute)
