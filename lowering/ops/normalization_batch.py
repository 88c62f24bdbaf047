"""Batch and instance normalization: one mean and one deviation a channel, dim 1.

With running statistics (eval mode) the operator is x * scale + shift, two vectors that are known
at compile time. In training mode the batch's own statistics are used; the running statistics that
PyTorch would update in place are left as they are.
"""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import cast, compute, compute_dtype, full
from lowering.expr import Expr
from lowering.ops.normalization import moments, rstd_of
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, promote


def _channel(p: Value | None, c: Expr, dtype: DType, otherwise: float) -> Expr:
    return E.const(otherwise, dtype) if p is None else E.cast(E.load(p, (c,)), dtype)


def _affine(x: Value, mean: Value, rstd: Value, weight: Value | None, bias: Value | None) -> Value:
    """x * scale + shift, scale = rstd * weight, shift = bias - mean * scale, along dim 1."""
    working = rstd.dtype
    count = (x.shape[1],)
    scale = compute(count, lambda c: E.load(rstd, (c,)) * _channel(weight, c, working, 1)
                    if weight is not None else E.load(rstd, (c,)))
    shift = compute(count, lambda c: _channel(bias, c, working, 0)
                    - E.load(mean, (c,)) * E.load(scale, (c,)))

    def body(*i: Expr) -> Expr:
        y = E.cast(E.load(x, i), working) * E.load(scale, i[1:2]) + E.load(shift, i[1:2])
        return E.cast(y, x.dtype)

    return compute(x.shape, body)


def _centered(x: Value, mean: Value, rstd: Value, weight: Value | None,
              bias: Value | None) -> Value:
    """(x - mean) * rstd * weight + bias along dim 1: statistics of this very input."""
    working = rstd.dtype

    def body(*i: Expr) -> Expr:
        y = (E.cast(E.load(x, i), working) - E.load(mean, i[1:2])) * E.load(rstd, i[1:2])
        y = y if weight is None else y * _channel(weight, i[1], working, 1)
        return E.cast(y if bias is None else y + _channel(bias, i[1], working, 0), x.dtype)

    return compute(x.shape, body)


def _check(x: Value, parameters: dict[str, Value | None]) -> None:
    if x.ndim < 2:
        raise ValueError(f"expected at least 2D input (got {x.ndim}D input)")
    for name, p in parameters.items():
        if p is not None and p.numel != x.shape[1]:
            raise RuntimeError(
                f"{name} should contain {x.shape[1]} elements not {p.numel}"
            )


def _normalize(x: Value, weight, bias, mean, var, training: bool, eps: float):
    """(result, mean, rstd), the vectors in the dtype computed in; eval has no vectors to return."""
    _check(x, {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var})
    working = compute_dtype(x.dtype)
    if not training:
        if mean is None or var is None:
            raise RuntimeError("running_mean and running_var must be defined in evaluation mode")
        working = promote(working, compute_dtype(mean.dtype))
        center = cast(mean, working)
        return _affine(x, center, rstd_of(cast(var, working), eps), weight, bias), None, None
    dims = [k for k in range(x.ndim) if k != 1]
    if math.prod(x.shape[k] for k in dims) == 0:
        raise ValueError("Expected more than 1 value per channel when training, got input size "
                         f"{list(x.shape)}")
    kept_mean, kept_var = moments(x, dims)
    vector = lambda v: compute((x.shape[1],), lambda c: E.load(  # noqa: E731
        v, [c if k == 1 else 0 for k in range(x.ndim)]))
    center, rstd = vector(kept_mean), rstd_of(vector(kept_var), eps)
    return _centered(x, center, rstd, weight, bias), center, rstd


@aten("batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
      "running_var, bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor")
def batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps,
               cudnn_enabled):
    if x.numel == 0:
        return full(x.shape, 0, x.dtype)
    return _normalize(x, weight, bias, running_mean, running_var, training, eps)[0]


@aten("native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
      "Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, "
      "Tensor)")
def native_batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """Also the batch's means and reciprocal deviations; both are empty in evaluation."""
    y, mean, rstd = _normalize(x, weight, bias, running_mean, running_var, training, eps)
    kept = next((p.dtype for p in (weight, bias, running_mean) if p is not None), x.dtype)
    if mean is None:
        return y, full((0,), 0, kept), full((0,), 0, kept)
    return y, cast(mean, kept), cast(rstd, kept)


@aten("_native_batch_norm_legit_no_training(Tensor input, Tensor? weight, Tensor? bias, Tensor "
      "running_mean, Tensor running_var, float momentum, float eps) -> (Tensor, Tensor, Tensor)")
def native_batch_norm_no_training(x, weight, bias, running_mean, running_var, momentum, eps):
    return native_batch_norm(x, weight, bias, running_mean, running_var, False, momentum, eps)


@aten("instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? "
      "running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled) -> "
      "Tensor")
def instance_norm(x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps,
                  cudnn_enabled):
    """Each channel of each sample by its own statistics, or as batch norm by the running ones."""
    if not use_input_stats:
        return _normalize(x, weight, bias, running_mean, running_var, False, eps)[0]
    _check(x, {"weight": weight, "bias": bias})
    if x.ndim == 2:
        column = compute((*x.shape, 1), lambda b, c, _: E.load(x, (b, c)))
        y = instance_norm(column, weight, bias, None, None, True, momentum, eps, False)
        return compute(x.shape, lambda b, c: E.load(y, (b, c, 0)))
    mean, var = moments(x, range(2, x.ndim))
    rstd = rstd_of(var, eps)
    working = rstd.dtype
    rest = [0] * (x.ndim - 2)
    scale = compute(x.shape[:2], lambda b, c: E.load(rstd, [b, c, *rest])
                    * _channel(weight, c, working, 1))

    def body(*i: Expr) -> Expr:
        at = [*i[:2], *rest]
        y = (E.cast(E.load(x, i), working) - E.load(mean, at)) * E.load(scale, i[:2])
        return E.cast(y if bias is None else y + _channel(bias, i[1], working, 0), x.dtype)

    return compute(x.shape, body)
