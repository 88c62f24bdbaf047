"""Kernels of Sort: sorting networks in registers, and merges of what they sorted.

Rows of up to 16 elements stay in registers, one register an element, one lane a row. Longer rows
are cut into 2^L runs of c <= 16 elements:

    element p of the row is element p // runs of run p % runs        (any order serves: see records)
    registers sort the runs, lanes being runs; L merges double them  (between two scratch halves)
    the row's records give the positions, and the values are read by them

A merge goes from both ends at once: each end takes exactly as many steps as one run is long, so
that no cursor can leave its run and nothing needs to be checked, and the two chains overlap.
"""

from __future__ import annotations

from typing import Callable

from llvm_backend.kernel import Buffer, Kernel, KValue
from llvm_backend.target import Target
from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.loops import worth_threads
from lowering.schedule.rows import Rows, rows_of
from lowering.schedule.sort_records import Record, Records
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Sort, Value
from runtime.dtypes import i64

_IN_REGISTERS = 16


def schedule_sort(op: Sort, storages: dict[Value, Storage], target: Target,
                  name: str) -> list[tuple[Kernel, list[MemoryBuffer]]]:
    """The kernel of a Sort; results without a storage are not computed. Rows of more than 16
    elements use scratch memory in the arena, which is among the memories: about 16 bytes an
    element (64-bit dtypes: 32) of one row, or with threads of every row in the outermost row dim.
    ValueError for rows of 2^32 elements or more."""
    results = [v for v in op.results if v in storages]
    if op.x.numel == 0 or not results:
        return []
    rows = rows_of([op.x, *results], op.dim, storages)
    n = rows.domain[-1]
    if n >= 1 << 32:
        raise ValueError(f"sort of {n} elements: rows have less than 2^32")
    coder = Coder(name, rows.domain)
    (_Registers if n <= _IN_REGISTERS else _Merges)(op, results, rows, target, coder).emit()
    return [(coder.kernel, coder.memory)]


class _Sorter:
    """What both ways share: the loops over rows, and how elements are read and written."""

    def __init__(self, op: Sort, results: list[Value], rows: Rows, target: Target, coder: Coder):
        self.op, self.results, self.rows, self.target = op, results, rows, target
        self.coder, self.b = coder, coder.b
        self.records = Records(coder.b, op.x.dtype, op.descending)
        self.n = rows.domain[-1]
        self.widest = max(1, target.lanes(8))

    def over(self, dims: list[int], p: Point, body: Callable[[Point], None]) -> None:
        if not dims:
            body(p)
            return
        with self.b.loop(0, self.rows.domain[dims[0]]) as f:
            self.over(dims[1:], p.at(dims[0], f.counter), body)

    def read(self, p: Point) -> KValue:
        memory, address = self.rows.element(0)
        return self.b.broadcast(self.coder.load(memory, address, p), p.lanes)

    def read_at(self, positions: KValue, p: Point) -> KValue:
        """The row's elements at those positions (p being the row's start)."""
        memory, address = self.rows.element(0)
        at = p.at(self.rows.along, None)
        if at.vector == self.rows.along:
            at = at.over(None, 1)
        base, constant, step = self.coder.address(address, at)
        assert step is not None, "rows are affine"
        lanes, b = positions.lanes, self.b
        stride = self.rows.storages[0].strides[-1]
        where = b.mul(positions, b.const(stride, i64, lanes))
        where = b.binary("add", where, b.broadcast(b.index(base), lanes))
        if step:
            where = b.binary("add", where, b.mul(b.iota(lanes), b.const(step, i64, lanes)))
        if constant:
            where = b.binary("add", where, b.const(constant, i64, lanes))
        buffer = self.coder.parameter(memory)
        if lanes == 1:
            return b.load(buffer, where)
        return b.gather(buffer, where, p.mask)

    def write(self, record: Record, row: Point, p: Point) -> None:
        """Writes both results of a record at p."""
        positions = self.records.position(record)
        for which, v in enumerate(self.results, 1):
            memory, address = self.rows.element(which)
            x = positions if v is self.op.results[1] else self.read_at(positions, row)
            self.coder.store(memory, address, x, p)

    def strip(self, n: int, lanes: int, body: Callable[..., None]) -> None:
        """body(counter or None, offset, lanes, mask) over 0 .. n-1, by lanes, then the rest."""
        whole = n - n % lanes
        if whole:
            with self.b.loop(0, whole, lanes) as f:
                body(f.counter, 0, lanes, None)
        if n == whole:
            return
        if self.target.masked:
            body(None, whole, lanes, self.b.first_lanes(n - whole, lanes))
            return
        with self.b.loop(whole, n) as f:
            body(f.counter, 0, 1, None)


class _Registers(_Sorter):
    """Short rows: lanes are rows."""

    def emit(self) -> None:
        d = self.rows.lane_dim(self._score)
        dims = [k for k in range(self.rows.along) if k != d]
        self.over(dims, origin(len(self.rows.domain)), lambda p: self._lane_rows(d, p))

    def _score(self, d: int) -> float:
        steps = [abs(s.strides[d]) for s in self.rows.storages]
        return sum(2.0 if k == 1 else 0.1 for k in steps) * min(self.rows.domain[d], 16)

    def _lane_rows(self, d: int | None, p: Point) -> None:
        if d is None:
            self._sort(p)
            return
        n = self.rows.domain[d]
        lanes = min(self.widest, 1 << (n - 1).bit_length())
        self.strip(n, lanes, lambda counter, offset, lanes, mask: self._sort(
            p.at(d, counter, offset).over(d if lanes > 1 else None, lanes, mask)))

    def _sort(self, p: Point) -> None:
        b, along, n = self.b, self.rows.along, self.rows.domain[-1]
        elements = [p.at(along, None, k) for k in range(n)]
        records = [self.records.make(self.read(q), b.const(k, i64, p.lanes))
                   for k, q in enumerate(elements)]
        for q, record in zip(elements, self.records.sort_registers(records)):
            self.write(record, p, q)


class _Merges(_Sorter):
    """Long rows, one after the other, or dim 0 of the rows divided among threads."""

    def emit(self) -> None:
        levels = 1
        while -(-self.n >> levels) > _IN_REGISTERS:
            levels += 1
        self.levels, self.runs = levels, 1 << levels
        self.length = -(-self.n // self.runs)  # of a run, from registers
        self.total = self.runs * self.length
        dims, p = list(range(self.rows.along)), origin(len(self.rows.domain))
        divided = bool(dims) and worth_threads(self.op.x.numel, self.target)
        copies = self.rows.domain[0] if divided else 1  # threads share no scratch
        words = [MemoryBuffer(i64, 2 * self.total * copies, "arena")
                 for _ in range(self.records.words)]
        self.scratch: list[Buffer] = [self.coder.parameter(w, True) for w in words]
        if not divided:
            self.over(dims, p, lambda q: self._row(q, self.b.const(0)))
            return
        with self.b.loop(0, copies, kind="parallel") as f:
            base = self.b.mul(f.counter, 2 * self.total)
            self.over(dims[1:], p.at(0, f.counter), lambda q: self._row(q, base))

    def _row(self, p: Point, base: KValue) -> None:
        """Sorts one row with the scratch from `base` on."""
        self._sort_runs(p, base)
        self._write_row(p, self._merge_runs(base))

    def _sort_runs(self, p: Point, base: KValue) -> None:
        """Fills the first half of the scratch with sorted runs."""
        b, along, runs = self.b, self.rows.along, self.runs
        lanes = min(self.widest, runs)
        with b.loop(0, runs, lanes) as f:
            registers = []
            for k in range(self.length):
                lane = b.binary("add", b.broadcast(f.counter, lanes), b.iota(lanes))
                position = b.binary("add", lane, b.const(k * runs, i64, lanes))
                inside = None
                if (k + 1) * runs > self.n:
                    inside = b.binary("lt", position, b.const(self.n, i64, lanes))
                q = p.at(along, f.counter, k * runs).over(along, lanes, inside)
                if inside is not None and lanes == 1:  # one element has no mask: read another one
                    q = p.at(along, b.binary("min", position, self.n - 1))
                record = self.records.make(self.read(q), position)
                if inside is not None:
                    record = self.records.select(inside, record, self.records.last(lanes))
                registers.append(record)
            start = b.mul(lane, b.const(self.length, i64, lanes))
            start = b.binary("add", start, b.broadcast(base, lanes))
            for k, record in enumerate(self.records.sort_registers(registers)):
                where = b.binary("add", start, b.const(k, i64, lanes))
                self.records.scatter(self.scratch, where, record)

    def _merge_runs(self, base: KValue) -> KValue:
        """Merges pairs of runs from one half of the scratch to the other until one run is left;
        returns where that starts."""
        b, records = self.b, self.records
        inits = [b.const(self.length), base, b.add(base, self.total)]
        with b.loop(0, self.levels, carried=inits) as level:
            length, source, target = level.carried
            double = b.mul(length, 2)
            pairs = b.binary("idiv", b.const(self.total), double)
            with b.loop(0, pairs) as pair:
                first = b.mul(pair.counter, double)
                low = b.add(source, first)
                middle = b.add(low, length)
                high = b.add(middle, length)
                out = b.add(target, first)
                ends = [low, middle, b.add(middle, -1), b.add(high, -1)]
                with b.loop(0, length, carried=ends) as f:
                    left, right, left_end, right_end = f.carried
                    a, c = records.load(self.scratch, left), records.load(self.scratch, right)
                    less = records.less(a, c)
                    taken = b.cast(less, i64)
                    records.store(self.scratch, b.add(out, f.counter), records.ordered(a, c)[0])
                    x, y = (records.load(self.scratch, left_end),
                            records.load(self.scratch, right_end))
                    kept = b.cast(records.less(x, y), i64)
                    last = b.binary("sub", b.add(b.add(out, double), -1), f.counter)
                    records.store(self.scratch, last, records.ordered(x, y)[1])
                    f.yields = [
                        b.add(left, taken),
                        b.add(b.binary("sub", right, taken), 1),
                        b.add(b.binary("add", left_end, kept), -1),
                        b.binary("sub", right_end, kept),
                    ]
            level.yields = [double, target, source]
        return level.results[1]

    def _write_row(self, p: Point, start: KValue) -> None:
        b, along = self.b, self.rows.along
        steps = [s.strides[-1] for s in self.rows.storages[1:]]
        wanted = self.widest if all(k == 1 for k in steps) or self.target.masked else 1

        def part(counter: KValue | None, offset: int, lanes: int, mask: KValue | None) -> None:
            at = start if counter is None else b.add(start, counter)
            record = self.records.load(self.scratch, b.add(at, offset), lanes, mask)
            q = p.at(along, counter, offset).over(along if lanes > 1 else None, lanes, mask)
            self.write(record, q, q)

        self.strip(self.n, wanted, part)
