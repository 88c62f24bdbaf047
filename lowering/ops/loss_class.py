"""Losses of scores of classes: negative log likelihood, cross entropy, margins.

Classes are dim 1 of the scores (dim 0 of a single sample). A target equal to ignore_index has no
loss and no weight; any other outside the classes is an error.
"""

from __future__ import annotations

from typing import Callable

from lowering import expr as E
from lowering.build import compute, compute_dtype, full, generic, pointwise, reduce
from lowering.expr import Expr
from lowering.ops.loss import MEAN, NONE, reduced
from lowering.ops.positions import check_all
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, i64


def _class_dim(x: Value) -> int:
    return 0 if x.ndim == 1 else 1


def _picked(x: Value, target: Value, ignore_index: int) -> tuple[Callable, Callable]:
    """(counts, element): whether a target counts, and x at the target's class, as expressions of
    the indices of the target's dims."""
    dim, classes = _class_dim(x), x.shape[_class_dim(x)]

    def label(*i: Expr) -> Expr:
        return E.cast(E.load(target, i), i64)

    def counts(*i: Expr) -> Expr:
        t = label(*i)
        return E.ne(t, ignore_index) & (t >= 0) & (t < classes)

    def element(v: Value, *i: Expr) -> Expr:
        t = E.minimum(E.maximum(label(*i), 0), max(classes - 1, 0))
        at = (t,) if v.ndim == 1 else (*i[:dim], t, *i[dim:])
        return E.cast(E.load(v, at), compute_dtype(x.dtype))

    return counts, element


def _nll(x: Value, target: Value, weight: Value | None, reduction: int,
         ignore_index: int) -> tuple[Value, Value]:
    """The loss, and the sum of the targets' weights (0 where nothing is reduced)."""
    _check(x, target, weight)
    classes = x.shape[_class_dim(x)]
    check_all(target, lambda t: E.eq(t, ignore_index) | ((t >= 0) & (t < classes)),
              lambda wrong: f"Target {wrong} is out of bounds.")
    counts, element = _picked(x, target, ignore_index)
    working = compute_dtype(x.dtype)
    zero, one = E.const(0, working), E.const(1, working)

    def weight_of(*i: Expr) -> Expr:
        w = one if weight is None else element(weight, *i)
        return E.select(counts(*i), w, zero)

    def loss(*i: Expr) -> Expr:
        value = -element(x, *i)
        if weight is not None:
            value = value * element(weight, *i)
        return E.select(counts(*i), value, zero)

    if reduction == NONE:
        out = compute(target.shape, lambda *i: E.cast(loss(*i), x.dtype))
        return out, full((), 0, x.dtype)
    losses = compute(target.shape, loss)
    weights = compute(target.shape, weight_of)
    total = reduce("add", weights, None, False)
    out = reduce("add", losses, None, False)
    if reduction == MEAN:
        out = pointwise(lambda a, w: a / w, out, total, out=x.dtype)
    else:
        out = pointwise(lambda a: a, out, out=x.dtype)
    return out, pointwise(lambda w: w, total, out=x.dtype)


def _check(x: Value, target: Value, weight: Value | None) -> None:
    if x.ndim == 0:
        raise RuntimeError("input tensor should be 1D or 2D")
    if x.ndim == 1 and target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if x.ndim > 1:
        wanted = (x.shape[0], *x.shape[2:])
        if target.shape[:1] != wanted[:1]:
            raise RuntimeError(f"size mismatch (got input: {list(x.shape)}, target: "
                               f"{list(target.shape)})")
        if target.shape != wanted:
            raise RuntimeError(f"Expected target size {list(wanted)}, got {list(target.shape)}")
    classes = x.shape[_class_dim(x)]
    if weight is not None and weight.shape != (classes,):
        raise RuntimeError("weight tensor should be defined either for all "
                           f"{classes} classes or no classes but got weight tensor of shape: "
                           f"{list(weight.shape)}")


@aten("nll_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int "
      "ignore_index=-100) -> Tensor",
      "nll_loss2d(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int "
      "ignore_index=-100) -> Tensor",
      "nll_loss_nd(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int "
      "ignore_index=-100) -> Tensor")
def nll_loss(x, target, weight=None, reduction=MEAN, ignore_index=-100):
    """Minus the log probability of the target class, times its weight; the mean is weighted."""
    return _nll(x, target, weight, reduction, ignore_index)[0]


@aten("nll_loss_forward(Tensor self, Tensor target, Tensor? weight, int reduction, int "
      "ignore_index) -> (Tensor output, Tensor total_weight)",
      "nll_loss2d_forward(Tensor self, Tensor target, Tensor? weight, int reduction, int "
      "ignore_index) -> (Tensor output, Tensor total_weight)")
def nll_loss_forward(x, target, weight, reduction, ignore_index):
    return _nll(x, target, weight, reduction, ignore_index)


def _log_softmax(x: Value, dim: int) -> Value:
    """x - max - log(sum(exp(x - max))), in the dtype computed in."""
    working = compute_dtype(x.dtype)
    top = reduce("max", x, dim, True, out=working)
    shifted = pointwise(lambda a, m: a - m, x, top, out=working)
    total = reduce("add", shifted, dim, True, lambda a: E.unary("exp", a),
                   lambda s: E.unary("log", s))
    return pointwise(lambda a, s: a - s, shifted, total)


@aten("cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, int"
      " ignore_index=-100, float label_smoothing=0.) -> Tensor")
def cross_entropy_loss(x, target, weight=None, reduction=MEAN, ignore_index=-100,
                       label_smoothing=0.0):
    """Negative log likelihood of log_softmax(x). The target holds classes, or probabilities when it
    is of x's shape. label_smoothing: that share of each target is spread over all classes."""
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError("label_smoothing must be between 0.0 and 1.0. Got: "
                           f"{label_smoothing:g}")
    dim = _class_dim(x)
    if target.shape == x.shape and target.dtype.is_float:
        return _of_probabilities(x, target, weight, reduction, label_smoothing)
    _check(x, target, weight)
    logs = _log_softmax(x, dim)
    loss = _nll(logs, target, weight, reduction, ignore_index)[0]
    if label_smoothing:
        smooth = _smooth(logs, target, weight, reduction, ignore_index)
        share = label_smoothing / x.shape[dim]
        loss = pointwise(lambda a, s: a * (1 - label_smoothing) + s * share, loss, smooth)
    return loss if loss.dtype is x.dtype else pointwise(lambda a: a, loss, out=x.dtype)


def _smooth(logs: Value, target: Value, weight: Value | None, reduction: int,
            ignore_index: int) -> Value:
    """The loss of all classes alike, for targets that count."""
    dim = _class_dim(logs)
    everything = reduce("add", _weighted(logs, weight, dim), dim, False, None, lambda s: -s)
    counts, element = _picked(logs, target, ignore_index)
    zero, one = E.const(0, logs.dtype), E.const(1, logs.dtype)
    kept = compute(target.shape, lambda *i: E.select(counts(*i), E.load(everything, i), zero))
    if reduction != MEAN:
        return reduced(kept, reduction)
    weights = compute(target.shape, lambda *i: E.select(
        counts(*i), one if weight is None else element(weight, *i), zero))
    return pointwise(lambda a, w: a / w, reduce("add", kept, None, False),
                     reduce("add", weights, None, False))


def _weighted(x: Value, weight: Value | None, dim: int) -> Value:
    if weight is None:
        return x
    return compute(x.shape, lambda *i: E.load(x, i)
                   * E.cast(E.load(weight, (i[dim],)), x.dtype))


def _of_probabilities(x: Value, target: Value, weight: Value | None, reduction: int,
                      label_smoothing: float) -> Value:
    dim = _class_dim(x)
    logs = _weighted(_log_softmax(x, dim), weight, dim)
    share = label_smoothing / x.shape[dim]

    def term(a: Expr, t: Expr) -> Expr:
        return -a * (t * (1 - label_smoothing) + share if label_smoothing else t)

    losses = reduce("add", pointwise(term, logs, target, dtype=logs.dtype), dim, False)
    if reduction == MEAN:
        count = float(max(x.numel // max(x.shape[dim], 1), 1))
        out = reduce("add", losses, None, False, None, lambda s: s / count)
    else:
        out = reduced(losses, reduction)
    return pointwise(lambda a: a, out, out=x.dtype)


@aten("multi_margin_loss(Tensor self, Tensor target, Scalar p=1, Scalar margin=1, Tensor? "
      "weight=None, int reduction=1) -> Tensor")
def multi_margin_loss(x, target, p=1, margin=1, weight=None, reduction=MEAN):
    """The mean over the classes c other than the target t of max(0, margin - x[t] + x[c])^p."""
    if p not in (1, 2):
        raise RuntimeError("only p == 1 and p == 2 supported")
    _some_classes(x)
    if target.dtype is not i64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.torch_name}")
    if weight is not None and weight.shape != x.shape[-1:]:
        raise RuntimeError(f"inconsistent weight size, expected {x.shape[-1]} but got "
                           f"{list(weight.shape)}")
    if x.ndim < 2:
        row = _row(x)
        labels = compute((1,), lambda _: E.load(target, (0,) * target.ndim))
        losses = _margins(row, labels, p, margin, weight)
        shape = target.shape if reduction == NONE else ()
        return compute(shape, lambda *_: E.load(losses, (0,)))
    return reduced(_margins(x, target, p, margin, weight), reduction)


def _some_classes(x: Value) -> None:
    """RuntimeError where a sample has no classes."""
    if 0 in x.shape[-1:]:
        raise RuntimeError("Expected non-empty vector or matrix with optional 0-dim batch size, "
                           "but "
                           f"got: {list(x.shape)}")


def _row(x: Value) -> Value:
    """One sample as a batch."""
    return compute((1, max(x.numel, 1)), lambda _, c: E.load(x, (c,) if x.ndim else ()))


def _margins(x: Value, target: Value, p: int, margin: float, weight: Value | None) -> Value:
    n, classes = x.shape
    working = compute_dtype(x.dtype)
    check_all(target, lambda t: (t >= 0) & (t < classes), lambda _: "target out of range")
    counts, element = _picked(x, target, -1)
    i, c = E.index(0), E.index(1)
    z = E.maximum(float(margin) - element(x, i) + E.cast(E.load(x, (i, c)), working), 0)
    z = z if p == 1 else z * z
    z = z if weight is None else z * element(weight, i)
    own = E.eq(E.cast(E.load(target, (i,)), i64), c)
    body = E.select(own, E.const(0, working), z)
    return generic((n, classes), 1, body, "add",
                   E.cast(E.acc(working) / float(classes), x.dtype))


@aten("multilabel_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor")
def multilabel_margin_loss(x, target, reduction=MEAN):
    """target: the classes of each sample, ended by -1. The sum over its classes t and all others c
    of max(0, 1 - (x[t] - x[c])), by the number of classes."""
    _some_classes(x)
    if x.ndim < 2:
        losses = _multilabel(_row(x), _row(target))
        return compute((), lambda: E.load(losses, (0,)))
    return reduced(_multilabel(x, target), reduction)


def _multilabel(x: Value, target: Value) -> Value:
    n, classes = x.shape
    working = compute_dtype(x.dtype)
    i, j, k = E.index(0), E.index(1), E.index(2)

    def label(position: Expr) -> Expr:
        return E.cast(E.load(target, (i, position)), i64)

    ended = (k <= j) & (label(k) < 0)
    valid = generic((n, classes, classes), 2, ended, "or", ~E.acc(ended.dtype))
    hit = E.load(valid, (i, k)) & E.eq(label(k), j)
    own = generic((n, classes, classes), 2, hit, "or")
    at = E.minimum(E.maximum(label(j), 0), classes - 1)
    z = E.maximum(1 - (_at(x, i, at, working) - _at(x, i, k, working)), 0)
    counts = E.load(valid, (i, j)) & ~E.load(own, (i, k))
    body = E.select(counts, z, E.const(0, working))
    return generic((n, classes, classes), 1, body, "add",
                   E.cast(E.acc(working) / float(classes), x.dtype))


def _at(x: Value, i: Expr, c: Expr, dtype: DType) -> Expr:
    return E.cast(E.load(x, (i, c)), dtype)
