"""Kernel: a scheduled loop program with nothing left to decide.

A kernel is a function of flat, non-overlapping buffers. Its body is a list of instructions in SSA
form; loops carry values, so register tiles are loop-carried vectors. Every value is a vector of
`lanes` elements of one dtype; lanes == 1 is a scalar. Indices are i64 element counts, never bytes.

Instructions (`Instr.op`), by family; a and b have equal types unless said otherwise:

    const            attrs: value. Splat over the lanes.
    iota             0, 1, 2 ... over the lanes.
    broadcast a      a scalar to every lane.
    extract a        attrs: lane. One lane as a scalar.
    shuffle a,b      attrs: lanes. Lane l is lane lanes[l] of a followed by b; two lanes or more.
    load i           attrs: buffer, offset. Lanes consecutive elements from buffer[i + offset].
    load_masked i,m  the same where mask m is true; false lanes read as zero and touch no memory.
    gather i,m       attrs: buffer. Lane l is buffer[i[l]] where m[l], else zero.
    prefetch i       attrs: buffer, offset. A hint: buffer[i + offset] is read soon. No result.
    store v,i        attrs: buffer, offset. No result.
    store_masked v,i,m;  scatter v,i,m      the writing forms. Equal indices: the last lane wins.
    add sub mul      integers wrap; floats round once (a product and a sum may be contracted).
    div              floats only. idiv: integers, towards zero; x idiv 0 is 0, MIN idiv -1 is MIN.
    irem             sign of the dividend; x irem 0 is 0.
    floordiv mod     integers, to minus infinity; mod has the divisor's sign; by 0 as idiv, irem.
    fma a,b,c        a * b + c, rounded once where the target has the instruction, else twice.
    dot2 a,b,c       a and b of bf16, twice as many lanes as c, of f32: lane l is c[l]
                     + a[2l] * b[2l] + a[2l+1] * b[2l+1], in an order and with roundings of the
                     target's; subnormal numbers may count as 0.
    min max          NaN if either is NaN (floats). fmin fmax: the other one if one is NaN.
    neg abs sqrt floor ceil trunc round       round: ties to even.
    and or xor not   integers bitwise, bool logical. shl shr: shr is arithmetic for signed.
    lt le gt ge eq ne            result bool. Comparisons with NaN are false, ne is true.
    select c,a,b     lane-wise, c bool.
    cast a           to the result dtype. float to int: towards zero, saturating, NaN is 0.
                     int to narrower int wraps. anything to bool: != 0. float rounding ties to even;
                     f64 and integers reach f16 and bf16 through f32.
    bitcast a        same bits.
    exp exp2 log log2 log10 log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh
    erf erfc erfinv lgamma digamma rsqrt      pow atan2 fmod     floats; expanded by vector math.
    ldexp a,n        a * 2^n for integral floats n, rounded once; only vector math writes it.
    reduce a         attrs: combine (add mul min max and or). Lanes to a scalar, as a balanced tree.

f16 and bf16 appear only in moves, cast and dot2: other arithmetic is done in f32 after a
cast. bool values are one bit in registers and one byte (0 or 1) in buffers.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Iterator, Sequence

from runtime.dtypes import DType, bool_, i64

UNARY = frozenset(
    "neg abs sqrt rsqrt floor ceil trunc round not exp exp2 log log2 log10 log1p expm1 sin cos tan "
    "asin acos atan sinh cosh tanh asinh acosh atanh erf erfc erfinv lgamma digamma".split()
)
BINARY = frozenset(
    "add sub mul div idiv irem floordiv mod min max fmin fmax and or xor shl shr pow atan2 "
    "fmod".split()
)
COMPARE = frozenset("lt le gt ge eq ne".split())
COMBINERS = frozenset("add mul min max and or".split())


@dataclass(frozen=True)
class Type:
    """dtype and lanes of a value."""

    dtype: DType
    lanes: int = 1

    def __str__(self) -> str:
        return str(self.dtype) if self.lanes == 1 else f"{self.dtype}x{self.lanes}"


class Buffer:
    """A parameter of the kernel: `size` elements; distinct parameters never overlap."""

    __slots__ = ("name", "dtype", "size", "writable", "align")

    def __init__(self, name: str, dtype: DType, size: int, writable: bool, align: int = 1):
        self.name, self.dtype, self.size = name, dtype, size
        self.writable, self.align = writable, align  # align: the address is a multiple of it


class KValue:
    """An SSA value: the result of an instruction, a loop counter or a loop-carried value."""

    __slots__ = ("type", "producer")

    def __init__(self, type: Type, producer: object = None):
        self.type, self.producer = type, producer

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def lanes(self) -> int:
        return self.type.lanes


class Instr:
    """One instruction. `result` is None for stores."""

    __slots__ = ("op", "args", "attrs", "result")

    def __init__(self, op: str, args: tuple[KValue, ...], type: Type | None, **attrs):
        self.op, self.args, self.attrs = op, args, attrs
        self.result = KValue(type, self) if type is not None else None


class For:
    """counter = lo, lo+step ... while counter < hi; lo <= hi need not hold (then no iteration).

    carried[k] starts as inits[k] and takes yields[k] after every iteration; results[k] is its last
    value. kind 'serial'; 'parallel' (outermost only, nothing carried): iterations are independent,
    and where the kernel computes their number, it counts from 0 by 1 and 1 is too little to divide;
    'unrolled' (constant bounds): every iteration written out. unroll: a serial loop with constant
    bounds has its body written out that many times a turn (what is left over, after it).
    """

    __slots__ = ("lo", "hi", "step", "kind", "unroll", "counter", "inits", "carried", "yields",
                 "results", "body")

    def __init__(self, lo: KValue, hi: KValue, step: int, kind: str, inits: Sequence[KValue],
                 unroll: int = 1):
        self.lo, self.hi, self.step, self.kind = lo, hi, step, kind
        self.unroll = unroll
        self.counter = KValue(Type(i64), self)
        self.inits = list(inits)
        self.carried = [KValue(v.type, self) for v in inits]
        self.results = [KValue(v.type, self) for v in inits]
        self.yields: list[KValue] = []
        self.body: list[Stmt] = []


class If:
    """Runs `then` or `otherwise` by a scalar bool; stores are the only effect, no results."""

    __slots__ = ("condition", "then", "otherwise")

    def __init__(self, condition: KValue):
        self.condition = condition
        self.then: list[Stmt] = []
        self.otherwise: list[Stmt] = []


Stmt = Instr | For | If


@dataclass
class Kernel:
    """A name, buffers in calling order, and a body. Two kernels of equal text are one function."""

    name: str
    buffers: list[Buffer] = field(default_factory=list)
    body: list[Stmt] = field(default_factory=list)
    flops: int = 0  # arithmetic of the algorithm, for reports

    @property
    def parallel(self) -> For | None:
        """The outermost parallel loop, when the whole body is that loop."""
        last = self.body[-1] if self.body else None
        return last if isinstance(last, For) and last.kind == "parallel" else None


class KernelBuilder:
    """Builds one kernel. Scalar integer arguments may be given as Python ints."""

    def __init__(self, name: str):
        self.kernel = Kernel(name)
        self._blocks: list[list[Stmt]] = [self.kernel.body]
        self._constants: list[dict] = [{}]
        self._first = 0  # so many statements stand before all others
        self._first_constants: dict = {}

    @contextmanager
    def at_start(self) -> Iterator[None]:
        """What is emitted in the block comes before all else in the kernel."""
        inside, constants = self._blocks, self._constants
        if constants[0] is self._first_constants:  # at the start already
            yield
            return
        self._blocks, self._constants = [[]], [self._first_constants]
        yield
        first, = self._blocks
        self._blocks, self._constants = inside, constants
        self.kernel.body[self._first:self._first] = first
        self._first += len(first)

    def buffer(self, name: str, dtype: DType, size: int, writable: bool, align: int = 1) -> Buffer:
        b = Buffer(name, dtype, size, writable, align)
        self.kernel.buffers.append(b)
        return b

    def emit(self, op: str, args: Sequence[KValue], type: Type | None, **attrs) -> KValue | None:
        instr = Instr(op, tuple(args), type, **attrs)
        self._blocks[-1].append(instr)
        return instr.result

    # Values without operands

    def const(self, value: int | float | bool, dtype: DType = i64, lanes: int = 1) -> KValue:
        key = (repr(value), dtype, lanes)
        for scope in self._constants:
            if key in scope:
                return scope[key]
        v = self.emit("const", (), Type(dtype, lanes), value=value)
        self._constants[-1][key] = v
        return v

    def iota(self, lanes: int, dtype: DType = i64) -> KValue:
        return self.emit("iota", (), Type(dtype, lanes))

    def index(self, i: KValue | int) -> KValue:
        return self.const(i) if isinstance(i, int) else i

    # Memory

    def load(self, buffer: Buffer, i: KValue | int, lanes: int = 1, offset: int = 0,
             mask: KValue | None = None) -> KValue:
        t = Type(buffer.dtype, lanes)
        if mask is None:
            return self.emit("load", (self.index(i),), t, buffer=buffer, offset=offset)
        return self.emit("load_masked", (self.index(i), mask), t, buffer=buffer, offset=offset)

    def prefetch(self, buffer: Buffer, i: KValue | int, offset: int = 0) -> None:
        self.emit("prefetch", (self.index(i),), None, buffer=buffer, offset=offset)

    def gather(self, buffer: Buffer, i: KValue, mask: KValue | None = None) -> KValue:
        mask = mask if mask is not None else self.const(True, bool_, i.lanes)
        return self.emit("gather", (i, mask), Type(buffer.dtype, i.lanes), buffer=buffer)

    def store(self, buffer: Buffer, i: KValue | int, v: KValue, offset: int = 0,
              mask: KValue | None = None) -> None:
        if mask is None:
            self.emit("store", (v, self.index(i)), None, buffer=buffer, offset=offset)
        else:
            self.emit("store_masked", (v, self.index(i), mask), None, buffer=buffer, offset=offset)

    def scatter(self, buffer: Buffer, i: KValue, v: KValue, mask: KValue | None = None) -> None:
        mask = mask if mask is not None else self.const(True, bool_, i.lanes)
        self.emit("scatter", (v, i, mask), None, buffer=buffer)

    # Arithmetic

    def unary(self, op: str, a: KValue) -> KValue:
        return self.emit(op, (a,), a.type)

    def binary(self, op: str, a: KValue, b: KValue | int) -> KValue:
        b = self.index(b)
        return self.emit(op, (a, b), Type(bool_, a.lanes) if op in COMPARE else a.type)

    def add(self, a: KValue, b: KValue | int) -> KValue:
        return a if isinstance(b, int) and b == 0 else self.binary("add", a, b)

    def mul(self, a: KValue, b: KValue | int) -> KValue:
        return a if isinstance(b, int) and b == 1 else self.binary("mul", a, b)

    def fma(self, a: KValue, b: KValue, c: KValue) -> KValue:
        return self.emit("fma", (a, b, c), c.type)

    def dot2(self, a: KValue, b: KValue, c: KValue) -> KValue:
        return self.emit("dot2", (a, b, c), c.type)

    def select(self, c: KValue, a: KValue, b: KValue) -> KValue:
        return self.emit("select", (c, a, b), a.type)

    def cast(self, a: KValue, dtype: DType) -> KValue:
        return a if a.dtype is dtype else self.emit("cast", (a,), Type(dtype, a.lanes))

    def bitcast(self, a: KValue, dtype: DType) -> KValue:
        return self.emit("bitcast", (a,), Type(dtype, a.lanes))

    def broadcast(self, a: KValue, lanes: int) -> KValue:
        return a if a.lanes == lanes else self.emit("broadcast", (a,), Type(a.dtype, lanes))

    def extract(self, a: KValue, lane: int) -> KValue:
        return self.emit("extract", (a,), Type(a.dtype), lane=lane)

    def shuffle(self, a: KValue, b: KValue, lanes: Sequence[int]) -> KValue:
        return self.emit("shuffle", (a, b), Type(a.dtype, len(lanes)), lanes=tuple(lanes))

    def reduce(self, combine: str, a: KValue) -> KValue:
        return a if a.lanes == 1 else self.emit("reduce", (a,), Type(a.dtype), combine=combine)

    def first_lanes(self, count: KValue | int, lanes: int) -> KValue:
        """A mask whose first `count` lanes are true (all when count >= lanes)."""
        return self.binary("lt", self.iota(lanes), self.broadcast(self.index(count), lanes))

    # Structure

    @contextmanager
    def loop(self, lo: KValue | int, hi: KValue | int, step: int = 1, kind: str = "serial",
             carried: Sequence[KValue] = (), unroll: int = 1) -> Iterator[For]:
        """`with b.loop(0, n, carried=[acc]) as f:` uses f.counter, f.carried; set f.yields inside.

        After the block f.results holds the final carried values."""
        node = For(self.index(lo), self.index(hi), step, kind, carried, unroll)
        self._blocks[-1].append(node)
        with self._block(node.body):
            yield node
        if len(node.yields) != len(node.carried):
            raise ValueError(f"loop carries {len(node.carried)} values, yields {len(node.yields)}")

    @contextmanager
    def if_(self, condition: KValue) -> Iterator[If]:
        node = If(condition)
        self._blocks[-1].append(node)
        with self._block(node.then):
            yield node

    @contextmanager
    def otherwise(self, node: If) -> Iterator[None]:
        with self._block(node.otherwise):
            yield

    @contextmanager
    def _block(self, statements: list[Stmt]) -> Iterator[None]:
        self._blocks.append(statements)
        self._constants.append({})
        yield
        self._blocks.pop()
        self._constants.pop()
