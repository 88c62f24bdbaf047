"""erf erfc erfinv lgamma digamma rsqrt. All but erf and rsqrt compute in f64, for f32 too."""

from __future__ import annotations

import math

from llvm_backend import math_tables as tables
from llvm_backend.math_exp import exp, exp2_of_small, exp_of_sum
from llvm_backend.math_log import log
from llvm_backend.math_trig import cosine_of, sine_of
from llvm_backend.math_values import V, polynomial, two_product, where, with_sign
from runtime.dtypes import f32, f64

INF = math.inf


def rsqrt(x: V) -> V:
    return 1.0 / x.unary("sqrt")


def erf(x: V) -> V:
    """f32: x + x P(x^2) below 0.855, above 1 - 2^(-P(|x|)). f64: the same form up to 1, above it
    1 - erfc(|x|)."""
    size = abs(x)
    if x.single:
        c = size.minimum(4.0)
        tail = 1.0 - exp2_of_small(-polynomial(c, tables.ERFC_LOG2_F32))
        inner = c.times_plus(polynomial(c * c, tables.ERF_F32), c)
        return with_sign(where(c < 0.855, inner, tail), x)
    inner = x.times_plus(polynomial(x * x, tables.ERF_F64), x)
    return where(size <= 1.0, inner, with_sign(1.0 - _erfc_positive(size), x))


def _erfc_positive(size: V) -> V:
    """exp(-x^2) P(t) / (1 + 2 x), t = (x - 4) / (x + 4), x >= 0 (Shepherd, Laframboise 1981)."""
    c = size.minimum(28.0)
    t = (c - 4.0) / (c + 4.0)
    p = polynomial(t, tables.ERFC_F64) / (c + c + 1.0)
    square, low = two_product(c, c)
    return p * exp_of_sum(-square, -low)


def erfc(x: V) -> V:
    if x.single:
        return erfc(x.cast(f64)).cast(f32)
    r = _erfc_positive(abs(x))
    r = where(x < 0.0, 2.0 - r, r)
    return where(abs(x) <= 0.5, 1.0 - x.times_plus(polynomial(x * x, tables.ERF_F64), x), r)


def erfinv(x: V) -> V:
    """A start y good to 2^-19, then Halley's step on erf(y) = x; near 1 on erfc(y) = 1 - x."""
    if x.single:
        return erfinv(x.cast(f64)).cast(f32)
    size = abs(x)
    a = size.minimum(1.0 - 2.0**-53)
    w = -log((1.0 - a) * (1.0 + a))
    start = where(w < 5.0, polynomial(w.minimum(5.0), tables.ERFINV_MIDDLE),
                  polynomial(w.maximum(5.0).unary("sqrt"), tables.ERFINV_TAIL)) * a
    rest = _erfc_positive(start)
    inner = start.times_plus(polynomial(start * start, tables.ERF_F64), start)
    off = where(a <= 0.75, inner - a, (1.0 - a) - rest)
    step = off * exp(start * start) * (math.sqrt(math.pi) / 2)
    y = start - step / (1.0 + start * step)
    y = where(size.equals(1.0), INF, y)
    return with_sign(where(size <= 1.0, y, math.nan), x)


def _wave_of_pi(x: V) -> tuple[V, V, V]:
    """(sin(pi d), cos(pi d), d) for d = x - round(x)."""
    d = x - x.rounded("round")
    size = abs(d)
    small = size <= 0.25
    r = where(small, size, 0.5 - size) * math.pi
    z = r * r
    s, c = sine_of(r, z), cosine_of(z)
    return with_sign(where(small, s, c), d), where(small, c, s), d


_HALF_LOG_TWO_PI = 0.9189385332046727
# B(2k) / (2k (2k - 1)): log gamma(x) = (x - 1/2) log x - x + log(2 pi)/2 + sum c_k x^(1 - 2k)
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156,
             -3617 / 122400)
# B(2k) / (2k): digamma(x) = log x - 1/(2 x) - sum c_k x^(-2k)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)


def lgamma(x: V) -> V:
    """1 <= x < 8: (x - 1) (x - 2) P / Q; above: Stirling's series; 0 <= x < 1:
    lgamma(1 + x) - log x; x < 0: log(pi / |sin(pi x)|) - lgamma(1 - x). Near its zeros below 0
    only the absolute error is small."""
    if x.single:
        return lgamma(x.cast(f64)).cast(f32)
    mirrored, low = x < 0.0, x < 1.0
    size = abs(x)
    u = where(low, size, x - 1.0)  # the argument less 1
    c = u.minimum(7.0)
    middle = c * (c - 1.0) * polynomial(c, tables.LGAMMA_TOP) / polynomial(c, tables.LGAMMA_BOTTOM)
    big = (u + 1.0).maximum(8.0)
    inverse = 1.0 / big
    series = inverse * polynomial(inverse * inverse, _STIRLING)
    stirling = (big - 0.5) * (log(big) - 1.0) + ((_HALF_LOG_TWO_PI - 0.5) + series)
    r = where(u < 7.0, middle, stirling)
    s, _, _ = _wave_of_pi(x)
    other = log(where(mirrored, math.pi / abs(s), size))
    r = where(mirrored, other - r, where(low, r - other, r + 0.0))  # + 0.0: no -0 at 1
    return where(size.equals(INF), INF, r)


def digamma(x: V) -> V:
    """Raised to x >= 8 by digamma(x) = digamma(x + 1) - 1/x, then the asymptotic series; below 1/2:
    digamma(1 - x) - pi / tan(pi x). NaN at negative integers, -inf at 0 (inf at -0)."""
    if x.single:
        return digamma(x.cast(f64)).cast(f32)
    mirrored = x < 0.5
    y = where(mirrored, 1.0 - x, x)
    total = y.const(0.0)
    for _ in range(8):
        small = y < 8.0
        total = where(small, total - 1.0 / y, total)
        y = where(small, y + 1.0, y)
    inverse = 1.0 / y
    z = inverse * inverse
    r = log(y) - inverse * 0.5 - z * polynomial(z, _DIGAMMA) + total
    s, c, d = _wave_of_pi(x)
    r = where(mirrored, r - math.pi * c / s, r)
    r = where(d.equals(0.0) & (x < 0.0), math.nan, r)
    r = where(x.equals(0.0), -(1.0 / x), r)
    return where(x.equals(INF), x, r)
