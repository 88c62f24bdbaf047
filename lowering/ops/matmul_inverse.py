"""Inverses, solutions of linear systems and determinants of square matrices: Gauss-Jordan
elimination with row pivoting, one step a loop turn over all matrices of a batch."""

from __future__ import annotations

from typing import Sequence

from lowering import expr as E
from lowering.build import broadcast_shape, check, compute, full, generic, loop, reduce
from lowering.expr import Expr
from lowering.ops.message_names import type_name
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from lowering.views import permute, select

# Matrices of up to this size are eliminated without a loop.
UNROLLED = 4


def _eliminated(a: Value) -> tuple[Value, Value, Value]:
    """a (b..., n, m) with its first n columns made the identity; the determinant of those, and the
    least absolute pivot, (b...) each. A pivot that is 0 leaves its row 0."""
    batch, (n, m) = a.shape[:-2], a.shape[-2:]
    det = full(batch, 1, a.dtype)
    least = full(batch, float("inf"), a.dtype)

    def step(k: Expr, carried: Sequence[Value]) -> list[Value]:
        a, det, least = carried
        b = E.identity(len(batch))
        row = E.index(len(batch))
        size = E.unary("abs", E.load(a, [*b, row, k]))
        body = E.select(row >= k, size, E.const(-1, a.dtype))
        pivots = generic((*batch, n), len(batch), body, "argmax")

        def eliminated(*i: Expr) -> Expr:
            b, row, column = i[:-2], i[-2], i[-1]
            p = E.load(pivots, b)
            swapped = E.select(E.eq(row, k), p, E.select(E.eq(row, p), k, row))
            pivot = E.load(a, [*b, p, k])
            scaled = E.load(a, [*b, p, column]) / pivot
            scaled = E.select(E.eq(pivot, 0), E.const(0, a.dtype), scaled)
            rest = E.load(a, [*b, swapped, column]) - E.load(a, [*b, swapped, k]) * scaled
            return E.select(E.eq(row, k), scaled, rest)

        def determinant(*b: Expr) -> Expr:
            p = E.load(pivots, b)
            value = E.load(det, b) * E.load(a, [*b, p, k])
            return E.select(E.eq(p, k), value, -value)

        def smallest(*b: Expr) -> Expr:
            pivot = E.load(a, [*b, E.load(pivots, b), k])
            return E.minimum(E.load(least, b), E.unary("abs", pivot))

        return [compute(a.shape, eliminated), compute(batch, determinant), compute(batch, smallest)]

    carried = [a, det, least]
    if n <= UNROLLED:
        for k in range(n):
            carried = step(E.const(k), carried)
    else:
        carried = loop(n, carried, lambda k, *c: step(E.load(k), c))
    return carried[0], carried[1], carried[2]


def _square(a: Value, name: str, argument: str = "A") -> None:
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(f"{name}: {argument} must be batches of square matrices, but they are "
                           f"{a.shape[-2]} by {a.shape[-1]} matrices")
    if not a.dtype.is_float:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(a.dtype)}")
    if a.dtype.bits < 32:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(a.dtype)}")


def _check_pivots(least: Value, message: str) -> None:
    smallest = reduce("min", least, None, False)
    check(compute((), lambda: E.ne(E.load(smallest), 0)), message)


@aten("linalg_inv(Tensor A) -> Tensor",
      "inverse(Tensor self) -> Tensor")
def linalg_inv(a):
    """(..., n, n). The run fails where a matrix is singular."""
    _square(a, "linalg.inv")
    n = a.shape[-1]
    zero, one = E.const(0, a.dtype), E.const(1, a.dtype)

    def joined(*i: Expr) -> Expr:
        column = E.minimum(i[-1], n - 1)
        identity = E.select(E.eq(i[-1] - n, i[-2]), one, zero)
        return E.select(i[-1] < n, E.load(a, [*i[:-1], column]), identity)

    if a.numel == 0:
        return full(a.shape, 0, a.dtype)
    y, _, least = _eliminated(compute((*a.shape[:-1], 2 * n), joined))
    _check_pivots(least, "linalg.inv: A diagonal element is zero, the inversion could not be "
                  "completed because the input matrix is singular.")
    return compute(a.shape, lambda *i: E.load(y, [*i[:-1], i[-1] + n]))


@aten("linalg_solve(Tensor A, Tensor B, *, bool left=True) -> Tensor")
def linalg_solve(a, b, left=True):
    """X of A X = B, or of X A = B. A (..., n, n), B (..., n, k), or vectors (..., n)."""
    _square(a, "linalg.solve")
    if a.dtype is not b.dtype:
        raise RuntimeError("linalg.solve: Expected A and B to have the same dtype, but found A of "
                           f"type {type_name(a.dtype)} and B of type {type_name(b.dtype)} instead")
    vectors = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    if not left:
        if vectors:
            raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not "
                               "supported for left=False. In this case linalg.solve is equivalent "
                               "to B / A.squeeze(-1)")
        return _transposed(linalg_solve(_transposed(a), _transposed(b)))
    if vectors:
        shape = (*b.shape, 1)
        x = linalg_solve(a, compute(shape, lambda *i: E.load(b, i[:-1])))
        return select(x.shape, x.ndim - 1, 0).get(x)
    n, k = a.shape[-1], b.shape[-1]
    if b.shape[-2] != n:
        raise RuntimeError("linalg.solve: Incompatible shapes of A and B for the equation AX = B "
                           f"({n}x{n} and {b.shape[-2]}x{k})")
    batch = broadcast_shape(a.shape[:-2], b.shape[:-2])
    if 0 in (*batch, n, k):
        return full((*batch, n, k), 0, a.dtype)

    def joined(*i: Expr) -> Expr:
        lead = i[:-2]
        left_at = [*_broadcast(a, lead), i[-2], E.minimum(i[-1], n - 1)]
        right_at = [*_broadcast(b, lead), i[-2], E.maximum(i[-1] - n, 0)]
        return E.select(i[-1] < n, E.load(a, left_at), E.load(b, right_at))

    y, _, least = _eliminated(compute((*batch, n, n + k), joined))
    _check_pivots(least, "torch.linalg.solve: The solver failed because the input matrix is "
                  "singular.")
    return compute((*batch, n, k), lambda *i: E.load(y, [*i[:-1], i[-1] + n]))


def _broadcast(x: Value, lead: Sequence[Expr]) -> list[Expr]:
    """Indices of x's batch dims."""
    sizes = x.shape[:-2]
    return [E.const(0) if n == 1 else i for n, i in zip(sizes, lead[len(lead) - len(sizes):])]


def _transposed(x: Value) -> Value:
    order = [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]
    return permute(x.shape, order).get(x)


@aten("linalg_det(Tensor A) -> Tensor",
      "det(Tensor self) -> Tensor")
def linalg_det(a):
    """(..., n, n) -> (...)."""
    _square(a, "linalg.det")
    return _eliminated(a)[1]
