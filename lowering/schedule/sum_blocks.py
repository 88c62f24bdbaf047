"""Divides long sums of products, so that what a part of the sum needs of many rows stays in L2.

    c[m, n] = sum over all k    ~>    c = sum over k of block 0; c += sum over k of block 1; ...

The rows are copied block by block before (packing.py): those parts of them that a block reads lie
together then, while in their own memory, far apart, they would share few sets of a cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowering import expr as E
from lowering.schedule.product import KDim, Product, k_dims, pack_constant
from lowering.schedule.tiles import Tile
from llvm_backend.target import Target

_BLOCK_STEPS = 512  # of k, where it is divided
_MOST_STEPS = 768  # longer sums are
_PAD = 16  # elements between rows that are packed, which puts them into different sets of a cache
_LEAST_ROWS, _LEAST_PANELS = 8, 8  # fewer do not read what is packed often enough


@dataclass(frozen=True)
class SumBlocks:
    """The only k in blocks of `size`, the last one `rest` long. Between two of them a moves by
    `a` and b by `b` elements; rows of a are `row` elements apart."""

    size: int
    rest: int
    count: int
    row: int
    a: int
    b: int


def can_be_divided(product: Product) -> bool:
    """Whether the sum is over one dim and the parts' sums can stand where the result will: it has
    their dtype, and nobody reads what was there."""
    nest, dims = product.nest, sum_dims(product)
    if len(dims) != 1 or dims[0].a != 1 or product.a.stride(product.vector):
        return False
    return nest.store.dtype is product.dtype and (nest.post is None or not any(
        x.attr is nest.store for x in E.loads(nest.post)))


def sum_dims(product: Product) -> list[KDim]:
    """The dims of the sum once b is packed, if it will be."""
    if product.b.is_constant or product.b.stride(product.vector) != 1:
        product = pack_constant(product, 1, product.dtype)
    return k_dims(product)[0]


def block_of_sum(product: Product, rows: list[int], tile: Tile, target: Target) -> int:
    """The steps of a block where dividing a long sum pays, else 0."""
    nest, v = product.nest, product.vector
    if not can_be_divided(product):
        return 0
    k, = sum_dims(product)
    count = math.prod(nest.domain[d] for d in rows)
    panels = -(-nest.domain[v] // tile.width)
    if k.extent <= _MOST_STEPS or count < _LEAST_ROWS or panels < _LEAST_PANELS:
        return 0
    if _stays(nest.domain[v] * k.extent * product.dtype.bytes, target):
        return 0
    return _BLOCK_STEPS


def blocks_of_sum(product: Product, steps: int) -> SumBlocks | None:
    """The sum in blocks of about so many steps, all about as long; None for 0."""
    if steps == 0:
        return None
    nest, (k,) = product.nest, k_dims(product)[0]
    parts = -(-k.extent // steps)
    size = -(-k.extent // (4 * parts)) * 4
    parts = -(-k.extent // size)
    others = math.prod(nest.domain[d] for d in range(nest.parallel) if product.a.stride(d))
    row = size + _PAD
    return SumBlocks(size, k.extent - (parts - 1) * size, parts, row, others * row, size * k.b)


def _stays(b_bytes: int, target: Target) -> bool:
    """Whether b stays in the last cache from one block of rows to the next: then it costs less to
    read it again for each few rows than to divide the sum."""
    return b_bytes < target.l3 // 2
