"""Bitwise operators and shifts of integers; on bool they are the logical ones."""

from __future__ import annotations

from functools import partial

from lowering import expr as E
from lowering.build import pointwise, result_type
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.tensor_ir import Value

_PAIR = "(Tensor self, Tensor other) -> Tensor"
_NUMBER = "(Tensor self, Scalar other) -> Tensor"


def _integers(name: str, dtype) -> None:
    if dtype.is_float:
        raise RuntimeError(f'"{name}" not implemented for \'{dtype.torch_name.capitalize()}\'')


def _bitwise(op: str, x, y) -> Value:
    _integers(f"bitwise_{op}_cpu", result_type(x, y))
    return pointwise(lambda a, b: E.binary(op, a, b), x, y)


bitwise_and, bitwise_or, bitwise_xor = (
    aten(f"bitwise_{op}.Tensor{_PAIR}", f"bitwise_{op}.Scalar{_NUMBER}",
         f"bitwise_{op}.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
         f"__{op}__.Tensor{_PAIR}", f"__{op}__.Scalar{_NUMBER}")(partial(_bitwise, op))
    for op in ("and", "or", "xor")
)


@aten("bitwise_not(Tensor self) -> Tensor")
def bitwise_not(x):
    _integers("bitwise_not_cpu", x.dtype)
    return pointwise(lambda a: ~a, x)


def _too_far(b: Expr) -> Expr:
    """Shifts by a negative count, or by the width and more, move everything out."""
    return (b < 0) | (b >= b.dtype.bits)


def _held(b: Expr) -> Expr:
    """The count, kept where the instruction is defined."""
    return E.minimum(E.maximum(b, 0), b.dtype.bits - 1)


@aten("bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor",
      "bitwise_left_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
      "bitwise_left_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
      f"__lshift__.Tensor{_PAIR}", f"__lshift__.Scalar{_NUMBER}")
def bitwise_left_shift(x, y):
    if result_type(x, y).is_float:
        return pointwise(lambda a, b: a * E.unary("exp2", b), x, y)
    return pointwise(lambda a, b: E.select(_too_far(b), E.const(0, a.dtype),
                                           E.binary("shl", a, _held(b))), x, y)


@aten("bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor",
      "bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor",
      "bitwise_right_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor",
      f"__rshift__.Tensor{_PAIR}", f"__rshift__.Scalar{_NUMBER}")
def bitwise_right_shift(x, y):
    """Signed values keep their sign."""
    if result_type(x, y).is_float:
        return pointwise(lambda a, b: a / E.unary("exp2", b), x, y)

    def body(a, b):
        count = E.select(_too_far(b), E.const(a.dtype.bits - 1, a.dtype), _held(b))
        shifted = E.binary("shr", a, count)
        if a.dtype.kind == "u":
            return E.select(_too_far(b), E.const(0, a.dtype), shifted)
        return shifted

    return pointwise(body, x, y)
