"""Kernels of Scan: running sums, products and extremes.

The scanned dim is a serial loop that carries the running value; lanes run over a row dim, the one
that memory steps through by one where there is one.
"""

from __future__ import annotations

from llvm_backend.kernel import Kernel, KernelBuilder, KValue
from llvm_backend.target import Target
from lowering.schedule.codegen import Coder, Point, origin
from lowering.schedule.loops import neutral_element, worth_threads
from lowering.schedule.rows import Rows, rows_of
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Scan, Value
from runtime.dtypes import DType, bf16, bool_, f16, f32, f64, i64

_BOOL = {"add": "or", "mul": "and", "min": "and", "max": "or"}
_WAYS = 4  # running vectors at a time: they hide each other's latency
_STEP_SCORE = {1: 2.0, 0: 0.5}  # a row dim that memory steps through by one fills lanes for free


def schedule_scan(op: Scan, storages: dict[Value, Storage], target: Target,
                  name: str) -> list[tuple[Kernel, list[MemoryBuffer]]]:
    """The kernel of a Scan; results without a storage are not computed.

    Sums and products of f32 run in f64, those of f16 and bf16 in f32, and every result is rounded
    once (as PyTorch does on the CPU); the others run in their dtype."""
    results = [v for v in op.results if v in storages]
    if op.out.numel == 0 or not results:
        return []
    rows = rows_of([op.x, *results], op.dim, storages)
    coder = Coder(name, rows.domain)
    _Scan(op, results, rows, target, coder).emit()
    coder.kernel.flops = op.out.numel if op.x.dtype.is_float else 0
    return [(coder.kernel, coder.memory)]


def accumulator(dtype: DType, combiner: str) -> DType:
    """What a running value of the dtype is kept in."""
    if dtype is f32 and combiner in ("add", "mul"):
        return f64
    return f32 if dtype in (f16, bf16) else dtype


class _Scan:
    def __init__(self, op: Scan, results: list[Value], rows: Rows, target: Target, coder: Coder):
        self.op, self.results, self.rows, self.target = op, results, rows, target
        self.coder, self.b = coder, coder.b
        self.dtype = accumulator(op.x.dtype, op.combiner)
        self.vector = rows.lane_dim(self._score)
        self.lanes = 1
        if self.vector is not None:
            wide = max(d.bytes for d in (self.dtype, *(v.dtype for v in results)))
            n = rows.domain[self.vector]
            self.lanes = min(max(1, target.lanes(max(wide, 4))), 1 << (n - 1).bit_length())

    def _score(self, d: int) -> float:
        steps = [abs(s.strides[d]) for s in self.rows.storages]
        return sum(_STEP_SCORE.get(k, 0.1) for k in steps) * min(self.rows.domain[d], 16)

    def emit(self) -> None:
        dims = [d for d in range(self.rows.along) if d != self.vector]
        kind = "parallel" if worth_threads(self.op.out.numel, self.target) else "serial"
        self._over(dims, origin(len(self.rows.domain)), kind)

    def _over(self, dims: list[int], p: Point, kind: str) -> None:
        """Loops over dims, the outermost one being of that kind."""
        if dims:
            with self.b.loop(0, self.rows.domain[dims[0]], kind=kind) as f:
                self._over(dims[1:], p.at(dims[0], f.counter), "serial")
        elif self.vector is None:
            self._row([p])
        else:
            self._lane_rows(p)

    def _lane_rows(self, p: Point) -> None:
        """Rows in blocks of _WAYS vectors, then in vectors, then what is left."""
        d, lanes = self.vector, self.lanes
        n, start = self.rows.domain[d], 0
        for ways in (_WAYS, 1):
            end = n - n % (lanes * ways)
            if end > start:
                with self.b.loop(start, end, lanes * ways) as f:
                    q = p.at(d, f.counter).over(d, lanes)
                    self._row([q.shifted(d, w * lanes) for w in range(ways)])
                start = end
        if start == n:
            return
        if self.target.masked:
            mask = self.b.first_lanes(n - start, lanes)
            self._row([p.at(d, None, start).over(d, lanes, mask)])
            return
        with self.b.loop(start, n) as f:
            self._row([p.at(d, f.counter)])

    def _row(self, points: list[Point]) -> None:
        """Runs along the scanned dim for several runs of lanes side by side."""
        b, along = self.b, self.rows.along
        neutral = neutral_element(self.op.combiner, self.dtype)
        lanes = points[0].lanes
        width = 2 if self.op.indices else 1
        inits = [b.const(neutral, self.dtype, lanes)]
        inits += [b.const(0, i64, lanes)] * (width - 1)
        with b.loop(0, self.rows.domain[along], carried=inits * len(points)) as f:
            for k, p in enumerate(points):
                state = f.carried[k * width:(k + 1) * width]
                q = p.at(along, f.counter)
                memory, address = self.rows.element(0)
                x = b.broadcast(self.coder.load(memory, address, q), lanes)
                f.yields += self._step(b.cast(x, self.dtype), list(state), f.counter)
                for which, v in enumerate(self.results, 1):
                    running = f.yields[k * width + self.op.results.index(v)]
                    memory, address = self.rows.element(which)
                    self.coder.store(memory, address, b.cast(running, v.dtype), q)

    def _step(self, x: KValue, state: list[KValue], at: KValue) -> list[KValue]:
        """The running value (and the position of the extreme) after x."""
        b, combiner = self.b, self.op.combiner
        if not self.op.indices:
            return [combine(b, combiner, state[0], x)]
        best, position = state
        better = b.binary("le" if combiner == "min" else "ge", x, best)
        if x.dtype.is_float:
            number = b.binary("eq", best, best)
            better = b.binary("or", b.binary("and", better, number), b.binary("ne", x, x))
        return [b.select(better, x, best),
                b.select(better, b.broadcast(at, x.lanes), position)]


def combine(b: KernelBuilder, combiner: str, a: KValue, x: KValue) -> KValue:
    """add mul min max of the Kernel, bool being logical."""
    return b.binary(_BOOL[combiner] if a.dtype is bool_ else combiner, a, x)
