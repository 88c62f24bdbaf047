"""Takes out of a compiled Graph what TorchScript takes out: what nothing reads, and writes into
memory that nothing reads.

TorchScript does not ask whether a loop is dead before it looks into it: what the body hands on is
alive, and with it whatever it is computed from, the loop too if that stands in it. So a loop that
only counts stays, and the constant `True` of one that goes remains.
"""

from __future__ import annotations

from lowering.graph import Block, Graph, Node, Value
from lowering.graph_aliases import has_memory
from lowering.graph_builder import Builder
from lowering.graph_effects import has_effect, is_in_place
from lowering.schema_table import OperatorSchema, find_schema
from lowering.types import ListType, TensorType

_OPAQUE = frozenset(
    """prim::CallMethod prim::CallFunction prim::PythonOp prim::GetAttr prim::SetAttr prim::fork
    prim::Enter prim::Exit prim::ModuleContainerIndex prim::CreateObject""".split()
)
_MAKES_CONTAINER = frozenset("prim::TupleConstruct prim::ListConstruct prim::DictConstruct".split())
_TAKES_OUT = frozenset(
    """prim::TupleUnpack prim::ListUnpack prim::TupleIndex prim::TupleSlice aten::__getitem__
    aten::get aten::keys aten::values aten::items aten::pop aten::popitem""".split()
)
_PUTS_IN = frozenset("aten::append aten::insert aten::_set_item aten::setdefault".split())
_PUTS_ALL_IN = frozenset("aten::extend aten::update aten::add_ aten::add aten::list aten::copy "
                         "aten::sorted aten::slice aten::dict aten::mul aten::mul_".split())
_WRITES_CONTAINER = frozenset(
    """aten::append aten::extend aten::insert aten::pop aten::popitem aten::clear aten::remove
    aten::reverse aten::_set_item aten::Delete aten::update aten::setdefault aten::sort""".split()
)


def remove_dead(graph: Graph) -> None:
    """Drops what no result, no effect and no memory that is read needs; see the module's text."""
    live = _Liveness(graph).run()
    _sweep(graph.block, Builder(graph), live)


class _Memory:
    """Which values share memory, and which lies inside a list, tuple or dict; insensitive to
    order."""

    def __init__(self, graph: Graph) -> None:
        self.parent: dict[object, object] = {}
        self.inside: dict[object, object] = {}
        self.outside: object = "what others hold"
        self.inside[self.outside] = self.outside
        for value in graph.inputs:
            self.join(value, self.outside)
        self.block(graph.block)

    def root(self, value: object) -> object:
        while value in self.parent:
            value = self.parent[value]
        return value

    def join(self, a: object, b: object) -> None:
        a, b = self.root(a), self.root(b)
        if a is b:
            return
        if a is self.outside:
            a, b = b, a
        first, second = self.inside.pop(a, None), self.inside.get(b)
        self.parent[a] = b
        if first is not None and second is not None:
            self.join(first, second)
        elif first is not None:
            self.inside[self.root(b)] = first

    def content(self, value: object) -> object:
        """What stands for everything that lies in a container."""
        root = self.root(value)
        if root not in self.inside:
            self.inside[root] = ("inside", root)
        return self.root(self.inside[root])

    def reached(self, values: set[Value]) -> set[object]:
        """The memories that can be read through some values."""
        found: set[object] = set()
        pending = [self.root(v) for v in values if has_memory(v.type)]
        while pending:
            root = pending.pop()
            if root not in found:
                found.add(root)
                if root in self.inside:
                    pending.append(self.root(self.inside[root]))
        return found

    # --- nodes --------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        for node in block.nodes:
            self.node(node)
            for inner in node.blocks:
                self.block(inner)
            if node.kind == "prim::If":
                for inner in node.blocks:
                    self.join_all(inner.outputs, node.outputs)
            elif node.kind == "prim::Loop":
                body = node.blocks[0]
                self.join_all(node.inputs[2:], node.outputs)
                self.join_all(body.params[1:], node.outputs)
                self.join_all(body.outputs[1:], node.outputs)

    def join_all(self, values: list[Value], outputs: list[Value]) -> None:
        for value, output in zip(values, outputs):
            if has_memory(value.type) and has_memory(output.type):
                self.join(value, output)

    def node(self, node: Node) -> None:
        inputs = [v for v in node.inputs if has_memory(v.type)]
        outputs = [v for v in node.outputs if has_memory(v.type)]
        tensor = bool(node.inputs) and isinstance(node.inputs[0].type, TensorType)
        if node.blocks:
            return
        if node.kind in _OPAQUE:
            for value in (*inputs, *outputs):
                self.join(value, self.outside)
        elif node.kind in _MAKES_CONTAINER:
            for value in inputs:
                self.join(self.content(node.output), value)
        elif node.kind in _TAKES_OUT and inputs and not tensor:
            for value in outputs:
                self.join(value, self.content(inputs[0]))
        elif node.kind in _PUTS_IN and not tensor:
            for value in inputs[1:]:
                self.join(self.content(inputs[0]), value)
        elif node.kind in _PUTS_ALL_IN and not tensor:
            for value in (*inputs[1:], *outputs):
                self.join(self.content(inputs[0]), self.content(value))
            if is_in_place(node):
                self.join_all(inputs[:1], outputs)
        elif not _is_fresh(node):
            for value in outputs:
                within = isinstance(value.type, ListType) and tensor
                self.join(self.content(value) if within else value,
                          inputs[0] if inputs else self.outside)


class _Liveness:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.memory = _Memory(graph)
        self.nodes: set[Node] = set()
        self.values: set[Value] = set()

    def run(self) -> set[Node]:
        for value in self.graph.outputs:
            self.read(value)
        count = -1
        while count != len(self.nodes) + len(self.values):
            count = len(self.nodes) + len(self.values)
            self.readable = self.memory.reached(self.values) | {self.memory.outside}
            for node in list(self.graph.nodes()):
                if node.kind == "prim::Loop":
                    for value in node.blocks[0].outputs:
                        self.read(value)
                elif self.must_stay(node):
                    self.keep(node)
        return self.nodes

    def must_stay(self, node: Node) -> bool:
        """Whether a node has an effect: on memory, one that something can read."""
        written = written_values(node)
        if written is not None:
            return any(self.memory.root(v) in self.readable for v in written)
        return has_effect(node)

    def keep(self, node: Node) -> None:
        if node in self.nodes:
            return
        self.nodes.add(node)
        if node.owner.owner is not None:
            self.keep(node.owner.owner)
        for value in node.inputs:
            self.read(value)

    def read(self, value: Value) -> None:
        if value in self.values:
            return
        self.values.add(value)
        if value.node is None:
            return
        self.keep(value.node)
        if value.node.kind == "prim::If":
            index = value.node.outputs.index(value)
            for block in value.node.blocks:
                self.read(block.outputs[index])


def written_values(node: Node) -> list[Value] | None:
    """What a node writes into, if that is all it does; None for other nodes."""
    on_tensor = bool(node.inputs) and isinstance(node.inputs[0].type, TensorType)
    if node.kind in _WRITES_CONTAINER and not on_tensor:
        return node.inputs[:1]
    schema = _schema(node)
    if schema is None:
        return node.inputs[:1] if node.inputs and is_in_place(node) else None
    found = [v for f, v in zip(schema.formals, node.inputs) if f.written]
    return found or None


def _schema(node: Node) -> OperatorSchema | None:
    return None if node.overload is None else find_schema(node.kind, node.overload)


def _is_fresh(node: Node) -> bool:
    """Whether no result of a node shares memory with what it reads."""
    if node.kind in ("prim::Constant", "prim::Uninitialized"):
        return True
    schema = _schema(node)
    return schema is not None and schema.fresh


def _sweep(block: Block, builder: Builder, live: set[Node]) -> None:
    """Drops the nodes that are not alive, last first, and results that nothing reads then."""

    def keep(node: Node) -> bool:
        if node not in live:
            return False
        if node.kind == "prim::If":
            for index in _unread(node):
                for inner in node.blocks:
                    builder.remove_input(inner, index)
                builder.remove_output(node, index)
        for inner in node.blocks:
            _sweep(inner, builder, live)
        if node.kind == "prim::Loop":
            _drop_carried(node, builder)
        return True

    builder.keep_nodes(block, keep)


def _unread(node: Node) -> list[int]:
    return [i for i in range(len(node.outputs) - 1, -1, -1) if not node.outputs[i].uses]


def _drop_carried(loop: Node, builder: Builder) -> None:
    """What a loop carries from turn to turn and neither it nor what follows reads."""
    body = loop.blocks[0]
    for index in _unread(loop):
        param = body.params[index + 1]
        if any(use != (body, index + 1) for use in param.uses):
            continue
        builder.remove_input(loop, index + 2)
        builder.remove_input(body, index + 1)
        builder.remove_param(body, index + 1)
        builder.remove_output(loop, index)
