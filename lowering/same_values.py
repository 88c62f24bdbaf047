"""Whether two Values surely hold equal numbers: x[m] + x[m] counts m twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowering.expr import Expr
    from lowering.tensor_ir import Value

_DEPTH = 8  # ops between a number and what it is computed from


def same_number(a: Value, b: Value) -> bool:
    """Whether both are computed alike, from the same Values."""
    return _same(a, b, _DEPTH)


def _same(a: Value, b: Value, depth: int) -> bool:
    if a is b:
        return True
    p, q = a.op, b.op
    if depth == 0 or type(p) is not type(q) or a.shape != b.shape or a.dtype is not b.dtype:
        return False
    if getattr(p, "combiner", p) != getattr(q, "combiner", q) or not hasattr(p, "post"):
        return False
    return (p.domain == q.domain and p.parallel == q.parallel and p.write is q.write is None
            and _same_expr(p.body, q.body, depth) and _same_expr(p.post, q.post, depth))


def _same_expr(x: Expr | None, y: Expr | None, depth: int) -> bool:
    if x is None or y is None or x == y:
        return x == y
    if x.op != y.op or x.dtype is not y.dtype or len(x.args) != len(y.args):
        return False
    if x.op == "load":
        if not _same(x.attr, y.attr, depth - 1):
            return False
    elif x.attr != y.attr:
        return False
    return all(_same_expr(u, v, depth) for u, v in zip(x.args, y.args))
