"""Puts the bodies of called functions and methods where they are called."""

from __future__ import annotations

from lowering.graph import Block, Function, Graph, Node, Value
from lowering.graph_builder import Builder
from lowering.graph_passes.dead_code import drop_unused_results
from lowering.types import ClassType, FunctionType
from runtime.errors import CompileError

_MAX_DEPTH = 150


def inline_calls(graph: Graph) -> Graph:
    """A copy of the graph in which every call whose target is known is the target's nodes.

        %y : Tensor = prim::CallMethod[name="forward"](%relu, %x)
        return (%y)
    ~>
        %2 : Tensor = aten::relu(%x)
        return (%2)

    A method is known if its object's type is a class; calls on interfaces stay. CompileError if
    functions call each other without end, which TorchScript does not allow.
    """
    copy = Graph()
    builder = Builder(copy)
    mapping = {p: builder.add_param(copy.block, p.type, p.name) for p in graph.inputs}
    _copy_nodes(graph.block, builder, mapping, [])
    builder.set_outputs(copy.block, [mapping[v] for v in graph.outputs])
    drop_unused_results(copy)  # the constants that held the called functions
    return copy


def called_function(node: Node) -> Function | None:
    """The function a call node calls, if that is known before the program runs."""
    if node.kind == "prim::CallFunction":
        type_ = node.inputs[0].type
        return type_.function if isinstance(type_, FunctionType) else None
    if node.kind == "prim::CallMethod" and isinstance(node.inputs[0].type, ClassType):
        return node.inputs[0].type.methods.get(node.attributes["name"])
    return None


def _copy_nodes(
    source: Block, builder: Builder, mapping: dict[Value, Value], stack: list[Function]
) -> None:
    for node in source.nodes:
        function = called_function(node)
        if function is not None:
            _copy_body(node, function, builder, mapping, stack)
        elif node.blocks:
            _copy_structure(node, builder, mapping, stack)
        else:
            builder.copy_nodes([node], mapping)
            if "Subgraph" in node.attributes:
                inner = inline_calls(node.attributes["Subgraph"])
                mapping[node.output].node.attributes["Subgraph"] = inner


def _copy_body(
    call: Node,
    function: Function,
    builder: Builder,
    mapping: dict[Value, Value],
    stack: list[Function],
) -> None:
    if function in stack or len(stack) > _MAX_DEPTH:
        place = f" ({call.range})" if call.range is not None else ""
        raise CompileError(f"{function.name} calls itself{place}; recursion cannot be compiled")
    arguments = call.inputs[1:] if call.kind == "prim::CallFunction" else call.inputs
    inner = dict(zip(function.graph.inputs, (mapping[v] for v in arguments)))
    _copy_nodes(function.graph.block, builder, inner, [*stack, function])
    for old, new in zip(call.outputs, function.graph.outputs):
        mapping[old] = inner[new]


def _copy_structure(
    node: Node, builder: Builder, mapping: dict[Value, Value], stack: list[Function]
) -> None:
    """Copy an If or Loop, with the calls in its blocks inlined."""
    copy = builder.node(
        node.kind,
        [mapping[v] for v in node.inputs],
        [v.type for v in node.outputs],
        node.attributes,
        names=tuple(v.name for v in node.outputs),
        range=node.range,
    )
    mapping.update(zip(node.outputs, copy.outputs))
    for block in node.blocks:
        target = builder.add_block(copy)
        for param in block.params:
            mapping[param] = builder.add_param(target, param.type, param.name)
        _copy_nodes(block, builder.at_end(target), mapping, stack)
        builder.set_outputs(target, [mapping[v] for v in block.outputs])
