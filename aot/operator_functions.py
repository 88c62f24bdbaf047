"""The operators as functions, `relu(x)`, made from the operator table when first asked for."""

from __future__ import annotations

from typing import Callable

from aot import (  # noqa: F401
    complex_tensor, ctc_special, linalg_special, random_operators, recurrent_special,
    statistics_special, tensor_special,
)
from aot.dispatch import SPECIAL, call, exists
from aot.tensor_methods import FUNCTIONS
from lowering.ops import TABLE

_made: dict[str, Callable] = {}


def function(name: str) -> Callable | None:
    """The function of an operator or its in-place form; None if there is no such operator.

    A function is made once: whoever compiles Python source knows it by its identity."""
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name not in _made:
        if not exists(name):
            return None
        _made[name] = _make(name)
    return _made[name]


def names() -> list[str]:
    """The public names that `function` knows, in-place forms aside."""
    operators = {full.partition("::")[2] for full in (*TABLE, *SPECIAL)}
    return sorted(n for n in operators | FUNCTIONS.keys() if not n.startswith("_"))


def _make(name: str) -> Callable:
    full = f"aten::{name}"

    def operator(*args, **kwargs):
        return call(full, args, kwargs)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = "\n".join(entry.schema.text for entry in TABLE.get(full, ()))
    operator.aten_name = full  # type: ignore[attr-defined]
    return operator


def names() -> list[str]:
    """All operators."""
    return sorted(n.partition("::")[2] for n in {*TABLE, *SPECIAL})
