"""Sums, products, means, logical reductions and norms."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import (
    cast, compute_dtype, dims_of, float_result, pointwise, reduce, reindex,
)
from lowering.expr import Expr
from lowering.known import Unsupported
from lowering.ops.comparison import truth
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bool_, i64, u8

_DIM = "int[1]? dim{}, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor"


def distinct_dims(dims, ndim: int) -> tuple[int, ...]:
    """The dims; RuntimeError if one appears twice."""
    found = dims_of(dims, ndim)
    given = [dims] if isinstance(dims, int) else list(dims or [])
    if given and len(found) != len(given):
        normal = [d % max(ndim, 1) for d in given]
        twice = next(d for d in normal if normal.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return found


def sum_dtype(x: Value, dtype: DType | None) -> DType:
    """The dtype of a sum: integers and bool add up in i64."""
    return dtype or (x.dtype if x.dtype.is_float else i64)


@aten("sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
      f"sum.dim_IntList(Tensor self, {_DIM.format('')}")
def sum(x, dim=None, keepdim=False, *, dtype=None):
    return reduce("add", x, distinct_dims(dim, x.ndim), keepdim, dtype=sum_dtype(x, dtype))


@aten(f"nansum(Tensor self, {_DIM.format('=None')}")
def nansum(x, dim=None, keepdim=False, *, dtype=None):
    body = (lambda a: E.select(E.isnan(a), E.const(0, a.dtype), a)) if x.dtype.is_float else None
    return reduce("add", x, distinct_dims(dim, x.ndim), keepdim, body, dtype=sum_dtype(x, dtype))


@aten("mean(Tensor self, *, ScalarType? dtype=None) -> Tensor",
      f"mean.dim(Tensor self, {_DIM.format('')}")
def mean(x, dim=None, keepdim=False, *, dtype=None):
    out = dtype or x.dtype
    if not out.is_float:
        what = "Optional dtype" if dtype else "Input dtype"
        raise RuntimeError(f"mean(): could not infer output dtype. {what} must be either a "
                           f"floating "
                           f"point or complex dtype. Got: {out.torch_name}")
    dims = distinct_dims(dim, x.ndim)
    n = math.prod(x.shape[k] for k in dims) if x.ndim else 1
    return reduce("add", x, dims, keepdim, None, lambda s: _over(s, n), dtype=out)


def _over(s: Expr, n: int | float) -> Expr:
    """s / n, NaN or infinity where n is 0."""
    return s / E.const(n, s.dtype)


@aten(f"nanmean(Tensor self, {_DIM.format('=None')}")
def nanmean(x, dim=None, keepdim=False, *, dtype=None):
    if not x.dtype.is_float:
        raise RuntimeError("nanmean(): expected input to have floating point or complex dtype but "
                           f"got {x.dtype.torch_name}")
    total = nansum(x, dim, keepdim, dtype=compute_dtype(dtype or x.dtype))
    count = reduce("add", x, dims_of(dim, x.ndim), keepdim, lambda a: E.cast(E.eq(a, a), a.dtype),
                   out=compute_dtype(x.dtype))
    return pointwise(lambda s, n: s / n, total, count, out=dtype or x.dtype)


@aten("prod(Tensor self, *, ScalarType? dtype=None) -> Tensor",
      "prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor")
def prod(x, dim=None, keepdim=False, *, dtype=None):
    return reduce("mul", x, dim, keepdim, dtype=sum_dtype(x, dtype))


@aten("all(Tensor self) -> Tensor", "all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
      "all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor")
def all(x, dim=None, keepdim=False):
    return _logical("and", x, dim, keepdim)


@aten("any(Tensor self) -> Tensor", "any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor",
      "any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor")
def any(x, dim=None, keepdim=False):
    return _logical("or", x, dim, keepdim)


def _logical(op: str, x: Value, dim, keepdim: bool) -> Value:
    """bool, but u8 stays u8. An empty list of dims reduces nothing."""
    out = u8 if x.dtype is u8 else bool_
    if isinstance(dim, (list, tuple)) and not dim:
        return cast(truth(x), out)
    return reduce(op, x, distinct_dims(dim, x.ndim), keepdim, lambda a: E.cast(a, bool_), out=out)


@aten("count_nonzero(Tensor self, int? dim=None) -> Tensor",
      "count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor")
def count_nonzero(x, dim=None):
    return reduce("add", x, distinct_dims(dim, x.ndim), False,
                  lambda a: E.cast(E.cast(a, bool_), i64), out=i64)


@aten("trace(Tensor self) -> Tensor")
def trace(x):
    if x.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {x.ndim}")
    return sum(reindex(x, [min(x.shape)], lambda i: [i, i]))


# Norms


@aten("linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, "
      "ScalarType? dtype=None) -> Tensor")
def linalg_vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """(sum of |x| ** ord) ** (1 / ord); 0 counts what is not zero, +-inf are the extremes."""
    if not x.dtype.is_float:
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as "
                           f"input. Got {x.dtype.torch_name}")
    return norm_of(x, ord, distinct_dims(dim, x.ndim), keepdim, dtype or x.dtype)


def norm_of(x: Value, p, dims, keepdim: bool, out: DType) -> Value:
    """The p-norm over dims. p: a number, or a 0-d Value (then the general formula is used)."""
    def size(a):
        return E.unary("abs", a)

    if isinstance(p, Value):
        return _general_norm(x, p, dims, keepdim, out)
    if p == math.inf:
        return reduce("max", x, dims, keepdim, size, lambda s: E.maximum(s, 0), dtype=out)
    if p == -math.inf:
        return reduce("min", x, dims, keepdim, size, dtype=out)
    if p == 0:
        return reduce("add", x, dims, keepdim, lambda a: E.cast(E.ne(a, 0), a.dtype), dtype=out)
    if p == 1:
        return reduce("add", x, dims, keepdim, size, dtype=out)
    if p == 2:
        return reduce("add", x, dims, keepdim, lambda a: a * a, lambda s: E.unary("sqrt", s),
                      dtype=out)
    return reduce("add", x, dims, keepdim, lambda a: E.binary("pow", size(a), p),
                  lambda s: E.binary("pow", s, 1 / p), dtype=out)


def _general_norm(x: Value, p: Value, dims, keepdim: bool, out: DType) -> Value:
    wide = cast(x, compute_dtype(out))
    powers = pointwise(lambda a, q: E.binary("pow", E.unary("abs", a), q), wide, p,
                       dtype=wide.dtype)
    total = reduce("add", powers, dims, keepdim)
    sums = pointwise(lambda s, q: E.binary("pow", s, 1 / q), total, p, dtype=wide.dtype)
    top = reduce("max", wide, dims, keepdim, lambda a: E.unary("abs", a), lambda s: E.maximum(s, 0))
    low = reduce("min", wide, dims, keepdim, lambda a: E.unary("abs", a))
    count = reduce("add", wide, dims, keepdim, lambda a: E.cast(E.ne(a, 0), a.dtype))

    def choose(s, hi, lo, n, q):
        s = E.select(E.eq(q, 0), n, s)
        return E.select(E.eq(q, math.inf), hi, E.select(E.eq(q, -math.inf), lo, s))

    return pointwise(choose, sums, top, low, count, p, dtype=wide.dtype, out=out)


@aten("norm.Scalar(Tensor self, Scalar p=2) -> Tensor",
      "norm.ScalarOpt_dim(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor",
      "norm.ScalarOpt_dim_dtype(Tensor self, Scalar? p, int[1] dim, bool keepdim, *, "
      "ScalarType dtype) -> Tensor")
def norm(x, p=2, dim=None, keepdim=False, *, dtype=None):
    return linalg_vector_norm(x, 2 if p is None else p, dim, keepdim, dtype=dtype)


@aten("norm.ScalarOpt_dtype(Tensor self, Scalar? p, *, ScalarType dtype) -> Tensor")
def norm_dtype(x, p, *, dtype):
    return norm(x, p, dtype=dtype)


@aten("frobenius_norm.dim(Tensor self, int[1] dim, bool keepdim=False) -> Tensor")
def frobenius_norm(x, dim, keepdim=False):
    return linalg_vector_norm(x, 2, dim, keepdim)


@aten("linalg_matrix_norm(Tensor self, Scalar ord, int[] dim=[-2, -1], bool keepdim=False, *, "
      "ScalarType? dtype=None) -> Tensor",
      'linalg_matrix_norm.str_ord(Tensor self, str ord="fro", int[] dim=[-2, -1], '
      "bool keepdim=False, *, ScalarType? dtype=None) -> Tensor")
def linalg_matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """Frobenius, and the norms of row and column sums; singular values are not compiled."""
    if ord == "fro":
        return linalg_vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if isinstance(ord, Value):
        raise Unsupported("linalg.matrix_norm's ord must be known at compile time")
    if ord not in (1, -1, math.inf, -math.inf):
        raise Unsupported(f"linalg.matrix_norm with ord={ord} needs singular values; 'fro', 1, -1, "
                          "inf and -inf do not")
    row, column = (d % x.ndim for d in dim)
    inner, outer = (row, column) if ord in (1, -1) else (column, row)
    wide = cast(x, compute_dtype(dtype or x.dtype))
    sums = linalg_vector_norm(wide, 1, [inner], True)
    top = reduce("max" if ord > 0 else "min", sums, [inner, outer], keepdim,
                 post=(lambda s: E.maximum(s, 0)) if ord > 0 else None)
    return cast(top, dtype or x.dtype)


@aten("linalg_norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, "
      "ScalarType? dtype=None) -> Tensor",
      "linalg_norm.ord_str(Tensor self, str ord, int[1]? dim=None, bool keepdim=False, *, "
      "ScalarType? dtype=None) -> Tensor")
def linalg_norm(x, ord=None, dim=None, keepdim=False, *, dtype=None):
    """A vector norm for one dim (or no order), a matrix norm for two."""
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if ord is None:
        return linalg_vector_norm(x, 2, dims, keepdim, dtype=dtype)
    if dims is None and x.ndim == 2 or dims is not None and len(dims) == 2:
        return linalg_matrix_norm(x, ord, dims or [-2, -1], keepdim, dtype=dtype)
    return linalg_vector_norm(x, ord, dims, keepdim, dtype=dtype)


@aten("dist(Tensor self, Tensor other, Scalar p=2) -> Tensor")
def dist(x, y, p=2):
    difference = pointwise(lambda a, b: a - b, x, y)
    return norm_of(difference, p, None, False, difference.dtype)


@aten("renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor")
def renorm(x, p, dim, maxnorm):
    """Slices along dim whose p-norm is above maxnorm are scaled down to it."""
    if x.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {x.ndim} dimensions")
    dims = [k for k in range(x.ndim) if k != dim % x.ndim]
    sizes = norm_of(x, p, dims, True, compute_dtype(float_result(x.dtype)))
    return pointwise(
        lambda a, s, m: E.select(s > m, a * (m / (s + 1e-7)), a), x, sizes, maxnorm, dtype=x.dtype)
