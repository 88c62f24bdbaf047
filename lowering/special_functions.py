"""Special functions for the interpreter, in float64, vectorised over numpy arrays.

numpy has no erf, gamma functions or their inverses. Sources: Abramowitz and Stegun, Handbook of
Mathematical Functions (7.1.5 erf series, 6.3.18 digamma's asymptotic series, 6.3.7 reflection);
Chebyshev interpolation of exp(x^2) erfc(x) in t = (x - 3) / (x + 3), the points from Python's libm.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.polynomial import chebyshev

# erf(x) = 2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)), to 1e-18 for |x| <= 1.
_ERF_SERIES = [
    2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(20)
]
_ERFCX_CENTER = 3.0
_ERFC_ZERO = 27.3  # erfc is below the smallest double from here on

# B(2n) / 2n for digamma's asymptotic series.
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, absolute error below 1e-15."""
    x = np.asarray(x, np.float64)
    a = np.abs(x)
    small = a <= 1
    out = np.where(small, _polynomial(_ERF_SERIES, np.where(small, x * x, 0)) * x, 0)
    large = ~small & ~np.isnan(x)
    if large.any():
        out[large] = np.copysign(1 - _erfc_tail(a[large]), x[large])
    return np.where(np.isnan(x), np.nan, out)


def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) without cancellation, relative error below 1e-14 up to x = 26."""
    x = np.asarray(x, np.float64)
    tail = x > 1
    out = np.where(tail, 0, 1 - erf(np.where(tail, 0, x)))
    if tail.any():
        out[tail] = _erfc_tail(x[tail])
    return out


def _polynomial(coefficients, x: np.ndarray) -> np.ndarray:
    out = np.full(np.shape(x), coefficients[-1], np.float64)
    for c in reversed(coefficients[:-1]):
        out = out * x + c
    return out


@functools.lru_cache(maxsize=1)
def _erfcx_fit() -> np.ndarray:
    def scaled(t: np.ndarray) -> np.ndarray:
        values = []
        for v in t:
            x = _ERFCX_CENTER * (1 + v) / (1 - v)
            if x < 25:
                h = round(x * 16) / 16  # h * h is exact
                values.append(math.erfc(x) * math.exp(h * h) * math.exp((x - h) * (x + h)))
            else:  # A&S 7.1.23
                z = 1 / (2 * x * x)
                values.append((1 - z + 3 * z * z - 15 * z**3 + 105 * z**4 - 945 * z**5)
                              / (x * math.sqrt(math.pi)))
        return np.array(values)

    domain = [(x - _ERFCX_CENTER) / (x + _ERFCX_CENTER) for x in (1, 28)]
    return chebyshev.Chebyshev.interpolate(scaled, 24, domain=domain)


def _erfc_tail(x: np.ndarray) -> np.ndarray:
    """erfc for x >= 1."""
    zero, x = x > _ERFC_ZERO, np.minimum(x, _ERFC_ZERO)
    # exp(-x^2) with x^2 split, so that its rounding error does not grow by x^2
    high = np.round(x * 16) / 16
    power = np.exp(-high * high) * np.exp(-(x - high) * (x + high))
    return np.where(zero, 0, power * _erfcx_fit()((x - _ERFCX_CENTER) / (x + _ERFCX_CENTER)))


def erfinv(y: np.ndarray) -> np.ndarray:
    """The inverse of erf; +-inf at +-1, NaN beyond."""
    y = np.asarray(y, np.float64)
    inside = np.abs(y) < 1
    a = np.where(inside, np.abs(y), 0)
    # Winitzki's approximation (relative error 2e-3), then Halley's method on erfc or erf
    log = np.log1p(-a * a)
    k = 2 / (math.pi * 0.147) + log / 2
    x = np.sqrt(np.maximum(np.sqrt(k * k - log / 0.147) - k, 0))
    for _ in range(4):
        error = np.where(x < 1, erf(x) - a, (1 - a) - erfc(x))
        step = error / (2 / math.sqrt(math.pi) * np.exp(-x * x))
        x = x - step / (1 + x * step)
    x = np.copysign(x, y)
    edge = np.where(np.abs(y) == 1, np.copysign(np.inf, y), np.nan)
    return np.where(inside, x, edge)


def lgamma(x: np.ndarray) -> np.ndarray:
    """log |gamma(x)|, of libm; +inf at the poles."""
    x = np.asarray(x, np.float64)
    flat = [_lgamma(v) for v in x.ravel().tolist()]
    return np.array(flat, np.float64).reshape(x.shape)


def _lgamma(v: float) -> float:
    try:
        return math.lgamma(v)
    except (ValueError, OverflowError):
        return math.inf


def digamma(x: np.ndarray) -> np.ndarray:
    """The derivative of lgamma: -inf at +0, +inf at -0, NaN at negative integers."""
    x = np.asarray(x, np.float64)
    negative = x < 0
    y = np.where(negative, 1 - x, x)
    shift = np.zeros_like(y)
    for _ in range(10):
        low = y < 10
        shift = np.where(low, shift - 1 / y, shift)
        y = np.where(low, y + 1, y)
    z = 1 / (y * y)
    series = np.zeros_like(y)
    for c in reversed(_DIGAMMA):
        series = (series + c) * z
    out = shift + np.log(y) - 0.5 / y - series
    fraction = x - np.trunc(x)  # exact, and so accurate near the poles
    reflected = out - math.pi / np.tan(math.pi * fraction)
    out = np.where(negative, np.where(fraction == 0, np.nan, reflected), out)
    return np.where(x == 0, np.copysign(np.inf, -x), np.where(x == np.inf, x, out))
