"""Computes equal things once."""

from __future__ import annotations

from lowering.graph import Block, Graph, Node, Value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.graph_effects import has_effect
from lowering.types import DictType, ListType

_NOT_SHARED = frozenset(
    """prim::Constant prim::CreateObject prim::Uninitialized prim::If prim::Loop prim::GetAttr
    aten::empty aten::empty_like aten::new_empty""".split()
)


def share_common(graph: Graph) -> bool:
    """Let a node that computes what an earlier node computed be that node; True if any was.

        %1 : int = aten::size(%x, %0)
        %2 : int = aten::size(%x, %0)
        %3 : int = aten::add(%1, %2)
    ~>
        %1 : int = aten::size(%x, %0)
        %3 : int = aten::add(%1, %1)

    Only nodes without effect; and none whose arguments or results any node of the graph may write
    into, since then it matters when it runs, and which of two equal tensors is written.
    """
    return _share(graph.block, {}, Aliases(graph), Builder(graph))


def _share(
    block: Block, outer: dict[tuple, Node], aliases: Aliases, builder: Builder
) -> bool:
    changed = False
    known = dict(outer)  # what is computed in a block is not known behind it
    for node in block.nodes:
        for inner in node.blocks:
            changed |= _share(inner, known, aliases, builder)
        if node.kind in _NOT_SHARED or has_effect(node) or not node.outputs:
            continue
        if any(aliases.is_written(v) for v in (*node.inputs, *node.outputs)):
            continue
        if any(isinstance(v.type, (ListType, DictType)) and _leaves(v) for v in node.outputs):
            continue
        earlier = known.setdefault(_key(node), node)
        if earlier is not node:
            for old, new in zip(node.outputs, earlier.outputs):
                if old.uses:
                    builder.replace_uses(old, new)
                    changed = True
    return changed


def _leaves(value: Value) -> bool:
    """Whether a container is handed out of the graph, where somebody may write into it."""
    return any(isinstance(use.user, Block) for use in value.uses)


def _key(node: Node) -> tuple:
    attributes = tuple((k, _hashable(v)) for k, v in sorted(node.attributes.items()))
    types = tuple(v.type for v in node.outputs)
    return (node.kind, node.kwarg_names, tuple(map(id, node.inputs)), attributes, types)


def _hashable(value: object) -> object:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return value if isinstance(value, (int, str, float, type(None))) else id(value)
