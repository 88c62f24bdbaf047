"""Tensors put together, repeated, rolled and flipped."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lowering import expr as E
from lowering.build import (
    cast, check, compute, constant, dim_of, full, reduce, reindex, result_type, scan, scatter,
    update,
)
from lowering.known import known_or_none
from lowering.ops.sorting import searchsorted
from lowering.ops.table import aten, each
from lowering.ops.view import atleast_2d, atleast_3d, expand, ravel
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import i64


@aten(*each("cat concat concatenate", "(Tensor[] tensors, int dim=0) -> Tensor"))
def cat(tensors, dim=0):
    """Tensors of one shape but for `dim`. Empty vectors of shape [0] are left out."""
    if not tensors:
        raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")
    dtype = result_type(*tensors)
    parts = [x for x in tensors if x.shape != (0,)] or [tensors[0]]
    if any(x.ndim == 0 for x in parts):
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    first = parts[0]
    dim = dim_of(dim, first.ndim)
    for k, x in enumerate(parts):
        if x.ndim != first.ndim:
            raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and "
                               f"{x.ndim}")
        for d, (n, m) in enumerate(zip(x.shape, first.shape)):
            if n != m and d != dim:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {dim}. "
                                   f"Expected size {m} but got size {n} for tensor number {k} in "
                                   "the list.")
    shape = list(first.shape)
    shape[dim] = sum(x.shape[dim] for x in parts)
    return _place(parts, shape, dim, dtype, [x.shape[dim] for x in parts])


def _place(parts, shape, dim: int, dtype, widths) -> Value:
    """Parts written one after the other along dim of a new tensor."""
    out, start = full(shape, 0, dtype), 0
    for x, width in zip(parts, widths):
        if x.numel:
            out = update(
                out, x.shape,
                lambda *i, s=start: [e + s if k == dim else e for k, e in enumerate(i)],
                lambda *i, x=x: E.cast(E.load(x, i), dtype))
        start += width
    return out


@aten("stack(Tensor[] tensors, int dim=0) -> Tensor")
def stack(tensors, dim=0):
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]
    dim = dim_of(dim, first.ndim + 1)
    for k, x in enumerate(tensors):
        if x.shape != first.shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got "
                               f"{list(first.shape)} at entry 0 and {list(x.shape)} at entry {k}")
    dtype = result_type(*tensors)
    out = full((*first.shape[:dim], len(tensors), *first.shape[dim:]), 0, dtype)
    for n, x in enumerate(tensors):
        out = update(out, x.shape, lambda *i, n=n: [*i[:dim], n, *i[dim:]],
                     lambda *i, x=x: E.cast(E.load(x, i), dtype))
    return out


@aten("hstack(Tensor[] tensors) -> Tensor")
def hstack(tensors):
    parts = [reindex(x, (1,), lambda i: []) if x.ndim == 0 else x for x in tensors]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


@aten(*each("vstack row_stack", "(Tensor[] tensors) -> Tensor"))
def vstack(tensors):
    return cat([atleast_2d(x) for x in tensors], 0)


@aten("dstack(Tensor[] tensors) -> Tensor")
def dstack(tensors):
    return cat([atleast_3d(x) for x in tensors], 2)


@aten("column_stack(Tensor[] tensors) -> Tensor")
def column_stack(tensors):
    return cat([x if x.ndim > 1 else reindex(x, (x.numel, 1), lambda i, j, x=x: [i][:x.ndim])
                for x in tensors], 1)


@aten("block_diag(Tensor[] tensors) -> Tensor")
def block_diag(tensors):
    """Matrices along the diagonal; zeros elsewhere."""
    parts = [atleast_2d(x) for x in tensors]
    for k, x in enumerate(parts):
        if x.ndim > 2:
            raise RuntimeError("torch.block_diag: Input tensors must have 2 or fewer dimensions. "
                               f"Input {k} has {x.ndim} dimensions")
    dtype = result_type(*tensors)
    out = full([sum(x.shape[k] for x in parts) for k in (0, 1)], 0, dtype)
    row = column = 0
    for x in parts:
        if x.numel:
            out = update(out, x.shape, lambda i, j, r=row, c=column: [i + r, j + c],
                         lambda i, j, x=x: E.cast(E.load(x, [i, j]), dtype))
        row, column = row + x.shape[0], column + x.shape[1]
    return out


# Repetition


@aten("repeat(Tensor self, int[] repeats) -> Tensor")
def repeat(x, repeats):
    if len(repeats) < x.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of "
                           "dimensions of tensor")
    skip = len(repeats) - x.ndim
    shape = [n * r for n, r in zip((1,) * skip + x.shape, repeats)]
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {shape}")
    if 0 in shape:
        return full(shape, 0, x.dtype)
    return reindex(x, shape, lambda *i: [e % n for e, n in zip(i[skip:], x.shape)])


@aten("tile(Tensor self, int[] dims) -> Tensor")
def tile(x, dims):
    return repeat(x, [1] * (x.ndim - len(dims)) + list(dims))


@aten("repeat_interleave.self_int(Tensor self, int repeats, int? dim=None, *, "
      "int? output_size=None) -> Tensor")
def repeat_interleave(x, repeats, dim=None, *, output_size=None):
    """Each element `repeats` times in a row; without a dim, of the flattened tensor."""
    if dim is None:
        x, dim = ravel(x), 0
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        x = reindex(x, (1,), lambda i: [])
    if repeats < 0:
        raise RuntimeError("repeats has to be non-negative")
    shape = [n * repeats if k == dim else n for k, n in enumerate(x.shape)]
    if 0 in shape:
        return full(shape, 0, x.dtype)
    return reindex(x, shape, lambda *i: [e // repeats if k == dim else e for k, e in enumerate(i)])


@aten("repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, "
      "int? output_size=None) -> Tensor")
def repeat_interleave_each(x, repeats, dim=None, *, output_size=None):
    """Element k repeats[k] times; the counts decide the shape."""
    counts = known_or_none(repeats)
    if dim is None:
        x, dim = ravel(x), 0
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        x = reindex(x, (1,), lambda i: [])
    n = x.shape[dim]
    if counts is None:
        if repeats.shape not in ((), (1,), (n,)):
            raise RuntimeError("repeats must have the same size as input along dim, but got "
                               f"repeats.size(0) = {list(repeats.shape)} and "
                               f"input.size({dim}) = {n}")
        at = _repeated(expand(ravel(repeats), (n,)))
        shape = [at.shape[0] if k == dim else m for k, m in enumerate(x.shape)]
        return reindex(x, shape, lambda *i: [E.load(at, [e]) if k == dim else e
                                             for k, e in enumerate(i)])
    counts = counts.reshape(-1)
    if len(counts) not in (1, n):
        raise RuntimeError("repeats must have the same size as input along dim, but got "
                           f"repeats.size(0) = {len(counts)} and input.size({dim}) = {n}")
    return _pick(x, dim, np.repeat(np.arange(n), counts if len(counts) == n else int(counts[0])))


@aten("repeat_interleave.Tensor(Tensor repeats, *, int? output_size=None) -> Tensor")
def repeat_interleave_positions(repeats, *, output_size=None):
    counts = known_or_none(repeats)
    if counts is None:
        return cast(_repeated(repeats), repeats.dtype)
    return constant(np.repeat(np.arange(len(counts)), counts).astype(repeats.dtype.compute),
                    repeats.dtype)


def _repeated(repeats: Value) -> Value:
    """0 repeats[0] times, 1 repeats[1] times ... for counts known only at run time."""
    check(reduce("and", repeats, None, False, lambda a: a >= 0), "repeats can not be negative")
    ends = scan(cast(repeats, i64), 0, "add")[0]
    size = Size(reduce("add", repeats, None, False, lambda a: E.cast(a, i64)))
    places = compute((size,), lambda i: i)
    return searchsorted(ends, places, right=True)


def _pick(x: Value, dim: int, positions: np.ndarray) -> Value:
    """Known positions of a dim."""
    at = constant(positions.astype(np.int64))
    shape = [len(positions) if k == dim else n for k, n in enumerate(x.shape)]
    return reindex(x, shape, lambda *i: [E.load(at, [e]) if k == dim else e
                                         for k, e in enumerate(i)])


# Order within dims


@aten("roll(Tensor self, int[1] shifts, int[1] dims=[]) -> Tensor")
def roll(x, shifts, dims=()):
    """Elements that leave a dim at its end come back at its start."""
    shifts, dims = ([v] if isinstance(v, (int, Value)) else list(v) for v in (shifts, dims))
    if not shifts:
        raise RuntimeError("`shifts` required")
    if x.numel == 0 or x.ndim == 0:
        return reindex(x, x.shape, lambda *i: i)
    if not dims:
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        flat = roll(ravel(x), shifts, [0])
        strides = [math.prod(x.shape[k + 1:]) for k in range(x.ndim)]
        return reindex(flat, x.shape, lambda *i: [sum((e * s for e, s in zip(i, strides)),
                                                      E.const(0))])
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, "
                           f"dims:{len(dims)}")
    total: list = [0] * x.ndim
    for s, d in zip(shifts, dims):
        total[dim_of(d, x.ndim)] += E.load(s) if isinstance(s, Value) else s
    back = [-t % E.const(n) if isinstance(t, E.Expr) else (-t) % n
            for t, n in zip(total, x.shape)]
    if any(isinstance(b, E.Expr) for b in back):  # no view: places are not known
        return compute(x.shape, lambda *i: E.load(
            x, [(e + b) % n for e, b, n in zip(i, back, x.shape)]))
    return reindex(x, x.shape, lambda *i: [(e + b) % n if b else e
                                           for e, b, n in zip(i, back, x.shape)])


@aten("fft_fftshift(Tensor self, int[1]? dim=None) -> Tensor")
def fftshift(x, dim=None):
    """Half the size to the right: frequency 0 moves to the middle."""
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return roll(x, [x.shape[d] // 2 for d in dims], list(dims)) if x.ndim else x


@aten("fft_ifftshift(Tensor self, int[1]? dim=None) -> Tensor")
def ifftshift(x, dim=None):
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return roll(x, [-(x.shape[d] // 2) for d in dims], list(dims)) if x.ndim else x


@aten("flip(Tensor self, int[] dims) -> Tensor")
def flip(x, dims):
    turned = [dim_of(d, x.ndim) for d in dims]
    if len(set(turned)) != len(turned):
        twice = next(d for d in turned if turned.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return reindex(x, x.shape, lambda *i: [(n - 1) - e if k in turned else e
                                           for k, (e, n) in enumerate(zip(i, x.shape))])


@aten("fliplr(Tensor self) -> Tensor")
def fliplr(x):
    if x.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(x, [1])


@aten("flipud(Tensor self) -> Tensor")
def flipud(x):
    if x.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(x, [0])


@aten("rot90(Tensor self, int k=1, int[] dims=[0, 1]) -> Tensor")
def rot90(x, k=1, dims=(0, 1)):
    """Quarter turns from the first towards the second dim."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    a, b = (dim_of(d, x.ndim) for d in dims)
    if a == b:
        raise RuntimeError("expected rotation dims to be different, but got dim0 = "
                           f"{dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 2:
        return flip(x, [a, b])
    if k == 0:
        return reindex(x, x.shape, lambda *i: i)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    turned = flip(x, [b] if k == 1 else [a])
    return reindex(turned, [x.shape[d] for d in order], lambda *i: [i[d] for d in order])


# Products of sets


@aten("cartesian_prod(Tensor[] tensors) -> Tensor")
def cartesian_prod(tensors):
    """Every combination of the vectors' elements, the last one fastest."""
    if any(x.ndim > 1 for x in tensors):
        raise RuntimeError("Expect a 1D vector, but got shape "
                           f"{next(list(x.shape) for x in tensors if x.ndim > 1)}")
    if len(tensors) == 1:
        return reindex(tensors[0], tensors[0].shape, lambda *i: i)
    count = math.prod(x.numel for x in tensors)
    columns, after = [], count
    for x in tensors:
        after //= max(x.numel, 1)
        columns.append(reindex(x, (count,), lambda i, a=after, x=x: [(i // a) % x.numel][:x.ndim]))
    return stack(columns, 1)


@aten("combinations(Tensor self, int r=2, bool with_replacement=False) -> Tensor")
def combinations(x, r=2, with_replacement=False):
    if x.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if r <= 0:
        return full((0,), 0, x.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(x.numel), r)), np.int64).reshape(-1, r)
    at = constant(rows)
    return reindex(x, rows.shape, lambda i, j: [E.load(at, [i, j])])
