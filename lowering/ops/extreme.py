"""Largest and smallest elements, with or without their positions."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import check, compute, dim_of, dims_of, full, reduce
from lowering.ops.reduction import distinct_dims
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.sizes import Size
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i64


def _some(name: str, x: Value, dims) -> None:
    """RuntimeError or IndexError where there is no element to choose from."""
    count = math.prod(x.shape[k] for k in dims) if x.ndim else 1
    if isinstance(count, Size):
        check(compute((), lambda: E.lift(count, i64) > 0),
              f"{name}(): Expected reduction dim to have non-zero size.")
    elif count == 0:
        if len(dims) == x.ndim:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for "
                               f"input.numel() "
                               "== 0. Specify the reduction dim with the 'dim' argument.")
        raise IndexError(f"{name}(): Expected reduction dim {dims[0]} to have non-zero size.")


def extreme(op: str, x: Value, dims, keepdim: bool) -> Value:
    """max or min over dims; of bool values or and and."""
    if x.dtype is bool_:
        return reduce("or" if op == "max" else "and", x, dims, keepdim)
    return reduce(op, x, dims, keepdim)


def _position(op: str, x: Value, dims, keepdim: bool) -> Value:
    """Row-major position in dims of the first extreme."""
    if x.ndim == 0:
        return full((), 0, i64)
    body = (lambda a: E.cast(a, i64)) if x.dtype is bool_ else None
    return reduce("arg" + op, x, dims, keepdim, body, dtype=x.dtype, out=i64)


@aten("max(Tensor self) -> Tensor")
def max_all(x):
    _some("max", x, dims_of(None, x.ndim))
    return extreme("max", x, None, False)


@aten("min(Tensor self) -> Tensor")
def min_all(x):
    _some("min", x, dims_of(None, x.ndim))
    return extreme("min", x, None, False)


def _with_position(op: str, x: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
    dim = dim_of(dim, x.ndim)
    _some(op, x, [dim])
    return extreme(op, x, dim, keepdim), _position(op, x, dim, keepdim)


@aten("max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)")
def max_dim(x, dim, keepdim=False):
    return _with_position("max", x, dim, keepdim)


@aten("min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)")
def min_dim(x, dim, keepdim=False):
    return _with_position("min", x, dim, keepdim)


@aten("amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor")
def amax(x, dim=(), keepdim=False):
    _some("amax", x, distinct_dims(dim, x.ndim))
    return extreme("max", x, dim, keepdim)


@aten("amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor")
def amin(x, dim=(), keepdim=False):
    _some("amin", x, distinct_dims(dim, x.ndim))
    return extreme("min", x, dim, keepdim)


@aten("aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)")
def aminmax(x, *, dim=None, keepdim=False):
    _some("aminmax", x, dims_of(dim, x.ndim))
    return extreme("min", x, dim, keepdim), extreme("max", x, dim, keepdim)


@aten("argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor")
def argmax(x, dim=None, keepdim=False):
    return _arg("max", x, dim, keepdim)


@aten("argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor")
def argmin(x, dim=None, keepdim=False):
    return _arg("min", x, dim, keepdim)


def _arg(op: str, x: Value, dim: int | None, keepdim: bool) -> Value:
    dims = dims_of(dim, x.ndim)
    _some("arg" + op, x, dims)
    if dim is None and not keepdim:
        return _position(op, ravel(x), 0, False)
    return _position(op, x, dims, keepdim)
