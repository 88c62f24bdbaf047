"""Plans the arena: an offset for each buffer, so that buffers alive at one time do not overlap.

Greedy by size: the largest buffer first, each at the lowest offset free during its lifetime
(Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lowering.schedule.storage import MemoryBuffer

ALIGNMENT = 64


@dataclass
class Lifetimes:
    """First and last time of use of each arena buffer. Time advances with every step; what a loop
    uses from outside lives until the loop ends."""

    now: int = 0
    first: dict[MemoryBuffer, int] = field(default_factory=dict)
    last: dict[MemoryBuffer, int] = field(default_factory=dict)

    def use(self, memory: MemoryBuffer) -> None:
        if memory.space == "arena":
            self.first.setdefault(memory, self.now)
            self.last[memory] = self.now

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
    buffers = sorted(lifetimes.first, key=lambda m: (-m.size * m.dtype.bytes, lifetimes.first[m]))
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
