"""Schedules a Product whose rows are counted by sizes of run time: the tiles of contraction.py at
positions that the kernel computes.

A row of n results is covered by as many whole tiles as fit; what is left is done by the smallest
of a tile's halves, quarters and so on that holds it, or one more whole tile. It ends where the row
ends: it computes again what the tile before has computed, to the same values. Rows shorter than a
tile take as many of the largest part that is no longer than they are. So the bodies of a tile and
its halves, together twice a tile's code, serve all sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lowering import expr as E
from lowering.index_algebra import contiguous_strides
from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.contraction import Contraction, with_packed_weights
from lowering.schedule.knobs import row_dims
from lowering.schedule.loops import Scheduled
from lowering.schedule.nest import Nest
from lowering.schedule.product import Product, factors, k_dims, match
from lowering.schedule.spread import ceiling, is_worth_threads, product_of, spread
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.schedule.tiles import Tile, choose_tile, tile_and_panel
from lowering.sizes import Number, Size, nominal
from lowering.tensor_ir import Value
from llvm_backend.kernel import KValue
from llvm_backend.target import Target


def schedule_dynamic_contraction(nest: Nest, storages: Mapping[Value, Storage], target: Target,
                                 name: str) -> list[Scheduled] | None:
    """The kernel of a sum of products over sizes of run time; None if the nest is none."""
    product = match(nest)
    if product is None:
        return None
    v = product.vector
    fixed = all(isinstance(product.nest.domain[d], int) for d in _dims_of_b(product))
    if not fixed and product.b.is_constant:
        return None
    if not product.b.is_constant and product.b.stride(v) != 1:
        return None
    rows = row_dims(product)
    extents = [product.nest.domain[d] for d in rows]
    columns = _likely(product.nest.domain[v])

    def choose(row: Target, panel: int) -> Tile:
        lanes = min(row.lanes(product.dtype.bytes), 1 << max(columns - 1, 0).bit_length())
        return choose_tile(_likely(extents[0]) if len(rows) > 1 else 1,
                           _likely(extents[-1]) if rows else 1, columns, lanes,
                           product.a.stride(v) == 1, row, panel)

    packed = product.b.is_constant
    tile, panel = tile_and_panel(choose, packed, target)
    if packed:
        product = with_packed_weights(product, panel, target)
    coder = Coder(name, product.nest.domain, storages)
    _DynamicContraction(product, rows, tile, panel if packed else 0, target, coder,
                        None).emit()
    return [(coder.kernel, coder.memory)]


def columns_together(nest: Nest) -> tuple[Value, Callable[[MemoryBuffer], Nest],
                                          Callable[[MemoryBuffer], Nest]] | None:
    """For a sum of products over sizes of run time whose columns are apart in memory: a copy of the
    factor with its columns side by side, what fills its memory, and the sum that reads it there.
    None for all other nests."""
    product = match(nest)
    if product is None or product.b.is_constant or product.b.stride(product.vector) == 1:
        return None
    if not row_dims(product):
        return None  # it reads all of the factor once, as the copy would
    nest, b, v = product.nest, product.b, product.vector
    outer = [d for d in range(nest.parallel) if b.stride(d) and d != v]
    dims = [*outer, *(d for d in k_dims(product)[1] if b.stride(d)), v]
    shape = tuple(nest.domain[d] for d in dims)
    load, store, address = E.const(b.offset), E.const(0), E.const(0)
    for k, (d, stride) in enumerate(zip(dims, contiguous_strides(shape))):
        load = load + E.index(k) * b.stride(d)
        store = store + E.index(k) * stride
        address = address + E.index(d) * stride
    terms = {E.index(d): n for d, n in b.strides.items() if n}
    old = next(x for x in factors(nest.body) if x.attr is b.memory
               and nest.algebra.affine(x.args[0]) == (terms, b.offset))

    def copy(memory: MemoryBuffer) -> Nest:
        return Nest(shape, len(shape), E.load(b.memory, [load]), None, None, memory, store)

    def reading(memory: MemoryBuffer) -> Nest:
        new = E.load(memory, [address])
        return replace(nest, body=E.rewrite(nest.body, lambda x: new if x == old else None))

    return Value(shape, b.memory.dtype), copy, reading


def _dims_of_b(product: Product) -> list[int]:
    return [d for d in range(len(product.nest.domain)) if product.b.stride(d)]


def _likely(n: Number) -> int:
    """So many rows the tile is chosen for: a product of sizes is a long row, with little at its
    end; a short one has those of an image of 224 halved as often."""
    if not isinstance(n, Size):
        return n
    return 840 if any(len(m) > 1 for m in n.terms) else max(7, nominal(n) * 7 // 4)


@dataclass(frozen=True)
class _Strips:
    """How a row is covered: `count` tiles of `size` rows, tile t beginning at
    first + min(t * size, last)."""

    size: int
    count: KValue
    first: KValue
    last: KValue


def _halved(size: int) -> list[int]:
    """size, half of it, and so on until 1, rounded up."""
    return [size, *_halved((size + 1) // 2)] if size > 1 else [1]


class _DynamicContraction(Contraction):
    """Row dims whose extents are Sizes are covered by _Strips; columns counted by one have a last
    panel of masked stores."""

    left: KValue | None = None  # how many columns the panel has, where it is not a whole one

    def emit(self) -> None:
        b, nest, v, threads = self.b, self.nest, self.product.vector, self.target.threads
        outer = [d for d in range(nest.parallel) if d != v and d not in self.rows]
        columns = nest.domain[v]
        panels = 1 if isinstance(columns, Size) else -(-columns // self.tile.width)
        if threads == 1 or not (outer or self.rows or panels >= 4 * threads):
            super().emit()
            return
        self.threads = 1  # for what is inside the loop that is divided
        points = b.index(self.coder.size(nest.points))
        extents: list[KValue | int] = [self.coder.size(nest.domain[d]) for d in outer]
        length = block = None
        if self.rows:
            length = b.index(self.coder.size(nest.domain[self.rows[0]]))
            block = b.binary("min", self._rows_in_l2(), b.binary("max", length, 1))
            if panels < 4 * threads:
                block = b.select(is_worth_threads(b, points),
                                 self._even(length, block, product_of(b, extents)), block)
            extents.append(ceiling(b, length, block))
        if panels >= 4 * threads:
            extents.append(panels)

        def turn(counters: list[KValue]) -> None:
            p = origin(len(nest.domain))
            for d, counter in zip(outer, counters):
                p = p.at(d, counter)
            spans: list = []
            if self.rows:
                start = b.binary("mul", counters[len(outer)], block)
                p = p.at(self.rows[0], start)
                spans = [(0, b.binary("min", block, b.binary("sub", length, start))),
                         *((0, nest.domain[d]) for d in self.rows[1:])]
            if panels >= 4 * threads:
                self._panel(p, spans, counters[-1])
            else:
                self._panels(p, spans)

        spread(b, extents, points, threads, turn)

    def _even(self, extent: KValue, most: KValue, others: KValue) -> KValue:
        """Rows of a block, `most` of them at most, so that all threads have as much to do; others:
        how often there are so many rows."""
        b, threads = self.b, self.target.threads
        size = self.tile.outer if len(self.rows) > 1 else self.tile.inner
        wanted = ceiling(b, b.const(2 * threads), others)
        share = b.mul(ceiling(b, extent, b.mul(wanted, size)), size)
        count = ceiling(b, extent, b.binary("max", b.binary("min", most, share), 1))
        even = b.mul(ceiling(b, count, threads), threads)
        count = b.select(b.binary("ge", others, threads), count, even)
        return b.binary("max", ceiling(b, extent, count), 1)

    def _rows_in_l2(self) -> KValue:
        """As many tiles of rows as fill half of the second-level cache."""
        b, d = self.b, self.rows[0]
        size = self.tile.outer if len(self.rows) > 1 else self.tile.inner
        step = b.index(self.coder.size(self.a.stride(d)))
        bytes_a_row = b.binary("max", b.mul(step, self.a.memory.dtype.bytes), 1)
        most = b.binary("idiv", b.const(self.target.l2 // 2), bytes_a_row)
        return b.mul(b.binary("max", b.binary("idiv", most, size), 1), size)

    def _panels(self, p: Point, spans: list) -> None:
        b, v, tile = self.b, self.product.vector, self.tile
        if isinstance(self.nest.domain[v], int):
            super()._panels(p, spans)
            return
        columns = b.index(self.coder.size(self.nest.domain[v]))
        left = b.binary("irem", columns, tile.width)
        with b.loop(0, b.binary("idiv", columns, tile.width)) as f:
            self._whole_panel(p, spans, f.counter)
        with b.if_(b.binary("gt", left, 0)):
            self.left = left
            at = p.at(v, b.binary("sub", columns, left)).over(v, tile.lanes)
            self._tiles(at, spans, tile.vectors, None)
            self.left = None

    def _mask(self, p: Point, j: int) -> KValue | None:
        if self.left is None:
            return super()._mask(p, j)
        lanes = self.tile.lanes
        return self.b.first_lanes(self.b.add(self.left, -j * lanes), lanes)

    def _blocks(self, p: Point) -> None:
        whole = isinstance(self.nest.domain[self.product.vector], int)
        if not self.rows or whole and all(
                isinstance(self.nest.domain[d], int) for d in self.rows):
            super()._blocks(p) if whole else self._panels(p, [])
            return
        d = self.rows[0]
        extent, b = self.coder.size(self.nest.domain[d]), self.b
        inner = [(0, self.nest.domain[self.rows[-1]])] if len(self.rows) > 1 else []
        block = self._rows_in_l2()
        count = ceiling(b, b.index(extent), block)
        with b.loop(0, count) as f:
            start = b.binary("mul", f.counter, block)
            length = b.binary("min", block, b.binary("sub", b.index(extent), start))
            self._parts(p.at(d, start), [(0, length), *inner])

    def _tiles(self, p: Point, spans: list, vectors: int, panel: KValue | None) -> None:
        if all(isinstance(n, int) for _, n in spans):
            super()._tiles(p, spans, vectors, panel)
            return
        sizes = [self.tile.outer, self.tile.inner] if len(self.rows) > 1 else [self.tile.inner]

        def over(level: int, q: Point, shape: tuple[int, ...]) -> None:
            if level == len(self.rows):
                self._tile(q, shape, vectors, panel)
                return
            d = self.rows[level]
            length = self.b.index(self.coder.size(spans[level][1])
                                  if not isinstance(spans[level][1], KValue) else spans[level][1])
            for s in self._strips(length, sizes[level]):
                with self.b.loop(0, s.count) as f:
                    at = self.b.binary("min", self.b.mul(f.counter, s.size), s.last)
                    at = self.b.binary("add", at, s.first)
                    base = q.counters[d]
                    counter = at if base is None else self.b.binary("add", base, at)
                    over(level + 1, q.at(d, counter, q.offsets[d]), (*shape, s.size))

        over(0, p, ())

    def _strips(self, n: KValue, size: int) -> list[_Strips]:
        b, zero, one = self.b, self.b.const(0), self.b.const(1)
        if size == 1 or not self._may_repeat():
            return [_Strips(1, n, zero, n)]
        sizes = _halved(size)
        whole, left = b.binary("idiv", n, size), b.binary("irem", n, size)
        fits = b.binary("ge", n, size)
        more = b.binary("and", fits, b.binary("gt", left, sizes[1]))
        found = [_Strips(size, b.add(whole, b.select(more, one, zero)), zero,
                         b.binary("sub", n, size))]
        for larger, s, smaller in zip(sizes, sizes[1:], [*sizes[2:], 0]):
            # One at the end of a row of whole tiles, or as many as a shorter row takes.
            end = b.binary("and", b.binary("gt", left, smaller), b.binary("le", left, s))
            short = b.binary("and", b.binary("ge", n, s), b.binary("lt", n, larger))
            count = b.select(fits, b.select(end, one, zero),
                             b.select(short, ceiling(b, n, s), zero))
            rest = b.binary("sub", n, s)
            found.append(_Strips(s, count, b.select(fits, rest, zero), b.select(fits, zero, rest)))
        return found

    def _may_repeat(self) -> bool:
        """Whether a result may be computed twice: nothing that is read lies where it is stored."""
        return all(x.attr is not self.nest.store for x in self.nest.accesses())
