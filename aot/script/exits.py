"""Lowers early exits: `return`, `break` and `continue` in the middle become branches and flags.

A block that may exit early hands on whether it did, and with which values; what follows it runs
only if it did not. Where the flag is known on both paths, the two branches become one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from aot.script.control_flow import clone_nodes
from aot.script.emit_graph import EmitGraph
from lowering import types
from lowering.graph import Block, Node, Value
from lowering.graph_builder import Builder
from lowering.types import Type

_NO_LIMIT = 2**63 - 1


def lower_exits(graph: EmitGraph, returns: Type) -> None:
    """Afterwards no node leaves its block early."""
    _Exits(graph, "prim::LoopContinuation", []).run()
    _Exits(graph, "prim::ReturnStmt", [returns]).run()
    _fuse_branches(graph, graph.block)
    _unfold_counts(graph, graph.block)


class _Status(Enum):
    WILL = "exits on every path"
    MIGHT = "exits on some path"
    WONT = "does not exit"
    THROWS = "raises on every path"


@dataclass
class _Exit:
    status: _Status
    has: Value | None = None
    values: list[Value] = field(default_factory=list)


class _Exits:
    """One pass: `kind` is the node that exits, `types` those of the values it hands on."""

    def __init__(self, graph: EmitGraph, kind: str, types_: list[Type]) -> None:
        self.graph = graph
        self.kind = kind
        self.types = types_
        self.builder = Builder(graph)
        block = graph.block
        first = block.nodes[0] if block.nodes else None
        head = Builder(graph, block, first)
        self.true = head.op("prim::Constant", (), types.Bool, attributes={"value": True})
        self.false = head.op("prim::Constant", (), types.Bool, attributes={"value": False})
        # By the identity of the type, as PyTorch has it: equal types may have several.
        self.placeholders: dict[int, tuple[Type, Value]] = {}
        self.nothing(types.Bool)

    def nothing(self, type_: Type) -> Value:
        """A value that no path reads."""
        known = self.placeholders.get(id(type_))
        if known is not None:
            return known[1]
        block = self.graph.block
        head = Builder(self.graph, block, block.nodes[0])
        value = head.op("prim::Uninitialized", (), type_)
        self.placeholders[id(type_)] = type_, value
        return value

    def run(self) -> None:
        block = self.graph.block
        found = self.block(block)
        if found.status in (_Status.WILL, _Status.MIGHT):
            self.builder.set_outputs(block, found.values)

    # --- blocks -------------------------------------------------------------------------------

    def block(self, block: Block) -> _Exit:
        result = _Exit(_Status.WONT)
        for node in list(block.nodes):
            if node.kind == "prim::RaiseException":
                result = _Exit(_Status.THROWS)
                self.cut(block, node, keep=True)
            elif node.kind == self.kind:
                result = _Exit(_Status.WILL, self.true, list(node.inputs))
                self.cut(block, node, keep=False)
            elif node.kind == "prim::If":
                result = self.branch(node, [self.block(b) for b in node.blocks])
                if result.status in (_Status.WILL, _Status.THROWS):
                    self.cut(block, node, keep=True)
                elif result.status is _Status.MIGHT and block.nodes[-1] is not node:
                    result = self.guard(block, node, result)
            elif node.kind == "prim::Loop":
                result = self.loop(node)
                if result.status is _Status.MIGHT and block.nodes[-1] is not node:
                    result = self.guard(block, node, result)
            if result.status is not _Status.WONT:
                break
        return result

    def cut(self, block: Block, node: Node, keep: bool) -> None:
        """Drop what stands after a node that ends the block."""
        position = block.nodes.index(node) + keep
        gone = block.nodes[position:]  # taken now: placeholders are put before all nodes
        for output in list(block.outputs):
            if output.node in gone:
                index = block.outputs.index(output)
                self.builder.set_input(block, index, self.nothing(output.type))
        for dead in reversed(gone):
            for value in dead.outputs:
                for use in list(value.uses):
                    self.builder.set_input(use.user, use.index, self.nothing(value.type))
            self.builder.erase(dead)

    def branch(self, node: Node, exits: list[_Exit]) -> _Exit:
        status = {e.status for e in exits}
        if status == {_Status.THROWS}:
            return _Exit(_Status.THROWS)
        if not status & {_Status.WILL, _Status.MIGHT}:
            return _Exit(_Status.WONT)
        will = status <= {_Status.WILL, _Status.THROWS}
        stated = next(e.values for e in exits if e.values or e.has is not None)
        ends = []
        for found in exits:
            has, values = found.has, found.values
            if not values and has is None:
                thrown = found.status is _Status.THROWS
                has = self.nothing(types.Bool) if thrown else self.false
                values = [self.nothing(v.type) for v in stated]
            ends.append([*([] if will else [has]), *values])
        result = _Exit(_Status.WILL if will else _Status.MIGHT, self.true)
        given = [e.values for e in exits if e.values or e.has is not None]
        agreed = [
            values[0].type if all(v.type == values[0].type for v in values) else type_
            for type_, values in zip(self.types, zip(*given))
        ]
        wanted = [*([] if will else [types.Bool]), *agreed]
        added = []
        for type_, *values in zip(wanted, *ends):
            for block, value in zip(node.blocks, values):
                self.builder.add_input(block, value)
            added.append(self.builder.add_output(node, type_))
        if not will:
            result.has = added.pop(0)
        result.values = added
        return result

    def guard(self, block: Block, node: Node, exit_: _Exit) -> _Exit:
        """What follows `node` runs only if it did not exit."""
        position = block.nodes.index(node) + 1
        rest = block.nodes[position:]
        del block.nodes[position:]
        builder = Builder(self.graph, block)
        guard = builder.node("prim::If", [exit_.has])
        early, late = builder.add_block(guard), builder.add_block(guard)
        for moved in rest:
            moved.owner = late
        late.nodes = rest
        outputs = list(block.outputs)
        builder.set_outputs(block, [])
        for value in outputs:
            builder.add_input(early, self.nothing(value.type))
            builder.add_input(late, value)
        passed = [builder.add_output(guard, v.type) for v in outputs]
        builder.set_outputs(block, passed)
        later = self.block(late)
        return self.branch(guard, [_Exit(_Status.WILL, self.true, exit_.values), later])

    # --- loops --------------------------------------------------------------------------------

    def loop(self, node: Node) -> _Exit:
        body = node.blocks[0]
        if self.kind == "prim::LoopContinuation":
            outer, self.types = self.types, [v.type for v in body.outputs]
            self.continued(body)
            self.types = outer
            return _Exit(_Status.WONT)
        found = self.block(body)
        if found.status in (_Status.WONT, _Status.THROWS):
            return _Exit(_Status.WONT)
        builder = Builder(self.graph, body)
        again = self.false
        if found.status is _Status.MIGHT:
            choice = builder.node("prim::If", [found.has])
            builder.add_input(builder.add_block(choice), self.false)
            builder.add_input(builder.add_block(choice), body.outputs[0])
            again = builder.add_output(choice, types.Bool)
        builder.set_input(body, 0, again)
        builder.add_param(body, types.Bool)
        has = builder.add_output(node, types.Bool)
        builder.add_input(node, self.false)
        builder.add_input(body, found.has)
        values = []
        for value in found.values:
            values.append(builder.add_output(node, value.type))
            builder.add_param(body, value.type)
            builder.add_input(node, self.nothing(value.type))
            builder.add_input(body, value)
        return _Exit(_Status.MIGHT, has, values)

    def continued(self, body: Block) -> None:
        found = self.block(body)
        builder = Builder(self.graph, body)
        if found.status is _Status.WILL:
            builder.set_outputs(body, found.values)
        elif found.status is _Status.MIGHT:
            choice = builder.node("prim::If", [found.has])
            for values in (found.values, list(body.outputs)):
                block = builder.add_block(choice)
                for value in values:
                    builder.add_input(block, value)
            outputs = [builder.add_output(choice, t) for t in self.types]
            builder.set_outputs(body, outputs)


def _fuse_branches(graph: EmitGraph, block: Block) -> None:
    """`if c: a, flag = True else: b, flag = False;  if flag: d else: e`  ~>  `if c: a; d else: b;
    e`"""
    position = 0
    while position < len(block.nodes):
        node = block.nodes[position]
        while True:
            for inner in node.blocks:
                _fuse_branches(graph, inner)
            following = block.nodes[position + 1] if position + 1 < len(block.nodes) else None
            if following is None or not _fuse(graph, node, following):
                break
        position += 1


def _fuse(graph: EmitGraph, first: Node, second: Node) -> bool:
    if first.kind != "prim::If" or second.kind != "prim::If":
        return False
    condition = second.inputs[0]
    if condition.node is not first:
        return False
    index = first.outputs.index(condition)
    flags = [block.outputs[index] for block in first.blocks]
    if not all(flag.is_constant for flag in flags):
        return False
    if flags[0].constant == flags[1].constant:
        return False  # the branch is known: folding takes it
    builder = Builder(graph)
    results = []
    for block, flag in zip(first.blocks, flags):
        taken = second.blocks[0 if flag.constant else 1]
        mapping = dict(zip(first.outputs, block.outputs))
        clone_nodes(graph, taken.nodes, Builder(graph, block), mapping)
        results.append([mapping.get(v, v) for v in taken.outputs])
    named: list[tuple[Value, str]] = []
    for i, output in enumerate(second.outputs):
        for block, values in zip(first.blocks, results):
            builder.add_input(block, values[i])
        joined = builder.add_output(first, output.type)
        builder.replace_uses(output, joined)
        if output.has_name:
            named.append((joined, output.name))
    builder.erase(second)
    for value, name in named:
        graph.set_name(value, name)
    return True


def _unfold_counts(graph: EmitGraph, block: Block) -> None:
    """A counted loop that may end early becomes one that tests count and flag."""
    for node in list(block.nodes):
        if node.kind == "prim::Loop":
            _unfold_count(graph, node)
        for inner in node.blocks:
            _unfold_counts(graph, inner)


def _unfold_count(graph: EmitGraph, loop: Node) -> None:
    body = loop.blocks[0]
    limit, condition, again = loop.inputs[0], loop.inputs[1], body.outputs[0]
    if again.is_constant and again.constant is True:
        return
    if limit.is_constant and limit.constant == _NO_LIMIT:
        return
    builder = Builder(graph, loop.owner, loop)
    constant = {"value": 0}
    zero = builder.op("prim::Constant", (), types.Int, attributes=dict(constant))
    one = builder.op("prim::Constant", (), types.Int, attributes={"value": 1})
    runs = builder.op("aten::gt", [limit, zero], types.Bool)
    if not (condition.is_constant and condition.constant is True):
        runs = builder.op("aten::__and__", [runs, condition], types.Bool)
    endless = builder.op("prim::Constant", (), types.Int, attributes={"value": _NO_LIMIT})
    builder.set_input(loop, 0, endless)
    builder.set_input(loop, 1, runs)
    builder.add_input(loop, zero)
    builder.add_output(loop, types.Int)
    counter = builder.add_param(body, types.Int)
    builder.replace_uses(body.params[0], counter)
    graph.unname(body.params[0])
    inside = Builder(graph, body)
    following = inside.op("aten::add", [counter, one], types.Int)
    more = inside.op("aten::lt", [following, limit], types.Bool)
    inside.set_input(body, 0, inside.op("aten::__and__", [more, again], types.Bool))
    inside.add_input(body, following)
