"""The last passes over a compiled Graph: what TorchScript does before it shows one."""

from __future__ import annotations

import operator
from typing import Callable

from aot.script.dead_code import remove_dead
from aot.script.environment import EMPTY_LIST
from aot.script.emit_graph import EmitGraph
from aot.script.operator_aliases import use_first_names
from lowering import types
from lowering.graph import Block, Node, Value
from lowering.graph_builder import Builder, interning_key
from lowering.objects import DeviceValue
from lowering.types import TupleType


def clean_up(graph: EmitGraph) -> None:
    """Empty lists, tuples that are taken apart again, dead code, known results, constants,
    orders."""
    _make_empty_lists(graph)
    use_first_names(graph)
    _lower_tuples(graph, graph.block)
    propagate_constants(graph, graph.block)
    remove_dead(graph)
    pool_constants(graph)
    _order_outputs(graph)
    graph.constants = 0
    Builder(graph).adopt_constants()


def _make_empty_lists(graph: EmitGraph) -> None:
    """`[]` whose element type nothing told is a list of tensors."""
    for node in list(graph.nodes()):
        if node.kind == EMPTY_LIST:
            made = Builder(graph, node.owner, node).op(
                "prim::ListConstruct", (), node.output.type, range=node.range)
            Builder(graph).replace_uses(node.output, made)
            Builder(graph).erase(node)


_TUPLES = ("prim::TupleConstruct", "prim::TupleUnpack", "prim::TupleIndex")


def _lower_tuples(graph: EmitGraph, block: Block) -> None:
    builder = Builder(graph)
    for node in list(block.nodes):
        for inner in node.blocks:
            _lower_tuples(graph, inner)
        made = node.inputs[0].node if node.inputs else None
        if made is None or made.kind != "prim::TupleConstruct":
            continue
        if node.kind == "prim::TupleUnpack":
            for output, value in zip(node.outputs, made.inputs):
                builder.replace_uses(output, value)
        elif node.kind == "prim::TupleIndex" and node.inputs[1].is_constant:
            index = node.inputs[1].constant
            builder.replace_uses(node.output, made.inputs[index])
    for node in reversed(list(block.nodes)):
        if node.kind in _TUPLES and not any(output.uses for output in node.outputs):
            builder.erase(node)


_COMPUTED: dict[str, Callable] = {
    "aten::add": operator.add, "aten::sub": operator.sub, "aten::mul": operator.mul,
    "aten::div": operator.truediv, "aten::floordiv": operator.floordiv,
    "aten::remainder": operator.mod, "aten::neg": operator.neg, "aten::eq": operator.eq,
    "aten::ne": operator.ne, "aten::lt": operator.lt, "aten::le": operator.le,
    "aten::gt": operator.gt, "aten::ge": operator.ge, "aten::__and__": operator.and_,
    "aten::__or__": operator.or_, "aten::__xor__": operator.xor, "aten::__not__": operator.not_,
    "aten::Int": int, "aten::Float": float, "aten::Bool": bool, "aten::str": str,
    "aten::__is__": lambda a, b: a is b,
    "aten::__isnot__": lambda a, b: a is not b, "prim::abs": abs,
    "aten::__range_length": lambda first, end, step: len(range(first, end, step)),
    "aten::__derive_index": lambda index, first, step: first + index * step,
    "aten::device": lambda *a: DeviceValue.parse(":".join(map(str, a))), "aten::len": len,
    "aten::pow": lambda a, b: float(a) ** b if isinstance(a, float) or b < 0 else a**b,
    "aten::sqrt": lambda a: a**0.5, "prim::min": min, "prim::max": max,
    "aten::ord": ord, "aten::upper": str.upper, "aten::lower": str.lower,
    "aten::startswith": str.startswith, "aten::endswith": str.endswith,
    "prim::EnumValue": lambda e: e.type.members[e.name], "prim::EnumName": lambda e: e.name,
    "aten::percentFormat": lambda t, *a: t % (a[0] if len(a) == 1 else a),
}  # fmt: skip
_IMMUTABLE = (types.Int, types.Float, types.Bool, types.Str, types.NoneT, types.Device)


def propagate_constants(graph: EmitGraph, block: Block | None = None) -> bool:
    """Results of operators on constants become constants; known branches are taken. True if
    anything changed."""
    block = graph.block if block is None else block
    builder = Builder(graph)
    changed = False
    for node in list(block.nodes):
        if node.kind == "prim::If" and node.inputs[0].is_constant:
            taken = node.blocks[0 if node.inputs[0].constant else 1]
            propagate_constants(graph, taken)
            builder.replace_by_block(node, taken)
            changed = True
            continue
        if node.kind == "prim::Loop" and _never_runs(node):
            for output, value in zip(node.outputs, node.inputs[2:]):
                builder.replace_uses(output, value)
            builder.erase(node)
            changed = True
            continue
        for inner in node.blocks:
            changed |= propagate_constants(graph, inner)
        if node.kind == "prim::Loop":
            changed |= _drop_unchanged(builder, node)
            continue
        if node.kind == "prim::If":
            changed |= _agreed_results(graph, block, node)
            continue
        found, value = _compute(node)
        if found:
            at = Builder(graph, block, node)
            attributes = {} if value is None else {"value": value}
            new = at.op("prim::Constant", (), node.output.type, attributes=attributes)
            if not isinstance(node.output.type, TupleType):
                new.node.range = node.range
            builder.replace_uses(node.output, new)
            changed = True
    return changed


def _agreed_results(graph: EmitGraph, block: Block, node: Node) -> bool:
    """What both branches hand on alike is known after them."""
    changed = False
    for i, output in enumerate(node.outputs):
        first, second = (b.outputs[i] for b in node.blocks)
        if first is second:
            Builder(graph).replace_uses(output, first)
        elif _equal_constants(first, second):
            copy = Builder(graph, block, node).op(
                "prim::Constant", (), first.type, attributes=dict(first.node.attributes))
            Builder(graph).replace_uses(output, copy)
        else:
            continue
        changed = True
    return changed


def _drop_unchanged(builder: Builder, loop: Node) -> bool:
    """What every turn of a loop hands on as it got it is what went in."""
    body, changed = loop.blocks[0], False
    for index in range(len(loop.outputs) - 1, -1, -1):
        param, given = body.params[index + 1], loop.inputs[index + 2]
        if body.outputs[index + 1] is not param:
            continue
        builder.remove_input(body, index + 1)
        builder.replace_uses(loop.outputs[index], given)
        builder.replace_uses(param, given)
        builder.remove_input(loop, index + 2)
        builder.remove_param(body, index + 1)
        builder.remove_output(loop, index)
        changed = True
    return changed


def _equal_constants(a: Value, b: Value) -> bool:
    if not a.is_constant or not b.is_constant or a.type != b.type:
        return False
    x, y = a.constant, b.constant
    return type(x) is type(y) and repr(x) == repr(y) and isinstance(
        x, (bool, int, float, str, type(None)))


def _never_runs(node: Node) -> bool:
    limit, condition = node.inputs[:2]
    if condition.is_constant and condition.constant is False:
        return True
    return limit.is_constant and limit.constant <= 0


def _compute(node: Node) -> tuple[bool, object]:
    if len(node.outputs) != 1 or node.blocks or not node.output.uses or not all(
        v.is_constant for v in node.inputs
    ):
        return False, None
    type_ = node.output.type
    values = [v.constant for v in node.inputs]
    if node.kind == "prim::TupleConstruct" and values and all(
        v.type in _IMMUTABLE or isinstance(v.type, TupleType) for v in node.inputs
    ) and type_.name is None:
        return True, tuple(values)
    if node.kind == "prim::unchecked_cast":
        return True, values[0]
    function = _COMPUTED.get(node.kind)
    if function is None or type_ not in _IMMUTABLE or not node.inputs:
        return False, None
    try:
        return True, function(*values)
    except Exception:
        return False, None  # it raises at run time


def pool_constants(graph: EmitGraph) -> None:
    """One constant for equal values, all at the head of the graph; the last found stands first."""
    seen: dict[tuple, Value] = {}
    builder = Builder(graph)
    top = graph.block

    def visit(block: Block) -> None:
        for node in list(block.nodes):
            for inner in node.blocks:
                visit(inner)
            if node.kind != "prim::Constant":
                continue
            value = node.output
            key = _pool_key(node.attributes.get("value"), value.type)
            known = seen.get(key) if key is not None else None
            if known is not None:
                builder.replace_uses(value, known)
                builder.erase(node)
                continue
            if key is not None:
                seen[key] = value
            block.nodes.remove(node)
            node.owner = top
            top.nodes.insert(0, node)

    visit(top)


def _pool_key(value: object, type_: object) -> tuple | None:
    if isinstance(value, (tuple, list)):
        return (type_, value.__class__, repr(value))
    return interning_key(value, type_)


def _order_outputs(graph: EmitGraph) -> None:
    """The outputs of branches and loops stand in the order of their first uses."""
    places: dict[object, int] = {}

    def number(block: Block) -> None:
        for node in block.nodes:
            places[node] = len(places)
            for inner in node.blocks:
                number(inner)
        places[block] = len(places)

    number(graph.block)

    def first_use(value: Value) -> tuple:
        uses = [(places[use.user], use.index) for use in value.uses]
        return min(uses) if uses else (len(places), 0)

    def visit(block: Block) -> None:
        for node in reversed(block.nodes):  # users first: their orders decide those before them
            if node.kind in ("prim::If", "prim::Loop") and len(node.outputs) > 1:
                _sort(graph, node, [first_use(v) for v in node.outputs])
            for inner in node.blocks:
                visit(inner)

    visit(graph.block)


def _sort(graph: EmitGraph, node: Node, keys: list[tuple]) -> None:
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    if order == list(range(len(keys))):
        return
    builder = Builder(graph)
    node.outputs[:] = [node.outputs[i] for i in order]
    skip = 1 if node.kind == "prim::Loop" else 0
    for block in node.blocks:
        outputs = list(block.outputs)
        if skip:
            block.params[1:] = [block.params[1 + i] for i in order]
        builder.set_outputs(block, outputs[:skip] + [outputs[skip + i] for i in order])
    if skip:
        inputs = list(node.inputs)
        while node.inputs:
            builder.remove_input(node, len(node.inputs) - 1)
        for value in inputs[:2] + [inputs[2 + i] for i in order]:
            builder.add_input(node, value)
