"""Broadcasting where sizes are known only at run time: 1 against n, whichever of them is 1.

Two sizes of named dims that do not depend on the same dims (N and M, N and 3) may be equal, or one
of them 1: the program checks that, and what may be 1 is read at `index * min(n - 1, 1)`, a distance
of 0 between its elements then. Sizes of the same dims (H // 2 and (H + 1) // 2) and sizes that data
decide are taken to be equal, which the program checks: nothing is lost where they are.
"""

from __future__ import annotations

from typing import Sequence

from lowering import expr as E
from lowering.expr import Expr
from lowering.sizes import Number, Size, at_least, bounds, maximum, minimum, symbols


def may_stretch(n: Number, to: Number) -> bool:
    """Whether a dim of size n may turn out to be a single position that is read for all of `to`."""
    if not isinstance(n, Size) or n == to:
        return False
    low, high = bounds(n)
    if high is not None and high <= 1:
        return True
    if low is None or low > 1:
        return False
    mine, others = {s.value for s in symbols(n)}, {s.value for s in symbols(to)}
    return mine != others and all(s.low > 0 for s in (*symbols(n), *symbols(to)))


def position(index: Expr, n: Number, to: Number) -> Expr:
    """Where a dim of size n is read for a loop's index over `to`."""
    if n == 1:
        return E.const(0)
    if not may_stretch(n, to):
        return index
    high = bounds(n)[1]
    return E.const(0) if high is not None and high <= 1 else index * minimum(n - 1, 1)


def common_size(sizes: Sequence[Number]) -> tuple[Number, list[tuple[Number, ...]]] | None:
    """The size of the result, and of which sizes the program has to check that those other than 1
    are equal. None where they surely do not fit."""
    sizes = [n for n in dict.fromkeys(sizes) if n != 1]
    if not sizes:
        return 1, []
    result, checks = sizes[0], []
    for n in sizes[1:]:
        if may_stretch(n, result) or may_stretch(result, n):
            checks.append((result, n))
            result = _larger(result, n)
        elif _surely_differ(result, n):
            return None
        else:
            checks.append((result, n))
    return result, checks


def _larger(a: Number, b: Number) -> Number:
    """The one that is not 1, where one of them is or both are equal; one that is 0 or 1 is taken
    to be 1, unless the other is 0 as well."""
    for n, other in ((a, b), (b, a)):
        low, high = bounds(n)
        if low is not None and low > 1:
            return n
        if high is not None and high <= 1:
            return other
    return maximum(a, b)


def _surely_differ(a: Number, b: Number) -> bool:
    return at_least(a, b + 1) or at_least(b, a + 1)
