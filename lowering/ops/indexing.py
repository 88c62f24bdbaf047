"""Elements picked by index tensors: x[i, j], index_select, gather, take."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import (
    broadcast_shape, cast, check, compute, dim_of, full, read, reindex, scatter, stretch_to,
)
from lowering.expr import Expr
from lowering.index_algebra import delinearize
from lowering.known import Unsupported, known_or_none
from lowering.ops.arithmetic import add
from lowering.ops.comparison import choose, truth
from lowering.ops.positions import is_mask, mask_positions, needs_integers, position
from lowering.ops.scan import cumsum
from lowering.ops.table import aten, each
from lowering.ops.view import ravel
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64, u8


class _Selection:
    """x[indices]: the shape of what it selects, and where its element i lies in x.

    Index tensors are broadcast together; their dims stand where the indexed dims stood if those are
    neighbours, else first."""

    def __init__(self, x: Value, indices, hold: bool = True):
        indices = _without_masks(x, indices)
        if len(indices) > x.ndim:
            raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
        indices = indices + [None] * (x.ndim - len(indices))
        given = [k for k, v in enumerate(indices) if v is not None]
        for k in given:
            if indices[k].dtype.is_float:
                raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        try:
            picked = broadcast_shape(*(indices[k].shape for k in given))
        except ValueError:
            shapes = ", ".join(str(list(indices[k].shape)) for k in given)
            raise IndexError("shape mismatch: indexing tensors could not be broadcast together "
                             "with "
                             f"shapes {shapes}") from None
        together = given == list(range(given[0], given[-1] + 1)) if given else True
        self.start = given[0] if given and together else 0
        self.picked = len(picked)
        self.rest = [k for k in range(x.ndim) if k not in given]
        kept = [x.shape[k] for k in self.rest]
        self.shape = (*kept[:self.start], *picked, *kept[self.start:])
        self._given = {k: (indices[k], position(indices[k], x.shape[k], k, hold=hold))
                       for k in given}
        self._ndim = x.ndim
        if math.prod(picked) and any(x.shape[k] == 0 for k in given):
            raise IndexError("index is out of bounds for dimension with size 0")

    def place(self, *i: Expr) -> list[Expr]:
        picked = i[self.start:self.start + self.picked]
        kept = [*i[:self.start], *i[self.start + self.picked:]]
        at = dict(zip(self.rest, kept))
        for k, (index, where) in self._given.items():
            own = picked[len(picked) - index.ndim:]
            at[k] = where(*(E.const(0) if n == 1 else e for e, n in zip(own, index.shape)))
        return [at[k] for k in range(self._ndim)]


def _without_masks(x: Value, indices) -> list[Value | None]:
    """The list with every mask replaced by the positions of its true elements."""
    out: list[Value | None] = []
    for index in indices:
        if index is None or not is_mask(index):
            out.append(index)
            continue
        _mask_fits(x, index, len(out))
        out.extend(mask_positions(index))
    return out


def _mask_fits(x: Value, mask: Value, start: int) -> None:
    covered = x.shape[start:start + mask.ndim]
    if tuple(covered) != tuple(mask.shape):
        raise IndexError(f"The shape of the mask {list(mask.shape)} at index 0 does not match the "
                         f"shape of the indexed tensor {list(x.shape)} at index {start}")


@aten(*each("index.Tensor _unsafe_index.Tensor", "(Tensor self, Tensor?[] indices) -> Tensor"),
      *each("index.Tensor_hacked_twin _unsafe_index.Tensor_hacked_twin",
            "(Tensor self, Tensor[] indices) -> Tensor"))
def index(x, indices):
    """x[indices], None for a dim taken whole; a mask stands for the positions where it is true."""
    selection = _Selection(x, indices)
    if 0 in selection.shape:
        return full(selection.shape, 0, x.dtype)
    return reindex(x, selection.shape, selection.place)


_PUT = "(Tensor self, Tensor{}[] indices, Tensor values, bool accumulate=False{}) -> Tensor"


@aten("index_put" + _PUT.format("?", ""), "_unsafe_index_put" + _PUT.format("?", ""),
      "index_put.hacked_twin" + _PUT.format("", ""),
      "_unsafe_index_put.hacked_twin" + _PUT.format("", ""),
      "_index_put_impl" + _PUT.format("?", ", bool unsafe=False"))
def index_put(x, indices, values, accumulate=False, unsafe=False):
    """A copy of x with x[indices] = values, or += values. Of equal positions the last one stays."""
    if values.dtype is not x.dtype:
        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{x.dtype.torch_name} for the destination and "
                           f"{values.dtype.torch_name} "
                           "for the source.")
    masks = [v for v in indices if v is not None and is_mask(v)]
    if any(known_or_none(m) is None for m in masks):
        return _put_by_mask(x, indices, values, accumulate)
    selection = _Selection(x, indices, hold=False)
    if 0 in selection.shape:
        return reindex(x, x.shape, lambda *i: i)
    fits = stretch_to(values.shape, selection.shape)
    if not fits and math.prod(values.shape) != math.prod(selection.shape):
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(values.shape)} cannot be "
                           f"broadcast to indexing result of shape {list(selection.shape)}")
    return put(x, selection.shape, selection.place,
               lambda *i: read(values, selection.shape, x.dtype), accumulate)


def put(x: Value, domain, write, body, accumulate: bool) -> Value:
    """Scatter by setting or adding; bool values add up with `or`."""
    if accumulate and x.dtype is bool_:
        wide = scatter(cast(x, u8), domain, write, lambda *i: E.cast(body(*i), u8), "max")
        return cast(wide, bool_)
    return scatter(x, domain, write, body, "add" if accumulate else "set")


def _put_by_mask(x: Value, indices, values: Value, accumulate: bool) -> Value:
    """x[..., mask] = values for a mask known only at run time: a selection, as sizes stay."""
    given = [(k, v) for k, v in enumerate(indices) if v is not None]
    if len(given) > 1:
        raise Unsupported("assignment through several index tensors, one of them a mask known only "
                          "at run time")
    (start, mask), = given
    _mask_fits(x, mask, start)
    after = x.ndim - start - mask.ndim
    chosen = reindex(truth(mask), (*mask.shape, *[1] * after), lambda *i: i[:mask.ndim])
    if values.numel == 1:
        new = reindex(values, (), lambda: [0] * values.ndim)
    elif start == 0 and values.ndim in (after, after + 1):
        new = _spread(values, mask, x.shape, after)
    else:
        raise Unsupported("assignment of several values through a mask that is known only at run "
                          "time and does not cover the first dims")
    return choose(chosen, add(x, new) if accumulate else new, x)


def _spread(values: Value, mask: Value, shape, after: int) -> Value:
    """values[k] at the k-th true element of the mask, in row-major order."""
    if values.ndim == after:
        return reindex(values, shape, lambda *i: [
            E.const(0) if n == 1 else e for e, n in zip(i[mask.ndim:], values.shape)])
    count = cumsum(ravel(truth(mask)), 0)
    strides = [math.prod(mask.shape[k + 1:]) for k in range(mask.ndim)]
    n = values.shape[0]
    if isinstance(n, Size):
        check(compute((), lambda: E.eq(E.load(count, [math.prod(mask.shape) - 1]), E.lift(n, i64))
                      | E.eq(E.lift(n, i64), 1)),
              "shape mismatch: the values have another number of rows than the mask selects")

    def place(*i):
        flat = sum((e * s for e, s in zip(i, strides)), E.const(0))
        row = E.load(count, [flat]) - 1
        if isinstance(n, Size):
            row = E.maximum(E.minimum(row, E.lift(n, i64) - 1), 0)
        else:
            row = E.minimum(E.maximum(row, 0), n - 1) if n > 1 else E.const(0)
        rest = [E.const(0) if m == 1 else e for e, m in zip(i[mask.ndim:], values.shape[1:])]
        return [row, *rest]

    return reindex(values, shape, place)


# One dim


@aten("index_select(Tensor self, int dim, Tensor index) -> Tensor")
def index_select(x, dim, index):
    dim = dim_of(dim, x.ndim)
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    needs_integers("index_select", index)
    n = x.shape[dim] if x.ndim else 1
    at = position(index, n, dim, wrap=False)
    if x.ndim == 0:
        return reindex(x, (), lambda: [])
    shape = [index.numel if k == dim else m for k, m in enumerate(x.shape)]
    if 0 in shape:
        return full(shape, 0, x.dtype)
    return reindex(x, shape, lambda *i: [
        at(*([e] if index.ndim else [])) if k == dim else e for k, e in enumerate(i)])


@aten("gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor")
def gather(x, dim, index, *, sparse_grad=False):
    """out[i, j] = x[index[i, j], j] for dim 0."""
    dim = dim_of(dim, x.ndim)
    if index.numel == 0:
        return full(index.shape, 0, x.dtype)
    needs_integers("gather", index)
    if max(x.ndim, 1) != max(index.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for k in range(x.ndim):
        if k != dim and index.shape[k] > x.shape[k]:
            raise RuntimeError(f"Size does not match at dimension {k} expected index "
                               f"{list(index.shape)} to be no larger than self {list(x.shape)} "
                               f"apart from dimension {dim}")
    at = position(index, x.shape[dim] if x.ndim else 1, dim, wrap=False)
    if x.ndim == 0:
        return reindex(x, index.shape, lambda *i: [])
    if index.ndim == 0:
        return reindex(x, (), lambda: [at()])
    return reindex(x, index.shape, lambda *i: [at(*i) if k == dim else e for k, e in enumerate(i)])


@aten("take(Tensor self, Tensor index) -> Tensor")
def take(x, index):
    """Elements of the flattened tensor."""
    needs_integers("take", index)
    if x.numel == 0 and index.numel:
        raise IndexError("take(): tried to take from an empty tensor")
    at = position(index, x.numel, 0)
    if 0 in index.shape:
        return full(index.shape, 0, x.dtype)
    return reindex(x, index.shape, lambda *i: delinearize(at(*i), x.shape))


@aten("take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor")
def take_along_dim(x, indices, dim=None):
    """gather with the other dims broadcast; without a dim, of the flattened tensors."""
    if indices.dtype is not i64:
        raise RuntimeError("torch.take_along_dim(): dtype of indices should be Long but got "
                           f"{indices.dtype.torch_name}")
    if dim is None:
        return gather(ravel(x), 0, ravel(indices))
    if x.ndim != indices.ndim:
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number "
                           f"of dimensions, but got {x.ndim} dimensions for input, and "
                           f"{indices.ndim} dimensions for indices")
    dim = dim_of(dim, x.ndim)
    others = [[n for k, n in enumerate(v.shape) if k != dim] for v in (x, indices)]
    common = list(broadcast_shape(*map(tuple, others)))
    shape = [*common[:dim], indices.shape[dim], *common[dim:]]
    at = position(indices, x.shape[dim], dim)

    def place(*i):
        where = at(*(E.const(0) if n == 1 else e for e, n in zip(i, indices.shape)))
        return [where if k == dim else E.const(0) if n == 1 else e
                for k, (e, n) in enumerate(zip(i, x.shape))]

    return full(shape, 0, x.dtype) if 0 in shape else reindex(x, shape, place)
