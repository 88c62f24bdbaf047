"""Nests that differ only in which memories they touch are scheduled once.

A nest's shape is the nest with stand-ins for its memories, numbered in the order of first use. The
kernels made for a shape serve every nest of that shape: its memories take the stand-ins' places.
"""

from __future__ import annotations

from dataclasses import replace

from lowering import expr as E
from lowering.expr import Expr
from lowering.schedule.loops import Scheduled
from lowering.schedule.nest import Nest
from lowering.schedule.storage import MemoryBuffer


class Shapes:
    """The stand-ins; equal shapes are equal Nests."""

    def __init__(self) -> None:
        self._stand_ins: dict[tuple, MemoryBuffer] = {}

    def shape_of(self, nest: Nest) -> tuple[Nest, dict[MemoryBuffer, MemoryBuffer]]:
        """The shape, and stand-in -> memory."""
        memories: dict[MemoryBuffer, MemoryBuffer] = {}
        stand_ins: dict[MemoryBuffer, MemoryBuffer] = {}

        def stand_in(memory: MemoryBuffer) -> MemoryBuffer:
            if memory not in stand_ins:
                key = (len(stand_ins), memory.dtype.name, memory.size, memory.space)
                made = self._stand_ins.get(key)
                if made is None:
                    made = MemoryBuffer(memory.dtype, memory.size, memory.space)
                    self._stand_ins[key] = made
                stand_ins[memory] = made
                memories[made] = memory
            return stand_ins[memory]

        def change(x: Expr) -> Expr | None:
            return E.load(stand_in(x.attr), x.args) if x.op == "load" else None

        memo: dict[Expr, Expr] = {}
        body = E.rewrite(nest.body, change, memo)
        post = E.rewrite(nest.post, change, memo) if nest.post is not None else None
        address = E.rewrite(nest.address, change, memo)
        return replace(nest, body=body, post=post, address=address,
                       store=stand_in(nest.store)), memories


def instantiate(plan: list[Scheduled],
                memories: dict[MemoryBuffer, MemoryBuffer]) -> list[Scheduled]:
    """A shape's kernels on a nest's own memories; scratch and packed constants are made anew."""
    made = dict(memories)

    def own(m: MemoryBuffer) -> MemoryBuffer:
        if m not in made:
            source = own(m.source) if m.source is not None else None
            made[m] = MemoryBuffer(m.dtype, m.size, m.space, m.index, m.data, source, m.packing)
        return made[m]

    return [(kernel, [own(m) for m in used]) for kernel, used in plan]
