"""Normalization: layer, group, instance, root mean square and weight normalization, distances.

Mean and variance take two passes over the input, as PyTorch's do: the variance sums (x - mean)^2.
Statistics of f16 and bf16 are computed and kept in f32 within an operator.
"""

from __future__ import annotations

import math
from typing import Sequence

from lowering import expr as E
from lowering import views
from lowering.build import (
    cast, compute, compute_dtype, dims_of, float_result, generic, pointwise, reduce,
)
from lowering.expr import Expr
from lowering.ops.message_names import type_name
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType


def moments(x: Value, dims: Sequence[int]) -> tuple[Value, Value]:
    """Mean and biased variance over dims (kept with size 1), in the dtype computed in."""
    working = compute_dtype(x.dtype)
    dims = dims_of(dims, x.ndim)
    count = math.prod(x.shape[d] for d in dims)
    mean = reduce("add", x, dims, False, None, lambda s: s / E.const(count, working), out=working)
    kept = [k for k in range(x.ndim) if k not in dims]
    order = [*kept, *dims]
    at = [E.index(order.index(k)) for k in range(x.ndim)]
    d = E.cast(E.load(x, at), working) - E.load(mean, E.identity(len(kept)))
    var = generic(tuple(x.shape[k] for k in order), len(kept), d * d, "add",
                  E.acc(working) / E.const(count, working))
    shape = tuple(1 if k in dims else n for k, n in enumerate(x.shape))
    return _unsqueezed(mean, shape, kept), _unsqueezed(var, shape, kept)


def _unsqueezed(x: Value, shape: tuple[int, ...], kept: list[int]) -> Value:
    return compute(shape, lambda *i: E.load(x, [i[k] for k in kept]))


def rstd_of(var: Value, eps: float) -> Value:
    """1 / sqrt(var + eps)."""
    return pointwise(lambda v: 1 / E.unary("sqrt", v + eps), var)


def at_trailing(p: Value | None, i: Sequence[Expr], dtype: DType, otherwise: float) -> Expr:
    """A parameter that has the shape of the last dims, at those loop indices."""
    if p is None:
        return E.const(otherwise, dtype)
    return E.cast(E.load(p, i[len(i) - p.ndim:]), dtype)


def _scaled(y: Expr, weight: Expr | None, bias: Expr | None) -> Expr:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@aten("layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None,"
      " float eps=1.0000000000000001e-05, bool cudnn_enable=True) -> Tensor")
def layer_norm(x, shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dims, which are `shape`."""
    return native_layer_norm(x, shape, weight, bias, eps)[0]


@aten("native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, "
      "float eps) -> (Tensor, Tensor, Tensor)")
def native_layer_norm(x, shape, weight, bias, eps):
    """Also the means and the reciprocal deviations, in the dtype of the parameters."""
    shape = tuple(shape)
    _check_normalized(x, shape, weight, bias)
    mean, var = moments(x, range(x.ndim - len(shape), x.ndim))
    rstd = rstd_of(var, eps)
    working = compute_dtype(x.dtype)

    def body(*i: Expr) -> Expr:
        at = [0 if n == 1 else k for n, k in zip(mean.shape, i)]
        y = (E.cast(E.load(x, i), working) - E.load(mean, at)) * E.load(rstd, at)
        w = None if weight is None else at_trailing(weight, i, working, 1)
        b = None if bias is None else at_trailing(bias, i, working, 0)
        return E.cast(_scaled(y, w, b), x.dtype)

    kept = weight.dtype if weight is not None else bias.dtype if bias is not None else x.dtype
    return compute(x.shape, body), cast(mean, kept), cast(rstd, kept)


def _check_normalized(x: Value, shape: tuple[int, ...], weight: Value | None,
                      bias: Value | None) -> None:
    if not shape:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., "
                           "containing at least one element, but got normalized_shape = []")
    for p, name in ((weight, "weight"), (bias, "bias")):
        if p is not None and p.shape != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(p.shape)} and normalized_shape = {list(shape)}"
            )
    if x.ndim < len(shape) or x.shape[x.ndim - len(shape):] != shape:
        stars = "".join(f", {n}" for n in shape)
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*{stars}], but got "
            f"input of size{list(x.shape)}"
        )


@aten("rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> "
      "Tensor")
def rms_norm(x, shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) * weight; eps defaults to the spacing of 1 in the dtype computed
    in."""
    shape = tuple(shape)
    _check_normalized(x, shape, weight, None)
    working = compute_dtype(x.dtype)
    eps = eps if eps is not None else 2.0**-52 if working.bits == 64 else 2.0**-23
    dims = range(x.ndim - len(shape), x.ndim)
    count = E.const(math.prod(shape), working)
    rstd = reduce("add", x, dims, True, lambda a: a * a,
                  lambda s: 1 / E.unary("sqrt", s / count + eps), out=working)

    def body(*i: Expr) -> Expr:
        y = E.cast(E.load(x, i), working)
        y = y * E.load(rstd, [0 if n == 1 else k for n, k in zip(rstd.shape, i)])
        return E.cast(y if weight is None else y * at_trailing(weight, i, working, 1), x.dtype)

    return compute(x.shape, body)


@aten("group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float "
      "eps=1.0000000000000001e-05, bool cudnn_enabled=True) -> Tensor")
def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    """Normalizes each sample over groups of consecutive channels. Shape: (n, c, ...)."""
    if x.ndim < 2:
        raise IndexError("Dimension out of range (expected to be in range of "
                         f"[{-max(x.ndim, 1)}, {max(x.ndim, 1) - 1}], but got 1)")
    spatial = math.prod(x.shape[2:])
    return native_group_norm(x, weight, bias, x.shape[0], x.shape[1], spatial, num_groups, eps)[0]


@aten("native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int"
      " group, float eps) -> (Tensor, Tensor, Tensor)")
def native_group_norm(x, weight, bias, n, channels, spatial, groups, eps):
    """Also means and reciprocal deviations, of shape (n, groups)."""
    if groups <= 0:
        raise RuntimeError("Expected num groups to be greater than 0, got " + str(groups))
    if channels % groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(x.shape)} and num_groups={groups}"
        )
    for p, name in ((weight, "weight"), (bias, "bias")):
        if p is not None and p.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(p.shape)} and input of shape {list(x.shape)}"
            )
    size = channels // groups
    split = views.reshape(x.shape, (n, groups, size, spatial)).get(x)
    mean, var = moments(split, (2, 3))
    rstd = rstd_of(var, eps)
    working = compute_dtype(x.dtype)
    # One scale and one shift a channel, so that the large loop has no division in its indices.
    group_of = lambda b, c: [b, c // size, 0, 0]  # noqa: E731
    center = compute((n, channels), lambda b, c: E.load(mean, group_of(b, c)))
    scale = compute((n, channels), lambda b, c: _scaled(
        E.load(rstd, group_of(b, c)),
        None if weight is None else E.cast(E.load(weight, (c,)), working), None))

    def body(*i: Expr) -> Expr:
        y = (E.cast(E.load(x, i), working) - E.load(center, i[:2])) * E.load(scale, i[:2])
        return E.cast(_scaled(y, None, _vector(bias, i[1], working)), x.dtype)

    kept = weight.dtype if weight is not None else bias.dtype if bias is not None else x.dtype
    flat = [cast(compute((n, groups), lambda b, g, v=v: E.load(v, (b, g, 0, 0))), kept)
            for v in (mean, rstd)]
    return compute(x.shape, body), *flat


def _vector(p: Value | None, i: Expr, dtype: DType) -> Expr | None:
    return None if p is None else E.cast(E.load(p, (i,)), dtype)


@aten("norm_except_dim(Tensor v, int pow=2, int dim=0) -> Tensor")
def norm_except_dim(v, pow=2, dim=0):
    """The norm over all dims but one (dim -1: over all)."""
    return _norm_except_dim(v, pow, dim, v.dtype)


def _norm_except_dim(v: Value, pow: int, dim: int, out: DType) -> Value:
    dims = [k for k in range(v.ndim) if k != dim] if dim != -1 else list(range(v.ndim))
    power = float(pow)

    def body(a: Expr) -> Expr:
        return a * a if power == 2 else E.binary("pow", E.unary("abs", a), power)

    def post(s: Expr) -> Expr:
        return E.unary("sqrt", s) if power == 2 else E.binary("pow", s, 1 / power)

    return reduce("add", v, dims, dim != -1, body, post, out=out)


@aten("_weight_norm(Tensor v, Tensor g, int dim=0) -> Tensor")
def weight_norm(v, g, dim=0):
    """v * (g / norm of v over all dims but dim)."""
    return weight_norm_interface(v, g, dim)[0]


@aten("_weight_norm_interface(Tensor v, Tensor g, int dim=0) -> (Tensor, Tensor)")
def weight_norm_interface(v, g, dim=0):
    norm = _norm_except_dim(v, 2, dim, compute_dtype(v.dtype))
    return pointwise(lambda a, b, n: a * (b / n), v, g, norm, out=v.dtype), norm


@aten("cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor")
def cosine_similarity(x, y, dim=1, eps=1e-8):
    """x . y / (max(|x|, eps) * max(|y|, eps)) along dim; shapes broadcast."""
    xy = pointwise(lambda a, b: a * b, x, y)
    if not xy.dtype.is_float:
        raise RuntimeError("expected common dtype to be floating point, yet common dtype is "
                           + type_name(xy.dtype))
    working = compute_dtype(xy.dtype)
    dot = reduce("add", pointwise(lambda a, b: a * b, x, y, out=working), dim, False)
    shape = xy.shape
    norms = []
    for v in (x, y):
        full_size = pointwise(lambda a, _: a * a, v, xy, out=working)
        assert full_size.shape == shape
        norms.append(reduce("add", full_size, dim, False, None,
                            lambda s: E.maximum(E.unary("sqrt", s), eps)))
    return pointwise(lambda d, p, q: d / (p * q), dot, *norms, out=xy.dtype)


@aten("pairwise_distance(Tensor x1, Tensor x2, float p=2., float eps=9.9999999999999995e-07, "
      "bool keepdim=False) -> Tensor")
def pairwise_distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x - y + eps over the last dim."""
    d = pointwise(lambda a, b: a - b, x, y)
    d = pointwise(lambda a: a + eps, d, dtype=float_result(d.dtype))
    return vector_norm(d, p, -1, keepdim)


def vector_norm(x: Value, p: float, dim: int, keepdim: bool) -> Value:
    """The p-norm along a dim; p may be 0 (count of non-zeros) or infinite."""
    p = float(p)
    if p == 0:
        return reduce("add", x, dim, keepdim,
                      lambda a: E.select(E.ne(a, 0), E.const(1, a.dtype), E.const(0, a.dtype)))
    if math.isinf(p):
        return reduce("max" if p > 0 else "min", x, dim, keepdim, lambda a: E.unary("abs", a))
    if p == 1:
        return reduce("add", x, dim, keepdim, lambda a: E.unary("abs", a))
    if p == 2:
        return reduce("add", x, dim, keepdim, lambda a: a * a, lambda s: E.unary("sqrt", s))
    return reduce("add", x, dim, keepdim, lambda a: E.binary("pow", E.unary("abs", a), p),
                  lambda s: E.binary("pow", s, 1 / p))
