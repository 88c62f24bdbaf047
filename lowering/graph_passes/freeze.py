"""Makes the attributes of a module that nothing changes constants of its methods' graphs."""

from __future__ import annotations

from lowering.graph import Graph, Node, Value, type_of_value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.graph_passes.dead_code import eliminate_dead_code
from lowering.graph_passes.fold_constants import fold_constants
from lowering.graph_passes.inline import inline_calls
from lowering.objects import ScriptObject
from lowering.types import ClassType, Type


def freeze_graph(graph: Graph, module: ScriptObject) -> Graph:
    """A copy of a method's graph, calls inlined, in which what cannot change is constant.

    `module` is the object the graph's first input stands for.

        %bias : Tensor = prim::GetAttr[name="bias"](%self)
        %y : Tensor = aten::add(%x, %bias)
    ~>
        %self.bias : Float(4) = prim::Constant[value=<Tensor>]()
        %y : Tensor = aten::add(%x, %self.bias)

    An attribute stays an attribute if a SetAttr anywhere in the graph sets it, if its tensor may be
    written in place, or if its object is used otherwise than to read attributes. Branches on what
    became constant are decided, and what nothing reads goes.
    """
    graph = inline_calls(graph)
    # What one round decides (`training` is False) takes writes away that held the next one back.
    while _freeze_once(graph, module):
        fold_constants(graph)
        eliminate_dead_code(graph)
    return graph


def _freeze_once(graph: Graph, module: ScriptObject) -> bool:
    written = {
        (node.inputs[0].type, node.attributes["name"])
        for node in graph.nodes()
        if node.kind == "prim::SetAttr"
    }
    objects = _objects(graph, module, written)
    kept = _changed_attributes(graph, objects)
    aliases = Aliases(graph)
    builder = Builder(graph)
    changed = False
    for node in list(graph.nodes()):
        if node.kind == "prim::GetAttr" and node.output.uses:
            changed |= _replace(node, objects, kept, aliases, builder)
    return changed


def _objects(
    graph: Graph, module: ScriptObject, written: set[tuple[Type, str]]
) -> dict[Value, tuple[ScriptObject, str]]:
    """The values that are known objects below the module, and their dotted names."""
    known = {graph.inputs[0]: (module, "self")}
    for node in graph.nodes():
        if node.kind == "prim::GetAttr" and node.inputs[0] in known:
            parent, path = known[node.inputs[0]]
            name = node.attributes["name"]
            value = parent.attributes.get(name)
            if isinstance(value, ScriptObject) and (parent.type, name) not in written:
                known[node.output] = (value, f"{path}.{name}")
    return known


def _changed_attributes(
    graph: Graph, objects: dict[Value, tuple[ScriptObject, str]]
) -> set[tuple[int, str | None]]:
    """(object's id, attribute) of what may change; None as the attribute means all of them."""
    changed: set[tuple[int, str | None]] = set()
    unknown: set[tuple[Type, str]] = set()
    for node in graph.nodes():
        if node.kind == "prim::SetAttr":
            name = node.attributes["name"]
            if node.inputs[0] in objects:
                changed.add((id(objects[node.inputs[0]][0]), name))
            else:
                unknown.add((node.inputs[0].type, name))
    for value, (instance, _) in objects.items():
        for use in value.uses:
            kind = use.user.kind if isinstance(use.user, Node) else ""
            if kind not in ("prim::GetAttr", "prim::SetAttr") or use.index != 0:
                changed.add((id(instance), None))
        for type_, name in unknown:
            if type_ is instance.type:
                changed.add((id(instance), name))
    return changed


def _replace(
    node: Node,
    objects: dict[Value, tuple[ScriptObject, str]],
    kept: set[tuple[int, str | None]],
    aliases: Aliases,
    builder: Builder,
) -> bool:
    if node.inputs[0] not in objects:
        return False
    instance, path = objects[node.inputs[0]]
    name = node.attributes["name"]
    if (id(instance), name) in kept or (id(instance), None) in kept:
        return False
    value = instance.attributes.get(name)
    if isinstance(value, ScriptObject) or name not in instance.attributes:
        return False
    if aliases.is_written(node.output):
        return False
    declared = instance.type.attributes[name]
    type_ = declared if isinstance(declared, ClassType) else _constant_type(value, declared)
    constant = builder.constant(value, type_)
    if not constant.uses and not constant.has_name and type_ != declared:
        builder.rename(constant, f"{path}.{name}")
    builder.replace_uses(node.output, constant)
    return True


def _constant_type(value: object, declared: Type) -> Type:
    try:
        return type_of_value(value)
    except TypeError:
        return declared
