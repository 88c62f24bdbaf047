"""Schedules a chain of ops row by row as one kernel: what lies between its ops stays in a cache.

    for outer rows:
        for blocks of rows:
            s[block] = q k^T ...      # every op as it would be alone, over the rows of the block
            y[block] = p v / t

What only the chain reads is scratch: a block's worth of it, written anew for each block. The last
block starts where it ends with the rows; it computes some of them a second time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import contiguous_strides
from lowering.passes.row_groups import RowGroup
from lowering.schedule.codegen import Coder
from lowering.schedule.contraction import emit_product
from lowering.schedule.loops import Scheduled, emit_loops, worth_threads
from lowering.schedule.nest import Nest
from lowering.schedule.packing import columns_in_rows
from lowering.schedule.product import assigned, factors
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.schedule.tiles import choose_tile
from lowering.tensor_ir import Generic, Value
from llvm_backend.kernel import KValue
from llvm_backend.target import Target

_PAD = 16  # elements between rows of scratch: they start in different sets of a cache


@dataclass(frozen=True)
class RowForm:
    """How a chain is cut: dims[k] are nest k's rows, of these extents; `blocked` is the one that is
    cut into blocks, `outer` are the others. shares[m]: elements of a scratch memory that a turn of
    the outermost loop has for itself (of all of it where there is one thread)."""

    dims: tuple[tuple[int, ...], ...]
    extents: tuple[int, ...]
    blocked: int
    block: int
    divided: bool
    storages: dict[Value, Storage]
    shares: dict[MemoryBuffer, int]

    @property
    def outer(self) -> list[int]:
        others = [k for k in range(len(self.extents)) if k != self.blocked]
        return sorted(others, key=lambda k: -self.extents[k])

    @property
    def blocks(self) -> int:
        return -(-self.extents[self.blocked] // self.block)

    @property
    def key(self) -> tuple:
        """Chains of equal nests and equal keys are one kernel."""
        return self.dims, self.extents, self.blocked, self.block, tuple(self.shares.items())

    def on(self, stand_ins: dict[MemoryBuffer, MemoryBuffer]) -> RowForm:
        """The same on other memories."""
        return replace(self, shares={stand_ins[m]: n for m, n in self.shares.items()})


def row_form(group: RowGroup, target: Target) -> RowForm:
    """How the chain is cut, and where its inner Values lie."""
    seed = group.ops[0]
    extents = tuple(seed.domain[d] for d in group.dims[0])
    points = sum(math.prod(op.domain) for op in group.ops)
    form = RowForm(tuple(group.dims), extents, group.blocked,
                   _rows_a_block(seed, extents, group.blocked, target),
                   worth_threads(points, target), {}, {})
    turns = (extents[form.outer[0]] if form.outer else form.blocks) if form.divided else 1
    for k, op in enumerate(group.ops):
        if op.out not in group.inside:
            continue
        before = _replaced(group, k)
        if before is None:
            _place_scratch(op.out, group.rows[op.out], form, turns)
        else:
            form.storages[op.out] = form.storages[before]
    return form


def _replaced(group: RowGroup, k: int) -> Value | None:
    """A Value of the chain whose place op k's result can take: read element for element by this op,
    and by none behind it."""
    op, later = group.ops[k], group.ops[k + 1:]
    if op.combiner is not None:
        return None
    loads = E.loads(op.body)
    for v in dict.fromkeys(x.attr for x in loads):
        if v in group.inside and v.dtype is op.out.dtype and v.shape == op.out.shape and (
                group.rows[v] == group.rows[op.out]) and all(
                x.args == E.identity(v.ndim) for x in loads if x.attr is v) and not any(
                v in other.operands() for other in later):
            return v
    return None


def _rows_a_block(seed: Generic, extents: tuple[int, ...], blocked: int, target: Target) -> int:
    """A register tile's rows, or as many times that as leave the block in L1; then as few as give
    no more blocks."""
    width = seed.out.numel // math.prod(extents)
    lanes = target.lanes(seed.out.dtype.bytes)
    tile = choose_tile(1, extents[blocked], width, lanes, False, target).rows
    times = target.l1 // 2 // (tile * width * seed.out.dtype.bytes)
    blocks = -(-extents[blocked] // (tile * max(1, times)))
    return -(-extents[blocked] // blocks)


def _place_scratch(v: Value, rows: tuple[int, ...], form: RowForm, turns: int) -> None:
    free = [d for d in range(v.ndim) if d not in rows]
    width = math.prod(v.shape[d] for d in free)
    row = width if width == 1 else -(-width // _PAD) * _PAD + _PAD
    strides = [0] * v.ndim
    for d, s in zip(free, contiguous_strides([v.shape[d] for d in free])):
        strides[d] = s
    strides[rows[form.blocked]] = row
    share = -(-row * form.block // _PAD) * _PAD
    memory = MemoryBuffer(v.dtype, share * turns, "arena")
    form.storages[v] = Storage(memory, tuple(strides))
    form.shares[memory] = share


def schedule_row_group(nests: list[Nest], form: RowForm, target: Target,
                       name: str) -> list[Scheduled]:
    """The chain's kernel, and before it those that rearrange what its products read."""
    return _RowGroup(nests, form, target, name).emit()


class _RowGroup:
    """One kernel's worth of state."""

    def __init__(self, nests: list[Nest], form: RowForm, target: Target, name: str):
        self.nests, self.form, self.target, self.name = nests, form, target, name
        self.coder = Coder(name, ())
        self.b = self.coder.b

    def emit(self) -> list[Scheduled]:
        before: list[Scheduled] = []
        for k, nest in enumerate(self.nests):
            nest = self._with_columns_together(nest, f"{self.name}_pack{k}", before)
            self.nests[k] = nest
            if factors(nest.body) is not None and nest.combiner == "add":
                self.coder.kernel.flops += 2 * nest.points
        self._over(self.form.outer, {}, None)
        return [*before, (self.coder.kernel, self.coder.memory)]

    def _with_columns_together(self, nest: Nest, name: str, before: list[Scheduled]) -> Nest:
        """A product whose columns are apart in memory, reading them from a copy."""
        product = assigned(nest) if nest.combiner == "add" and factors(nest.body) else None
        if product is None or product.b.is_constant or product.b.stride(product.vector) == 1:
            return nest
        if product.b.memory in self.form.shares:
            return nest
        moved, kernel = columns_in_rows(product, self.target, name)
        before.append(kernel)
        old = next(x for x in factors(nest.body) if x.attr is product.b.memory and
                   nest.algebra.affine(x.args[0])[1] == product.b.offset and
                   nest.algebra.affine(x.args[0])[0].get(E.index(product.vector), 0)
                   == product.b.stride(product.vector))
        address = E.const(0)
        for d, stride in moved.b.strides.items():
            address = address + E.index(d) * stride
        new = E.load(moved.b.memory, [address])
        return replace(nest, body=E.rewrite(nest.body, lambda x: new if x == old else None))

    def _over(self, outer: list[int], at: dict[int, KValue], turn: KValue | None) -> None:
        form = self.form
        kind = "parallel" if form.divided and turn is None else "serial"
        if outer:
            with self.b.loop(0, form.extents[outer[0]], kind=kind) as f:
                self._over(outer[1:], {**at, outer[0]: f.counter},
                           f.counter if turn is None else turn)
            return
        rows = form.extents[form.blocked]
        with self.b.loop(0, form.blocks, kind=kind) as f:
            start = self.b.mul(f.counter, form.block)
            if rows % form.block:
                start = self.b.binary("min", start, self.b.const(rows - form.block))
            at = {**at, form.blocked: start}
            for nest, dims in self._stages():
                self._stage(nest, dims, at, f.counter if turn is None else turn)

    def _stages(self) -> list[tuple[Nest, tuple[int, ...]]]:
        """The nests and their rows; a reduction is done while what it reads is computed."""
        stages: list[tuple[Nest, tuple[int, ...]]] = []
        for nest, dims in zip(self.nests, self.form.dims):
            both = stages[-1][0].summed_by(nest) if stages and stages[-1][1] == dims else None
            if both is not None:
                stages.pop()
            stages.append((both or nest, dims))
        return stages

    def _stage(self, nest: Nest, dims: tuple[int, ...], at: dict[int, KValue],
               turn: KValue) -> None:
        """One op on one block: the same nest over fewer rows, on memory that starts with them."""
        domain, form = list(nest.domain), self.form
        indices = list(E.identity(len(domain)))
        for k, d in enumerate(dims):
            domain[d] = form.block if k == form.blocked else 1
            if k != form.blocked:
                indices[d] = E.const(0)
        windows: dict[tuple, MemoryBuffer] = {}

        def window(memory: MemoryBuffer, address: Expr) -> MemoryBuffer:
            terms, _ = nest.algebra.affine(address)
            steps = tuple(terms.get(E.index(d), 0) for d in dims)
            share = form.shares.get(memory)
            if not form.divided if share is not None else not any(steps):
                return memory
            key = memory, steps
            if key not in windows:
                start = self._start(steps, at) if share is None else self.b.mul(turn, share)
                windows[key] = self.coder.window(memory, start)
            return windows[key]

        def change(x: Expr) -> Expr | None:
            return E.load(window(x.attr, x.args[0]), x.args) if x.op == "load" else None

        memo: dict[Expr, Expr] = {}
        kept = None if nest.kept is None else (window(*nest.kept), nest.kept[1])
        block = replace(
            nest, body=E.rewrite(nest.body, change, memo), store=window(nest.store, nest.address),
            kept=kept,
            post=None if nest.post is None else E.rewrite(nest.post, change, memo))
        block = block.map(tuple(domain), nest.parallel, tuple(indices))
        alone = replace(self.target, threads=1)
        if not emit_product(block, alone, self.coder):
            emit_loops(block, alone, self.coder)

    def _start(self, steps: tuple[int, ...], at: dict[int, KValue]) -> KValue:
        """Where the block's first row lies: the distances of its rows from the first ones."""
        start: KValue | None = None
        for k, step in enumerate(steps):
            if step and k in at:
                part = self.b.mul(at[k], step)
                start = part if start is None else self.b.add(start, part)
        return start if start is not None else self.b.const(0)
