"""Scalar expressions to Kernel instructions, at a point of a nest.

A Point says what each dim's index is: a loop counter plus a constant, or a run of lanes. Values
that do not depend on the lanes stay scalar and are broadcast where they meet a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.sizes import Number, Size, Symbol, of_symbol
from lowering.tensor_ir import Value
from llvm_backend.kernel import BINARY, COMPARE, Buffer, Kernel, KernelBuilder, KValue
from runtime.dtypes import bf16, f16, f32, i64


@dataclass(frozen=True)
class Point:
    """index(k) = counters[k] + offsets[k], plus 0..lanes-1 where k == vector; `mask` tells which
    lanes exist (None: all)."""

    counters: tuple[KValue | None, ...]
    offsets: tuple[int, ...]
    vector: int | None = None
    lanes: int = 1
    mask: KValue | None = None

    def at(self, dim: int, counter: KValue | None, offset: int = 0) -> Point:
        counters, offsets = list(self.counters), list(self.offsets)
        counters[dim], offsets[dim] = counter, offset
        return Point(tuple(counters), tuple(offsets), self.vector, self.lanes, self.mask)

    def shifted(self, dim: int, by: int) -> Point:
        offsets = list(self.offsets)
        offsets[dim] += by
        return Point(self.counters, tuple(offsets), self.vector, self.lanes, self.mask)

    def over(self, vector: int | None, lanes: int, mask: KValue | None = None) -> Point:
        return Point(self.counters, self.offsets, vector, lanes, mask)


def origin(ndim: int) -> Point:
    return Point((None,) * ndim, (0,) * ndim)


class Coder:
    """Generates code for one kernel. Buffers become parameters at first use. Sizes of run time are
    read from where `storages` has their Values, and computed once, before all else."""

    def __init__(self, name: str, domain: tuple[Number, ...],
                 storages: Mapping[Value, Storage] | None = None):
        self.b = KernelBuilder(name)
        self.algebra = IndexAlgebra(domain)
        self.storages = storages or {}
        self._sizes: dict[Number | Symbol, KValue] = {}
        self.memory: list[MemoryBuffer] = []
        self._parameters: dict[MemoryBuffer, Buffer] = {}
        self._windows: dict[MemoryBuffer, tuple[MemoryBuffer, KValue]] = {}

    @property
    def kernel(self) -> Kernel:
        return self.b.kernel

    def window(self, memory: MemoryBuffer, start: KValue) -> MemoryBuffer:
        """A stand-in for memory from its element `start` on, for nests that know only a part."""
        made = MemoryBuffer(memory.dtype, memory.size, memory.space)
        self._windows[made] = memory, start
        return made

    def within(self, memory: MemoryBuffer, base: KValue | int) -> KValue | int:
        """An address in memory, or in what it is a window of, as one in the parameter."""
        if memory not in self._windows:
            return base
        start = self._windows[memory][1]
        if isinstance(base, int):
            return self.b.add(start, base)
        return self.b.binary("add", base, self.b.broadcast(start, base.lanes))

    def parameter(self, memory: MemoryBuffer, writable: bool = False) -> Buffer:
        memory = self._windows.get(memory, (memory,))[0]
        p = self._parameters.get(memory)
        if p is None:
            p = self.b.buffer(f"p{len(self.memory)}", memory.dtype, memory.size, writable,
                              64 if memory.space in ("arena", "constant", "state")
                              else memory.dtype.bytes)
            self._parameters[memory] = p
            self.memory.append(memory)
        p.writable = p.writable or writable
        return p

    # Sizes of run time

    def size(self, n: Number) -> int | KValue:
        """A number as an operand: an int as it is, a Size as the value of this run."""
        if not isinstance(n, Size):
            return n
        if n not in self._sizes:
            with self.b.at_start():
                self._sizes[n] = self._computed(n)
        return self._sizes[n]

    def _computed(self, n: Number) -> KValue:
        if not isinstance(n, Size):
            return self.b.const(n)
        total: KValue | None = None
        for monomial, k in n.terms.items():
            term: KValue | None = None
            for s in monomial:
                v = self._symbol(s)
                term = v if term is None else self.b.mul(term, v)
            part = self.b.const(k) if term is None else self.b.mul(term, k)
            total = part if total is None else self.b.add(total, part)
        assert total is not None
        return total

    def _symbol(self, s: Symbol) -> KValue:
        if s not in self._sizes:
            if s.op:
                a, b = (self._computed(x) for x in s.args)
                self._sizes[s] = self.b.binary(s.op, a, b)
            else:
                where = self.storages[s.value]
                self._sizes[s] = self.b.load(self.parameter(where.buffer), where.offset)
        return self._sizes[s]

    def times(self, v: KValue, k: Number) -> KValue:
        """v (a scalar or a vector of i64) times a number."""
        if not isinstance(k, Size):
            return v if k == 1 else self.b.mul(v, self.b.const(k, i64, v.lanes))
        return self.b.mul(v, self.b.broadcast(self.size(k), v.lanes))

    def plus(self, base: KValue | int, n: Number) -> tuple[KValue | int, int]:
        """base + n as a register and a constant."""
        if not isinstance(n, Size):
            return base, n
        moving = self.size(n - n.constant)
        base = moving if isinstance(base, int) and base == 0 else self.b.add(moving, base)
        return base, n.constant

    # Addresses

    def address(self, e: Expr, p: Point,
                acc: KValue | None = None) -> tuple[KValue | int, int, Number | None]:
        """(base, constant, step): lane l of the address is base + constant + l * step. step None:
        base is a vector of addresses and lanes follow no step."""
        terms, constant = self.algebra.affine(e)
        base: KValue | None = None
        vector: KValue | None = None
        step = 0
        for atom, k in terms.items():
            if atom.op == "index":
                d = atom.attr
                constant += k * p.offsets[d]
                step += k if d == p.vector else 0
                part = p.counters[d]
                if part is None:
                    continue
            else:
                part = self.value(atom, p, acc)
            scaled = self.times(part, k)
            if part.lanes > 1:
                vector = scaled if vector is None else self.b.binary("add", vector, scaled)
            else:
                base = scaled if base is None else self.b.binary("add", base, scaled)
        if isinstance(constant, Size):
            base, constant = self.plus(0 if base is None else base, constant)
        if vector is None:
            return (base if base is not None else 0), constant, step if p.lanes > 1 else 0
        if base is not None:
            vector = self.b.binary("add", vector, self.b.broadcast(base, p.lanes))
        if step:
            vector = self.b.binary("add", vector, self._steps(step, p.lanes))
        return vector, constant, None

    def _splat_int(self, k: int, lanes: int) -> KValue:
        return self.b.const(k, i64, lanes)

    def _steps(self, step: Number, lanes: int) -> KValue:
        return self.times(self.b.iota(lanes), step)

    def _addresses(self, base: KValue | int, constant: int, step: Number | None,
                   lanes: int) -> KValue:
        """A vector of addresses for gather and scatter."""
        if step is None:
            vector = base
        else:
            vector = self.b.broadcast(self.b.index(base), lanes)
            vector = self.b.binary("add", vector, self._steps(step, lanes))
        if constant:
            vector = self.b.binary("add", vector, self._splat_int(constant, lanes))
        return vector

    def load(self, memory: MemoryBuffer, address: Expr, p: Point,
             acc: KValue | None = None) -> KValue:
        buffer = self.parameter(memory)
        base, constant, step = self.address(address, p, acc)
        base = self.within(memory, base)
        if step == 0:
            return self.b.load(buffer, base, 1, constant)
        if step == 1:
            return self.b.load(buffer, base, p.lanes, constant, p.mask)
        if step == 2 and p.mask is None and p.lanes % 2 == 0 and p.lanes >= 4:
            return self._every_other(buffer, base, constant, p.lanes)
        return self.b.gather(buffer, self._addresses(base, constant, step, p.lanes), p.mask)

    def prefetch(self, memory: MemoryBuffer, address: Expr, p: Point) -> None:
        """Asks for the first of what a load reads."""
        base, constant, _ = self.address(address, p)
        self.b.prefetch(self.parameter(memory), self.within(memory, base), constant)

    def _every_other(self, buffer: Buffer, base: KValue | int, constant: int,
                     lanes: int) -> KValue:
        """lanes elements two apart, from two loads that reach no further than the last of them."""
        low = self.b.load(buffer, base, lanes, constant)
        high = self.b.load(buffer, base, lanes, constant + lanes - 1)
        half = lanes // 2
        picks = [2 * l for l in range(half)] + [lanes + 2 * l + 1 for l in range(half)]
        return self.b.shuffle(low, high, tuple(picks))

    def store(self, memory: MemoryBuffer, address: Expr, v: KValue, p: Point) -> None:
        buffer = self.parameter(memory, True)
        base, constant, step = self.address(address, p)
        base = self.within(memory, base)
        v = self.b.broadcast(v, p.lanes)
        if p.lanes == 1:
            self.b.store(buffer, base, v, constant, p.mask)
        elif step == 1:
            self.b.store(buffer, base, v, constant, p.mask)
        else:
            self.b.scatter(buffer, self._addresses(base, constant, step, p.lanes), v, p.mask)

    # Values

    def value(self, e: Expr, p: Point, acc: KValue | None = None,
              memo: dict[Expr, list[KValue]] | None = None) -> KValue:
        """The expression's value: of p.lanes lanes, or scalar where lanes do not matter."""
        return self.values(e, [p], [acc], memo)[0]

    def values(self, e: Expr, points: Sequence[Point], accs: Sequence[KValue | None],
               memo: dict[Expr, list[KValue]] | None = None) -> list[KValue]:
        """The values at several points, each operation for all of them before the next one."""
        memo = {} if memo is None else memo
        if e not in memo:
            memo[e] = self._values(e, points, accs, memo)
        return memo[e]

    def _values(self, e: Expr, points: Sequence[Point], accs: Sequence[KValue | None],
                memo: dict[Expr, list[KValue]]) -> list[KValue]:
        if e.op == "const":
            return [self.b.const(e.attr, e.dtype)] * len(points)
        if e.op == "size":
            return [self.b.index(self.size(of_symbol(e.attr)))] * len(points)
        if e.op == "acc":
            assert None not in accs, "acc outside post"
            return list(accs)
        if e.op == "index":
            return [self._index(e.attr, p) for p in points]
        if e.op == "load":
            return [self.load(e.attr, e.args[0], p, acc) for p, acc in zip(points, accs)]
        args = [self.values(a, points, accs, memo) for a in e.args]
        return [self._operation(e, list(of_point)) for of_point in zip(*args)]

    def _index(self, d: int, p: Point) -> KValue:
        counter, offset = p.counters[d], p.offsets[d]
        v = self.b.const(offset) if counter is None else self.b.add(counter, offset)
        if d != p.vector or p.lanes == 1:
            return v
        return self.b.binary("add", self.b.broadcast(v, p.lanes), self.b.iota(p.lanes))

    def _operation(self, e: Expr, args: list[KValue]) -> KValue:
        lanes = max(a.lanes for a in args)
        args = [self.b.broadcast(a, lanes) for a in args]
        if e.op == "select":
            return self.b.select(*args)
        if e.op == "cast":
            a = args[0]
            if a.dtype in (f16, bf16) and e.dtype is not f32:
                a = self.b.cast(a, f32)
            return self.b.cast(a, e.dtype)
        if e.op in COMPARE:
            args = [self.b.cast(a, f32) if a.dtype in (f16, bf16) else a for a in args]
        if e.op in BINARY or e.op in COMPARE:
            return self.b.binary(e.op, args[0], args[1])
        return self.b.unary(e.op, args[0])


def affine_in(e: Expr, algebra: IndexAlgebra) -> dict[int, Number] | None:
    """Coefficient of each dim in an address, None where the address is not affine."""
    terms, _ = algebra.affine(e)
    if any(a.op != "index" for a in terms):
        return None
    return {a.attr: k for a, k in terms.items()}

