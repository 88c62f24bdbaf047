"""A region without loops: each turn of a loop written out, for the tape to run back over."""

from __future__ import annotations

from lowering import build as B
from lowering import expr as E
from lowering.expr import Expr
from lowering.tensor_ir import (
    Check, Constant, Generic, If, Loop, Region, Scan, Scatter, Sort, TensorOp, Value,
)  # fmt: skip
from runtime.dtypes import i64


def flatten(source: Region, into: Region) -> list[Value]:
    """Appends copies of the source's ops, loops unrolled, to the region that is being built; the
    source's results there. NotImplementedError for loops whose number of turns is not known."""
    return _copy(source, {})


def _copy(region: Region, known: dict[Value, Value]) -> list[Value]:
    for op in region.ops:
        if isinstance(op, Loop):
            _unroll(op, known)
        else:
            copy = _copied(op, known)
            B.append(copy)
            known.update(zip(op.results, copy.results))
    return [known.get(v, v) for v in region.results]


def _unroll(op: Loop, known: dict[Value, Value]) -> None:
    if not isinstance(op.trip, int) or op.condition is not None:
        raise NotImplementedError("no derivative of a loop whose number of turns depends on data")
    carried = [known.get(v, v) for v in op.inits]
    for n in range(op.trip):
        turn = dict(known)
        turn[op.body.params[0]] = B.constant(n, i64)
        turn.update(zip(op.body.params[1:], carried))
        carried = _copy(op.body, turn)
    known.update(zip(op.results, carried))


def _copied(op: TensorOp, known: dict[Value, Value]) -> TensorOp:
    memo: dict[Expr, Expr] = {}

    def value(v: Value) -> Value:
        return known.get(v, v)

    def expr(e: Expr | None) -> Expr | None:
        if e is None:
            return None
        return E.rewrite(e, lambda x: E.load(value(x.attr), x.args)
                         if x.op == "load" and x.attr in known else None, memo)

    if isinstance(op, Generic):
        write = None if op.write is None else tuple(expr(w) for w in op.write)
        return Generic(op.domain, op.parallel, expr(op.body), op.combiner, expr(op.post),
                       None if op.base is None else value(op.base), write, op.out.shape)
    if isinstance(op, Constant):
        return Constant(op.data, op.out.dtype)
    if isinstance(op, Sort):
        return Sort(value(op.x), op.dim, op.descending)
    if isinstance(op, Scan):
        return Scan(value(op.x), op.dim, op.combiner, len(op.results) > 1)
    if isinstance(op, Scatter):
        return Scatter(value(op.base), op.domain, tuple(expr(w) for w in op.write),
                       expr(op.body), op.mode)
    if isinstance(op, Check):
        return Check(value(op.condition), op.message.map(value), op.kind, op.where)
    if isinstance(op, If):
        regions = []
        for branch in (op.then, op.otherwise):
            inner = Region(list(branch.params))
            with B.collect(inner):
                inner.results = _copy(branch, dict(known))
            regions.append(inner)
        return If(value(op.condition), *regions)
    raise NotImplementedError(f"no derivative of {type(op).__name__}")
