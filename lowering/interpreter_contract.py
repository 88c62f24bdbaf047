"""Sums of products as matrix products: what makes convolutions take seconds, not minutes.

A Generic that adds up a product a * b splits its dims by who depends on them: batch (parallel, in
both), rows (parallel, in a), columns (parallel, in b) and the reduced ones. Then it is one batched
matrix product of two gathered arrays, for convolutions the classic im2col.
"""

from __future__ import annotations

import itertools

import numpy as np

from lowering import interpreter_scalar as scalar
from lowering.expr import Expr, walk
from lowering.interpreter_expr import Array, Block, Env, IndexForms
from lowering.tensor_ir import Generic

# Elements of an operand that is gathered at once.
OPERAND_ELEMENTS = 1 << 22


def contract(op: Generic, forms: IndexForms, env: Env) -> Array | None:
    """The sum, in the body's dtype; None where the body is not a product of two operands."""
    a, b, scale = _operands(op)
    if a is None or b is None:
        return None
    dims_a, dims_b = _dims(a, op.domain), _dims(b, op.domain)
    extents = _block_extents(op, dims_a, dims_b)
    dtype = op.body.dtype
    working = scalar.accumulator(dtype, "add")
    out = np.zeros(op.domain[: op.parallel], working)
    grid = [range(0, n, e) for n, e in zip(op.domain, extents)]
    for lo in itertools.product(*grid):
        part = tuple(min(e, n - at) for at, e, n in zip(lo, extents, op.domain))
        block = Block(forms, lo, part, env)
        at = tuple(slice(s, s + e) for s, e in zip(lo[: op.parallel], part))
        out[at] += _product_of(block.evaluate(a), block.evaluate(b), part, op.parallel, working)
    if scale is not None:
        out = out * np.asarray(scale, working)
    return scalar.narrow(out, dtype)


def _operands(op: Generic) -> tuple[Expr | None, Expr | None, object]:
    """Two factors of the body, and the product of constant ones, if the body is such a product."""
    factors: list[Expr] = []

    def split(e: Expr) -> None:
        if e.op == "mul":
            split(e.args[0])
            split(e.args[1])
        else:
            factors.append(e)

    split(op.body)
    constants = [f for f in factors if f.is_const]
    factors = [f for f in factors if not f.is_const]
    scale = None
    for c in constants:
        scale = c.attr if scale is None else scale * c.attr
    if len(factors) != 2 or (scale is not None and not op.body.dtype.is_float):
        return None, None, None
    return factors[0], factors[1], scale


def _dims(e: Expr, domain: tuple[int, ...]) -> frozenset[int]:
    return frozenset(x.attr for x in walk(e) if x.op == "index" and domain[x.attr] != 1)


def _block_extents(op: Generic, *operands: frozenset[int]) -> list[int]:
    """Extents of blocks in which no operand has too many elements."""
    extents = list(op.domain)
    for dims in operands:
        while True:
            size = 1
            for k in dims:
                size *= extents[k]
            k = max(dims, key=lambda d: (extents[d] > 1, d < op.parallel, extents[d]), default=None)
            if size <= OPERAND_ELEMENTS or k is None or extents[k] == 1:
                break
            extents[k] = -(-extents[k] // 2)
    return extents


def _product_of(a: Array, b: Array, extents: tuple[int, ...], parallel: int, working) -> Array:
    """sum over dims >= parallel of a * b, of shape extents[:parallel]."""
    has_a = [n != 1 for n in a.shape]
    has_b = [n != 1 for n in b.shape]
    repeats = 1
    for k in range(parallel, len(extents)):
        if not has_a[k] and not has_b[k]:
            repeats *= extents[k]
    only_a = tuple(k for k in range(parallel, len(extents)) if has_a[k] and not has_b[k])
    only_b = tuple(k for k in range(parallel, len(extents)) if has_b[k] and not has_a[k])
    if only_a:
        a = a.sum(axis=only_a, dtype=working, keepdims=True)
    if only_b:
        b = b.sum(axis=only_b, dtype=working, keepdims=True)
    both = [k for k in range(len(extents)) if has_a[k] and has_b[k]]
    batch = [k for k in both if k < parallel]
    inner = [k for k in both if k >= parallel]
    rows = [k for k in range(parallel) if has_a[k] and not has_b[k]]
    columns = [k for k in range(parallel) if has_b[k] and not has_a[k]]
    x = _matrix(a, batch, rows, inner, working)
    y = _matrix(b, batch, inner, columns, working)
    z = np.matmul(x, y)
    sizes = [a.shape[k] if has_a[k] else b.shape[k] for k in batch + rows + columns]
    z = z.reshape(sizes)
    order = batch + rows + columns
    z = z.transpose([order.index(k) for k in sorted(order)])
    shape = [extents[k] if k in order else 1 for k in range(parallel)]
    z = z.reshape(shape)
    return z * z.dtype.type(repeats) if repeats != 1 else z


def _matrix(x: Array, batch: list[int], first: list[int], second: list[int], working) -> Array:
    """x as (batch, first, second), every group of dims flattened."""
    groups = (batch, first, second)
    order = [k for g in groups for k in g]
    rest = [k for k in range(x.ndim) if k not in order]  # all of extent 1
    sizes = [int(np.prod([x.shape[k] for k in g], dtype=np.int64)) for g in groups]
    return x.transpose(order + rest).reshape(sizes).astype(working, copy=False)
