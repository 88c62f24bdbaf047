"""Resizing where a size is known only at run time: positions and weights are computed, not tables.

The same formulas as interpolation.py's, in the same precision: f32, or f64 for f64 inputs.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.build import compute
from lowering.expr import Expr
from lowering.sizes import Number
from lowering.tensor_ir import Value
from runtime.dtypes import DType, f32, i64

Taps = tuple[list[Value], list[Value]]  # (out,) each: positions, and what they are weighed by


def _position(n: Number, out: Number, align_corners: bool, scale: float | None, real: DType,
              i: Expr) -> Expr:
    """Where element i of the result lies, a real position in the input."""
    def number(x: Number) -> Expr:
        return E.cast(E.lift(x, i64), real)

    if align_corners:
        step = E.select(E.lift(out, i64) > 1, number(n - 1) / E.maximum(number(out - 1), 1.0),
                        E.const(0.0, real))
        return step * E.cast(i, real)
    step = E.const(1.0 / scale, real) if scale else number(n) / number(out)
    return step * (E.cast(i, real) + 0.5) - 0.5


def _held(at: Expr, n: Number) -> Expr:
    return E.minimum(E.maximum(at, 0), E.lift(n, i64) - 1)


def linear_taps(n: Number, out: Number, align_corners: bool, scale: float | None,
                real: DType) -> Taps:
    """Two taps and their weights."""
    at = compute((out,), lambda i: E.maximum(
        _position(n, out, align_corners, scale, real, i), 0.0))
    first = compute((out,), lambda i: _held(E.cast(E.unary("floor", E.load(at, [i])), i64), n))
    second = compute((out,), lambda i: _held(E.load(first, [i]) + 1, n))
    weight = compute((out,), lambda i: E.minimum(E.maximum(
        E.load(at, [i]) - E.cast(E.load(first, [i]), real), 0.0), 1.0))
    return [first, second], [compute((out,), lambda i: 1.0 - E.load(weight, [i])), weight]


def cubic_taps(n: Number, out: Number, align_corners: bool, scale: float | None,
               real: DType) -> Taps:
    """Four taps and their weights (R. Keys, 1981, a = -3/4); positions past the border read the
    border."""
    at = compute((out,), lambda i: _position(n, out, align_corners, scale, real, i))
    first = compute((out,), lambda i: E.unary("floor", E.load(at, [i])))
    a = -0.75

    def near(x: Expr) -> Expr:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Expr) -> Expr:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    def weight(k: int, t: Expr) -> Expr:
        return (far(t + 1), near(t), near(1 - t), far(2 - t))[k]

    taps = [compute((out,), lambda i, k=k: _held(E.cast(E.load(first, [i]), i64) + k, n))
            for k in (-1, 0, 1, 2)]
    weights = [compute((out,), lambda i, k=k: weight(k, E.load(at, [i]) - E.load(first, [i])))
               for k in range(4)]
    return taps, weights


def nearest_tap(n: Number, out: Number, scale: float | None, exact: bool) -> Value:
    """(out,) positions; computed in f32 for every dtype."""
    step = E.const(1.0 / scale, f32) if scale else (
        E.cast(E.lift(n, i64), f32) / E.cast(E.lift(out, i64), f32))

    def at(i: Expr) -> Expr:
        k = E.cast(i, f32)
        return _held(E.cast(E.unary("floor", ((k + 0.5) if exact else k) * step), i64), n)

    return compute((out,), at)
