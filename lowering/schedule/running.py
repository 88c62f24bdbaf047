"""What reductions carry through their loops: running vectors, and totals that keep their digits.

A long sum in one running vector loses digits: each addition rounds a number that is large already.
So long sums are cut into parts of about the square root of their length, which begin at zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llvm_backend.kernel import KernelBuilder, KValue

_LONG = 64  # turns of a loop; a longer sum is cut


def running_loop(b: KernelBuilder, n: KValue | int, step: int, carried: Sequence[KValue],
                 adds: bool, body: Callable[[KValue, list[KValue]], list[KValue]]) -> list[KValue]:
    """for i = 0, step ... n - step: carried = body(i, carried). adds: body adds floats to them."""

    def loop(first: KValue | int, end: KValue | int, start: Sequence[KValue]) -> list[KValue]:
        with b.loop(first, end, step, carried=start) as f:
            f.yields = body(f.counter, list(f.carried))
        return list(f.results)

    def part(first: KValue | int, end: KValue | int, totals: Sequence[KValue]) -> list[KValue]:
        return added(b, totals, loop(first, end, zeros(b, totals)))

    turns = n // step if isinstance(n, int) else None
    if not adds or turns is not None and turns <= _LONG:
        return loop(0, n, carried)
    if turns is None:
        with b.loop(0, n, _LONG * step, carried=carried) as f:
            end = b.binary("min", b.add(f.counter, _LONG * step), n)
            f.yields = part(f.counter, end, f.carried)
        return list(f.results)
    size = math.isqrt(turns) * step
    whole = n - n % size
    with b.loop(0, whole, size, carried=carried) as f:
        f.yields = part(f.counter, b.add(f.counter, size), f.carried)
    return part(whole, n, f.results) if n > whole else list(f.results)


def zeros(b: KernelBuilder, like: Sequence[KValue]) -> list[KValue]:
    return [b.const(0, v.dtype, v.lanes) for v in like]


def added(b: KernelBuilder, totals: Sequence[KValue], parts: Sequence[KValue]) -> list[KValue]:
    return [b.binary("add", t, v) for t, v in zip(totals, parts)]


class Running:
    """Running vectors of a reduction. Each is one value; of a largest or smallest float two: the
    best number, found by one instruction, and, if there was one, a NaN, which no number beats."""

    def __init__(self, b: KernelBuilder, combiner: str, neutral: KValue):
        self.b, self.combiner = b, combiner
        self.extreme = combiner in ("min", "max") and neutral.dtype.is_float
        self.start = [neutral]
        if self.extreme:
            self.start.append(b.const(0, neutral.dtype, neutral.lanes))

    def of(self, carried: Sequence[KValue]) -> list[list[KValue]]:
        """What a loop carries, by running vector."""
        size = len(self.start)
        return [list(carried[k:k + size]) for k in range(0, len(carried), size)]

    def joined(self, state: list[KValue], v: KValue) -> list[KValue]:
        if not self.extreme:
            return [self.b.binary(self.combiner, state[0], v)]
        return [self._better(v, state[0]), self._nan(v, state[1])]

    def whole(self, carried: list[KValue]) -> KValue:
        """All lanes of all running vectors as one, halves of them first."""
        states = self.of(carried)
        while len(states) > 1:
            half = len(states) // 2
            states = [self._both(states[k], states[k + half]) for k in range(half)] + (
                [states[-1]] if len(states) % 2 else [])
        state, = states
        if not self.extreme:
            return self.b.reduce(self.combiner, state[0])
        return self._number_or_nan(*state)

    def _number_or_nan(self, best: KValue, nan: KValue) -> KValue:
        b = self.b
        if best.lanes == 1:
            return self._nan(nan, best)
        any_nan = b.reduce("or", b.binary("ne", nan, nan))
        while best.lanes > 2:
            lanes = range(best.lanes)
            low, high = lanes[: len(lanes) // 2], lanes[len(lanes) // 2:]
            best = self._better(b.shuffle(best, best, high), b.shuffle(best, best, low))
        best = self._better(b.extract(best, 1), b.extract(best, 0))
        return b.select(any_nan, b.const(math.nan, best.dtype), best)

    def _both(self, x: list[KValue], y: list[KValue]) -> list[KValue]:
        if not self.extreme:
            return self.joined(x, y[0])
        return [self._better(y[0], x[0]), self._nan(y[1], x[1])]

    def _better(self, v: KValue, best: KValue) -> KValue:
        beats = self.b.binary("gt" if self.combiner == "max" else "lt", v, best)
        return self.b.select(beats, v, best)

    def _nan(self, v: KValue, otherwise: KValue) -> KValue:
        return self.b.select(self.b.binary("ne", v, v), v, otherwise)
