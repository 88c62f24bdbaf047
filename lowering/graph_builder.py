"""Makes and changes Graphs; the only door through which they change."""

from __future__ import annotations

from typing import Callable

from lowering.graph import Block, Function, Graph, Node, SourceRange, Use, Value, type_of_value
from lowering.objects import DeviceValue, EnumValue, ScriptObject, TensorData
from lowering.types import Type


def interning_key(value: object, type: Type) -> tuple | None:
    """What two equal constants have in common; None for values that are never shared."""
    if value is None or isinstance(value, (bool, int, str)):
        return (type, value.__class__, value)
    if isinstance(value, (float, complex)):
        return (type, value.__class__, repr(value))  # tells 0.0 from -0.0, and nan is itself
    if isinstance(value, (EnumValue, DeviceValue)):
        return (value.__class__, value)
    if isinstance(value, (TensorData, ScriptObject, Function)):
        return (value.__class__, id(value))  # the interned constant keeps the value alive
    return None


class Builder:
    """Makes and changes nodes, at an insertion point: the end of `block`, or before `before`."""

    def __init__(self, graph: Graph, block: Block | None = None, before: Node | None = None):
        self.graph = graph
        self.block = block if block is not None else graph.block
        self.before = before
        self.range: SourceRange | None = None  # given to nodes that are not told another

    def at_end(self, block: Block) -> Builder:
        """Another builder that appends to `block`."""
        other = Builder(self.graph, block)
        other.range = self.range
        return other

    # --- making -------------------------------------------------------------------------------

    def node(
        self,
        kind: str,
        inputs: list[Value] | tuple[Value, ...] = (),
        output_types: list[Type] | tuple[Type, ...] = (),
        attributes: dict[str, object] | None = None,
        kwarg_names: tuple[str, ...] = (),
        names: tuple[str | None, ...] = (),
        range: SourceRange | None = None,
    ) -> Node:
        """Insert a node. `names` are hints for the outputs, made unique."""
        node = Node(kind, self.block, range if range is not None else self.range)
        node.kwarg_names = kwarg_names
        if attributes:
            node.attributes.update(attributes)
        for value in inputs:
            self.add_input(node, value)
        for i, type in enumerate(output_types):
            self.add_output(node, type, names[i] if i < len(names) else None)
        self._insert(node)
        return node

    def op(self, kind: str, inputs: list[Value] | tuple[Value, ...], type: Type, **more) -> Value:
        """Insert a node with one output and return the output."""
        return self.node(kind, inputs, (type,), **more).output

    def constant(
        self, value: object, type: Type | None = None, range: SourceRange | None = None
    ) -> Value:
        """A prim::Constant at the head of the graph; equal scalars are one constant."""
        type = type_of_value(value) if type is None else type
        key = interning_key(value, type)
        known = self.graph._interned.get(key) if key is not None else None
        if known is not None:
            return known
        block = self.graph.block
        node = Node("prim::Constant", block, range if range is not None else self.range)
        if value is not None:
            node.attributes["value"] = value
        self.add_output(node, type)
        block.nodes.insert(self.graph.constants, node)
        self.graph.constants += 1
        if key is not None:
            self.graph._interned[key] = node.outputs[0]
        return node.outputs[0]

    def add_block(self, node: Node) -> Block:
        block = Block(self.graph, node)
        node.blocks.append(block)
        return block

    def add_param(self, block: Block, type: Type, name: str | None = None) -> Value:
        value = Value(self.graph.unique_name(name), type, None, block)
        block.params.append(value)
        return value

    def add_output(self, node: Node, type: Type, name: str | None = None) -> Value:
        value = Value(self.graph.unique_name(name), type, node, None)
        node.outputs.append(value)
        return value

    def add_input(self, user: Node | Block, value: Value) -> None:
        """Append an input to a node, or an output to a block."""
        operands = _operands(user)
        value.uses[Use(user, len(operands))] = None
        operands.append(value)

    def set_outputs(self, block: Block, values: list[Value] | tuple[Value, ...]) -> None:
        while block.outputs:
            self.remove_input(block, len(block.outputs) - 1)
        for value in values:
            self.add_input(block, value)

    # --- changing -----------------------------------------------------------------------------

    def set_input(self, user: Node | Block, index: int, value: Value) -> None:
        operands = _operands(user)
        del operands[index].uses[Use(user, index)]
        operands[index] = value
        value.uses[Use(user, index)] = None

    def remove_input(self, user: Node | Block, index: int) -> None:
        """Drop one input of a node or output of a block; those after it move up."""
        operands = _operands(user)
        for i in range(index, len(operands)):
            del operands[i].uses[Use(user, i)]
        del operands[index]
        for i in range(index, len(operands)):
            operands[i].uses[Use(user, i)] = None

    def remove_output(self, node: Node, index: int) -> None:
        """Drop one output of a node; ValueError if it is used."""
        _require_unused(node.outputs[index])
        self.graph._names.discard(node.outputs[index].name)
        del node.outputs[index]

    def remove_param(self, block: Block, index: int) -> None:
        """Drop one parameter of a block; ValueError if it is used."""
        _require_unused(block.params[index])
        self.graph._names.discard(block.params[index].name)
        del block.params[index]

    def replace_uses(self, old: Value, new: Value) -> None:
        """Let every user of `old` use `new`."""
        if old is new:
            return
        for use in old.uses:
            _operands(use.user)[use.index] = new
        new.uses.update(old.uses)
        old.uses.clear()

    def erase(self, node: Node) -> None:
        """Take a node and what is nested in it out; ValueError if an output is used."""
        for value in node.outputs:
            _require_unused(value)
        self._release(node)
        nodes = node.owner.nodes
        position = nodes.index(node)
        if node.owner is self.graph.block and position < self.graph.constants:
            self.graph.constants -= 1
        del nodes[position]

    def keep_nodes(self, block: Block, keep: Callable[[Node], bool]) -> bool:
        """Erase the nodes of a block for which `keep` is false, last first; True if there were any.

        One pass over the block however many nodes go. `keep` sees a node after those that follow
        it have gone, so that it may ask whether the node's outputs are still used.
        """
        kept: list[Node] = []
        constants = self.graph.constants if block is self.graph.block else 0
        gone_constants = 0
        for position in range(len(block.nodes) - 1, -1, -1):
            node = block.nodes[position]
            if keep(node):
                kept.append(node)
                continue
            for value in node.outputs:
                _require_unused(value)
            self._release(node)
            gone_constants += position < constants
        changed = len(kept) != len(block.nodes)
        if changed:
            block.nodes[:] = reversed(kept)
            if block is self.graph.block:
                self.graph.constants -= gone_constants
        return changed

    def replace_by_block(self, node: Node, block: Block) -> None:
        """Put the nodes of one of a node's blocks, which has no parameters, in the node's place."""
        for output, value in zip(node.outputs, block.outputs):
            self.replace_uses(output, value)
        self.set_outputs(block, [])
        moved, block.nodes = block.nodes, []
        for inner in moved:
            inner.owner = node.owner
        nodes = node.owner.nodes
        position = nodes.index(node)
        self.erase(node)
        nodes[position:position] = moved

    def rename(self, value: Value, hint: str | None) -> None:
        self.graph._names.discard(value.name)
        value.name = self.graph.unique_name(hint)

    def set_name(self, value: Value, name: str) -> None:
        """Give a value exactly this name; ValueError if another value has it."""
        self.graph._names.discard(value.name)
        if name in self.graph._names:
            raise ValueError(f"two values are named %{name}")
        self.graph._names.add(name)
        value.name = name

    def adopt_constants(self) -> None:
        """Count and intern the constants that stand at the head of the graph already."""
        graph = self.graph
        graph.constants = 0
        for node in graph.block.nodes:
            if node.kind != "prim::Constant":
                break
            graph.constants += 1
            value = node.outputs[0]
            key = interning_key(node.attributes.get("value"), value.type)
            if key is not None:
                graph._interned.setdefault(key, value)

    # --- copying ------------------------------------------------------------------------------

    def copy_nodes(self, nodes: list[Node], mapping: dict[Value, Value]) -> None:
        """Insert copies of `nodes` here; `mapping` sends their outer values to values of this
        graph and gains their outputs. Constants are interned."""
        for node in nodes:
            if node.kind == "prim::Constant":
                old = node.outputs[0]
                mapping[old] = self.constant(node.attributes.get("value"), old.type, node.range)
                continue
            copy = self.node(
                node.kind,
                [mapping[v] for v in node.inputs],
                [v.type for v in node.outputs],
                node.attributes,
                node.kwarg_names,
                tuple(v.name for v in node.outputs),
                node.range,
            )
            copy.overload = node.overload
            mapping.update(zip(node.outputs, copy.outputs))
            for block in node.blocks:
                self.copy_block(block, self.add_block(copy), mapping)

    def copy_block(self, source: Block, target: Block, mapping: dict[Value, Value]) -> None:
        """Fill an empty block with a copy of another one: parameters, nodes and outputs."""
        for param in source.params:
            mapping[param] = self.add_param(target, param.type, param.name)
        self.at_end(target).copy_nodes(source.nodes, mapping)
        for value in source.outputs:
            self.add_input(target, mapping[value])

    def _insert(self, node: Node) -> None:
        if self.before is None:
            self.block.nodes.append(node)
        else:
            self.block.nodes.insert(self.block.nodes.index(self.before), node)

    def _release(self, node: Node) -> None:
        for i, value in enumerate(node.inputs):
            del value.uses[Use(node, i)]
        node.inputs = []
        for block in node.blocks:
            for i, value in enumerate(block.outputs):
                del value.uses[Use(block, i)]
            block.outputs = []
            for inner in reversed(block.nodes):
                self._release(inner)
            for value in block.params:
                self.graph._names.discard(value.name)
        for value in node.outputs:
            self.graph._names.discard(value.name)
            if node.kind == "prim::Constant":
                key = interning_key(node.attributes.get("value"), value.type)
                if key is not None and self.graph._interned.get(key) is value:
                    del self.graph._interned[key]


def _operands(user: Node | Block) -> list[Value]:
    return user.inputs if isinstance(user, Node) else user.outputs


def _require_unused(value: Value) -> None:
    if value.uses:
        raise ValueError(f"%{value.name} is still used by {next(iter(value.uses)).user}")


def copy_graph(graph: Graph) -> Graph:
    """A graph of its own with the same text up to numbering."""
    copy = Graph()
    Builder(copy).copy_block(graph.block, copy.block, {})
    return copy
