"""Tasks that may run side by side, and what runs beside them, become one op; others are no tasks.

    a = g(x); b = tasks {f(x)}; c = tasks {h(x)}   ~>   a, b, c = tasks {g(x)} {f(x)} {h(x)}

A task stands where its result is awaited. Ops before it that it does not read are the program's own
work meanwhile. It is worth it where the longest of them takes less time than the ops one after the
other do, each divided among the threads.
"""

from __future__ import annotations

from collections.abc import Iterable

from lowering.passes.rewriting import all_regions, replace_values
from lowering.schedule.loops import worth_threads
from lowering.sizes import is_dynamic, nominal, numel
from lowering.tensor_ir import (
    Check, Constant, Foreign, Generic, If, Loop, Region, Tasks, TensorOp, Value,
)
from llvm_backend.target import Target
from runtime.dtypes import i64

_STEPS = 20  # points that one of a sort, scan or scatter costs
_TURNS = 16  # of a loop whose number is not known
_FOREIGN = 1 << 20  # points that a C function is taken to cost


def group_tasks(region: Region, target: Target) -> None:
    """Rewrites in place, inner regions included. Inside a task there are no tasks: it runs on one
    thread."""
    begun = 0
    while True:
        at = next((k for k in range(begun, len(region.ops)) if isinstance(region.ops[k], Tasks)),
                  None)
        if at is None:
            break
        begun = _group(region, at, target) if target.threads > 1 else _inline(region, at)
    for op in region.ops:
        for r in op.regions():
            if isinstance(op, Tasks):
                _inline_all(r)
            else:
                group_tasks(r, target)


def _inline(region: Region, at: int) -> int:
    """Puts a task's ops in its place; gives where they begin."""
    op = region.ops[at]
    assert isinstance(op, Tasks)
    region.ops[at:at + 1] = [o for r in op.tasks for o in r.ops]
    made = dict(zip(op.results, (v for r in op.tasks for v in r.results)))
    replace_values(region, lambda v: made.get(v, v))
    return at


def _inline_all(region: Region) -> None:
    for r in list(all_regions(region)):
        while (at := next((k for k, o in enumerate(r.ops) if isinstance(o, Tasks)), -1)) >= 0:
            _inline(r, at)


def _group(region: Region, at: int, target: Target) -> int:
    """Makes one op of the task at a position, later ones that could begin there, and what comes
    before; gives the position after it, or that of the task's ops where it is no gain."""
    members, start = _ready(region, at, target)
    own = [op for op in region.ops[start:at] if not isinstance(op, Constant)]
    if not worth_threads(_work(own), target):
        own = []
    parts = [op.tasks[0].ops for op in members] + ([own] if own else [])
    longest = max(map(_work, parts), default=0)
    if region.ops[at] not in members or len(parts) < 2 or (
            longest * 20 > 21 * sum(_divided(op, target) for ops in parts for op in ops)):
        return _inline(region, at)
    tasks, results = [op.tasks[0] for op in members], [v for op in members for v in op.results]
    if own:
        mine, theirs = _apart(region, own)
        tasks.append(mine)
        results += theirs
    gone = {id(op) for op in (*own, *members)}
    before = [op for op in region.ops[:at] if id(op) not in gone]
    after = [op for op in region.ops[at:] if id(op) not in gone]
    region.ops = [*before, Tasks(tasks, results), *after]
    return len(before) + 1


def _ready(region: Region, at: int, target: Target) -> tuple[list[Tasks], int]:
    """The tasks, from the position on, that could begin there and are worth it; and the position
    from which on ops are read by none of them, tell nothing and make no numbers, which might be
    sizes."""
    place = {v: k for k, op in enumerate(region.ops) for v in op.results}
    members: list[Tasks] = []
    start = 0
    for op in region.ops[at:]:
        if isinstance(op, Check) and op.kind != "raise":
            break
        if not isinstance(op, Tasks) or not worth_threads(_work(op.tasks[0].ops), target):
            continue
        reads = [v for r in op.tasks for v in r.reads()]
        first = max((place[v] + 1 for v in reads if v in place), default=0)
        if first <= at:
            members.append(op)
            start = max(start, first)
    for k, op in enumerate(region.ops[:at]):
        if isinstance(op, Tasks) or isinstance(op, Check) and op.kind != "raise" or any(
                v.shape == () and v.dtype is i64 or is_dynamic(v.shape) for v in op.results):
            start = max(start, k + 1)
    return members, start


def _apart(region: Region, own: list[TensorOp]) -> tuple[Region, list[Value]]:
    """Ops as a region of their own, and the Values of theirs that are read outside: in the region
    others stand for them."""
    inside = {id(op) for op in own}
    rest = Region([], [op for op in region.ops if id(op) not in inside], region.results)
    made = {v for op in own for v in op.results}
    theirs = [v for v in rest.reads() if v in made]
    mine = {}
    for v in theirs:
        op = v.op
        mine[v] = new = Value(v.shape, v.dtype, op, wrapped=v.wrapped)
        op.results = [new if w is v else w for w in op.results]
    out = Region([], own, [])
    replace_values(out, lambda v: mine.get(v, v))
    out.results = [mine[v] for v in theirs]
    return out, theirs


def _work(ops: Iterable[TensorOp]) -> int:
    """Points of loops that they run through."""
    return sum(map(_points, ops))


def _points(op: TensorOp) -> int:
    if isinstance(op, Generic):
        return nominal(numel(op.domain))
    if isinstance(op, Foreign):
        return _FOREIGN
    if isinstance(op, If):
        return max(_work(r.ops) for r in op.regions())
    if isinstance(op, Loop):
        return _work(op.body.ops) * (op.trip if isinstance(op.trip, int) else _TURNS)
    if isinstance(op, Tasks):
        return sum(_work(r.ops) for r in op.tasks)
    return 0 if isinstance(op, Constant) else _STEPS * sum(nominal(v.numel) for v in op.results)


def _divided(op: TensorOp, target: Target) -> float:
    """The points that each thread has of an op whose loops are divided."""
    points = _points(op)
    if isinstance(op, Generic):
        return points / target.threads if worth_threads(points, target) else points
    if isinstance(op, Loop):
        inner = sum(_divided(o, target) for o in op.body.ops)
        return inner * (op.trip if isinstance(op.trip, int) else _TURNS)
    return points
