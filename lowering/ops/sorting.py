"""Order: sort, topk, and searches in sorted sequences."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import cast, check, compute, dim_of, full, result_type, sort, to_value
from lowering.ops.table import aten
from lowering.sizes import at_least
from lowering.tensor_ir import Value
from lowering.views import narrow as narrow_view
from runtime.dtypes import bool_, i32, i64, u8


@aten("sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)")
def sort_dim(x, dim=-1, descending=False):
    """Always stable; NaN is the greatest."""
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        return cast(x, x.dtype), full((), 0, i64)
    if x.dtype is bool_:
        values, indices = sort(cast(x, u8), dim, descending)
        return cast(values, bool_), indices
    return sort(x, dim, descending)


@aten("sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) "
      "-> (Tensor values, Tensor indices)")
def sort_stable(x, *, stable, dim=-1, descending=False):
    return sort_dim(x, dim, descending)


@aten("argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor")
def argsort(x, dim=-1, descending=False):
    return sort_dim(x, dim, descending)[1]


@aten("argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor")
def argsort_stable(x, *, stable, dim=-1, descending=False):
    return sort_dim(x, dim, descending)[1]


@aten("msort(Tensor self) -> Tensor")
def msort(x):
    return sort_dim(x, 0)[0]


@aten("topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) "
      "-> (Tensor values, Tensor indices)")
def topk(x, k, dim=-1, largest=True, sorted=True):
    """The k largest or smallest, always in order."""
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if not at_least(n, k):
        if isinstance(n, int) and isinstance(k, int):
            raise RuntimeError("selected index k out of range")
        check(compute((), lambda: E.lift(k, i64) <= E.lift(n, i64)),
              "selected index k out of range")
    if isinstance(k, int) and k < 0:
        raise RuntimeError("selected index k out of range")
    values, indices = sort_dim(x, dim, largest)
    if x.ndim == 0:
        return values, indices
    return tuple(narrow_view(v.shape, dim, 0, k).get(v) for v in (values, indices))


# Searches

_HOW = "bool out_int32=False, bool right=False"
_SEARCH = f"*, {_HOW}, str? side=None, Tensor? sorter=None) -> Tensor"


@aten(f"searchsorted.Tensor(Tensor sorted_sequence, Tensor self, {_SEARCH}",
      f"searchsorted.Scalar(Tensor sorted_sequence, Scalar self, {_SEARCH}")
def searchsorted(sequence, x, *, out_int32=False, right=False, side=None, sorter=None):
    """Where x would be inserted into each last-dim row: before equal elements, or after (right)."""
    if side not in (None, "left", "right"):
        raise RuntimeError("torch.searchsorted(): side can only be 'left' or 'right' but got "
                           f"{side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got "
                           "side of left while right was True")
    x = to_value(x)
    if sequence.ndim != 1 and sequence.shape[:-1] != x.shape[:-1]:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should be 1 dimension or the "
                           "first N-1 dimensions of boundaries tensor and input value tensor must "
                           f"match, but we got boundaries tensor {list(sequence.shape)} and input "
                           f"value tensor {list(x.shape)}")
    return _search(sequence, x, right or side == "right", out_int32, sorter)


def _search(sequence: Value, x: Value, right: bool, out_int32: bool, sorter: Value | None) -> Value:
    """Binary search, written out: one step for each bit of the length."""
    n = sequence.shape[-1]
    dtype = result_type(sequence, x)

    def body(*i):
        value = E.cast(E.load(x, i), dtype)
        row = i[:-1] if sequence.ndim > 1 else ()

        def before(k):
            at = (*row, k)
            if sorter is not None:
                at = (*row, E.minimum(E.maximum(E.cast(E.load(sorter, at), i64), 0), n - 1))
            element = E.cast(E.load(sequence, at), dtype)
            return ~(element > value) if right else ~(element >= value)

        low = E.const(0)
        for bit in reversed(range(n.bit_length())):
            last = low + (2 ** bit - 1)
            inside = last < n
            held = E.minimum(last, n - 1)
            low = E.select(inside & before(held), low + 2 ** bit, low)
        return E.cast(low, i32 if out_int32 else i64)

    return compute(x.shape, body)


@aten(f"bucketize.Tensor(Tensor self, Tensor boundaries, *, {_HOW}) -> Tensor",
      f"bucketize.Scalar(Scalar self, Tensor boundaries, *, {_HOW}) -> Tensor")
def bucketize(x, boundaries, *, out_int32=False, right=False):
    if boundaries.ndim != 1:
        raise RuntimeError("bucketize(): boundaries tensor must be 1 dimension, but got dim("
                           f"{boundaries.ndim})")
    return _search(boundaries, to_value(x), right, out_int32, None)
