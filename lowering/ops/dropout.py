"""Dropout: in training elements or channels are left out at random. And random slopes of relu."""

from __future__ import annotations

import math
from typing import Callable

from lowering import expr as E
from lowering.build import compute, full, pointwise, scan
from lowering.expr import Expr
from lowering.ops.random import chances, number
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.random_stream import current
from lowering.tensor_ir import Shape, Value
from lowering.views import reshape
from runtime.dtypes import bool_, f64, i64

_SATURATION = 1.7580993408473766  # what SELU goes to, times -1


def _drop(x: Value, p: float, train: bool, shape: Shape,
          apply: Callable[[Value], Value]) -> Value:
    """apply(mask) with a mask of 1 (kept, with probability 1 - p) and 0 in training, else x."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    if not train or p == 0 or x.numel == 0:
        return x
    if p == 1:
        return pointwise(lambda a: a * 0, x)
    return apply(chances(shape, x.dtype, 1 - p))


def drop(x: Value, p: float, train: bool, shape: Shape | None = None) -> Value:
    """x with elements set to zero and the others scaled, so that the mean stays."""
    return _drop(x, p, train, x.shape if shape is None else shape, lambda mask: pointwise(
        lambda a, m: a * m, x, pointwise(lambda m: m / (1 - p), mask)))


def _saturate(x: Value, p: float, train: bool, shape: Shape) -> Value:
    """Dropped elements become SELU's saturation value, then mean and variance are put back
    (Klambauer et al. 2017)."""
    def apply(mask: Value) -> Value:
        a = 1.0 / math.sqrt((_SATURATION * _SATURATION * p + 1) * (1 - p))
        shift = pointwise(lambda m: (m - 1) * (_SATURATION * a) + _SATURATION * a * p, mask)
        return pointwise(lambda v, m, s: v * m + s, x, pointwise(lambda m: m * a, mask), shift)

    return _drop(x, p, train, shape, apply)


def _channels(x: Value) -> Shape:
    """One element of the mask for a channel of a sample."""
    if x.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (*x.shape[:2], *[1] * (x.ndim - 2))


@aten("dropout(Tensor input, float p, bool train) -> Tensor")
def dropout(x, p, train):
    return drop(x, p, train)


@aten("feature_dropout(Tensor input, float p, bool train) -> Tensor")
def feature_dropout(x, p, train):
    return drop(x, p, train, _channels(x) if train else x.shape)


@aten("alpha_dropout(Tensor input, float p, bool train) -> Tensor")
def alpha_dropout(x, p, train):
    return _saturate(x, p, train, x.shape)


@aten("feature_alpha_dropout(Tensor input, float p, bool train) -> Tensor")
def feature_alpha_dropout(x, p, train):
    return _saturate(x, p, train, _channels(x) if train else x.shape)


@aten("native_dropout(Tensor input, float p, bool? train) -> (Tensor, Tensor)")
def native_dropout(x, p, train):
    """Also which elements were kept."""
    trained = train is None or train
    if not trained or p in (0, 1) or x.numel == 0:
        return drop(x, p, trained), full(x.shape, not (trained and p == 1), bool_)
    mask = chances(x.shape, bool_, 1 - p)
    kept = pointwise(lambda m: m / (1 - p), mask, dtype=x.dtype)
    return pointwise(lambda a, m: a * m, x, kept), mask


@aten("rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.33333333333333331, "
      "bool training=False, Generator? generator=None) -> Tensor")
def rrelu(x, lower=0.125, upper=1 / 3, training=False, generator=None):
    """Leaky relu with slopes drawn in training, and with their mean otherwise."""
    if not x.dtype.is_float:
        raise RuntimeError(f"rrelu is not supported for {x.dtype.torch_name} tensors")
    if not isinstance(lower, Value) and not isinstance(upper, Value) and lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if training and x.numel:
        return pointwise(lambda a, s: a * s, x, slopes(x, lower, upper))
    return pointwise(lambda a, lo, hi: E.select(a > 0, a, a * ((lo + hi) / 2)), x, lower, upper,
                     dtype=x.dtype)


def slopes(x: Value, lower: float, upper: float) -> Value:
    """1 for positive elements; each of the others draws its own."""
    flat, count = ravel(x), x.numel
    low = compute((count,), lambda i: E.cast(E.load(flat, [i]) <= 0, i64))
    rank = scan(low, 0, "add")[0]
    used = compute((), lambda: E.load(rank, [count - 1]) * 2)
    draw = current().draw(2 * count, used)

    def body(i: Expr) -> Expr:
        u = draw.uniform53(E.maximum(E.load(rank, [i]) - 1, 0))
        least = number(lower, f64)
        slope = u * (number(upper, f64) - least) + least
        return E.cast(E.select(E.load(flat, [i]) <= 0, slope, 1.0), x.dtype)

    return reshape((count,), x.shape).get(compute((count,), body))
