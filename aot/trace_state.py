"""Who is told of what this thread does: the trace that runs, and who listens to operator calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _State(threading.local):
    def __init__(self) -> None:
        self.recorder: Any = None
        self.call_recorders: list[Callable[[Any], None]] = []


_state = _State()


def recorder() -> Any:
    """The recorder (aot/trace_record.py) of the trace that runs in this thread, or None."""
    return _state.recorder


def set_recorder(new: Any) -> Any:
    """Start or, with None, end a trace in this thread; the recorder there was before."""
    before, _state.recorder = _state.recorder, new
    return before


@contextmanager
def recording(listener: Callable[[Any], None]) -> Iterator[None]:
    """`listener` gets a `dispatch.Event` for every operator call of the thread inside the block,
    after it ran. Calls that operators make among themselves are not told."""
    _state.call_recorders.append(listener)
    try:
        yield
    finally:
        _state.call_recorders.pop()


@contextmanager
def not_recording() -> Iterator[None]:
    """Nobody is told of the calls inside the block."""
    recorders, _state.call_recorders = _state.call_recorders, []
    try:
        yield
    finally:
        _state.call_recorders = recorders


def is_recording() -> bool:
    return bool(_state.call_recorders)


def tell(event: Any) -> None:
    """Tell the innermost recorder of an operator call, if there is one."""
    if _state.call_recorders:
        _state.call_recorders[-1](event)
