"""Comparisons, tests of single values, logical operators and selection by a condition."""

from __future__ import annotations

from functools import partial

from lowering import expr as E
from lowering.build import (
    broadcast_shape, cast, compute, full, pointwise, read, reduce, result_type, to_value,
)
from lowering.expr import Expr
from lowering.index_algebra import delinearize
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, f32, u8


def _compare(op: str, x, y) -> Value:
    """Operands are compared in their promoted dtype."""
    return pointwise(lambda a, b: E.binary(op, a, b), x, y)


_NAMES = {"eq": "eq", "ne": "ne not_equal", "lt": "lt less", "le": "le less_equal",
          "gt": "gt greater", "ge": "ge greater_equal"}

eq, ne, lt, le, gt, ge = (
    aten(*each(names, ".Tensor(Tensor self, Tensor other) -> Tensor"),
         *each(names, ".Scalar(Tensor self, Scalar other) -> Tensor"))(partial(_compare, op))
    for op, names in _NAMES.items()
)


def truth(x) -> Value:
    """x != 0, as bool."""
    x = to_value(x)
    return x if x.dtype is bool_ else cast(x, bool_)


@aten("logical_and(Tensor self, Tensor other) -> Tensor")
def logical_and(x, y):
    return pointwise(lambda a, b: a & b, truth(x), truth(y), dtype=bool_)


@aten("logical_or(Tensor self, Tensor other) -> Tensor")
def logical_or(x, y):
    return pointwise(lambda a, b: a | b, truth(x), truth(y), dtype=bool_)


@aten("logical_xor(Tensor self, Tensor other) -> Tensor")
def logical_xor(x, y):
    return pointwise(lambda a, b: a ^ b, truth(x), truth(y), dtype=bool_)


@aten("logical_not(Tensor self) -> Tensor")
def logical_not(x):
    return pointwise(lambda a: ~a, truth(x), dtype=bool_)


def _test(fn, x: Value, otherwise: bool) -> Value:
    """A test of float values; integers all answer `otherwise`."""
    if not x.dtype.is_float:
        return full(x.shape, otherwise, bool_)
    return pointwise(fn, x)


def is_infinite(a: Expr) -> Expr:
    return E.eq(E.unary("abs", a), float("inf"))


@aten("isnan(Tensor self) -> Tensor")
def isnan(x):
    return _test(E.isnan, x, False)


@aten("isinf(Tensor self) -> Tensor")
def isinf(x):
    return _test(is_infinite, x, False)


@aten("isfinite(Tensor self) -> Tensor")
def isfinite(x):
    return _test(lambda a: E.eq(a - a, 0), x, True)


@aten("isposinf(Tensor self) -> Tensor")
def isposinf(x):
    return _test(lambda a: E.eq(a, float("inf")), x, False)


@aten("isneginf(Tensor self) -> Tensor")
def isneginf(x):
    return _test(lambda a: E.eq(a, float("-inf")), x, False)


@aten("isreal(Tensor self) -> Tensor")
def isreal(x):
    return full(x.shape, True, bool_)


@aten("isclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, "
      "bool equal_nan=False) -> Tensor")
def isclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    """|x - y| <= atol + rtol * |y|; infinities are close only to themselves."""
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not isinstance(tolerance, Value) and not tolerance >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    if x.dtype is not y.dtype:
        raise RuntimeError(f"{x.dtype.torch_name} did not match {y.dtype.torch_name}")

    def body(a, b):
        same = E.eq(a, b)
        distance, size = E.unary("abs", a - b), E.unary("abs", b)
        if not a.dtype.is_float:
            return same | (E.cast(distance, f32) <= atol + rtol * E.cast(size, f32))
        if equal_nan:
            same = same | (E.isnan(a) & E.isnan(b))
        return same | (E.eq(distance - distance, 0) & (distance <= atol + rtol * size))

    if x.dtype is bool_:
        return pointwise(E.eq, x, y)
    return pointwise(body, x, y)


@aten("equal(Tensor self, Tensor other) -> bool")
def equal(x, y):
    """Whether shapes and all elements are equal."""
    if x.shape != y.shape:
        return full((), False, bool_)
    return reduce("and", pointwise(E.eq, x, y), None, False)


@aten("allclose(Tensor self, Tensor other, float rtol=1.0000000000000001e-05, float atol=1e-08, "
      "bool equal_nan=False) -> bool")
def allclose(x, y, rtol=1e-5, atol=1e-8, equal_nan=False):
    return reduce("and", isclose(x, y, rtol, atol, equal_nan), None, False)


@aten("isin.Tensor_Tensor(Tensor elements, Tensor test_elements, *, bool assume_unique=False, "
      "bool invert=False) -> Tensor",
      "isin.Tensor_Scalar(Tensor elements, Scalar test_element, *, bool assume_unique=False, "
      "bool invert=False) -> Tensor",
      "isin.Scalar_Tensor(Scalar element, Tensor test_elements, *, bool assume_unique=False, "
      "bool invert=False) -> Tensor")
def isin(x, y, *, assume_unique=False, invert=False):
    x, y = to_value(x), to_value(y)
    dtype = result_type(x, y)
    flat = compute((y.numel,), lambda i: E.load(y, delinearize(i, y.shape)))
    outer = compute((*x.shape, y.numel), lambda *i: E.eq(
        E.cast(E.load(x, i[:-1]), dtype), E.cast(E.load(flat, i[-1:]), dtype)))
    found = reduce("or", outer, -1, False)
    return logical_not(found) if invert else found


@aten("where.self(Tensor condition, Tensor self, Tensor other) -> Tensor",
      "where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor",
      "where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor",
      "where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor")
def where(condition, x, y):
    if condition.dtype not in (bool_, u8):
        raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with "
                           f"dtype {condition.dtype.torch_name}")
    return choose(truth(condition), x, y)


def choose(condition: Value, x, y) -> Value:
    """condition ? x : y over the common shape, in the promoted dtype; nothing is rounded."""
    dtype = result_type(x, y)
    shape = broadcast_shape(*(v.shape for v in (condition, x, y) if isinstance(v, Value)))
    return compute(shape, lambda *_: E.select(
        read(condition, shape, bool_), read(x, shape, dtype), read(y, shape, dtype)))
