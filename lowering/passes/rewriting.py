"""What tensor passes share: uses of Values, replacing Values, walking regions."""

from __future__ import annotations

from typing import Callable, Iterable, Iterator

from lowering import expr as E
from lowering.expr import Expr
from lowering.tensor_ir import (
    Check, Foreign, Generic, Grow, If, Loop, Random, Region, Scan, Scatter, Sort, TensorOp,
    Value, with_sizes,
)
from lowering.sizes import symbols


def all_regions(region: Region) -> Iterator[Region]:
    """The region and all regions inside, outer ones first."""
    yield region
    for op in region.ops:
        for r in op.regions():
            yield from all_regions(r)


def users(region: Region) -> dict[Value, list[TensorOp | None]]:
    """The ops of this region that read each Value, once an op; None stands for the region's
    results. An op with regions counts as a reader of what they read."""
    found: dict[Value, list[TensorOp | None]] = {}
    for op in region.ops:
        reads = dict.fromkeys(op.operands())
        for r in op.regions():
            reads.update(dict.fromkeys(r.reads()))
        for v in reads:
            found.setdefault(v, []).append(op)
    for v in with_sizes(region.results):
        found.setdefault(v, []).append(None)
    return found


def replace_values(region: Region, change: Callable[[Value], Value]) -> None:
    """Every read of v becomes a read of change(v), in this region and those inside."""
    memo: dict[Expr, Expr] = {}

    def in_sizes(numbers: Iterable) -> None:
        for n in numbers:
            for s in symbols(n):
                s.value = change(s.value)

    def in_expr(e: Expr | None) -> Expr | None:
        if e is None:
            return None

        def leaf(x: Expr) -> Expr | None:
            if x.op == "load" and change(x.attr) is not x.attr:
                return E.load(change(x.attr), x.args)
            if x.op == "size":
                in_sizes((x.attr,))
            return None

        return E.rewrite(e, leaf, memo)

    for op in region.ops:
        if isinstance(op, (Generic, Scatter)):
            in_sizes((*op.domain, *op.out.shape))
        if isinstance(op, Generic):
            op.body, op.post = in_expr(op.body), in_expr(op.post)
            op.base = change(op.base) if op.base is not None else None
            op.write = tuple(in_expr(w) for w in op.write) if op.write is not None else None
        elif isinstance(op, Scatter):
            op.base, op.body = change(op.base), in_expr(op.body)
            op.write = tuple(in_expr(w) for w in op.write)
        elif isinstance(op, (Sort, Scan)):
            op.x = change(op.x)
        elif isinstance(op, Random):
            op.state = change(op.state)
        elif isinstance(op, Grow):
            in_sizes(op.out.shape)
            op.base = change(op.base)
        elif isinstance(op, Foreign):
            in_sizes(n for v in op.results for n in v.shape)
            op.arguments = [_changed(x, change) for x in op.arguments]
        elif isinstance(op, (If, Check)):
            op.condition = change(op.condition)
            if isinstance(op, Check):
                op.message = op.message.map(change)
        elif isinstance(op, Loop):
            op.inits = [change(v) for v in op.inits]
            op.trip = change(op.trip) if isinstance(op.trip, Value) else op.trip
            op.condition = change(op.condition) if op.condition is not None else None
        for r in op.regions():
            replace_values(r, change)
    region.results = [change(v) for v in region.results]
    for v in region.results:
        in_sizes(v.shape)


def _changed(x: object, change: Callable[[Value], Value]) -> object:
    """An argument of a Foreign."""
    if isinstance(x, list):
        return [_changed(v, change) for v in x]
    return change(x) if isinstance(x, Value) else x


def remove_dead(region: Region) -> None:
    """Drops ops whose results nobody reads; Checks stay, and so do ops that hold one."""
    for op in region.ops:
        for r in op.regions():
            remove_dead(r)
    live: set[Value] = set(with_sizes(region.results))
    kept: list[TensorOp] = []
    for op in reversed(region.ops):
        if isinstance(op, Check) or _has_check(op) or any(v in live for v in op.results):
            kept.append(op)
            live.update(op.operands())
            for r in op.regions():
                live.update(r.reads())
    region.ops = kept[::-1]


def _has_check(op: TensorOp) -> bool:
    return any(isinstance(o, Check) or _has_check(o) for r in op.regions() for o in r.ops)
