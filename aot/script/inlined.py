"""Graphs with all calls inlined, as TorchScript shows them.

What is called is simplified first, by itself: its own calls are inlined, what is known is computed,
branches that are known are taken. The graph that is asked for only gets the bodies.
"""

from __future__ import annotations

import re

from aot.script.cleanup import pool_constants, propagate_constants
from aot.script.control_flow import clone_nodes
from aot.script.dead_code import remove_dead
from aot.script.emit_graph import EmitGraph
from aot.script.operator_aliases import use_first_names
from aot.script.peephole import simplify
from lowering.graph import Block, Function, Graph, Node, Value
from lowering.graph_builder import Builder
from lowering.graph_passes.inline import called_function
from runtime.errors import CompileError

_SUFFIX = re.compile(r"\.(\d+)$")


def shown_inlined(graph: Graph) -> Graph:
    """A copy in which every call whose target is known is the target's nodes; CompileError if
    functions call each other without end."""
    return _Inliner().inlined(graph)


class _CopiedGraph(EmitGraph):
    """A graph whose values keep the names of those they are copies of; who had the name before
    gets another."""

    __slots__ = ()

    def set_name(self, value: Value, name: str) -> None:
        if value.name == name:
            return
        owner = self._owners.get(name) if name in self._names else None
        if owner is not None:
            self._give(owner, self._free(name))
        self._give(value, name)

    def copy_name(self, source: Value, copy: Value) -> None:
        if source.has_name:
            self.set_name(copy, source.name)

    def _free(self, name: str) -> str:
        suffix = _SUFFIX.search(name)
        base = name[: suffix.start()] if suffix else name
        number = max(self._suffixes.get(base, 1), int(suffix.group(1)) if suffix else 1)
        while f"{base}.{number}" in self._names:
            number += 1
        self._suffixes[base] = number + 2
        return f"{base}.{number}"


class _Inliner:
    def __init__(self) -> None:
        self.simplified: dict[Function, Graph] = {}
        self.open: list[Function] = []

    def inlined(self, graph: Graph) -> EmitGraph:
        copy = _copy(graph)
        self.inline(copy, copy.block)
        return copy

    def body(self, function: Function) -> Graph:
        """The graph of a function as it is put into others."""
        known = self.simplified.get(function)
        if known is None:
            if function in self.open:
                raise CompileError(f"{function.name} calls itself; recursion cannot be inlined")
            self.open.append(function)
            known = self.inlined(function.shown_graph)
            self.open.pop()
            use_first_names(known)
            if simplify(known):
                remove_dead(known)
            if propagate_constants(known):
                remove_dead(known)
            pool_constants(known)
            self.simplified[function] = known
        return known

    def inline(self, graph: EmitGraph, block: Block) -> None:
        for node in list(block.nodes):
            for inner in node.blocks:
                self.inline(graph, inner)
            function = called_function(node)
            if function is not None:
                self.replace(graph, node, function)

    def replace(self, graph: EmitGraph, call: Node, function: Function) -> None:
        body = self.body(function)
        arguments = call.inputs[1:] if call.kind == "prim::CallFunction" else call.inputs
        mapping = dict(zip(body.inputs, arguments))
        builder = Builder(graph, call.owner, call)
        clone_nodes(graph, body.block.nodes, builder, mapping)
        for old, new in zip(call.outputs, body.outputs):
            value = mapping[new]
            if old.has_name:
                graph.set_name(value, old.name)
            builder.replace_uses(old, value)
        builder.erase(call)


def _copy(graph: Graph) -> _CopiedGraph:
    copy = _CopiedGraph()
    builder = Builder(copy)
    mapping: dict[Value, Value] = {}
    for param in graph.inputs:
        mapping[param] = builder.add_param(copy.block, param.type)
        copy.copy_name(param, mapping[param])
    clone_nodes(copy, graph.block.nodes, builder, mapping)
    builder.set_outputs(copy.block, [mapping[v] for v in graph.outputs])
    return copy
