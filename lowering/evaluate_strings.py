"""Operators on strings known only at run time: they are compared, looked up, and chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering import build as B
from lowering import expr as E
from lowering.abstract import Choice
from lowering.evaluate_if import choose
from lowering.evaluate_texts import format_text, percent_text, text_of
from lowering.string_numbers import number_of
from lowering.tensor_ir import Value
from lowering.texts import text_of_parts

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def compute(ev: Evaluator, kind: str, args: list) -> object:
    """An operator with a Choice among its arguments. ValueError for those that need its letters."""
    if kind in ("aten::eq", "aten::ne"):
        same = _same(ev, args[0], args[1])
        return same if kind == "aten::eq" else ev.memory.build(
            lambda: _wrapped(B.pointwise(lambda c: ~c, same)))
    if kind == "aten::__contains__" and isinstance(args[0], (list, tuple, dict)):
        return _any(ev, [_same(ev, key, args[1]) for key in args[0]])
    if kind == "aten::__getitem__" and isinstance(args[0], dict):
        return _look_up(ev, args[0], args[1])
    if kind in ("aten::__is__", "aten::__isnot__"):  # the other one is None
        return kind == "aten::__isnot__"
    if kind == "aten::format":
        return format_text(ev.memory, *args)
    if kind == "aten::percentFormat":
        return percent_text(ev.memory, *args)
    if kind == "aten::add":
        return text_of_parts([text_of(ev.memory, x) for x in args])
    raise ValueError("a string known only at run time can be compared, looked up, told, returned; "
                     f"{kind} needs its letters")


def _wrapped(x: Value) -> Value:
    x.wrapped = True
    return x


def _same(ev: Evaluator, a: object, b: object) -> Value:
    if not isinstance(a, (str, Choice)) or not isinstance(b, (str, Choice)):
        return ev.memory.number(False)
    x, y = number_of(ev, a), number_of(ev, b)
    return ev.memory.build(lambda: _wrapped(B.pointwise(E.eq, x, y)))


def _any(ev: Evaluator, conditions: list[Value]) -> Value:
    found = ev.memory.number(False)
    for c in conditions:
        found = ev.memory.build(lambda: _wrapped(B.pointwise(lambda a, b: a | b, found, c)))
    return found


def _look_up(ev: Evaluator, table: dict, key: Choice) -> object:
    """table[key]: one of its values, which are alike."""
    conditions = [_same(ev, k, key) for k in table]
    ev.check(_any(ev, conditions), "KeyError: a string that is no key")
    values = list(table.values())
    found = values[-1]
    for condition, value in zip(conditions[-2::-1], values[-2::-1]):
        found = choose(ev, condition, value, found)
    return found
