"""log log2 log10 log1p asinh acosh atanh.

x = 2^e m with m in [sqrt(1/2), sqrt(2)), f = m - 1. f32: log(1 + f) = f - f^2/2 + f^3 P(f). f64:
with s = f / (2 + f), log(1 + f) = 2 atanh(s) = f - (f^2/2 - s (f^2/2 + s^2 P(s^2))).
"""

from __future__ import annotations

import math

import numpy as np

from llvm_backend import math_tables as tables
from llvm_backend.math_exp import LN2_HIGH, LN2_LOW
from llvm_backend.math_values import V, polynomial, where, with_sign

_SQRT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
_FRACTION = {32: 23, 64: 52}
_LEAST_NORMAL = {32: 2.0**-126, 64: 2.0**-1022}
_LIFT = {32: 25, 64: 54}
INF = math.inf


def decompose(x: V, denormals: bool = True) -> tuple[V, V]:
    """(e, f): x = 2^e (1 + f), for positive finite x; e is a float."""
    bits = x.dtype.bits
    if denormals:
        tiny = x < _LEAST_NORMAL[bits]
        x = where(tiny, x * 2.0 ** _LIFT[bits], x)
    k = (x.bits() - _SQRT_HALF[bits]) >> _FRACTION[bits]
    m = (x.bits() - (k << _FRACTION[bits])).as_float()
    e = k.cast(x.dtype)
    if denormals:
        e = where(tiny, e - float(_LIFT[bits]), e)
    return e, m - 1.0


def _log_parts(f: V) -> tuple[V, V]:
    """(f, t) with log(1 + f) = f - t."""
    square = f * f
    if f.single:
        return f, square * 0.5 - square * f * polynomial(f, tables.LOG_F32)
    half = square * 0.5
    s = f / (f + 2.0)
    z = s * s
    return f, half - s * (half + z * polynomial(z, tables.LOG_F64))


def _edges(x: V, r: V) -> V:
    """log's values at 0, infinity, below 0 and NaN."""
    r = where(x.equals(INF), x, r)
    return where(x > 0.0, r, where(x.equals(0.0), r.const(-INF), math.nan))


def log(x: V) -> V:
    bits = x.dtype.bits
    e, f = decompose(x)
    f, t = _log_parts(f)
    low = e * LN2_LOW[bits] - t
    return _edges(x, e.times_plus(LN2_HIGH[bits], f + low))


def _scaled_log(x: V, per_e: tuple[float, float], factor: tuple[float, float]) -> V:
    """e * per_e + log(1 + f) * factor, the constants in high and low parts."""
    e, f = decompose(x)
    f, t = _log_parts(f)
    natural = f - t
    lost = (f - natural) - t
    low = natural * factor[1] + (lost * factor[0] + e * per_e[1])
    return _edges(x, e.times_plus(per_e[0], natural.times_plus(factor[0], low)))


def _two_parts(value_high: float, value_low: float, single: bool) -> tuple[float, float]:
    if not single:
        return value_high, value_low
    high = float(np.float32(value_high))
    return high, value_high - high


def log2(x: V) -> V:
    factor = _two_parts(1.4426950408889634, 2.0355273740931033e-17, x.single)
    return _scaled_log(x, (1.0, 0.0), factor)


def log10(x: V) -> V:
    factor = _two_parts(0.4342944819032518, 1.098319650216765e-17, x.single)
    # the high part of log10(2) has trailing zeros: its product with e is exact
    per_e = ((0.301025390625, 4.605038981195214e-06) if x.single
             else (0.30102999566361177, 3.694239077158931e-13))
    return _scaled_log(x, per_e, factor)


def log1p(x: V) -> V:
    """u = 1 + x rounds; (x - (u - 1)) / u is what the logarithm of u misses."""
    bits = x.dtype.bits
    u = x + 1.0
    # For large u the roles change: u - x differs from 1 by what x + 1 lost.
    lost = where(abs(x) < 1.0, x - (u - 1.0), 1.0 - (u - x))
    e, f = decompose(u, denormals=False)
    f, t = _log_parts(f)
    low = (e * LN2_LOW[bits] + lost / u) - t
    r = e.times_plus(LN2_HIGH[bits], f + low)
    r = where(abs(x) < (2.0**-24 if x.single else 2.0**-54), x, r)  # -0 and denormals
    r = where(x.equals(INF), x, r)
    return where(x > -1.0, r, where(x.equals(-1.0), r.const(-INF), math.nan))


def asinh(x: V) -> V:
    """log1p(|x| + x^2 / (1 + sqrt(x^2 + 1))); log(2 |x|) for large |x|."""
    size = abs(x)
    large = size > (2.0**12 if x.single else 2.0**28)
    square = size * size
    root = (square + 1.0).unary("sqrt")
    r = where(large, log(size) + math.log(2.0), log1p(size + square / (root + 1.0)))
    return with_sign(r, x)


def acosh(x: V) -> V:
    """With t = x - 1: log1p(t + sqrt(2 t + t^2)); log(2 x) for large x; NaN below 1."""
    t = x - 1.0
    large = x > (2.0**12 if x.single else 2.0**28)
    r = where(large, log(x) + math.log(2.0), log1p(t + (t + t + t * t).unary("sqrt")))
    return where(x >= 1.0, r, math.nan)


def atanh(x: V) -> V:
    """log1p(2 |x| / (1 - |x|)) / 2."""
    size = abs(x)
    return with_sign(where(size <= 1.0, log1p((size + size) / (1.0 - size)) * 0.5, math.nan), x)
