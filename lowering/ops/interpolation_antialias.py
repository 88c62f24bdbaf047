"""Resizing with antialiasing: the filter is stretched by the scale where the image shrinks, so
every result is a weighted sum over all inputs that it covers. One reduction a dim."""

from __future__ import annotations

from typing import Callable

import numpy as np

from lowering import expr as E
from lowering.build import cast, compute_dtype, constant, generic, reindex
from lowering.ops.interpolation import check_sizes, order_of_passes, output_size, source_scale
from lowering.ops.interpolation_u8 import resize_u8
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import f64, i64, u8

Filter = Callable[[np.ndarray], np.ndarray]


def _triangle(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    return np.where(x < 1, 1 - x, 0)


def _keys(x: np.ndarray) -> np.ndarray:
    """The cubic filter with a = -1/2."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


# Reach of the filters to either side.
FILTERS: dict[str, tuple[Filter, float]] = {
    "bilinear": (_triangle, 1.0), "bicubic": (_keys, 2.0), "lanczos": (_lanczos3, 3.0),
}


def _weights(n: int, out: int, align_corners: bool, scale: float | None, name: str,
             real: type) -> tuple[np.ndarray, np.ndarray]:
    """First positions (out,) and weights (out, taps), rows summing to 1 and padded with zeros."""
    filter_, reach = FILTERS[name]
    step = real(source_scale(n, out, align_corners, scale, real))
    support = real(reach) * step if step >= 1 else real(reach)
    shrink = real(1) / step if step >= 1 else real(1)
    center = step * (np.arange(out).astype(real) + real(0.5))
    first = np.maximum((center - support + real(0.5)).astype(np.int64), 0)
    last = np.minimum((center + support + real(0.5)).astype(np.int64), n)
    taps = max(int((last - first).max()), 1)
    k = np.arange(taps)[None, :]
    x = (k + first[:, None]).astype(real) - center[:, None] + real(0.5)
    w = np.where(k < (last - first)[:, None], filter_(x * shrink), 0).astype(real)
    total = w.sum(1, keepdims=True)
    return first, np.divide(w, total, out=w, where=total != 0)


def _inside(n: int, first: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose padding would reach over the end start earlier, with zeros before."""
    taps = weights.shape[1]
    start = np.minimum(first, n - taps)
    shifted = np.zeros_like(weights)
    for i, by in enumerate(first - start):
        shifted[i, by:] = weights[i, :taps - by]
    return start, shifted


def _pass(x: Value, dim: int, first: np.ndarray, weights: np.ndarray) -> Value:
    """out[..., i, ...] = sum over t of x[..., first[i] + t, ...] * weights[i, t]."""
    working = compute_dtype(x.dtype)
    first, weights = _inside(x.shape[dim], first, weights)
    taps = weights.shape[1]
    starts = constant(first.astype(np.int64), i64)
    table = constant(weights.astype(working.compute), working)
    shape = tuple(len(first) if k == dim else s for k, s in enumerate(x.shape))
    t = E.index(len(shape))
    at = [E.load(starts, (E.index(dim),)) + t if k == dim else E.index(k) for k in range(x.ndim)]
    body = E.cast(E.load(x, at), working) * E.load(table, (E.index(dim), t))
    return generic((*shape, taps), len(shape), body, "add")


def _resize(x: Value, out, align_corners: bool, scales, name: str) -> Value:
    check_sizes(x, out, 2)
    if x.dtype is u8:
        def taps(n, size, scale, real):
            first, weights = _inside(n, *_weights(n, size, align_corners, scale, name, real))
            return first[:, None] + np.arange(weights.shape[1]), weights

        return resize_u8(x, out, scales, taps)
    if not x.dtype.is_float:
        raise NotImplementedError(f'"upsample" not implemented for \'{x.dtype.torch_name}\'')
    real = np.float64 if x.dtype is f64 else np.float32
    y = x
    for k in order_of_passes(x, out):
        n = x.shape[2 + k]
        if n != out[k] or scales[k] not in (None, 1.0):
            y = _pass(y, 2 + k, *_weights(n, out[k], align_corners, scales[k], name, real))
    return reindex(x, x.shape, lambda *i: i) if y is x else cast(y, x.dtype)


def _declare(name: str) -> None:
    @aten(f"_upsample_{name}2d_aa(Tensor self, int[2] output_size, bool align_corners, "
          "float? scales_h=None, float? scales_w=None) -> Tensor")
    def by_size(x, size, align_corners, scales_h=None, scales_w=None):
        return _resize(x, size, align_corners, [scales_h, scales_w], name)

    @aten(f"_upsample_{name}2d_aa.vec(Tensor input, int[]? output_size, bool align_corners, "
          "float[]? scale_factors) -> Tensor")
    def by_factor(x, size, align_corners, factors):
        out = output_size(x, size, factors, 2)
        return _resize(x, out, align_corners, factors or [None, None], name)


for _name in FILTERS:
    _declare(_name)
