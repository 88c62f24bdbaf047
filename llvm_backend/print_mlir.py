"""Kernels as upstream MLIR text: func, scf, memref, vector, arith, math.

Print-only, and complete: what a Kernel instruction says about its corner cases (division by zero,
shifts too far, saturating casts) is spelled out with selects where the upstream operation leaves it
open. Buffers are one-dimensional memrefs; bool is i8 in memory and i1 in registers; u8 is i8 under
unsigned operations; indices are i64 and cast to index where memory is touched.
"""

from __future__ import annotations

import re
from typing import Iterable

from llvm_backend.expand_math import expand_only
from llvm_backend.kernel import Buffer, For, If, Instr, Kernel, KValue, Stmt, Type
from llvm_backend.mlir_arith import OPS, MlirWriter, constant, element
from llvm_backend.target import TARGETS

# No upstream operation has these names: they print as what vector math makes of them.
_EXPANDED = frozenset(("erfinv", "lgamma", "digamma"))


def print_kernels(kernels: Iterable[Kernel]) -> str:
    """One module with a function for each kernel, named k0_..., k1_... in order."""
    functions = [print_kernel(kernel, f"k{n}_{kernel.name}") for n, kernel in enumerate(kernels)]
    return "module {\n" + "\n".join(functions) + "}\n"


def print_kernel(kernel: Kernel, name: str | None = None) -> str:
    """`func.func @name(%b0: memref<...>, ...)`."""
    kernel = expand_only(kernel, TARGETS["x86-64-v3"], _EXPANDED)
    return _Printer(kernel).run(re.sub(r"[^A-Za-z0-9_]", "_", name or kernel.name))


class _Printer:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.w = MlirWriter()
        self.names = self.w.names
        self.buffers: dict[Buffer, str] = {}
        self.memrefs: dict[Buffer, str] = {}
        for k, b in enumerate(kernel.buffers):
            self.buffers[b] = f"%b{k}"
            self.memrefs[b] = f"memref<{b.size}x{memory_element(b)}>"

    def run(self, name: str) -> str:
        parameters = ", ".join(f"{p}: {self.memrefs[b]}" for b, p in self.buffers.items())
        self.w.depth = 2
        self.block(self.kernel.body)
        self.w.line("return")
        return "\n".join([f"  func.func @{name}({parameters}) {{", *self.w.lines, "  }", ""])

    def block(self, statements: list[Stmt]) -> None:
        for s in statements:
            if isinstance(s, Instr):
                emit = OPS.get(s.op)
                if emit is not None:
                    self.names[s.result] = emit(self.w, s, *[self.names[a] for a in s.args])
                else:
                    getattr(self, "op_" + s.op)(s)
            elif isinstance(s, For):
                self.loop(s)
            else:
                self.branch(s)

    # Structure

    def loop(self, f: For) -> None:
        w = self.w
        lo, hi = self.index(f.lo), self.index(f.hi)
        step = w.value(f"arith.constant {f.step} : index")
        counter = w.fresh()
        if f.kind == "parallel":
            w.line(f"scf.parallel ({counter}) = ({lo}) to ({hi}) step ({step}) {{")
        elif not f.carried:
            w.line(f"scf.for {counter} = {lo} to {hi} step {step} {{")
        else:
            result = w.fresh()
            names = [w.fresh() for _ in f.carried]
            self.names.update(zip(f.carried, names))
            inits = ", ".join(f"{n} = {self.names[i]}" for n, i in zip(names, f.inits))
            types = ", ".join(w.type(v.type) for v in f.carried)
            count = f":{len(names)}" if len(names) > 1 else ""
            w.line(f"{result}{count} = scf.for {counter} = {lo} to {hi} step {step} "
                   f"iter_args({inits}) -> ({types}) {{")
            for k, r in enumerate(f.results):
                self.names[r] = f"{result}#{k}" if count else result
        w.depth += 1
        self.names[f.counter] = w.value(f"arith.index_cast {counter} : index to i64")
        self.block(f.body)
        if f.kind == "parallel":
            w.line("scf.reduce")
        elif f.carried:
            types = ", ".join(w.type(v.type) for v in f.carried)
            w.line(f"scf.yield {', '.join(self.names[v] for v in f.yields)} : {types}")
        w.depth -= 1
        w.line("}")

    def branch(self, s: If) -> None:
        w = self.w
        w.line(f"scf.if {self.names[s.condition]} {{")
        w.depth += 1
        self.block(s.then)
        w.depth -= 1
        if s.otherwise:
            w.line("} else {")
            w.depth += 1
            self.block(s.otherwise)
            w.depth -= 1
        w.line("}")

    # Memory

    def index(self, v: KValue, offset: int = 0) -> str:
        """v + offset as an index."""
        w = self.w
        i = w.value(f"arith.index_cast {self.names[v]} : i64 to index")
        if offset:
            by = w.value(f"arith.constant {offset} : index")
            i = w.value(f"arith.addi {i}, {by} : index")
        return i

    def from_memory(self, name: str, t: Type) -> str:
        if t.dtype.kind != "b":
            return name
        m = self.w.memory(t)
        zero = self.w.value(f"arith.constant {'dense<0>' if t.lanes > 1 else '0'} : {m}")
        return self.w.value(f"arith.cmpi ne, {name}, {zero} : {m}")

    def to_memory(self, v: KValue) -> str:
        if v.dtype.kind != "b":
            return self.names[v]
        return self.w.value(f"arith.extui {self.names[v]} : {self.w.type(v.type)} to "
                            f"{self.w.memory(v.type)}")

    def place(self, s: Instr, index: KValue) -> tuple[str, str]:
        """('%b0[%i]', the memref's type)."""
        b = s.attrs["buffer"]
        return f"{self.buffers[b]}[{self.index(index, s.attrs.get('offset', 0))}]", self.memrefs[b]

    def op_load(self, s: Instr) -> None:
        t = s.result.type
        place, memref = self.place(s, s.args[0])
        if t.lanes == 1:
            x = self.w.value(f"memref.load {place} : {memref}")
        else:
            x = self.w.value(f"vector.load {place} : {memref}, {self.w.memory(t)}")
        self.names[s.result] = self.from_memory(x, t)

    def op_store(self, s: Instr) -> None:
        v, i = s.args
        x = self.to_memory(v)
        place, memref = self.place(s, i)
        if v.lanes == 1:
            self.w.line(f"memref.store {x}, {place} : {memref}")
        else:
            self.w.line(f"vector.store {x}, {place} : {memref}, {self.w.memory(v.type)}")

    def op_prefetch(self, s: Instr) -> None:
        place, memref = self.place(s, s.args[0])
        self.w.line(f"memref.prefetch {place}, read, locality<2>, data : {memref}")

    def op_load_masked(self, s: Instr) -> None:
        t, mask = s.result.type, s.args[1]
        place, memref = self.place(s, s.args[0])
        m = self.w.memory(t)
        zero = constant(self.w, 0, t.dtype, t.lanes, memory=True)
        if t.lanes == 1:
            x = self.one_lane_load(mask, place, memref, m, zero)
        else:
            x = self.w.value(f"vector.maskedload {place}, {self.names[mask]}, {zero} : {memref}, "
                             f"{self.w.type(mask.type)}, {m} into {m}")
        self.names[s.result] = self.from_memory(x, t)

    def op_store_masked(self, s: Instr) -> None:
        v, i, mask = s.args
        x = self.to_memory(v)
        place, memref = self.place(s, i)
        if v.lanes == 1:
            self.one_lane_store(mask, x, place, memref)
            return
        self.w.line(f"vector.maskedstore {place}, {self.names[mask]}, {x} : {memref}, "
                    f"{self.w.type(mask.type)}, {self.w.memory(v.type)}")

    def op_gather(self, s: Instr) -> None:
        t, (i, mask) = s.result.type, s.args
        b = s.attrs["buffer"]
        m = self.w.memory(t)
        zero = constant(self.w, 0, t.dtype, t.lanes, memory=True)
        if t.lanes == 1:
            place, memref = self.place(s, i)
            x = self.one_lane_load(mask, place, memref, m, zero)
        else:
            base = self.w.value("arith.constant 0 : index")
            x = self.w.value(
                f"vector.gather {self.buffers[b]}[{base}] [{self.names[i]}], {self.names[mask]}, "
                f"{zero} : {self.memrefs[b]}, {self.w.type(i.type)}, {self.w.type(mask.type)}, "
                f"{m} into {m}")
        self.names[s.result] = self.from_memory(x, t)

    def op_scatter(self, s: Instr) -> None:
        v, i, mask = s.args
        b = s.attrs["buffer"]
        x = self.to_memory(v)
        if v.lanes == 1:
            place, memref = self.place(s, i)
            self.one_lane_store(mask, x, place, memref)
            return
        base = self.w.value("arith.constant 0 : index")
        self.w.line(f"vector.scatter {self.buffers[b]}[{base}] [{self.names[i]}], "
                    f"{self.names[mask]}, {x} : {self.memrefs[b]}, {self.w.type(i.type)}, "
                    f"{self.w.type(mask.type)}, {self.w.memory(v.type)}")

    def one_lane_load(self, mask: KValue, place: str, memref: str, t: str, zero: str) -> str:
        w = self.w
        r = w.value(f"scf.if {self.names[mask]} -> ({t}) {{")
        w.depth += 1
        x = w.value(f"memref.load {place} : {memref}")
        w.line(f"scf.yield {x} : {t}")
        w.depth -= 1
        w.line("} else {")
        w.line(f"  scf.yield {zero} : {t}")
        w.line("}")
        return r

    def one_lane_store(self, mask: KValue, x: str, place: str, memref: str) -> None:
        self.w.line(f"scf.if {self.names[mask]} {{")
        self.w.line(f"  memref.store {x}, {place} : {memref}")
        self.w.line("}")


def memory_element(b: Buffer) -> str:
    return "i8" if b.dtype.kind == "b" else element(b.dtype)
