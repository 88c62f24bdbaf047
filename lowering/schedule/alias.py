"""Copies that need no code: their result is a view of what they read."""

from __future__ import annotations

from lowering.index_algebra import IndexAlgebra
from lowering.schedule.codegen import affine_in
from lowering.schedule.storage import Storage
from lowering.tensor_ir import Generic, Value


def view_of(op: Generic, storages: dict[Value, Storage]) -> Storage | None:
    """Where a pure copy with an affine address lies without being made: on its operand's memory,
    with other strides. None for any other op."""
    if op.combiner is not None or op.body.op != "load" or op.body.attr not in storages:
        return None
    source = storages[op.body.attr]
    algebra = IndexAlgebra(op.domain)
    form = affine_in(algebra.simplify(source.address(op.body.args)), algebra)
    if form is None:
        return None
    offset = algebra.affine(source.address(op.body.args))[1]
    return Storage(source.buffer, tuple(form.get(d, 0) for d in range(op.parallel)), offset)
