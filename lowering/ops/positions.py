"""Positions given by tensors: wrapped, checked against the size they index, held within it; and the
positions where a mask is true.

What an index tensor says is checked at compile time where its numbers are known. Else the program
checks it once before it is used, and every use is held within bounds, so that no order of the
checks and the reads can reach foreign memory.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from lowering import expr as E
from lowering.build import (
    cast, check, compute, constant, full, pointwise, reduce, scan, scatter,
)  # fmt: skip
from lowering.expr import Expr
from lowering.index_algebra import delinearize
from lowering.known import known_or_none
from lowering.sizes import Size
from lowering.tensor_ir import Value
from lowering.texts import Hole, Text
from runtime.dtypes import bool_, i32, i64, u8

Position = Callable[..., Expr]
_NONE = E.const(-(1 << 63))  # stands for no position,
_LEAST = E.const(1 - (1 << 63))  # which goes for all that are as small


def is_mask(index: Value) -> bool:
    return index.dtype in (bool_, u8)


def mask_positions(mask: Value) -> list[Value]:
    """The positions of a mask's true elements, one vector a dim."""
    data = known_or_none(mask)
    if data is None:
        flat = true_positions(mask)
        parts = len(delinearize(E.index(0), mask.shape or (1,)))
        return [compute(flat.shape, lambda i, k=k: delinearize(
            E.load(flat, [i]), mask.shape or (1,))[k]) for k in range(parts)]
    return [constant(p.astype(np.int64)) for p in np.nonzero(data)]


def true_positions(mask: Value) -> Value:
    """Where in row-major order a mask is true: i64 of a size that is known only at run time.

    A running count tells where each position goes, so this is a scan and a scatter."""
    shape = mask.shape
    flat = compute((mask.numel,), lambda n: E.cast(
        E.load(mask, delinearize(n, shape)), bool_))
    wide = cast(flat, i64)
    running = scan(wide, 0, "add")[0]
    size = Size(reduce("add", wide, None, False))
    return scatter(full((size,), 0, i64), (mask.numel,),
                   lambda n: [E.select(E.load(flat, [n]), E.load(running, [n]) - 1, E.const(-1))],
                   lambda n: n)


def check_all(index: Value, fits: Callable[[Expr], Expr], message: Callable[[str], str]) -> None:
    """IndexError, now or when the program runs, unless fits(element) holds of all elements of an
    integer tensor. message(the greatest of those that do not fit)."""
    worst = reduce("max", index, None, False, lambda a: E.select(
        fits(a), _NONE, E.maximum(a, _LEAST)), dtype=i64)
    data = known_or_none(worst) if known_or_none(index) is not None else None
    if data is None:
        first, *rest = message("\0").split("\0")  # where the number goes, if anywhere
        text = Text(first, *(part for more in rest for part in (Hole(worst, "int"), more)))
        check(pointwise(lambda w: E.eq(w, _NONE), worst), text)
    elif data != _NONE.attr:
        raise IndexError(message(str(int(data))))


def position(index: Value, n: int, dim: int, wrap: bool = True, hold: bool = True,
             message: Callable[[str], str] | None = None) -> Position:
    """A function from an element's indices to its position in a dim of size n.

    wrap: negative positions count from the end. hold: keep run-time positions within bounds (not
    needed where the use ignores the others, as Scatter does). IndexError for known positions out
    of bounds, with message(position); unknown ones become a check of the program."""
    if isinstance(n, Size):
        return _position_of_run_time(index, n, dim, wrap)
    low = -n if wrap else 0
    check_all(index, lambda a: (a >= low) & (a < n), message or (
        lambda wrong: f"index {wrong} is out of bounds for dimension {dim} with size {n}"))
    data = known_or_none(index)
    if data is not None:
        wrap, hold = wrap and bool((data < 0).any()), False

    def at(*i: Expr) -> Expr:
        p = E.cast(E.load(index, i), i64)
        if wrap:
            p = E.select(p < 0, p + n, p)
        return E.minimum(E.maximum(p, 0), max(n - 1, 0)) if hold else p

    return at


def _position_of_run_time(index: Value, n: Size, dim: int, wrap: bool) -> Position:
    """`position` in a dim whose size is known only at run time."""
    size = E.lift(n, i64)
    low = E.const(0) - size if wrap else E.const(0)
    check(reduce("and", index, None, False,
                 lambda a: (E.cast(a, i64) >= low) & (E.cast(a, i64) < size)),
          f"index out of bounds for dimension {dim}")

    def at(*i: Expr) -> Expr:
        p = E.cast(E.load(index, i), i64)
        if wrap:
            p = E.select(p < 0, p + size, p)
        return E.maximum(E.minimum(p, size - 1), 0)

    return at


def needs_integers(name: str, index: Value) -> None:
    """RuntimeError unless the index holds i64 or i32."""
    if index.dtype not in (i64, i32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
