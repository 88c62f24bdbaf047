"""Sizes that a program has computed with tensors: traces hold `x.size(1) // 2` as operators on 0-d
tensors, whose Values say how they came about."""

from __future__ import annotations

import operator
from typing import Callable

from lowering.expr import Expr
from lowering.sizes import Number, Unsupported, floordiv, maximum, minimum, mod, of_symbol
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
    if isinstance(op, Generic) and op.combiner is None and op.write is None:
        return _of_expression(op.body)
    return None


def _of_expression(e: Expr) -> Number | None:
    if e.op == "const" and e.dtype is i64:
        return e.attr
    if e.op == "size":
        return of_symbol(e.attr)
    if e.op == "load":
        return _number(e.attr)
    if e.op not in _OPERATIONS or e.dtype is not i64:
        return None
    a, b = (_of_expression(x) for x in e.args)
    return None if a is None or b is None else _OPERATIONS[e.op](a, b)
