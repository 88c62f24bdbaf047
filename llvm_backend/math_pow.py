"""pow and fmod: the two functions that need more than working precision inside."""

from __future__ import annotations

import math

from llvm_backend import math_tables as tables
from llvm_backend.kernel import Type
from llvm_backend.math_exp import LN2_HIGH, LN2_LOW, exp, exp_of_sum
from llvm_backend.math_log import decompose, log
from llvm_backend.math_values import (V, polynomial, repeat, two_product, two_sum, where, with_sign)
from runtime.dtypes import f32, f64, i64

INF = math.inf
_TWO_THIRDS = (2 / 3, 3.700743415417188e-17)


def pow_(x: V, y: V) -> V:
    """exp(y log |x|), with C's values at the edges. f32 in f64, where plain log and exp serve."""
    if x.single:
        return _pow_single(x, y)
    size = abs(x)
    high, low = _long_log(size)
    edge = where(size.equals(0.0), high.const(-INF), size)
    special = size.equals(0.0) | size.equals(INF)
    high, low = where(special, edge, high), where(special, 0.0, low)
    top, rest = two_product(y, high)
    r = exp_of_sum(top, rest + y * low)
    return _pow_edges(x, y, size, r)


def _pow_single(x: V, y: V) -> V:
    size = abs(x)
    r = exp(y.cast(f64) * log(size.cast(f64))).cast(f32)
    return _pow_edges(x, y, size, r)


def _pow_edges(x: V, y: V, size: V, r: V) -> V:
    """Signs for negative x, NaN where y is no integer then; 1 for y = 0, x = 1, and -1 to +-inf."""
    whole = y.rounded("trunc").equals(y)
    half = y * 0.5
    odd = whole & half.rounded("trunc").differs(half)
    r = where((x < 0.0) & ~whole & size.differs(INF), math.nan, r)
    r = where(odd, with_sign(r, x), r)
    r = where(x.differs(x) | y.differs(y), x + y, r)
    one = y.equals(0.0) | x.equals(1.0) | (size.equals(1.0) & abs(y).equals(INF))
    return where(one, 1.0, r)


def _long_log(x: V) -> tuple[V, V]:
    """(high, low): log x to about 2^-68 of max(1, |log x|), for positive finite f64 x.

    s = f / (2 + f) and s^3 in two parts; log(1 + f) = 2 s + 2/3 s^3 + s^5 P(s^2)."""
    e, f = decompose(x)
    d = f + 2.0
    d_low = f - (d - 2.0)
    s = f / d
    p, q = two_product(s, d)
    s_low = (((f - p) - q) - s * d_low) / d
    z, z_low = two_product(s, s)
    z_low = z_low + (s + s) * s_low
    cube, cube_low = two_product(s, z)
    cube_low = cube_low + s * z_low + s_low * z
    third, third_low = two_product(cube, cube.const(_TWO_THIRDS[0]))
    third_low = third_low + cube * _TWO_THIRDS[1] + cube_low * _TWO_THIRDS[0]
    rest = cube * z * polynomial(z, tables.LOG_LONG)
    total, lost = two_sum(s + s, third)
    low = rest + (lost + third_low + (s_low + s_low))
    high, lost = two_sum(e * LN2_HIGH[64], total)
    low = low + (lost + e * LN2_LOW[64])
    return two_sum(high, low)


def fmod(x: V, y: V) -> V:
    """x - y trunc(x / y), exactly: each step of a loop takes q y away, where q is the upper 24 bits
    of the quotient, so that the difference is exact; a rest below 0 (q was rounded up) gets |y|
    back.

    f32 runs in f64."""
    if x.single:
        return fmod(x.cast(f64), y.cast(f64)).cast(f32)
    size, unit = abs(x), abs(y)
    regular = (size < INF) & (unit > 0.0)
    rest = where(regular, size, 0.0)
    unit = where(unit > 0.0, unit, 1.0)
    spread = (rest.bits() >> 52) - (unit.bits() >> 52) + where(unit < 2.0**-1022,
                                                              rest.bits().const(54), 2)
    if x.k.lanes > 1:
        spread = x.e.emit("reduce", (spread.k,), Type(i64), combine="max")
    [rest] = repeat((spread.maximum(0) >> 4) + 1, [rest], lambda v: [_step(v[0], unit)])
    rest = where(rest < 0.0, rest + unit, rest)
    rest = where(regular, with_sign(rest, x), math.nan)
    return where(x.differs(x) | y.differs(y), x + y, rest)


def _step(rest: V, unit: V) -> V:
    size = abs(rest)
    for _ in range(2):  # a multiple of unit where rest / unit would overflow
        unit = where(size * 2.0**-700 > unit, unit * 2.0**700, unit)
    q = (rest / unit).rounded("trunc")
    q = (q.bits() & ~((1 << 29) - 1)).as_float()
    product, low = two_product(q, unit)
    return where(size >= unit, (rest - product) - low, rest)
