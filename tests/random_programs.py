"""Random tensor programs, for comparing optimised code with the interpreter.

A program is a list of steps, so that `reduced` can leave out steps while a difference remains: what
it hands back is small enough to read.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering import views
from lowering.ops.convolution import conv2d
from lowering.ops.joining import cat
from lowering.ops.matmul import matmul
from lowering.ops.pooling import max_pool2d
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import DType, f32, f64, i64

Step = tuple[str, int]  # a maker's name and the seed of its choices
MAX_ELEMENTS = 4000


@dataclass(frozen=True)
class Recipe:
    """Shapes of the inputs and the steps; every step picks its operands with its own seed."""

    shapes: tuple[tuple[int, ...], ...]
    dtype: DType
    steps: tuple[Step, ...]


def recipe(seed: int) -> Recipe:
    """A program of 3 to 14 steps."""
    r = random.Random(seed)
    shapes = [(r.randint(1, 3), r.randint(1, 9), r.randint(1, 12), r.randint(1, 20))]
    shapes.append(tuple(r.randint(1, 18) for _ in range(r.randint(1, 3))))
    dtype = r.choice([f32, f32, f32, f64])
    steps = tuple((r.choice(sorted(MAKERS)), r.randrange(1 << 30)) for _ in range(r.randint(3, 14)))
    return Recipe(tuple(shapes), dtype, steps)


def program(made_of: Recipe) -> TensorProgram:
    """The program, new Values at every call. Results are the last Values and some others."""
    region = Region([Value(s, made_of.dtype) for s in made_of.shapes])
    with B.collect(region):
        values = list(region.params)
        for name, seed in made_of.steps:
            made = MAKERS[name](random.Random(seed), values)
            if made is not None and 0 < made.numel <= MAX_ELEMENTS:
                values.append(made)
        extra = random.Random(len(made_of.steps)).sample(values, min(2, len(values)))
        region.results = list(dict.fromkeys([values[-1], *extra]))
    names = [f"x{k}" for k in range(len(region.params))]
    return TensorProgram("forward", region, names, "", "")


def inputs(made_of: Recipe) -> list[np.ndarray]:
    rng = np.random.default_rng(len(made_of.steps))
    return [rng.uniform(-1, 1, s).astype(made_of.dtype.storage) for s in made_of.shapes]


def reduced(made_of: Recipe, differs: Callable[[Recipe], bool]) -> Recipe:
    """A smaller recipe that still differs: steps are left out one by one while that holds."""
    k = 0
    while k < len(made_of.steps):
        steps = made_of.steps[:k] + made_of.steps[k + 1:]
        smaller = Recipe(made_of.shapes, made_of.dtype, steps)
        if differs(smaller):
            made_of = smaller
        else:
            k += 1
    return made_of


# Makers: (choices, values so far) -> a new Value, or None where nothing fits


def _float(r: random.Random, values: list[Value]) -> Value:
    return r.choice([v for v in values if v.dtype.is_float])


def _unary(r, values):
    op = r.choice([lambda a: E.maximum(a, 0), lambda a: E.unary("tanh", a), lambda a: -a,
                   lambda a: a * 0.5 + 1, lambda a: E.unary("abs", a),
                   lambda a: 1 / (1 + E.unary("exp", -a))])
    return B.pointwise(op, _float(r, values))


def _binary(r, values):
    a, b = _float(r, values), _float(r, values)
    try:
        B.broadcast_shape(a.shape, b.shape)
    except ValueError:
        b = B.reduce("max", b, None, False)
    op = r.choice([lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q * 0.5,
                   E.maximum, lambda p, q: E.select(p < q, p, q)])
    return B.pointwise(op, a, b)


def _reduce(r, values):
    x = _float(r, values)
    dims = r.sample(range(x.ndim), r.randint(0, x.ndim)) if x.ndim else None
    n = max(1, x.numel)
    if r.random() < 0.5:
        return B.reduce("add", x, dims, r.random() < 0.5, post=lambda a: a * (1 / n))
    return B.reduce(r.choice(["max", "min"]), x, dims, r.random() < 0.5)


def _position(r, values):
    x = _float(r, values)
    if not x.ndim:
        return None
    return B.reduce(r.choice(["argmax", "argmin"]), x, r.randrange(x.ndim), False)


def _permute(r, values):
    x = _float(r, values)
    order = list(range(x.ndim))
    r.shuffle(order)
    return views.permute(x.shape, order).get(x)


def _reshape(r, values):
    x = _float(r, values)
    n, shape = x.numel, []
    for p in (2, 3, 5, 7):
        while n % p == 0:
            shape.append(p)
            n //= p
    r.shuffle(shape)
    shape.append(n)
    while len(shape) > 4:
        a = shape.pop(r.randrange(len(shape)))
        shape[r.randrange(len(shape))] *= a
    return views.reshape(x.shape, shape).get(x)


def _slice(r, values):
    x = _float(r, values)
    starts = [r.randrange(n) for n in x.shape]
    steps = [r.choice([1, 1, 2]) for _ in x.shape]
    sizes = [r.randint(1, (n - s + t - 1) // t) for n, s, t in zip(x.shape, starts, steps)]
    return views.slice_(x.shape, starts, sizes, steps).get(x)


def _write(r, values):
    x = _float(r, values)
    starts = [r.randrange(n) for n in x.shape]
    sizes = [r.randint(1, n - s) for n, s in zip(x.shape, starts)]
    part = B.pointwise(lambda a: a + 1, views.slice_(x.shape, starts, sizes, [1] * x.ndim).get(x))
    return B.insert(x, part, starts)


def _pad(r, values):
    x = _float(r, values)
    before = [r.randint(0, 2) for _ in x.shape]
    shape = [n + b + r.randint(0, 2) for n, b in zip(x.shape, before)]
    return B.insert(B.full(shape, r.choice([0.0, -1.5]), x.dtype), x, before)


def _cat(r, values):
    x = _float(r, values)
    if not x.ndim:
        return None
    same = [v for v in values if v.dtype is x.dtype and v.shape == x.shape]
    return cat([x, *r.choices(same, k=r.randint(1, 2))], r.randrange(x.ndim))


def _matmul(r, values):
    x = _float(r, values)
    if x.ndim < 2:
        return None
    if r.random() < 0.5:
        w = np.random.default_rng(r.randrange(99)).uniform(-1, 1, (x.shape[-1], r.randint(1, 40)))
        return matmul(x, B.constant(w.astype(x.dtype.storage), x.dtype))
    y = views.permute(x.shape, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]).get(x)
    return matmul(x, B.pointwise(lambda a: a * 0.25, y))


def _conv(r, values):
    x = r.choice(values)
    if x.ndim != 4 or not x.dtype.is_float or min(x.shape) == 0:
        return None
    groups = r.choice([1, 1, x.shape[1]])
    out = groups * r.randint(1, 20 if groups == 1 else 2)
    kernel = (out, x.shape[1] // groups, r.randint(1, 3), r.randint(1, 3))
    padding = r.randint(0, 1)
    if x.shape[2] + 2 * padding < kernel[2] or x.shape[3] + 2 * padding < kernel[3]:
        return None
    w = np.random.default_rng(r.randrange(99)).uniform(-0.5, 0.5, kernel)
    w = B.constant(w.astype(x.dtype.storage), x.dtype)
    return conv2d(x, w, None, r.randint(1, 2), padding, 1, groups)


def _pool(r, values):
    x = r.choice(values)
    if x.ndim != 4 or not x.dtype.is_float or min(x.shape[2:]) < 3:
        return None
    return max_pool2d(x, [2, 3], [r.randint(1, 2)] * 2, [r.randint(0, 1), 1])


def _softmax(r, values):
    x = _float(r, values)
    if not x.ndim:
        return None
    d = r.randrange(x.ndim)
    e = B.pointwise(lambda a, m: E.unary("exp", a - m), x, B.reduce("max", x, d, True))
    return B.pointwise(lambda a, s: a / s, e, B.reduce("add", e, d, True))


def _take(r, values):
    x = _float(r, values)
    if not x.ndim or not x.shape[0]:
        return None
    picks = [r.randrange(x.shape[0]) for _ in range(r.randint(1, 9))]
    at = B.constant(np.array(picks), i64)
    return B.reindex(x, (len(picks), *x.shape[1:]), lambda *i: [E.load(at, [i[0]]), *i[1:]])


def _loop(r, values):
    x = _float(r, values)

    def body(counter: Value, carried: Value, other: Value) -> list[Value]:
        n = E.cast(E.load(counter), x.dtype)
        grown = B.compute(x.shape, lambda *i: E.load(carried, i) * 0.5 + n)
        return [other, grown] if swap else [grown, other]

    swap = r.random() < 0.5
    return B.loop(r.randint(0, 4), [x, B.pointwise(lambda a: a + 1, x)], body)[r.randrange(2)]


def _branch(r, values):
    x = _float(r, values)
    total = B.reduce("add", x, None, False)
    condition = B.pointwise(lambda a: a > 0, total)
    return B.cond(condition, lambda: [B.pointwise(lambda a: a * 2, x)], lambda: [x])[0]


MAKERS: dict[str, Callable[[random.Random, list[Value]], Value | None]] = {
    "unary": _unary, "binary": _binary, "reduce": _reduce, "position": _position,
    "permute": _permute, "reshape": _reshape, "slice": _slice, "write": _write, "pad": _pad,
    "cat": _cat, "matmul": _matmul, "conv": _conv, "pool": _pool, "softmax": _softmax,
    "take": _take, "loop": _loop, "branch": _branch,
}
