"""Who reads what, and how long, within one region: what may be written where its operand lies."""

from __future__ import annotations

from collections.abc import Sequence

from lowering.flows import flow
from lowering.passes.rewriting import users
from lowering.schedule.fill import loads_of
from lowering.schedule.storage import MemoryBuffer
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Check, Foreign, Generic, Region, TensorOp, Value


class RegionState:
    """Who reads what, and how long, within one region. direct: where results of the program that
    are not placed yet end; carried: the params are what a loop carries from turn to turn; kept: so
    many last params and results are what the program keeps from call to call; flows: Values from
    outside, each with the result that takes its place (flows.py)."""

    def __init__(self, region: Region, direct: dict[Value, MemoryBuffer] | None = None,
                 carried: bool = False, kept: int = 0,
                 flows: Sequence[tuple[Value, Value]] = ()):
        self.position = 0
        self.roomy: set[Value] = set()  # placed early, for what will be inserted: insertion_room.py
        self.settled: set[int] = set()  # insertions of what lies there already
        self.direct = direct or {}
        self.readers = readers = users(region)
        self.index = index = {id(op): k for k, op in enumerate(region.ops)}
        end = len(region.ops)
        self.last_use = {
            v: max(end if op is None else index[id(op)] for op in ops)
            for v, ops in readers.items()
        }
        self.only_reader = {v: ops[0] if len(ops) == 1 else None for v, ops in readers.items()}
        self.outer = set(region.reads()) - set(region.params)
        self.carried = set(region.params) if carried else set()
        # What a loop carries, or an outer flow, that becomes its next value in its own memory.
        self.in_place: dict[Value, Value] = {}
        pairs = zip(region.params[::-1], region.results[::-1]) if carried else ()
        for p, v in (*pairs, *flows):
            links = flow(region, p, v, readers, index) if readers.get(v, []).count(None) else None
            if links:
                self.in_place.update(links)
                self.carried.update(links)
        self.follows = {v: u for u, v in self.in_place.items()}
        # So it is with state, unless the call may fail later: it then leaves the state as it was.
        after = next((k for k in range(end, 0, -1) if _may_fail(region.ops[k - 1])), 0)
        for p, v in zip(region.params[::-1][:kept], region.results[::-1][:kept]):
            op = self.only_reader.get(p)
            if isinstance(op, Generic) and op.base is p and op.out is v and (
                    index[id(op)] >= after) and not loads_of(op, p):
                self.in_place[p] = v


def _may_fail(op: TensorOp) -> bool:
    """Whether a Check stands in the op, or its results need memory that there may not be."""
    if isinstance(op, Check):
        return op.kind == "raise"
    return isinstance(op, Foreign) or any(is_dynamic(v.shape) for v in op.results) or any(
        _may_fail(inner) for region in op.regions() for inner in region.ops)
