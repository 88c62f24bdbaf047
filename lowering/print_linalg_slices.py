"""Recognises write maps that are slices: what tensor.insert_slice can express."""

from __future__ import annotations

from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.sizes import is_dynamic

Slice = tuple[list[int], list[int], list[int]]


def as_slice(write: tuple[Expr, ...], shape, base_shape) -> Slice | None:
    """Offsets, sizes and strides of the base's dims if write(i) walks a slice with the dims of i in
    order (constant positions are dims of size 1 that i lacks), else None."""
    if 0 in shape:
        return None
    if is_dynamic((*shape, *base_shape)):
        return None
    algebra = IndexAlgebra(tuple(shape))
    offsets, sizes, strides = [], [], []
    following = 0
    for w in write:
        terms, offset = algebra.affine(w)
        if not terms:
            stride, k = 1, None
        elif len(terms) == 1:
            (atom, stride), = terms.items()
            if atom.op != "index" or stride <= 0:
                return None
            k = atom.attr
        else:
            return None
        if k is None:
            size = 1
        else:
            while following < k and shape[following] == 1:
                following += 1
            if following != k:
                return None
            following, size = k + 1, shape[k]
        offsets.append(offset)
        sizes.append(size)
        strides.append(stride)
    return _rank_fits(offsets, sizes, strides, shape, following, base_shape)


def _rank_fits(offsets, sizes, strides, shape, following: int, base_shape) -> Slice | None:
    """The slice, if its dims are those of i after leaving out dims of size 1."""
    if any(n != 1 for n in shape[following:]):
        return None
    wide, narrow = [n for n in sizes if n != 1], [n for n in shape if n != 1]
    if wide != narrow or len(shape) > len(base_shape):
        return None
    if any(o < 0 or o + (n - 1) * s >= m
           for o, n, s, m in zip(offsets, sizes, strides, base_shape)):
        return None
    return offsets, sizes, strides


