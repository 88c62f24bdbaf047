"""Softmax, its logarithm, and log-sum-exp."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import (
    cast, compute_dtype, dim_of, dims_of, float_result, pointwise, reduce, squeeze,
)
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import f32


@aten("softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
      "special_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor")
def softmax(x, dim, dtype=None):
    """exp(x - max) / sum of them; half dtypes are rounded once, at the end."""
    wide, out = _wide(x, dtype)
    top = reduce("max", wide, dim_of(dim, x.ndim), True)
    e = pointwise(lambda a, m: E.unary("exp", a - m), wide, top)
    return pointwise(lambda a, s: a / s, e, reduce("add", e, dim, True), out=out)


@aten("log_softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
      "special_log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor")
def log_softmax(x, dim, dtype=None):
    """x - max - log(sum of exp(x - max))."""
    wide, out = _wide(x, dtype)
    top = reduce("max", wide, dim_of(dim, x.ndim), True)
    moved = pointwise(lambda a, m: a - m, wide, top)
    total = reduce("add", moved, dim, True, lambda a: E.unary("exp", a),
                   lambda s: E.unary("log", s))
    return pointwise(lambda a, s: a - s, moved, total, out=out)


@aten("_softmax(Tensor self, int dim, bool half_to_float) -> Tensor")
def _softmax(x, dim, half_to_float):
    return softmax(x, dim, f32 if half_to_float else None)


@aten("_log_softmax(Tensor self, int dim, bool half_to_float) -> Tensor")
def _log_softmax(x, dim, half_to_float):
    return log_softmax(x, dim, f32 if half_to_float else None)


def _wide(x: Value, dtype) -> tuple[Value, object]:
    """x in the dtype that is computed in, and the dtype of the result."""
    out = dtype or x.dtype
    if not out.is_float:
        raise RuntimeError("\"softmax_lastdim_kernel_impl\" not implemented for "
                           f"'{out.torch_name}'")
    return cast(cast(x, out), compute_dtype(out)), out


@aten(*each("logsumexp special_logsumexp",
            "(Tensor self, int[1] dim, bool keepdim=False) -> Tensor"))
def logsumexp(x, dim, keepdim=False):
    """max + log(sum of exp(x - max)); an infinite max counts as 0."""
    out = float_result(x.dtype)
    wide = cast(x, compute_dtype(out))
    dims = dims_of(dim, x.ndim)
    top = reduce("max", wide, dims, True)
    top = pointwise(lambda m: E.select(E.eq(m - m, 0), m, E.const(0, m.dtype)), top)
    moved = pointwise(lambda a, m: E.unary("exp", a - m), wide, top)
    total = reduce("add", moved, dims, True, None, lambda s: E.unary("log", s))
    y = pointwise(lambda s, m: s + m, total, top, out=out)
    return y if keepdim else squeeze(y, dims)
