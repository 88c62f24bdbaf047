"""Index expressions: simplified and original agree at every point of small domains."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from lowering import expr as E
from lowering import views as V
from lowering.expr import Expr, const, index
from lowering.index_algebra import (IndexAlgebra, contiguous_strides, delinearize, linearize)
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64


def floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, 0, a // np.where(b == 0, 1, b))


def modulo(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, 0, a % np.where(b == 0, 1, b))


NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "floordiv": floor_divide, "mod": modulo, "min": np.minimum, "max": np.maximum,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "and": np.logical_and, "or": np.logical_or,
    "xor": np.logical_xor, "not": np.logical_not, "select": np.where,
}


def evaluate(e: Expr, grid: list[np.ndarray], table: np.ndarray, memo: dict) -> np.ndarray:
    """e at every point of the grid; loads read `table` at their index modulo its size."""
    if e not in memo:
        args = [evaluate(a, grid, table, memo) for a in e.args]
        if e.op == "const":
            memo[e] = np.asarray(e.attr)
        elif e.op == "index":
            memo[e] = grid[e.attr]
        elif e.op == "load":
            memo[e] = table[args[0] % table.size]
        elif e.op == "cast":
            memo[e] = args[0].astype(e.dtype.compute)
        else:
            memo[e] = NUMPY[e.op](*args)
    return memo[e]


def everywhere(e: Expr, extents: tuple[int, ...], table: np.ndarray) -> np.ndarray:
    grid = list(np.indices(extents, dtype=np.int64)) if extents else []
    return np.broadcast_to(evaluate(e, grid, table, {}), extents)


class Random:
    """Random expressions over a random small domain."""

    def __init__(self, seed: int):
        self.random = r = random.Random(seed)
        self.extents = tuple(r.choice([1, 2, 3, 4, 5, 6, 8]) for _ in range(r.randint(0, 3)))
        self.table = Value((7,), i64, name="t")
        self.data = np.array([r.randint(-9, 9) for _ in range(7)])

    def constant(self) -> int:
        return self.random.choice([-12, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 24, 36])

    def number(self, depth: int) -> Expr:
        r = self.random
        if depth <= 0 or r.random() < 0.1:
            if self.extents and r.random() < 0.8:
                return index(r.randrange(len(self.extents)))
            return const(self.constant())
        kind = r.choice(["add"] * 4 + ["sub", "mul", "mul"] + ["floordiv", "mod"] * 3
                        + ["min", "max", "neg", "select", "load", "cast", "any"])
        a = self.number(depth - 1)
        if kind == "neg":
            return -a
        if kind == "load":
            return E.load(self.table, [a])
        if kind == "cast":
            return E.cast(self.truth(depth - 1), i64)
        if kind == "select":
            return E.select(self.truth(depth - 1), a, self.number(depth - 1))
        if kind == "mul":
            return a * (self.constant() if r.random() < 0.8 else self.number(depth - 1))
        if kind in ("floordiv", "mod"):
            by = r.choice([1, 2, 3, 4, 6, 8, 12])
            if r.random() < 0.15:
                by = r.choice([-3, -2, -1, 0, self.number(depth - 1)])
            return E.binary(kind, a, by)
        if kind == "any":
            kind = r.choice(["add", "sub", "mul", "floordiv", "mod", "min", "max"])
        return E.binary(kind, a, self.number(depth - 1))

    def truth(self, depth: int) -> Expr:
        r = self.random
        if depth > 1 and r.random() < 0.3:
            if r.random() < 0.2:
                return ~self.truth(depth - 1)
            return E.binary(r.choice(["and", "or"]), self.truth(depth - 1), self.truth(depth - 1))
        op = r.choice(["lt", "le", "gt", "ge", "eq", "ne"])
        return E.binary(op, self.number(depth - 1), self.number(depth - 1))


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
@pytest.mark.parametrize("block", range(5))
def test_simplified_equals_original(depth, block):
    for seed in range(block * 100, block * 100 + 100):
        g = Random(seed * 10 + depth)
        e = g.number(depth) if seed % 4 else g.truth(depth)
        algebra = IndexAlgebra(g.extents)
        s = algebra.simplify(e)
        assert s.dtype is e.dtype
        want, got = everywhere(e, g.extents, g.data), everywhere(s, g.extents, g.data)
        assert np.array_equal(want, got), f"seed {seed}, {g.extents}: {e!r} ~> {s!r}"
        again = algebra.simplify(s)
        assert np.array_equal(want, everywhere(again, g.extents, g.data)), f"seed {seed}: {s!r}"


@pytest.mark.parametrize("block", range(4))
def test_bounds_hold(block):
    for seed in range(block * 100, block * 100 + 100):
        g = Random(seed)
        e = g.number(4)
        algebra = IndexAlgebra(g.extents)
        values = everywhere(e, g.extents, g.data)
        for found in (algebra.bounds(e), algebra.affine_bounds(algebra.affine(e))):
            if found is not None:
                assert found[0] <= values.min() and values.max() <= found[1], f"{seed} {e!r}"


def test_simplify_is_idempotent():
    for seed in range(300):
        g = Random(seed)
        s = IndexAlgebra(g.extents).simplify(g.number(4))
        assert IndexAlgebra(g.extents).simplify(s) == s, seed


I, J, K = index(0), index(1), index(2)
T = Value((7,), i64, name="t")


@pytest.mark.parametrize("extents, before, after", [
    ((8, 4), (I * 4 + J) // 4, I),
    ((8, 4), (I * 4 + J) % 4, J),
    ((8, 4), (I * 12 + J * 3 + 2) // 24, I // 2),
    ((8, 4), (I * 12 + J * 3 + 2) % 24, J * 3 + (I % 2) * 12 + 2),
    ((100,), I // 4 // 5, I // 20),
    ((100,), I % 20 // 5, I // 5 % 4),
    ((100,), I % 20 % 5, I % 5),
    ((100,), I % 6 + I // 6 * 6, I),
    ((100,), (I + 3) % 6 + (I + 3) // 6 * 6, I + 3),
    ((100,), I % 6 * 5 + (I // 6) % 4 * 30, (I % 24) * 5),
    ((5, 9, 2), (I * 6 + J * 4 + K) // 12, (I * 3 + J * 2) // 6),
    ((9,), -I + 8, 8 - I),
    ((8,), (7 - I) // 8, const(0)),
    ((8,), E.minimum(E.maximum(I - 1, 0), 7), E.maximum(I - 1, 0)),
    ((8,), E.minimum(E.maximum(E.load(T, [I % 7]), 0), 3) // 4, const(0)),
    ((8,), E.select((I >= 0) & (I < 8), I + 1, const(5)), I + 1),
    ((8, 8), E.eq(I - I + J * 0, 0), const(True, bool_)),
    ((8,), E.select(E.eq(I, 9), I, -I), -I),
    ((1, 8), I * 100 + J, J),
    ((8,), I % -3, I % -3),
    ((8,), I // 0 // 2, I // 0 // 2),
])
def test_rules(extents, before, after):
    algebra = IndexAlgebra(extents)
    assert algebra.simplify(before) == algebra.simplify(after)


def test_divisors_that_are_no_positive_constants_are_left_alone():
    """A divisor's index was once taken for its value."""
    algebra = IndexAlgebra((9, 5))
    for e in ((I // (J + 1)) // 2, (I % (J + 1)) % 2, (I % 0) % 3, (I % -6) // 2):
        want, got = (everywhere(x, (9, 5), np.zeros(1)) for x in (e, algebra.simplify(e)))
        assert np.array_equal(want, got)


# Chains of views


class Chain:
    """Views applied to numpy's array and, as index maps, to the base."""

    def __init__(self, shape: tuple[int, ...]):
        self.base = np.arange(int(np.prod(shape))).reshape(shape)
        self.array = self.base
        self.map: tuple[Expr, ...] = E.identity(len(shape))

    def apply(self, view: V.View, array: np.ndarray) -> None:
        assert view.shape == array.shape
        algebra = IndexAlgebra(view.shape)
        self.map = tuple(algebra.simplify(E.substitute(e, view.index)) for e in self.map)
        self.array = array

    def reshape(self, *shape: int) -> None:
        self.apply(V.reshape(self.array.shape, shape), self.array.reshape(shape))

    def permute(self, *order: int) -> None:
        self.apply(V.permute(self.array.shape, order), self.array.transpose(order))

    def narrow(self, dim: int, start: int, size: int, step: int) -> None:
        parts = [slice(None)] * self.array.ndim
        parts[dim] = slice(start, start + (size - 1) * step + 1, step)
        self.apply(V.narrow(self.array.shape, dim, start, size, step), self.array[tuple(parts)])

    def check(self) -> None:
        algebra = IndexAlgebra(self.array.shape)
        flat = algebra.simplify(linearize(self.map, contiguous_strides(self.base.shape)))
        assert np.array_equal(everywhere(flat, self.array.shape, np.zeros(1)), self.array)
        if np.shares_memory(self.array, self.base):
            assert all(a.op == "index" for a in algebra.affine(flat)[0]), flat


def factors(n: int, r: random.Random) -> list[int]:
    """A random shape of n elements."""
    shape = []
    while n > 1 and len(shape) < 4:
        f = r.choice([d for d in range(1, n + 1) if n % d == 0])
        shape.append(f)
        n //= f
    return [*shape, n]


@pytest.mark.parametrize("block", range(4))
def test_random_view_chains(block):
    """What numpy expresses by strides comes out affine; all else comes out right."""
    for seed in range(block * 50, block * 50 + 50):
        r = random.Random(seed)
        chain = Chain(tuple(r.choice([1, 2, 3, 4, 6, 8]) for _ in range(r.randint(1, 3))))
        for _ in range(r.randint(1, 5)):
            kind = r.choice(["reshape", "permute", "narrow"])
            shape = chain.array.shape
            if kind == "reshape":
                chain.reshape(*factors(chain.array.size, r))
            elif kind == "permute":
                chain.permute(*r.sample(range(len(shape)), len(shape)))
            else:
                dim = r.randrange(len(shape))
                step = r.choice([1, 2])
                size = r.randint(1, (shape[dim] + step - 1) // step)
                chain.narrow(dim, r.randint(0, shape[dim] - (size - 1) * step - 1), size, step)
            chain.check()


def test_windows_there_and_back():
    """Swin's window partition, channels split into heads, and the way back, is the identity."""
    chain = Chain((2, 56, 56, 96))
    chain.reshape(2, 8, 7, 8, 7, 96)
    chain.permute(0, 1, 3, 2, 4, 5)
    chain.reshape(128, 49, 96)
    chain.reshape(128, 49, 3, 32)
    chain.permute(0, 2, 1, 3)
    chain.permute(0, 2, 1, 3)
    chain.reshape(128, 49, 96)
    chain.reshape(2, 8, 8, 7, 7, 96)
    chain.permute(0, 1, 3, 2, 4, 5)
    chain.reshape(2, 56, 56, 96)
    algebra = IndexAlgebra((2, 56, 56, 96))
    assert tuple(map(algebra.simplify, chain.map)) == E.identity(4)


def test_pixel_shuffle_keeps_flat_addresses_affine():
    shape = (4, 6, 5)
    flat = linearize(delinearize(linearize(E.identity(3), contiguous_strides(shape)), (24, 5)),
                     (5, 1))
    algebra = IndexAlgebra(shape)
    assert algebra.simplify(flat) == algebra.simplify(linearize(E.identity(3), (30, 5, 1)))


def test_long_chains_are_quick():
    """200 views in a row, none of them undone by its neighbour, in well under a second."""
    start = time.process_time()
    chain = Chain((4, 6, 10, 14))
    for k in range(50):
        chain.reshape(24, 10, 14)
        chain.permute(2, 0, 1)
        chain.reshape(14, 4, 60)
        chain.permute(1, 2, 0)
        chain.reshape(4, 6, 10, 14)
    chain.check()
    assert time.process_time() - start < 3


def test_rewrite_sees_an_index_once() -> None:
    """i0*4 + i1 with 0, i2, i3 for i0, i1, i2: the sum folds to i2, which must not become i3."""
    e = E.binary("add", E.binary("mul", E.index(0), E.const(4)), E.index(1))
    new = {0: E.const(0), 1: E.index(2), 2: E.index(3)}
    assert E.rewrite(e, lambda x: new[x.attr] if x.op == "index" else None) == E.index(2)
