"""Values with Python's operators over Kernel instructions: what vector math is written in.

A `V` is a KValue and the `MathEmitter` that appends instructions to a list. Numbers on either side
of an operator become constants of the value's dtype and lanes. Comparisons give bool values.
"""

from __future__ import annotations

from typing import Callable, Sequence, Union

from llvm_backend.kernel import For, Instr, KValue, Stmt, Type
from llvm_backend.target import Target
from runtime.dtypes import DType, bool_, f32, f64, i32, i64

Number = Union[int, float]
Body = Callable[[list["V"]], list["V"]]


class MathEmitter:
    """Appends to `out`. fma: the target has it (else products and sums round separately)."""

    def __init__(self, out: list[Stmt], target: Target):
        self.out = out
        x86 = target.triple.startswith("x86_64")
        self.fma = not x86 or "fma" in target.features
        self.scalef = x86 and "avx512f" in target.features and "avx512vl" in target.features

    def emit(self, op: str, args: Sequence[KValue], type: Type, **attrs) -> V:
        instr = Instr(op, tuple(args), type, **attrs)
        self.out.append(instr)
        return V(self, instr.result)

    def const(self, value: Number, dtype: DType, lanes: int) -> V:
        return self.emit("const", (), Type(dtype, lanes), value=value)


class V:
    """One value; `x.e` is its emitter, `x.k` the KValue."""

    __slots__ = ("e", "k")

    def __init__(self, e: MathEmitter, k: KValue):
        self.e, self.k = e, k

    @property
    def dtype(self) -> DType:
        return self.k.dtype

    @property
    def single(self) -> bool:
        return self.k.dtype is f32

    def const(self, value: Number) -> V:
        """The number with this value's dtype and lanes."""
        return self.e.const(value, self.dtype, self.k.lanes)

    def _other(self, b: V | Number) -> V:
        return b if isinstance(b, V) else self.const(b)

    def _two(self, op: str, a: V, b: V) -> V:
        return self.e.emit(op, (a.k, b.k), self.k.type)

    def _compare(self, op: str, b: V | Number) -> V:
        return self.e.emit(op, (self.k, self._other(b).k), Type(bool_, self.k.lanes))

    def __add__(self, b): return self._two("add", self, self._other(b))
    def __radd__(self, b): return self._two("add", self._other(b), self)
    def __sub__(self, b): return self._two("sub", self, self._other(b))
    def __rsub__(self, b): return self._two("sub", self._other(b), self)
    def __mul__(self, b): return self._two("mul", self, self._other(b))
    def __rmul__(self, b): return self._two("mul", self._other(b), self)
    def __truediv__(self, b): return self._two("div", self, self._other(b))
    def __rtruediv__(self, b): return self._two("div", self._other(b), self)
    def __and__(self, b): return self._two("and", self, self._other(b))
    def __or__(self, b): return self._two("or", self, self._other(b))
    def __xor__(self, b): return self._two("xor", self, self._other(b))
    def __lshift__(self, b): return self._two("shl", self, self._other(b))
    def __rshift__(self, b): return self._two("shr", self, self._other(b))
    def __lt__(self, b): return self._compare("lt", b)
    def __le__(self, b): return self._compare("le", b)
    def __gt__(self, b): return self._compare("gt", b)
    def __ge__(self, b): return self._compare("ge", b)
    def __neg__(self): return self.unary("neg")
    def __abs__(self): return self.unary("abs")
    def __invert__(self): return self.unary("not")

    def plain_product(self, b: V) -> V:
        """self * b, never contracted into a multiply-add."""
        return self.e.emit("mul", (self.k, b.k), self.k.type, strict=True)

    def equals(self, b: V | Number) -> V:
        return self._compare("eq", b)

    def differs(self, b: V | Number) -> V:
        return self._compare("ne", b)

    def unary(self, op: str) -> V:
        return self.e.emit(op, (self.k,), self.k.type)

    def minimum(self, b: V | Number) -> V:
        return self._two("min", self, self._other(b))

    def maximum(self, b: V | Number) -> V:
        return self._two("max", self, self._other(b))

    def times_plus(self, b: V | Number, c: V | Number) -> V:
        """self * b + c, rounded once where the target can."""
        return self.e.emit("fma", (self.k, self._other(b).k, self._other(c).k), self.k.type)

    def rounded(self, op: str) -> V:
        """op: floor, ceil, trunc or round."""
        return self.unary(op)

    def cast(self, dtype: DType) -> V:
        return self.e.emit("cast", (self.k,), Type(dtype, self.k.lanes))

    def bits(self) -> V:
        """The bits as integers of the same width."""
        return self.e.emit("bitcast", (self.k,), Type(i32 if self.single else i64, self.k.lanes))

    def as_float(self) -> V:
        """The float with these bits."""
        to = f32 if self.dtype is i32 else f64
        return self.e.emit("bitcast", (self.k,), Type(to, self.k.lanes))


def where(condition: V, a: V | Number, b: V | Number) -> V:
    """a where the condition holds, else b; one of the two must be a value."""
    like = a if isinstance(a, V) else b
    a, b = like._other(a), like._other(b)
    return like.e.emit("select", (condition.k, a.k, b.k), like.k.type)


def polynomial(x: V, coefficients: Sequence[float]) -> V:
    """sum coefficients[k] x^k by Horner's rule."""
    r = x.const(coefficients[-1])
    for c in coefficients[-2::-1]:
        r = r.times_plus(x, c)
    return r


def polynomial_in_halves(x: V, coefficients: Sequence[float]) -> V:
    """The same as E(x^2) + x O(x^2): one product more, half as many steps one after the other."""
    square = x * x
    even, odd = polynomial(square, coefficients[::2]), polynomial(square, coefficients[1::2])
    return odd.times_plus(x, even)


def two_product(a: V, b: V) -> tuple[V, V]:
    """(p, q): p = a * b rounded, p + q = a * b exactly (Veltkamp's and Dekker's without FMA)."""
    p = a.plain_product(b)
    if a.e.fma:
        return p, a.times_plus(b, -p)
    factor = a.const(2.0**12 + 1 if a.single else 2.0**27 + 1)

    def halves(x: V) -> tuple[V, V]:
        big = x.plain_product(factor)
        high = big - (big - x)
        return high, x - high

    (ah, al), (bh, bl) = halves(a), halves(b)
    q = ((ah * bh - p) + ah * bl + al * bh) + al * bl
    return p, q


def two_sum(a: V, b: V) -> tuple[V, V]:
    """(s, t): s = a + b rounded, s + t = a + b exactly."""
    s = a + b
    other = s - a
    return s, (a - (s - other)) + (b - other)


def with_sign(size: V, sign: V) -> V:
    """|size| with the sign bit of `sign`."""
    mask = -(1 << 31) if size.single else -(1 << 63)
    keep = size.bits() & ~mask
    return (keep | (sign.bits() & mask)).as_float()


def flip_sign(x: V, bit: V) -> V:
    """x with its sign changed where `bit`, an integer, has its lowest bit set."""
    return (x.bits() ^ (bit << (31 if x.single else 63))).as_float()


def when_any(condition: V, inits: Sequence[V], body: Body) -> list[V]:
    """body(values) -> values, run only if some lane's condition holds; else the values stay.

    A loop of 0 or 1 iterations, since a loop can carry values out and an If cannot."""
    e = condition.e
    if condition.k.lanes > 1:
        condition = e.emit("reduce", (condition.k,), Type(bool_), combine="or")
    return repeat(condition.cast(i64), inits, body)


def repeat(trips: V, inits: Sequence[V], body: Body) -> list[V]:
    """body(values) -> values, `trips` (a scalar i64) times."""
    e = trips.e
    loop = For(e.const(0, i64, 1).k, trips.k, 1, "serial", [v.k for v in inits])
    outer, e.out = e.out, loop.body
    loop.yields = [v.k for v in body([V(e, k) for k in loop.carried])]
    e.out = outer
    e.out.append(loop)
    return [V(e, k) for k in loop.results]
