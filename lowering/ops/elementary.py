"""Functions of one number: elementary and special functions, rounding, signs, extremes."""

from __future__ import annotations

import math
from functools import partial

from lowering import expr as E
from lowering.build import cast, float_result, full, pointwise, result_type, unary
from lowering.expr import Expr
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64

_ONE = "(Tensor self) -> Tensor"

# Instruction, and the operators that are just it. Integers give float32.
_FLOAT_FUNCTIONS = {
    "exp": "exp", "exp2": "exp2 special_exp2", "expm1": "expm1 special_expm1", "log": "log",
    "log2": "log2", "log10": "log10", "log1p": "log1p special_log1p", "sin": "sin", "cos": "cos",
    "tan": "tan", "asin": "asin arcsin", "acos": "acos arccos", "atan": "atan arctan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "asinh arcsinh",
    "acosh": "acosh arccosh", "atanh": "atanh arctanh", "erf": "erf special_erf",
    "erfc": "erfc special_erfc", "erfinv": "erfinv special_erfinv", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "lgamma": "lgamma special_gammaln",
    "digamma": "digamma special_digamma special_psi",
}

for _op, _names in _FLOAT_FUNCTIONS.items():
    aten(*each(_names, _ONE))(partial(unary, _op))


def _float_pointwise(fn, x: Value) -> Value:
    return pointwise(fn, x, dtype=float_result(x.dtype))


@aten("reciprocal(Tensor self) -> Tensor")
def reciprocal(x):
    return _float_pointwise(lambda a: 1 / a, x)


@aten("square(Tensor self) -> Tensor")
def square(x):
    x = cast(x, i64) if x.dtype is bool_ else x
    return pointwise(lambda a: a * a, x)


# Rounding. Integers are whole already.

def _whole(op: str, x: Value) -> Value:
    if x.dtype is bool_:
        raise RuntimeError(f'"{op}" not implemented for \'Bool\'')
    return pointwise(lambda a: E.unary(op, a) if a.dtype.is_float else a, x)


floor, ceil, trunc = (
    aten(*each(names, _ONE))(partial(_whole, names.split()[0]))
    for names in ("floor", "ceil", "trunc fix")
)


@aten("round(Tensor self) -> Tensor",
      "round.decimals(Tensor self, *, int decimals) -> Tensor",
      "special_round(Tensor self, *, int decimals=0) -> Tensor")
def rounded(x, *, decimals=0):
    """Ties to even."""
    if decimals == 0 or not x.dtype.is_float:
        return _whole("round", x)
    scale = 10.0 ** max(decimals, -decimals)
    if decimals > 0:
        return pointwise(lambda a: E.unary("round", a * scale) / scale, x)
    return pointwise(lambda a: E.unary("round", a / scale) * scale, x)


@aten("frac(Tensor self) -> Tensor")
def frac(x):
    return pointwise(lambda a: a - E.unary("trunc", a) if a.dtype.is_float else a - a, x)


# Signs

@aten(*each("neg negative", _ONE))
def neg(x):
    if x.dtype is bool_:
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you "
                           "are trying to invert a mask, use the `~` or `logical_not()` operator "
                           "instead.")
    return pointwise(lambda a: -a, x)


@aten(*each("abs absolute", _ONE))
def absolute(x):
    return pointwise(lambda a: a if a.dtype.kind in "bu" else E.unary("abs", a), x)


@aten(*each("sign sgn", _ONE))
def sign(x):
    """-1, 0 or 1; 0 for NaN."""
    def body(a):
        if a.dtype is bool_:
            return a
        zero, one = E.const(0, a.dtype), E.const(1, a.dtype)
        up = E.select(a > 0, one, zero)
        return up if a.dtype.kind == "u" else E.select(a < 0, E.const(-1, a.dtype), up)

    return pointwise(body, x)


@aten("signbit(Tensor self) -> Tensor")
def signbit(x):
    """True for negative numbers and -0.0. (A NaN's sign is not looked at.)"""
    if x.dtype.kind in "bu":
        return full(x.shape, False, bool_)
    return pointwise(is_negative, x)


def is_negative(a: Expr) -> Expr:
    """a < 0, or -0.0, whose reciprocal is -inf."""
    if not a.dtype.is_float:
        return a < 0
    return (a < 0) | (E.eq(a, 0) & (1 / a < 0))


@aten("angle(Tensor self) -> Tensor")
def angle(x):
    """pi for negative numbers, else 0; NaN stays."""
    def body(a):
        turned = E.select(a < 0, E.const(math.pi, a.dtype), E.const(0, a.dtype))
        return E.select(E.isnan(a), a, turned)

    return _float_pointwise(body, x)


# Bounds

@aten(*each("clamp clip", "(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor"),
      *each("clamp clip", ".Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor"))
def clamp(x, min=None, max=None):
    """min(max(x, lower), upper); NaN in any of them gives NaN."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if min is None:
        return clamp_max(x, max)
    if max is None:
        return clamp_min(x, min)
    _no_bool(x, min, max)
    return pointwise(lambda a, lo, hi: _least(_most(a, lo), hi), x, min, max)


@aten("clamp_min(Tensor self, Scalar min) -> Tensor",
      "clamp_min.Tensor(Tensor self, Tensor min) -> Tensor")
def clamp_min(x, min):
    _no_bool(x, min)
    return pointwise(_most, x, min)


@aten("clamp_max(Tensor self, Scalar max) -> Tensor",
      "clamp_max.Tensor(Tensor self, Tensor max) -> Tensor")
def clamp_max(x, max):
    _no_bool(x, max)
    return pointwise(_least, x, max)


def _no_bool(x, *bounds) -> None:
    """bool tensors have no bounds that are numbers."""
    numbers = [b for b in bounds if not isinstance(b, Value) or b.wrapped]
    if numbers and result_type(x, *bounds) is bool_:
        raise RuntimeError("\"clamp\" not implemented for 'Bool'")


def _most(a: Expr, b: Expr) -> Expr:
    return a | b if a.dtype is bool_ else E.maximum(a, b)


def _least(a: Expr, b: Expr) -> Expr:
    return a & b if a.dtype is bool_ else E.minimum(a, b)


@aten(*each("maximum max.other", "(Tensor self, Tensor other) -> Tensor"))
def maximum(x, y):
    return pointwise(_most, x, y)


@aten(*each("minimum min.other", "(Tensor self, Tensor other) -> Tensor"))
def minimum(x, y):
    return pointwise(_least, x, y)


@aten("fmax(Tensor self, Tensor other) -> Tensor")
def fmax(x, y):
    """The other operand where one is NaN."""
    if not result_type(x, y).is_float:
        return maximum(x, y)
    return pointwise(lambda a, b: E.binary("fmax", a, b), x, y)


@aten("fmin(Tensor self, Tensor other) -> Tensor")
def fmin(x, y):
    if not result_type(x, y).is_float:
        return minimum(x, y)
    return pointwise(lambda a, b: E.binary("fmin", a, b), x, y)


@aten("heaviside(Tensor self, Tensor values) -> Tensor")
def heaviside(x, values):
    """0 below zero (and for NaN), `values` at zero, 1 above."""
    if x.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")

    def body(a, v):
        if a.dtype is bool_:
            return a | v
        step = E.select(a > 0, E.const(1, a.dtype), E.const(0, a.dtype))
        return E.select(E.eq(a, 0), v, step)

    return pointwise(body, x, values)


# Compounds

@aten("nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor")
def nan_to_num(x, nan=None, posinf=None, neginf=None):
    """Infinities become the dtype's largest finite numbers unless given."""
    if not x.dtype.is_float:
        return cast(x, x.dtype)
    largest = {"f16": 65504.0, "bf16": 3.3895313892515355e38, "f32": 3.4028234663852886e38,
               "f64": 1.7976931348623157e308}[x.dtype.name]
    nan = 0.0 if nan is None else nan
    posinf = largest if posinf is None else posinf
    neginf = -largest if neginf is None else neginf

    def body(a):
        out = E.select(E.eq(a, float("inf")), E.const(posinf, a.dtype), a)
        out = E.select(E.eq(a, float("-inf")), E.const(neginf, a.dtype), out)
        return E.select(E.isnan(a), E.const(nan, a.dtype), out)

    return pointwise(body, x)


@aten(*each("logit special_logit", "(Tensor self, float? eps=None) -> Tensor"))
def logit(x, eps=None):
    def body(a):
        if eps is not None:
            a = E.minimum(E.maximum(a, eps), 1 - eps)
        return E.unary("log", a / (1 - a))

    return _float_pointwise(body, x)


@aten(*each("sinc special_sinc", _ONE))
def sinc(x):
    def body(a):
        turned = a * math.pi
        return E.select(E.eq(a, 0), E.const(1, a.dtype), E.unary("sin", turned) / turned)

    return _float_pointwise(body, x)


@aten("deg2rad(Tensor self) -> Tensor")
def deg2rad(x):
    return _float_pointwise(lambda a: a * (math.pi / 180), x)


@aten("rad2deg(Tensor self) -> Tensor")
def rad2deg(x):
    return _float_pointwise(lambda a: a * (180 / math.pi), x)


@aten("special_entr(Tensor self) -> Tensor")
def entr(x):
    """-x log x; 0 at 0, -inf below."""
    def body(a):
        inside = E.select(E.eq(a, 0), E.const(0, a.dtype), -a * E.unary("log", a))
        return E.select(a < 0, E.const(float("-inf"), a.dtype), inside)

    return _float_pointwise(body, x)


@aten("special_ndtr(Tensor self) -> Tensor")
def ndtr(x):
    """The normal distribution's cumulative function: erfc(-x / sqrt(2)) / 2."""
    return _float_pointwise(lambda a: 0.5 * E.unary("erfc", -a * math.sqrt(0.5)), x)


@aten("special_ndtri(Tensor self) -> Tensor")
def ndtri(x):
    return _float_pointwise(lambda a: math.sqrt(2) * E.unary("erfinv", 2 * a - 1), x)


@aten(*each("mvlgamma special_multigammaln", "(Tensor self, int p) -> Tensor"))
def mvlgamma(x, p):
    """Multivariate log-gamma: p(p-1)/4 log(pi) + sum of lgamma(x - k/2), k < p."""
    def body(a):
        total = E.const(p * (p - 1) / 4 * math.log(math.pi), a.dtype)
        for k in range(p):
            total = total + E.unary("lgamma", a - k / 2)
        return total

    return _float_pointwise(body, x)
