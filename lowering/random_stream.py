"""Random numbers as TensorOps: how a generator's words become numbers, bit for bit as in PyTorch.

An operator asks `current()` for the stream; whoever builds its ops says with `drawing_from` where
the generator's state is. A draw reads the state and leaves the next one, so that data flow keeps
draws in order. Elements are expressions of a draw, for the op that uses them to fuse:

    draw = stream.draw(n)
    compute((n,), lambda i: draw.uniform24(i))
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Iterator

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering.expr import Expr
from lowering.known import Unsupported
from lowering.random_words import WINDOW
from lowering.sizes import at_least
from lowering.tensor_ir import Dim, Random, Value
from runtime.dtypes import f32, f64, i32, i64


class Stream:
    """A generator while ops are built. `read(name)` gives the Value of its state's part of that
    name, 'words' or 'normal' (see lowering/random_words.py), and `write(name, v)` replaces it."""

    def __init__(self, read: Callable[[str], Value], write: Callable[[str, Value], None]):
        self._read, self._write = read, write

    def draw(self, count: Dim, used: Value | None = None) -> Draw:
        """The next `count` 32-bit words. Where an i64 `used` is given only so many of them count as
        drawn."""
        if count == 0:  # the result has no element that would read it
            return Draw(B.full((1,), 0, i32))
        state = self._read("words")
        raw = B.append(Random(state, count)).out
        self._write("words", _moved(state, raw, count, used))
        return Draw(raw)

    def normals(self, count: Dim) -> Value:
        """f64 [count]: standard normals, two a pair of uniforms (Box and Muller 1958); an odd one
        waits for the next call."""
        if count == 0:
            return B.full((0,), 0, f64)
        cached, total = self._read("normal"), E.const(count)
        waits = B.compute((), lambda: E.eq(E.load(cached), E.load(cached)) & (total > 0))
        pairs = (count + 1) // 2
        fresh = total - E.cast(E.load(waits), i64)  # how many are not the one that waited
        used = B.compute((), lambda: (fresh + 1) // 2)  # pairs: an odd one waits, or had waited
        even = isinstance(count, int) and count % 2 == 0
        draw = self.draw(4 * pairs, None if even else B.compute((), lambda: E.load(used) * 4))

        def value(i: Expr, j: Expr) -> Expr:
            theta = draw.uniform53(2 * i) * (2.0 * math.pi)
            radius = E.unary("sqrt", E.unary("log1p", -draw.uniform53(2 * i + 1)) * -2.0)
            return radius * E.select(E.eq(j, 0), E.unary("cos", theta), E.unary("sin", theta))

        both = B.compute((pairs, 2), value)

        def of(i: Expr) -> Expr:
            """The value at i - 1, for those that begin with the cached one; at i otherwise."""
            at = E.select(E.load(waits), i - 1, i)
            held = E.minimum(E.maximum(at, 0), 2 * pairs - 1)
            drawn = E.load(both, [held // 2, held % 2])
            return E.select(E.load(waits) & E.eq(i, 0), E.load(cached), drawn)

        out = B.compute((count,), of)
        last = E.load(both, [E.maximum(E.load(used) - 1, 0), 1])
        left = E.select(E.eq(fresh % 2, 1), last, E.const(math.nan, f64))
        self._write("normal", B.compute((), lambda: E.select(
            total > 0, left, E.load(cached))))
        return out


class Draw:
    """Words that were drawn, as expressions of their position. `raw`: before tempering."""

    def __init__(self, raw: Value):
        self.raw = raw

    def word(self, i: Expr) -> Expr:
        """Word i, as i32."""
        y = E.load(self.raw, [i])
        y = y ^ _shr(y, 11)
        y = y ^ (E.binary("shl", y, 7) & _word(0x9D2C5680))
        y = y ^ (E.binary("shl", y, 15) & _word(0xEFC60000))
        return y ^ _shr(y, 18)

    def word32(self, i: Expr) -> Expr:
        """Word i as a number of i64."""
        return E.cast(self.word(i), i64) & 0xFFFFFFFF

    def word64(self, i: Expr) -> Expr:
        """The i64 of words 2i, the high one, and 2i + 1."""
        high = E.binary("shl", E.cast(self.word(2 * i), i64), 32)
        return high | self.word32(2 * i + 1)

    def uniform24(self, i: Expr) -> Expr:
        """f32 in [0, 1), a multiple of 2^-24, of word i."""
        return E.cast(self.word(i) & 0xFFFFFF, f32) * 2.0**-24

    def uniform53(self, i: Expr) -> Expr:
        """f64 in [0, 1), a multiple of 2^-53, of words 2i and 2i + 1."""
        low = E.cast(self.word(2 * i + 1), f64)
        low = low + E.select(low < 0.0, E.const(2.0**32, f64), E.const(0.0, f64))
        return E.cast(self.word(2 * i) & 0x1FFFFF, f64) * 2.0**-21 + low * 2.0**-53


def _word(x: int) -> int:
    """The i32 of these bits."""
    return int(np.uint32(x).astype(np.int32))


def _shr(y: Expr, n: int) -> Expr:
    """y >> n without the sign."""
    return E.binary("shr", y, n) & ((1 << (32 - n)) - 1)


def _moved(state: Value, raw: Value, count: Dim, used: Value | None) -> Value:
    """The window over the sequence of state and raw, `used` (None: all of raw) further on."""
    def at(k: Expr) -> Expr:
        k = k + (count if used is None else E.load(used))
        before = E.load(state, [E.minimum(k, WINDOW - 1)])
        after = E.load(raw, [E.minimum(E.maximum(k - WINDOW, 0), count - 1)])
        return E.select(k < WINDOW, before, after)

    if used is None and at_least(count, WINDOW):
        return B.compute((WINDOW,), lambda k: E.load(raw, [k + (count - WINDOW)]))
    return B.compute((WINDOW,), at)


_current: ContextVar[Stream | None] = ContextVar("stream", default=None)


@contextmanager
def drawing_from(stream: Stream) -> Iterator[None]:
    """Operators that are built inside draw from `stream`."""
    token = _current.set(stream)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Stream:
    """The stream to draw from."""
    stream = _current.get()
    if stream is None:
        raise Unsupported("random numbers have no generator here")
    return stream
