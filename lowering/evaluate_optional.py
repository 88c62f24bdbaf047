"""Values that are None or not, depending on run-time data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering import build as B
from lowering.abstract import Maybe
from lowering.graph import Node
from lowering.tensor_ir import Value
from lowering.types import OptionalType

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def compute(ev: Evaluator, kind: str, args: list) -> object:
    """An operator with a Maybe among its arguments. ValueError for those that want a value."""
    maybe = next(x for x in args if type(x) is Maybe)
    if kind == "aten::_unwrap_optional":
        ev.check(maybe.present, "Unwrapping null optional")
        return maybe.value
    if len(args) == 2 and None in [x for x in args if x is None or type(x) is Maybe]:
        if kind in ("aten::__isnot__", "aten::ne"):
            return maybe.present
        if kind in ("aten::__is__", "aten::eq"):
            return _denied(ev, maybe.present)
    raise ValueError(f"{kind} gets a value that may be None, depending on run-time data")


def present(ev: Evaluator, x: object) -> Value:
    """Whether a value is not None."""
    return x.present if type(x) is Maybe else ev.memory.number(x is not None)


def _denied(ev: Evaluator, x: Value) -> Value:
    result = ev.memory.build(lambda: B.pointwise(lambda c: ~c, x))
    result.wrapped = True
    return result


def refined(node: Node, x: object) -> object:
    """The value of a cast: where its type is no Optional, the program has looked."""
    if type(x) is Maybe and not isinstance(node.outputs[0].type, OptionalType):
        return x.value
    return x
