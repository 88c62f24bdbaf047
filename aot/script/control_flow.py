"""From variables to SSA: branches return and loops carry what they assign.

Works on the Graph as the emitter leaves it: variables are `prim::Store` and `prim::Load`, a loop
has two blocks (its condition, its body), `break` and `continue` are nodes.
"""

from __future__ import annotations

from aot.script.emit_graph import EmitGraph
from lowering import types
from lowering.graph import Block, Node, Value
from lowering.graph_builder import Builder
from lowering.types import Type


def to_ssa(graph: EmitGraph) -> None:
    """Variables become SSA values; `break` and `continue` become `prim::LoopContinuation`."""
    _Joins(graph).block(graph.block, {})
    _Continuations(graph).run()
    _Renamer(graph).block(graph.block, {})


class _Joins:
    """Adds the outputs of branches and loops, with loads and stores for them."""

    def __init__(self, graph: EmitGraph) -> None:
        self.graph = graph

    def block(self, block: Block, outer: dict[str, Type]) -> dict[str, Type]:
        """The variables that the block stores, with the types of their last values."""
        known, stored = dict(outer), {}
        for node in list(block.nodes):
            if node.kind == "prim::Store":
                known[node.attributes["name"]] = stored[node.attributes["name"]] = (
                    node.inputs[0].type
                )
            elif node.kind == "prim::If":
                new = self.branch(node, known)
            elif node.kind == "prim::Loop":
                new = self.loop(node, known)
            if node.kind in ("prim::If", "prim::Loop"):
                known.update(new)
                stored.update(new)
        return stored

    def branch(self, node: Node, known: dict[str, Type]) -> dict[str, Type]:
        stored = [self.block(block, known) for block in node.blocks]
        ends = [{**known, **own} for own in stored]
        changed = {name for own in stored for name in own}
        new = {}
        for name in sorted(changed):
            if not all(name in end for end in ends):
                continue
            # Two types that do not meet are those of a Union, or nothing is read afterwards.
            found = ends[0][name], ends[1][name]
            type_ = types.unify(*found) or types.union_of(*found)
            for block, end in zip(node.blocks, ends):
                self.load(Builder(self.graph, block), block, name, end[name])
            new[name] = self.output(node, name, type_)
        self.stores(node, new)
        return new

    def loop(self, node: Node, known: dict[str, Type]) -> dict[str, Type]:
        condition, body = node.blocks
        after = {**known, **self.block(condition, known)}
        stored = self.block(body, after)
        carried = sorted(n for n in stored if n in known)
        new = {}
        first = body.nodes[0] if body.nodes else None
        for name in carried:
            self.load(Builder(self.graph, node.owner, node), node, name, known[name])
            builder = Builder(self.graph, body)
            found = stored[name], known[name]
            type_ = types.unify(*found) or types.union_of(*found)
            param = builder.add_param(body, type_)
            self.graph.set_name(param, name)
            if first is None:
                builder.node("prim::Store", [param], (), {"name": name})
            else:
                Builder(self.graph, body, first).node("prim::Store", [param], (), {"name": name})
            self.load(Builder(self.graph, body), body, name, stored[name])
            new[name] = self.output(node, name, type_)
        self.stores(node, new)
        return new

    def load(self, builder: Builder, user: Node | Block, name: str, type_: Type) -> None:
        value = builder.node("prim::Load", (), (type_,), {"name": name}).output
        builder.add_input(user, value)

    def output(self, node: Node, name: str, type_: Type) -> Type:
        value = Builder(self.graph).add_output(node, type_)
        self.graph.name_variable(value, name)
        return type_

    def stores(self, node: Node, new: dict[str, Type]) -> None:
        nodes = node.owner.nodes
        position = nodes.index(node) + 1
        before = nodes[position] if position < len(nodes) else None
        builder = Builder(self.graph, node.owner, before)
        for name, value in zip(new, node.outputs[len(node.outputs) - len(new) :]):
            builder.node("prim::Store", [value], (), {"name": name})


class _Continuations:
    """Inlines the conditions of loops, and says what `break` and `continue` hand on."""

    def __init__(self, graph: EmitGraph) -> None:
        self.graph = graph

    def run(self) -> None:
        block = self.graph.block
        first = block.nodes[0] if block.nodes else None
        builder = Builder(self.graph, block, first)
        self.false = builder.op("prim::Constant", (), types.Bool, attributes={"value": False})
        self.block(block, None)

    def block(self, block: Block, loop: Node | None) -> None:
        for node in list(block.nodes):
            if node.kind in ("prim::BreakStmt", "prim::ContinueStmt"):
                self.jump(node, loop)
            elif node.kind == "prim::Loop":
                self.block(node.blocks[0], loop)
                self.block(node.blocks[1], node)
                self.inline(node)
            else:
                for inner in node.blocks:
                    self.block(inner, loop)

    def jump(self, node: Node, loop: Node) -> None:
        builder = Builder(self.graph, node.owner, node)
        builder.range = node.range
        if node.kind == "prim::BreakStmt":
            values = [self.false]
        else:
            values = [self.copy_condition(loop.blocks[0], builder)]
        for value in loop.blocks[1].outputs:
            name = value.node.attributes["name"]
            values.append(builder.op("prim::Load", (), value.type, attributes={"name": name}))
        builder.node("prim::LoopContinuation", values)
        builder.erase(node)

    def inline(self, loop: Node) -> None:
        condition, body = loop.blocks
        before = self.copy_condition(condition, Builder(self.graph, loop.owner, loop))
        builder = Builder(self.graph)
        inputs, outputs = list(loop.inputs), list(body.outputs)
        while loop.inputs:
            builder.remove_input(loop, len(loop.inputs) - 1)
        for value in (inputs[0], before, *inputs[1:]):
            builder.add_input(loop, value)
        again = condition.outputs[0]
        builder.set_outputs(condition, [])
        for node in condition.nodes:
            node.owner = body
            body.nodes.append(node)
        condition.nodes = []
        builder.set_outputs(body, [again, *outputs])
        loop.blocks = [body]

    def copy_condition(self, condition: Block, builder: Builder) -> Value:
        mapping: dict[Value, Value] = {}
        clone_nodes(self.graph, condition.nodes, builder, mapping)
        result = condition.outputs[0]
        return mapping.get(result, result)


class _Renamer:
    """Replaces each load by the value that was stored, and drops loads and stores."""

    def __init__(self, graph: EmitGraph) -> None:
        self.graph = graph
        self.builder = Builder(graph)

    def block(self, block: Block, outer: dict[str, Value]) -> None:
        known = dict(outer)
        for node in list(block.nodes):
            if node.kind == "prim::Store":
                known[node.attributes["name"]] = node.inputs[0]
                self.builder.erase(node)
            elif node.kind == "prim::Load":
                self.builder.replace_uses(node.output, known[node.attributes["name"]])
                self.builder.erase(node)
            else:
                for inner in node.blocks:
                    self.block(inner, known)


def clone_nodes(
    graph: EmitGraph, nodes: list[Node], builder: Builder, mapping: dict[Value, Value]
) -> None:
    """Insert copies of nodes; `mapping` sends their outer values on, and gains their outputs."""
    for node in nodes:
        inputs = [mapping.get(v, v) for v in node.inputs]
        copy = builder.node(
            node.kind, inputs, [v.type for v in node.outputs], node.attributes, node.kwarg_names,
            range=node.range,
        )
        copy.overload = node.overload
        for old, new in zip(node.outputs, copy.outputs):
            graph.copy_name(old, new)
            mapping[old] = new
        for block in node.blocks:
            target = builder.add_block(copy)
            for param in block.params:
                mapping[param] = builder.add_param(target, param.type)
                graph.copy_name(param, mapping[param])
            clone_nodes(graph, block.nodes, builder.at_end(target), mapping)
            for value in block.outputs:
                builder.add_input(target, mapping.get(value, value))
