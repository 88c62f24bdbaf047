"""Simplifications of single nodes, which TorchScript makes in functions before it inlines them.

Each rule gives the value that takes the place of a node's output, or None where it does not apply:

    aten::Int(prim::NumToTensor(n))       ~>  n        also Float, Bool, ScalarImplicit ...
    prim::unchecked_cast(x)               ~>  x        where x has the type already
    aten::__is__(x, None)                 ~>  False    where x cannot be None
    aten::len([a, b]), [a, b][1]          ~>  2, b     where nothing writes into the list
    n + 0, n - 0, n * 1, n // 1           ~>  n
    2 + n                                 ~>  n + 2
    aten::dim(aten::conv2d(...))          ~>  4        where nothing writes into the result
    if c: True else: False                ~>  c        also None, where that is the type
    aten::t(aten::t(x))                   ~>  x
    aten::cat([a, aten::cat([b, c])])     ~>  aten::cat([a, b, c])  the first that is one, once
"""

from __future__ import annotations

from aot.script.dead_code import written_values
from lowering import types
from lowering.graph import Block, Graph, Node, Value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.types import OptionalType, Type, UnionType

_FROM_TENSOR = frozenset("aten::Int aten::Float aten::Bool aten::IntImplicit aten::FloatImplicit "
                         "aten::ScalarImplicit aten::item".split())
_CONVOLUTIONS = {"aten::conv1d": 3, "aten::conv2d": 4, "aten::conv3d": 5}
_NEUTRAL = {"aten::add": 0, "aten::sub": 0, "aten::mul": 1, "aten::floordiv": 1, "aten::div": 1}


def simplify(graph: Graph) -> bool:
    """Apply the rules to all nodes; True if one did."""
    return _block(graph, graph.block, Aliases(graph))


def _block(graph: Graph, block: Block, aliases: Aliases) -> bool:
    changed = False
    for node in list(block.nodes):
        for inner in node.blocks:
            changed |= _block(graph, inner, aliases)
        builder = Builder(graph, block, node)
        builder.range = node.range
        if node.kind == "aten::cat":
            changed |= _flatten_cat(node, builder)
        for index, output in enumerate(node.outputs):
            value = _replacement(node, index, builder, aliases)
            if value is not None and output.uses:
                builder.replace_uses(output, value)
                changed = True
    return changed


def _replacement(node: Node, index: int, builder: Builder, aliases: Aliases) -> Value | None:
    if node.kind == "prim::If":
        return _choice(node, index, builder)
    if len(node.outputs) != 1 or not node.inputs:
        return None
    first, source = node.inputs[0], node.inputs[0].node
    if node.kind in _FROM_TENSOR:
        made = source is not None and source.kind == "prim::NumToTensor"
        return source.inputs[0] if made and _fits(source.inputs[0], node.output.type) else None
    if node.kind == "prim::unchecked_cast":
        return first if types.is_subtype(first.type, node.output.type) else None
    if node.kind in ("aten::__is__", "aten::__isnot__"):
        return _identity(node, builder)
    if node.kind == "aten::t" and source is not None and source.kind == "aten::t":
        return source.inputs[0]
    if node.kind in _NEUTRAL:
        return _neutral(node, builder)
    if node.kind == "aten::dim" and source is not None and source.kind in _CONVOLUTIONS:
        rank = _CONVOLUTIONS[source.kind]
        return None if aliases.is_written(first) else _number(rank, builder)
    if source is not None and source.kind == "prim::ListConstruct" and _only_read(first):
        return _of_list(node, source, builder)
    return None


def _only_read(made: Value) -> bool:
    """Whether all that uses a list are operators that do not write into it."""
    return all(
        isinstance(use.user, Node) and use.user.kind.startswith("aten::")
        and made not in (written_values(use.user) or ()) for use in made.uses)


def _flatten_cat(node: Node, builder: Builder) -> bool:
    """A concatenation whose first concatenated part has no other use takes in its parts."""
    listed = node.inputs[0].node
    if listed is None or listed.kind != "prim::ListConstruct" or not _only_read(listed.output):
        return False
    inner = next((v for v in listed.inputs if v.node is not None and v.node.kind == "aten::cat"),
                 None)
    if inner is None or len(inner.uses) != 1:
        return False
    parts, dims = inner.node.inputs[0].node, (inner.node.inputs[1], node.inputs[1])
    if parts is None or parts.kind != "prim::ListConstruct" or not all(
        v.is_constant and v.constant == dims[0].constant for v in dims
    ):
        return False
    flat = [p for v in listed.inputs for p in (parts.inputs if v is inner else [v])]
    builder.set_input(node, 0, builder.op("prim::ListConstruct", flat, node.inputs[0].type))
    return True


def _fits(value: Value, wanted: Type) -> bool:
    return value.type == wanted or wanted == types.Number


def _number(value: int, builder: Builder) -> Value:
    return builder.op("prim::Constant", (), types.Int, attributes={"value": value})


def _choice(node: Node, index: int, builder: Builder) -> Value | None:
    """The condition itself, where the branches give True and False; None, where nothing else can
    come."""
    if node.outputs[index].type == types.NoneT and node.outputs[index].uses:
        return builder.op("prim::Constant", (), types.NoneT)
    ends = [block.outputs[index] for block in node.blocks]
    if all(v.is_constant for v in ends) and ends[0].constant is True and ends[1].constant is False:
        return node.inputs[0]
    return None


def _identity(node: Node, builder: Builder) -> Value | None:
    left, right = (v.type for v in node.inputs)
    if left == right == types.NoneT:
        known = True
    elif types.NoneT in (left, right) and not (_may_be_none(left) and _may_be_none(right)):
        known = False
    else:
        return None
    value = known if node.kind == "aten::__is__" else not known
    return builder.op("prim::Constant", (), types.Bool, attributes={"value": value})


def _may_be_none(type_: Type) -> bool:
    return isinstance(type_, (OptionalType, UnionType)) or type_ in (types.NoneT, types.Any)


def _neutral(node: Node, builder: Builder) -> Value | None:
    if len(node.inputs) != 2 or node.output.type not in (types.Int, types.Float):
        return None
    left, right = node.inputs
    wanted = _NEUTRAL[node.kind]
    if _is_number(right, wanted) and left.type == node.output.type:
        return left
    if node.kind not in ("aten::add", "aten::mul") or right.type != node.output.type:
        return None
    if _is_number(left, wanted):
        return right
    if left.is_constant and not right.is_constant and left.type == types.Int:
        builder.set_input(node, 0, right)
        builder.set_input(node, 1, left)
    return None


def _is_number(value: Value, wanted: int) -> bool:
    return value.is_constant and value.type == types.Int and value.constant == wanted


def _of_list(node: Node, made: Node, builder: Builder) -> Value | None:
    if node.kind == "aten::len":
        return _number(len(made.inputs), builder)
    if node.kind == "aten::__getitem__" and node.inputs[1].is_constant:
        at = node.inputs[1].constant
        if isinstance(at, int) and -len(made.inputs) <= at < len(made.inputs):
            return made.inputs[at]
    return None
