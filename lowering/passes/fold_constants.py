"""What depends on constants alone is computed now.

    w = constant; v = permute(w); linear(x, v)   ~>   v = constant; linear(x, v)

A result much larger than its operands (a broadcast) stays an op: it costs less to compute than
to store.
"""

from __future__ import annotations

from lowering.interpreter import run_region
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Constant, Generic, Region, Scan, Scatter, Sort, TensorOp, Value

_GROWTH = 4
_ALWAYS_BELOW = 4096  # elements


def fold_constants(region: Region) -> None:
    """Rewrites in place, inner regions included."""
    _fold(region, {})


def _fold(region: Region, known: dict[Value, TensorOp]) -> None:
    """known: constants, and fills, which are as good as constants to what they are inserted in."""
    ops: list[TensorOp] = []
    for op in region.ops:
        if isinstance(op, Constant) or isinstance(op, Generic) and not op.operands():
            known[op.out] = op
        elif isinstance(op, (Generic, Sort, Scan, Scatter)) and _foldable(op, known):
            needed = [known[v] for v in op.operands()]
            results = run_region(Region([], [*needed, op], list(op.results)), [], {})
            for v, data in zip(op.results, results):
                folded = Constant(data, v.dtype)
                folded.results = [v]
                v.op = folded
                known[v] = folded
                ops.append(folded)
            continue
        ops.append(op)
        for r in op.regions():
            _fold(r, known)
    region.ops = ops


def _foldable(op: TensorOp, known: dict[Value, TensorOp]) -> bool:
    operands = op.operands()
    if any(is_dynamic(v.shape) for v in (*op.results, *operands)):
        return False
    if any(v not in known for v in operands):
        return False
    stored = [v for v in operands if isinstance(known[v], Constant)]
    size = sum(v.numel for v in op.results)
    return bool(stored) and size <= max(_ALWAYS_BELOW, _GROWTH * sum(v.numel for v in stored))
