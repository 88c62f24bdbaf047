"""Activations: pointwise functions of networks."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import dim_of, float_result, pointwise, reindex
from lowering.expr import Expr
from lowering.ops.table import aten, each
from lowering.ops.slicing import narrow
from lowering.tensor_ir import Value
from runtime.dtypes import bool_


@aten("relu(Tensor self) -> Tensor")
def relu(x):
    if x.dtype is bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return pointwise(lambda a: E.maximum(a, 0), x)


@aten("relu6(Tensor self) -> Tensor")
def relu6(x):
    return hardtanh(x, 0, 6)


@aten("hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor")
def hardtanh(x, min_val=-1, max_val=1):
    if x.dtype is bool_:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    return pointwise(lambda a, lo, hi: E.minimum(E.maximum(a, lo), hi), x, min_val, max_val,
                     dtype=x.dtype)


def logistic(a: Expr) -> Expr:
    return 1 / (1 + E.unary("exp", -a))


@aten(*each("sigmoid special_expit", "(Tensor self) -> Tensor"))
def sigmoid(x):
    return pointwise(logistic, x, dtype=float_result(x.dtype))


@aten("log_sigmoid(Tensor self) -> Tensor")
def log_sigmoid(x):
    """min(x, 0) - log1p(exp(-|x|))."""
    return pointwise(lambda a: E.minimum(a, 0) - E.unary(
        "log1p", E.unary("exp", -E.unary("abs", a))), _float(x, "log_sigmoid"))


@aten("silu(Tensor self) -> Tensor")
def silu(x):
    return pointwise(lambda a: a / (1 + E.unary("exp", -a)), _float(x, "silu"))


@aten("mish(Tensor self) -> Tensor")
def mish(x):
    """x * tanh(softplus(x))."""
    return pointwise(lambda a: a * E.unary("tanh", E.unary("log1p", E.unary("exp", a))),
                     _float(x, "mish"))


@aten("hardsigmoid(Tensor self) -> Tensor")
def hardsigmoid(x):
    return pointwise(lambda a: _six(a + 3) / 6, _float(x, "hardsigmoid"))


@aten("hardswish(Tensor self) -> Tensor")
def hardswish(x):
    return pointwise(lambda a: a * _six(a + 3) / 6, _float(x, "hardswish"))


def _six(a: Expr) -> Expr:
    return E.minimum(E.maximum(a, 0), 6)


@aten('gelu(Tensor self, *, str approximate="none") -> Tensor')
def gelu(x, *, approximate="none"):
    """x * normal distribution's cumulative function, or its tanh approximation
    (Hendrycks and Gimpel 2016)."""
    def exact(a):
        return 0.5 * a * (1 + E.unary("erf", a * math.sqrt(0.5)))

    def by_tanh(a):
        inner = math.sqrt(2 / math.pi) * (a + 0.044715 * (a * a * a))
        return 0.5 * a * (1 + E.unary("tanh", inner))

    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return pointwise(exact if approximate == "none" else by_tanh, _float(x, "gelu"))


@aten("elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor")
def elu(x, alpha=1, scale=1, input_scale=1):
    """scale * (x > 0 ? x : alpha * (exp(input_scale * x) - 1))."""
    return pointwise(
        lambda a, al, s, i: s * E.select(a > 0, a, al * E.unary("expm1", i * a)),
        _float(x, "elu"), alpha, scale, input_scale, dtype=x.dtype)


@aten("selu(Tensor self) -> Tensor")
def selu(x):
    """Klambauer et al. 2017."""
    return elu(_float(x, "selu"), 1.6732632423543772848170429916717,
               1.0507009873554804934193349852946)


@aten("celu(Tensor self, Scalar alpha=1.) -> Tensor")
def celu(x, alpha=1.0):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    if not isinstance(alpha, Value) and alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return pointwise(lambda a, al: E.select(a > 0, a, al * E.unary("expm1", a / al)),
                     _float(x, "celu"), alpha, dtype=x.dtype)


@aten("leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor")
def leaky_relu(x, negative_slope=0.01):
    return pointwise(lambda a, s: E.select(a > 0, a, a * s), _float(x, "leaky_relu"),
                     negative_slope, dtype=x.dtype)


@aten("prelu(Tensor self, Tensor weight) -> Tensor")
def prelu(x, weight):
    """One slope, or one a channel (dim 1)."""
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
                           f"{weight.ndim}")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.numel not in (1, channels):
        raise RuntimeError("Mismatch of parameter numbers and input channel size. Found parameter "
                           f"numbers = {weight.numel} and channel size = {channels}.")
    if weight.dtype is not x.dtype:
        raise RuntimeError("prelu: Type promoting not supported. Got "
                           f"{x.dtype.torch_name} and {weight.dtype.torch_name}")
    shape = [1] * x.ndim
    if weight.numel > 1:
        shape[1] = channels
    slope = reindex(weight, shape, lambda *i: [] if weight.ndim == 0 else
                    [i[1] if weight.numel > 1 else 0])
    return _prelu_kernel(x, slope)


@aten("_prelu_kernel(Tensor self, Tensor weight) -> Tensor")
def _prelu_kernel(x, weight):
    return pointwise(lambda a, w: E.select(a > 0, a, a * w), x, weight)


@aten("softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor")
def softplus(x, beta=1, threshold=20):
    """log1p(exp(beta * x)) / beta, and x where beta * x > threshold."""
    return pointwise(
        lambda a, b, t: E.select(a * b > t, a, E.unary("log1p", E.unary("exp", a * b)) / b),
        _float(x, "softplus"), beta, threshold, dtype=x.dtype)


@aten("softshrink(Tensor self, Scalar lambd=0.5) -> Tensor")
def softshrink(x, lambd=0.5):
    """x moved towards zero by lambd; NaN stays."""
    if not isinstance(lambd, Value) and not lambd >= 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return pointwise(
        lambda a, m: E.select(a > m, a - m, E.select(a < -m, a + m, a * 0)),
        _float(x, "softshrink"), lambd, dtype=x.dtype)


@aten("hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor")
def hardshrink(x, lambd=0.5):
    """0 within [-lambd, lambd]; NaN stays."""
    return pointwise(lambda a, m: E.select((a >= -m) & (a <= m), E.const(0, a.dtype), a),
                     _float(x, "hardshrink"), lambd, dtype=x.dtype)


@aten("threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor")
def threshold(x, threshold, value):
    return pointwise(lambda a, t, v: E.select(a <= t, v, a), x, threshold, value, dtype=x.dtype)


@aten("glu(Tensor self, int dim=-1) -> Tensor")
def glu(x, dim=-1):
    """First half * sigmoid(second half) along dim."""
    if x.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    dim = dim_of(dim, x.ndim)
    if x.shape[dim] % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size "
                           f"{x.shape[dim]}")
    half = x.shape[dim] // 2
    return pointwise(lambda a, b: a * logistic(b), narrow(x, dim, 0, half),
                     narrow(x, dim, half, half))


def _float(x: Value, name: str) -> Value:
    if not x.dtype.is_float:
        raise RuntimeError(f'"{name}" not implemented for \'{x.dtype.torch_name}\'')
    return x
