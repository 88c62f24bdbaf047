"""Where a tensor becomes a Python value a trace loses sight of it: warnings, and traced sizes.

While a trace runs, and in its thread only, `bool(x)`, `int(x)`, `len(x)` ... warn, and `x.size(0)`,
`x.shape` and `x.numel()` are recorded.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aot import dispatch, trace_state
from aot.tensor_core import Tensor
from aot.trace_record import is_internal, user_frame


class TracerWarning(Warning):
    """A trace may not do what the Python program does."""


_CONVERTED = (
    "Converting a tensor to a Python {} might cause the trace to be incorrect. We can't record the "
    "data flow of Python values, so this value will be treated as a constant in the future. This "
    "means that the trace might not generalize to other inputs!"
)
_LENGTH = (
    "Using len to get tensor shape might cause the trace to be incorrect. Recommended usage would "
    "be tensor.shape[0]. Passing a tensor of different shape might lead to errors or silently give "
    "incorrect results."
)
_ITERATED = (
    "Iterating over a tensor might cause the trace to be incorrect. Passing a tensor of different "
    "shape won't change the number of iterations executed (and might lead to errors or silently "
    "give incorrect results)."
)


def _recorder() -> Any:
    """The recorder that the caller of a tensor's method should tell; None inside the library."""
    recorder = trace_state.recorder()
    if recorder is None or not trace_state.is_recording() or is_internal(sys._getframe(2)):
        return None
    return recorder


def _warn(text: str) -> None:
    frame = user_frame()
    if frame is None:
        warnings.warn(text, TracerWarning, stacklevel=3)
        return
    if frame.f_globals.get("__name__", "").startswith("aot."):
        return  # a layer's own check of its arguments, which no user can change
    code = frame.f_code
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, TracerWarning, code.co_filename, frame.f_lineno,
                           frame.f_globals.get("__name__"), registry)


def _warning(original: Callable, text: str) -> Callable:
    def method(self: Tensor, *args: Any) -> Any:
        if _recorder() is not None:
            _warn(text)
            with trace_state.not_recording():
                return original(self, *args)
        return original(self, *args)

    return method


def _iterate(original: Callable) -> Callable:
    def method(self: Tensor) -> Any:
        if _recorder() is not None:
            _warn(_ITERATED)
            return iter(dispatch.call("aten::unbind", (self, 0)))
        return original(self)

    return method


def _length(original: Callable) -> Callable:
    def method(self: Tensor) -> int:
        recorder = _recorder()
        if recorder is not None:
            _warn(_LENGTH)
            recorder.sizes(self)
        return original(self)

    return method


def _size(original: Callable) -> Callable:
    def method(self: Tensor, dim: int | None = None) -> Any:
        recorder = _recorder()
        if recorder is None:
            return original(self, dim)
        if dim is None:
            return recorder.sizes(self)
        self._dim(dim)  # refuses what is out of range
        return recorder.size(self, dim)

    return method


def _shape(original: property) -> property:
    def get(self: Tensor) -> Any:
        recorder = _recorder()
        return original.__get__(self) if recorder is None else recorder.sizes(self)

    return property(get)


def _numel(original: Callable) -> Callable:
    def method(self: Tensor) -> Any:
        recorder = _recorder()
        return original(self) if recorder is None else recorder.numel(self)

    return method


_WATCHED: dict[str, Callable[[Any], Any]] = {
    "__bool__": lambda f: _warning(f, _CONVERTED.format("boolean")),
    "__int__": lambda f: _warning(f, _CONVERTED.format("integer")),
    "__index__": lambda f: _warning(f, _CONVERTED.format("index")),
    "__float__": lambda f: _warning(f, _CONVERTED.format("float")),
    "item": lambda f: _warning(f, _CONVERTED.format("number")),
    "tolist": lambda f: _warning(f, _CONVERTED.format("list")),
    "numpy": lambda f: _warning(f, _CONVERTED.format("NumPy array")),
    "__len__": _length,
    "__iter__": _iterate,
    "size": _size,
    "shape": _shape,
    "numel": _numel,
    "nelement": _numel,
}
_lock = threading.Lock()
_originals: dict[str, Any] = {}
_depth = [0]


@contextmanager
def watching() -> Iterator[None]:
    """Tensor's methods are watched inside the block; those of other threads behave as ever."""
    with _lock:
        _depth[0] += 1
        if _depth[0] == 1:
            for name, wrap in _WATCHED.items():
                _originals[name] = Tensor.__dict__[name]
                setattr(Tensor, name, wrap(_originals[name]))
    try:
        yield
    finally:
        with _lock:
            _depth[0] -= 1
            if _depth[0] == 0:
                for name, original in _originals.items():
                    setattr(Tensor, name, original)
