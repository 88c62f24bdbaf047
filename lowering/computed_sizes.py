"""Sizes that a program has computed with tensors: traces hold `x.size(1) // 2` as operators on 0-d
tensors, whose Values say how they came about; programs also round floats, `math.ceil(h / 4)`."""

from __future__ import annotations

import math
import operator
from typing import Callable

from lowering.expr import Expr
from lowering.sizes import (
    Number, Unsupported, at_least, floordiv, maximum, minimum, mod, of_symbol,
)
from lowering.tensor_ir import Constant, Generic, Value
from runtime.dtypes import i64

_OPERATIONS: dict[str, Callable] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": floordiv,
    "mod": mod, "min": minimum, "max": maximum,
}


def computed_size(value: Value) -> Number | None:
    """The number in a 0-d i64 Value that is made of sizes and constants alone; None for others."""
    try:
        return _number(value)
    except (Unsupported, RecursionError):
        return None


def _number(value: Value) -> Number | None:
    op = value.op
    if value.shape != () or value.dtype is not i64:
        return None
    if isinstance(op, Constant):
        return int(op.data)
    return _of_expression(op.body) if _is_scalar(op) else None


def _is_scalar(op: object) -> bool:
    return isinstance(op, Generic) and op.combiner is None and op.write is None and not op.domain


def _of_expression(e: Expr) -> Number | None:
    if e.op == "const" and e.dtype is i64:
        return e.attr
    if e.op == "size":
        return of_symbol(e.attr)
    if e.op == "load":
        return _number(e.attr)
    if e.op == "cast" and e.dtype is i64 and e.args[0].dtype.is_float:
        return _rounded(e.args[0])
    if e.op not in _OPERATIONS or e.dtype is not i64:
        return None
    a, b = (_of_expression(x) for x in e.args)
    return None if a is None or b is None else _OPERATIONS[e.op](a, b)


# A size below this, over a denominator as small, is rounded as the exact quotient is: nothing but
# an integer lies so near to one.
_LARGEST_DENOMINATOR = 1 << 12


def _rounded(e: Expr) -> Number | None:
    """The integer that a float of sizes is made: rounded by `e` itself, or towards zero."""
    while e.op == "load" and not e.args and _is_scalar(e.attr.op):
        e = e.attr.op.body
    mode = e.op if e.op in ("ceil", "floor") else "trunc"
    ratio = _ratio(e.args[0] if e.op in ("ceil", "floor", "trunc") else e)
    if ratio is None:
        return None
    above, below = ratio
    if mode == "ceil":
        return floordiv(above + below - 1, below)
    return floordiv(above, below) if mode == "floor" or at_least(above, 0) else None


def _ratio(e: Expr) -> tuple[Number, int] | None:
    """A float as a size over a positive number."""
    if e.op == "load" and not e.args and _is_scalar(e.attr.op):
        return _ratio(e.attr.op.body)
    if e.op == "load" and e.attr.shape == () and isinstance(e.attr.op, Constant):
        return _constant(float(e.attr.op.data))
    if e.op == "const":
        return _constant(float(e.attr))
    if e.op == "cast":
        if e.args[0].dtype.is_float:
            return _ratio(e.args[0])
        size = _of_expression(e.args[0])
        return None if size is None else (size, 1)
    if e.op not in ("mul", "div"):
        return None
    a, b = map(_ratio, e.args)
    if a is None or b is None:
        return None
    if e.op == "div":
        if not isinstance(b[0], int) or b[0] <= 0:
            return None
        b = b[1], b[0]
    below = a[1] * b[1]
    return (a[0] * b[0], below) if below <= _LARGEST_DENOMINATOR else None


def _constant(x: float) -> tuple[int, int] | None:
    above, below = x.as_integer_ratio() if math.isfinite(x) else (0, 0)
    return (above, below) if 0 < below <= _LARGEST_DENOMINATOR else None
