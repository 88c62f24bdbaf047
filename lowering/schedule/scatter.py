"""Kernels of Scatter: writes whose place is computed, in row-major order, bounds checked.

The writes stay in order where two of them may meet. A dim that alone decides one coordinate of the
place (write[d] = k * index + c) separates the writes, so it may be walked in any order: it becomes
the innermost loop and fills the lanes. Without such a dim 'set' still fills lanes (the last lane
wins, as the last write does), and the other modes go one by one.
"""

from __future__ import annotations

from llvm_backend.kernel import Kernel, KValue
from llvm_backend.target import Target
from lowering import expr as E
from lowering.expr import Expr
from lowering.schedule.codegen import Coder, Point, affine_in, origin
from lowering.schedule.dynamic import schedule_dynamic
from lowering.schedule.loops import schedule_loops
from lowering.schedule.nest import Nest
from lowering.schedule.scan import combine
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.schedule.transpose import transpose_nest
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Scatter, Value
from runtime.dtypes import bf16, bool_, f16, f32, i64


def schedule_scatter(op: Scatter, storages: dict[Value, Storage], target: Target,
                     name: str) -> list[tuple[Kernel, list[MemoryBuffer]]]:
    """The kernels of a Scatter: one that copies the base, unless it lives where the result does,
    and one that writes. Where they share a storage the body must not read the base.

    add and mul round in the dtype after every write (f16 and bf16 through f32)."""
    if not is_dynamic(op.out.shape) and op.out.numel == 0:
        return []
    kernels = []
    base, out = storages[op.base], storages[op.out]
    if base != out:
        kernels.append(_copy(op, storages, target, name + "_base"))
    if 0 not in op.domain:
        coder = Coder(name, op.domain, storages)
        _Scatter(op, storages, target, coder).emit()
        kernels.append((coder.kernel, coder.memory))
    return kernels


def _copy(op: Scatter, storages: dict[Value, Storage], target: Target,
          name: str) -> tuple[Kernel, list[MemoryBuffer]]:
    shape, base, out = op.base.shape, storages[op.base], storages[op.out]
    i = E.identity(len(shape))
    nest = Nest(shape, len(shape), E.load(base.buffer, [base.address(i)]), None, None, out.buffer,
                out.address(i))
    if is_dynamic(shape):
        return schedule_dynamic([nest], storages, target, name)
    return transpose_nest(nest, target, name) or schedule_loops([nest], target, name)


class _Scatter:
    def __init__(self, op: Scatter, storages: dict[Value, Storage], target: Target, coder: Coder):
        self.op, self.target, self.coder, self.b = op, target, coder, coder.b
        self.algebra = coder.algebra
        memo: dict[Expr, Expr] = {}

        def flat(x: Expr) -> Expr | None:
            if x.op != "load":
                return None
            where = storages[x.attr]
            return E.load(where.buffer, [self.algebra.simplify(where.address(x.args))])

        self.write = tuple(self.algebra.simplify(E.rewrite(w, flat, memo)) for w in op.write)
        self.body = self.algebra.simplify(E.rewrite(op.body, flat, memo))
        where = storages[op.out]
        self.store = where.buffer
        self.address = self.algebra.simplify(where.address(self.write))
        self.bounds = [coder.size(n) for n in op.domain]
        sizes = [E.lift(n, i64) for n in op.base.shape]
        self.guards = [g for w, n in zip(self.write, sizes)
                       for g in (w >= 0, E.binary("lt", w, n)) if not self._holds(g)]
        self.vector = None if is_dynamic(op.domain) else self._vector_dim()
        self.lanes = 1
        if self.vector is not None:
            widest = max([4, op.out.dtype.bytes, *(x.dtype.bytes for e in (self.body, *self.write)
                                                   for x in E.walk(e) if x.op == "load")])
            n = op.domain[self.vector]
            self.lanes = min(max(1, target.lanes(widest)), 1 << (n - 1).bit_length())

    def _holds(self, guard: Expr) -> bool:
        g = self.algebra.simplify(guard)
        return g.is_const and bool(g.attr)

    # Which dim fills the lanes

    def _free(self, d: int) -> bool:
        """Dim d alone decides a coordinate of the place."""
        return any(set(affine_in(w, self.algebra) or ()) == {d} for w in self.write)

    def _vector_dim(self) -> int | None:
        free = [d for d, n in enumerate(self.op.domain) if n > 1 and self._free(d)]
        best = max(free, key=lambda d: (self._score(d), d), default=None)
        if best is not None and self._score(best) > 0:
            return best
        last = len(self.op.domain) - 1
        separate = any((affine_in(w, self.algebra) or {}).get(last) for w in self.write)
        if last >= 0 and self.op.domain[last] > 1 and (separate or self.op.mode == "set"):
            return last if self._score(last) > 0 else None
        return None

    def _score(self, d: int) -> float:
        """Above 0 where lanes pay: accesses that step by one, or gathers where they are cheap."""
        accesses = [self.address, *(x.args[0] for e in (self.body, *self.write)
                                    for x in E.loads(e))]
        good = 0
        for a in accesses:
            terms, _ = self.algebra.affine(a)
            apart = not any(_uses(t, d) for t in terms if t.op != "index")
            step = terms.get(E.index(d), 0) if apart else None
            if step not in (0, 1) and not self.target.masked:
                return 0.0
            good += step == 1
        return (0.5 + good) * min(1.0, self.op.domain[d] / 4)

    # Loops

    def emit(self) -> None:
        p = origin(len(self.op.domain))
        self._over([d for d in range(len(self.op.domain)) if d != self.vector], p)

    def _over(self, dims: list[int], p: Point) -> None:
        if dims:
            with self.b.loop(0, self.bounds[dims[0]]) as f:
                self._over(dims[1:], p.at(dims[0], f.counter))
        elif self.vector is None:
            self._guarded(p)
        else:
            self._strip(p)

    def _strip(self, p: Point) -> None:
        d, lanes = self.vector, self.lanes
        n = self.op.domain[d]
        whole = n - n % lanes
        if whole:
            with self.b.loop(0, whole, lanes) as f:
                self._guarded(p.at(d, f.counter).over(d, lanes))
        if n == whole:
            return
        if self.target.masked:
            mask = self.b.first_lanes(n - whole, lanes)
            self._guarded(p.at(d, None, whole).over(d, lanes, mask))
            return
        with self.b.loop(whole, n) as f:
            self._guarded(p.at(d, f.counter))

    def _guarded(self, p: Point) -> None:
        """One write of p.lanes elements: a branch around it where the guard is one bool, else a
        mask. The body's loads are within bounds whatever the guard says."""
        b, memo = self.b, {}
        condition: KValue | None = None
        for guard in self.guards:
            g = self.coder.value(guard, p, None, memo)
            if condition is not None:
                lanes = max(g.lanes, condition.lanes)
                g = b.binary("and", b.broadcast(condition, lanes), b.broadcast(g, lanes))
            condition = g
        if condition is None:
            self._write(p, memo)
        elif condition.lanes == 1:
            with b.if_(condition):
                self._write(p, memo)
        else:
            mask = condition if p.mask is None else b.binary("and", condition, p.mask)
            self._write(p, memo, mask)

    def _write(self, p: Point, memo: dict[Expr, list[KValue]], mask: KValue | None = None) -> None:
        """out[address] = combine(out[address], body) under p's mask, or under `mask`."""
        b, mode, dtype = self.b, self.op.mode, self.store.dtype
        v = b.broadcast(self.coder.value(self.body, p, None, memo), p.lanes)
        q = p if mask is None else p.over(p.vector, p.lanes, mask)
        if mode != "set":
            old = b.broadcast(self.coder.load(self.store, self.address, q), p.lanes)
            if dtype in (f16, bf16):
                old, v = b.cast(old, f32), b.cast(v, f32)
            v = b.cast(combine(b, mode, old, v), dtype)
        self.coder.store(self.store, self.address, v, q)


def _uses(e: Expr, d: int) -> bool:
    return any(x.op == "index" and x.attr == d for x in E.walk(e))
