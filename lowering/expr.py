"""Scalar expressions: the bodies and index maps of TensorOps. Immutable trees, equal by value.

Leaves
    const   attr: a Python number
    index   attr: k. The k-th loop index of the enclosing op; dtype i64, 0 <= index < domain[k]
    load    attr: a tensor Value; args: one i64 expression a dim, each within the dim's bounds
    acc     the reduced value, in the `post` expression of a reduction only
    size    attr: a Symbol (lowering/sizes.py), a size known only at run time; dtype i64
Inner nodes have the names and meanings of the Kernel's instructions (llvm_backend/kernel.py):
add, sub, mul, div, floordiv, ..., lt, select, cast, exp, ... Operands of an arithmetic node have
one dtype; arithmetic on f16 and bf16 does not occur (bodies cast to f32 and back).
"""

from __future__ import annotations

from typing import Callable, Iterable

from llvm_backend.kernel import BINARY, COMPARE, UNARY
from lowering.sizes import Size, Symbol
from runtime.dtypes import DType, bool_, f32, i32, i64

Number = int | float | bool


class Expr:
    """A node. `==` compares structure (Values by identity); use eq()/ne() to build comparisons."""

    __slots__ = ("op", "args", "dtype", "attr", "_hash", "_nodes")

    def __init__(self, op: str, args: tuple[Expr, ...], dtype: DType, attr: object = None):
        self.op, self.args, self.dtype, self.attr = op, args, dtype, attr
        self._nodes: tuple[Expr, ...] | None = None  # what walk() found
        self._hash = hash((op, args, dtype.name, repr(attr) if op == "const" else attr))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expr) or self._hash != other._hash:
            return False
        same_attr = (
            repr(self.attr) == repr(other.attr) if self.op == "const" else self.attr == other.attr
        )
        return (
            self.op == other.op and self.dtype is other.dtype and same_attr
            and self.args == other.args
        )

    def __add__(self, o): return binary("add", self, o)
    def __radd__(self, o): return binary("add", o, self)
    def __sub__(self, o): return binary("sub", self, o)
    def __rsub__(self, o): return binary("sub", o, self)
    def __mul__(self, o): return binary("mul", self, o)
    def __rmul__(self, o): return binary("mul", o, self)
    def __truediv__(self, o): return binary("div", self, o)
    def __rtruediv__(self, o): return binary("div", o, self)
    def __floordiv__(self, o): return binary("floordiv", self, o)
    def __mod__(self, o): return binary("mod", self, o)
    def __neg__(self): return unary("neg", self)
    def __and__(self, o): return binary("and", self, o)
    def __or__(self, o): return binary("or", self, o)
    def __xor__(self, o): return binary("xor", self, o)
    def __invert__(self): return unary("not", self)
    def __lt__(self, o): return binary("lt", self, o)
    def __le__(self, o): return binary("le", self, o)
    def __gt__(self, o): return binary("gt", self, o)
    def __ge__(self, o): return binary("ge", self, o)

    def __repr__(self) -> str:
        if self.op == "const":
            return f"{self.attr}" if self.dtype is i64 else f"{self.attr}:{self.dtype}"
        if self.op == "index":
            return f"i{self.attr}"
        if self.op == "size":
            return repr(self.attr)
        if self.op == "load":
            return f"{self.attr.name}[{', '.join(map(repr, self.args))}]"
        if self.op == "cast":
            return f"{self.dtype}({self.args[0]!r})"
        return f"{self.op}({', '.join(map(repr, self.args))})"

    @property
    def is_const(self) -> bool:
        return self.op == "const"


def const(value: Number, dtype: DType = i64) -> Expr:
    """A constant; the value is brought to the dtype's Python kind (float, int or bool). A Size is
    the number that its Value holds."""
    if dtype is i64 and value in _SMALL:
        return _SMALL[value]
    if type(value) is Size:
        return cast(_polynomial(value), dtype)
    if dtype.is_float:
        value = float(value)
    elif dtype is bool_:
        value = bool(value)
    else:
        value = int(value)
    return Expr("const", (), dtype, value)


def _polynomial(n: Size) -> Expr:
    """A Size as an expression: the sum of its terms, the constant last."""
    total: Expr | None = None
    for monomial, k in sorted(n.terms.items(), key=lambda t: [-s.order for s in t[0]] or [1]):
        term = const(k) if not monomial else None
        for s in monomial:
            term = size(s) if term is None else Expr("mul", (term, size(s)), i64)
        if monomial and k != 1:
            term = Expr("mul", (term, const(k)), i64)
        total = term if total is None else Expr("add", (total, term), i64)
    assert total is not None
    return total


def size(symbol: Symbol) -> Expr:
    return Expr("size", (), i64, symbol)


def in_loads(n: Size | int) -> Expr:
    """A number of the run as an expression of the 0-d Values that it depends on."""
    def leaf(x: Expr) -> Expr | None:
        if x.op != "size":
            return None
        if not x.attr.op:
            return load(x.attr.value)
        return Expr(x.attr.op, tuple(in_loads(a) for a in x.attr.args), i64)

    return rewrite(const(n), leaf)


_SMALL: dict[int, Expr] = {}
_SMALL.update({k: const(k) for k in range(-16, 257)})


def index(k: int) -> Expr:
    return Expr("index", (), i64, k)


def load(value, indices: Iterable[Expr | int] = ()) -> Expr:
    """An element of a tensor Value."""
    args = tuple(as_index(i) for i in indices)
    if len(args) != len(value.shape):
        raise ValueError(f"{len(args)} indices for {value!r}")
    return Expr("load", args, value.dtype, value)


def acc(dtype: DType) -> Expr:
    return Expr("acc", (), dtype)


def as_index(i: Expr | int) -> Expr:
    return i if isinstance(i, Expr) else const(i)


def lift(x: Expr | Number, dtype: DType) -> Expr:
    return x if isinstance(x, Expr) else const(x, dtype)


def unary(op: str, a: Expr) -> Expr:
    """A unary node. Folds `not` of a constant and of another `not`."""
    assert op in UNARY, op
    if op == "not" and a.dtype is bool_:
        if a.is_const:
            return const(not a.attr, bool_)
        if a.op == "not":
            return a.args[0]
    return Expr(op, (a,), a.dtype)


def binary(op: str, a: Expr | Number, b: Expr | Number) -> Expr:
    """A binary node; a Python number takes the other operand's dtype. Folds integer constants, and
    bool ones in `and` and `or`. Arithmetic of bools is logic: mul and min are `and`."""
    dtype = a.dtype if isinstance(a, Expr) else b.dtype
    if dtype is bool_:
        op = {"mul": "and", "min": "and", "add": "or", "max": "or"}.get(op, op)
    a, b = lift(a, dtype), lift(b, dtype)
    if a.dtype is not b.dtype:
        raise TypeError(f"{op} of {a.dtype} and {b.dtype}")
    if dtype is i64:
        folded = _fold_index(op, a, b)
        if folded is not None:
            return folded
    if dtype is bool_ and op in ("and", "or"):
        for x, y in ((a, b), (b, a)):
            if x.is_const:
                return y if x.attr == (op == "and") else x
        if a == b:
            return a
    return Expr(op, (a, b), bool_ if op in COMPARE else dtype)


_INT_FOLD: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "min": min,
    "max": max,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


def _fold_index(op: str, a: Expr, b: Expr) -> Expr | None:
    """x + 0, x * 1, x * 0, 2 + 3 ...: keeps index maps small from the start."""
    if a.is_const and b.is_const and op in _INT_FOLD:
        folded = _INT_FOLD[op](a.attr, b.attr)
        if op in COMPARE:
            return const(folded, bool_)
        return const(folded) if -(2**63) <= folded < 2**63 else None
    if op in ("add", "sub") and b.is_const and b.attr == 0:
        return a
    if op == "add" and a.is_const and a.attr == 0:
        return b
    if op in ("mul", "floordiv") and b.is_const and b.attr == 1:
        return a
    if op == "mul" and a.is_const and a.attr == 1:
        return b
    if op == "mul" and ((a.is_const and a.attr == 0) or (b.is_const and b.attr == 0)):
        return const(0)
    return None


def eq(a: Expr, b: Expr | Number) -> Expr:
    return binary("eq", a, b)


def ne(a: Expr, b: Expr | Number) -> Expr:
    return binary("ne", a, b)


def minimum(a: Expr | Number, b: Expr | Number) -> Expr:
    """NaN if either is NaN."""
    return binary("min", a, b)


def maximum(a: Expr | Number, b: Expr | Number) -> Expr:
    """NaN if either is NaN."""
    return binary("max", a, b)


def select(c: Expr, a: Expr | Number, b: Expr | Number) -> Expr:
    dtype = a.dtype if isinstance(a, Expr) else b.dtype
    a, b = lift(a, dtype), lift(b, dtype)
    if c.is_const:
        return a if c.attr else b
    if a == b:
        return a
    return Expr("select", (c, a, b), a.dtype)


def cast(a: Expr, dtype: DType) -> Expr:
    """a in another dtype. Floats reach i8, i16 and u8 through i32: 300.0 and -1.0 wrap, as in
    PyTorch on x86-64."""
    if a.dtype is dtype:
        return a
    if a.dtype.is_float and dtype.is_integer and dtype.bits < 32:
        a = Expr("cast", (a,), i32)
    if a.is_const and not (a.dtype.is_float and not dtype.is_float) and dtype in (i64, f32, bool_):
        return const(a.attr, dtype) if dtype is not f32 else Expr("cast", (a,), dtype)
    return Expr("cast", (a,), dtype)


def isnan(a: Expr) -> Expr:
    return ne(a, a)


def walk(e: Expr) -> tuple[Expr, ...]:
    """Every distinct node, operands before users."""
    if e._nodes is None:
        found: dict[Expr, None] = {}

        def visit(x: Expr) -> None:
            for a in x.args:
                if a not in found:
                    visit(a)
            found[x] = None

        visit(e)
        e._nodes = tuple(found)
    return e._nodes


def rewrite(e: Expr, leaf: Callable[[Expr], Expr | None], memo: dict | None = None) -> Expr:
    """Rebuilds e bottom up; `leaf` may replace any node (operands already rebuilt), None keeps.

    A node that folds away leaves what its operands became, which `leaf` has seen: it must not see
    an index a second time, in 0*4 + i1 with i1 for i2.
    """
    memo = {} if memo is None else memo
    for x in walk(e):
        if x in memo:
            continue
        y, args = x, x.args
        if args:
            args = tuple([memo[a] for a in args])
            if any([p is not q for p, q in zip(args, x.args)]):
                y = rebuild(x, args)
        z = leaf(y) if y.op == x.op and y not in args else None
        memo[x] = y if z is None else z
    return memo[e]


def rebuild(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """The node with other operands, folded again where constants may decide it: in integer index
    arithmetic, its comparisons, and what selects by them."""
    if args and args[0].dtype in (i64, bool_):
        if e.op in BINARY or e.op in COMPARE:
            return binary(e.op, *args)
        if e.op == "not":
            return unary("not", args[0])
        if e.op == "cast":
            return cast(args[0], e.dtype)
        if e.op == "select":
            return select(*args)
    return Expr(e.op, args, e.dtype, e.attr)


def substitute(e: Expr, indices: tuple[Expr, ...], memo: dict | None = None) -> Expr:
    """e with index(k) replaced by indices[k]."""
    return rewrite(e, lambda x: indices[x.attr] if x.op == "index" else None, memo)


def loads(e: Expr) -> list[Expr]:
    """The distinct loads within e (those inside other loads' indices included), in order."""
    return [x for x in walk(e) if x.op == "load"]


def sizes(e: Expr) -> list[Expr]:
    """The distinct sizes of run time within e."""
    return [x for x in walk(e) if x.op == "size"]


def identity(ndim: int) -> tuple[Expr, ...]:
    return tuple(index(k) for k in range(ndim))
