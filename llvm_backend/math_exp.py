"""exp exp2 expm1 tanh sinh cosh.

exp(x) = 2^n exp(r), n = round(x log2 e), r = x - n ln 2 with ln 2 in two parts, |r| <= ln(2)/2.
n comes from adding 1.5 * 2^(p-1), which rounds to an integer and leaves n in the low bits.
Largest errors measured in tests/test_vector_math.py: see ULPS there.
"""

from __future__ import annotations

from llvm_backend import math_tables as tables
from llvm_backend.math_values import V, polynomial, where, with_sign

LOG2_E = 1.4426950408889634
# The high parts have trailing zeros, so that n times them is exact without fused multiply-add.
LN2_HIGH = {32: 0.693359375, 64: 0.6931471803691238}
LN2_LOW = {32: -2.1219444005469057e-4, 64: 1.9082149292705877e-10}
_MAGIC = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
_FRACTION = {32: 23, 64: 52}
_BIAS = {32: 127, 64: 1023}


def _split(x: V, per_unit: float) -> tuple[V, V]:
    """(t, n): n = round(x * per_unit), t = n + magic."""
    magic = _MAGIC[x.dtype.bits]
    t = x.times_plus(per_unit, magic) if per_unit != 1.0 else x + magic
    return t, t - magic


def _scale(p: V, t: V, n: V) -> V:
    """p * 2^n for 0.5 < p < 2 and any n that exp meets, right in overflow and in denormals.

    AVX-512 has an instruction. Elsewhere 2^(n-1) is made from t's low bits, and 2, or for small n
    2^64 on the exponent and 2^-63, does the rest; only the last product rounds."""
    e, bits = p.e, p.dtype.bits
    if e.scalef and p.k.lanes * bits % 128 == 0:
        return e.emit("ldexp", (p.k, n.k), p.k.type)
    small = n < float(3 - _BIAS[bits])
    base = _BIAS[bits] - 1
    raised = where(small, t.bits() + (base + 64), t.bits() + base)
    power = (raised << _FRACTION[bits]).as_float()
    return p * power * where(small, p.const(2.0**-63), 2.0)


def _reduce(x: V) -> tuple[V, V, V]:
    """(t, n, r) of exp."""
    bits = x.dtype.bits
    t, n = _split(x, LOG2_E)
    r = n.times_plus(-LN2_HIGH[bits], x)
    return t, n, n.times_plus(-LN2_LOW[bits], r)


def _clamp(x: V, low: float, high: float) -> V:
    """Keeps NaN: min and max do."""
    return x.minimum(high).maximum(low)


def exp(x: V) -> V:
    x = _clamp(x, -104.0, 89.0) if x.single else _clamp(x, -746.0, 710.0)
    t, n, r = _reduce(x)
    q = polynomial(r, tables.EXP_F32 if x.single else tables.EXP_F64)
    return _scale(q.times_plus(r, 1.0).times_plus(r, 1.0), t, n)


def exp_of_sum(high: V, low: V) -> V:
    """exp(high + low), |low| far below |high|; low is dropped where the result is 0 or infinite."""
    limit = 110.0 if high.single else 800.0
    low = where(abs(high) < limit, low, 0.0)
    high = _clamp(high, -104.0, 89.0) if high.single else _clamp(high, -746.0, 710.0)
    t, n, r = _reduce(high)
    r = r + low
    q = polynomial(r, tables.EXP_F32 if high.single else tables.EXP_F64)
    return _scale(q.times_plus(r, 1.0).times_plus(r, 1.0), t, n)


def exp2(x: V) -> V:
    x = _clamp(x, -151.0, 129.0) if x.single else _clamp(x, -1076.0, 1025.0)
    t, n = _split(x, 1.0)
    r = x - n
    p = polynomial(r, tables.EXP2_F32 if x.single else tables.EXP2_F64)
    return _scale(r.times_plus(p, 1.0), t, n)


def exp2_of_small(x: V) -> V:
    """exp2 for -100 < x < 100: neither overflow nor denormals to look after."""
    bits = x.dtype.bits
    t, n = _split(x, 1.0)
    r = x - n
    power = ((t.bits() + _BIAS[bits]) << _FRACTION[bits]).as_float()
    p = polynomial(r, tables.EXP2_F32 if x.single else tables.EXP2_F64)
    return r.times_plus(p, 1.0) * power


def expm1(x: V) -> V:
    """2^n (expm1(r) + 1) - 1 as 2 (2^(n-1) expm1(r) + (2^(n-1) - 1/2)): no early overflow."""
    half = _half_expm1(_clamp(x, -40.0, 89.0 if x.single else 710.0))
    # the sum would lose -0 and denormals
    return where(abs(x) < (2.0**-26 if x.single else 2.0**-55), x, half + half)


def _half_expm1(x: V) -> V:
    """expm1(x) / 2."""
    bits = x.dtype.bits
    t, n, r = _reduce(x)
    q = polynomial(r, tables.EXPM1_F32 if x.single else tables.EXPM1_F64)
    p = (q * r).times_plus(r, r)
    half = ((t.bits() + (_BIAS[bits] - 1)) << _FRACTION[bits]).as_float()
    return half.times_plus(p, half - 0.5)


def tanh(x: V) -> V:
    """h / (h + 1) with h = expm1(2 |x|) / 2, x's sign put back."""
    size = abs(x).minimum(10.0 if x.single else 20.0)
    half = _half_expm1(size + size)
    return with_sign(half / (half + 1.0), x)


def _big_half_exp(size: V) -> V:
    """exp(size) / 2, which may be finite where exp(size) is not."""
    root = exp(size * 0.5)
    return root * 0.5 * root


def sinh(x: V) -> V:
    size = abs(x)
    t = expm1(size)
    small = (t + t / (t + 1.0)) * 0.5
    return with_sign(where(size < 20.0, small, _big_half_exp(size)), x)


def cosh(x: V) -> V:
    """NaN stays: comparisons with it choose the sum, whose terms are NaN."""
    size = abs(x)
    half = _big_half_exp(size)
    return half + 0.25 / half


