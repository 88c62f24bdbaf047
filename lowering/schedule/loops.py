"""Schedules any nest as loops around one vectorised dim: pointwise ops, reductions, copies.

The dim that runs over lanes is the one that the store (or, in a reduction whose loads run along a
reduced dim, the loads) steps through by one. Loops follow the order of the store's strides, so
that memory is walked forwards; what is left of a vector dim is done under a mask, or one by one
on targets where masks are slow.
"""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.schedule.codegen import Coder, Point, affine_in, origin
from lowering.schedule.nest import Nest
from lowering.schedule.running import Running, added, running_loop, zeros
from lowering.schedule.storage import MemoryBuffer
from lowering.sizes import nominal, numel
from llvm_backend.kernel import Kernel, KValue
from llvm_backend.target import Target
from runtime.dtypes import DType, bool_, i64

Scheduled = tuple[Kernel, list[MemoryBuffer]]
PARALLEL_POINTS = 1 << 15  # so many are worth waking threads


def schedule_loops(nests: list[Nest], target: Target, name: str) -> Scheduled:
    """One kernel that runs the nests one after another, and the memories it takes, in order."""
    coder = Coder(name, ())
    for nest in nests:
        nest = ordered(nest.without_unit_dims()).collapsed()
        if len(nests) == 1:
            nest = _divided(nest, target)
        coder.algebra = nest.algebra
        Loops(nest, target, coder, len(nests) == 1).emit()
        coder.kernel.flops += nest.points * flops_a_point(nest)
    return coder.kernel, coder.memory


def emit_loops(nest: Nest, target: Target, coder: Coder) -> None:
    """A nest's loops as a part of a kernel."""
    nest = ordered(nest.without_unit_dims()).collapsed()
    coder.algebra = nest.algebra
    Loops(nest, target, coder, False).emit()


def flops_a_point(nest: Nest) -> int:
    """Arithmetic of the body, for reports."""
    return sum(1 for x in E.walk(nest.body)
               if x.dtype.is_float and x.op not in ("load", "const", "cast"))


def ordered(nest: Nest) -> Nest:
    """Parallel dims by the store's strides, reduced dims by the loads', outermost first."""
    store = affine_in(nest.address, nest.algebra) or {}
    loads: dict[int, int] = {}
    for x in nest.accesses():
        for d, k in (affine_in(x.args[0], nest.algebra) or {}).items():
            loads[d] = max(loads.get(d, 0), abs(nominal(k)))
    parallel = sorted(range(nest.parallel), key=lambda d: (-abs(nominal(store.get(d, 0))), d))
    reduced = sorted(range(nest.parallel, len(nest.domain)),
                     key=lambda d: (-loads.get(d, 0), d))
    if nest.combiner in ("argmin", "argmax"):  # positions count the reduced dims in their order
        reduced = list(range(nest.parallel, len(nest.domain)))
    return nest.permuted(tuple(parallel + reduced))


def worth_threads(points: int, target: Target) -> bool:
    """Whether a loop over so many points is divided among threads; below, waking them costs
    more."""
    return target.threads > 1 and points >= PARALLEL_POINTS


def _divided(nest: Nest, target: Target) -> Nest:
    """A single long parallel dim in two, so that the outer one can be divided among threads."""
    if nest.parallel != 1 or len(nest.domain) != 1 or not worth_threads(nest.points, target):
        return nest
    n = nest.domain[0]
    for parts in range(64, target.threads - 1, -1):
        if n % (parts * 64) == 0:
            return nest.map((parts, n // parts), 2, (E.index(0) * (n // parts) + E.index(1),))
    return nest


class Loops:
    """One kernel's worth of state. `bounds`: the extents, as operands."""

    def __init__(self, nest: Nest, target: Target, coder: Coder, alone: bool):
        self.nest, self.target, self.coder, self.b = nest, target, coder, coder.b
        self.bounds = [coder.size(n) for n in nest.domain]
        self.alone = alone  # in its kernel: only then its outermost loop may be a parallel one
        self.vector = self._vector_dim()
        self.lanes = self._lanes() if self.vector is not None else 1

    def _vector_dim(self) -> int | None:
        nest = self.nest
        if not nest.domain or 0 in nest.domain:
            return None
        score: dict[int, float] = {}
        store = affine_in(nest.address, nest.algebra) or {}
        accesses = [x.args[0] for x in nest.accesses()]
        for d, n in enumerate(nest.domain):
            if d >= nest.parallel and nest.combiner in ("argmin", "argmax"):
                continue
            good = 0.0
            for a in accesses:
                form = affine_in(a, nest.algebra)
                k = None if form is None else form.get(d, 0)
                good += {1: 1.0, 0: 0.5}.get(k, -2.0)
            if d < nest.parallel:
                good += {1: 1.5, 0: -4.0}.get(store.get(d, 0), -2.0)
            score[d] = good * min(1.0, nominal(n) / 16) if good > 0 else good
        if not score:
            return None
        best = max(score, key=lambda d: (score[d], d))
        return best if nominal(nest.domain[best]) > 1 else None

    def _lanes(self) -> int:
        dtypes: list[DType] = [self.nest.store.dtype, self.nest.body.dtype]
        dtypes += [x.dtype for e in (self.nest.body, self.nest.post) if e is not None
                   for x in E.walk(e) if x.op in ("load", "cast") and x.dtype is not i64]
        widest = max(max(d.bytes for d in dtypes), 4)
        if all(d is i64 for d in dtypes):
            widest = 8
        lanes = max(1, self.target.vector_bytes // widest)
        n = self.nest.domain[self.vector]
        return min(lanes, 1 << max(n - 1, 0).bit_length()) if isinstance(n, int) else lanes

    # Loops

    def emit(self) -> None:
        if 0 in self.nest.domain[: self.nest.parallel]:
            self.coder.parameter(self.nest.store, True)
            return
        dims = [d for d in range(self.nest.parallel) if d != self.vector]
        divided = self.alone and worth_threads(nominal(self.nest.points), self.target)
        kind = "parallel" if divided else "serial"
        self._over(dims, origin(len(self.nest.domain)), self._innermost, kind)

    def _over(self, dims: list[int], p: Point, body, kind: str = "serial") -> None:
        if not dims:
            body(p)
            return
        with self.b.loop(0, self.bounds[dims[0]], kind=kind) as f:
            self._over(dims[1:], p.at(dims[0], f.counter), body)

    def _innermost(self, p: Point) -> None:
        if self.vector is None or self.vector >= self.nest.parallel:
            self._element(p)
            return
        self._strip(self.vector, p, self._element)

    def _strip(self, d: int, p: Point, body) -> None:
        """Runs body over dim d, lanes at a time, then what is left of it."""
        n, lanes = self.nest.domain[d], self.lanes
        whole = n - n % lanes
        if whole == lanes:
            body(p.at(d, None).over(d, lanes))
        elif whole:
            with self.b.loop(0, whole, lanes) as f:
                body(p.at(d, f.counter).over(d, lanes))
        if n == whole:
            return
        if self.target.masked:
            mask = self.b.first_lanes(n - whole, lanes)
            body(p.at(d, None, whole).over(d, lanes, mask))
            return
        with self.b.loop(whole, n) as f:
            body(p.at(d, f.counter).over(None, 1))

    # Elements

    def _element(self, p: Point) -> None:
        if self.nest.combiner is None:
            self._store(self.coder.value(self.nest.body, p), p)
        elif self.nest.combiner in ("argmin", "argmax"):
            self._store(self._position(p), p)
        else:
            self._store(self._reduced(p), p)

    def _store(self, v: KValue, p: Point) -> None:
        if self.nest.post is not None:
            v = self.coder.value(self.nest.post, p, self.b.broadcast(v, p.lanes))
        self.coder.store(self.nest.store, self.nest.address, v, p)

    def _reduced(self, p: Point) -> KValue:
        dtype, combiner = self.nest.body.dtype, self.nest.combiner
        neutral = neutral_element(combiner, dtype)
        dims = list(range(self.nest.parallel, len(self.nest.domain)))
        horizontal = self.vector in dims
        if horizontal:
            dims.remove(self.vector)
        lanes = self.lanes if horizontal else p.lanes
        if horizontal:
            return self._horizontal(dims, p, neutral)
        inits = [self.b.const(neutral, dtype, lanes)]
        return self._fold(dims, p, inits, lambda q, c: [
            self.b.binary(combiner, c[0], v) for v in self._bodies([q], lanes)])[0]

    def _fold(self, dims: list[int], p: Point, carried: list[KValue], step) -> list[KValue]:
        """Loops over dims around step(point, carried) -> carried. What an outer loop sums up are
        the sums of inner ones."""
        if not dims:
            return step(p, carried)
        d, *inner = dims
        adds = self._adds()
        apart = adds and bool(inner) and nominal(numel(self.nest.domain[k] for k in inner)) > 16

        def turn(counter: KValue, so_far: list[KValue]) -> list[KValue]:
            q = p.at(d, counter)
            if not apart:
                return self._fold(inner, q, so_far, step)
            return added(self.b, so_far, self._fold(inner, q, zeros(self.b, so_far), step))

        return running_loop(self.b, self.bounds[d], 1, carried, adds, turn)

    def _adds(self) -> bool:
        return self.nest.combiner == "add" and self.nest.body.dtype.is_float

    def _bodies(self, points: list[Point], lanes: int) -> list[KValue]:
        """The body's values at several points, stored where they are to be kept."""
        values = self.coder.values(self.nest.body, points, [None] * len(points))
        values = [self.b.broadcast(v, lanes) for v in values]
        if self.nest.kept is not None:
            for v, p in zip(values, points):
                self.coder.store(*self.nest.kept, v, p)
        return values

    def _horizontal(self, dims: list[int], p: Point, neutral) -> KValue:
        """Lanes run along a reduced dim: several running vectors hide the latency of the sum."""
        d, lanes, b = self.vector, self.lanes, self.b
        dtype, combiner = self.nest.body.dtype, self.nest.combiner
        n = self.nest.domain[d]
        whole = n - n % lanes
        ways = max(1, min(4, whole // lanes))
        block = whole - whole % (ways * lanes)
        vector_neutral = b.const(neutral, dtype, lanes)
        running = Running(b, combiner, vector_neutral)

        def side_by_side(q: Point, carried: list[KValue]) -> list[KValue]:
            values = self._bodies([q.shifted(d, w * lanes) for w in range(ways)], lanes)
            return sum(map(running.joined, running.of(carried), values), [])

        def row(q: Point, carried: list[KValue]) -> list[KValue]:
            states = running.of(carried)
            if block:
                states = running.of(running_loop(
                    b, block, ways * lanes, carried, self._adds(),
                    lambda i, c: side_by_side(q.at(d, i).over(d, lanes), c)))
            for start in range(block, whole, lanes):
                w = (start - block) // lanes
                v, = self._bodies([q.at(d, None, start).over(d, lanes)], lanes)
                states[w] = running.joined(states[w], v)
            if n > whole:
                rest = self._rest(q, q.at(d, None, whole), (whole, n), n - whole, neutral)
                states[0] = running.joined(states[0], rest)
            return sum(states, [])

        inits = running.start * ways
        return running.whole(self._fold(dims, p, inits, row))

    def _rest(self, q: Point, at: Point, span: tuple, count: int | KValue, neutral) -> KValue:
        """The `count` elements behind a row's whole vectors, at `at`, in one vector: those from
        span[0] to span[1] of `q`'s row. Lanes that have none hold `neutral`."""
        d, lanes, b, dtype = self.vector, self.lanes, self.b, self.nest.body.dtype
        if self.target.masked:
            mask = b.first_lanes(count, lanes)
            v, = self._bodies([at.over(d, lanes, mask)], lanes)
            return b.select(mask, v, b.const(neutral, dtype, lanes))
        with b.loop(*span, carried=[b.const(neutral, dtype)]) as f:
            v, = self._bodies([q.at(d, f.counter).over(None, 1)], 1)
            f.yields = [b.binary(self.nest.combiner, f.carried[0], v)]
        lane0 = b.binary("eq", b.iota(lanes), b.const(0, i64, lanes))
        return b.select(lane0, b.broadcast(f.results[0], lanes), b.const(neutral, dtype, lanes))

    def _position(self, p: Point) -> KValue:
        """argmin and argmax: the first position whose value beats the best so far."""
        b, dtype = self.b, self.nest.body.dtype
        dims = list(range(self.nest.parallel, len(self.nest.domain)))
        extents = [self.nest.domain[d] for d in dims]
        weights = [numel(extents[k + 1:]) for k in range(len(dims))]
        worst = neutral_element("max" if self.nest.combiner == "argmax" else "min", dtype)
        compare = "gt" if self.nest.combiner == "argmax" else "lt"
        inits = [b.const(worst, dtype, p.lanes), b.const(-1, i64, p.lanes)]

        def step(q: Point, carried: list[KValue]) -> list[KValue]:
            best, at = carried
            v = b.broadcast(self.coder.value(self.nest.body, q), p.lanes)
            position = b.const(0)
            for d, w in zip(dims, weights):
                counter = q.counters[d]
                position = b.add(position, self.coder.times(counter, w))
            better = b.binary(compare, v, best)
            none = b.binary("lt", at, b.const(0, i64, p.lanes))
            better = b.binary("or", better, none)
            if dtype.is_float:
                fresh = b.binary("and", b.binary("ne", v, v), b.binary("eq", best, best))
                better = b.binary("or", better, fresh)
            return [b.select(better, v, best),
                    b.select(better, b.broadcast(position, p.lanes), at)]

        return self._fold(dims, p, inits, step)[1]


def neutral_element(combiner: str, dtype: DType) -> int | float | bool:
    """What a reduction starts from."""
    if combiner in ("add", "or"):
        return False if dtype is bool_ else 0
    if combiner in ("mul", "and"):
        return True if dtype is bool_ else 1 if combiner == "mul" else -1
    if dtype.is_float:
        return -math.inf if combiner == "max" else math.inf
    if dtype is bool_:
        return combiner == "min"
    low = 0 if dtype.kind == "u" else -(1 << (dtype.bits - 1))
    high = (1 << dtype.bits) - 1 if dtype.kind == "u" else (1 << (dtype.bits - 1)) - 1
    return low if combiner == "max" else high

