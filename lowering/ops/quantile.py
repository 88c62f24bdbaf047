"""Quantiles, with and without what is not a number."""

from __future__ import annotations

from lowering import expr as E
from lowering.build import compute, constant, dim_of, reduce, reindex, sort
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.tensor_ir import Value
from runtime.dtypes import f32, f64, i64

_REST = 'int? dim=None, bool keepdim=False, *, str interpolation="linear") -> Tensor'


@aten(f"quantile(Tensor self, Tensor q, {_REST}", f"quantile.scalar(Tensor self, float q, {_REST}")
def quantile(x, q, dim=None, keepdim=False, *, interpolation="linear"):
    """Between the two nearest ranks of position q * (n - 1); NaN if the slice has one."""
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


@aten(f"nanquantile(Tensor self, Tensor q, {_REST}",
      f"nanquantile.scalar(Tensor self, float q, {_REST}")
def nanquantile(x, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The quantile of what is not NaN, NaN where all is."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)


def _quantile(name: str, x: Value, q, dim, keepdim: bool, interpolation: str, skip: bool) -> Value:
    if x.dtype not in (f32, f64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if x.numel == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint "
                           f"or nearest, but got {interpolation}")
    if isinstance(q, Value):
        if q.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not x.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    elif not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
    else:
        q = constant(q, x.dtype)
    if dim is None or x.ndim == 0:
        dim_of(dim or 0, x.ndim)
        y = _along(ravel(x), q, 0, False, interpolation, skip)
        ones = [1] * x.ndim
        return reindex(y, (*y.shape, *ones), lambda *i: i[:y.ndim]) if keepdim else y
    return _along(x, q, dim_of(dim, x.ndim), keepdim, interpolation, skip)


def _along(x: Value, q: Value, dim: int, keepdim: bool, interpolation: str, skip: bool) -> Value:
    values, n, dtype = sort(x, dim, False)[0], x.shape[dim], x.dtype
    numbers = reduce("add", x, dim, keepdim, lambda a: E.cast(E.eq(a, a), i64), out=i64)
    lead = q.ndim

    def body(*i):
        kept = i[lead:]
        count = E.load(numbers, kept)
        last = count - 1 if skip else E.const(n - 1)
        place = E.load(q, i[:lead]) * E.cast(last, dtype)
        low = E.unary("floor", place)
        part = place - low
        zero = E.const(0, dtype)
        if interpolation == "nearest":
            low, part = E.unary("round", place), zero
        elif interpolation == "lower":
            part = zero
        elif interpolation == "higher":
            low, part = E.unary("ceil", place), zero
        elif interpolation == "midpoint":
            part = E.select(part > 0, E.const(0.5, dtype), zero)
        first = E.minimum(E.maximum(E.cast(low, i64), 0), n - 1)
        second = E.minimum(first + 1, n - 1)
        rest = list(kept) if keepdim else [*kept[:dim], E.const(0), *kept[dim:]]

        def at(p):
            return E.load(values, [p if k == dim else e for k, e in enumerate(rest)])

        mixed = E.select(E.eq(part, 0), at(first), at(first) + part * (at(second) - at(first)))
        bad = E.eq(count, 0) if skip else count < n
        return E.select(bad, E.const(float("nan"), dtype), mixed)

    return compute((*q.shape, *numbers.shape), body)
