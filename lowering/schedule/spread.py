"""Divides loops among threads whose lengths are known only at run time: turns of about equal work,
one alone where there is too little of it to wake anybody.

    for a, for b: body     ~>     parallel for t < turns: for i in turn t of a * b:
                                      body(i // b, i % b)
"""

from __future__ import annotations

from typing import Callable, Sequence

from lowering.schedule import loops
from llvm_backend.kernel import KernelBuilder, KValue

_TURNS_A_THREAD = 16  # at most: they even out unequal work


def ceiling(b: KernelBuilder, n: KValue, size: KValue | int) -> KValue:
    """n / size, rounded up."""
    return b.binary("idiv", b.binary("add", n, b.add(b.index(size), -1)), size)


def product_of(b: KernelBuilder, extents: Sequence[KValue | int]) -> KValue:
    """How many points loops of these lengths have."""
    total = b.const(1)
    for n in extents:
        total = b.mul(total, n)
    return total


def is_worth_threads(b: KernelBuilder, points: KValue) -> KValue:
    """`worth_threads` of a number that the kernel computes."""
    return b.binary("ge", points, loops.PARALLEL_POINTS)


def spread(b: KernelBuilder, extents: Sequence[KValue | int], points: KValue, threads: int,
           body: Callable[[list[KValue]], None]) -> None:
    """The last statement of a kernel: `body(counters)` for all counters below the extents. points:
    of all the work, inner loops included."""
    extents = [b.index(n) for n in extents]
    total = product_of(b, extents)

    def point(flat: KValue) -> None:
        counters, rest = [], flat
        for n in reversed(extents[1:]):
            counters.append(b.binary("irem", rest, n))
            rest = b.binary("idiv", rest, n)
        body([rest, *reversed(counters)])

    if threads == 1:
        with b.loop(0, total) as f:
            point(f.counter)
        return
    turns = b.binary("min", total, _TURNS_A_THREAD * threads)
    turns = b.select(is_worth_threads(b, points), turns, b.binary("min", total, 1))
    share = ceiling(b, total, turns)
    with b.loop(0, turns, kind="parallel") as turn:
        begin = b.binary("mul", turn.counter, share)
        with b.loop(begin, b.binary("min", total, b.binary("add", begin, share))) as f:
            point(f.counter)
