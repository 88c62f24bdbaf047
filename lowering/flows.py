"""How a tensor that a loop carries becomes the next turn's, step by step in its own memory.

    p -> grow -> a -> insert -> b -> if: insert, else: b -> r        all of them lie where p does

Each step writes into what the one before left, when all others have read that; or makes it longer
or shorter, which writes nothing.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.passes.rewriting import users
from lowering.schedule.fill import loads_of
from lowering.tensor_ir import Generic, Grow, If, Loop, Region, Scatter, TensorOp, Value

Links = dict[Value, Value]  # a Value -> the one that takes its place


def flow(region: Region, start: Value, end: Value,
         readers: dict[Value, list[TensorOp | None]] | None = None,
         index: dict[int, int] | None = None) -> Links | None:
    """The steps from `start`, which the region is given, to `end`, which it results in; None where
    they do not lie in one memory."""
    if index is None:
        index = {id(op): k for k, op in enumerate(region.ops)}
    links: Links = {}
    v = end
    while v is not start:
        before = _before(v, index)
        if before is None:
            return None
        links[before] = v
        v = before
    if not links:
        return links
    readers = users(region) if readers is None else readers
    written = len(index) + 1  # where the memory is written next
    for u, v in links.items():  # from the end
        if not isinstance(v.op, Grow) and not (isinstance(v.op, Generic) and is_beginning(v.op)):
            written = index[id(v.op)]
        if any(r is not v.op and (len(index) if r is None else index[id(r)]) >= written
               for r in readers[u]):
            return None
    return links


def _before(v: Value, index: dict[int, int]) -> Value | None:
    """The Value whose place an op's result may take; None where there is none."""
    op = v.op
    if id(op) not in index:
        return None
    if isinstance(op, Generic) and is_beginning(op):
        return op.body.attr
    if isinstance(op, (Generic, Scatter)):
        return op.base if op.base is not None and not loads_of(op, op.base) else None
    if isinstance(op, Grow):
        return op.base
    if isinstance(op, Loop):
        u = op.inits[op.results.index(v)]
        return None if u in op.body.reads() or op.inits.count(u) > 1 else u
    if isinstance(op, If):
        k = op.results.index(v)
        ends = [(r, r.results[k]) for r in op.regions()]
        roots = {_root(r, end) for r, end in ends}
        u = roots.pop()
        if roots or u is None or any(flow(r, u, end) is None or r.results.count(end) > 1
                                     for r, end in ends):
            return None
        return u
    return None


def is_beginning(op: Generic) -> bool:
    """Whether the result is the first rows of another Value, and nothing else."""
    x = op.body
    return (x.op == "load" and op.base is None and op.write is None and op.combiner is None
            and x.args == E.identity(len(op.domain)) and op.domain[1:] == x.attr.shape[1:])


def _root(region: Region, v: Value | None) -> Value | None:
    """The Value from outside the region whose place this one may take."""
    index = {id(op): k for k, op in enumerate(region.ops)}
    while v is not None and id(v.op) in index:
        v = _before(v, index)
    return None if v in region.params else v
