"""A generator of the process in compiled code: in the instance while a call runs, then back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

import numpy as np

from lowering.random_words import RandomState
from llvm_backend.heap_code import HEAD_BYTES


class SharedStream:
    """`stream` tells where the generator stands now; `places` are the offsets of its parts in the
    state of an instance (see llvm_backend/program.py)."""

    def __init__(self, stream: Callable[[], RandomState], places: Mapping[str, int]):
        self._stream, self._places = stream, dict(places)

    def enter(self, address: int) -> None:
        """Begin of a call on the instance at the address."""
        for part, array in self._parts(address):
            array[:] = getattr(self._stream(), part).numpy().reshape(-1)

    def leave(self, address: int) -> None:
        for part, array in self._parts(address):
            self._stream().set(part, array)

    def _parts(self, address: int) -> list[tuple[str, np.ndarray]]:
        """The parts in the instance's memory, one-dimensional."""
        found = []
        for part, offset in self._places.items():
            like = getattr(self._stream(), part).numpy()
            raw = (ctypes.c_char * like.nbytes).from_address(address + HEAD_BYTES + offset)
            found.append((part, np.frombuffer(raw, like.dtype)))
        return found
