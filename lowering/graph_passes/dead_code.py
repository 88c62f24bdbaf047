"""Removes what nothing reads."""

from __future__ import annotations

from typing import Callable

from lowering.graph import Block, Graph, Node, Value
from lowering.graph_builder import Builder
from lowering.graph_effects import has_effect


def eliminate_dead_code(graph: Graph) -> bool:
    """Remove nodes without effect whose outputs nothing reads; True if the graph changed.

        %2 : Tensor = aten::relu(%x)
        return (%x)
    ~>
        return (%x)

    A value that a loop only carries from one iteration to the next is not read.
    """
    return _sweep(graph, lambda node: not has_effect(node))


def drop_unused_results(graph: Graph) -> bool:
    """Remove the outputs of `prim::If` and `prim::Loop` that nothing reads; no node goes, except
    constants. True if the graph changed.

        %a : int, %b : int = prim::If(%c)
          block0(): -> (%1, %2)
          block1(): -> (%3, %4)
        return (%a)
    ~>
        %a : int = prim::If(%c)
          block0(): -> (%1)
          block1(): -> (%3)
        return (%a)
    """
    return _sweep(graph, lambda node: node.kind == "prim::Constant")


def _sweep(graph: Graph, removable: Callable[[Node], bool]) -> bool:
    nodes, values = _live(graph, removable)
    builder = Builder(graph)
    live = [node for node in graph.nodes() if node in nodes]
    slots = [(node, index) for node in live for index in _dead_slots(node, values)]
    for node, index in slots:
        _drop_operands(node, index, builder)
    changed = _drop_nodes(graph.block, builder, nodes)
    for node, index in slots:
        if node.kind == "prim::Loop":
            builder.remove_param(node.blocks[0], index + 1)
        builder.remove_output(node, index)
    return changed or bool(slots)


def _live(graph: Graph, removable: Callable[[Node], bool]) -> tuple[set[Node], set[Value]]:
    """The nodes that must stay, and the values that are read."""
    nodes: set[Node] = set()
    values: set[Value] = set()
    pending: list[Node | Value] = list(graph.outputs)
    pending += [node for node in graph.nodes() if not removable(node)]
    while pending:
        item = pending.pop()
        if isinstance(item, Value):
            if item not in values:
                values.add(item)
                pending += _sources(item)
        elif item not in nodes:
            nodes.add(item)
            if item.owner.owner is not None:
                pending.append(item.owner.owner)
            if item.kind == "prim::Loop":
                # Carried values are read only if their slot is; see _sources.
                pending += [*item.inputs[:2], item.blocks[0].outputs[0]]
            else:
                pending += item.inputs
    return nodes, values


def _sources(value: Value) -> list[Node | Value]:
    """What must be live because `value` is."""
    if value.node is None:
        loop = value.block.owner
        if loop is None or loop.kind != "prim::Loop":
            return []
        slot = value.block.params.index(value) - 1
        return [loop] if slot < 0 else [loop, *_slot(loop, slot)]
    if value.node.kind == "prim::If":
        index = value.node.outputs.index(value)
        return [value.node, *(block.outputs[index] for block in value.node.blocks)]
    if value.node.kind == "prim::Loop":
        return [value.node, *_slot(value.node, value.node.outputs.index(value))]
    return [value.node]


def _slot(loop: Node, slot: int) -> list[Value]:
    """The values that flow into carried value `slot` of a loop."""
    return [loop.inputs[slot + 2], loop.blocks[0].outputs[slot + 1]]


def _dead_slots(node: Node, values: set[Value]) -> list[int]:
    """The results of an If or Loop that nothing reads, last first."""
    if node.kind not in ("prim::If", "prim::Loop"):
        return []
    dead = []
    for index in range(len(node.outputs) - 1, -1, -1):
        param = node.blocks[0].params[index + 1] if node.kind == "prim::Loop" else None
        if node.outputs[index] not in values and param not in values:
            dead.append(index)
    return dead


def _drop_operands(node: Node, index: int, builder: Builder) -> None:
    """Take what flows into result `index` away; its output and parameter are still there."""
    if node.kind == "prim::If":
        for block in node.blocks:
            builder.remove_input(block, index)
    else:
        builder.remove_input(node, index + 2)
        builder.remove_input(node.blocks[0], index + 1)


def _drop_nodes(block: Block, builder: Builder, nodes: set[Node]) -> bool:
    changed = False
    # Nested blocks first: what is dead in them may use what is dead here. A dead node goes whole.
    for node in block.nodes:
        for inner in node.blocks if node in nodes else ():
            changed |= _drop_nodes(inner, builder, nodes)
    return builder.keep_nodes(block, lambda node: node in nodes) or changed
