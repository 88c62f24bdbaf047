"""The derivative of a scalar expression by one of its loads, in forward mode.

Where PyTorch has to choose (a maximum's ties, a root at zero), the choice is PyTorch's. `None` is a
derivative of zero. A select keeps its condition outside, so that what the arm not taken would
divide by cannot spoil the result.
"""

from __future__ import annotations

import math
from typing import Callable

from lowering import expr as E
from lowering.expr import Expr
from runtime.dtypes import DType

_TWO_OVER_ROOT_PI = 2.0 / math.sqrt(math.pi)


class Undefined(NotImplementedError):
    """There is no rule for an operation."""


def one(dtype: DType) -> Expr:
    return E.const(1.0, dtype)


def _is_one(x: Expr) -> bool:
    while x.op == "cast":
        x = x.args[0]
    return x.is_const and x.attr == 1.0 and x.dtype.is_float


def times(a: Expr | None, b: Expr | None) -> Expr | None:
    """The product; factors of one and zero disappear."""
    if a is None or b is None:
        return None
    if _is_one(a):
        return b
    if _is_one(b):
        return a
    return a * b


def plus(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def minus(a: Expr | None, b: Expr | None) -> Expr | None:
    if b is None:
        return a
    return -b if a is None else a - b


def derivative(e: Expr, by: Expr, ties: str = "strict") -> Expr | None:
    """d e / d by, for a load `by` (or the accumulator) inside e.

    ties: what a minimum or maximum with a constant gives where both are equal: 'strict' and
    'relu' 0 (a NaN gets 0 and 1), 'inclusive' 1, as clamp; of two variables each gets a half."""
    found: dict[Expr, Expr | None] = {}
    for x in E.walk(e):
        if x == by:
            found[x] = one(x.dtype)
        elif not x.args or not x.dtype.is_float or x.op == "load":
            found[x] = None
        else:
            found[x] = _rule(x, [found[a] for a in x.args], ties)
    return found[e]


def _rule(x: Expr, d: list[Expr | None], ties: str) -> Expr | None:
    if all(v is None for v in d):
        return None
    if x.op == "cast":
        return E.cast(d[0], x.dtype) if x.args[0].dtype.is_float else None  # type: ignore[arg-type]
    if x.op == "select":
        return _select(x.args[0], d[1], d[2], x.dtype)
    if x.op in _UNARY:
        factor = _UNARY[x.op](x.args[0], x)
        return None if factor is None else times(factor, d[0])
    if x.op in _BINARY:
        return _BINARY[x.op](x, d[0], d[1], ties)
    raise Undefined(f"no derivative of {x.op}")


def _select(condition: Expr, a: Expr | None, b: Expr | None, dtype: DType) -> Expr | None:
    if a is None and b is None:
        return None
    zero = E.const(0.0, dtype)
    return E.select(condition, zero if a is None else a, zero if b is None else b)


def _lanes(x: Expr, value: float) -> Expr:
    return E.const(value, x.dtype)


def _u(name: str) -> Callable[[Expr], Expr]:
    return lambda a: E.unary(name, a)


_exp, _log, _sqrt, _rsqrt = _u("exp"), _u("log"), _u("sqrt"), _u("rsqrt")


def _sign(a: Expr) -> Expr:
    zero = _lanes(a, 0.0)
    return E.select(a > zero, _lanes(a, 1.0), E.select(a < zero, _lanes(a, -1.0), zero))


def _trigamma(a: Expr) -> Expr:
    """Recurrence up to arguments of six and more, the asymptotic series there; negative ones by
    reflection (Abramowitz and Stegun 6.4.6, 6.4.7, 6.4.12)."""
    half = _lanes(a, 0.5)
    x = E.select(a < half, 1.0 - a, a)
    total = _lanes(a, 0.0)
    for k in range(6):
        total = total + 1.0 / ((x + float(k)) * (x + float(k)))
    z = x + 6.0
    r = 1.0 / (z * z)
    series = r * (1 / 6 - r * (1 / 30 - r * (1 / 42 - r * (1 / 30 - r * (5 / 66)))))
    total = total + 1.0 / z + r * 0.5 + series / z
    s = E.unary("sin", a * math.pi)
    return E.select(a < half, math.pi**2 / (s * s) - total, total)


# op -> factor of the operand's derivative, of the operand a and the result y.
_UNARY: dict[str, Callable[[Expr, Expr], Expr | None]] = {
    "neg": lambda a, y: _lanes(a, -1.0),
    "abs": lambda a, y: _sign(a),
    "sqrt": lambda a, y: _lanes(a, 0.5) / y,
    "rsqrt": lambda a, y: y * y * y * -0.5,
    "floor": lambda a, y: None, "ceil": lambda a, y: None,
    "trunc": lambda a, y: None, "round": lambda a, y: None,
    "exp": lambda a, y: y,
    "exp2": lambda a, y: y * math.log(2.0),
    "expm1": lambda a, y: y + 1.0,
    "log": lambda a, y: 1.0 / a,
    "log2": lambda a, y: 1.0 / (a * math.log(2.0)),
    "log10": lambda a, y: 1.0 / (a * math.log(10.0)),
    "log1p": lambda a, y: 1.0 / (a + 1.0),
    "sin": lambda a, y: E.unary("cos", a),
    "cos": lambda a, y: -E.unary("sin", a),
    "tan": lambda a, y: y * y + 1.0,
    "asin": lambda a, y: _rsqrt(1.0 - a * a),
    "acos": lambda a, y: -_rsqrt(1.0 - a * a),
    "atan": lambda a, y: 1.0 / (a * a + 1.0),
    "sinh": lambda a, y: E.unary("cosh", a),
    "cosh": lambda a, y: E.unary("sinh", a),
    "tanh": lambda a, y: 1.0 - y * y,
    "asinh": lambda a, y: _rsqrt(a * a + 1.0),
    "acosh": lambda a, y: _rsqrt((a - 1.0) * (a + 1.0)),
    "atanh": lambda a, y: 1.0 / (1.0 - a * a),
    "erf": lambda a, y: _exp(-(a * a)) * _TWO_OVER_ROOT_PI,
    "erfc": lambda a, y: _exp(-(a * a)) * -_TWO_OVER_ROOT_PI,
    "erfinv": lambda a, y: _exp(y * y) * (math.sqrt(math.pi) / 2),
    "lgamma": lambda a, y: E.unary("digamma", a),
    "digamma": lambda a, y: _trigamma(a),
}


def _div(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    first = None if da is None else da / b
    second = None if db is None else times(x / b, db)
    return minus(first, second)


def _mul(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    return plus(times(b, da), times(a, db))


def _pow(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    """b * a^(b - 1) and a^b * log(a); zero for b = 0, and for a = 0 where b >= 0."""
    a, b = x.args
    zero = _lanes(a, 0.0)
    first = second = None
    if da is not None:
        slope = b * E.binary("pow", a, b - 1.0)
        if b.is_const:
            slope = slope if b.attr != 0 else zero
        else:
            slope = E.select(E.eq(b, zero), zero, slope)
        first = times(slope, da)
    if db is not None:
        flat = E.eq(a, zero) & (b >= zero)
        second = times(E.select(flat, zero, x * _log(a)), db)
    return plus(first, second)


def _extreme(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    if x.op in ("fmax", "fmin"):  # a NaN loses; of equals the first wins
        wins = (a >= b if x.op == "fmax" else a <= b) | E.isnan(b)
        return _select(wins, da, db, x.dtype)
    wins_a, wins_b = (a > b, b > a) if x.op == "max" else (a < b, b < a)
    if ties == "inclusive":  # of a value and its limit: the limit wins only where it cuts off
        value_first = not a.is_const
        cut = wins_b if value_first else wins_a
        kept = ~(cut | E.isnan(a) | E.isnan(b))
        inner, outer = (da, db) if value_first else (db, da)
        return plus(_select(kept, inner, None, x.dtype), _select(cut, outer, None, x.dtype))
    if db is None or da is None:
        wins, d, y = (wins_a, da, a) if db is None else (wins_b, db, b)
        other = b if db is None else a
        if d is not None and ties != "relu" and not other.is_const:  # equals share the gradient
            return E.select(wins, d, _select(E.eq(a, b), d * 0.5, None, x.dtype))
        return _select(wins | E.isnan(y) if ties == "relu" else wins, d, None, x.dtype)
    otherwise = E.select(wins_a, da, E.select(wins_b, db, da + db))
    return E.select(E.eq(a, b), (da + db) * 0.5, otherwise)


def _atan2(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    square = a * a + b * b
    first = None if da is None else times(b / square, da)
    second = None if db is None else times(a / square, db)
    return minus(first, second)


def _fmod(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    return minus(da, None if db is None else times(E.unary("trunc", a / b), db))


def _mod(x: Expr, da: Expr | None, db: Expr | None, ties: str) -> Expr | None:
    a, b = x.args
    return minus(da, None if db is None else times(E.unary("floor", a / b), db))


_BINARY: dict[str, Callable] = {
    "add": lambda x, da, db, ties: plus(da, db),
    "sub": lambda x, da, db, ties: minus(da, db),
    "mul": _mul, "div": _div, "pow": _pow, "atan2": _atan2, "fmod": _fmod, "mod": _mod,
    "min": _extreme, "max": _extreme, "fmin": _extreme, "fmax": _extreme,
    "floordiv": lambda x, da, db, ties: None,
    "ldexp": lambda x, da, db, ties: times(E.binary("ldexp", _lanes(x, 1.0), x.args[1]), da),
}
