"""Texts with values of run time in them: what raise, assert, print and warn say.

A Text is parts in order: strings, and Holes, which a compiled program fills when it runs. Numbers
look as TorchScript prints them, tensors as `[1.5, 2] f32[2]` with at most MOST_ELEMENTS of them.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.errors import RuntimeFailure

if TYPE_CHECKING:
    from lowering.tensor_ir import Value

MOST_ELEMENTS = 1000
# What stands in a hole: a number by its type; a float as %f and %e show it; a tensor's elements;
# the string whose number (lowering/string_numbers.py) it is.
FORMS = ("int", "float", "bool", "fixed", "exponent", "elements", "str")


@dataclass(frozen=True, eq=False)
class Hole:
    """A 0-d Value (i64, f64 or bool), or for 'elements' one with one dim, and one of FORMS."""

    value: Value
    form: str


class Text:
    """A string that holds values of run time. str(text) has words in their place."""

    __slots__ = ("parts",)

    def __init__(self, *parts: str | Hole | Text):
        self.parts: list[str | Hole] = []
        for part in parts:
            for p in part.parts if isinstance(part, Text) else [part]:
                if isinstance(p, str) and self.parts and isinstance(self.parts[-1], str):
                    self.parts[-1] += p
                elif p != "":
                    self.parts.append(p)

    @property
    def values(self) -> list[Value]:
        return [p.value for p in self.parts if isinstance(p, Hole)]

    def map(self, change: Callable[[Value], Value]) -> Text:
        """The text with other Values in its holes."""
        return Text(*(p if isinstance(p, str) else Hole(change(p.value), p.form)
                      for p in self.parts))

    def filled(self, array: Callable[[Value], np.ndarray]) -> str:
        """The string for the arrays of its Values."""
        return "".join(p if isinstance(p, str) else _shown(array(p.value), p.form)
                       for p in self.parts)

    def __add__(self, other: str | Text) -> Text:
        return Text(self, other)

    def __radd__(self, other: str) -> Text:
        return Text(other, self)

    def __str__(self) -> str:
        return "".join(p if isinstance(p, str) else f"<run-time {p.form}>" for p in self.parts)


def text_of_parts(parts: Iterable[str | Hole | Text]) -> str | Text:
    """The parts in a row: a str where no value of run time is in them."""
    text = Text(*parts)
    return text if text.values else "".join(p for p in text.parts if isinstance(p, str))


def format_number(x: float) -> str:
    """A float as TorchScript prints it: as an int of 64 bits with a point, or with 17 digits."""
    if math.isnan(x):
        return "nan"
    return f"{int(x)}." if -(2.0**63) <= x < 2.0**63 and int(x) == x else f"{x:.17g}"


def _shown(x: np.ndarray, form: str) -> str:
    if form == "elements":
        return f"[{', '.join(map(_element, np.asarray(x).reshape(-1)))}]"
    if form == "float":
        return format_number(float(x))
    if form == "fixed":
        return f"{float(np.float32(x)):f}"
    if form == "exponent":
        return f"{float(np.float32(x)):e}"
    return str(bool(x)) if form == "bool" else str(int(x))


def _element(x: np.generic) -> str:
    if x.dtype.kind == "f":
        return "nan" if np.isnan(x) else f"{float(x):.6g}"
    return str(x.item())


def tell(kind: str, message: str) -> None:
    """What a Check of this kind does in Python. RuntimeFailure for 'raise'."""
    if kind == "raise":
        raise RuntimeFailure(message)
    if kind == "print":
        sys.stdout.write(message + "\n")
    else:
        warnings.warn(message, stacklevel=2)
