"""Takes out of a trace what nothing reads: also writes into memory that nothing reads."""

from __future__ import annotations

from lowering.graph import Graph, Node, Value
from lowering.graph_builder import Builder
from lowering.graph_effects import has_effect, is_in_place
from lowering.ops import TABLE


def remove_dead(graph: Graph) -> None:
    """Drops nodes without a use.

    A node stays if its result is read, if it has an effect other than to write in place, or if it
    writes into memory that is read: an input's, an attribute's, or that of a value that stays.

        %z = aten::clone(%x)        nobody reads %z or %s
        %s = aten::select(%z, 0, 0)
        %t = aten::fill_(%s, 1)     ~>  nothing
    """
    memory = _Memory(graph)
    live: set[Node] = set()
    live_memory: set[Value] = set()
    pending: list[Value] = list(graph.outputs)

    def keep(node: Node) -> None:
        if node not in live:
            live.add(node)
            pending.extend(node.inputs)

    for node in graph.block.nodes:
        if has_effect(node) and not is_in_place(node):
            keep(node)
        elif is_in_place(node) and memory.is_outside(node.inputs[0]):
            keep(node)
    while pending:
        value = pending.pop()
        if value.node is not None:
            keep(value.node)
        root = memory.root(value)
        if root not in live_memory:
            live_memory.add(root)
            for writer in memory.writers.get(root, ()):
                keep(writer)
    Builder(graph).keep_nodes(graph.block, lambda node: node in live)


class _Memory:
    """Which values lie in one memory, and who writes there."""

    def __init__(self, graph: Graph) -> None:
        self.parent: dict[Value, Value] = {}
        self.outside: set[Value] = set()
        self.writers: dict[Value, list[Node]] = {}
        for value in graph.inputs:
            self.outside.add(value)
        for node in graph.block.nodes:
            if node.kind in ("prim::GetAttr", "prim::CallMethod", "prim::CallFunction"):
                self.outside.update(node.outputs)
                self.outside.update(node.inputs if node.kind != "prim::GetAttr" else ())
            elif is_in_place(node) or _is_view(node):
                for output in node.outputs:
                    self.parent[output] = node.inputs[0]
        for node in graph.block.nodes:
            if is_in_place(node):
                self.writers.setdefault(self.root(node.inputs[0]), []).append(node)
        self.outside = {self.root(v) for v in self.outside}

    def root(self, value: Value) -> Value:
        while value in self.parent:
            value = self.parent[value]
        return value

    def is_outside(self, value: Value) -> bool:
        return self.root(value) in self.outside


_PASSED_ON = frozenset("""prim::ListConstruct prim::ListUnpack prim::TupleConstruct
    prim::TupleUnpack aten::to aten::detach aten::contiguous aten::reshape aten::flatten
    aten::expand_as aten::chunk aten::split aten::unbind aten::numpy_T""".split())


def _is_view(node: Node) -> bool:
    if not node.inputs:
        return False
    if node.kind in _PASSED_ON:
        return True
    return any(entry.schema.is_view for entry in TABLE.get(node.kind, ()))
