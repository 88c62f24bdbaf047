"""sin cos tan asin acos atan atan2.

sin and cos: n = round(x 2/pi), r = x - n pi/2 by subtracting parts of pi/2 whose products with n
are exact (with FMA the parts are full numbers); for |x| from LIMIT on, by Payne and Hanek's way,
which runs only if some lane needs it. |r| <= pi/4: two polynomials in r^2.
"""

from __future__ import annotations

import math

from llvm_backend import math_tables as tables
from llvm_backend.math_pi import HALF_PI_PARTS, reduce_large
from llvm_backend.math_values import V, flip_sign, polynomial, when_any, where, with_sign

_MAGIC = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
# (bits, has FMA): below it n times each part of pi/2 stays exact and what the parts lack is small
LIMIT = {(32, True): 1e5, (32, False): 1e4, (64, True): 1e9, (64, False): 1e6}


def _reduced(x: V) -> tuple[V, V]:
    """(r, q): x = q pi/2 + r; q an integer of x's width of which the two lowest bits count."""
    bits, fma = x.dtype.bits, x.e.fma
    magic = _MAGIC[bits]
    t = x.times_plus(2 / math.pi, magic)
    n = t - magic
    r = x
    for part in HALF_PI_PARTS[bits, fma]:
        r = n.times_plus(-part, r)
    size = abs(x)
    large = (size >= LIMIT[bits, fma]) & (size < math.inf)
    r, q = when_any(large, [r, t.bits()], lambda v: [
        where(large, a, b) for a, b in zip(reduce_large(x), v)])
    return r, q


def sine_of(r: V, z: V) -> V:
    """sin r; the sign is put back for -0, which the sum loses."""
    p = polynomial(z, tables.SIN_F32 if r.single else tables.SIN_F64)
    return with_sign((r * z).times_plus(p, r), r)


def cosine_of(z: V) -> V:
    p = polynomial(z, tables.COS_F32 if z.single else tables.COS_F64)
    return (z * z).times_plus(p, z.times_plus(-0.5, 1.0))


def _wave(x: V, quarter: int) -> V:
    r, q = _reduced(x)
    if quarter:
        q = q + quarter
    z = r * r
    value = where((q & 1).equals(0), sine_of(r, z), cosine_of(z))
    return flip_sign(value, (q >> 1))


def sin(x: V) -> V:
    return _wave(x, 0)


def cos(x: V) -> V:
    return _wave(x, 1)


def tan(x: V) -> V:
    r, q = _reduced(x)
    z = r * r
    s, c = sine_of(r, z), cosine_of(z)
    even = (q & 1).equals(0)
    return where(even, s, -c) / where(even, c, s)


def _arc_parts(x: V) -> tuple[V, V, V]:
    """(size, inner, a): |x|; whether it is at most 1/2; asin of |x| there, else of
    sqrt((1 - |x|) / 2), half the angle that is left to pi/2."""
    size = abs(x)
    inner = size <= 0.5
    z = where(inner, size * size, (1.0 - size) * 0.5)
    s = where(inner, size, z.unary("sqrt"))
    p = polynomial(z, tables.ASIN_F32 if x.single else tables.ASIN_F64)
    return size, inner, (s * z).times_plus(p, s)


def _pi_parts(single: bool) -> tuple[float, float]:
    """pi/2 in two parts."""
    if single:
        return 1.57079637050628662109375, -4.37113900018624283e-8
    return math.pi / 2, 6.123233995736766e-17


def asin(x: V) -> V:
    _, inner, a = _arc_parts(x)
    high, low = _pi_parts(x.single)
    return with_sign(where(inner, a, high - ((a + a) - low)), x)


def acos(x: V) -> V:
    """|x| <= 1/2: pi/2 - asin x. Above: twice the asin of the half angle; below: pi less that."""
    _, inner, a = _arc_parts(x)
    high, low = _pi_parts(x.single)
    signed = with_sign(a, x)
    middle = high - (signed - low)
    twice = a + a
    outer = where(x > 0.0, twice, 2.0 * high - (twice - 2.0 * low))
    return where(inner, middle, outer)


_TAN_EIGHTH = math.tan(math.pi / 8)


def _arc_of_ratio(a: V, b: V) -> V:
    """atan(a / b) for 0 <= a <= b, b > 0: above tan(pi/8) as pi/4 + atan((a - b) / (a + b))."""
    high, low = _pi_parts(a.single)
    outer = a > b * _TAN_EIGHTH
    t = where(outer, a - b, a) / where(outer, a + b, b)
    z = t * t
    p = polynomial(z, tables.ATAN_F32 if a.single else tables.ATAN_F64)
    r = (t * z).times_plus(p, t)
    return where(outer, high * 0.5 + (r + low * 0.5), r)


def atan(x: V) -> V:
    size = abs(x)
    high, low = _pi_parts(x.single)
    steep = size > 1.0
    one = x.const(1.0)
    r = _arc_of_ratio(where(steep, one, size), where(steep, size, one))
    return with_sign(where(steep, high - (r - low), r), x)


def atan2(y: V, x: V) -> V:
    """The angle of the point (x, y), with C's values for zeros and infinities."""
    high, low = _pi_parts(x.single)
    ax, ay = abs(x), abs(y)
    both_infinite = ax.equals(math.inf) & ay.equals(math.inf)
    ax, ay = where(both_infinite, 1.0, ax), where(both_infinite, 1.0, ay)
    tiny = 2.0**-100 if x.single else 2.0**-900  # away from denormals, where ratios lose digits
    huge = 2.0**100 if x.single else 2.0**900
    factor = where(ax.maximum(ay) < tiny, ax.const(huge), where(ax.maximum(ay) > huge,
                                                               ax.const(tiny), 1.0))
    ax, ay = ax * factor, ay * factor
    steep = ay > ax
    bottom = where(steep, ay, ax)
    r = _arc_of_ratio(where(steep, ax, ay), where(bottom.equals(0.0), 1.0, bottom))
    r = where(steep, high - (r - low), r)
    left = x.bits() < 0
    r = where(left, 2.0 * high - (r - 2.0 * low), r)
    r = with_sign(r, y)
    return where(x.differs(x) | y.differs(y), x + y, r)
