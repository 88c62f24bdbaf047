"""Variance, standard deviation, medians, the k-th smallest and the most frequent."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import (
    cast, compute_dtype, dim_of, dims_of, full, generic, pointwise, read, reduce,
    reindex, sort, squeeze,
)
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import i64

_CORRECTION = "(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False)"


def _moments(name: str, x: Value, dim, correction, keepdim: bool) -> tuple[Value, Value]:
    """Variance and mean in the dtype that is computed in. Two passes: mean, then the squares of the
    distances from it over max(n - correction, 0)."""
    if not x.dtype.is_float:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    dims = dims_of(dim, x.ndim) if x.ndim else ()
    n = math.prod(x.shape[k] for k in dims)
    wide = cast(x, compute_dtype(x.dtype))
    dtype = wide.dtype
    mean = reduce("add", wide, dims, True, None, lambda s: s / E.const(n, dtype))
    squares = pointwise(lambda a, m: (a - m) * (a - m), wide, mean)

    def over(s):
        if isinstance(correction, Value):
            return s / E.maximum(n - read(correction, (), dtype), 0)
        if isinstance(n, Size):
            less = 1 if correction is None else correction
            return s / E.maximum(E.lift(n, dtype) - less, 0)
        return s / E.const(max(n - (1 if correction is None else correction), 0), dtype)

    variance = reduce("add", squares, dims, keepdim, None, over)
    return variance, mean if keepdim or not dims else squeeze(mean, dims)


def _result(x: Value, value: Value, root: bool = False) -> Value:
    return pointwise(lambda a: E.unary("sqrt", a) if root else a, value, out=x.dtype)


def _bessel(unbiased: bool) -> int:
    return 1 if unbiased else 0


@aten(f"var.correction{_CORRECTION} -> Tensor")
def var(x, dim=None, *, correction=None, keepdim=False):
    return _result(x, _moments("std and var", x, dim, correction, keepdim)[0])


@aten(f"std.correction{_CORRECTION} -> Tensor")
def std(x, dim=None, *, correction=None, keepdim=False):
    return _result(x, _moments("std and var", x, dim, correction, keepdim)[0], True)


@aten(f"var_mean.correction{_CORRECTION} -> (Tensor, Tensor)")
def var_mean(x, dim=None, *, correction=None, keepdim=False):
    variance, mean = _moments("var_mean", x, dim, correction, keepdim)
    return _result(x, variance), _result(x, mean)


@aten(f"std_mean.correction{_CORRECTION} -> (Tensor, Tensor)")
def std_mean(x, dim=None, *, correction=None, keepdim=False):
    variance, mean = _moments("std_mean", x, dim, correction, keepdim)
    return _result(x, variance, True), _result(x, mean)


_UNBIASED = {"var": (var, "Tensor"), "std": (std, "Tensor"),
             "var_mean": (var_mean, "(Tensor, Tensor)"), "std_mean": (std_mean, "(Tensor, Tensor)")}


def _of_all(function):
    return lambda x, unbiased=True: function(x, correction=_bessel(unbiased))


def _of_dims(function):
    return lambda x, dim, unbiased=True, keepdim=False: function(
        x, dim, correction=_bessel(unbiased), keepdim=keepdim)


for _name, (_function, _returns) in _UNBIASED.items():
    aten(f"{_name}(Tensor self, bool unbiased=True) -> {_returns}")(_of_all(_function))
    aten(f"{_name}.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) "
         f"-> {_returns}")(_of_dims(_function))


# By rank


def _at(x: Value, dim: int, position: int, keepdim: bool) -> Value:
    """One position of a dim."""
    if x.ndim == 0:
        return reindex(x, (), lambda: [])
    if keepdim:
        shape = [1 if k == dim else n for k, n in enumerate(x.shape)]
        return reindex(x, shape, lambda *i: [position if k == dim else e for k, e in enumerate(i)])
    shape = [n for k, n in enumerate(x.shape) if k != dim]
    return reindex(x, shape, lambda *i: [*i[:dim], position, *i[dim:]])


@aten("kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) "
      "-> (Tensor values, Tensor indices)")
def kthvalue(x, k, dim=-1, keepdim=False):
    """The k-th smallest, counted from 1."""
    dim = dim_of(dim, x.ndim)
    if not 1 <= k <= (x.shape[dim] if x.ndim else 1):
        raise RuntimeError("kthvalue(): selected number k out of range for dimension "
                           f"{dim}")
    values, indices = _sorted(x, dim)
    return _at(values, dim, k - 1, keepdim), _at(indices, dim, k - 1, keepdim)


def _sorted(x: Value, dim: int) -> tuple[Value, Value]:
    return (x, full((), 0, i64)) if x.ndim == 0 else sort(x, dim, False)


@aten("median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)")
def median_dim(x, dim, keepdim=False):
    """The lower of two middles; the first NaN if there is one."""
    dim = dim_of(dim, x.ndim)
    n = x.shape[dim] if x.ndim else 1
    if n == 0:
        raise IndexError(f"median(): Expected reduction dim {dim} to have non-zero size.")
    values, indices = _sorted(x, dim)
    if x.ndim == 0 or not x.dtype.is_float:
        return _at(values, dim, (n - 1) // 2, keepdim), _at(indices, dim, (n - 1) // 2, keepdim)
    numbers = _count_numbers(x, dim, keepdim)
    rank = pointwise(lambda c: E.select(c < n, c, E.const((n - 1) // 2)), numbers)
    return _ranked(values, dim, rank, keepdim), _ranked(indices, dim, rank, keepdim)


@aten("nanmedian.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)")
def nanmedian_dim(x, dim, keepdim=False):
    """The median of what is not NaN."""
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0 or not x.dtype.is_float:
        return median_dim(x, dim, keepdim)
    if x.shape[dim] == 0:
        raise IndexError(f"median(): Expected reduction dim {dim} to have non-zero size.")
    values, indices = _sorted(x, dim)
    numbers = _count_numbers(x, dim, keepdim)
    rank = pointwise(lambda c: E.maximum((c - 1) // 2, 0), numbers)
    return _ranked(values, dim, rank, keepdim), _ranked(indices, dim, rank, keepdim)


def _count_numbers(x: Value, dim: int, keepdim: bool) -> Value:
    return reduce("add", x, dim, keepdim, lambda a: E.cast(E.eq(a, a), i64), out=i64)


def _ranked(x: Value, dim: int, rank: Value, keepdim: bool) -> Value:
    """x at position rank[...] of dim."""
    if keepdim:
        return reindex(x, rank.shape, lambda *i: [
            E.load(rank, i) if k == dim else e for k, e in enumerate(i)])
    return reindex(x, rank.shape, lambda *i: [*i[:dim], E.load(rank, i), *i[dim:]])


@aten("median(Tensor self) -> Tensor")
def median(x):
    if x.numel == 0:
        return full((), float("nan") if x.dtype.is_float else -2 ** (x.dtype.bits - 1), x.dtype)
    return median_dim(ravel(x), 0)[0]


@aten("nanmedian(Tensor self) -> Tensor")
def nanmedian(x):
    if x.numel == 0:
        return median(x)
    return nanmedian_dim(ravel(x), 0)[0]


@aten("mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)")
def mode(x, dim=-1, keepdim=False):
    """The most frequent value, the smallest of several; the index of its last occurrence."""
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        return x, full((), 0, i64)
    if x.shape[dim] == 0:
        raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")
    values, indices = sort(x, dim, False)
    n, last = x.shape[dim], x.ndim
    i = E.identity(x.ndim + 1)
    other = [i[last] if k == dim else i[k] for k in range(x.ndim)]
    same = E.cast(E.eq(E.load(values, i[:last]), E.load(values, other)), i64)
    counts = generic((*x.shape, n), x.ndim, same, "add")
    first = reduce("argmax", counts, dim, keepdim)
    count = reduce("max", counts, dim, keepdim)
    rank = pointwise(lambda f, c: f + c - 1, first, count)
    return _ranked(values, dim, rank, keepdim), _ranked(indices, dim, rank, keepdim)
