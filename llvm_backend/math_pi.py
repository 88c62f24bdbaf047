"""pi/2 in parts, and the reduction of large arguments modulo pi/2 (Payne and Hanek, 1983).

|x| = M 2^E with a 53-bit integer M. Of 2/pi's bits those before position E - 2 contribute multiples
of 4 quarter turns, so only a window from there on counts: frac(M F) with F = the window as a
fraction gives the turn in units of 4 pi/2. M is three 24-bit digits, the window nine, and the sums
of their products stay below 2^63. Five digits of the product are kept: 120 bits, of which x's
closest approach to a multiple of pi/2 costs at most 62.
"""

from __future__ import annotations

import math
from fractions import Fraction

from llvm_backend.math_values import V, where
from runtime.dtypes import f64, i32


def _pi(bits: int) -> int:
    """floor(pi 2^bits) by Machin's formula."""
    guard = 32
    one = 1 << (bits + guard)

    def arctan_inverse(n: int) -> int:
        term = total = one // n
        k, sign = 1, -1
        while term:
            term //= n * n
            k += 2
            total += sign * (term // k)
            sign = -sign
        return total

    return 4 * (4 * arctan_inverse(5) - arctan_inverse(239)) >> guard


_PI = _pi(1400)
_HALF_PI = Fraction(_PI, 1 << 1401)


def _parts(widths: list[int]) -> tuple[float, ...]:
    """pi/2 as a sum of numbers of so many bits (rounded down, but the last)."""
    rest, parts = _HALF_PI, []
    for width in widths:
        exponent = math.frexp(float(rest))[1]
        scale = Fraction(2) ** (width - exponent)
        part = Fraction(math.floor(rest * scale)) / scale
        parts.append(float(part))
        rest -= part
    return tuple(parts)


# (bits, has FMA)
HALF_PI_PARTS = {(32, True): _parts([24, 24, 24]), (32, False): _parts([11, 11, 11, 24, 24]),
                 (64, True): _parts([53, 53, 53]), (64, False): _parts([33, 33, 33, 53])}

_DIGIT = 24
_MASK = (1 << _DIGIT) - 1
_LEAD = 2  # digits of zero in front, for exponents E - 2 below 0
_COUNT = 56
_BITS = _COUNT * _DIGIT
# digit k of 2/pi, most significant first
_TWO_OVER_PI = (1 << (1400 + _BITS + 1)) // _PI
_TABLE = [0] * _LEAD + [(_TWO_OVER_PI >> (_BITS - _DIGIT * (k + 1))) & _MASK for k in range(_COUNT)]
_WINDOW = 9


def _window(index: V, largest: int) -> list[V]:
    """Digits index .. index + 8 of the table, lane by lane, by halving: bit b of the index chooses
    between the table and the table 2^b further on."""
    digits: list[V | int] = list(_TABLE[:largest + _WINDOW])
    for b in reversed(range(largest.bit_length())):
        step = 1 << b
        chosen = ((index >> b) & 1).equals(1)
        need = _WINDOW + step - 1
        shifted = [digits[k + step] if k + step < len(digits) else 0 for k in range(need)]
        digits = [_pick(index, chosen, s, d) for s, d in zip(shifted, digits)]
    return [d if isinstance(d, V) else index.const(d) for d in digits[:_WINDOW]]


def _pick(like: V, condition: V, a: V | int, b: V | int) -> V:
    return where(condition, a if isinstance(a, V) else like.const(a), b)


def reduce_large(x: V) -> tuple[V, V]:
    """(r, q) for finite |x| >= 1e4: x = q pi/2 + r (q modulo 4), r of x's dtype."""
    wide = x.cast(f64) if x.single else x
    bits = abs(wide).bits()
    fraction = (bits & ((1 << 52) - 1)) | (1 << 52)
    # p = E - 2 + the bits of the leading zero digits; E = exponent - 52
    position = (bits >> 52) - (1023 + 52 + 2 - _LEAD * _DIGIT)
    largest_exponent = 127 if x.single else 1023
    largest = (largest_exponent - 52 - 2 + _LEAD * _DIGIT) // _DIGIT
    index = (position * 2731) >> 16  # position / 24 for position < 1100
    shift = position - index * _DIGIT
    raw = _window(index, largest)
    digits = [((a << shift) | (b >> (_DIGIT - shift))) & _MASK for a, b in zip(raw, raw[1:])]
    low, middle, top = fraction & _MASK, (fraction >> 24) & _MASK, fraction >> 48
    carry: V | int = 0
    product: list[V] = []
    for c in (6, 5, 4, 3, 2, 1):  # weight 2^(-24 c)
        total = low * digits[c - 1] + middle * digits[c] + top * digits[c + 1] + carry
        product.insert(0, total & _MASK)
        carry = total >> _DIGIT
    d1, d2, d3, d4, d5 = product[:5]
    quarter = d1 >> 22
    high = ((d1 & 0x3FFFFF) << 40) | (d2 << 16) | (d3 >> 8)  # 62 bits after the two of the quarter
    rest = ((d3 & 0xFF) << 48) | (d4 << 24) | d5
    over = high >> 61  # 1 if the fraction is at least one half
    high = high - (over << 62)
    quarter = quarter + over
    turn = rest.cast(f64).times_plus(2.0**-118, high.cast(f64) * 2.0**-62)
    r = turn * (math.pi / 2)
    negative = wide < 0.0
    r = where(negative, -r, r)
    quarter = where(negative, 0 - quarter, quarter)
    return (r.cast(x.dtype), quarter.cast(i32)) if x.single else (r, quarter)
