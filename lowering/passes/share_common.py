"""Equal ops are computed once.

    a = relu(x); b = relu(x); a + b   ~>   a = relu(x); a + a
"""

from __future__ import annotations

from lowering import expr as E
from lowering.passes.rewriting import replace_values
from lowering.tensor_ir import Constant, Generic, Region, TensorOp, Value


def share_common(region: Region) -> None:
    """Rewrites in place. Within one region; inner regions see what outer ones replaced."""
    seen: dict[tuple, Value] = {}
    same: dict[Value, Value] = {}
    kept: list[TensorOp] = []
    for op in region.ops:
        if same:
            replace_values(Region([], [op], []), lambda v: same.get(v, v))
        key = _key(op)
        if key is not None and key in seen:
            same[op.out] = seen[key]
            continue
        if key is not None:
            seen[key] = op.out
        kept.append(op)
        for r in op.regions():
            share_common(r)
    region.ops = kept
    if same:
        region.results = [same.get(v, v) for v in region.results]


def _key(op: TensorOp) -> tuple | None:
    if isinstance(op, Generic):
        if op.base is None and not any(map(E.loads, op.expressions())):
            return None  # a fill costs nothing to repeat, and each base wants to be its own
        return (op.domain, op.parallel, op.body, op.combiner, op.post, op.base, op.write,
                op.out.shape)
    if isinstance(op, Constant):
        return ("constant", op.out.dtype, op.data.shape, op.data.strides,
                op.data.__array_interface__["data"][0], op.data.size == 0)
    return None
