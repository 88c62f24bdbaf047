"""Strings made of values: format(), `%`, str(), and what print, warn and raise say.

Numbers of run time become holes of a Text (lowering/texts.py).
"""

from __future__ import annotations

import re

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering.abstract import AbstractTensor, Choice, number_type
from lowering.evaluate_memory import Memory
from lowering.index_algebra import contiguous_strides
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Constant, Value
from lowering.texts import MOST_ELEMENTS, Hole, Text, format_number, text_of_parts
from runtime.dtypes import bool_, f64, i64


def format_text(memory: Memory, template: str | Text, *args) -> str | Text:
    """TorchScript replaces each `{}` and knows no format specifications."""
    taken = iter(args)
    parts: list[str | Hole | Text] = []
    for piece in Text(template).parts:
        if isinstance(piece, Hole):
            parts.append(piece)
            continue
        first, *others = piece.split("{}")
        parts.append(first)
        for text in others:
            x = next(taken, taken)
            parts += ["{}" if x is taken else text_of(memory, x), text]
    return text_of_parts(parts)


def text_of(memory: Memory, x: object) -> str | Text:
    """What str(), format() and messages print of a value."""
    if isinstance(x, AbstractTensor):
        return _tensor_text(memory, x)
    if isinstance(x, Value):
        return _filled(Text(Hole(x, number_type(x).__name__)))
    if isinstance(x, Choice):
        return Text(Hole(x.number, "str"))
    if isinstance(x, float):
        return format_number(x)
    if isinstance(x, (list, tuple, dict)):
        opening, closing = "[]" if isinstance(x, list) else "()" if isinstance(x, tuple) else "{}"
        parts: list[str | Text] = []
        for k, v in enumerate(x):
            parts.append(", " if k else opening)
            if isinstance(x, dict):
                parts += [text_of(memory, v), ": "]
                v = x[v]
            parts.append(text_of(memory, v))
        end = "," if isinstance(x, tuple) and len(x) == 1 else ""
        return text_of_parts([*parts, end + closing] if x else [opening + closing])
    return x if isinstance(x, Text) else str(x)


def _tensor_text(memory: Memory, x: AbstractTensor) -> str | Text:
    """Its first elements in C order, its dtype and sizes."""
    if is_dynamic(x.shape):
        return f"<tensor {x.dtype}{list(x.shape)}>"
    count = min(x.numel, MOST_ELEMENTS)
    sizes = f" {x.dtype}[{','.join(map(str, x.shape))}]"
    if count == 0:
        return "[]" + sizes
    shown = bool_ if x.dtype is bool_ else f64 if x.dtype.is_float else i64
    value = memory.read(x)
    elements = memory.build(lambda: B.cast(B.compute((count,), lambda i: E.load(value, [
        i // s % n for n, s in zip(x.shape, contiguous_strides(x.shape))])), shown))
    text = Text(Hole(elements, "elements"), ("" if count == x.numel else " ...") + sizes)
    return _filled(text)


def _filled(text: Text) -> str | Text:
    """The string where the value is a constant."""
    if all(isinstance(v.op, Constant) for v in text.values):
        return text.filled(lambda v: v.op.data)  # type: ignore[union-attr]
    return text


def percent_text(memory: Memory, template: str | Text, *args) -> str | Text:
    """TorchScript's `%`: %s %d %i %f %e %g %x %c and %%, without widths or precisions."""
    values = args[0] if len(args) == 1 and isinstance(args[0], tuple) else args
    taken = iter(values)
    parts: list[str | Hole | Text] = []
    for piece in Text(template).parts:
        if isinstance(piece, Hole):
            parts.append(piece)
            continue
        for k, word in enumerate(re.split(r"%(.)", piece)):
            plain = k % 2 == 0 or word == "%"
            parts.append(word if plain else _specified(memory, word, next(taken, None)))
    return text_of_parts(parts)


def _specified(memory: Memory, letter: str, x: object) -> str | Text:
    if isinstance(x, Value) and letter in "fe" and number_type(x) is float:
        return _filled(Text(Hole(x, "fixed" if letter == "f" else "exponent")))
    if letter in "di" and isinstance(x, (int, float)):
        return str(int(x))
    if letter in "feEgGxXco" and isinstance(x, (int, float)):
        return f"%{letter}" % (float(np.float32(x)) if letter in "fe" else x)
    return text_of(memory, x)
