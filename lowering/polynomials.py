"""Polynomials with integer coefficients over symbols: what is surely true of run-time sizes.

A polynomial is a dict from monomials (tuples of symbols, ordered; () is 1) to coefficients other
than 0. Symbols have bounds `low` and `high` (None: any); derived ones an `op` of two `args`, which
are ints or have `terms` (lowering/sizes.py).
"""

from __future__ import annotations

import itertools
from typing import Any, Iterable

Monomial = tuple
Terms = dict[Monomial, int]


def terms_of(x: Any) -> Terms:
    """Of an int or a Size."""
    return {(): int(x)} if isinstance(x, int) and x else {} if isinstance(x, int) else x.terms


def added(a: Terms, b: Terms, scale: int = 1) -> Terms:
    """a + scale * b"""
    found = dict(a)
    for m, k in b.items():
        total = found.get(m, 0) + scale * k
        if total:
            found[m] = total
        else:
            found.pop(m, None)
    return found


def product(a: Terms, b: Terms) -> Terms:
    found: Terms = {}
    for m, k in a.items():
        found = added(found, {tuple(sorted(m + n, key=_order)): k * c for n, c in b.items()})
    return found


def _order(s: Any) -> int:
    return s.order


def divided(a: Terms, b: Terms) -> tuple[Terms, Terms]:
    """(q, r) with a = q * b + r, r holding what b does not divide; by a number, coefficients of r
    lie between 0 and b."""
    if b.keys() == {()}:
        n = b[()]
        return ({m: k // n for m, k in a.items() if k // n},
                {m: k % n for m, k in a.items() if k % n})
    lead = max(b, key=_rank)
    quotient: Terms = {}
    rest: Terms = {}
    left = dict(a)
    while left:  # long division by the leading monomial
        top = max(left, key=_rank)
        part = _without(top, lead)
        if part is None or left[top] % b[lead]:
            rest[top] = left.pop(top)
            continue
        step = {part: left[top] // b[lead]}
        quotient = added(quotient, step)
        left = added(left, product(step, b), -1)
    return quotient, rest


def _rank(m: Monomial) -> tuple:
    """Monomials in graded order: what a product's leading one is, is that of its factors."""
    return len(m), tuple(s.order for s in m)


def _without(m: Monomial, factor: Monomial) -> Monomial | None:
    """m / factor, None where it is no factor."""
    left = list(m)
    for s in factor:
        if s not in left:
            return None
        left.remove(s)
    return tuple(left)


def bounds(x: Terms) -> tuple[int | None, int | None]:
    """Least and largest possible value, None where not known."""
    low: int | None = 0
    high: int | None = 0
    for m, k in x.items():
        least: int | None = 1
        most: int | None = 1
        for s in m:
            least = least * s.low if least is not None and s.low >= 0 else None
            most = most * s.high if most is not None and s.high is not None and s.low >= 0 else None
        if k < 0:
            least, most = most, least
        low = low + k * least if low is not None and least is not None else None
        high = high + k * most if high is not None and most is not None else None
    return low, high


_MOST_QUOTIENTS = 8  # in what is compared: the search goes through their orders


def never_negative(x: Terms, depth: int = 4, scale: int = 1,
                   refuted: set | None = None) -> bool:
    """Whether x surely is 0 or more.

    Every symbol is its least value and something more: if then no coefficient is negative, no
    value is. Failing that, a quotient is replaced by what bounds it: c * (r // c) lies in
    [r - c + 1, r]. x is then no more than `scale` times an integer, and must be above -scale."""
    y = added(x, terms_of(scale - 1))
    low = bounds(y)[0]
    if low is not None and low >= 0:
        return True
    moved: Terms = {}
    for m, k in y.items():
        for kept in itertools.product((False, True), repeat=len(m)):
            rest = tuple(s for s, keep in zip(m, kept) if keep)
            part = k
            for s, keep in zip(m, kept):
                part *= 1 if keep else s.low
            moved[rest] = moved.get(rest, 0) + part
    if all(k >= 0 for k in moved.values()):
        return True
    quotients = sorted({s for m in x for s in m if s.op}, key=_order)
    if depth == 0 or len(quotients) > _MOST_QUOTIENTS:
        return False
    refuted = set() if refuted is None else refuted  # other orders lead to the same polynomials
    key = frozenset(x.items()), depth, scale
    if key in refuted:
        return False
    for s in quotients:
        for times, bound in _bounded_by(x, s):
            if never_negative(bound, depth - 1, scale * times, refuted):
                return True
    refuted.add(key)
    return False


def _bounded_by(x: Terms, s: Any) -> Iterable[tuple[int, Terms]]:
    """(n, polynomial without s that is no larger than n * x)"""
    with_s = {m: k for m, k in x.items() if s in m}
    if any(m.count(s) > 1 for m in with_s):
        return
    negative = all(k < 0 for k in with_s.values())
    positive = all(k > 0 for k in with_s.values())
    if not (negative or positive) or any(t.low < 0 for m in with_s for t in m if t is not s):
        return
    factor: Terms = {}
    for m, k in with_s.items():
        without = _without(m, (s,))
        assert without is not None
        factor[without] = k
    rest = {m: k for m, k in x.items() if s not in m}
    a, b = map(terms_of, s.args)
    c = s.args[1]
    if s.op == "floordiv" and isinstance(c, int):
        bound = a if negative else added(a, terms_of(1 - c))
        yield c, added(product(factor, bound), rest, c)
    elif s.op == "min" and negative or s.op == "max" and positive:
        yield 1, added(rest, product(factor, a))
        yield 1, added(rest, product(factor, b))
    elif s.op == "mod" and isinstance(c, int) and negative:
        yield 1, added(rest, product(factor, terms_of(c - 1)))
