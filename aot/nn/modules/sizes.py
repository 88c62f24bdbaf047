"""Arguments that are one number for all dims or one a dim."""

from __future__ import annotations

from collections.abc import Iterable


def ntuple(x: object, n: int) -> tuple:
    """x, n times, or the tuple that it is."""
    return tuple(x) if isinstance(x, Iterable) else (x,) * n


def reversed_twice(padding: tuple) -> list[int]:
    """(h, w) as F.pad has it: [w, w, h, h]."""
    return [n for n in reversed(padding) for _ in range(2)]
