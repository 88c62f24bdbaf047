"""Tensors changed where a mask is true, and what a mask selects."""

from __future__ import annotations

import math

import numpy as np

from lowering import expr as E
from lowering.build import broadcast_shape, cast, compute, constant, full, read, reindex, scatter
from lowering.index_algebra import delinearize
from lowering.known import Unsupported, known_or_none
from lowering.ops.comparison import truth
from lowering.ops.indexing import index
from lowering.ops.positions import mask_positions, true_positions
from lowering.ops.scan import cumsum
from lowering.ops.table import aten
from lowering.ops.view import expand, ravel
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64


def _needs_bool(name: str, mask: Value) -> None:
    if mask.dtype is not bool_:
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype "
                           f"{mask.dtype.torch_name}")


@aten("masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor",
      "masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor")
def masked_fill(x, mask, value):
    """`value` where the mask is true, in x's dtype."""
    _needs_bool("masked_fill_", mask)
    if isinstance(value, Value) and value.ndim:
        raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got "
                           "tensor "
                           f"with {value.ndim} dimension(s).")
    shape = broadcast_shape(x.shape, mask.shape)
    return compute(shape, lambda *_: E.select(
        read(mask, shape, bool_), read(value, shape, x.dtype), read(x, shape, x.dtype)))


@aten("masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor")
def masked_scatter(x, mask, source):
    """The k-th true element takes source's k-th element."""
    _needs_bool("masked_scatter_", mask)
    if source.dtype is not x.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got "
                           f"{x.dtype.torch_name} and {source.dtype.torch_name}")
    shape = broadcast_shape(x.shape, mask.shape)
    if 0 in shape or not source.numel:
        return expand(x, shape)
    count = cumsum(ravel(expand(mask, shape)), 0)
    flat = ravel(source)
    strides = [math.prod(shape[k + 1:]) for k in range(len(shape))]

    def body(*i):
        place = sum((e * s for e, s in zip(i, strides)), E.const(0))
        k = E.minimum(E.maximum(E.load(count, [place]) - 1, 0), source.numel - 1)
        return E.select(read(mask, shape, bool_), E.load(flat, [k]), read(x, shape, x.dtype))

    return compute(shape, body)


@aten("masked_select(Tensor self, Tensor mask) -> Tensor")
def masked_select(x, mask):
    """A vector of what a mask selects."""
    _needs_bool("masked_select", mask)
    data = known_or_none(mask)
    shape = broadcast_shape(x.shape, mask.shape)
    if data is None:
        at = true_positions(expand(mask, shape))
        flat = ravel(expand(x, shape))
        return reindex(flat, at.shape, lambda i: [E.load(at, [i])])
    if not shape:
        return full((0,), 0, x.dtype) if not data else reindex(x, (1,), lambda i: [])
    positions = np.nonzero(np.broadcast_to(data, shape))
    return index(expand(x, shape), [constant(p.astype(np.int64)) for p in positions])


@aten("nonzero(Tensor self) -> Tensor", "argwhere(Tensor self) -> Tensor")
def nonzero(x):
    """Positions of what is not zero, one a row."""
    data = known_or_none(x)
    if data is not None:
        return constant(np.argwhere(data).astype(np.int64), i64)
    at = true_positions(truth(x))
    if x.ndim == 1:
        return reindex(at, (*at.shape, 1), lambda i, d: [i])

    def coordinate(i, d):
        value = E.const(0)
        for k, p in reversed(list(enumerate(delinearize(E.load(at, [i]), x.shape)))):
            value = E.select(E.eq(d, k), p, value)
        return value

    return compute((*at.shape, x.ndim), coordinate)


@aten("nonzero_numpy(Tensor self) -> Tensor[]", "where(Tensor condition) -> Tensor[]")
def nonzero_numpy(x):
    data = known_or_none(x)
    if data is None:
        return mask_positions(truth(x))
    return [constant(p.astype(np.int64), i64) for p in np.nonzero(np.atleast_1d(data))]


@aten("nonzero_static(Tensor self, *, int size, int fill_value=-1) -> Tensor")
def nonzero_static(x, *, size, fill_value=-1):
    """The first `size` positions of what is not zero, in rows; the rest is fill_value."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    if x.ndim == 0 or 0 in x.shape:
        raise Unsupported("nonzero_static of a tensor without dims or elements")
    flat = ravel(cast(x, bool_))
    count = cumsum(flat, 0)
    positions = constant(np.stack(np.unravel_index(np.arange(x.numel), x.shape), 1), i64)
    base = full((size, x.ndim), fill_value, i64)
    return scatter(base, (x.numel, x.ndim),
                   lambda n, d: [E.select(E.load(flat, [n]), E.load(count, [n]) - 1,
                                          E.const(size)), d],
                   lambda n, d: E.load(positions, [n, d]))
