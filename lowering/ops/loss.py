"""Losses of a prediction against a target of the same kind.

reduction: 0 none, 1 mean, 2 sum. The losses of classes are in loss_class.py.
"""

from __future__ import annotations

import math
from typing import Callable

from lowering import expr as E
from lowering.build import float_result, pointwise, reduce, result_type
from lowering.expr import Expr
from lowering.ops.normalization import pairwise_distance
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import i64

NONE, MEAN, SUM = 0, 1, 2


def reduced(x: Value, reduction: int) -> Value:
    """x itself, its mean or its sum."""
    if reduction == NONE:
        return x
    if reduction not in (MEAN, SUM):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    mean = (lambda s: s / E.const(x.numel, s.dtype)) if reduction == MEAN else None
    return reduce("add", x, None, False, None, mean)


def _between(fn: Callable[..., Expr], reduction: int, *operands: Value) -> Value:
    return reduced(pointwise(fn, *operands), reduction)


def _as_float(fn: Callable[..., Expr], reduction: int, *operands: Value) -> Value:
    """The same for functions with real constants: integers are computed in float32."""
    dtype = float_result(result_type(*operands))
    return reduced(pointwise(fn, *operands, dtype=dtype), reduction)


def _pointwise_loss(fn: Callable[..., Expr], x: Value, target: Value, reduction: int) -> Value:
    return _between(fn, reduction, x, target)


def _distance(a: Expr, b: Expr) -> Expr:
    return E.unary("abs", a - b)


@aten("mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor")
def mse_loss(x, target, reduction=MEAN):
    return _pointwise_loss(lambda a, b: (a - b) * (a - b), x, target, reduction)


@aten("l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor")
def l1_loss(x, target, reduction=MEAN):
    return _pointwise_loss(_distance, x, target, reduction)


@aten("smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.) -> Tensor")
def smooth_l1_loss(x, target, reduction=MEAN, beta=1.0):
    """d = |x - target|: d^2 / (2 beta) where d < beta, else d - beta / 2."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(x, target, reduction)

    def loss(a: Expr, b: Expr) -> Expr:
        d = _distance(a, b)
        return E.select(d < beta, d * d * 0.5 / beta, d - 0.5 * beta)

    return _pointwise_loss(loss, x, target, reduction)


@aten("huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.) -> Tensor")
def huber_loss(x, target, reduction=MEAN, delta=1.0):
    """d = |x - target|: d^2 / 2 where d < delta, else delta * (d - delta / 2)."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")

    def loss(a: Expr, b: Expr) -> Expr:
        d = _distance(a, b)
        return E.select(d < delta, d * d * 0.5, (d - 0.5 * delta) * delta)

    return _pointwise_loss(loss, x, target, reduction)


@aten("binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) "
      "-> Tensor")
def binary_cross_entropy(x, target, weight=None, reduction=MEAN):
    """-(t log x + (1 - t) log(1 - x)), the logarithms not below -100."""
    def loss(a: Expr, t: Expr, *w: Expr) -> Expr:
        log = E.maximum(E.unary("log", a), -100)
        other = E.maximum(E.unary("log1p", -a), -100)
        value = (t - 1) * other - t * log
        return value * w[0] if w else value

    return _between(loss, reduction, x, target, *([weight] if weight is not None else []))


@aten("binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, "
      "Tensor? pos_weight=None, int reduction=1) -> Tensor")
def binary_cross_entropy_with_logits(x, target, weight=None, pos_weight=None, reduction=MEAN):
    """The same of sigmoid(x): (1 - t) x + (1 + (p - 1) t) (log(1 + exp(-|x|)) + max(-x, 0))."""
    extra = [v for v in (weight, pos_weight) if v is not None]

    def loss(a: Expr, t: Expr, *more: Expr) -> Expr:
        rest = list(more)
        w = rest.pop(0) if weight is not None else None
        p = rest.pop(0) if pos_weight is not None else None
        log = E.unary("log1p", E.unary("exp", -E.unary("abs", a))) + E.maximum(-a, 0)
        value = (1 - t) * a + (log if p is None else ((p - 1) * t + 1) * log)
        return value if w is None else value * w

    return _between(loss, reduction, x, target, *extra)


@aten("kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor")
def kl_div(x, target, reduction=MEAN, log_target=False):
    """t (log t - x), which is 0 where t is 0; log_target: the target holds log t."""
    def loss(a: Expr, t: Expr) -> Expr:
        if log_target:
            return E.unary("exp", t) * (t - a)
        zero = E.const(0, t.dtype)
        return E.select(E.eq(t, 0), zero, t * E.unary("log", t)) - t * a

    return _pointwise_loss(loss, x, target, reduction)


@aten("soft_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor")
def soft_margin_loss(x, target, reduction=MEAN):
    return _pointwise_loss(lambda a, t: E.unary("log1p", E.unary("exp", -t * a)), x, target,
                           reduction)


@aten("poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, int "
      "reduction) -> Tensor")
def poisson_nll_loss(x, target, log_input, full, eps, reduction):
    """full: with Stirling's approximation of log t! where t > 1."""
    def loss(a: Expr, t: Expr) -> Expr:
        if log_input:
            value = E.unary("exp", a) - t * a
        else:
            value = a - t * E.unary("log", a + eps)
        if not full:
            return value
        log = E.unary("log", t)
        stirling = t * log - t + E.unary("log", t * (2 * math.pi)) * 0.5
        return value + E.select(t > 1, stirling, E.const(0, t.dtype))

    return _as_float(loss, reduction, x, target)


@aten("hinge_embedding_loss(Tensor self, Tensor target, float margin=1., int reduction=1) -> "
      "Tensor")
def hinge_embedding_loss(x, target, margin=1.0, reduction=MEAN):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    def loss(a: Expr, t: Expr) -> Expr:
        zero = E.const(0, a.dtype)
        apart = E.select(E.ne(t, 1), E.maximum(margin - a, 0), zero)
        return apart + E.select(E.ne(t, -1), a, zero)

    return _as_float(loss, reduction, x, target)


@aten("margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0., int "
      "reduction=1) -> Tensor")
def margin_ranking_loss(x, y, target, margin=0.0, reduction=MEAN):
    """max(0, -t (x - y) + margin)."""
    against = pointwise(lambda a, b, t: -t * (a - b), x, y, target)
    return _as_float(lambda d: E.maximum(d + margin, 0), reduction, against)


@aten("cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0., int "
      "reduction=1) -> Tensor")
def cosine_embedding_loss(x, y, target, margin=0.0, reduction=MEAN):
    """1 - cos(x, y) where the target is 1, max(0, cos(x, y) - margin) where it is -1."""
    if target.ndim not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target.ndim == 1 and x.ndim != 2 or target.ndim == 0 and x.ndim != 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
            f"inputs with sizes {list(x.shape)} and {list(y.shape)}."
        )
    dot, xx, yy = _dot(x, y), _dot(x, x), _dot(y, y)

    def loss(d: Expr, p: Expr, q: Expr, t: Expr) -> Expr:
        cos = d / E.unary("sqrt", (p + 1e-12) * (q + 1e-12))
        zero = E.const(0, d.dtype)
        return E.select(E.eq(t, 1), 1 - cos, zero) + E.select(
            E.eq(t, -1), E.maximum(cos - margin, 0), zero)

    dtype = float_result(result_type(x, y))
    return reduced(pointwise(loss, dot, xx, yy, target, dtype=dtype), reduction)


def _dot(x: Value, y: Value) -> Value:
    """The sum of products over the last dim; of integers in i64."""
    product = pointwise(lambda a, b: a * b, x, y)
    return reduce("add", product, -1, False, dtype=product.dtype if product.dtype.is_float else i64)


@aten("triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1., "
      "float p=2., float eps=9.9999999999999995e-07, bool swap=False, int reduction=1) -> "
      "Tensor")
def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False,
                        reduction=MEAN):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), p-norm distances; swap: the
    negative's distance from the positive counts if smaller."""
    if margin <= 0:
        raise RuntimeError("triplet_margin_loss(): margin must be greater than 0, got "
                           f"{margin:g}")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = pointwise(E.minimum, far, pairwise_distance(positive, negative, p, eps))
    return _between(lambda a, b: E.maximum(a - b + margin, 0), reduction, near, far)
