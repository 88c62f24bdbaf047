"""Random choices: permutations, and positions drawn in proportion to weights."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import (
    as_size, cast, check, compute, full, generic, loop, pointwise, reduce, scan, scatter, sort,
)
from lowering.expr import Expr
from lowering.ops.message_names import type_name
from lowering.ops.random import MAKE_INTEGERS, with_generator
from lowering.ops.table import aten
from lowering.random_stream import current
from lowering.sizes import Size, maximum
from lowering.tensor_ir import Dim, Value
from runtime.dtypes import f64, i64


@aten(*with_generator("randperm(int n", MAKE_INTEGERS))
def randperm(n, *, dtype=None, **place):
    """Fisher-Yates from the front: position i swaps with one of those from i on."""
    if isinstance(n, int) and n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    if isinstance(n, Value):
        check(pointwise(lambda k: k >= 0, n), "n must be non-negative")
        n = as_size(n)
    whole = compute((n,), lambda i: i)
    if isinstance(n, Size) or n >= 2:
        partners = swaps(n)
        turns = full((), n - 1, i64) if isinstance(n, Size) else n - 1
        whole = loop(turns, [whole], lambda turn, x: [_swapped(x, turn, partners)])[0]
    return cast(whole, dtype or i64)


def swaps(n: Dim) -> Value:
    """i64 [n - 1]: which element each one swaps with."""
    count = maximum(n - 1, 0)
    draw = current().draw(count)
    return compute((count,), lambda i: i + E.binary("irem", draw.word32(i), n - i))


def _swapped(x: Value, turn: Value, partners: Value) -> Value:
    """x with the elements at `turn` and partners[turn] in each other's place."""
    i, j = E.load(turn), E.load(partners, [E.load(turn)])
    pair = compute((2,), lambda k: E.load(x, [E.select(E.eq(k, 0), j, i)]))
    return scatter(x, (2,), lambda k: [E.select(E.eq(k, 0), i, j)], lambda k: E.load(pair, [k]))


@aten("multinomial(Tensor self, int num_samples, bool replacement=False, *, "
      "Generator? generator=None) -> Tensor")
def multinomial(x, count, replacement=False, *, generator=None):
    """Positions in each row of x, in proportion to its values. i64 [rows, count]."""
    if x.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if count <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not x.dtype.is_float:
        raise RuntimeError("multinomial only supports floating-point dtypes for input, got: "
                           + type_name(x.dtype))
    n = x.shape[-1]
    if isinstance(n, int) and n > 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    if not replacement and count > n:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without "
                           "replacement")
    rows = x.shape[0] if x.ndim == 2 else 1
    weights = compute((rows, n), lambda r, k: E.load(x, [r, k] if x.ndim == 2 else [k]))
    check(reduce("and", weights, None, False, lambda a: (a >= 0) & (a < math.inf)),
          "probability tensor contains either `inf`, `nan` or element < 0")
    total = reduce("add", weights, 1, False)
    check(reduce("and", total, None, False, lambda a: a > 0),
          "invalid multinomial distribution (sum of probabilities <= 0)")
    picked = (_with_replacement if replacement else _without)(weights, count)
    if x.ndim == 2:
        return picked
    return compute((count,), lambda k: E.load(picked, [0, k]))


def _without(weights: Value, count: int) -> Value:
    """The largest of weight / exponential: a draw without replacement."""
    rows, n = weights.shape
    draw = current().draw(2 * rows * n)

    def ratio(r: Expr, k: Expr) -> Expr:
        waits = -E.unary("log1p", -draw.uniform53(r * n + k))
        near = weights.dtype
        return E.load(weights, [r, k]) / E.cast(waits, near)

    order = sort(compute((rows, n), ratio), 1, True)[1]
    return compute((rows, count), lambda r, k: E.load(order, [r, k]))


def _with_replacement(weights: Value, count: int) -> Value:
    """How many running sums, of the whole as one, are below a uniform number."""
    rows, n = weights.shape
    sums = scan(cast(weights, f64), 1, "add")[0]
    draw = current().draw(2 * rows * count)
    below = E.load(sums, [E.index(0), E.index(2)]) / E.load(sums, [E.index(0), E.const(n - 1)]) < (
        draw.uniform53(E.index(0) * count + E.index(1)))
    return generic((rows, count, n), 2, E.cast(below, i64), "add")
