"""Schedules copies that change which dim is innermost over sizes of run time: the tiles of
transpose.py where both dims are as long as a tile, element by element where one is not.
"""

from __future__ import annotations

from collections.abc import Mapping

from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.loops import Scheduled
from lowering.schedule.nest import Nest
from lowering.schedule.spread import ceiling, spread
from lowering.schedule.storage import Storage
from lowering.schedule.transpose import STRIP, Transpose, transposed_dims
from lowering.tensor_ir import Value
from llvm_backend.kernel import KValue
from llvm_backend.target import Target


def schedule_dynamic_transpose(nest: Nest, storages: Mapping[Value, Storage], target: Target,
                               name: str) -> Scheduled | None:
    """The kernel of a pure copy between storages with different innermost dims; None if the nest
    is anything else."""
    found = transposed_dims(nest, target)
    if found is None:
        return None
    coder = Coder(name, found[0].domain, storages)
    _DynamicTranspose(*found, target, coder).emit()
    return coder.kernel, coder.memory


class _DynamicTranspose(Transpose):
    def __init__(self, nest: Nest, along: int, across: int, target: Target, coder: Coder):
        super().__init__(nest, along, across, target, coder)
        self.block = self.lanes  # as many sizes as can be have a tile's length
        self.bounds = [self.b.index(coder.size(n)) for n in nest.domain]

    def emit(self) -> None:
        b, nest = self.b, self.nest
        dims = [d for d in range(len(nest.domain)) if d not in (self.along, self.across)]
        strip = STRIP * self.block
        long = b.binary("and", *(b.binary("ge", self.bounds[d], self.block)
                                 for d in (self.along, self.across)))

        def turn(counters: list[KValue]) -> None:
            p = origin(len(nest.domain))
            for d, counter in zip(dims, counters):
                p = p.at(d, counter)
            begin = b.mul(counters[-1], strip)
            end = b.binary("min", b.add(begin, strip), self.bounds[self.across])
            with b.if_(long) as branch:
                self._strip(p, begin, end)
            with b.otherwise(branch), b.loop(0, self.bounds[self.along]) as f:
                with b.loop(begin, end) as g:
                    self._element(p.at(self.along, f.counter).at(self.across, g.counter))

        extents = [*(self.bounds[d] for d in dims), ceiling(b, self.bounds[self.across], strip)]
        spread(b, extents, b.index(self.coder.size(nest.points)), self.target.threads, turn)

    def _strip(self, p: Point, begin: KValue, end: KValue) -> None:
        with self.b.loop(0, self.bounds[self.along], self.block) as f:
            q = p.at(self.along, self._start(self.along, f.counter))
            with self.b.loop(begin, end, self.block) as g:
                self._block(q.at(self.across, self._start(self.across, g.counter)))

    def _start(self, d: int, counter: KValue) -> KValue:
        return self.b.binary("min", counter, self.b.add(self.bounds[d], -self.block))

    def _element(self, p: Point) -> None:
        v = self.coder.load(self.nest.body.attr, self.nest.body.args[0], p)
        self.coder.store(self.nest.store, self.nest.address, v, p)
