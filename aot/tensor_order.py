"""In which order of dims results lie in memory: that of their operands, for pointwise operators."""

from __future__ import annotations

import numpy as np

from aot.tensor_core import Tensor
from aot.tensor_plan import Plan
from lowering import expr as E
from lowering.tensor_ir import Generic


def lay_out(plan: Plan, tensors: list[Tensor], out: Tensor) -> None:
    """Pointwise results lie in memory in their operand's order of dims: x.t() + 1 is transposed."""
    data = out._data
    if len(data.sizes) < 2 or all(t._data.is_contiguous for t in tensors):
        return
    model = next((t for t in tensors if t._data.sizes == data.sizes), None)
    if model is None or model._data.is_contiguous or not _is_pointwise(plan):
        return
    strides = model._data.strides
    if sorted(strides, reverse=True) != sorted(_dense(data.sizes, strides), reverse=True):
        return
    order = sorted(range(len(strides)), key=lambda k: -strides[k])
    moved = data.numpy().transpose(order)
    data.storage.array = np.ascontiguousarray(moved).reshape(-1)
    data.strides = _dense(data.sizes, strides)


def _dense(sizes: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides without gaps whose dims stand in the order of `strides`."""
    order = sorted(range(len(sizes)), key=lambda k: -strides[k])
    out, step = [0] * len(sizes), 1
    for k in reversed(order):
        out[k] = step
        step *= max(sizes[k], 1)
    return tuple(out)


def _is_pointwise(plan: Plan) -> bool:
    """Every element of the result depends on the same element of operands of its shape."""
    if plan.keeps_order is False:
        plan.keeps_order = None
        ops = plan.region.ops
        if all(isinstance(op, Generic) and op.combiner is None and op.write is None
               for op in ops):
            loads = [e for op in ops for e in E.loads(op.body)]
            plan.keeps_order = all(
                all(a.is_const or (a.op == "index" and a.attr == k + skip)
                    for k, a in enumerate(e.args))
                for e in loads for skip in [len(plan.region.results[0].shape) - len(e.args)]
            )
    return bool(plan.keeps_order)
