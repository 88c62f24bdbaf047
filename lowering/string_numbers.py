"""Strings of run time as numbers: where they stand among the strings that the program has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering.abstract import Choice
from lowering.tensor_ir import Value

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def number_of(ev: Evaluator, x: str | Choice) -> Value:
    """The number of a string. ValueError for one that C cannot hold."""
    if isinstance(x, Choice):
        return x.number
    if "\0" in x:
        raise ValueError("a string with a zero character in it cannot be one of run time")
    strings = ev.memory.strings
    if x not in strings:
        strings.append(x)
    return ev.memory.number(strings.index(x))
