"""The kernels of nests: which schedule serves which nest, each shape of nest scheduled once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lowering import expr as E
from lowering.host_plan import Node, Step
from lowering.index_algebra import IndexAlgebra
from lowering.lower_sizes import ENDLESS, allocate
from lowering.schedule.contraction import schedule_contraction
from lowering.schedule.contraction_dynamic import columns_together, schedule_dynamic_contraction
from lowering.schedule.contraction_pairs import schedule_pairs
from lowering.schedule.dynamic import schedule_dynamic
from lowering.schedule.loops import Scheduled, schedule_loops, worth_threads
from lowering.schedule.nest import Nest
from lowering.schedule.pieces import affine_pieces
from lowering.schedule.reuse import Shapes
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.schedule.transpose import transpose_nest
from lowering.schedule.transpose_dynamic import schedule_dynamic_transpose
from lowering.tensor_ir import Value
from llvm_backend.target import Target


def steps(scheduled: list[Scheduled]) -> list[Node]:
    """Calls of kernels; those that touch no memory do nothing."""
    return [Step(kernel, memories) for kernel, memories in scheduled if memories]


def reads_much(nest: Nest, target: Target) -> bool:
    """Whether a product's weights are about as large as the second-level cache: a loop around it
    finds some of them there."""
    loads = E.loads(nest.body) if nest.combiner == "add" else []
    return any(x.attr.space == "constant" and
               target.l2 // 2 < x.attr.size * x.attr.dtype.bytes <= 4 * target.l2 for x in loads)


class Kernels:
    """Makes the kernels of one program, whose Values are in `storages`, which grows."""

    def __init__(self, target: Target, optimize: bool, storages: dict[Value, Storage]):
        self.target, self.optimize, self.storages = target, optimize, storages
        self.shapes = Shapes()
        self.count = 0
        self.turn: MemoryBuffer | None = None  # the number of the turn of the loop around

    @contextmanager
    def in_turns(self, number: MemoryBuffer) -> Iterator[None]:
        """What is lowered meanwhile runs once a turn of a loop, whose number is kept there."""
        around, self.turn = self.turn, number
        yield
        self.turn = around

    def name(self) -> str:
        self.count += 1
        return f"k{self.count}"

    def nest(self, nest: Nest) -> list[Node]:
        """The kernels of a nest. Nests that differ only in their memories share their kernels."""
        moved = columns_together(nest) if self.optimize and nest.sizes() else None
        if moved is not None:
            v, copy, reading = moved
            memory = MemoryBuffer(v.dtype, ENDLESS, "heap")
            return [*allocate(v, memory, self.storages, self.name()), *self.nest(copy(memory)),
                    *self.nest(reading(memory))]
        sizes = tuple((v, self.storages[v].buffer) for v in nest.sizes())
        if self.turn is not None and reads_much(nest, self.target):
            nest = replace(nest, turn=self.turn)
        return steps(self.shapes.kernels(
            [nest], lambda shapes, _: self._schedule(*shapes), sizes=sizes))

    def _schedule(self, nest: Nest) -> list[Scheduled]:
        name = self.name()
        if nest.sizes():
            product = schedule_dynamic_contraction(
                nest, self.storages, self.target, name) if self.optimize else None
            moved = self.optimize and schedule_dynamic_transpose(
                nest, self.storages, self.target, name)
            return product or [moved or schedule_dynamic([nest], self.storages, self.target, name)]
        scheduled = self.optimize and (schedule_pairs(nest, self.target, name)
                                       or schedule_contraction(nest, self.target, name))
        if not scheduled:
            moved = transpose_nest(nest, self.target, name)
            scheduled = [moved] if moved else self._loops(nest, name)
        return scheduled

    def _loops(self, nest: Nest, name: str) -> list[Scheduled]:
        pieces = affine_pieces(nest) if self.optimize else [nest]
        if not worth_threads(nest.points, self.target):
            return [schedule_loops(pieces, self.target, name)]
        # only a kernel of one nest is divided among threads
        return [schedule_loops([piece], self.target, name if len(pieces) == 1 else f"{name}_{k}")
                for k, piece in enumerate(pieces)]

    def copy(self, v: Value, where: Storage) -> list[Node]:
        """v's elements to another place of the same shape."""
        i = E.identity(v.ndim)
        source = self.storages[v]
        algebra = IndexAlgebra(v.shape)
        nest = Nest(
            v.shape, v.ndim, E.load(source.buffer, [algebra.simplify(source.address(i))]), None,
            None, where.buffer, algebra.simplify(where.address(i)))
        return self.nest(nest)
