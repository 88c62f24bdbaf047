"""Sorts rows whose length is known only at run time: merges of ever longer runs.

    runs of 1, 2, 4 ... records are merged in pairs, from one half of the scratch to the other
    the records of the last run give the positions, and the values are read by them

A merge that reaches the end of a run compares with that run's last record, which is never taken
again: the cursors tell whose turn it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from lowering import expr as E
from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.loops import Scheduled
from lowering.schedule.sort_records import Records
from lowering.schedule.storage import Storage
from lowering.tensor_ir import Sort, Value
from llvm_backend.kernel import KValue
from runtime.dtypes import i64


def scratch_values(op: Sort) -> list[Value]:
    """What the kernel needs beside the results: twice a row of records."""
    words = 1 if op.x.dtype.bits <= 32 else 2
    return [Value((op.x.shape[op.dim] * 2,), i64) for _ in range(words)]


def schedule_dynamic_sort(op: Sort, storages: Mapping[Value, Storage], scratch: list[Value],
                          name: str) -> Scheduled:
    """One serial kernel; results without a storage are not computed."""
    coder = Coder(name, op.x.shape, storages)
    _DynamicSort(op, storages, scratch, coder).emit()
    return coder.kernel, coder.memory


class _DynamicSort:
    def __init__(self, op: Sort, storages: Mapping[Value, Storage], scratch: list[Value],
                 coder: Coder):
        self.op, self.storages, self.coder, self.b = op, storages, coder, coder.b
        self.records = Records(coder.b, op.x.dtype, op.descending)
        self.scratch = [coder.parameter(storages[v].buffer, True) for v in scratch]
        self.bounds = [coder.size(n) for n in op.x.shape]
        self.n = self.b.index(self.bounds[op.dim])

    def emit(self) -> None:
        dims = [d for d in range(self.op.x.ndim) if d != self.op.dim]
        levels = self._levels()
        self._over(dims, origin(self.op.x.ndim), levels)

    def _levels(self) -> KValue:
        """How often runs are merged until one is left."""
        b = self.b
        with b.loop(0, 62, carried=[b.const(0)]) as f:
            longer = b.binary("lt", b.binary("shl", b.const(1), f.counter), self.n)
            f.yields = [b.add(f.carried[0], b.cast(longer, i64))]
        return f.results[0]

    def _over(self, dims: list[int], p: Point, levels: KValue) -> None:
        if dims:
            with self.b.loop(0, self.bounds[dims[0]]) as f:
                self._over(dims[1:], p.at(dims[0], f.counter), levels)
            return
        self._make(p)
        self._write(p, self._merge(levels))

    def _at(self, v: Value, p: Point, position: KValue) -> tuple:
        where = self.storages[v]
        return where.buffer, where.address(E.identity(v.ndim)), p.at(self.op.dim, position)

    def _make(self, p: Point) -> None:
        with self.b.loop(0, self.n) as f:
            x = self.coder.load(*self._at(self.op.x, p, f.counter))
            self.records.store(self.scratch, f.counter, self.records.make(x, f.counter))

    def _merge(self, levels: KValue) -> KValue:
        """Merges runs until one is left; returns where that starts."""
        b, n = self.b, self.n
        with b.loop(0, levels, carried=[b.const(1), b.const(0), n]) as level:
            length, source, target = level.carried
            double = b.mul(length, 2)
            pairs = b.binary("idiv", b.add(b.add(n, double), -1), double)
            with b.loop(0, pairs) as pair:
                low = b.mul(pair.counter, double)
                middle = b.binary("min", b.add(low, length), n)
                high = b.binary("min", b.add(low, double), n)
                with b.loop(low, high, carried=[low, middle]) as f:
                    f.yields = self._step(f.counter, f.carried, middle, high, source, target)
            level.yields = [double, target, source]
        return level.results[1]

    def _step(self, out: KValue, ends: list[KValue], middle: KValue, high: KValue, source: KValue,
              target: KValue) -> list[KValue]:
        """Moves the lesser of two runs' first records; the runs that are left."""
        b, records = self.b, self.records
        left, right = ends
        a = records.load(self.scratch, b.add(source, b.binary("min", left, b.add(middle, -1))))
        c = records.load(self.scratch, b.add(source, b.binary("min", right, b.add(high, -1))))
        over = b.binary("or", b.binary("ge", right, high), records.less(a, c))
        first = b.binary("and", b.binary("lt", left, middle), over)
        records.store(self.scratch, b.add(target, out), records.select(first, a, c))
        taken = b.cast(first, i64)
        return [b.add(left, taken), b.add(b.binary("sub", right, taken), 1)]

    def _write(self, p: Point, start: KValue) -> None:
        b, op = self.b, self.op
        with b.loop(0, self.n) as f:
            record = self.records.load(self.scratch, b.add(start, f.counter))
            position = self.records.position(record)
            for v in op.results:
                if v not in self.storages:
                    continue
                found = position if v is op.results[1] else self.coder.load(
                    *self._at(op.x, p, position))
                self.coder.store(*self._at(v, p, f.counter)[:2], found, p.at(op.dim, f.counter))
