"""Computes what is known before the program runs: numbers, texts, and which way a branch goes."""

from __future__ import annotations

import operator
from typing import Callable

from lowering import types
from lowering.graph import Block, Graph, Node, Value, type_of_value
from lowering.graph_builder import Builder
from lowering.objects import TensorData
from lowering.types import (
    ClassType, DictType, ListType, OptionalType, TensorType, TupleType, Type, UnionType,
)

# Python's meaning is TorchScript's on these: int (within 64 bits), float, bool and str.
_FOLDED: dict[str, Callable] = {
    "aten::add": operator.add, "aten::sub": operator.sub, "aten::mul": operator.mul,
    "aten::floordiv": operator.floordiv, "aten::remainder": operator.mod, "aten::neg": operator.neg,
    "aten::eq": operator.eq, "aten::ne": operator.ne, "aten::lt": operator.lt,
    "aten::le": operator.le, "aten::gt": operator.gt, "aten::ge": operator.ge,
    "aten::__and__": operator.and_, "aten::__or__": operator.or_, "aten::__xor__": operator.xor,
    "aten::__not__": operator.not_, "aten::Int": int, "aten::Float": float, "aten::Bool": bool,
    "prim::abs": abs,
}
_DIVISION = ("aten::div", "aten::floordiv", "aten::remainder")
_SCALARS = (int, float, bool, str)
_MAX_TEXT = 10_000


def fold_constants(graph: Graph) -> bool:
    """Replace what can be computed now by its value; True if the graph changed.

        %c : bool = aten::gt(%3, %2)            # 3 > 2
        %y : Tensor = prim::If(%c)
          block0(): %a : Tensor = aten::relu(%x) -> (%a)
          block1(): -> (%x)
    ~>
        %a : Tensor = aten::relu(%x)

    `x is None` is decided where the type of x tells, a branch where its condition is constant, a
    loop where it does not run. Nothing that would raise is computed.
    """
    return _fold_block(graph.block, Builder(graph))


def _fold_block(block: Block, builder: Builder) -> bool:
    changed = False
    for node in list(block.nodes):
        if node.kind == "prim::If" and node.inputs[0].is_constant:
            branch = node.blocks[0 if node.inputs[0].constant else 1]
            _fold_block(branch, builder)
            builder.replace_by_block(node, branch)
            changed = True
            continue
        for inner in node.blocks:
            changed |= _fold_block(inner, builder)
        if node.kind == "prim::Loop" and _never_runs(node):
            for output, initial in zip(node.outputs, node.inputs[2:]):
                builder.replace_uses(output, initial)
            changed = True
        elif len(node.outputs) == 1 and node.output.uses:
            result = _result(node, builder)
            if result is not None:
                builder.replace_uses(node.output, result)
                changed = True
    return changed


def _never_runs(node: Node) -> bool:
    limit, condition = node.inputs[:2]
    if condition.is_constant and condition.constant is False:
        return True
    return limit.is_constant and limit.constant <= 0


def _result(node: Node, builder: Builder) -> Value | None:
    """A value that stands for the node's output; None if it must be computed later."""
    if node.kind in ("aten::__is__", "aten::__isnot__"):
        known = _is_none(node)
        return None if known is None else builder.constant(known == (node.kind == "aten::__is__"))
    if node.kind == "prim::isinstance":
        known = _is_instance(node.inputs[0].type, node.attributes["types"])
        return None if known is None else builder.constant(known)
    if node.kind == "prim::unchecked_cast" and node.inputs[0].type == node.output.type:
        return node.inputs[0]
    if node.kind == "prim::dtype" and isinstance(node.inputs[0].type, TensorType):
        value = node.inputs[0].constant if node.inputs[0].is_constant else None
        if isinstance(value, TensorData) and not isinstance(value.storage.dtype, str):
            return builder.constant(value.storage.dtype.torch_code)
        return None
    if node.kind == "prim::TupleIndex" and node.inputs[1].is_constant:
        return _element(node)
    return _number(node, builder)


def _is_none(node: Node) -> bool | None:
    """Whether the first of two operands is None, the other being None; None if not known."""
    one, other = node.inputs
    if other.type != types.NoneT:
        one, other = other, one
    if other.type != types.NoneT:
        return None
    if one.type == types.NoneT:
        return True
    return None if types.is_subtype(types.NoneT, one.type) else False


def _is_instance(found: Type, wanted: list[Type]) -> bool | None:
    if isinstance(found, (OptionalType, UnionType)) or found in (types.Any, types.Number):
        return None
    if isinstance(found, (TupleType, ListType, DictType)):
        return True if found in wanted else None
    if isinstance(found, TensorType):
        return any(isinstance(w, TensorType) for w in wanted)
    if isinstance(found, (types.SimpleType, ClassType)):
        return found in wanted
    return None


def _element(node: Node) -> Value | None:
    """An element of a tuple that is made in sight."""
    source = node.inputs[0].node
    index = node.inputs[1].constant
    if source is None or source.kind != "prim::TupleConstruct":
        return None
    return source.inputs[index] if -len(source.inputs) <= index < len(source.inputs) else None


def _number(node: Node, builder: Builder) -> Value | None:
    compute = _FOLDED.get(node.kind)
    if compute is None or node.kwarg_names or not all(v.is_constant for v in node.inputs):
        return None
    values = [v.constant for v in node.inputs]
    if not all(isinstance(v, _SCALARS) for v in values):
        return None
    if node.kind in _DIVISION and not values[-1]:
        return None  # raises when it runs
    texts = [v for v in values if isinstance(v, str)]
    if texts and (node.output.type == types.Int or sum(map(len, texts)) > _MAX_TEXT):
        return None
    try:
        result = compute(*values)
        type_ = type_of_value(result)
    except (TypeError, ValueError, OverflowError):
        return None
    if type_ != node.output.type or (isinstance(result, int) and not _fits(result)):
        return None
    return builder.constant(result)


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63
