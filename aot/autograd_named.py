"""Derivatives of the ops that are no loop nest: Sort, Scan, Scatter."""

from __future__ import annotations

from lowering import build as B
from lowering import expr as E
from lowering.tensor_ir import Scan, Scatter, Sort, Value


def _scatter_back(indices: Value, grad: Value, dim: int) -> Value:
    """out[.., indices[i], ..] += grad[i] along dim."""
    base = B.full(grad.shape, 0, B.compute_dtype(grad.dtype))
    out = B.scatter(
        base, grad.shape,
        lambda *i: [E.load(indices, i) if k == dim else e for k, e in enumerate(i)],
        lambda *i: E.cast(E.load(grad, i), base.dtype), "add")
    return B.cast(out, grad.dtype)


def sort_gradient(op: Sort, grad: Value) -> Value:
    """Each element's gradient goes where it came from."""
    if op.x.ndim == 0:
        return grad
    return _scatter_back(op.results[1], grad, op.dim)


def _reversed_sum(x: Value, dim: int) -> Value:
    """The sum of an element and all after it."""
    n = x.shape[dim]

    def flip(v: Value) -> Value:
        return B.reindex(v, v.shape, lambda *i: [n - 1 - e if k == dim else e
                                                 for k, e in enumerate(i)])

    return flip(B.scan(flip(x), dim, "add")[0])


def scan_gradients(op: Scan, grad: Value) -> Value:
    """Sums: the sum of what follows. Products: the same of grad * result, over the element, with
    zeros counted apart. Extremes: to the element that was the extreme."""
    x, dim = op.x, op.dim
    if x.ndim == 0 or x.numel == 0:
        return grad
    if op.combiner == "add":
        return _reversed_sum(grad, dim)
    if op.combiner == "mul":
        return _product_gradient(op, grad)
    indices = op.results[1] if len(op.results) > 1 else B.scan(x, dim, op.combiner, True)[1]
    return _scatter_back(indices, grad, dim)


def _product_gradient(op: Scan, grad: Value) -> Value:
    """d out[j] / d x[i] = product of x[0..j] without x[i], for j >= i.

    Before the first zero that is out[j] / x[i]; at it, the product with the zero taken as one, up
    to the second zero; after it nothing."""
    x, dim = op.x, op.dim
    working = B.compute_dtype(x.dtype)
    zero, unit = E.const(0.0, working), E.const(1.0, working)
    is_zero = B.compute(x.shape, lambda *i: E.cast(E.eq(E.cast(E.load(x, i), working), zero),
                                                   B.i64))
    count = B.scan(is_zero, dim, "add")[0]
    replaced = B.compute(x.shape, lambda *i: E.select(
        E.eq(E.load(is_zero, i), 1) & E.eq(E.load(count, i), 1), unit,
        E.cast(E.load(x, i), working)))
    product = B.scan(replaced, dim, "mul")[0]
    before = B.compute(x.shape, lambda *i: E.select(
        E.eq(E.load(count, i), 0), E.cast(E.load(grad, i), working) * E.load(product, i), zero))
    after = B.compute(x.shape, lambda *i: E.select(
        E.eq(E.load(count, i), 1), E.cast(E.load(grad, i), working) * E.load(product, i), zero))
    sums, rest = _reversed_sum(before, dim), _reversed_sum(after, dim)
    return B.compute(x.shape, lambda *i: E.cast(E.select(
        E.eq(E.load(count, i), 0), E.load(sums, i) / E.cast(E.load(x, i), working),
        E.select(E.eq(E.load(is_zero, i), 1) & E.eq(E.load(count, i), 1), E.load(rest, i), zero)),
        x.dtype))


def scatter_gradients(op: Scatter, grad: Value) -> list[tuple[Value, Value]]:
    """The gradients of the base and, for products and extremes, of a body that is one load."""
    if op.mode == "add":
        return [(op.base, grad)]
    if op.mode == "set":
        cleared = B.scatter(grad, op.domain, lambda *_: op.write,
                            lambda *_: E.const(0.0, grad.dtype), "set")
        return [(op.base, cleared)]
    if op.body.op != "load":
        raise NotImplementedError(f"no derivative of a scatter by {op.mode} of an expression")
    source, at = op.body.attr, op.body.args
    out = op.results[0]
    flow, base_share, share = _shares(op, grad, out)
    base = B.pointwise(lambda g, s: g * s, flow, base_share, dtype=out.dtype)
    n = len(op.domain)
    mine = B.generic(op.domain, n, E.load(flow, op.write) * share)
    zeros = B.full(source.shape, 0, source.dtype)
    back = B.scatter(zeros, op.domain, lambda *_: at, lambda *i: E.load(mine, i), "add")
    return [(op.base, base), (source, back)]


def _shares(op: Scatter, grad: Value, out: Value):
    """What gradient flows, the base's share of it, and each point's share."""
    base, body = op.base, op.body
    if op.mode == "mul":
        flow = B.pointwise(lambda g, y: g * y, grad, out, dtype=out.dtype)
        share = B.pointwise(lambda b: 1.0 / b, base, dtype=out.dtype)
        return flow, share, 1.0 / body
    equal = B.pointwise(lambda b, y: E.select(E.eq(b, y), E.const(1.0, b.dtype),
                                              E.const(0.0, b.dtype)), base, out, dtype=out.dtype)
    wins = E.select(E.eq(body, E.load(out, op.write)), E.const(1.0, body.dtype),
                    E.const(0.0, body.dtype))
    count = B.scatter(equal, op.domain, lambda *_: op.write, lambda *_: wins, "add")
    flow = B.pointwise(lambda g, c: g / c, grad, count, dtype=out.dtype)
    return flow, equal, wins
