"""Schedules nests over sizes that are known only at run time.

The loops of loops.py, but for bounds that the kernel computes when it begins: what is left of a
vector dim is done under a mask that it computes, too. Sums of f32 over such sizes run in f64 where
they are added up one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from lowering import expr as E
from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.loops import Loops, Scheduled, flops_a_point, neutral_element, ordered
from lowering.schedule.nest import Nest
from lowering.schedule.running import Running, running_loop
from lowering.schedule.spread import ceiling, is_worth_threads, product_of, spread
from lowering.schedule.scan import accumulator, combine
from lowering.schedule.storage import Storage
from lowering.sizes import Size, nominal
from lowering.tensor_ir import Scan, Value
from llvm_backend.kernel import KValue
from llvm_backend.target import Target
from runtime.dtypes import f32, f64


def schedule_dynamic(nests: list[Nest], storages: Mapping[Value, Storage], target: Target,
                     name: str) -> Scheduled:
    """One kernel that runs nests with Sizes one after another; `storages` tells where the Values
    of these are."""
    coder = Coder(name, (), storages)
    for nest in nests:
        nest = ordered(nest.without_unit_dims()).collapsed()
        coder.algebra = nest.algebra
        _DynamicLoops(nest, target, coder, len(nests) == 1).emit()
        coder.kernel.flops += nominal(nest.points) * flops_a_point(nest)
    return coder.kernel, coder.memory


def schedule_dynamic_scan(op: Scan, storages: Mapping[Value, Storage], target: Target,
                          name: str) -> Scheduled:
    """The kernel of a Scan of a tensor of a run-time size: one element after the other, rows that
    lie side by side together."""
    coder = Coder(name, op.x.shape, storages)
    b, x, out = coder.b, storages[op.x], storages[op.out]
    i = E.identity(op.x.ndim)
    bounds = [coder.size(n) for n in op.x.shape]
    working = accumulator(op.x.dtype, op.combiner)
    lanes = target.lanes(max(working.bytes, op.x.dtype.bytes, op.out.dtype.bytes, 4))
    side = next((d for d in range(op.x.ndim) if d != op.dim and lanes > 1 and op.x.shape[d] != 1
                 and x.strides[d] == 1 and out.strides[d] == 1), None)

    def over(dims: list[int], p: Point) -> None:
        if dims:
            with b.loop(0, bounds[dims[0]]) as f:
                over(dims[1:], p.at(dims[0], f.counter))
        elif side is None:
            scan(p)
        else:
            strip(p, b.index(bounds[side]))

    def strip(p: Point, n: KValue) -> None:
        rest = b.binary("irem", n, lanes)
        whole = b.binary("sub", n, rest)
        with b.loop(0, whole, lanes) as f:
            scan(p.at(side, f.counter).over(side, lanes))
        if target.masked:
            with b.if_(b.binary("gt", rest, 0)):
                scan(p.at(side, whole).over(side, lanes, b.first_lanes(rest, lanes)))
            return
        with b.loop(whole, n) as f:
            scan(p.at(side, f.counter))

    def scan(p: Point) -> None:
        start = b.const(neutral_element(op.combiner, working), working, p.lanes)
        with b.loop(0, bounds[op.dim], carried=[start]) as f:
            q = p.at(op.dim, f.counter)
            v = b.broadcast(b.cast(coder.load(x.buffer, x.address(i), q), working), p.lanes)
            f.yields = [combine(b, op.combiner, f.carried[0], v)]
            coder.store(out.buffer, out.address(i), b.cast(f.yields[0], op.out.dtype), q)

    over([d for d in range(op.x.ndim) if d not in (op.dim, side)], origin(op.x.ndim))
    return coder.kernel, coder.memory


class _DynamicLoops(Loops):
    span: tuple[KValue, KValue] | None = None  # the part of the vector dim that a turn is to do

    def emit(self) -> None:
        nest = self.nest
        dims = [d for d in range(nest.parallel) if d != self.vector]
        strips = self.vector is not None and self.vector < nest.parallel
        if not self.alone or self.target.threads == 1 or not (dims or strips) or 0 in nest.domain:
            super().emit()
            return
        b, p = self.b, origin(len(nest.domain))
        points = b.index(self.coder.size(nest.points))
        # What is cut: the innermost loop that is long, the vector's where the others are short.
        long = [d for d in dims if isinstance(nest.domain[d], Size) or nest.domain[d] >= _LONG]
        if strips and not long:
            cut, outer, inner = self.vector, dims, []
        else:
            cut = (long or dims)[-1]
            outer, inner = dims[:dims.index(cut)], dims[dims.index(cut) + 1:]
        length = b.index(self.bounds[cut])
        others = product_of(b, [self.bounds[d] for d in outer])
        wanted = ceiling(b, b.const(_PARTS_A_THREAD * self.target.threads), others)
        unit = _UNIT if cut == self.vector else 1
        part = b.mul(ceiling(b, ceiling(b, length, wanted), unit), unit)
        part = b.binary("max", b.select(is_worth_threads(b, points), part, length), 1)

        def turn(counters: list[KValue]) -> None:
            q = p
            for d, counter in zip(outer, counters):
                q = q.at(d, counter)
            begin = b.binary("mul", counters[-1], part)
            end = b.binary("min", length, b.binary("add", begin, part))
            if cut == self.vector:
                self.span = begin, end
                self._innermost(q)
                return
            with b.loop(begin, end) as f:
                self._over(inner, q.at(cut, f.counter), self._innermost)

        extents = [*(self.bounds[d] for d in outer), ceiling(b, length, part)]
        spread(b, extents, points, self.target.threads, turn)

    def _strip(self, d: int, p: Point, body) -> None:
        n, b, lanes = self.bounds[d], self.b, self.lanes
        if isinstance(n, int) and self.span is None:
            super()._strip(d, p, body)
            return
        begin, n = (0, n) if self.span is None else self.span
        rest = b.binary("irem", n, lanes)
        whole = b.binary("sub", n, rest)
        with b.loop(begin, whole, lanes) as f:
            body(p.at(d, f.counter).over(d, lanes))
        if self.target.masked:
            with b.if_(b.binary("gt", rest, 0)):
                body(p.at(d, whole).over(d, lanes, b.first_lanes(rest, lanes)))
            return
        with b.loop(whole, n) as f:
            body(p.at(d, f.counter).over(None, 1))

    def _reduced(self, p: Point) -> KValue:
        nest, dims = self.nest, range(self.nest.parallel, len(self.nest.domain))
        long = nest.combiner in ("add", "mul") and any(
            isinstance(nest.domain[d], Size) for d in dims)
        if self.vector in dims or not (long and nest.body.dtype is f32):
            return super()._reduced(p)
        b = self.b

        def step(q: Point, carried: list[KValue]) -> list[KValue]:
            v = b.broadcast(b.cast(self.coder.value(nest.body, q), f64), q.lanes)
            return [b.binary(nest.combiner, carried[0], v)]

        inits = [b.const(neutral_element(nest.combiner, f64), f64, p.lanes)]
        return b.cast(self._fold(list(dims), p, inits, step)[0], f32)

    def _horizontal(self, dims: list[int], p: Point, neutral) -> KValue:
        d, lanes, b = self.vector, self.lanes, self.b
        n = self.bounds[d]
        if isinstance(n, int):
            return super()._horizontal(dims, p, neutral)
        running = Running(b, self.nest.combiner, b.const(neutral, self.nest.body.dtype, lanes))
        rest = b.binary("irem", n, lanes)
        whole = b.binary("sub", n, rest)
        block = b.binary("sub", whole, b.binary("irem", whole, _WAYS * lanes))

        def joined(points: list[Point], carried: list[KValue]) -> list[KValue]:
            values = self._bodies(points, lanes)
            return sum(map(running.joined, running.of(carried), values), [])

        def row(q: Point, carried: list[KValue]) -> list[KValue]:
            def side_by_side(i: KValue, c: list[KValue]) -> list[KValue]:
                at = q.at(d, i).over(d, lanes)
                return joined([at.shifted(d, w * lanes) for w in range(_WAYS)], c)

            states = running.of(running_loop(b, block, _WAYS * lanes, carried, self._adds(),
                                             side_by_side))
            with b.loop(block, whole, lanes, carried=states[0]) as f:
                f.yields = joined([q.at(d, f.counter).over(d, lanes)], f.carried)
            states[0] = list(f.results)
            v = self._rest(q, q.at(d, whole), (whole, n), rest, neutral)
            states[0] = running.joined(states[0], v)
            return sum(states, [])

        return running.whole(self._fold(dims, p, running.start * _WAYS, row))


_LONG = 16  # loops shorter than that are not cut
_UNIT = 64  # parts of a vector dim are whole cache lines
_PARTS_A_THREAD = 4
_WAYS = 4  # running vectors, which hide the latency of the sum
