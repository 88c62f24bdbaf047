"""Integrals by the trapezoidal rule."""

from __future__ import annotations

from lowering.build import dim_of, full, pointwise, reduce, reindex
from lowering.ops.scan import cumsum
from lowering.ops.slicing import narrow
from lowering.ops.table import aten, each
from lowering.tensor_ir import Value
from runtime.dtypes import f32


def _areas(y: Value, x: Value | None, dx, dim: int) -> Value:
    """Areas between neighbours along dim: mean height times width (x's differences, or dx)."""
    n = y.shape[dim]
    left, right = narrow(y, dim, 0, n - 1), narrow(y, dim, 1, n - 1)
    if x is None:
        dtype = None if y.dtype.is_float else f32
        return pointwise(lambda a, b, d: (a + b) * d / 2, left, right, dx, dtype=dtype)
    if x.ndim == 1:
        shape = [x.shape[0] if k == dim else 1 for k in range(y.ndim)]
        x = reindex(x, shape, lambda *i: [i[dim]])
    at = x.ndim - (y.ndim - dim)
    m = x.shape[at]
    width = pointwise(lambda a, b: a - b, narrow(x, at, 1, m - 1), narrow(x, at, 0, m - 1))
    product = pointwise(lambda a, b, d: (a + b) * d, left, right, width)
    dtype = None if product.dtype.is_float else f32
    return pointwise(lambda p: p / 2, product, dtype=dtype)


def _checked(y: Value, x: Value | None, dim: int) -> int:
    dim = dim_of(dim, y.ndim)
    if x is not None and x.ndim == 0:
        raise RuntimeError("trapezoid: The provided `x` does not have a dimension.")
    if x is not None and x.ndim == 1 and x.shape[0] != y.shape[dim]:
        raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
    return dim


_DX = "dx(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor"
_X = "x(Tensor y, Tensor x, *, int dim=-1) -> Tensor"


@aten(*each("trapezoid.", _DX), "trapz.dx(Tensor y, *, float dx=1., int dim=-1) -> Tensor",
      *each("trapezoid. trapz.", _X))
def trapezoid(y, x=None, *, dx=1, dim=-1):
    dim = _checked(y, x, dim)
    if y.shape[dim] == 0:
        return full([n for k, n in enumerate(y.shape) if k != dim], 0, y.dtype)
    return reduce("add", _areas(y, x, dx, dim), dim, False)


@aten(*each("cumulative_trapezoid.", _DX), *each("cumulative_trapezoid.", _X))
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    dim = _checked(y, x, dim)
    return cumsum(_areas(y, x, dx, dim), dim)


