"""A method's result as a flat list of Values and a structure text (its grammar is in aot.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering.abstract import (
    AbstractComplex, AbstractTensor, Choice, Maybe, Unknown, describe, is_number,
)  # fmt: skip
from lowering.evaluate_lists import rows_of
from lowering.objects import DeviceValue, NamedTupleValue
from lowering.tensor_ir import Value
from runtime.errors import CompileError
from runtime.structure import arguments_text

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

__all__ = ["arguments_text", "flatten"]


def flatten(ev: Evaluator, x: object, leaves: list[Value]) -> str:
    """Appends the Values of a result to `leaves`; its structure's text. Numbers are 0-d `wrapped`
    Values. CompileError for values that have no place in a result."""
    if isinstance(x, AbstractTensor):
        leaves.append(ev.memory.read(x))
        return "T"
    if isinstance(x, AbstractComplex):
        leaves.append(ev.memory.read(x.pairs))
        return "C"
    if is_number(x):
        leaves.append(ev.value_of(x))
        return "T"
    if isinstance(x, Choice):
        leaves.append(x.number)
        return "S"
    if isinstance(x, Maybe):
        leaves.append(x.present)
        return "?" + flatten(ev, x.value, leaves)
    if x is None:
        return "N"
    if isinstance(x, DeviceValue):
        x = str(x)
    if isinstance(x, str):
        return "'" + x.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(x, NamedTupleValue):
        members = ",".join(
            f"{field}={flatten(ev, v, leaves)}" for field, v in zip(x.type.fields or (), x)
        )
        return f"{(x.type.name or '').rpartition('.')[2]}({members})"
    if isinstance(x, tuple):
        return "(" + ",".join([flatten(ev, v, leaves) for v in x]) + ")"
    rows = rows_of(x)
    if rows is not None:
        leaves.append(ev.memory.read(rows.data))
        return "L" if rows.number else "R"
    if isinstance(x, list):
        return "[" + ",".join([flatten(ev, v, leaves) for v in x]) + "]"
    if isinstance(x, dict):
        return _dict(ev, x, leaves)
    if isinstance(x, Unknown):
        raise CompileError(x.problem or "the result cannot be told")
    raise CompileError(f"the result holds a {describe(x)}, which a compiled model cannot return")


def _dict(ev: Evaluator, x: dict, leaves: list[Value]) -> str:
    members = []
    for key, value in x.items():
        if isinstance(key, str):
            text = "'" + key.replace("\\", "\\\\").replace("'", "\\'") + "'"
        elif type(key) is int:
            text = str(key)
        else:
            raise CompileError(f"the result is a dict with a key of type {describe(key)}; "
                               "str and int can be returned")
        members.append(f"{text}:{flatten(ev, value, leaves)}")
    return "{" + ",".join(members) + "}"
