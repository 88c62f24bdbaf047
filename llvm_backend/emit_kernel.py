"""Kernel -> one LLVM function as text: structure, memory and constants; arithmetic is next door.

    define internal void @NAME(ptr %b0, ptr %b1, ..., i64 %begin, i64 %end)

begin and end are there when `kernel.parallel` is, and count its iterations: the function runs
iterations begin .. end-1 of the trip_count(kernel) ones. Where the kernel computes how many there
are, `i64 @NAME.turns(ptr %b0, ...)` tells, and end may be beyond. The kernel must be free of math
ops (expand_math replaces them). Loops come out bottom-tested, so no pass has to rotate them; loads
and stores carry the best alignment that the index is known to have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

from llvm_backend import emit_arith, emit_cast
from llvm_backend.emit_arith import constant_of
from llvm_backend.ir_text import (Writer, intrinsic_suffix, literal, memory_type, register_type,
                                  scalar_type, splat, vector_of)
from llvm_backend.kernel import Buffer, For, If, Instr, Kernel, KValue, Stmt, Type
from llvm_backend.target import Target

_OPS = {**emit_arith.OPS, **emit_cast.OPS}


COMPUTED = -1  # the trip_count of a kernel that computes it


def trip_count(kernel: Kernel) -> int | None:
    """How many iterations the parallel loop has, COMPUTED if the kernel computes that; None if it
    has no such loop.

    A parallel loop that does not count from 0 by 1 to a computed bound is emitted as a serial
    one."""
    loop = kernel.parallel
    if loop is None:
        return None
    lo, hi = constant_of(loop.lo), constant_of(loop.hi)
    if hi is None:
        plain = all(isinstance(s, Instr) for s in kernel.body[:-1])
        return COMPUTED if lo == 0 and loop.step == 1 and plain else None
    if lo is None:
        return None
    return max(0, -(-(hi - lo) // loop.step))


@dataclass(frozen=True)
class BufferFacts:
    """What all callers of a kernel guarantee of one buffer, beyond what the kernel declares."""

    align: int = 1  # bytes
    alone: bool = True  # overlaps no other buffer of a call


def emit_kernel(kernel: Kernel, target: Target, name: str | None = None, linkage: str = "internal",
                facts: Sequence[BufferFacts] = (), group: int = 0) -> str:
    """The function's text, ready to stand in a module together with `attributes(target, group)`."""
    facts = facts or [BufferFacts()] * len(kernel.buffers)
    return _FunctionEmitter(kernel, target, facts).run(name or kernel.name, linkage, group)


def emit_turns(kernel: Kernel, target: Target, name: str, facts: Sequence[BufferFacts] = (),
               group: int = 0) -> str:
    """The function that tells how many iterations the parallel loop of kernel `name` has, where
    trip_count is COMPUTED."""
    facts = facts or [BufferFacts()] * len(kernel.buffers)
    return _FunctionEmitter(kernel, target, facts).turns(name, group)


def attributes(target: Target, group: int = 0, own: bool = False) -> str:
    """An attribute group of kernels. own: names the CPU, where it is not the whole module's."""
    bits = target.vector_bytes * 8
    tune = f'"tune-cpu"="{target.tune}" ' if target.tune else ""
    if own:
        tune += f'"target-cpu"="{target.cpu}" "target-features"="{target.attributes}" '
    return (f"attributes #{group} = {{ noinline nounwind mustprogress willreturn "
            f'memory(argmem: readwrite) {tune}"no-builtins" "min-legal-vector-width"="{bits}" '
            f'"prefer-vector-width"="{bits}" }}')


class _FunctionEmitter:
    def __init__(self, kernel: Kernel, target: Target, facts: Sequence[BufferFacts]):
        self.kernel = kernel
        self.w = Writer(target)
        self.alone = {b: f.alone for b, f in zip(kernel.buffers, facts)}
        self.aligns = {b: max(b.align, f.align) for b, f in zip(kernel.buffers, facts)}
        self.names: dict[KValue, str] = {}
        self.buffers = {b: f"%b{k}" for k, b in enumerate(kernel.buffers)}
        self.multiples: dict[KValue, int] = {}
        self.parallel = kernel.parallel if trip_count(kernel) is not None else None

    def run(self, name: str, linkage: str, group: int) -> str:
        w, parameters = self.w, self.parameters()
        if self.parallel is not None:
            parameters += ["i64 %begin", "i64 %end"]
        self.block(self.kernel.body)
        w.line("ret void")
        head = f"define {linkage} void @{name}({', '.join(parameters)}) #{group} {{"
        head = head.replace("  ", " ")
        return "\n".join([head, "entry:", *w.lines, "}", ""])

    def turns(self, name: str, group: int) -> str:
        w, parameters = self.w, self.parameters()
        self.block(self.kernel.body[:-1])
        w.line(f"ret i64 {self.names[self.parallel.hi]}")
        return "\n".join([f"define internal i64 @{name}.turns({', '.join(parameters)}) "
                          f"#{group} {{", "entry:", *w.lines, "}", ""])

    def parameters(self) -> list[str]:
        found = []
        for b, text in self.buffers.items():
            access = "" if b.writable else " readonly"
            alone = " noalias" if self.alone[b] else ""
            align = max(self.aligns[b], b.dtype.bytes)
            found.append(f"ptr{alone} captures(none){access} align {align} {text}")
        return found

    def block(self, statements: list[Stmt]) -> None:
        for s in statements:
            if isinstance(s, Instr):
                self.instr(s)
            elif isinstance(s, For):
                self.loop(s)
            else:
                self.branch(s)

    # Structure

    def loop(self, f: For) -> None:
        if f is self.parallel:
            w = self.w
            lo, end = constant_of(f.lo), "%end"
            if constant_of(f.hi) is None:
                end = w.value(f"call i64 @llvm.smin.i64(i64 {end}, i64 {self.names[f.hi]})")
            first = self.scaled("%begin", f.step, lo)
            last = self.scaled(end, f.step, lo)
            guard = w.value(f"icmp slt i64 %begin, {end}")
            self.counted(f, first, last, guard, [])
            return
        lo, hi = constant_of(f.lo), constant_of(f.hi)
        inits = [self.names[v] for v in f.inits]
        if lo is None or hi is None:
            first, last = self.names[f.lo], self.names[f.hi]
            guard = self.w.value(f"icmp slt i64 {first}, {last}")
            self.finish(f, self.counted(f, first, last, guard, inits))
            return
        trips = max(0, -(-(hi - lo) // f.step))
        if f.kind == "unrolled" or trips <= max(1, f.unroll):
            for k in range(trips):
                inits = self.copy(f, str(lo + k * f.step), inits)
            self.finish(f, inits)
            return
        whole = trips - trips % f.unroll
        end = lo + whole * f.step
        inits = self.counted(f, str(lo), str(end), None, inits)
        for k in range(whole, trips):
            inits = self.copy(f, str(lo + k * f.step), inits)
        self.finish(f, inits)

    def scaled(self, name: str, step: int, offset: int) -> str:
        w = self.w
        if step != 1:
            name = w.value(f"mul nsw i64 {name}, {step}")
        return w.value(f"add nsw i64 {name}, {offset}") if offset else name

    def finish(self, f: For, values: list[str]) -> None:
        self.names.update(zip(f.results, values))

    def copy(self, f: For, counter: str, carried: list[str]) -> list[str]:
        """One iteration written out; returns the yielded names."""
        self.names[f.counter] = counter
        self.names.update(zip(f.carried, carried))
        self.block(f.body)
        return [self.names[v] for v in f.yields]

    def counted(self, f: For, first: str, last: str, guard: str | None,
                inits: list[str]) -> list[str]:
        """A bottom-tested loop; returns the final carried names. guard: None if it surely runs.

        With constant bounds the body stands `f.unroll` times in it, and last - first is a multiple
        of that."""
        w = self.w
        unroll = f.unroll if guard is None else 1
        body, done = w.fresh("loop"), w.fresh("done")
        before = w.block
        if guard is None:
            w.line(f"br label %{body}")
        else:
            w.line(f"br i1 {guard}, label %{body}, label %{done}")
        w.label(body)
        counter = w.fresh("%i")
        types = [register_type(v.type) for v in f.carried]
        names = [w.fresh("%c") for _ in f.carried]
        at = len(w.lines)  # the phis need the latch's names, which the body makes
        carried = names
        for k in range(unroll):
            now = counter if k == 0 else w.value(f"add nsw i64 {counter}, {k * f.step}")
            carried = self.copy(f, now, carried)
        next_counter = w.value(f"add nsw i64 {counter}, {f.step * unroll}")
        again = w.value(f"icmp slt i64 {next_counter}, {last}")
        latch = w.block
        w.line(f"br i1 {again}, label %{body}, label %{done}")
        phis = [f"  {counter} = phi i64 [ {first}, %{before} ], [ {next_counter}, %{latch} ]"]
        phis += [f"  {n} = phi {t} [ {i}, %{before} ], [ {y}, %{latch} ]"
                 for n, t, i, y in zip(names, types, inits, carried)]
        w.lines[at:at] = phis
        w.label(done)
        if guard is None:
            return carried
        return [w.value(f"phi {t} [ {i}, %{before} ], [ {y}, %{latch} ]")
                for t, i, y in zip(types, inits, carried)]

    def branch(self, s: If) -> None:
        w = self.w
        then, otherwise, done = w.fresh("then"), w.fresh("else"), w.fresh("endif")
        target = otherwise if s.otherwise else done
        w.line(f"br i1 {self.names[s.condition]}, label %{then}, label %{target}")
        w.label(then)
        self.block(s.then)
        w.line(f"br label %{done}")
        if s.otherwise:
            w.label(otherwise)
            self.block(s.otherwise)
            w.line(f"br label %{done}")
        w.label(done)

    # Instructions

    def instr(self, s: Instr) -> None:
        op = s.op
        emit = _OPS.get(op)
        if emit is not None:
            self.names[s.result] = emit(self.w, s, *[self.names[a] for a in s.args])
            return
        getattr(self, "op_" + op)(s)

    def op_const(self, s: Instr) -> None:
        t = s.result.type
        self.names[s.result] = splat(literal(s.attrs["value"], t.dtype), scalar_type(t.dtype),
                                     t.lanes)

    def op_iota(self, s: Instr) -> None:
        t = s.result.type
        scalar = scalar_type(t.dtype)
        values = [literal(k, t.dtype) for k in range(t.lanes)]
        self.names[s.result] = (values[0] if t.lanes == 1
                                else "<" + ", ".join(f"{scalar} {v}" for v in values) + ">")

    def op_broadcast(self, s: Instr) -> None:
        t, a = s.result.type, s.args[0]
        scalar, name = scalar_type(t.dtype), self.names[a]
        if constant_of(a) is not None:
            self.names[s.result] = splat(name, scalar, t.lanes)
            return
        v = register_type(t)
        one = self.w.value(f"insertelement {v} poison, {scalar} {name}, i64 0")
        self.names[s.result] = self.w.value(
            f"shufflevector {v} {one}, {v} poison, <{t.lanes} x i32> zeroinitializer")

    def op_extract(self, s: Instr) -> None:
        a = s.args[0]
        if a.lanes == 1:
            self.names[s.result] = self.names[a]
            return
        self.names[s.result] = self.w.value(
            f"extractelement {register_type(a.type)} {self.names[a]}, i64 {s.attrs['lane']}")

    # Memory

    def address(self, buffer: Buffer, index: KValue, offset: int) -> tuple[str, int]:
        """(pointer, bytes that it is a multiple of). The constant offset is a GEP of its own, which
        the code generator folds into the displacement."""
        size = buffer.dtype.bytes
        c = constant_of(index)
        align = max(self.aligns[buffer], size)
        if c is not None:
            total = (c + offset) * size
            name = self.buffers[buffer]
            if total:
                name = self.w.value(f"getelementptr i8, ptr {name}, i64 {total}")
            return name, math.gcd(align, total) if total else align
        element = memory_type(Type(buffer.dtype))
        name = self.w.value(
            f"getelementptr {element}, ptr {self.buffers[buffer]}, i64 {self.names[index]}")
        if offset:
            name = self.w.value(f"getelementptr i8, ptr {name}, i64 {offset * size}")
        return name, math.gcd(align, self.multiple(index) * size, offset * size)

    def multiple(self, v: KValue) -> int:
        """A number that the i64 value is known to be a multiple of (1 if nothing is known)."""
        if v in self.multiples:
            return self.multiples[v]
        p, m = v.producer, 1
        if isinstance(p, For) and v is p.counter:
            m = math.gcd(self.multiple(p.lo), p.step)
        elif isinstance(p, Instr):
            if p.op == "const":
                m = abs(p.attrs["value"]) or 1 << 32
            elif p.op == "mul":
                m = min(self.multiple(p.args[0]) * self.multiple(p.args[1]), 1 << 32)
            elif p.op in ("add", "sub"):
                m = math.gcd(self.multiple(p.args[0]), self.multiple(p.args[1]))
        self.multiples[v] = m
        return m

    def from_memory(self, name: str, t: Type) -> str:
        if t.dtype.kind != "b":
            return name
        return self.w.value(f"icmp ne {memory_type(t)} {name}, {splat('0', 'i8', t.lanes)}")

    def to_memory(self, v: KValue) -> str:
        if v.dtype.kind != "b":
            return self.names[v]
        return self.w.value(f"zext {register_type(v.type)} {self.names[v]} to "
                            f"{memory_type(v.type)}")

    def op_load(self, s: Instr) -> None:
        t, buffer = s.result.type, s.attrs["buffer"]
        p, align = self.address(buffer, s.args[0], s.attrs["offset"])
        x = self.w.value(f"load {memory_type(t)}, ptr {p}, align {align}")
        self.names[s.result] = self.from_memory(x, t)

    def op_prefetch(self, s: Instr) -> None:
        p, _ = self.address(s.attrs["buffer"], s.args[0], s.attrs["offset"])
        self.w.line(f"call void @llvm.prefetch.p0(ptr {p}, i32 0, i32 2, i32 1)")

    def op_store(self, s: Instr) -> None:
        v, i = s.args
        x = self.to_memory(v)
        p, align = self.address(s.attrs["buffer"], i, s.attrs["offset"])
        self.w.line(f"store {memory_type(v.type)} {x}, ptr {p}, align {align}")

    def op_load_masked(self, s: Instr) -> None:
        t, buffer = s.result.type, s.attrs["buffer"]
        p, align = self.address(buffer, s.args[0], s.attrs["offset"])
        if t.lanes == 1:
            x = self.one_lane_load(self.names[s.args[1]], p, memory_type(t), align)
        else:
            m, mask = memory_type(t), vector_of("i1", t.lanes)
            suffix = intrinsic_suffix(m.strip("<>").split()[-1], t.lanes)
            x = self.w.value(f"call {m} @llvm.masked.load.{suffix}.p0(ptr align {align} {p}, "
                             f"{mask} {self.names[s.args[1]]}, {m} zeroinitializer)")
        self.names[s.result] = self.from_memory(x, t)

    def op_store_masked(self, s: Instr) -> None:
        v, i, mask = s.args
        x = self.to_memory(v)
        p, align = self.address(s.attrs["buffer"], i, s.attrs["offset"])
        m = memory_type(v.type)
        if v.lanes == 1:
            self.one_lane_store(self.names[mask], x, p, m, align)
            return
        suffix = intrinsic_suffix(m.strip("<>").split()[-1], v.lanes)
        self.w.line(f"call void @llvm.masked.store.{suffix}.p0({m} {x}, ptr align {align} {p}, "
                    f"{vector_of('i1', v.lanes)} {self.names[mask]})")

    def op_gather(self, s: Instr) -> None:
        t, buffer = s.result.type, s.attrs["buffer"]
        i, mask = s.args
        m, size = memory_type(t), buffer.dtype.bytes
        p = self.pointers(buffer, i)
        if t.lanes == 1:
            x = self.one_lane_load(self.names[mask], p, m, size)
        else:
            suffix = intrinsic_suffix(m.strip("<>").split()[-1], t.lanes)
            x = self.w.value(f"call {m} @llvm.masked.gather.{suffix}.v{t.lanes}p0("
                             f"<{t.lanes} x ptr> align {size} {p}, {vector_of('i1', t.lanes)} "
                             f"{self.names[mask]}, {m} zeroinitializer)")
        self.names[s.result] = self.from_memory(x, t)

    def op_scatter(self, s: Instr) -> None:
        v, i, mask = s.args
        buffer = s.attrs["buffer"]
        m, size = memory_type(v.type), buffer.dtype.bytes
        x = self.to_memory(v)
        p = self.pointers(buffer, i)
        if v.lanes == 1:
            self.one_lane_store(self.names[mask], x, p, m, size)
            return
        suffix = intrinsic_suffix(m.strip("<>").split()[-1], v.lanes)
        self.w.line(f"call void @llvm.masked.scatter.{suffix}.v{v.lanes}p0({m} {x}, "
                    f"<{v.lanes} x ptr> align {size} {p}, {vector_of('i1', v.lanes)} "
                    f"{self.names[mask]})")

    def pointers(self, buffer: Buffer, i: KValue) -> str:
        element = memory_type(Type(buffer.dtype))
        return self.w.value(f"getelementptr {element}, ptr {self.buffers[buffer]}, "
                            f"{register_type(i.type)} {self.names[i]}")

    def one_lane_load(self, mask: str, p: str, t: str, align: int) -> str:
        """A scalar under a condition: a branch, since masked intrinsics take vectors only."""
        if mask == "true":
            return self.w.value(f"load {t}, ptr {p}, align {align}")
        w = self.w
        then, done, before = w.fresh("then"), w.fresh("endif"), w.block
        w.line(f"br i1 {mask}, label %{then}, label %{done}")
        w.label(then)
        x = w.value(f"load {t}, ptr {p}, align {align}")
        w.line(f"br label %{done}")
        w.label(done)
        zero = "0.0" if t in ("float", "double") else "0"
        return w.value(f"phi {t} [ {x}, %{then} ], [ {zero}, %{before} ]")

    def one_lane_store(self, mask: str, x: str, p: str, t: str, align: int) -> None:
        w = self.w
        then, done = w.fresh("then"), w.fresh("endif")
        w.line(f"br i1 {mask}, label %{then}, label %{done}")
        w.label(then)
        w.line(f"store {t} {x}, ptr {p}, align {align}")
        w.line(f"br label %{done}")
        w.label(done)
