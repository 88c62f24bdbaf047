"""Which trace, if any, this thread is recording."""

from __future__ import annotations

import threading
from typing import Any


class _State(threading.local):
    recorder: Any = None


_state = _State()


def recorder() -> Any:
    """The recorder (aot/trace_record.py) of the trace that runs in this thread, or None."""
    return _state.recorder


def set_recorder(new: Any) -> Any:
    """Start or, with None, end a trace in this thread; the recorder there was before."""
    before, _state.recorder = _state.recorder, new
    return before
