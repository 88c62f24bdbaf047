"""Cross products, Vandermonde matrices, common divisors, sums down to a shape."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering.build import (
    broadcast_shape, compute, compute_dtype, dim_of, loop, pointwise, read, reindex, result_type,
)
from lowering.ops.elementary import absolute
from lowering.ops.reduction import sum
from lowering.ops.table import aten
from lowering.ops.view import atleast_1d
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, i32, i64


@aten("linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor")
def linalg_cross(x, y, *, dim=-1):
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    shape = broadcast_shape(x.shape, y.shape)
    dim = dim_of(dim, len(shape))
    if x.shape[dim] != 3 or y.shape[dim] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got "
                           f"{x.shape[dim]} and {y.shape[dim]}")
    dtype = result_type(x, y)
    wide = compute_dtype(dtype)

    def body(*i):
        def at(v, step):
            turned = [(e + step) % 3 if k == dim else e for k, e in enumerate(i)]
            return E.cast(E.load(v, [E.const(0) if n == 1 else e
                                     for e, n in zip(turned, v.shape)]), wide)

        return E.cast(at(x, 1) * at(y, 2) - at(x, 2) * at(y, 1), dtype)

    return compute(shape, body)


@aten("cross(Tensor self, Tensor other, int? dim=None) -> Tensor")
def cross(x, y, dim=None):
    """Without a dim, the first one of size 3."""
    if dim is None:
        dim = next((k for k, n in enumerate(x.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(x, y, dim=dim)


@aten("linalg_vander(Tensor x, *, int? N=None) -> Tensor")
def linalg_vander(x, *, N=None):
    """Powers 0 to N - 1 of x's elements, as columns."""
    x = atleast_1d(x)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    dtype = i64 if not x.dtype.is_float else x.dtype
    wide = compute_dtype(dtype)

    def body(*i):
        value = E.cast(E.load(x, i[:-1]), wide)
        out = power = E.const(1, wide)
        for k in range(1, n):
            power = power * value
            out = E.select(E.eq(i[-1], k), power, out)
        return E.cast(out, dtype)

    return compute((*x.shape, n), body)


def _gcd(x: Value, y: Value) -> Value:
    """Euclid's algorithm: as many turns as two numbers of the dtype can need."""
    dtype = result_type(x, y)
    if dtype.is_float or dtype is bool_:
        raise RuntimeError(f'"gcd_cpu" not implemented for \'{dtype.torch_name}\'')
    shape = broadcast_shape(x.shape, y.shape)
    a, b = (absolute(compute(shape, lambda *_, v=v: read(v, shape, dtype))) for v in (x, y))
    turns = math.ceil(dtype.bits / math.log2((1 + math.sqrt(5)) / 2)) + 1

    def turn(_, p, q):
        rest = pointwise(lambda m, n: E.binary("irem", m, n), p, q)
        return (pointwise(lambda m, n: E.select(E.eq(n, 0), m, n), p, q),
                pointwise(lambda r, n: E.select(E.eq(n, 0), n, r), rest, q))

    return loop(turns, [a, b], turn)[0]


@aten("gcd(Tensor self, Tensor other) -> Tensor")
def gcd(x, y):
    return _gcd(x, y)


@aten("lcm(Tensor self, Tensor other) -> Tensor")
def lcm(x, y):
    def body(a, b, g):
        wide = i32 if a.dtype.bits < 32 else a.dtype
        a, b, g = (E.cast(e, wide) for e in (a, b, g))
        return E.unary("abs", E.binary("idiv", a, g) * b)

    return pointwise(body, x, y, _gcd(x, y), out=result_type(x, y))


@aten("sum_to_size(Tensor self, int[] size) -> Tensor")
def sum_to_size(x, size):
    """Sums over the dims that broadcasting `size` to x's shape would repeat."""
    size = tuple(size)
    lead = x.ndim - len(size)
    if lead < 0 or broadcast_shape(x.shape, size) != tuple(x.shape):
        raise RuntimeError(f"size {list(size)} is not expandable to size {list(x.shape)}.")
    dims = [k for k in range(x.ndim) if k < lead or (size[k - lead] == 1 and x.shape[k] != 1)]
    if not dims:
        return sum(x) if x.ndim == 0 else reindex(x, size, lambda *i: i)
    y = sum(x, dims, True)
    return reindex(y, size, lambda *i: [*[E.const(0)] * lead, *i])
