"""Activations: pointwise functions of networks, and softmax."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import cast, float_result, pointwise, reduce
from lowering.ops.table import aten


@aten("relu(Tensor self) -> Tensor")
def relu(x):
    return pointwise(lambda a: E.maximum(a, 0), x)


@aten("sigmoid(Tensor self) -> Tensor")
def sigmoid(x):
    return pointwise(lambda a: 1 / (1 + E.unary("exp", -a)), x, dtype=float_result(x.dtype))


@aten("silu(Tensor self) -> Tensor")
def silu(x):
    return pointwise(lambda a: a / (1 + E.unary("exp", -a)), x)


@aten("softmax.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor")
def softmax(x, dim, dtype=None):
    x = cast(x, dtype or x.dtype)
    top = reduce("max", x, dim, True)
    e = pointwise(lambda a, m: E.unary("exp", a - m), x, top)
    return pointwise(lambda a, s: a / s, e, reduce("add", e, dim, True))
