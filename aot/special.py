"""aot.special: mathematical functions, the operators by their names without `special_`."""

from __future__ import annotations

from aot.operator_functions import function, names


def __getattr__(name: str) -> object:
    value = None if name.startswith("_") else function(f"special_{name}")
    if value is None:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    own = (n.removeprefix("special_") for n in names() if n.startswith("special_"))
    return sorted({*globals(), *own})
