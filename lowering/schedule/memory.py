"""Plans memory: the arena, the constants, and the state.

The arena has an offset for each buffer, so that buffers alive at one time do not overlap. Greedy by
size: the largest buffer first, each at the lowest offset free during its lifetime
(Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lowering.schedule.storage import MemoryBuffer
from lowering.tensor_ir import State

ALIGNMENT = 64
_FOREVER = 1 << 60


@dataclass
class Lifetimes:
    """First and last time of use of each buffer of the arena and the heap. Time advances with every
    step; what a loop uses from outside lives until the loop ends."""

    now: int = 0
    first: dict[MemoryBuffer, int] = field(default_factory=dict)
    last: dict[MemoryBuffer, int] = field(default_factory=dict)

    def use(self, memory: MemoryBuffer) -> None:
        if memory.space in ("arena", "heap"):
            self.first.setdefault(memory, self.now)
            self.last[memory] = self.now

    def keep(self, memory: MemoryBuffer) -> None:
        """The caller reads it when the run is over."""
        self.use(memory)
        if memory in self.last:
            self.last[memory] = _FOREVER

    def step(self) -> None:
        self.now += 1

    def loop_ends(self, began: int) -> None:
        """A loop that began at that time ends now: it may read again what it read before."""
        for memory, first in self.first.items():
            if first < began <= self.last[memory]:
                self.last[memory] = self.now


def plan_arena(lifetimes: Lifetimes) -> int:
    """Sets the byte offset of every buffer; returns the arena's size in bytes."""
    placed: list[tuple[MemoryBuffer, int, int]] = []  # buffer, offset, end
    total = 0
    buffers = sorted((m for m in lifetimes.first if m.space == "arena"),
                     key=lambda m: (-m.size * m.dtype.bytes, lifetimes.first[m]))
    for memory in buffers:
        size = -(-max(memory.size * memory.dtype.bytes, 1) // ALIGNMENT) * ALIGNMENT
        first, last = lifetimes.first[memory], lifetimes.last[memory]
        busy = sorted((offset, end) for m, offset, end in placed
                      if lifetimes.first[m] <= last and first <= lifetimes.last[m])
        at = 0
        for offset, end in busy:
            if offset - at >= size:
                break
            at = max(at, end)
        memory.offset = at
        placed.append((memory, at, at + size))
        total = max(total, at + size)
    return total


def plan_heap(lifetimes: Lifetimes) -> int:
    """Gives every buffer of the heap a block, the one that was free last and so is still in the
    caches; returns how many there are."""
    busy: list[tuple[int, int]] = []  # (last use, block)
    free: list[int] = []
    count = 0
    for memory in sorted((m for m in lifetimes.first if m.space == "heap"),
                         key=lambda m: lifetimes.first[m]):
        first = lifetimes.first[memory]
        ended = sorted(b for b in busy if b[0] < first)
        free += [block for _, block in ended]
        busy = [b for b in busy if b[0] >= first]
        if not free:
            free.append(count)
            count += 1
        memory.index = free.pop()
        busy.append((lifetimes.last[memory], memory.index))
    return count


class Constants:
    """The constants that kernels read, and the state's initial values; equal ones once."""

    def __init__(self) -> None:
        self.found: list[tuple[int, np.ndarray]] = []  # (byte offset, data)
        self.bytes = 0
        self._offsets: dict[tuple, int] = {}
        self._placed: list[MemoryBuffer] = []  # their arrays live, so that a key stays its array's

    def place(self, memories: Iterable[MemoryBuffer]) -> None:
        """Sets the byte offset of the constants among the buffers."""
        for memory in memories:
            if memory.space != "constant":
                continue
            key = memory.content_key()
            if key not in self._offsets:
                data = memory.contents()
                self._offsets[key] = self.bytes
                self.found.append((self.bytes, data))
                self.bytes = _aligned(self.bytes + max(data.nbytes, 1))
            self._placed.append(memory)
            memory.offset = self._offsets[key]


class StateSlots:
    """A place in the state for every State that some method uses."""

    def __init__(self) -> None:
        self.bytes = 0
        self._slots: dict[State, MemoryBuffer] = {}

    def slot(self, state: State) -> MemoryBuffer:
        """The state's buffer, the same for every method."""
        if state not in self._slots:
            slot = MemoryBuffer(state.dtype, max(state.initial.size, 1), "state")
            slot.offset = self.bytes
            self.bytes = _aligned(self.bytes + slot.size * state.dtype.bytes)
            self._slots[state] = slot
        return self._slots[state]

    def fill(self, constants: Constants) -> list[tuple[int, int, int]]:
        """What init copies (see Program.state); zeros are there already."""
        copies = []
        for state, slot in self._slots.items():
            if any(state.initial.tobytes()):  # -0.0 is no zero here
                source = MemoryBuffer(state.dtype, slot.size, "constant", data=state.initial)
                constants.place([source])
                copies.append((slot.offset, source.offset, state.initial.nbytes))
        return copies


    def generator(self) -> dict[str, int]:
        """Where the parts of the random generator's state are."""
        return {s.generator: slot.offset for s, slot in self._slots.items() if s.generator}

    def fingerprint(self) -> int:
        """A number of 63 bits for what the state is made of and where it lies."""
        text = "".join(f"{s.name} {s.dtype} {s.initial.shape} {slot.offset} {s.meaning};"
                       for s, slot in self._slots.items())
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
