"""Powers and roots of pairs: pow, hypot, logaddexp, xlogy and their kind."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import (
    broadcast_shape, cast, compute, float_result, full, loop, pointwise, read, result_type,
    to_value,
)
from lowering.expr import Expr
from lowering.ops.elementary import is_negative
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, f64


@aten("pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
      "pow.Scalar(Scalar self, Tensor exponent) -> Tensor",
      "pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor")
def pow(x, y):
    """Integers wrap; a negative integer exponent gives 0 but for the bases 1 and -1."""
    if not isinstance(y, Value):
        return _pow_number(x, y)
    dtype = result_type(x, y)
    if dtype.is_float:
        return pointwise(lambda a, b: E.binary("pow", a, b), x, y)
    if dtype is bool_:
        return pointwise(lambda a, b: a | ~b, x, y)
    return _integer_power(x, y, dtype)


def _pow_number(x: Value, y: int | float | bool) -> Value:
    dtype = result_type(x, y)
    if not dtype.is_float:
        if y < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if dtype is bool_:
            return pointwise(lambda a: a if y else a | ~a, x)
        return pointwise(lambda a: _repeated(a, int(y), dtype.bits), x, dtype=dtype)
    exact = {0.5: lambda a: E.unary("sqrt", a), -0.5: lambda a: E.unary("rsqrt", a),
             1: lambda a: a, 2: lambda a: a * a, 3: lambda a: a * a * a,
             -1: lambda a: 1 / a, -2: lambda a: 1 / (a * a)}
    if y in exact:
        return pointwise(exact[y], x, dtype=dtype)
    return pointwise(lambda a: E.binary("pow", a, y), x, dtype=dtype)


def _repeated(a: Expr, n: int, bits: int) -> Expr:
    """a to the n-th by squaring; the order of the odd residues modulo 2**bits divides 2**bits."""
    out: Expr | None = None
    n = n if n < bits else bits + (n - bits) % 2**bits
    while n:
        if n & 1:
            out = a if out is None else out * a
        n >>= 1
        a = a * a if n else a
    return E.const(1, a.dtype) if out is None else out


def _integer_power(x, y, dtype) -> Value:
    """By squaring, one turn of a loop for every bit that an exponent can have."""
    shape = broadcast_shape(*(v.shape for v in (x, y) if isinstance(v, Value)))
    base, exponent = (compute(shape, lambda *_, v=v: read(v, shape, dtype)) for v in (x, y))

    def turn(_, out, square, left):
        taken = pointwise(lambda o, s, n: E.select(E.ne(n & 1, 0), o * s, o), out, square, left)
        return (taken, pointwise(lambda s: s * s, square),
                pointwise(lambda n: E.binary("shr", n, 1), left))

    bits = dtype.bits - (dtype.kind == "i")
    power = loop(bits, [full(shape, 1, dtype), base, exponent], turn)[0]
    if dtype.kind == "u":
        return power

    def inverse(a, b, p):
        odd = E.select(E.ne(b & 1, 0), a, a * a)
        unit = E.eq(a, 1) | E.eq(a, -1)
        return E.select(b < 0, E.select(unit, odd, E.const(0, dtype)), p)

    return pointwise(inverse, base, exponent, power)


@aten("float_power.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor",
      "float_power.Scalar(Scalar self, Tensor exponent) -> Tensor",
      "float_power.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor")
def float_power(x, y):
    x, y = (cast(v, f64) if isinstance(v, Value) else v for v in (x, y))
    if not isinstance(x, Value):
        x = full((), float(x), f64)
    return pow(x, y if isinstance(y, Value) else float(y))


@aten("hypot(Tensor self, Tensor other) -> Tensor")
def hypot(x, y):
    """Scaled by the larger one, so that squares do not overflow."""
    def body(a, b):
        a, b = E.unary("abs", a), E.unary("abs", b)
        infinite = E.eq(a, float("inf")) | E.eq(b, float("inf"))
        big, small = E.maximum(a, b), E.minimum(a, b)
        ratio = E.select(E.eq(big, 0), E.const(0, a.dtype), small / big)
        return E.select(infinite, E.const(float("inf"), a.dtype),
                        big * E.unary("sqrt", 1 + ratio * ratio))

    return pointwise(body, x, y)


@aten("logaddexp(Tensor self, Tensor other) -> Tensor")
def logaddexp(x, y):
    """max + log1p(exp(-|x - y|)); equal infinities give themselves."""
    def body(a, b):
        top = E.maximum(a, b)
        low = E.unary("log1p", E.unary("exp", -E.unary("abs", a - b)))
        return E.select(E.eq(a, b) & E.eq(a - a, 0), top + low,
                        E.select(E.eq(a, b), a, top + low))

    return pointwise(body, x, y)


@aten("logaddexp2(Tensor self, Tensor other) -> Tensor")
def logaddexp2(x, y):
    def body(a, b):
        top = E.maximum(a, b)
        low = E.unary("log2", 1 + E.unary("exp2", -E.unary("abs", a - b)))
        return E.select(E.eq(a, b) & E.ne(a - a, 0), a, top + low)

    return pointwise(body, x, y)


@aten("xlogy.Tensor(Tensor self, Tensor other) -> Tensor",
      "xlogy.Scalar_Self(Scalar self, Tensor other) -> Tensor",
      "xlogy.Scalar_Other(Tensor self, Scalar other) -> Tensor",
      "special_xlogy(Tensor self, Tensor other) -> Tensor",
      "special_xlogy.self_scalar(Scalar self, Tensor other) -> Tensor",
      "special_xlogy.other_scalar(Tensor self, Scalar other) -> Tensor")
def xlogy(x, y):
    """x * log(y), 0 where x is 0 unless y is NaN."""
    def body(a, b):
        zero = E.eq(a, 0) & E.eq(b, b)
        return E.select(zero, E.const(0, a.dtype), a * E.unary("log", b))

    return pointwise(body, x, y, dtype=float_result(result_type(x, y)))


@aten("special_xlog1py(Tensor self, Tensor other) -> Tensor",
      "special_xlog1py.self_scalar(Scalar self, Tensor other) -> Tensor",
      "special_xlog1py.other_scalar(Tensor self, Scalar other) -> Tensor")
def xlog1py(x, y):
    def body(a, b):
        zero = E.eq(a, 0) & E.eq(b, b)
        return E.select(zero, E.const(0, a.dtype), a * E.unary("log1p", b))

    return pointwise(body, x, y, dtype=float_result(result_type(x, y)))


@aten("ldexp.Tensor(Tensor self, Tensor other) -> Tensor")
def ldexp(x, y):
    """x * 2**y."""
    y = to_value(y)
    scale = pointwise(lambda b: E.unary("exp2", b), y, dtype=float_result(y.dtype))
    return pointwise(lambda a, b: a * b, x, scale)


@aten(*each("atan2 arctan2", "(Tensor self, Tensor other) -> Tensor"))
def atan2(y, x):
    return pointwise(lambda a, b: E.binary("atan2", a, b), y, x,
                     dtype=float_result(result_type(y, x)))


@aten("copysign.Tensor(Tensor self, Tensor other) -> Tensor",
      "copysign.Scalar(Tensor self, Scalar other) -> Tensor")
def copysign(x, y):
    def body(a, b):
        size = E.unary("abs", a)
        return E.select(is_negative(b), -size, size)

    return pointwise(body, x, y, dtype=float_result(result_type(x, y)))
