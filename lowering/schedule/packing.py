"""Copies factors of products at run time: columns into panels, rows so that each lies together.

A panel has the columns of a register tile side by side, step after step of the sum: as weights
are packed at compile time (product.py). Where the columns do not lie together, or lie so that few
sets of a cache hold them, copying them costs less than reading them there for each few rows.
"""

from __future__ import annotations

import math
from dataclasses import replace

from lowering import expr as E
from lowering.schedule.loops import Scheduled, schedule_loops
from lowering.schedule.nest import Nest
from lowering.schedule.product import Operand, Product, k_dims
from lowering.schedule.storage import MemoryBuffer
from lowering.schedule.sum_blocks import SumBlocks
from lowering.schedule.tiles import Tile
from lowering.schedule.transpose import transpose_nest
from lowering.sizes import numel
from llvm_backend.target import Target

_LINE = 64  # bytes of a cache line
_PAD = 16  # elements between rows that are packed, which puts them into different sets of a cache
_WAYS = 16  # of a second-level cache
_LEAST_USES = 64  # what is read less often is not worth a copy


def columns_lie_badly(product: Product, rows: list[int], tile: Tile, target: Target) -> bool:
    """Whether a panel of columns, read where it lies, needs more of the second-level cache than
    the sets that it falls into, so that every tile of rows reads it from farther away."""
    count = numel(product.nest.domain[d] for d in rows)
    return count >= _LEAST_USES and _lies_badly(product, product.b, tile.width, target)


def rows_lie_badly(product: Product, target: Target) -> bool:
    """The same of a's rows, where neighbours lie together and not the steps of the sum."""
    nest, a, v = product.nest, product.a, product.vector
    if a.stride(v) or any(a.stride(d) == 1 for d in product.reduced):
        return False
    line = _LINE // a.memory.dtype.bytes
    return nest.domain[v] >= _LEAST_USES and _lies_badly(product, a, line, target)


def _lies_badly(product: Product, x: Operand, width: int, target: Target) -> bool:
    """Whether steps of the sum, each of `width` neighbours, fill the sets of L2 where they are."""
    domain, size = product.nest.domain, x.memory.dtype.bytes
    steps = [(domain[d], x.stride(d)) for d in product.reduced if x.stride(d)]
    if not all(isinstance(n, int) for n in (*domain, *(s for _, s in steps))):
        return False
    distance = math.gcd(*(s * size for _, s in steps), target.l2 // _WAYS)
    reached = min(1.0, width * size / distance)
    return math.prod(n for n, _ in steps) * width * size > target.l2 * reached / 2


def columns_in_panels(product: Product, width: int, target: Target,
                      name: str) -> tuple[Product, list[Scheduled]]:
    """b copied as [other dims of b][panel][k][width]. As pack_constant, at run time; what is
    beyond the last column is not written."""
    nest, b, v = product.nest, product.b, product.vector
    domain, (_, used) = nest.domain, k_dims(product)
    outer = [d for d in range(nest.parallel) if b.stride(d) and d != v]
    steps = numel(domain[d] for d in used)
    whole, rest = divmod(domain[v], width)
    strides, step = {v: 1}, width
    for d in reversed(used):
        strides[d] = step
        step *= domain[d]
    step = (whole + (rest > 0)) * steps * width
    for d in reversed(outer):
        strides[d] = step
        step *= domain[d]
    memory, kernels = MemoryBuffer(b.memory.dtype, step, "arena"), []
    for first, count, columns in ((0, whole, width), (whole, 1, rest)):
        if count and columns:
            dims = [*((domain[d], b.stride(d), strides[d]) for d in outer),
                    (count, width * b.stride(v), steps * width),
                    *((domain[d], b.stride(d), strides[d]) for d in used),
                    (columns, b.stride(v), 1)]
            at = b.offset + first * width * b.stride(v)
            kernels.append(_copy(b, at, dims, memory, first * steps * width, target,
                                 f"{name}{first}"))
    return replace(product, b=Operand(memory, strides, 0)), kernels


def columns_in_rows(product: Product, target: Target, name: str) -> tuple[Product, Scheduled]:
    """b copied so that it runs along the vector dim, row after row."""
    nest, b, v = product.nest, product.b, product.vector
    outer = [d for d in range(nest.parallel) if b.stride(d) and d != v]
    _, k_order = k_dims(product)
    dims = [*outer, *(d for d in k_order if b.stride(d)), v]
    strides, step = {}, 1
    for d in reversed(dims):
        strides[d] = step
        step *= nest.domain[d]
    memory = MemoryBuffer(b.memory.dtype, step, "arena")
    kernel = _copy(b, b.offset, [(nest.domain[d], b.stride(d), strides[d]) for d in dims], memory,
                   0, target, name)
    return replace(product, b=Operand(memory, strides, 0)), kernel


def rows_in_order(product: Product, target: Target, name: str) -> tuple[Product, Scheduled]:
    """a copied row after row, the steps of the sum side by side."""
    nest, a = product.nest, product.a
    outer = [d for d in range(nest.parallel) if a.stride(d)]
    used = [d for d in k_dims(product)[1] if a.stride(d)]
    strides, step = {}, 1
    for d in reversed(used):
        strides[d] = step
        step *= nest.domain[d]
    step += _PAD
    for d in reversed(outer):
        strides[d] = step
        step *= nest.domain[d]
    memory = MemoryBuffer(a.memory.dtype, step, "arena")
    dims = [(nest.domain[d], a.stride(d), strides[d]) for d in (*outer, *used)]
    kernel = _copy(a, a.offset, dims, memory, 0, target, name)
    return replace(product, a=Operand(memory, strides, 0)), kernel


def rows_in_blocks(product: Product, blocks: SumBlocks, target: Target,
                   name: str) -> tuple[Product, list[Scheduled]]:
    """a copied block of k by block, so that the part of many rows that a block needs lies together:
    it would not stay in a cache whose sets it all falls into."""
    nest, a = product.nest, product.a
    dims = [d for d in range(nest.parallel) if a.stride(d)]
    strides, step = {}, blocks.row
    for d in reversed(dims):
        strides[d] = step
        step *= nest.domain[d]
    (k,), order = k_dims(product)  # one dim, though it may have been several
    inner = 1
    for d in reversed(order):
        strides[d], inner = inner, inner * nest.domain[d]
    memory = MemoryBuffer(a.memory.dtype, step * blocks.count, "arena")
    whole = blocks.count - (blocks.rest != blocks.size)
    kernels = []
    for first, count, size in ((0, whole, blocks.size), (whole, 1, blocks.rest)):
        if first < blocks.count:
            lies = [(count, blocks.size * k.a, step),
                    *((nest.domain[d], a.stride(d), strides[d]) for d in dims),
                    (size, k.a, 1)]
            at = a.offset + first * blocks.size * k.a
            kernels.append(_copy(a, at, lies, memory, first * step, target, f"{name}{first}"))
    return replace(product, a=Operand(memory, strides, 0)), kernels


def _copy(source: Operand, read: int, dims: list[tuple[int, int, int]], memory: MemoryBuffer,
          written: int, target: Target, name: str) -> Scheduled:
    """The kernel that copies from element `read` to element `written`. dims: extents and strides
    of both sides."""
    load, store = E.const(read), E.const(written)
    for n, (_, a, b) in enumerate(dims):
        load, store = load + E.index(n) * a, store + E.index(n) * b
    copy = Nest(tuple(n for n, _, _ in dims), len(dims), E.load(source.memory, [load]), None, None,
                memory, store)
    return transpose_nest(copy, target, name) or schedule_loops([copy], target, name)
