"""The rules of a Kernel, checked: `verify(kernel)` raises ValueError that shows the place.

Checked are names and arity of instructions, types of operands and results, that every value is
defined before it is used and in scope, buffers (declared, of the right dtype, writable where
written), loops and yields, and where parallel loops may stand. Called on every kernel before it
is emitted, since a fault here would be silent in the machine code.
"""

from __future__ import annotations

from llvm_backend.kernel import (BINARY, COMBINERS, COMPARE, UNARY, For, If, Instr, Kernel, KValue,
                                 Stmt, Type)
from runtime.dtypes import bf16, bool_, f16, f32, i64

_FLOAT_ONLY = frozenset(
    "div fmin fmax sqrt rsqrt exp exp2 log log2 log10 log1p expm1 sin cos tan asin acos atan sinh "
    "cosh tanh asinh acosh atanh erf erfc erfinv lgamma digamma pow atan2 fmod ldexp".split())
_INT_ONLY = frozenset("idiv irem floordiv mod shl shr".split())
_BITS = frozenset("and or xor not".split())
_LOADS = {"load": 1, "load_masked": 2, "gather": 2}
_STORES = {"store": 2, "store_masked": 3, "scatter": 3}


def verify(kernel: Kernel) -> None:
    """ValueError names the kernel, the instruction and what is wrong with it."""
    _Verifier(kernel).run()


class _Verifier:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.scope: set[KValue] = set()
        self.trail: list[KValue] = []  # the scope in order of definition
        self.where = "the body"

    def run(self) -> None:
        if len(set(map(id, self.kernel.buffers))) != len(self.kernel.buffers):
            self.fail("a buffer is listed twice")
        for b in self.kernel.buffers:
            self.need(b.size >= 0 and b.align >= 1, f"buffer {b.name}: size {b.size}, "
                                                    f"alignment {b.align}")
        self.block(self.kernel.body, top=True)

    def fail(self, message: str) -> None:
        raise ValueError(f"kernel {self.kernel.name}, {self.where}: {message}")

    def need(self, condition: bool, message: str) -> None:
        if not condition:
            self.fail(message)

    def use(self, v: KValue) -> None:
        self.need(v in self.scope, f"a {v.type} is used that is not defined here")

    def define(self, v: KValue) -> None:
        self.need(v not in self.scope, f"a {v.type} is defined twice")
        self.scope.add(v)
        self.trail.append(v)

    def leave(self, mark: int) -> None:
        """Ends the scope that began when the trail was `mark` long."""
        self.scope.difference_update(self.trail[mark:])
        del self.trail[mark:]

    def block(self, statements: list[Stmt], top: bool = False) -> None:
        for n, s in enumerate(statements):
            if isinstance(s, Instr):
                self.instr(s)
            elif isinstance(s, For):
                self.loop(s, top and n == len(statements) - 1)
            else:
                self.branch(s)

    def loop(self, f: For, may_be_parallel: bool) -> None:
        self.where = f"for step {f.step} ({f.kind})"
        for v in (f.lo, f.hi):
            self.use(v)
            self.need(v.type == Type(i64), f"a bound is {v.type}, expected i64")
        self.need(f.step > 0 and f.unroll > 0, f"step {f.step}, unroll {f.unroll}")
        self.need(f.kind in ("serial", "parallel", "unrolled"), "unknown kind")
        if f.kind == "parallel":
            self.need(may_be_parallel, "a parallel loop must be the last statement of the body")
            self.need(not f.inits, "a parallel loop carries nothing")
        for v in f.inits:
            self.use(v)
        mark = len(self.trail)
        for v in (f.counter, *f.carried):
            self.define(v)
        self.block(f.body)
        self.where = f"yields of for step {f.step}"
        self.need(len(f.yields) == len(f.inits) == len(f.carried) == len(f.results),
                  f"{len(f.inits)} values carried, {len(f.yields)} yielded")
        for init, y in zip(f.inits, f.yields):
            self.use(y)
            self.need(init.type == y.type, f"carries {init.type}, yields {y.type}")
        self.leave(mark)
        for v in f.results:
            self.define(v)

    def branch(self, s: If) -> None:
        self.where = "if"
        self.use(s.condition)
        self.need(s.condition.type == Type(bool_), f"the condition is {s.condition.type}")
        mark = len(self.trail)
        for body in (s.then, s.otherwise):
            self.block(body)
            self.leave(mark)

    def instr(self, s: Instr) -> None:
        result = s.result.type if s.result is not None else None
        self.where = f"{s.op} {', '.join(str(a.type) for a in s.args)} -> {result}"
        for a in s.args:
            self.use(a)
        if s.op == "prefetch":
            self.arity(s, 1)
            self.need(s.attrs["buffer"] in self.kernel.buffers, "the buffer is not the kernel's")
            self.need(s.args[0].type == Type(i64), f"the index is {s.args[0].type}")
            self.need(s.result is None, "a prefetch has no result")
        elif s.op in _LOADS or s.op in _STORES:
            self.memory(s)
        else:
            self.need(s.result is not None, "no result")
            self.arithmetic(s, s.result.type)
        if s.result is not None:
            self.define(s.result)

    def memory(self, s: Instr) -> None:
        b = s.attrs["buffer"]
        self.need(b in self.kernel.buffers, f"buffer {b.name} is not the kernel's")
        if s.op in _LOADS:
            self.arity(s, _LOADS[s.op])
            value, (index, *mask) = s.result.type, s.args
        else:
            self.arity(s, _STORES[s.op])
            self.need(b.writable, f"buffer {b.name} is not writable")
            self.need(s.result is None, "a store has no result")
            value, (index, *mask) = s.args[0].type, s.args[1:]
        self.need(value.dtype is b.dtype, f"buffer {b.name} holds {b.dtype}")
        lanes = value.lanes if s.op in ("gather", "scatter") else 1
        self.need(index.type == Type(i64, lanes), f"the index is {index.type}")
        for m in mask:
            self.need(m.type == Type(bool_, value.lanes), f"the mask is {m.type}")

    def arity(self, s: Instr, n: int) -> None:
        self.need(len(s.args) == n, f"{len(s.args)} operands, expected {n}")

    def arithmetic(self, s: Instr, r: Type) -> None:
        op, types = s.op, [a.type for a in s.args]
        if op in ("const", "iota"):
            self.arity(s, 0)
        elif op in ("broadcast", "extract", "cast", "bitcast", "reduce"):
            self.arity(s, 1)
            self.conversion(s, types[0], r)
        elif op == "shuffle":
            self.arity(s, 2)
            lanes = s.attrs["lanes"]
            fits = types[0] == types[1] and r == Type(types[0].dtype, len(lanes))
            self.need(fits, "types differ")
            self.need(all(0 <= k < 2 * types[0].lanes for k in lanes), f"lanes {lanes}")
        elif op == "select":
            self.arity(s, 3)
            self.need(types[1] == types[2] == r, "types differ")
            self.need(types[0].dtype is bool_ and types[0].lanes in (1, r.lanes), "the condition")
        elif op == "dot2":
            self.arity(s, 3)
            self.need(types[0] == types[1] == Type(bf16, 2 * r.lanes), "expected pairs of bf16")
            self.need(types[2] == r and r.dtype is f32 and r.lanes > 1, "expected sums in f32")
        elif op in COMPARE:
            self.arity(s, 2)
            self.need(types[0] == types[1] and r == Type(bool_, types[0].lanes), "types differ")
        elif op in UNARY or op in BINARY or op in ("fma", "ldexp"):
            self.arity(s, 1 if op in UNARY else 3 if op == "fma" else 2)
            self.need(all(t == r for t in types), "types differ")
            self.domain(op, r)
        else:
            self.fail("unknown instruction")

    def domain(self, op: str, r: Type) -> None:
        d = r.dtype
        self.need(d not in (f16, bf16), "no arithmetic in f16 and bf16: cast to f32")
        if op in _FLOAT_ONLY:
            self.need(d.is_float, "floats only")
        elif op in _INT_ONLY:
            self.need(d.is_integer, "integers only")
        elif op in _BITS:
            self.need(not d.is_float, "no floats")
        elif op not in ("min", "max"):
            self.need(d is not bool_, "no bools")

    def conversion(self, s: Instr, a: Type, r: Type) -> None:
        op = s.op
        if op == "broadcast":
            self.need(a == Type(r.dtype), "expected a scalar of the same dtype")
        elif op == "extract":
            self.need(r == Type(a.dtype) and 0 <= s.attrs["lane"] < a.lanes, "lane or type")
        elif op == "reduce":
            self.need(r == Type(a.dtype), "types differ")
            self.need(s.attrs["combine"] in COMBINERS, "unknown combiner")
            self.domain(s.attrs["combine"] if a.dtype is not bool_ else "and", a)
        else:
            self.need(a.lanes == r.lanes, "lanes differ")
            if op == "bitcast":
                same = a.dtype.bits == r.dtype.bits and bool_ not in (a.dtype, r.dtype)
                self.need(same, "bitcast needs equal widths, and no bool")
