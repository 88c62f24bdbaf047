"""Nests that differ only in which memories they touch are scheduled once.

A nest's shape is the nest with stand-ins for its memories, numbered in the order of first use. The
kernels made for a shape serve every nest of that shape: its memories take the stand-ins' places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lowering import expr as E
from lowering.expr import Expr
from lowering.schedule.loops import Scheduled
from lowering.schedule.nest import Nest
from lowering.schedule.row_groups import RowForm
from lowering.schedule.storage import MemoryBuffer
from lowering.tensor_ir import Value


class Shapes:
    """The stand-ins, and what was made for them; equal shapes are equal Nests."""

    def __init__(self) -> None:
        self._stand_ins: dict[tuple, MemoryBuffer] = {}
        self._plans: dict[tuple, list[Scheduled]] = {}

    def kernels(self, nests: list[Nest],
                make: Callable[[list[Nest], RowForm | None], list[Scheduled]],
                form: RowForm | None = None,
                sizes: tuple[tuple[Value, MemoryBuffer], ...] = ()) -> list[Scheduled]:
        """The kernels of a nest, or of a chain that `form` cuts, on their own memories; `make` is
        called for what there was none of yet. `sizes` of run time are told to `make` already: they
        are the same for all nests of the shape."""
        shapes, memories = self.shapes_of(nests)
        memories |= {memory: memory for _, memory in sizes}
        memories |= {n.turn: n.turn for n in nests if n.turn is not None}
        if form is not None:
            form = form.on({memory: shape for shape, memory in memories.items()})
        key = shapes, form and form.key, sizes
        if key not in self._plans:
            self._plans[key] = make(list(shapes), form)
        return instantiate(self._plans[key], memories)

    def shapes_of(self, nests: list[Nest]) -> tuple[tuple[Nest, ...],
                                                    dict[MemoryBuffer, MemoryBuffer]]:
        """The shapes of nests that make up one kernel, and stand-in -> memory."""
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
        shapes = []
        for nest in nests:
            body = E.rewrite(nest.body, change, memo)
            post = E.rewrite(nest.post, change, memo) if nest.post is not None else None
            address = E.rewrite(nest.address, change, memo)
            shapes.append(replace(nest, body=body, post=post, address=address,
                                  store=stand_in(nest.store)))
        return tuple(shapes), memories


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
