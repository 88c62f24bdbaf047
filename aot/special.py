"""aot.special: mathematical functions, the operators by their names without `special_`."""

from __future__ import annotations

from aot.operator_functions import function


def __getattr__(name: str) -> object:
    value = None if name.startswith("_") else function(f"special_{name}")
    if value is None:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    globals()[name] = value
    return value
