"""Arithmetic of two tensors, or a tensor and a number: sums, products, the kinds of division."""

from __future__ import annotations

import numpy as np

from lowering import expr as E
from lowering.build import (
    category, check, constant, float_result, number_dtype, pointwise, reduce, result_type,
)  # fmt: skip
from lowering.expr import Expr
from lowering.known import known_or_none
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bool_


def _scale_fits(alpha, dtype: DType) -> None:
    """PyTorch's rules for `alpha`."""
    kind = alpha.dtype if isinstance(alpha, Value) else number_dtype(alpha)
    if kind is bool_ and dtype is not bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if category(kind) == 2 and not dtype.is_float:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating "
                           "point number.")


@aten("add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
      "add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor")
def add(x, y, alpha=1):
    dtype = result_type(x, y)
    _scale_fits(alpha, dtype)
    if dtype is bool_:
        return pointwise(lambda a, b, k: a | (k & b), x, y, alpha, dtype=dtype)
    if _is_one(alpha):
        return pointwise(lambda a, b: a + b, x, y)
    return pointwise(lambda a, b, k: a + k * b, x, y, alpha, dtype=dtype)


@aten(*each("sub subtract", ".Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor"),
      *each("sub subtract", ".Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor"))
def sub(x, y, alpha=1):
    dtype = result_type(x, y)
    if bool_ in (_dtype(x), _dtype(y)):
        _refuse_bool(x, y)
    _scale_fits(alpha, dtype)
    if _is_one(alpha):
        return pointwise(lambda a, b: a - b, x, y)
    return pointwise(lambda a, b, k: a - k * b, x, y, alpha, dtype=dtype)


def _refuse_bool(x, y) -> None:
    if _dtype(x) is bool_ and _dtype(y) is bool_:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. "
                           "Use the `^` or `logical_xor()` operator instead.")
    raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported. If you "
                       "are trying to invert a mask, use the `~` or `logical_not()` operator "
                       "instead.")


@aten("rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
      "rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor")
def rsub(x, y, alpha=1):
    return sub(y, x, alpha)


@aten(*each("mul multiply", ".Tensor(Tensor self, Tensor other) -> Tensor"),
      *each("mul multiply", ".Scalar(Tensor self, Scalar other) -> Tensor"))
def mul(x, y):
    both = result_type(x, y) is bool_
    return pointwise(lambda a, b: a & b if both else a * b, x, y)


@aten(*each("div divide true_divide", ".Tensor(Tensor self, Tensor other) -> Tensor"),
      *each("div divide true_divide", ".Scalar(Tensor self, Scalar other) -> Tensor"))
def div(x, y):
    """True division: integers give float32."""
    return pointwise(lambda a, b: a / b, x, y, dtype=float_result(result_type(x, y)))


@aten(*each("div.Tensor_mode divide.Tensor_mode",
            "(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor"),
      *each("div.Scalar_mode divide.Scalar_mode",
            "(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor"))
def div_rounded(x, y, rounding_mode=None):
    if rounding_mode is None:
        return div(x, y)
    if rounding_mode == "trunc":
        _no_zero(x, y)
        return pointwise(trunc_divide, x, y)
    if rounding_mode == "floor":
        return floor_divide(x, y)
    raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but "
                       "found "
                       f"'{rounding_mode}'")


def _no_zero(x, y) -> None:
    """An error when the program runs, where an integer is divided by zero."""
    if result_type(x, y).is_float:
        return
    data = known_or_none(y) if isinstance(y, Value) else np.asarray(y)
    if data is None:
        check(reduce("and", y, None, False, lambda b: E.ne(b, 0)), "ZeroDivisionError")
    elif not data.all():
        check(constant(np.array(False)), "ZeroDivisionError")


def trunc_divide(a: Expr, b: Expr) -> Expr:
    """Towards zero."""
    return E.unary("trunc", a / b) if a.dtype.is_float else E.binary("idiv", a, b)


@aten("floor_divide(Tensor self, Tensor other) -> Tensor",
      "floor_divide.Scalar(Tensor self, Scalar other) -> Tensor")
def floor_divide(x, y):
    _no_zero(x, y)
    return pointwise(floor_quotient, x, y)


def floor_quotient(a: Expr, b: Expr) -> Expr:
    """Towards minus infinity. Floats as Python's //: the exact quotient of a - fmod(a, b), rounded
    to the nearest whole number, so that it agrees with `remainder`; x // 0 is x / 0."""
    if not a.dtype.is_float:
        return E.binary("floordiv", a, b)
    r = E.binary("fmod", a, b)
    q = (a - r) / b
    q = E.select(_opposite(r, b), q - 1, q)
    low = E.unary("floor", q)
    low = E.select(q - low > 0.5, low + 1, low)
    zero = E.select(a / b < 0, E.const(-0.0, a.dtype), E.const(0.0, a.dtype))
    return E.select(E.eq(b, 0), a / b, E.select(E.eq(q, 0), zero, low))


def _opposite(r: Expr, b: Expr) -> Expr:
    """r is not zero and has the other sign than b."""
    return E.ne(r, 0) & ((r < 0) ^ (b < 0))


@aten("remainder.Tensor(Tensor self, Tensor other) -> Tensor",
      "remainder.Scalar(Tensor self, Scalar other) -> Tensor",
      "remainder.Scalar_Tensor(Scalar self, Tensor other) -> Tensor")
def remainder(x, y):
    """Sign of the divisor."""
    def body(a, b):
        if not a.dtype.is_float:
            return a % b
        r = E.binary("fmod", a, b)
        return E.select(_opposite(r, b), r + b, r)

    _no_zero(x, y)
    return pointwise(body, x, y)


@aten("fmod.Tensor(Tensor self, Tensor other) -> Tensor",
      "fmod.Scalar(Tensor self, Scalar other) -> Tensor")
def fmod(x, y):
    """Sign of the dividend."""
    _no_zero(x, y)
    return pointwise(lambda a, b: E.binary("fmod" if a.dtype.is_float else "irem", a, b), x, y)


@aten("addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor")
def addcmul(x, y, z, value=1):
    dtype = result_type(x, y, z)
    return pointwise(lambda a, b, c, k: a + k * b * c, x, y, z, value, dtype=dtype)


@aten("addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor")
def addcdiv(x, y, z, value=1):
    if not result_type(y, z).is_float:
        raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future "
                           "release addcdiv will perform a true division of tensor1 and tensor2.")
    dtype = result_type(x, y, z)
    return pointwise(lambda a, b, c, k: a + k * (b / c), x, y, z, value, dtype=dtype)


@aten("lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor",
      "lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor")
def lerp(start, end, weight):
    """start + weight * (end - start), from the nearer end so that weight 1 gives `end` exactly."""
    def body(a, b, w):
        near = (w < 0.5) & (w > -0.5)
        return E.select(near, a + w * (b - a), b - (b - a) * (1 - w))

    return pointwise(body, start, end, weight, dtype=result_type(start, end))


def _dtype(x) -> DType:
    return x.dtype if isinstance(x, Value) else number_dtype(x)


def _is_one(alpha) -> bool:
    return not isinstance(alpha, Value) and alpha == 1
