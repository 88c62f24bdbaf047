"""Sizes that are known only when the program runs.

A dim may be a `Size` instead of an int: a polynomial with integer coefficients over symbols, which
are 0-d i64 Values (the N of an input `x:f32[N,3]`, how many rows a mask selects) and quotients,
remainders, minima and maxima of Sizes. Equal polynomials are equal sizes, so that what padding adds
a slice takes away, and the two branches of a residual network meet with the same rows.

A Size answers what is true whatever it turns out to be (`N*3 // 3`, `N + 1 > N`), and takes the
general path where code asks whether there is anything at all. What else is asked of named dims (is
the image as large as the kernel?) is assumed as for large ones, and checked when the program runs;
of sizes that data decide it is refused (`Unsupported`): code that needs a number fails while the
program is built. What meets 1 or another size is in broadcasting.py.

Where data decide a size there may be nothing; memory then holds one row of zeros, so that a
position held within bounds can be read; the value read must not matter.
"""

from __future__ import annotations

import itertools
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Callable, Iterable, Iterator

from lowering import polynomials
from lowering.polynomials import Terms, added, never_negative, product, terms_of
from lowering.same_values import same_number
from runtime.named_dims import NamedDim

if TYPE_CHECKING:
    from lowering.tensor_ir import Value

class Unsupported(ValueError):
    """Right in PyTorch, but not something that we compile. The message says what would be."""


class Symbol:
    """A number of the run: that in `value`, a 0-d i64 Value, or `op` of `args` (floordiv, mod, min
    or max of ints and Sizes). `low` and `high` bound it; high may be None.

    Passes that replace the value by an equal one change `value` in place: the shapes that hold this
    object follow. Symbols of Values that surely are equal are equal."""

    __slots__ = ("value", "op", "args", "low", "high", "order", "__weakref__")
    _count = itertools.count()

    def __init__(self, value: Value | None, low: int, high: int | None, op: str = "",
                 args: tuple = ()):
        self.value, self.low, self.high, self.op, self.args = value, low, high, op, args
        self.order = next(Symbol._count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self.order == other.order

    def __hash__(self) -> int:
        return self.order

    def __repr__(self) -> str:
        if not self.op:
            return self.value.name
        a, b = (repr(x) if isinstance(x, int) or len(x.terms) == 1 else f"({x!r})"
                for x in self.args)
        sign = _SIGNS.get(self.op)
        return f"{self.op}({a}, {b})" if sign is None else f"({a}{sign}{b})"


_SIGNS = {"floordiv": "//", "mod": "%"}
_symbols: weakref.WeakSet[Symbol] = weakref.WeakSet()  # those of Values
_derived: weakref.WeakValueDictionary[tuple, Symbol] = weakref.WeakValueDictionary()


def _symbol_of(value: Value, low: int, high: int | None) -> Symbol:
    for s in _symbols:
        if s.value is value:
            return s
    made = Symbol(value, low, high)
    for s in _symbols:
        if same_number(s.value, value):
            made.order = s.order
            break
    _symbols.add(made)
    return made


def in_use(value: Value) -> Size | None:
    """The Size of a 0-d i64 Value, where one has been made of it or of an equal number: a tensor
    has it."""
    known = any(s.value is value or same_number(s.value, value) for s in _symbols)
    return Size(value) if known else None


def forget(values: Iterable[Value]) -> None:
    """No later Size is taken to be equal to one of these Values: nothing may read them any more."""
    gone = set(values)
    for s in [s for s in _symbols if s.value in gone]:
        _symbols.discard(s)
    for key, s in list(_derived.items()):
        if any(t.value in gone for t in symbols(s)):
            _derived.pop(key, None)


def _derive(op: str, a: Number, b: Number, low: int, high: int | None) -> Size:
    key = (op, a, b)
    symbol = _derived.get(key)
    if symbol is None:
        symbol = _derived[key] = Symbol(None, low, high, op, (a, b))
    return _size({(symbol,): 1})


class Size:
    """A polynomial: `terms` maps monomials to coefficients other than 0. `Size(value)` is the
    number in a 0-d i64 Value, which is at least `low` and at most `high`."""

    __slots__ = ("terms", "_hash")

    def __init__(self, value: Value, low: int = 0, high: int | None = None):
        self.terms: Terms = {(_symbol_of(value, low, high),): 1}
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __repr__(self) -> str:
        parts = []
        for monomial, k in self.terms.items():
            factors = [str(k)] if k != 1 or not monomial else []
            parts.append("*".join(factors + [repr(s) for s in monomial]))
        return "+".join(parts).replace("+-", "-")

    def __bool__(self) -> bool:
        return True

    @property
    def constant(self) -> int:
        return self.terms.get((), 0)

    # Arithmetic

    def __add__(self, other: object) -> Number:
        if not _is_number(other):
            return NotImplemented
        return _size(added(self.terms, terms_of(other)))

    __radd__ = __add__

    def __sub__(self, other: object) -> Number:
        if not _is_number(other):
            return NotImplemented
        return _size(added(self.terms, terms_of(other), -1))

    def __rsub__(self, other: object) -> Number:
        return (-self) + other if _is_number(other) else NotImplemented

    def __neg__(self) -> Size:
        return _size({m: -k for m, k in self.terms.items()})

    def __mul__(self, other: object) -> Number:
        if not _is_number(other):
            return NotImplemented
        return _size(product(self.terms, terms_of(other)))

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> Number:
        return floordiv(self, other) if _is_number(other) else NotImplemented

    def __rfloordiv__(self, other: object) -> Number:
        return floordiv(other, self) if _is_number(other) else NotImplemented

    def __mod__(self, other: object) -> Number:
        return mod(self, other) if _is_number(other) else NotImplemented

    def __rmod__(self, other: object) -> Number:
        return mod(other, self) if _is_number(other) else NotImplemented

    # Comparisons

    def __lt__(self, other: object) -> bool:
        return self._below(other, True)

    def __le__(self, other: object) -> bool:
        return self._below(other, False)

    def __gt__(self, other: object) -> bool:
        return not self._below(other, False)

    def __ge__(self, other: object) -> bool:
        return not self._below(other, True)

    def _below(self, other: Number, strict: bool) -> bool:
        """self < other, or self <= other. Where that asks whether there is anything, there is;
        else it may be assumed of named dims."""
        if at_least(other, self + strict):
            return True
        if at_least(self, other + 1 - strict):
            return False
        is_anything = other in ((0, 1) if strict else (0,))
        if is_anything and at_least(self, 0):
            return False
        if not all(s.low > 0 for s in symbols(self) + symbols(other)):
            self._refuse(f"compared with {other}")
        return assume(self, other, strict)

    def _refuse(self, done: str) -> int:
        raise Unsupported(f"a size that is known only at run time cannot be {done} here: the "
                          f"operator needs to know it when it is compiled ({self})")

    def __truediv__(self, other: object) -> int:
        return self._refuse("divided")

    __rtruediv__ = __truediv__

    def __index__(self) -> int:
        return self._refuse("taken as a number")

    __int__ = __index__
    __float__ = __index__


Number = int | Size


def of_symbol(s: Symbol) -> Size:
    """The number alone."""
    return _size({(s,): 1})


def of_dim(value: Value, dim: NamedDim) -> Size:
    """The size that a named dim's Value holds; of a multiple, the quotient is the unknown."""
    return Size(value, dim.low, dim.high) // dim.multiple * dim.multiple


def _is_number(x: object) -> bool:
    return isinstance(x, (int, Size))


def _size(terms: Terms) -> Number:
    """The polynomial; an int where no symbol is in it."""
    if not terms or terms.keys() == {()}:
        return terms.get((), 0)
    out = object.__new__(Size)
    out.terms, out._hash = terms, None
    return out


# Division


def divided(a: Number, b: Number) -> tuple[Number, Number]:
    """(q, r) with a = q * b + r, r holding what b does not divide; by an int, coefficients of r lie
    between 0 and b."""
    q, r = polynomials.divided(terms_of(a), terms_of(b))
    return _size(q), _size(r)


def divides(b: Number, a: Number) -> bool:
    """Whether b surely divides a."""
    if isinstance(a, int) and isinstance(b, int):
        return b != 0 and a % b == 0
    return b != 0 and divided(a, b)[1] == 0


def _euclidean(a: Number, b: Number) -> tuple[Number, Number]:
    """`divided`, with r = 0 where q surely is the quotient rounded down."""
    q, r = divided(a, b)
    if at_least(r, 0) and at_least(b, r + 1):
        return q, 0
    if at_least(-1, r) and at_least(r + b, 0):
        return q - 1, 0
    return q, r


def floordiv(a: Number, b: Number) -> Number:
    """a // b for positive b."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    q, r = _euclidean(a, b)
    if r == 0:
        return q
    if not at_least(b, 1):
        raise Unsupported(f"a size that is known only at run time cannot be divided by {b} here")
    if isinstance(b, int) and isinstance(r, Size):
        for (s,), k in ((m, k) for m, k in r.terms.items() if len(m) == 1):
            if k == 1 and s.op == "floordiv" and isinstance(s.args[1], int):  # (q + x // c) // b
                inner = s.args[1]
                return q + floordiv((r - of_symbol(s)) * inner + s.args[0], inner * b)
        low, high = bounds(r)
        return q + _derive("floordiv", r, b, low // b if low is not None else -_FAR,
                           high // b if high is not None else None)
    return q + _derive("floordiv", r, b, 0 if at_least(r, 0) else -_FAR, None)


def mod(a: Number, b: Number) -> Number:
    """a % b for positive b."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    q, r = _euclidean(a, b)
    if r == 0:
        return a - q * b
    if not at_least(b, 1):
        raise Unsupported(f"a size that is known only at run time cannot be divided by {b} here")
    if isinstance(b, int):  # by quotients: what pads n to a multiple of b makes it b * ceil(n / b)
        missing = divided(-r, b)[1]
        if _leading(missing) < _leading(r):
            return floordiv(missing + b - 1, b) * b - missing
        return r - floordiv(r, b) * b
    return _derive("mod", r, b, 0, None)


def _leading(x: Number) -> int:
    """The coefficient of the symbol that came first."""
    return next((k for m, k in terms_of(x).items() if m), 0)


def minimum(a: Number, b: Number) -> Number:
    if at_least(a, b):
        return b
    if at_least(b, a):
        return a
    lows, highs = zip(bounds(a), bounds(b))
    least = -_FAR if None in lows else min(lows)
    return _derive("min", a, b, least, min((h for h in highs if h is not None), default=None))


def maximum(a: Number, b: Number) -> Number:
    if at_least(a, b):
        return a
    if at_least(b, a):
        return b
    lows, highs = zip(bounds(a), bounds(b))
    return _derive("max", a, b, max((n for n in lows if n is not None), default=-_FAR),
                   None if None in highs else max(highs))


_FAR = 1 << 62


# What is surely true


def bounds(x: Number) -> tuple[int | None, int | None]:
    """Least and largest possible value, None where not known."""
    return polynomials.bounds(terms_of(x))


def common_bounds(numbers: Iterable[Number]) -> tuple[int, int | None]:
    """Bounds of a size that is one of these."""
    lows, highs = zip(*map(bounds, numbers))
    return max(0, min(n or 0 for n in lows)), None if None in highs else max(highs)


def at_least(a: object, b: object) -> bool:
    """Whether a >= b surely holds; False where it cannot be told."""
    if type(a) is int and type(b) is int:
        return a >= b
    return never_negative(added(terms_of(a), terms_of(b), -1))


# What is taken to be true, and checked when the program runs

Assumption = tuple[Number, Number]  # the first is at least the second
_assumed: ContextVar[Callable[[Assumption], None] | None] = ContextVar("assumed", default=None)


@contextmanager
def assumptions(take: Callable[[Assumption], None]) -> Iterator[None]:
    """Comparisons of sizes that cannot be told are answered as for large sizes, in the block, and
    the assumption goes to `take`."""
    token = _assumed.set(take)
    try:
        yield
    finally:
        _assumed.reset(token)


def assume(a: Size, b: Number, strict: bool) -> bool:
    """Whether a < b, or a <= b: as it is for sizes that cost models reckon with. Unsupported where
    nobody takes assumptions."""
    take = _assumed.get()
    if take is None:
        raise Unsupported(f"it depends on the sizes of the run whether {a} is less than {b}")
    yes = nominal(a) < nominal(b) + (not strict)
    take((b, a + strict) if yes else (a, b + 1 - strict))
    return yes


# Shapes


def is_dynamic(shape: Iterable) -> bool:
    """Whether a dim is known only at run time."""
    return any(type(n) is Size for n in shape)


def symbols(x: Number | Symbol) -> list[Symbol]:
    """The symbols of Values that a number depends on, those inside quotients included."""
    if type(x) is Symbol:
        return [s for a in x.args for s in symbols(a)] if x.op else [x]
    return [s for m in terms_of(x) for t in m for s in symbols(t)]


def size_values(shape: Iterable) -> list[Value]:
    """The 0-d Values that a shape depends on."""
    return list(dict.fromkeys(s.value for n in shape for s in symbols(n)))


def numel(shape: Iterable) -> Number:
    """How many elements."""
    n: Number = 1
    for extent in shape:
        n = n * extent
    return n


def nominal(n: Number) -> int:
    """A number to reckon with, where cost models ask."""
    return evaluate(n, _reckoned)


def _reckoned(s: Symbol) -> int:
    usual = _NAMED if s.low > 0 else _COUNTED
    return max(s.low, min(usual, usual if s.high is None else s.high))


def evaluate(n: Number, number: Callable[[Symbol], int]) -> int:
    """The number that n is where symbols of Values are `number(symbol)`."""
    if not isinstance(n, Size):
        return n
    total = 0
    for m, k in n.terms.items():
        for s in m:
            k *= evaluate_symbol(s, number)
        total += k
    return total


def evaluate_symbol(s: Symbol, number: Callable[[Symbol], int]) -> int:
    """The same of a symbol."""
    if not s.op:
        return number(s)
    return OPERATIONS[s.op](*(evaluate(x, number) for x in s.args))


# What derived symbols mean; by 0 as Kernels have it.
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "min": min,
    "max": max,
}

_NAMED, _COUNTED = 128, 64  # what named dims, and what data decide, are taken to be
