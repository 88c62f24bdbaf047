"""Embeddings: rows of a table by index, and sums, means and maxima of bags of rows.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.build import cast, compute, compute_dtype, full, generic, scatter
from lowering.expr import Expr
from lowering.ops.message_names import tensor_name
from lowering.ops.positions import check_all, position
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import f64, i32, i64

SUM, MEAN, MAX = 0, 1, 2


def _position(indices: Value, at: tuple[Expr, ...]) -> Expr:
    return E.cast(E.load(indices, at), i64)


def _check_indices(indices: Value, name: str) -> None:
    if indices.dtype is not i64 and indices.dtype is not i32:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {tensor_name(indices)} instead (while checking arguments for "
            f"{name})"
        )


@aten("embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool "
      "scale_grad_by_freq=False, bool sparse=False) -> Tensor")
def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """weight (rows, d), indices (...) -> (..., d). The other arguments concern gradients."""
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    _check_indices(indices, "embedding")
    rows, width = weight.shape
    row = position(indices, rows, 0, wrap=False, message=lambda _: "index out of range in self")
    if weight.numel == 0:
        return full((*indices.shape, width), 0, weight.dtype)
    return compute((*indices.shape, width), lambda *i: E.load(weight, (row(*i[:-1]), i[-1])))


def _bags(offsets: Value, count: int) -> Value:
    """The bag of each of `count` positions: how many offsets are at or before it, less one."""
    started = E.cast(E.load(offsets, (E.index(1),)), i64) <= E.index(0)
    return generic((count, offsets.shape[0]), 1, E.cast(started, i64), "add", E.acc(i64) - 1)


def _embedding_bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset,
                   padding_idx):
    """Results: the bags' rows (bags, d); the bag of each index; the bags' sizes; for a maximum, the
    index it came from. Where PyTorch has no use for the latter three they are zeros or empty."""
    _check_bag_arguments(weight, indices, offsets, mode, per_sample_weights)
    count, width = indices.shape[0], weight.shape[1]
    bags = offsets.shape[0] - (1 if include_last_offset else 0)
    bag_of = _bags(offsets, count)
    rows = weight.shape[0]
    check_all(indices, lambda i: (i >= 0) & (i < rows), lambda wrong: (
        f"embedding_bag: index {wrong} is not in the valid range [0, {rows})"))
    padding = None if padding_idx is None or padding_idx == -1 else padding_idx % rows
    dtype, working = weight.dtype, compute_dtype(weight.dtype)

    def counted(n: Expr) -> Expr:
        """Whether position n counts: neither padding nor outside the table."""
        row = _position(indices, (n,))
        inside = (row >= 0) & (row < rows)
        return inside if padding is None else inside & E.ne(row, padding)

    def element(n: Expr, d: Expr) -> Expr:
        row = E.minimum(E.maximum(_position(indices, (n,)), 0), max(rows - 1, 0))
        x = E.cast(E.load(weight, (row, d)), working)
        if per_sample_weights is not None:
            x = x * E.cast(E.load(per_sample_weights, (n,)), working)
        return x

    def target(n: Expr) -> Expr:
        # A position that does not count is written nowhere.
        return E.select(counted(n), E.load(bag_of, (n,)), E.const(-1))

    start = -float("inf") if mode == MAX else 0
    total = scatter(full((bags, width), start, working), (count, width),
                    lambda n, d: (target(n), d), element, "max" if mode == MAX else "add")
    sizes = scatter(full((bags,), 0, i64), (count,), lambda n: (target(n),),
                    lambda n: E.const(1), "add")

    def result(b: Expr, d: Expr) -> Expr:
        x, size = E.load(total, (b, d)), E.load(sizes, (b,))
        if mode == MEAN:
            x = x / E.cast(E.maximum(size, 1), working)
        if mode == MAX:
            x = E.select(E.eq(size, 0), E.const(0, working), x)
        return E.cast(x, dtype)

    out = compute((bags, width), result)
    index_dtype = indices.dtype
    plain = mode == SUM and padding is None and dtype is not f64
    offset_to_bag = full((0,), 0, index_dtype) if plain else cast(bag_of, index_dtype)
    if mode == SUM:
        zeros = full(offsets.shape, 0, index_dtype)
        return out, offset_to_bag, zeros, zeros
    size = cast(sizes, index_dtype)
    if mode == MEAN:
        return out, offset_to_bag, size, size
    return out, offset_to_bag, size, cast(
        _origins(bag_of, indices, sizes, counted, element, (bags, width)), index_dtype)


def _origins(bag_of: Value, indices: Value, sizes: Value, counted, element, shape) -> Value:
    """The index that each bag's maximum came from; 0 for an empty bag."""
    n = E.index(2)
    own = E.eq(E.load(bag_of, (n,)), E.index(0)) & counted(n)
    x = element(n, E.index(1))
    count = indices.shape[0]
    if count == 0:
        return full(shape, 0, i64)
    place = generic((*shape, count), 2, E.select(own, x, -float("inf")), "argmax")
    return compute(shape, lambda b, d: E.select(
        E.eq(E.load(sizes, (b,)), 0), E.const(0),
        E.cast(E.load(indices, (E.load(place, (b, d)),)), i64)))


def _check_bag_arguments(weight, indices, offsets, mode, per_sample_weights) -> None:
    _check_indices(indices, "embedding_bag")
    if weight.ndim != 2:
        raise RuntimeError("weight has to be a 2D Tensor, but got Tensor of dimension "
                           f"{weight.ndim}")
    if indices.ndim != 1:
        raise RuntimeError("input has to be a 1D Tensor, but got Tensor of dimension "
                           f"{indices.ndim}")
    if offsets.ndim != 1:
        raise RuntimeError("offsets has to be a 1D Tensor, but got Tensor of dimension "
                           f"{offsets.ndim}")
    if per_sample_weights is not None:
        if mode != SUM:
            raise RuntimeError("embedding_bag: per_sample_weights only supported with mode='sum'")
        if per_sample_weights.shape != indices.shape:
            raise RuntimeError("expected per_sample_weights to be 1D of the indices' size, got "
                               f"{list(per_sample_weights.shape)}")


@aten("embedding_bag.padding_idx(Tensor weight, Tensor indices, Tensor offsets, bool "
      "scale_grad_by_freq, int mode, bool sparse, Tensor? per_sample_weights, bool "
      "include_last_offset, int? padding_idx) -> (Tensor, Tensor, Tensor, Tensor)")
def embedding_bag_padded(weight, indices, offsets, scale_grad_by_freq, mode, sparse,
                         per_sample_weights, include_last_offset, padding_idx):
    return _embedding_bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset,
                          padding_idx)


@aten("embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool "
      "scale_grad_by_freq=False, int mode=0, bool sparse=False, Tensor? "
      "per_sample_weights=None, bool include_last_offset=False) -> (Tensor, Tensor, Tensor, "
      "Tensor)")
def embedding_bag(weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False,
                  per_sample_weights=None, include_last_offset=False):
    """mode: 0 sum, 1 mean, 2 max. Shapes: weight (rows, d), indices (n), offsets (bags)."""
    return _embedding_bag(weight, indices, offsets, mode, per_sample_weights, include_last_offset,
                          None)
