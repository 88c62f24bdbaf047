"""Operators by namespace: `aot.ops.aten.relu(x)`, `aot.ops.mylib.scale(x, 2.0)`.

What aot.library declares is found here, and torchvision's operators.
"""

from __future__ import annotations

import types
from collections.abc import Callable

from aot.dispatch import call
from lowering.ops import TABLE


class Namespace(types.ModuleType):
    """The operators of a namespace, by name."""

    def __getattr__(self, name: str) -> Callable:
        full = f"{self.__name__.rpartition('.')[2]}::{name}"
        if name.startswith("__") or full not in TABLE:
            raise AttributeError(f"there is no operator {full}")
        made = _function(full)
        setattr(self, name, made)
        return made

    def __dir__(self) -> list[str]:
        space = self.__name__.rpartition(".")[2]
        return sorted(n.partition("::")[2] for n in TABLE if n.startswith(f"{space}::"))


def _function(full: str) -> Callable:
    def operator(*args: object, **kwargs: object) -> object:
        return call(full, args, kwargs)

    operator.__name__ = operator.__qualname__ = full.partition("::")[2]
    operator.__doc__ = "\n".join(entry.schema.text for entry in TABLE[full])
    operator.operator_name = full  # type: ignore[attr-defined]
    return operator


_spaces: dict[str, Namespace] = {}


def __getattr__(name: str) -> Namespace:
    if name.startswith("__") or not any(n.startswith(f"{name}::") for n in TABLE):
        raise AttributeError(f"there are no operators {name}::...")
    return _spaces.setdefault(name, Namespace(f"aot.ops.{name}"))
