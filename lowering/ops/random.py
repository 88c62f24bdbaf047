"""Random tensors: uniform, normal, integer, and the other distributions, drawn from a generator.

Each function fills its result in row-major order, with the words and the arithmetic of PyTorch's
CPU generator (lowering/random_stream.py); what is float is computed in float64 and rounded once.
In-place variants have an entry of their own where the functional operator is another one.
"""

from __future__ import annotations

import math
from typing import Callable

from lowering import expr as E
from lowering.build import broadcast_shape, check, compute, pointwise, read, to_value
from lowering.expr import Expr
from lowering.ops.creation import _LIKE, _MAKE, _sizes
from lowering.ops.table import aten
from lowering.random_stream import Draw, current
from lowering.sizes import Size, Unsupported, at_least, numel
from lowering.tensor_ir import Dim, Shape, Value
from runtime.dtypes import DType, bool_, f32, f64, i64

# In-place operators, by the entry that they are made of, that fill a tensor in the order of its
# memory.
IN_MEMORY_ORDER = frozenset(f"aten::{name}" for name in (
    "uniform", "normal_", "exponential", "cauchy", "log_normal", "geometric", "random",
    "bernoulli_"))
MAKE_INTEGERS = _MAKE.replace("dtype=None", "dtype=4")
_FROM = "Generator? generator=None) -> Tensor"


def with_generator(text: str, rest: str) -> list[str]:
    """The overload without a generator and the one with it; rest: what follows the arguments."""
    name, _, arguments = text.partition("(")
    name, dot, overload = name.partition(".")
    other = f"{overload}_generator" if overload else "generator"
    return [f"{text}, {rest}",
            f"{name}.{other}({arguments}, {rest.replace('*, ', '*, Generator? generator, ')}"]


def fill(shape: Shape, dtype: DType, element: Callable[[Expr], Expr]) -> Value:
    """element(row-major position), rounded to the dtype."""
    def body(*i: Expr) -> Expr:
        at = E.const(0)
        for e, n in zip(i, shape):
            at = at * n + e
        x = element(at)
        return E.cast(E.cast(x, f32) if x.dtype is f64 and dtype.bits == 16 else x, dtype)

    return compute(shape, body)


_count = numel


def number(x, dtype: DType) -> Expr:
    """A parameter of a distribution: a number, or one of run time."""
    return E.cast(E.load(x), dtype) if isinstance(x, Value) else E.const(x, dtype)


# Uniform


def uniform_values(shape: Shape, dtype: DType, low=0.0, high=1.0) -> Value:
    """x * (high - low) + low for x in [0, 1): a product and a sum that are rounded once."""
    wide = dtype is f64
    draw = current().draw(_count(shape) * (2 if wide else 1))
    if (low, high) == (0.0, 1.0):
        return fill(shape, dtype, draw.uniform53 if wide else draw.uniform24)
    near = f64 if wide else f32
    scale = E.cast(number(high, near) - number(low, near), f64)
    shift = E.cast(number(low, near), f64)

    def element(i: Expr) -> Expr:
        x = draw.uniform53(i) if wide else E.cast(draw.uniform24(i), f64)
        return x * scale + shift

    return fill(shape, dtype, element)


@aten(*with_generator("rand(int[] size", _MAKE))
def rand(size, *, dtype=None, **place):
    return uniform_values(_sizes(size), dtype or f32)


@aten(*with_generator("rand_like(Tensor self", _LIKE))
def rand_like(x, *, dtype=None, **place):
    return uniform_values(x.shape, dtype or x.dtype)


@aten("uniform(Tensor self, float from=0., float to=1., *, " + _FROM)
def uniform(x, low=0.0, high=1.0, *, generator=None):
    if not isinstance(low, Value) and not isinstance(high, Value) and low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} "
                           f"> to={high:g}")
    return uniform_values(x.shape, x.dtype, low, high)


# Normal


def normal_values(shape: Shape, dtype: DType, mean=0.0, std=1.0, blocks: bool = True) -> Value:
    """Sixteen values or more come in blocks of sixteen, fewer from pairs of float64. All do without
    `blocks`: where the tensor to be filled is not contiguous."""
    if isinstance(std, Value):
        check(pointwise(lambda s: s >= 0, std), "normal expects std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    count = _count(shape)
    if blocks and isinstance(count, Size) and not at_least(count, 16):
        raise Unsupported("normal random numbers of which it is not known whether there are 16")
    blocks = blocks and at_least(count, 16)
    near = f32 if blocks and dtype is not f64 else f64
    scale, shift = (E.cast(number(x, near), f64) for x in (std, mean))
    unit = _blocks(count, dtype is f64) if blocks else current().normals(count)
    return fill(shape, dtype, lambda i: E.cast(E.load(unit, [i]), f64) * scale + shift)


def _blocks(count: Dim, wide: bool) -> Value:
    """Standard normals, f32 or f64 [count]: uniforms for all, then Box-Muller within blocks of
    sixteen, eight with eight. The last sixteen of an odd count are drawn once more."""
    whole, rest = count // 16, count % 16
    words = 2 if wide else 1
    draws = current().draw(words * count)
    last = None
    if isinstance(rest, Size):
        last = current().draw(words * 16, compute((), lambda: E.select(
            E.eq(E.const(rest), 0), E.const(0), E.const(words * 16))))
    elif rest:
        last = current().draw(words * 16)
    blocks = _box_muller(draws, whole, wide)
    if last is None:
        return compute((count,), lambda i: E.load(blocks, [i // 16, (i // 8) % 2, i % 8]))
    tail, begin = _box_muller(last, 1, wide), count - 16

    def element(i: Expr) -> Expr:
        j, k = E.minimum(i, whole * 16 - 1), E.maximum(i - begin, 0)
        first = (i < begin) | E.eq(E.const(rest), 0)
        return E.select(first, E.load(blocks, [j // 16, (j // 8) % 2, j % 8]),
                        E.load(tail, [0, k // 8, k % 8]))

    return compute((count,), element)


def _box_muller(draw: Draw, blocks: Dim, wide: bool) -> Value:
    """[blocks, 2, 8]: r * cos(theta) of u1 = 1 - first half, u2 = second half; r * sin(theta)."""
    uniform_of = draw.uniform53 if wide else draw.uniform24

    def polar(b: Expr, k: Expr) -> tuple[Expr, Expr]:
        radius = E.unary("sqrt", E.unary("log", 1.0 - uniform_of(b * 16 + k)) * -2.0)
        return radius, uniform_of(b * 16 + k + 8) * (2.0 * math.pi)

    radius = compute((blocks, 8), lambda b, k: polar(b, k)[0])
    theta = compute((blocks, 8), lambda b, k: polar(b, k)[1])

    def element(b: Expr, half: Expr, k: Expr) -> Expr:
        t = E.load(theta, [b, k])
        return E.load(radius, [b, k]) * E.select(
            E.eq(half, 0), E.unary("cos", t), E.unary("sin", t))

    return compute((blocks, 2, 8), element)


@aten(*with_generator("randn(int[] size", _MAKE))
def randn(size, *, dtype=None, **place):
    return normal_values(_sizes(size), dtype or f32)


@aten(*with_generator("randn_like(Tensor self", _LIKE))
def randn_like(x, *, dtype=None, **place):
    return normal_values(x.shape, dtype or x.dtype)


@aten("normal_(Tensor(a!) self, float mean=0., float std=1., *, Generator? generator=None) -> "
      "Tensor(a!)",
      "normal_functional(Tensor self, float mean=0., float std=1., *, " + _FROM)
def normal_fill(x, mean=0.0, std=1.0, *, generator=None):
    return normal_values(x.shape, x.dtype, mean, std)


def normal_strided(x, mean=0.0, std=1.0, *, generator=None):
    """normal_ of a tensor that is not contiguous."""
    return normal_values(x.shape, x.dtype, mean, std, blocks=False)


@aten("normal.float_float(float mean, float std, int[] size, *, Generator? generator=None, "
      f"{_MAKE[3:]}")
def normal(mean, std, size, *, generator=None, dtype=None, **place):
    return normal_values(_sizes(size), dtype or f32, mean, std)


@aten("normal.Tensor_float(Tensor mean, float std=1., *, " + _FROM,
      "normal.float_Tensor(float mean, Tensor std, *, " + _FROM,
      "normal.Tensor_Tensor(Tensor mean, Tensor std, *, " + _FROM)
def normal_tensor(mean, std=1.0, *, generator=None):
    given = [x for x in (mean, std) if isinstance(x, Value) and not x.wrapped]
    dtype = given[0].dtype
    unit = normal_values(broadcast_shape(*(x.shape for x in given)), dtype)
    return pointwise(lambda z, s, m: z * s + m, unit, std, mean, dtype=dtype)


@aten("log_normal(Tensor self, float mean=1., float std=2., *, " + _FROM)
def log_normal(x, mean=1.0, std=2.0, *, generator=None):
    return log_normal_values(x.shape, x.dtype, mean, std)


def log_normal_values(shape: Shape, dtype: DType, mean=1.0, std=2.0) -> Value:
    _positive("log_normal_", "std", std)
    unit = current().normals(_count(shape))
    return fill(shape, dtype, lambda i: E.unary(
        "exp", E.load(unit, [i]) * number(std, f64) + number(mean, f64)))


# Integers


def integer_values(shape: Shape, dtype: DType, low, high) -> Value:
    """low + a word modulo the range: of 32 bits, or 64 where the range needs them."""
    if isinstance(low, Value) or isinstance(high, Value):
        return _integers_of_run_time(shape, dtype, low, high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= "
                           f"to={high}")
    span = high - low
    if span < _WIDE_SPAN:
        return _of_word32(shape, dtype, span, low)
    draw = current().draw(2 * _count(shape))
    return fill(shape, dtype, lambda i: _remainder(draw.word64(i), span) + low)


# Where two words are drawn for an integer.
_WIDE_SPAN = 2**28


def _of_word32(shape: Shape, dtype: DType, span: int, low: int = 0) -> Value:
    draw = current().draw(_count(shape))
    return fill(shape, dtype, lambda i: E.binary("irem", draw.word32(i), span) + low)


def _integers_of_run_time(shape: Shape, dtype: DType, low, high) -> Value:
    """Bounds of run time, less than 2^28 apart: how many words there are is known."""
    low, high = to_value(low), to_value(high)
    check(pointwise(lambda a, b: a < b, low, high), "random_ expects 'from' to be less than 'to'")
    span = pointwise(lambda a, b: b - a, low, high)
    check(pointwise(lambda n: n < _WIDE_SPAN, span), "random integers whose bounds are known only "
          "at run time must lie less than 2^28 apart")
    draw = current().draw(_count(shape))
    return fill(shape, dtype, lambda i: E.binary(
        "irem", draw.word32(i), E.load(span)) + E.load(low))


def _remainder(word: Expr, span: int) -> Expr:
    """The unsigned 64-bit word modulo the span, in signed arithmetic."""
    if span == 2**64:
        return word
    if span >= 2**63:  # goes into the word once at most
        lowest = -(2**63)
        return E.select((word ^ lowest) >= span - 2**63, word - (span - 2**64), word)
    half = E.binary("shr", word, 1) & (2**63 - 1)
    part, bit = E.binary("irem", half, span), word & 1  # the word is 2 * half + bit
    over = part - ((span - part) - bit)  # 2 * part + bit - span
    return E.select(over >= 0, over, part + part + bit)


@aten(*with_generator("randint(int high, int[] size", MAKE_INTEGERS))
def randint(high, size, *, dtype=None, **place):
    return integer_values(_sizes(size), dtype or i64, 0, high)


@aten(*with_generator("randint.low(int low, int high, int[] size", MAKE_INTEGERS))
def randint_low(low, high, size, *, dtype=None, **place):
    return integer_values(_sizes(size), dtype or i64, low, high)


@aten(*with_generator("randint_like(Tensor self, int high", _LIKE))
def randint_like(x, high, *, dtype=None, **place):
    return integer_values(x.shape, dtype or x.dtype, 0, high)


@aten(f"randint_like.low_dtype(Tensor self, int low, int high, {_LIKE}")
def randint_like_low(x, low, high, *, dtype=None, **place):
    return integer_values(x.shape, dtype or x.dtype, low, high)


def _most(dtype: DType) -> int:
    """The largest integer of the dtype, of floats the one up to which they hold every integer."""
    digits = {"f32": 24, "f64": 53, "f16": 11, "bf16": 8, "bool": 1}
    if dtype.name in digits:
        return 2 ** digits[dtype.name] - (dtype is bool_)
    return 2 ** (dtype.bits - (dtype.kind == "i")) - 1


@aten("random.from(Tensor self, int from, int? to, *, " + _FROM)
def random_from(x, low, high, *, generator=None):
    return integer_values(x.shape, x.dtype, low, _most(x.dtype) + 1 if high is None else high)


@aten("random.to(Tensor self, int to, *, " + _FROM)
def random_to(x, high, *, generator=None):
    return integer_values(x.shape, x.dtype, 0, high)


@aten("random(Tensor self, *, " + _FROM)
def random(x, *, generator=None):
    return any_values(x.shape, x.dtype)


def any_values(shape: Shape, dtype: DType) -> Value:
    """Any integer of the dtype that is not negative."""
    if dtype.bits < 64:
        return _of_word32(shape, dtype, _most(dtype) + 1)
    draw = current().draw(2 * _count(shape))
    return fill(shape, dtype, lambda i: _remainder(draw.word64(i), _most(dtype) + 1))


# Other distributions


def _of_uniform53(shape: Shape, dtype: DType, of: Callable[[Expr], Expr]) -> Value:
    draw = current().draw(2 * _count(shape))
    return fill(shape, dtype, lambda i: of(draw.uniform53(i)))


def _log1p(u: Expr) -> Expr:
    return E.unary("log1p", -u)


def _positive(what: str, name: str, x) -> None:
    """Refuses a parameter of a distribution that is not above 0."""
    message = f"{what} expects {name} > 0.0"
    if isinstance(x, Value):
        check(pointwise(lambda a: a > 0, x), message)
    elif not x > 0:
        raise RuntimeError(f"{message}, but found {name}={x:g}")


@aten("exponential(Tensor self, float lambd=1., *, " + _FROM)
def exponential(x, rate=1.0, *, generator=None):
    return exponential_values(x.shape, x.dtype, rate)


def exponential_values(shape: Shape, dtype: DType, rate=1.0) -> Value:
    _positive("exponential_", "lambda", rate)
    return _of_uniform53(shape, dtype, lambda u: -_log1p(u) / number(rate, f64))


@aten("cauchy(Tensor self, float median=0., float sigma=1., *, " + _FROM)
def cauchy(x, median=0.0, sigma=1.0, *, generator=None):
    return cauchy_values(x.shape, x.dtype, median, sigma)


def cauchy_values(shape: Shape, dtype: DType, median=0.0, sigma=1.0) -> Value:
    _positive("cauchy_", "sigma", sigma)
    return _of_uniform53(shape, dtype, lambda u: number(median, f64) + number(
        sigma, f64) * E.unary("tan", (u - 0.5) * math.pi))


@aten("geometric(Tensor self, float p, *, " + _FROM)
def geometric(x, p, *, generator=None):
    return geometric_values(x.shape, x.dtype, p)


def geometric_values(shape: Shape, dtype: DType, p) -> Value:
    if isinstance(p, Value):
        check(pointwise(lambda a: (a > 0) & (a < 1), p), "geometric_ expects p to be in (0, 1)")
    elif not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return _of_uniform53(shape, dtype, lambda u: E.unary(
        "ceil", E.unary("log", u) / _log1p(number(p, f64))))


def chances(shape: Shape, dtype: DType, p) -> Value:
    """1 with the probability p, a number, else 0."""
    if isinstance(p, Value):
        check(pointwise(lambda a: (a >= 0) & (a <= 1), p),
              "bernoulli_ expects p to be in [0, 1]")
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    draw = current().draw(2 * _count(shape))
    return fill(shape, dtype, lambda i: draw.uniform53(i) < number(p, f64))


def chances_of(p: Value, shape: Shape, dtype: DType) -> Value:
    """The same for a tensor of probabilities."""
    wide = p.dtype is f64
    draw = current().draw(_count(shape) * (2 if wide else 1))
    near = f64 if wide else f32

    def body(*i: Expr) -> Expr:
        at = E.const(0)
        for e, n in zip(i, shape):
            at = at * n + e
        u = draw.uniform53(at) if wide else draw.uniform24(at)
        return E.cast(u < read(p, shape, near), dtype)

    return compute(shape, body)


@aten("bernoulli(Tensor self, *, " + _FROM)
def bernoulli(p, *, generator=None):
    return chances_of(p, p.shape, p.dtype)


@aten("bernoulli.p(Tensor self, float p, *, " + _FROM,
      "bernoulli_.float(Tensor(a!) self, float p=0.5, *, Generator? generator=None) -> Tensor(a!)")
def bernoulli_p(x, p=0.5, *, generator=None):
    return chances(x.shape, x.dtype, p)


@aten("bernoulli.Tensor(Tensor self, Tensor p, *, " + _FROM,
      "bernoulli_.Tensor(Tensor(a!) self, Tensor p, *, Generator? generator=None) -> Tensor(a!)")
def bernoulli_tensor(x, p, *, generator=None):
    return chances_of(p, x.shape, x.dtype)
