"""Values whose numbers are known at compile time: what sizes and positions may depend on."""

from __future__ import annotations

import numpy as np

from lowering.interpreter import run_region
from lowering.sizes import Unsupported, is_dynamic
from lowering.tensor_ir import Check, Constant, Foreign, Region, TensorOp, Value
from runtime.foreign import places_of

__all__ = ["Unsupported", "known", "known_or_none"]

# Nothing larger is computed while the program is still being built.
MOST_OPS = 200
MOST_ELEMENTS = 1 << 22


def known(value: Value, what: str) -> np.ndarray:
    """The numbers of a Value. Unsupported says that `what` has to be known at compile time."""
    data = known_or_none(value)
    if data is None:
        raise Unsupported(f"{what} must be known at compile time: the result's shape depends on it")
    return data


def known_or_none(value: Value) -> np.ndarray | None:
    """The numbers of a constant or of what is computed from constants only, else None."""
    if isinstance(value.op, Constant):
        return value.op.data
    ops = _history(value)
    if ops is None:
        return None
    return run_region(Region([], ops, [value]), [], {})[0]


def _history(value: Value) -> list[TensorOp] | None:
    """The ops that compute the value, in order; None if they read a parameter or are too many."""
    order: dict[TensorOp, None] = {}
    elements = 0
    stack: list[tuple[Value, bool]] = [(value, False)]
    while stack:
        v, entered = stack.pop()
        op = v.op
        if op is None or isinstance(op, Check):
            return None
        if isinstance(op, Foreign) and not places_of(op.function.symbol):
            return None
        if op in order:
            continue
        if any(is_dynamic(r.shape) for r in op.results):
            return None
        if entered:
            order[op] = None
            elements += sum(r.numel for r in op.results)
            if len(order) > MOST_OPS or elements > MOST_ELEMENTS:
                return None
            continue
        if len(stack) > MOST_OPS:
            return None
        stack.append((v, True))
        needed = [*op.operands(), *(x for r in op.regions() for x in r.reads())]
        stack.extend((x, False) for x in needed if x.op is None or x.op not in order)
    return list(order)
