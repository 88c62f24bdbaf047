"""Schedules a Product: register tiles of accumulators, carried through the loops of the sum.

    for outer dims:
        for blocks of rows that stay in L2:
            for blocks of k, where panels of all of k would fill L2:
                for panels of `width` columns:            # b: one panel, contiguous when packed
                    for tiles of rows:                    # a: rows at constant distances
                        acc = 0
                        for k: acc[r][v] += a[r][k] * b[k][v]
                        acc += what the block of k before has stored, where there is one
                        store acc, after the last block post(acc)

Everything about a tile but its position is constant: every address is one register plus an
immediate. What is left at the edges has tiles of its own size; columns beyond the end are masked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Callable

from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.epilogue import finish_tile, tile_points
from lowering.schedule.knobs import Knobs, knobs_of, row_dims, tile_of
from lowering.schedule.loops import Scheduled, worth_threads
from lowering.schedule.nest import Nest
from lowering.schedule.packing import (columns_in_panels, columns_lie_badly, rows_in_blocks,
                                       rows_in_order, rows_lie_badly)
from lowering.schedule.product import SHORT, KDim, Operand, Product, k_dims, match, pack_constant
from lowering.schedule.sum_blocks import SumBlocks, blocks_of_sum
from lowering.schedule.tiles import Tile, runs
from lowering.sizes import Number, Size, divides, nominal, numel
from llvm_backend.kernel import KValue
from llvm_backend.target import Target

_LINE = 64  # bytes of a cache line
# Load instructions of a loop that a processor's prefetcher tells apart and runs ahead of: with four
# times as many a vector times a matrix of 1 MB took 1.4 times as long, one of 100 MB 1.15 times.
_TRACKED_LOADS = 8
_FEW = 4  # dot products with a row each are as fast one by one
_FEWEST_ROWS, _MOST_TILES = 4, 64  # of rows that share a panel of weights, for it to be prefetched
_MOST_SCATTERED = 8  # tiles, where their rows come from many places, which takes time itself


def schedule_contraction(nest: Nest, target: Target, name: str) -> list[Scheduled] | None:
    """The kernels of a sum of products (a packing one may come first), None if it is no such."""
    product = match(nest)
    if product is not None and few_dot_products(product):
        return None
    return product and schedule_product(product, knobs_of(product, target), target, name)


def few_dot_products(product: Product) -> bool:
    """Whether both factors' rows lie along the sum and b's are read so few times that copying them
    would take longer than the sums do."""
    b, nest = product.b, product.nest
    if b.is_constant or b.stride(product.vector) == 1:
        return False
    along = any(b.stride(d) == 1 for d in product.reduced)
    count = numel(nest.domain[d] for d in row_dims(product))
    return along and isinstance(count, int) and count <= _FEW


def schedule_product(product: Product, knobs: Knobs, target: Target,
                     name: str) -> list[Scheduled]:
    """The kernels of a product with these knobs."""
    before: list[Scheduled] = []
    rows, tile = row_dims(product), knobs.tile
    panel = 0
    if product.b.is_constant:
        panel = knobs.panel
        product = with_packed_weights(product, panel, target)
    elif product.b.stride(product.vector) != 1 or columns_lie_badly(
            product, rows, tile, target):
        panel = tile.width
        product, before = columns_in_panels(product, panel, target, f"{name}_columns")
    blocks = blocks_of_sum(product, knobs.sum_block)
    if blocks is not None:
        product, kernels = rows_in_blocks(product, blocks, target, f"{name}_rows")
        before += kernels
    elif rows_lie_badly(product, target):
        product, kernel = rows_in_order(product, target, f"{name}_ordered")
        before.append(kernel)
    coder = Coder(name, product.nest.domain)
    Contraction(product, rows, tile, panel, target, coder, blocks).emit()
    coder.kernel.flops = 2 * product.nest.points
    return [*before, (coder.kernel, coder.memory)]


def emit_product(nest: Nest, target: Target, coder: Coder) -> bool:
    """A sum of products as a part of a kernel, if the nest is one whose columns lie together."""
    product = match(nest)
    if product is None or not product.b.is_constant and product.b.stride(product.vector) != 1:
        return False
    rows, (tile, panel) = row_dims(product), tile_of(product, target)
    packed = product.b.is_constant
    if packed:
        product = with_packed_weights(product, panel, target)
    coder.algebra = product.nest.algebra
    Contraction(product, rows, tile, panel if packed else 0, target, coder, None).emit()
    return True


def with_packed_weights(product: Product, panel: int, target: Target) -> Product:
    narrow = target.precision != "f32"  # else casts are done once, now
    return pack_constant(product, panel,
                         product.b.memory.dtype if narrow else product.dtype)


@dataclass(frozen=True)
class Part:
    """A block of k: its dims, its number (a counter, a constant), whether it is the first or the
    last."""

    k: list[KDim]
    number: KValue | int
    first: bool
    last: bool


class Contraction:
    """One kernel's worth of state."""

    def __init__(self, product: Product, rows: list[int], tile: Tile, panel: int,
                 target: Target, coder: Coder, blocks: SumBlocks | None):
        """panel: columns of a panel of packed weights, 0 where they are not packed."""
        self.product, self.tile, self.packed, self.target = product, tile, panel > 0, target
        self.nest, self.a, self.b_ = product.nest, product.a, product.b
        self.coder, self.b = coder, coder.b
        self.rows = rows
        self.k, _ = k_dims(product)
        steps = numel(k.extent for k in self.k)
        self.panel_step = steps * panel
        self.tiles_a_panel = panel // tile.width
        self.runs = self.a.stride(product.vector) == 1
        self.divided = blocks
        self.fetches = self.packed and self._fetches()
        self.streams = tile.rows == 1 and not self.runs
        self.part = Part(self.k, 0, True, True)

    def _fetches(self) -> bool:
        """Whether each tile asks for the next panel while it works on its own: where weights come
        from far away, and so few rows use a panel that waiting for it would show. One row, on the
        other hand, waits for memory however early it asks. Rows that the run counts may be few. Of
        a divided sum the panels are short, and other blocks drive them out of the caches."""
        rows = numel(self.nest.domain[d] for d in self.rows)
        size = self.b_.memory.size * self.b_.memory.dtype.bytes
        most = _MOST_TILES if len(self.k) == 1 else _MOST_SCATTERED
        few = isinstance(rows, Size) or _FEWEST_ROWS <= rows <= most * self.tile.rows
        return size > self.target.l2 // 2 and (few or self.divided is not None)

    def emit(self) -> None:
        v = self.product.vector
        outer = [d for d in range(self.nest.parallel) if d != v and d not in self.rows]
        self.threads = self.target.threads if worth_threads(self.nest.points, self.target) else 1
        if self.threads > 1 and outer and nominal(self.nest.domain[outer[0]]) >= self.threads:
            self.threads = 1
            self._over(outer, origin(len(self.nest.domain)), "parallel")
        else:
            self._over(outer, origin(len(self.nest.domain)), "serial")

    def _over(self, dims: list[int], p: Point, kind: str) -> None:
        if dims:
            self.threads = 1
            with self.b.loop(0, self.coder.size(self.nest.domain[dims[0]]), kind=kind) as f:
                self._over(dims[1:], p.at(dims[0], f.counter), "serial")
            return
        self._blocks(p)

    # Rows that stay in the second-level cache while all panels pass over them

    def _blocks(self, p: Point) -> None:
        panels = -(-self.nest.domain[self.product.vector] // self.tile.width)
        if not self.rows or self.threads > 1 and panels >= 4 * self.threads and not self.divided:
            self._panels(p, [(0, self.nest.domain[d]) for d in self.rows])
            return
        d = self.rows[0]
        size = self.tile.outer if len(self.rows) > 1 else self.tile.inner
        extent = self.nest.domain[d]
        bytes_a_row = max(abs(nominal(self.a.stride(d))), 1) * self.a.memory.dtype.bytes
        block = max(1, self.target.l2 // 2 // bytes_a_row // size) * size
        inner = [(0, self.nest.domain[self.rows[-1]])] if len(self.rows) > 1 else []
        divided = self.threads > 1
        if divided:
            share = -(-extent // (2 * self.threads * size)) * size
            count = -(-extent // max(size, min(block, share)))
            block = -(-extent // (-(-count // self.threads) * self.threads))  # as much for each
            self.threads = 1
        else:  # as even as can be: a last block of few rows would read all of b for them
            block = -(-extent // max(1, round(extent / block)))
        full = extent // block
        rest = extent - full * block
        if full == 0 or full == 1 and not rest and not divided:
            self._parts(p, [(0, extent), *inner])
            return

        def last() -> None:
            self._parts(p.at(d, None, full * block), [(0, rest), *inner])

        if not divided:
            with self.b.loop(0, full * block, block) as f:
                self._parts(p.at(d, f.counter), [(0, block), *inner])
            if rest:
                last()
            return
        with self.b.loop(0, full * block + (block if rest else 0), block, "parallel") as f:
            self._whole_or_last(f.counter, full * block, rest > 0,
                                lambda: self._parts(p.at(d, f.counter), [(0, block), *inner]),
                                last)

    def _whole_or_last(self, counter: KValue, end: int, has_last: bool,
                       whole: Callable[[], None], last: Callable[[], None]) -> None:
        """Inside a parallel loop the odd last turn is told apart by a branch."""
        if not has_last:
            whole()
            return
        with self.b.if_(self.b.binary("lt", counter, end)) as branch:
            whole()
        with self.b.otherwise(branch):
            last()

    def _parts(self, p: Point, spans: list[tuple[int, int]]) -> None:
        """All panels, for one block of k after the other."""
        blocks = self.divided
        if blocks is None:
            self._panels(p, spans)
            return
        k, = self.k
        whole = [replace(k, extent=blocks.size)]
        self.part = Part(whole, 0, True, False)
        self._panels(p, spans)
        if blocks.count > 2:
            with self.b.loop(1, blocks.count - 1) as f:
                self.part = Part(whole, f.counter, False, False)
                self._panels(p, spans)
        self.part = Part([replace(k, extent=blocks.rest)], blocks.count - 1, False, True)
        self._panels(p, spans)

    def _panels(self, p: Point, spans: list[tuple[int, int]]) -> None:
        v, tile = self.product.vector, self.tile
        full, rest = divmod(self.nest.domain[v], tile.width)
        if self.threads > 1 and full + (rest > 0) > 1:
            self.threads = 1
            with self.b.loop(0, full + (rest > 0), kind="parallel") as f:
                self._panel(p, spans, f.counter)
            return
        if full == 1:
            self._tiles(p.at(v, None).over(v, tile.lanes), spans, tile.vectors, None)
        elif full:
            with self.b.loop(0, full) as f:
                self._whole_panel(p, spans, self._there_and_back(f.counter, full))
        if rest:
            self._last_panel(p, spans)

    def _there_and_back(self, counter: KValue, count: int) -> KValue:
        """Backwards in every other turn of the loop around: what was read last is read first then,
        while a cache that is too small for all of it still has it. With 1 MB of weights and as much
        L2 a step of an LSTM takes 0.87 of its time."""
        if self.nest.turn is None or not self.streams:
            return counter
        b = self.b
        odd = b.binary("mod", b.load(self.coder.parameter(self.nest.turn), 0, 1), b.const(2))
        return b.add(counter, b.mul(odd, b.binary("sub", b.const(count - 1),
                                                  b.mul(counter, 2))))

    def _panel(self, p: Point, spans: list[tuple[int, int]], counter: KValue) -> None:
        """One of the panels, the odd last one included."""
        full, rest = divmod(self.nest.domain[self.product.vector], self.tile.width)
        self._whole_or_last(counter, full, rest > 0, lambda: self._whole_panel(p, spans, counter),
                            lambda: self._last_panel(p, spans))

    def _whole_panel(self, p: Point, spans: list[tuple[int, int]], counter: KValue) -> None:
        v, tile = self.product.vector, self.tile
        at = p.at(v, self.b.mul(counter, tile.width)).over(v, tile.lanes)
        self._tiles(at, spans, tile.vectors, counter)

    def _last_panel(self, p: Point, spans: list[tuple[int, int]]) -> None:
        v, tile = self.product.vector, self.tile
        full, rest = divmod(self.nest.domain[v], tile.width)
        at = p.at(v, None, full * tile.width).over(v, tile.lanes)
        self._tiles(at, spans, -(-rest // tile.lanes), None)

    def _tiles(self, p: Point, spans: list[tuple[int, int]], vectors: int,
               panel: KValue | None) -> None:
        """All row tiles of a panel. Spans: for each row dim where it starts in p and its length."""
        sizes = [self.tile.outer, self.tile.inner] if len(self.rows) > 1 else [self.tile.inner]
        counts = [sum(n for n, _ in runs(span[1], size)) for span, size in zip(spans, sizes)]
        tiles = math.prod(counts)

        def over(level: int, q: Point, shape: tuple[int, ...], number: KValue | int) -> None:
            """number: of the first of these tiles."""
            if level == len(self.rows):
                self._tile(q, shape, vectors, panel, (number, tiles))
                return
            d, start, inside = self.rows[level], 0, math.prod(counts[level + 1:])
            for count, size in runs(spans[level][1], sizes[level]):
                if count == 1:
                    over(level + 1, q.shifted(d, start), (*shape, size), number)
                else:
                    with self.b.loop(start, start + count * size, size) as f:
                        base = q.counters[d]
                        counter = f.counter if base is None else self.b.add(base, f.counter)
                        now = number
                        if self.fetches and panel is not None:
                            turn = self.b.binary("sub", f.counter, start)
                            turn = self.b.binary("floordiv", turn, size)
                            now = self.b.add(self.b.mul(turn, inside), number)
                        over(level + 1, q.at(d, counter, q.offsets[d]), (*shape, size), now)
                start += count * size
                if isinstance(number, int):
                    number += count * inside
                else:
                    number = self.b.add(number, count * inside)

        over(0, p, (), 0)

    # One tile

    def _tile(self, p: Point, shape: tuple[int, ...], vectors: int, panel: KValue | None,
              among: tuple[KValue | int, int] = (0, 1)) -> None:
        """among: the tile's number, and how many tiles the panel has."""
        b, lanes = self.b, self.tile.lanes
        offsets = [{}]
        for d, size in zip(self.rows, shape):
            offsets = [{**o, d: i} for o in offsets for i in range(size)]
        masks = [self._mask(p, j) for j in range(vectors)]
        a_base, a_offset = self._base(self.a, p, self.runs)
        b_base, b_offset = self._b_base(p, panel)
        zero = b.const(0, self.product.dtype, lanes)
        ahead = self._lines_ahead(*among) if self.fetches and panel is not None else (0, ())

        def step(a_at: KValue | int, b_at: KValue | int, a_more: int, b_more: int,
                 accs: list[KValue]) -> list[KValue]:
            columns = []
            for j in range(vectors):
                mask = None if self.packed else masks[j]
                columns.append(self._columns(b_at, b_offset + b_more, j, mask))
            for start in ahead[1]:
                b.prefetch(self.coder.parameter(self.b_.memory), self.b.add(b_at, ahead[0]),
                           b_offset + b_more + self.panel_step + start)
            out = []
            for r, o in enumerate(offsets):
                row = a_offset + a_more + sum(i * self.a.stride(d) for d, i in o.items())
                if not self.runs:
                    one = self._row(a_at, row)
                for j in range(vectors):
                    if self.runs:
                        one = self._factor(self.a, a_at, row + j * lanes, lanes, masks[j])
                    out.append(self._multiply_add(one, columns[j], accs[r * vectors + j]))
            return out

        part, store, address = self.part, self.nest.store, self.nest.address
        columns = [p.shifted(self.product.vector, j * lanes).over(self.product.vector, lanes, mask)
                   for j, mask in enumerate(masks)]
        rows = list(zip(self.rows, shape))
        accs = [zero] * (len(offsets) * vectors)
        if not part.first:  # what is added at the end comes from far away
            for q in tile_points(columns, rows):
                self.coder.prefetch(store, address, q)
        if self.divided is not None:
            a_base, a_offset = self._moved(a_base, a_offset, part.number, self.divided.a)
            b_base, b_offset = self._moved(b_base, b_offset, part.number, self.divided.b)
        accs = self._sum(list(part.k), a_base, b_base, 0, 0, accs, step)
        if not part.first:
            accs = [b.add(self.coder.load(store, address, q), v)
                    for v, q in zip(accs, tile_points(columns, rows))]
        finish_tile(self.nest, self.coder, self.target, rows, columns, accs, part.last)

    def _lines_ahead(self, number: KValue | int, tiles: int) -> tuple[KValue | int, range]:
        """Which lines of a step of the next panel a tile asks for: all tiles together ask for all,
        each for a part, as memory gives them no faster. A start, and places from there."""
        line = _LINE // self.b_.memory.dtype.bytes
        lines = -(-self.tile.width // line)
        each = -(-lines // tiles)
        parts = -(-lines // each)
        if isinstance(number, int):
            start: KValue | int = number % parts * each * line
        elif parts == 1:
            start = 0
        else:
            start = self.b.mul(self.b.binary("mod", number, parts), each * line)
        return start, range(0, each * line, line)

    def _columns(self, at: KValue | int, offset: Number, j: int, mask: KValue | None) -> KValue:
        """Vector j of b."""
        return self._factor(self.b_, at, offset + j * self.tile.lanes, self.tile.lanes, mask)

    def _row(self, at: KValue | int, offset: Number) -> KValue:
        """A number of a, in every lane."""
        return self.b.broadcast(self._factor(self.a, at, offset, 1, None), self.tile.lanes)

    def _mask(self, p: Point, j: int) -> KValue | None:
        """Lanes of vector j within the columns; None when all are. Only the last panel's position
        is a constant, and only it can have lanes beyond the end."""
        v, lanes = self.product.vector, self.tile.lanes
        if p.counters[v] is not None:
            return None
        left = self.nest.domain[v] - p.offsets[v] - j * lanes
        return None if left >= lanes else self.b.first_lanes(left, lanes)

    def _base(self, operand: Operand, p: Point, along: bool) -> tuple[KValue | int, Number]:
        """Address of an operand at the tile's first element: a register and a constant."""
        base: KValue | int = self.coder.within(operand.memory, 0)
        constant = operand.offset
        for d in range(self.nest.parallel):
            stride = operand.stride(d)
            if not stride or (d == self.product.vector and not along):
                continue
            constant += stride * p.offsets[d]
            if p.counters[d] is not None:
                part = self.coder.times(p.counters[d], stride)
                base = part if isinstance(base, int) else self.b.add(base, part)
        return base, constant

    def _b_base(self, p: Point, panel: KValue | None) -> tuple[KValue | int, int]:
        if not self.packed:
            return self._base(self.b_, p, True)
        base, constant = self._base(self.b_, p, False)
        width, more = self.tile.width, self.tiles_a_panel
        if panel is not None:
            if more == 1:
                part = self.b.mul(panel, self.panel_step)
            else:
                whole = self.b.mul(self.b.binary("floordiv", panel, more), self.panel_step)
                part = self.b.add(whole, self.b.mul(self.b.binary("mod", panel, more), width))
            return (part if isinstance(base, int) else self.b.add(base, part)), constant
        number = p.offsets[self.product.vector] // width
        return base, constant + number // more * self.panel_step + number % more * width

    def _factor(self, operand: Operand, base: KValue | int, offset: Number, lanes: int,
                mask: KValue | None) -> KValue:
        base, offset = self.coder.plus(base, offset)
        v = self.b.load(self.coder.parameter(operand.memory), base, lanes, offset, mask)
        return self.b.cast(v, self.product.dtype)

    def _multiply_add(self, x: KValue, y: KValue, acc: KValue) -> KValue:
        if self.product.dtype.is_float:
            return self.b.fma(x, y, acc)
        return self.b.add(acc, self.b.mul(x, y))

    def _sum(self, dims: list[KDim], a_at, b_at, a_more: int, b_more: int, accs, step):
        """Runs `step` over all reduced dims; short ones are unrolled."""
        if not dims:
            return step(a_at, b_at, a_more, b_more, accs)
        k, rest = dims[0], dims[1:]
        steps = numel(d.extent for d in dims)
        if isinstance(steps, int) and steps <= SHORT:
            for i in range(k.extent):
                accs = self._sum(rest, a_at, b_at, a_more + i * k.a, b_more + i * k.b, accs, step)
            return accs
        unroll = self._unroll(k, rest, len(accs) if self.streams else 0)
        with self.b.loop(0, self.coder.size(k.extent), unroll, carried=accs) as f:
            a_now = self._advance(a_at, f.counter, k.a)
            b_now = self._advance(b_at, f.counter, k.b)
            now = f.carried
            for i in range(unroll):
                now = self._sum(rest, a_now, b_now, a_more + i * k.a, b_more + i * k.b, now, step)
            f.yields = now
        return f.results

    def _unroll(self, k: KDim, rest: list[KDim], columns: int) -> int:
        """How many steps a turn of the innermost loop takes. columns: vectors of b a step, where
        waiting for them is what the loop does (one row), 0 where it multiplies."""
        if rest:
            return 1
        most = max(1, _TRACKED_LOADS // columns) if columns else 4
        return next(u for u in (4, 3, 2, 1) if u <= most and divides(u, k.extent))

    def _moved(self, at: KValue | int, offset: int, number: KValue | int,
               by: int) -> tuple[KValue | int, int]:
        """An address `number` times `by` elements on."""
        if isinstance(number, int):
            return at, offset + number * by
        return self._advance(at, number, by), offset

    def _advance(self, at: KValue | int, counter: KValue, stride: Number) -> KValue:
        part = self.coder.times(counter, stride)
        return part if isinstance(at, int) and at == 0 else self.b.add(part, at)
