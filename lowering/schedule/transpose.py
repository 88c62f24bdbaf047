"""Copies that change which dim is innermost: square tiles go through registers.

A pure copy whose load steps by one along one dim and whose store steps by one along another is slow
in plain loops, as one of the two sides takes one element at a time. Here a tile of lanes x lanes
elements is loaded as vectors along the first dim, transposed by shuffles, and stored as vectors
along the second. The last tile of a dim starts where it ends with the dim: it copies some elements
a second time, which a copy may do, and needs no masks.
"""

from __future__ import annotations

from llvm_backend.kernel import Kernel, KernelBuilder, KValue
from llvm_backend.target import Target
from lowering.schedule.codegen import Coder, Point, affine_in, origin
from lowering.schedule.loops import worth_threads
from lowering.schedule.nest import Nest
from lowering.schedule.storage import MemoryBuffer
from lowering.sizes import nominal

_MOST_LANES = 16  # and registers of a tile
_LEAST_EXTENT = 4  # below that, gathers do as well
_LINE = 64  # bytes of a cache line
STRIP = 8  # blocks along the store at a time: as many pages of the source as a TLB holds


def transpose_nest(nest: Nest, target: Target,
                   name: str) -> tuple[Kernel, list[MemoryBuffer]] | None:
    """The kernel of a pure copy between storages with different innermost dims; None if the nest
    is anything else, or too small for tiles."""
    found = transposed_dims(nest, target)
    if found is None:
        return None
    coder = Coder(name, found[0].domain)
    Transpose(*found, target, coder).emit()
    return coder.kernel, coder.memory


def transposed_dims(nest: Nest, target: Target) -> tuple[Nest, int, int] | None:
    """The nest with as few dims as can be, the dim that its load steps through by one, and the
    store's; None where it is no pure copy with two such dims, or too small for tiles."""
    if nest.combiner is not None or nest.post is not None or nest.body.op != "load":
        return None
    if 0 in nest.domain:
        return None
    nest = nest.without_unit_dims()
    strides = _strides(nest)
    if strides is None:
        return None
    order = sorted(range(nest.parallel), key=lambda d: (-abs(nominal(strides[1].get(d, 0))), d))
    nest = nest.permuted(tuple(order)).collapsed()
    load, store = _strides(nest)
    along = next((d for d, k in load.items() if k == 1), None)
    across = next((d for d, k in store.items() if k == 1), None)
    if along is None or across is None or load.get(across) == 1 or store.get(along) == 1:
        return None
    least = min(nominal(nest.domain[along]), nominal(nest.domain[across]),
                target.lanes(nest.store.dtype.bytes) * 2)
    return None if least < _LEAST_EXTENT else (nest, along, across)


def _strides(nest: Nest) -> tuple[dict[int, int], dict[int, int]] | None:
    """Strides of the load and of the store by dim, None where an address is not affine."""
    load = affine_in(nest.body.args[0], nest.algebra)
    store = affine_in(nest.address, nest.algebra)
    return None if load is None or store is None else (load, store)


class Transpose:
    """Loops over tiles; dims `along` (the load's) and `across` (the store's) are inside."""

    def __init__(self, nest: Nest, along: int, across: int, target: Target, coder: Coder):
        self.nest, self.along, self.across = nest, along, across
        self.target, self.coder, self.b = target, coder, coder.b
        size = nest.store.dtype.bytes
        extents = nominal(nest.domain[along]), nominal(nest.domain[across])
        self.lanes = min(target.lanes(size), _MOST_LANES, 1 << (min(extents).bit_length() - 1))
        line = _LINE // size
        # Of whole cache lines, where narrower vectors would have to come back to a line later.
        self.block = line if line > self.lanes and min(extents) >= line else self.lanes

    def emit(self) -> None:
        dims = [d for d in range(len(self.nest.domain)) if d not in (self.along, self.across)]
        kind = "parallel" if worth_threads(self.nest.points, self.target) else "serial"
        self._over(dims, origin(len(self.nest.domain)), kind)

    def _over(self, dims: list[int], p: Point, kind: str) -> None:
        """Loops over dims, the outermost loop of all being of that kind."""
        if dims:
            with self.b.loop(0, self.nest.domain[dims[0]], kind=kind) as f:
                self._over(dims[1:], p.at(dims[0], f.counter), "serial")
            return
        n, strip = self.nest.domain[self.across], STRIP * self.block
        if n <= strip:
            self._strip(p, 0, n)
            return
        with self.b.loop(0, n, strip, kind=kind) as f:
            end = self.b.binary("min", self.b.add(f.counter, strip), n)
            self._strip(p, f.counter, end)

    def _strip(self, p: Point, begin: KValue | int, end: KValue | int) -> None:
        """Walks forwards in the store, so that its lines are written whole one after the other."""
        with self.b.loop(0, self.nest.domain[self.along], self.block) as f:
            q = p.at(self.along, self._start(self.along, f.counter))
            with self.b.loop(begin, end, self.block) as g:
                self._block(q.at(self.across, self._start(self.across, g.counter)))

    def _start(self, d: int, counter: KValue) -> KValue:
        n = self.nest.domain[d]
        return self.b.binary("min", counter, n - self.block) if n % self.block else counter

    def _block(self, p: Point) -> None:
        tiles = self.block // self.lanes
        if tiles <= 2:
            for i in range(0, self.block, self.lanes):
                for j in range(0, self.block, self.lanes):
                    self._tile(p.shifted(self.along, i).shifted(self.across, j))
            return
        with self.b.loop(0, self.block, self.lanes) as f:
            q = p.at(self.along, self.b.add(p.counters[self.along], f.counter))
            with self.b.loop(0, self.block, self.lanes) as g:
                self._tile(q.at(self.across, self.b.add(q.counters[self.across], g.counter)))

    def _tile(self, p: Point) -> None:
        nest, lanes = self.nest, self.lanes
        read, write = p.over(self.along, lanes), p.over(self.across, lanes)
        rows = [self.coder.load(nest.body.attr, nest.body.args[0], read.shifted(self.across, k))
                for k in range(lanes)]
        columns = transpose_registers(self.b, rows)
        for k, v in enumerate(columns):
            self.coder.store(nest.store, nest.address, v, write.shifted(self.along, k))


def transpose_registers(b: KernelBuilder, rows: list[KValue]) -> list[KValue]:
    """columns[j] = lane j of every row, for as many rows as lanes (a power of two).

    Inside the 16-byte blocks of a register by interleaving halves (unpcklps, zip1), then
    the blocks themselves by picking even and odd ones (vshuff32x4, vperm2f128): each step is one
    instruction where it counts, lanes * log2(lanes) in all."""
    n = len(rows)
    block = min(n, max(1, 16 // rows[0].dtype.bytes))
    groups = [_interleave(b, rows[g:g + block], block) for g in range(0, n, block)]
    columns: list[KValue] = [rows[0]] * n
    for j in range(block):
        for p, column in enumerate(_pick(b, [g[j] for g in groups], block)):
            columns[p * block + j] = column
    return columns


def _interleave(b: KernelBuilder, rows: list[KValue], block: int) -> list[KValue]:
    """Transposes the block x block squares that `block` registers hold side by side."""
    lanes = rows[0].lanes
    low = [start + k // 2 + k % 2 * lanes for start in range(0, lanes, block)
           for k in range(block)]
    high = [k + block // 2 for k in low]
    half = 1
    while half < block:
        # Row r meets row r + block / 2: what the perfect shuffle puts side by side.
        half *= 2
        rows = [b.shuffle(rows[r], rows[r + block // 2], pick)
                for r in range(block // 2) for pick in (low, high)]
    return rows


def _pick(b: KernelBuilder, rows: list[KValue], block: int) -> list[KValue]:
    """Transposes the square of blocks that as many registers hold."""
    lanes, count = rows[0].lanes, len(rows)
    even = [start + k for start in range(0, 2 * lanes, 2 * block) for k in range(block)]
    odd = [k + block for k in even]
    half = 1
    while half < count:
        half *= 2
        rows = [b.shuffle(rows[r], rows[r + 1], pick) for pick in (even, odd)
                for r in range(0, count, 2)]
    return rows
