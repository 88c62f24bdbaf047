"""Schedules nests over sizes that are known only at run time.

The same loops as loops.py, but for bounds that the kernel reads when it begins. Lanes run over the
last parallel dim where the store and all loads step through it by one or not at all; sums of f32
over such a size run in f64, since they are added up one by one.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.schedule.codegen import Coder, Point, affine_in, origin
from lowering.schedule.loops import Scheduled, _Loops, neutral_element
from lowering.schedule.nest import Nest
from lowering.schedule.scan import accumulator, combine
from lowering.schedule.storage import Storage
from lowering.sizes import Size
from lowering.tensor_ir import Scan, Value
from llvm_backend.kernel import KValue
from llvm_backend.target import Target
from runtime.dtypes import f32, f64


def schedule_dynamic(nest: Nest, storages: dict[Value, Storage], target: Target,
                     name: str) -> Scheduled:
    """One serial kernel for a nest whose domain has Sizes; `storages` tells where their Values
    are."""
    coder = Coder(name, nest.domain, storages)
    _DynamicLoops(nest, target, coder).emit()
    return coder.kernel, coder.memory


def schedule_dynamic_scan(op: Scan, storages: dict[Value, Storage], name: str) -> Scheduled:
    """The kernel of a Scan of a tensor of a run-time size: one element after the other."""
    coder = Coder(name, op.x.shape, storages)
    b, x, out = coder.b, storages[op.x], storages[op.out]
    i = E.identity(op.x.ndim)
    bounds = [coder.size(n) for n in op.x.shape]
    working = accumulator(op.x.dtype, op.combiner)

    def over(dims: list[int], p: Point) -> None:
        if dims:
            with b.loop(0, bounds[dims[0]]) as f:
                over(dims[1:], p.at(dims[0], f.counter))
            return
        start = b.const(neutral_element(op.combiner, working), working)
        with b.loop(0, bounds[op.dim], carried=[start]) as f:
            q = p.at(op.dim, f.counter)
            v = b.cast(coder.load(x.buffer, x.address(i), q), working)
            f.yields = [combine(b, op.combiner, f.carried[0], v)]
            coder.store(out.buffer, out.address(i), b.cast(f.yields[0], op.out.dtype), q)

    over([d for d in range(op.x.ndim) if d != op.dim], origin(op.x.ndim))
    return coder.kernel, coder.memory


class _DynamicLoops(_Loops):
    def __init__(self, nest: Nest, target: Target, coder: Coder):
        self.bounds = [coder.size(n) for n in nest.domain]
        super().__init__(nest, target, coder, alone=False)

    def _vector_dim(self) -> int | None:
        nest, d = self.nest, self.nest.parallel - 1
        if d < 0 or nest.combiner in ("argmin", "argmax"):
            return None
        forms = [affine_in(a, nest.algebra)
                 for a in (nest.address, *(x.args[0] for x in nest.accesses()))]
        if any(form is None or form.get(d, 0) not in (0, 1) for form in forms):
            return None
        return d if forms[0].get(d) == 1 else None

    def _lanes(self) -> int:
        n = self.nest.domain[self.vector]
        dtypes = [x.dtype for e in (self.nest.body, self.nest.post) if e is not None
                  for x in E.walk(e)]
        lanes = max(1, self.target.vector_bytes // max(4, *(d.bytes for d in dtypes)))
        return lanes if isinstance(n, Size) else min(lanes, 1 << max(n, 1).bit_length() - 1)

    def emit(self) -> None:
        self.coder.parameter(self.nest.store, True)
        dims = [d for d in range(self.nest.parallel) if d != self.vector]
        self._over(dims, origin(len(self.nest.domain)), self._innermost)

    def _over(self, dims: list[int], p: Point, body, kind: str = "serial") -> None:
        if not dims:
            body(p)
            return
        with self.b.loop(0, self.bounds[dims[0]]) as f:
            self._over(dims[1:], p.at(dims[0], f.counter), body)

    def _strip(self, d: int, p: Point, body) -> None:
        b, n, lanes = self.b, self.bounds[d], self.lanes
        if lanes == 1:
            whole: int | KValue = 0
        else:
            if isinstance(n, int):
                whole = n - n % lanes
            else:
                whole = b.binary("sub", n, b.binary("irem", n, lanes))
            with b.loop(0, whole, lanes) as f:
                body(p.at(d, f.counter).over(d, lanes))
        with b.loop(whole, n) as f:
            body(p.at(d, f.counter).over(None, 1))

    def _fold(self, dims: list[int], p: Point, carried: list[KValue], step) -> list[KValue]:
        if not dims:
            return step(p, carried)
        with self.b.loop(0, self.bounds[dims[0]], carried=carried) as f:
            f.yields = self._fold(dims[1:], p.at(dims[0], f.counter), f.carried, step)
        return f.results

    def _reduced(self, p: Point) -> KValue:
        b, nest = self.b, self.nest
        dims = list(range(nest.parallel, len(nest.domain)))
        long = nest.combiner in ("add", "mul") and any(
            isinstance(nest.domain[d], Size) for d in dims)
        dtype = nest.body.dtype
        working = f64 if long and dtype is f32 else dtype

        def step(q: Point, carried: list[KValue]) -> list[KValue]:
            v = b.broadcast(b.cast(self.coder.value(nest.body, q), working), q.lanes)
            return [b.binary(nest.combiner, carried[0], v)]

        inits = [b.const(neutral_element(nest.combiner, working), working, p.lanes)]
        return b.cast(self._fold(dims, p, inits, step)[0], dtype)
