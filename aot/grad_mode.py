"""Whether operators are recorded for backward(): no_grad, enable_grad, inference_mode."""

from __future__ import annotations

import functools
import threading
from typing import Callable


class _State(threading.local):
    enabled = True
    inference = False


_state = _State()


def is_grad_enabled() -> bool:
    return _state.enabled


def is_inference_mode_enabled() -> bool:
    return _state.inference


class _Mode:
    """A context manager, and a decorator, that sets the thread's mode for a while."""

    enabled: bool
    inference: bool | None = None

    def __enter__(self) -> None:
        self._before = (_state.enabled, _state.inference)
        _state.enabled = self.enabled
        if self.inference is not None:
            _state.inference = self.inference

    def __exit__(self, *_: object) -> None:
        _state.enabled, _state.inference = self._before

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            with self._again():
                return function(*args, **kwargs)

        return call

    def _again(self) -> _Mode:
        return type(self)()

    def __new__(cls, *args, **kwargs):
        """`@no_grad` without brackets decorates as `@no_grad()` does."""
        self = super().__new__(cls)
        if len(args) == 1 and callable(args[0]):
            self.__init__()
            return self(args[0])
        return self


class no_grad(_Mode):
    """Nothing is recorded inside."""

    enabled = False


class enable_grad(_Mode):
    """Operators are recorded inside, also within no_grad."""

    enabled = True


class inference_mode(_Mode):
    """As no_grad; tensors made inside cannot be recorded later either."""

    def __init__(self, mode: bool = True) -> None:
        self.inference, self.enabled = mode, not mode

    def _again(self) -> inference_mode:
        return inference_mode(bool(self.inference))


class set_grad_enabled(_Mode):
    """Sets the mode at once; as a context manager, until the block's end."""

    def __init__(self, mode: bool) -> None:
        self._outside = _state.enabled
        self.enabled = bool(mode)
        _state.enabled = self.enabled

    def __enter__(self) -> None:
        super().__enter__()
        self._before = (self._outside, _state.inference)

    def _again(self) -> set_grad_enabled:
        return set_grad_enabled(self.enabled)
