"""Simplifies integer index arithmetic, so that chains of views become affine maps again.

Everything rests on one canonical form: sum of coefficient * atom plus a constant, where an atom is
a loop index, a floordiv or mod that would not go away, or an opaque expression. Rules (x any, c > 0
a constant, r with 0 <= r < g proved by bounds):

    (c*q + r) // c            ~> q                          with g = c
    (c*q + r) %  c            ~> r
    (g*x + r) // (g*c)        ~> x // c
    (g*x + r) %  (g*c)        ~> g*(x % c) + r
    (x // a) // b             ~> x // (a*b)
    (x % (a*c)) // a          ~> (x // a) % c
    (x % (a*c)) % a           ~> x % a
    k*(x % c) + k*c*(x // c)  ~> k*x
    k*(x % a) + k*a*((x // a) % b) ~> k*(x % (a*b))
"""

from __future__ import annotations

import math

from lowering.expr import Expr, binary, const, rebuild
from runtime.dtypes import i64

Affine = tuple[dict[Expr, int], int]
Extents = tuple


class IndexAlgebra:
    """Simplifier for expressions over loop indices with known extents."""

    def __init__(self, extents: Extents):
        self.extents = extents
        self._memo: dict[Expr, Expr] = {}
        self._bounds: dict[Expr, tuple[int, int] | None] = {}

    def simplify(self, e: Expr) -> Expr:
        """An equal expression in canonical form. Works inside any expression."""
        if e in self._memo:
            return self._memo[e]
        if e.dtype is i64 and e.op in ("add", "sub", "mul", "floordiv", "mod", "neg"):
            out = self.build(self.affine(e))
        elif e.op == "index" and self.extents[e.attr] == 1:
            out = const(0)
        else:
            args = tuple(self.simplify(a) for a in e.args)
            out = self._compare(e if args == e.args else rebuild(e, args))
        self._memo[e] = out
        return out

    def affine(self, e: Expr) -> Affine:
        """The canonical form of an i64 expression."""
        if e.op == "const":
            return {}, e.attr
        if e.op == "index":
            return ({}, 0) if self.extents[e.attr] == 1 else ({e: 1}, 0)
        if e.op in ("add", "sub"):
            a, ca = self.affine(e.args[0])
            b, cb = self.affine(e.args[1])
            sign = 1 if e.op == "add" else -1
            return self._recombine(_plus(a, b, sign)), ca + sign * cb
        if e.op == "neg":
            a, c = self.affine(e.args[0])
            return {k: -v for k, v in a.items()}, -c
        if e.op == "mul":
            a, ca = self.affine(e.args[0])
            b, cb = self.affine(e.args[1])
            if not b:
                return ({k: v * cb for k, v in a.items()} if cb else {}), ca * cb
            if not a:
                return ({k: v * ca for k, v in b.items()} if ca else {}), ca * cb
        if e.op in ("floordiv", "mod"):
            d = self.affine(e.args[1])
            if not d[0] and d[1] > 0:
                divide = self._floordiv if e.op == "floordiv" else self._mod
                return divide(self.affine(e.args[0]), d[1])
        args = tuple(self.simplify(a) for a in e.args)
        x = e if args == e.args else rebuild(e, args)
        return ({}, x.attr) if x.is_const else ({x: 1}, 0)

    def build(self, form: Affine) -> Expr:
        """The expression of a canonical form; terms in a fixed order."""
        terms, c = form
        out: Expr | None = None
        for atom, k in sorted(terms.items(), key=lambda t: (_order(t[0]), repr(t[0]))):
            term = binary("mul", atom, k)
            out = term if out is None else binary("add", out, term)
        if out is None:
            return const(c)
        return binary("add", out, c)

    def bounds(self, e: Expr) -> tuple[int, int] | None:
        """Least and largest possible value of an i64 expression, None where not known."""
        if e not in self._bounds:
            self._bounds[e] = self._bounds_of(e)
        return self._bounds[e]

    def affine_bounds(self, form: Affine) -> tuple[int, int] | None:
        lo = hi = form[1]
        for atom, k in form[0].items():
            b = self.bounds(atom)
            if b is None:
                return None
            lo += k * (b[0] if k > 0 else b[1])
            hi += k * (b[1] if k > 0 else b[0])
        return lo, hi

    def _bounds_of(self, e: Expr) -> tuple[int, int] | None:
        if e.op == "const":
            return e.attr, e.attr
        if e.op == "index":
            n = self.extents[e.attr]
            return (0, max(n - 1, 0)) if isinstance(n, int) else None
        args = [self.bounds(a) if a.dtype is i64 else None for a in e.args]
        if e.op == "mod" and e.args[1].is_const and e.args[1].attr > 0:
            return 0, e.args[1].attr - 1
        if e.op == "select" and args[1] and args[2]:
            return min(args[1][0], args[2][0]), max(args[1][1], args[2][1])
        if e.op == "max" and (args[0] or args[1]) and not (args[0] and args[1]):
            return None
        if not args or None in args:
            return None
        if e.op == "add":
            return args[0][0] + args[1][0], args[0][1] + args[1][1]
        if e.op == "sub":
            return args[0][0] - args[1][1], args[0][1] - args[1][0]
        if e.op == "neg":
            return -args[0][1], -args[0][0]
        if e.op == "mul":
            corners = [p * q for p in args[0] for q in args[1]]
            return min(corners), max(corners)
        if e.op == "floordiv" and args[1][0] == args[1][1] > 0:
            return args[0][0] // args[1][0], args[0][1] // args[1][0]
        if e.op == "min":
            return min(args[0][0], args[1][0]), min(args[0][1], args[1][1])
        if e.op == "max":
            return max(args[0][0], args[1][0]), max(args[0][1], args[1][1])
        return None

    def _within(self, form: Affine, limit: int) -> bool:
        b = self.affine_bounds(form)
        return b is not None and 0 <= b[0] and b[1] < limit

    def _split(self, form: Affine, c: int) -> tuple[Affine, Affine]:
        """form = c * first + second, second taking what c does not divide."""
        whole = {k: v // c for k, v in form[0].items() if v % c == 0}
        rest = {k: v for k, v in form[0].items() if v % c}
        return (whole, form[1] // c), (rest, form[1] % c)

    def _candidates(self, form: Affine, c: int) -> list[int]:
        found = {math.gcd(v, c) for v in form[0].values()}
        return sorted((g for g in found if 1 < g < c), reverse=True)

    def _floordiv(self, form: Affine, c: int) -> Affine:
        if c == 1:
            return form
        whole, rest = self._split(form, c)
        if self._within(rest, c):
            return whole
        for g in self._candidates(rest, c):
            scaled, small = self._split(rest, g)
            if self._within(small, g):
                terms, k = self._floordiv(scaled, c // g)
                return self._recombine(_plus(whole[0], terms, 1)), whole[1] + k
        if len(rest[0]) == 1 and rest[1] == 0:
            (atom, k), = rest[0].items()
            if k == 1 and atom.op == "floordiv":
                terms, n = self._floordiv(self.affine(atom.args[0]), atom.args[1].attr * c)
                return self._recombine(_plus(whole[0], terms, 1)), whole[1] + n
            if k == 1 and atom.op == "mod" and atom.args[1].attr % c == 0:
                inner = self._floordiv(self.affine(atom.args[0]), c)
                terms, n = self._mod(inner, atom.args[1].attr // c)
                return self._recombine(_plus(whole[0], terms, 1)), whole[1] + n
        atom = Expr("floordiv", (self.build(rest), const(c)), i64)
        return _plus(whole[0], {atom: 1}, 1), whole[1]

    def _mod(self, form: Affine, c: int) -> Affine:
        if c == 1:
            return {}, 0
        _, rest = self._split(form, c)
        if self._within(rest, c):
            return rest
        for g in self._candidates(rest, c):
            scaled, small = self._split(rest, g)
            if self._within(small, g):
                terms, k = self._mod(scaled, c // g)
                grown = {a: v * g for a, v in terms.items()}
                return self._recombine(_plus(grown, small[0], 1)), k * g + small[1]
        if len(rest[0]) == 1 and rest[1] == 0:
            (atom, k), = rest[0].items()
            if k == 1 and atom.op == "mod" and atom.args[1].attr % c == 0:
                return self._mod(self.affine(atom.args[0]), c)
        atom = Expr("mod", (self.build(rest), const(c)), i64)
        return {atom: 1}, 0

    def _recombine(self, terms: dict[Expr, int]) -> dict[Expr, int]:
        """k*(x % c) + k*c*(x // c) ~> k*x and its two-level form, until nothing changes."""
        for low, k in list(terms.items()):
            if low.op != "mod" or k == 0:
                continue
            x, c = low.args[0], low.args[1].attr
            high = self._floordiv(self.affine(x), c)
            if len(high[0]) == 1 and high[1] == 0:
                (q, one), = high[0].items()
                whole = self.affine(x)
                if one == 1 and terms.get(q) == k * c and whole[1] == 0:
                    rest = {t: v for t, v in terms.items() if t not in (low, q)}
                    return self._recombine(_plus(rest, whole[0], k))
            for other, v in terms.items():
                if v != k * c or other.op != "mod":
                    continue
                if high == self.affine(other.args[0]):
                    rest = {t: u for t, u in terms.items() if t not in (low, other)}
                    joined = self._mod(self.affine(x), c * other.args[1].attr)
                    if joined[1] == 0:
                        return self._recombine(_plus(rest, joined[0], k))
        return terms

    def _compare(self, e: Expr) -> Expr:
        """Decides comparisons, min and max of index expressions that bounds settle."""
        if len(e.args) != 2 or e.args[0].dtype is not i64:
            return e
        if e.op in ("lt", "le", "gt", "ge", "min", "max"):
            d = self.affine_bounds(self.affine(Expr("sub", e.args, i64)))
            if d is None:
                return e
            lo, hi = d
            verdict = {
                "lt": True if hi < 0 else False if lo >= 0 else None,
                "le": True if hi <= 0 else False if lo > 0 else None,
                "gt": True if lo > 0 else False if hi <= 0 else None,
                "ge": True if lo >= 0 else False if hi < 0 else None,
            }
            if e.op in verdict:
                return e if verdict[e.op] is None else const(verdict[e.op], e.dtype)
            if hi <= 0:
                return e.args[0] if e.op == "min" else e.args[1]
            if lo >= 0:
                return e.args[1] if e.op == "min" else e.args[0]
        return e


def _plus(a: dict[Expr, int], b: dict[Expr, int], scale: int) -> dict[Expr, int]:
    out = dict(a)
    for atom, v in b.items():
        s = out.get(atom, 0) + scale * v
        if s:
            out[atom] = s
        else:
            out.pop(atom, None)
    return out


def _order(atom: Expr) -> tuple[int, int]:
    return (0, atom.attr) if atom.op == "index" else (1, 0)


def linearize(indices, strides) -> Expr:
    """sum of indices[k] * strides[k]."""
    out = const(0)
    for i, s in zip(indices, strides):
        out = out + i * s
    return out


def delinearize(flat: Expr, shape) -> tuple[Expr, ...]:
    """The row-major index tuple of a flat position in a tensor of that shape."""
    out: list[Expr] = []
    for n in reversed(shape):
        out.append(flat % n if n != 0 else const(0))
        flat = flat // n if n != 0 else flat
    return tuple(reversed(out))


def contiguous_strides(shape) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, s = [], 1
    for n in reversed(shape):
        strides.append(s)
        s = s * max(n, 1)
    return tuple(reversed(strides))

