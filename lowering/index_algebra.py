"""Simplifies integer index arithmetic, so that chains of views become affine maps again.

Everything rests on one canonical form: sum of coefficient * atom plus a constant, where an atom is
a loop index, a floordiv or mod that would not go away, or an opaque expression. Rules (x any, c > 0
a constant, r with 0 <= r < g proved by bounds):

    (c*q + r) // c            ~> q                          with g = c
    (c*q + r) %  c            ~> r
    (g*x + r) // (g*c)        ~> x // c
    (g*x + r) %  (g*c)        ~> g*(x % c) + r
    (q + x // a) // b         ~> (a*q + x) // (a*b)
    (x % (a*c)) // a          ~> (x // a) % c
    (q + k*(x % a)) % c       ~> (q + k*x) % c              with k*a a multiple of c, and
    (q + k*(x % a)) // c      ~> (q + k*x) // c - (k*a/c) * (x // a)
    k*(x % c) + k*c*(x // c)  ~> k*x
    k*(x % a) + k*a*((q + x // a) % b) ~> k*((a*q + x) % (a*b))

Arithmetic is taken not to overflow, as that of indices does not. Division by zero gives zero, as in
Kernels; divisors that are surely positive are taken apart, others left alone. Coefficients,
constants and divisors may be Sizes, of which what is surely true is used.
"""

from __future__ import annotations

import math

from lowering.expr import Expr, binary, const, rebuild
from lowering.sizes import (
    Number, Size, at_least, divided, divides, floordiv, maximum, minimum,
    mod, nominal, of_symbol,
)
from runtime.dtypes import i64

Affine = tuple[dict[Expr, Number], Number]
Bounds = tuple[Number, Number] | None
Extents = tuple
_ZERO: Affine = ({}, 0)
_ANY = (-(1 << 63), (1 << 63) - 1)
_LINEAR = frozenset(("add", "sub", "mul", "floordiv", "mod", "neg"))


class IndexAlgebra:
    """Simplifier for expressions over loop indices with known extents."""

    def __init__(self, extents: Extents):
        self.extents = extents
        self._memo: dict[Expr, Expr] = {}
        self._forms: dict[Expr, Affine] = {}
        self._bounds: dict[Expr, Bounds] = {}

    def simplify(self, e: Expr) -> Expr:
        """An equal expression in canonical form. Works inside any expression."""
        out = self._memo.get(e)
        if out is None:
            linear = e.dtype is i64 and e.op in _LINEAR
            out = self.build(self.affine(e)) if linear else self._rebuilt(e)
            self._memo[e] = out
        return out

    def _rebuilt(self, e: Expr) -> Expr:
        """e with its operands simplified, and decided where bounds decide it."""
        if e.op == "index":
            return const(0) if self.extents[e.attr] == 1 else e
        args = tuple(self.simplify(a) for a in e.args)
        return self._compare(e if args == e.args else rebuild(e, args))

    def affine(self, e: Expr) -> Affine:
        """The canonical form of an i64 expression. Not to be changed by the caller."""
        form = self._forms.get(e)
        if form is None:
            self._forms[e] = form = self._affine(e)
        return form

    def _affine(self, e: Expr) -> Affine:
        if e.op == "const":
            return {}, e.attr
        if e.op == "size":
            return {}, of_symbol(e.attr)
        if e.op in ("add", "sub"):
            a, b = self.affine(e.args[0]), self.affine(e.args[1])
            return self._recombine(_sum(a, b, 1 if e.op == "add" else -1))
        if e.op == "neg":
            return _sum(_ZERO, self.affine(e.args[0]), -1)
        if e.op == "mul":
            a, b = self.affine(e.args[0]), self.affine(e.args[1])
            if not a[0]:
                a, b = b, a
            if not b[0]:
                return self._recombine(_sum(_ZERO, a, b[1]))
        if e.op in ("floordiv", "mod"):
            d = self.affine(e.args[1])
            if not d[0] and at_least(d[1], 1):
                divide = self._floordiv if e.op == "floordiv" else self._mod
                return divide(self.affine(e.args[0]), d[1])
        if e.op in ("min", "max"):
            a, b = self.affine(e.args[0]), self.affine(e.args[1])
            if not a[0] and not b[0]:
                return {}, (minimum if e.op == "min" else maximum)(a[1], b[1])
        x = self._rebuilt(e)
        if x.is_const:
            return {}, x.attr
        if x is not e and x.op in _LINEAR:
            return self.affine(x)
        return {x: 1}, 0

    def build(self, form: Affine) -> Expr:
        """The expression of a canonical form; terms in a fixed order."""
        terms, c = form
        out: Expr | None = None
        for atom, k in sorted(terms.items(), key=_order):
            term = binary("mul", atom, k)
            out = term if out is None else binary("add", out, term)
        if out is None:
            return const(c)
        return binary("add", out, c)

    def bounds(self, e: Expr) -> Bounds:
        """Least and largest possible value of an i64 expression, None where not known."""
        if e not in self._bounds:
            self._bounds[e] = self._bounds_of(e)
        return self._bounds[e]

    def affine_bounds(self, form: Affine) -> Bounds:
        lo = hi = form[1]
        for atom, k in form[0].items():
            b = self.bounds(atom)
            grows = at_least(k, 0)
            if b is None or not (grows or at_least(0, k)):
                return None
            lo += k * (b[0] if grows else b[1])
            hi += k * (b[1] if grows else b[0])
        return lo, hi

    def _bounds_of(self, e: Expr) -> Bounds:
        if e.op == "const":
            return e.attr, e.attr
        if e.op == "index":
            n = self.extents[e.attr]
            return 0, n - 1 if type(n) is Size else max(n - 1, 0)
        if e.op == "size":
            return of_symbol(e.attr), of_symbol(e.attr)
        if e.op == "cast" and e.args[0].dtype.kind in "ub":
            return 0, (1 << e.args[0].dtype.bits) - 1 if e.args[0].dtype.kind == "u" else 1
        divisor = _divisor(e)
        if e.op == "mod" and divisor:
            return 0, divisor - 1
        if e.op in _LINEAR or e.op in ("min", "max"):
            return self._bounds_of_operation(e, divisor)
        args = [self.bounds(a) for a in e.args if a.dtype is i64]
        if e.op == "select" and None not in args:
            low, high = _ends([b[0] for b in args]), _ends([b[1] for b in args])
            return (low[0], high[1]) if low and high else None
        return _ANY if args or e.op in ("load", "cast", "acc") else None

    def _bounds_of_operation(self, e: Expr, divisor: Number | None) -> Bounds:
        args = [self.bounds(a) for a in e.args]
        if None in args:
            return None
        lows, highs = [b[0] for b in args], [b[1] for b in args]
        if e.op == "add":
            return sum(lows), sum(highs)
        if e.op == "sub":
            return lows[0] - highs[1], highs[0] - lows[1]
        if e.op == "neg":
            return -highs[0], -lows[0]
        if e.op == "mul":
            return _ends([p * q for p in args[0] for q in args[1]])
        if e.op == "floordiv" and divisor:
            return floordiv(lows[0], divisor), floordiv(highs[0], divisor)
        if e.op in ("min", "max"):
            pick = minimum if e.op == "min" else maximum
            return pick(*lows), pick(*highs)
        return _ANY

    def _within(self, form: Affine, limit: int) -> bool:
        b = self.affine_bounds(form)
        return b is not None and at_least(b[0], 0) and at_least(limit, b[1] + 1)

    def _split(self, form: Affine, c: Number) -> tuple[Affine, Affine]:
        """form = c * first + second, second taking what c does not divide."""
        whole: dict[Expr, Number] = {}
        rest: dict[Expr, Number] = {}
        for atom, v in form[0].items():
            q, r = divided(v, c)
            if r == 0:
                whole[atom] = q
            else:
                rest[atom] = v
        constant, left = divided(form[1], c)
        return (whole, constant), (rest, left)

    def _candidates(self, form: Affine, c: Number) -> list[Number]:
        """Divisors of c that some of the coefficients share, greatest first."""
        found: set[Number] = set()
        for v in form[0].values():
            if isinstance(v, int) and isinstance(c, int):
                g = math.gcd(v, c)
                found |= {g} | {math.gcd(g, other) for other in found}
            elif divides(v, c) and at_least(v, 2 if isinstance(v, int) else 1):
                found.add(v)
        found -= {0, 1, c}
        return sorted(found, key=lambda g: (nominal(g), repr(g)), reverse=True)

    def _floordiv(self, form: Affine, c: int) -> Affine:
        if c == 1:
            return form
        whole, rest = self._split(form, c)
        if self._within(rest, c):
            return whole
        for g in self._candidates(rest, c):
            scaled, small = self._split(rest, g)
            if self._within(small, g):
                return self._recombine(_sum(whole, self._floordiv(scaled, divided(c, g)[0])))
        for atom, k in rest[0].items():
            inner = _divisor(atom)
            if k == 1 and inner and atom.op == "floordiv":
                others = _sum(rest, ({atom: 1}, 0), -1)
                joined = _sum(self.affine(atom.args[0]), others, inner)
                return self._recombine(_sum(whole, self._floordiv(joined, inner * c)))
        atom, inner = _single(rest)
        if inner and atom.op == "mod" and divides(c, inner):
            quotient = self._floordiv(self.affine(atom.args[0]), c)
            return self._recombine(_sum(whole, self._mod(quotient, divided(inner, c)[0])))
        for atom, k in rest[0].items():
            inner = _divisor(atom)
            if inner and atom.op == "mod" and divides(c, k * inner):
                x = self.affine(atom.args[0])
                others = _sum(rest, ({atom: k}, 0), -1)
                quotient = self._floordiv(_sum(others, x, k), c)
                left = _sum(whole, self._floordiv(x, inner), divided(-k * inner, c)[0])
                return self._recombine(_sum(left, quotient))
        if not rest[0]:
            return _sum(whole, ({}, floordiv(rest[1], c)))
        return _sum(whole, ({Expr("floordiv", (self.build(rest), const(c)), i64): 1}, 0))

    def _mod(self, form: Affine, c: int) -> Affine:
        if c == 1:
            return _ZERO
        _, rest = self._split(form, c)
        if self._within(rest, c):
            return rest
        for atom, k in rest[0].items():
            inner = _divisor(atom)
            if inner and atom.op == "mod" and divides(c, k * inner):
                others = _sum(rest, ({atom: k}, 0), -1)
                return self._mod(_sum(others, self.affine(atom.args[0]), k), c)
        for g in self._candidates(rest, c):
            scaled, small = self._split(rest, g)
            if self._within(small, g):
                return self._recombine(_sum(small, self._mod(scaled, divided(c, g)[0]), g))
        if not rest[0]:
            return {}, mod(rest[1], c)
        return {Expr("mod", (self.build(rest), const(c)), i64): 1}, 0

    def _recombine(self, form: Affine) -> Affine:
        """k*(x % c) + k*c*(x // c) ~> k*x and its two-level form, until nothing changes."""
        terms, constant = form
        for low, k in terms.items():
            c = _divisor(low)
            if low.op != "mod" or c is None or len(terms) < 2:
                continue
            x = self.affine(low.args[0])
            high = self._floordiv(x, c)
            atom = _only_atom(high)
            if atom is not None and terms.get(atom) == k * c:
                rest = {t: v for t, v in terms.items() if t not in (low, atom)}
                return self._recombine(_sum((rest, constant - k * c * high[1]), x, k))
            for other, v in terms.items():
                outer = _divisor(other)
                if v != k * c or other.op != "mod" or outer is None:
                    continue
                z = self.affine(other.args[0])
                if atom is not None and z[0].get(atom) == 1:
                    rest = {t: u for t, u in terms.items() if t not in (low, other)}
                    joined = self._mod(_sum(x, _sum(z, high, -1), c), c * outer)
                    return self._recombine(_sum((rest, constant), joined, k))
        return form

    def _compare(self, e: Expr) -> Expr:
        """Decides comparisons, min and max of index expressions that bounds settle."""
        if e.op not in _DECIDE and e.op not in ("min", "max"):
            return e
        if len(e.args) != 2 or e.args[0].dtype is not i64:
            return e
        bounds = self.affine_bounds(self.affine(Expr("sub", e.args, i64)))
        if bounds is None:
            return e
        lo, hi = bounds
        if e.op in _DECIDE:
            holds, fails = _DECIDE[e.op]
            return const(True, e.dtype) if holds(lo, hi) else (
                const(False, e.dtype) if fails(lo, hi) else e)
        if at_least(0, hi):
            return e.args[0] if e.op == "min" else e.args[1]
        if at_least(lo, 0):
            return e.args[1] if e.op == "min" else e.args[0]
        return e


def _differ(lo: Number, hi: Number) -> bool:
    return at_least(lo, 1) or at_least(-1, hi)


# When a comparison of a and b surely holds, and surely fails, with lo <= a - b <= hi.
_DECIDE = {
    "lt": (lambda lo, hi: at_least(-1, hi), lambda lo, hi: at_least(lo, 0)),
    "le": (lambda lo, hi: at_least(0, hi), lambda lo, hi: at_least(lo, 1)),
    "gt": (lambda lo, hi: at_least(lo, 1), lambda lo, hi: at_least(0, hi)),
    "ge": (lambda lo, hi: at_least(lo, 0), lambda lo, hi: at_least(-1, hi)),
    "eq": (lambda lo, hi: lo == hi == 0, _differ),
    "ne": (_differ, lambda lo, hi: lo == hi == 0),
}


def _sum(a: Affine, b: Affine, scale: int = 1) -> Affine:
    """a + scale * b"""
    out = dict(a[0])
    for atom, v in b[0].items():
        s = out.get(atom, 0) + scale * v
        if s:
            out[atom] = s
        else:
            out.pop(atom, None)
    return out, a[1] + scale * b[1]


def _ends(numbers: list[Number]) -> Bounds:
    """The least and the greatest of some numbers, None where it cannot be told which they are."""
    low = [a for a in numbers if all(at_least(b, a) for b in numbers)]
    high = [a for a in numbers if all(at_least(a, b) for b in numbers)]
    return (low[0], high[0]) if low and high else None


def _divisor(e: Expr) -> Number | None:
    """c of x // c and x % c with a number c that is surely positive, else None."""
    if e.op not in ("floordiv", "mod"):
        return None
    c = as_number(e.args[1])
    return c if c is not None and at_least(c, 1) else None


def as_number(e: Expr) -> Number | None:
    """An expression of constants and sizes alone as a number, else None."""
    if e.op == "const":
        return e.attr
    if e.op == "size":
        return of_symbol(e.attr)
    if e.op not in ("add", "sub", "mul") or e.dtype is not i64:
        return None
    a, b = (as_number(x) for x in e.args)
    if a is None or b is None:
        return None
    return a + b if e.op == "add" else a - b if e.op == "sub" else a * b


def _only_atom(form: Affine) -> Expr | None:
    """The atom of 1 * atom + constant, else None."""
    if len(form[0]) == 1:
        (atom, k), = form[0].items()
        return atom if k == 1 else None
    return None


def _single(form: Affine) -> tuple[Expr | None, int | None]:
    """(atom, c) where the form is nothing but x // c or x % c with a constant c > 0."""
    atom = _only_atom(form) if form[1] == 0 else None
    return atom, _divisor(atom) if atom is not None else None


def _order(term: tuple[Expr, int]) -> tuple[int, int, str]:
    """Indices first, in their order, then everything else by its text."""
    atom = term[0]
    return (0, atom.attr, "") if atom.op == "index" else (1, 0, repr(atom))


def linearize(indices, strides) -> Expr:
    """sum of indices[k] * strides[k]."""
    out = const(0)
    for i, s in zip(indices, strides):
        out = out + i * s
    return out


def delinearize(flat: Expr, shape) -> tuple[Expr, ...]:
    """The row-major index tuple of a flat position in a tensor of that shape."""
    out: list[Expr] = []
    outermost = len(shape) - 1
    for k, n in enumerate(reversed(shape)):
        if k == outermost and type(n) is Size:  # its bound is the tensor's: nothing to take off
            out.append(flat)
            break
        out.append(flat % n if n != 0 else const(0))
        flat = flat // n if n != 0 else flat
    return tuple(reversed(out))


def contiguous_strides(shape) -> tuple[Number, ...]:
    """Row-major strides in elements."""
    strides, s = [], 1
    for n in reversed(shape):
        strides.append(s)
        s = s * (n if type(n) is Size else max(n, 1))
    return tuple(reversed(strides))

