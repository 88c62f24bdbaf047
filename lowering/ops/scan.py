"""Running sums, products, extremes, and what is made of neighbours."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import (
    cast, compute_dtype, dim_of, full, generic, pointwise, reindex, scan,
)
from lowering.ops.joining import cat
from lowering.ops.reduction import sum_dtype
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64, u8


def _running(combiner: str, x: Value, dim: int, dtype) -> Value:
    out = sum_dtype(x, dtype)
    dim = dim_of(dim, x.ndim)
    wide = cast(cast(x, out), compute_dtype(out))
    if x.ndim == 0 or out is bool_:
        return cast(x, out) if out is not bool_ else _running_bool(combiner, x, dim)
    return cast(scan(wide, dim, combiner)[0], out)


def _running_bool(combiner: str, x: Value, dim: int) -> Value:
    """On bool a sum is `or`, a product `and`."""
    wide = cast(cast(x, bool_), u8)
    if x.ndim:
        wide = scan(wide, dim, "max" if combiner == "add" else "min")[0]
    return cast(wide, bool_)


@aten("cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor")
def cumsum(x, dim, *, dtype=None):
    return _running("add", x, dim, dtype)


@aten("cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor")
def cumprod(x, dim, *, dtype=None):
    return _running("mul", x, dim, dtype)


def _running_extreme(op: str, x: Value, dim: int) -> tuple[Value, Value]:
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        return x, full((), 0, i64)
    wide = cast(x, u8) if x.dtype is bool_ else x
    values, indices = scan(wide, dim, op, True)
    return cast(values, x.dtype), indices


@aten("cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)")
def cummax(x, dim):
    return _running_extreme("max", x, dim)


@aten("cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)")
def cummin(x, dim):
    return _running_extreme("min", x, dim)


@aten("logcumsumexp(Tensor self, int dim) -> Tensor")
def logcumsumexp(x, dim):
    """log of the running sum of exp, each from its own running maximum: quadratic in the dim."""
    if not x.dtype.is_float:
        raise RuntimeError(f'"logcumsumexp_out_cpu" not implemented for \'{x.dtype.torch_name}\'')
    dim = dim_of(dim, x.ndim)
    if x.ndim == 0:
        return x
    wide = cast(x, compute_dtype(x.dtype))
    top = scan(wide, dim, "max")[0]
    dtype, n, last = wide.dtype, x.shape[dim], x.ndim
    i = E.identity(x.ndim + 1)
    m = E.load(top, i[:last])
    m = E.select(E.eq(m - m, 0), m, E.const(0, dtype))
    term = E.unary("exp", E.load(wide, [i[last] if k == dim else i[k] for k in range(last)]) - m)
    body = E.select(i[last] <= i[dim], term, E.const(0, dtype))
    total = generic((*x.shape, n), last, body, "add", E.unary("log", E.acc(dtype)) + m)
    return cast(total, x.dtype)


# Differences


def _part(x: Value, dim: int, start: int, size: int) -> Value:
    shape = [size if k == dim else n for k, n in enumerate(x.shape)]
    return reindex(x, shape, lambda *i: [e + start if k == dim else e for k, e in enumerate(i)])


@aten("diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor")
def diff(x, n=1, dim=-1, prepend=None, append=None):
    """n-th differences of neighbours along dim."""
    if x.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = dim_of(dim, x.ndim)
    if n == 0:  # PyTorch then ignores prepend and append
        return x
    if prepend is not None or append is not None:
        x = cat([v for v in (prepend, x, append) if v is not None], dim)
    for _ in range(min(n, x.shape[dim])):
        m = max(x.shape[dim] - 1, 0)
        x = pointwise(lambda a, b: a ^ b if a.dtype is bool_ else a - b,
                      _part(x, dim, 1, m), _part(x, dim, 0, m))
    return x
