"""The decorators that tell the compiler how to treat a function: export, ignore, unused,
overload."""

from __future__ import annotations

import types
import typing
from typing import Callable

_MARK = "_torchscript_modifier"
_OVERLOADS: dict[str, list[Callable]] = {}


def export(function: Callable) -> Callable:
    """Compile this method too, though `forward` may not call it."""
    setattr(function, _MARK, "export")
    return function


def unused(function: Callable) -> Callable:
    """Do not compile this function; a call of it from compiled code raises."""
    if isinstance(function, property):
        getter = function.fget
        setattr(getter, _MARK, "unused")
        return property(getter, function.fset)
    setattr(function, _MARK, "unused")
    return function


def ignore(drop: object = False, **kwargs: object) -> Callable:
    """Leave this function to Python."""
    if callable(drop):
        setattr(drop, _MARK, "ignore")
        return drop

    def mark(function: Callable) -> Callable:
        setattr(function, _MARK, "unused" if drop else "ignore")
        return function

    return mark


def _key(function: Callable) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def overload(function: Callable) -> Callable:
    """Declare one signature of the function or method of this name that follows."""
    _OVERLOADS.setdefault(_key(function), []).append(function)
    return function


def overloads_of(function: Callable) -> list[Callable]:
    """The signatures that were declared for a function."""
    if not hasattr(function, "__qualname__"):
        return []
    return [f for f in _OVERLOADS.get(_key(function), []) if f is not function]


def mark_of(function: object) -> str | None:
    """'export', 'ignore', 'unused' or None."""
    found = getattr(function, _MARK, None)
    if found is None:
        return None
    text = str(found).lower()
    if "export" in text:
        return "export"
    if "unused" in text or "raises" in text:
        return "unused"
    if "ignore" in text or "leave in python" in text:
        return "ignore"
    return None


def is_ignored(function: object) -> bool:
    return mark_of(function) in ("ignore", "unused")


def is_scripting() -> bool:
    """False in Python, True in compiled code."""
    return False


def annotate(the_type: object, the_value: object) -> object:
    """The value; tells the compiler its type."""
    return the_value


def isinstance_of(obj: object, target_type: object) -> bool:
    """Whether an object, containers' elements included, is of a type."""
    origin, parts = typing.get_origin(target_type), typing.get_args(target_type)
    if isinstance(target_type, tuple):
        return any(isinstance_of(obj, t) for t in target_type)
    if origin is typing.Union:
        return any(isinstance_of(obj, t) for t in parts)
    if origin is list:
        return isinstance(obj, list) and all(isinstance_of(o, parts[0]) for o in obj)
    if origin is dict:
        return isinstance(obj, dict) and all(
            isinstance_of(k, parts[0]) and isinstance_of(v, parts[1]) for k, v in obj.items())
    if origin is tuple:
        return isinstance(obj, tuple) and len(obj) == len(parts) and all(
            map(isinstance_of, obj, parts))
    if target_type is None:
        return obj is None
    return isinstance(obj, target_type)


class Attribute:
    """A value and its type: `self.x = torch.jit.Attribute(value, type)` in a ScriptModule."""

    def __init__(self, value: object, type: object) -> None:
        self.value = value
        self.type = type


def fork(function: Callable, *args: object, **kwargs: object) -> Future:
    """Start a task; here it runs at once."""
    return Future(function(*args, **kwargs))


def wait(future: Future) -> object:
    """The result of a task."""
    return future.wait()


class Future:
    """The result of a task that `fork` started."""

    def __class_getitem__(cls, item: object) -> object:
        return types.GenericAlias(cls, (item,))

    def __init__(self, value: object = None) -> None:
        self._value = value

    def wait(self) -> object:
        return self._value

    value = wait


def unwrap_optional(value: object) -> object:
    """The value, which must not be None."""
    assert value is not None, "Unwrapping null optional"
    return value
