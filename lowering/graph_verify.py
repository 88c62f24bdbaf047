"""Checks that a Graph is one: run after every pass in tests."""

from __future__ import annotations

from lowering import types
from lowering.graph import Block, Graph, Node, Use, Value
from lowering.graph_print import print_graph
from lowering.types import Bool, Int, OptionalType, TensorType, Type, UnionType

_NEIGHBOURS = 3  # lines shown on either side of a fault


class GraphFault(AssertionError):
    """What is wrong with a graph, with the lines around it. A bug of ours, never the user's."""


def verify_graph(graph: Graph) -> None:
    """Check definitions before uses, use lists, names, block arities and types; GraphFault if not.

    Values must be defined once, before their use, in the same block or one around it. The use lists
    must hold exactly the uses. A prim::If has two blocks, a prim::Loop one, with results that fit.
    """
    checker = _Checker(graph)
    checker.block(graph.block, set())
    checker.uses()


class _Checker:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, Value] = {}
        self.expected: dict[Value, set[Use]] = {}

    def fault(self, message: str, node: Node | None = None) -> GraphFault:
        where = f" at {node.kind}" if node is not None else ""
        return GraphFault(f"{message}{where}\n{_around(self.graph, node)}")

    def block(self, block: Block, outer: set[Value]) -> None:
        visible = set(outer)
        for param in block.params:
            self.define(param, None)
            if param.block is not block or param.node is not None:
                raise self.fault(f"%{param.name} does not know its block")
            visible.add(param)
        for position, node in enumerate(block.nodes):
            self.node(node, block, visible)
            at_head = block is self.graph.block and position < self.graph.constants
            if at_head and node.kind != "prim::Constant":
                raise self.fault("expected a constant at the head of the graph", node)
            visible.update(node.outputs)
        for index, value in enumerate(block.outputs):
            self.use(value, Use(block, index), visible, block.owner)

    def node(self, node: Node, block: Block, visible: set[Value]) -> None:
        if node.owner is not block:
            raise self.fault("the node does not know its block", node)
        if len(node.kwarg_names) > len(node.inputs):
            raise self.fault("more keywords than inputs", node)
        for index, value in enumerate(node.inputs):
            self.use(value, Use(node, index), visible, node)
        for inner in node.blocks:
            if inner.owner is not node or inner.graph is not self.graph:
                raise self.fault("a nested block does not know its node", node)
            self.block(inner, visible)
        if node.kind == "prim::If":
            self.if_(node)
        elif node.kind == "prim::Loop":
            self.loop(node)
        elif node.blocks:
            raise self.fault("only If and Loop have blocks", node)
        for value in node.outputs:
            if value.node is not node:
                raise self.fault(f"%{value.name} does not know its node", node)
            self.define(value, node)

    def define(self, value: Value, node: Node | None) -> None:
        if value.name in self.names:
            raise self.fault(f"%{value.name} is defined twice", node)
        if not isinstance(value.type, Type):
            raise self.fault(f"%{value.name} has no type", node)
        self.names[value.name] = value
        self.expected[value] = set()

    def use(self, value: Value, use: Use, visible: set[Value], node: Node | None) -> None:
        if value not in visible:
            raise self.fault(f"%{value.name} is used where it is not defined", node)
        self.expected[value].add(use)

    def uses(self) -> None:
        for value, expected in self.expected.items():
            if set(value.uses) != expected:
                raise self.fault(f"the use list of %{value.name} is wrong", value.node)

    def if_(self, node: Node) -> None:
        if len(node.inputs) != 1 or node.inputs[0].type != Bool or len(node.blocks) != 2:
            raise self.fault("an If has a bool and two blocks", node)
        for block in node.blocks:
            if block.params or len(block.outputs) != len(node.outputs):
                raise self.fault("a branch returns what the If returns", node)
            for value, output in zip(block.outputs, node.outputs):
                self.fits(value, output.type, node)

    def loop(self, node: Node) -> None:
        count = len(node.outputs)
        if len(node.blocks) != 1 or len(node.inputs) != count + 2:
            raise self.fault("a Loop has a limit, a condition and what it carries", node)
        block = node.blocks[0]
        if len(block.params) != count + 1 or len(block.outputs) != count + 1:
            raise self.fault("a loop's block takes and returns what the Loop carries", node)
        for value, type_ in ((node.inputs[0], Int), (node.inputs[1], Bool),
                             (block.params[0], Int), (block.outputs[0], Bool)):
            self.fits(value, type_, node)
        for i, output in enumerate(node.outputs):
            self.fits(node.inputs[i + 2], block.params[i + 1].type, node)
            self.fits(block.outputs[i + 1], block.params[i + 1].type, node)
            self.fits(block.outputs[i + 1], output.type, node)

    def fits(self, value: Value, wanted: Type, node: Node) -> None:
        if not _fits(value.type, wanted):
            raise self.fault(f"%{value.name} is a {value.type}, expected {wanted}", node)


def _fits(found: Type, wanted: Type) -> bool:
    if types.is_subtype(found, wanted):
        return True
    if isinstance(found, TensorType) and isinstance(wanted, TensorType):
        return True  # sizes and dtypes in a graph are remarks, not promises
    if isinstance(wanted, OptionalType):
        return _fits(found, wanted.element)
    if isinstance(found, (OptionalType, UnionType)) and wanted == types.Any:
        return True
    inner, outer = types.contained(found), types.contained(wanted)
    return bool(inner) and type(found) is type(wanted) and len(inner) == len(outer) and all(
        map(_fits, inner, outer)
    )


def _around(graph: Graph, node: Node | None) -> str:
    """The lines near a node; the whole graph if it is small or the place is not known."""
    try:
        lines = print_graph(graph, ranges=False).split("\n")
    except Exception as error:  # a broken graph may not even print
        return f"(the graph does not print: {error})"
    marks = [f"%{v.name} :" for v in node.outputs] if node is not None else []
    found = [i for i, line in enumerate(lines) if marks and marks[0] in line]
    if not found:
        return "\n".join(lines[:40])
    first = max(0, found[0] - _NEIGHBOURS)
    return "\n".join(
        ("-> " if i == found[0] else "   ") + line
        for i, line in enumerate(lines[first : found[0] + _NEIGHBOURS + 1], first)
    )
