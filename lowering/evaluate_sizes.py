"""Sizes of run time as numbers of the program: arithmetic on them, and what is assumed of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering import expr as E
from lowering.sizes import (
    Assumption, Number, Size, Unsupported, at_least, floordiv, maximum, minimum, mod,
)
from lowering.tensor_ir import Value

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def _surely_equal(a: Number, b: Number) -> bool | None:
    if a == b:
        return True
    return False if at_least(a, b + 1) or at_least(b, a + 1) else None


def _told(yes: Callable[[Number, Number], bool],
          no: Callable[[Number, Number], bool]) -> Callable[[Number, Number], bool | None]:
    return lambda a, b: True if yes(a, b) else False if no(a, b) else None


def _less(a: Number, b: Number) -> bool:
    return at_least(b, a + 1)


def _differ(a: Number, b: Number) -> bool | None:
    equal = _surely_equal(a, b)
    return None if equal is None else not equal


_EXACT: dict[str, Callable] = {
    "aten::add": operator.add,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::neg": operator.neg,
    "aten::floordiv": floordiv,
    "aten::floor_divide": floordiv,
    "aten::remainder": mod,
    "aten::mod": mod,
    "prim::min": minimum,
    "prim::max": maximum,
    "aten::eq": _surely_equal,
    "aten::ne": _differ,
    "aten::lt": _told(_less, at_least),
    "aten::gt": _told(lambda a, b: _less(b, a), lambda a, b: at_least(b, a)),
    "aten::le": _told(lambda a, b: at_least(b, a), lambda a, b: _less(b, a)),
    "aten::ge": _told(at_least, _less),
}


_FULL = {"aten::gt": (0, True), "aten::ge": (1, True), "aten::ne": (0, True),
         "aten::eq": (0, False), "aten::lt": (1, False), "aten::le": (0, False)}


def note_emptiness(ev: Evaluator, kind: str, args: list, answer: Value) -> None:
    """Remembers that a bool of run time tells whether a size is above 0."""
    size = ev.memory.sizes.get(args[0]) if isinstance(args[0], Value) else None
    if size is not None and kind in _FULL and at_least(size, 0) and args[1] == _FULL[kind][0]:
        ev.fullness[answer] = size, _FULL[kind][1]


def of_sizes(ev: Evaluator, kind: str, args: list) -> object | None:
    """The result of an operator on ints and sizes: a number, a bool, or a Value that is known to be
    a size. None where operands are something else, or the answer depends on the run."""
    if kind not in _EXACT:
        return None
    numbers = [ev.memory.sizes.get(x, x) if isinstance(x, Value) else x for x in args]
    if not all(type(n) in (int, Size) for n in numbers):
        return None
    try:
        result = _EXACT[kind](*numbers)
    except (Unsupported, TypeError):
        return None
    return ev.memory.size_number(result)


class AssumedSizes:
    """What takes assumptions: each becomes a Check where it is met, once a region."""

    def __init__(self, ev: Evaluator):
        self.ev = ev
        self.checked: set[tuple[Assumption, int]] = set()

    def __call__(self, assumption: Assumption) -> None:
        key = assumption, id(self.ev.memory.region)
        if key in self.checked:
            return
        self.checked.add(key)
        a, b = assumption
        message = (f"the program was compiled for sizes where {a} is at least {b}\n"
                   f"{self.ev.place(self.ev.node)}")
        B.check(B.compute((), lambda: E.const(a - b) >= 0), message.rstrip())
