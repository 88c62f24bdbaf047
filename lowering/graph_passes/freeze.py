"""Makes the attributes of a module that nothing changes constants of its methods' graphs."""

from __future__ import annotations

from dataclasses import dataclass, field

from lowering.graph import Graph, Node, Value, type_of_value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.graph_passes.dead_code import eliminate_dead_code
from lowering.graph_passes.fold_constants import fold_constants
from lowering.graph_passes.inline import inline_calls
from lowering.objects import ScriptObject, TensorData, map_tensors
from lowering.types import ClassType, Type

Objects = dict[Value, tuple[ScriptObject, str]]


def freeze_graphs(graphs: list[Graph], module: ScriptObject) -> list[Graph]:
    """Copies of methods' graphs, calls inlined, in which what cannot change is constant.

    `module` is the object that the first input of each graph stands for; no other method of it
    will run.

        %bias : Tensor = prim::GetAttr[name="bias"](%self)
        %y : Tensor = aten::add(%x, %bias)
    ~>
        %self.bias : Float(4) = prim::Constant[value=<Tensor>]()
        %y : Tensor = aten::add(%x, %self.bias)

    An attribute stays an attribute if a SetAttr in any of the graphs sets it, if the memory of its
    tensor or list may be written in place, or if its object is used otherwise than to read
    attributes. Branches on what became constant are decided, and what nothing reads goes.
    """
    graphs = [inline_calls(graph) for graph in graphs]
    # What one round decides (`training` is False) takes writes away that held the next one back.
    while _freeze_once(graphs, module):
        for graph in graphs:
            fold_constants(graph)
            eliminate_dead_code(graph)
    return graphs


@dataclass
class _Changes:
    """What may change while the methods run."""

    attributes: set[tuple[int, str | None]]  # (object's id, name); None is every attribute
    by_type: set[tuple[Type, str]]  # set on an object that is not known
    memories: set[int]  # ids of storages, lists and dicts that may be written into
    detached: dict[int, TensorData] = field(default_factory=dict)  # of parameters, by their ids

    def covers(self, instance: ScriptObject, name: str) -> bool:
        return (
            (id(instance), name) in self.attributes
            or (id(instance), None) in self.attributes
            or (instance.type, name) in self.by_type
            or not self.memories.isdisjoint(_memories(instance.attributes[name]))
        )


def _freeze_once(graphs: list[Graph], module: ScriptObject) -> bool:
    set_anywhere = {
        (node.inputs[0].type, node.attributes["name"])
        for graph in graphs
        for node in graph.nodes()
        if node.kind == "prim::SetAttr"
    }
    known = [_objects(graph, module, set_anywhere) for graph in graphs]
    changes = _Changes(set(), set(), set())
    for graph, objects in zip(graphs, known):
        _collect(graph, objects, changes)
    changed = False
    for graph, objects in zip(graphs, known):
        builder = Builder(graph)
        for node in list(graph.nodes()):
            if node.kind == "prim::GetAttr" and node.output.uses and node.inputs[0] in objects:
                changed |= _replace(node, *objects[node.inputs[0]], changes, builder)
    return changed


def _objects(graph: Graph, module: ScriptObject, set_anywhere: set[tuple[Type, str]]) -> Objects:
    """The values that are known objects below the module, and their dotted names."""
    known = {graph.inputs[0]: (module, "self")}
    for node in graph.nodes():
        if node.kind == "prim::GetAttr" and node.inputs[0] in known:
            parent, path = known[node.inputs[0]]
            name = node.attributes["name"]
            value = parent.attributes.get(name)
            if isinstance(value, ScriptObject) and (parent.type, name) not in set_anywhere:
                known[node.output] = (value, f"{path}.{name}")
    return known


def _collect(graph: Graph, objects: Objects, changes: _Changes) -> None:
    """Add what one graph may change."""
    aliases = Aliases(graph)
    for node in graph.nodes():
        if node.kind not in ("prim::SetAttr", "prim::GetAttr"):
            continue
        name = node.attributes["name"]
        found = objects.get(node.inputs[0])
        if node.kind == "prim::SetAttr":
            if found is None:
                changes.by_type.add((node.inputs[0].type, name))
            else:
                changes.attributes.add((id(found[0]), name))
        elif found is not None and aliases.is_written(node.output):
            changes.memories |= _memories(found[0].attributes.get(name))
    for value, (instance, _) in objects.items():
        for use in value.uses:
            kind = use.user.kind if isinstance(use.user, Node) else ""
            if kind not in ("prim::GetAttr", "prim::SetAttr") or use.index != 0:
                changes.attributes.add((id(instance), None))


def _memories(value: object) -> set[int]:
    """The ids of everything that a write through `value` can reach."""
    if isinstance(value, TensorData):
        return {id(value.storage)}
    if isinstance(value, (list, tuple, dict)):
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return {id(value)}.union(*map(_memories, parts))
    return set()


def _replace(
    node: Node, instance: ScriptObject, path: str, changes: _Changes, builder: Builder
) -> bool:
    name = node.attributes["name"]
    if name not in instance.attributes or changes.covers(instance, name):
        return False
    value = instance.attributes[name]
    if isinstance(value, ScriptObject):
        return False
    declared = instance.type.attributes[name]
    value = map_tensors(value, lambda t: _without_gradient(t, changes.detached))
    type_ = declared if isinstance(declared, ClassType) else _constant_type(value, declared)
    constant = builder.constant(value, type_)
    if not constant.uses and not constant.has_name and type_ != declared:
        builder.rename(constant, f"{path}.{name}")
    builder.replace_uses(node.output, constant)
    return True


def _without_gradient(t: TensorData, known: dict[int, TensorData]) -> TensorData:
    """The tensor as a constant: on the same memory, and no gradient is wanted of it."""
    if not t.requires_grad:
        return t
    return known.setdefault(id(t), TensorData(t.storage, t.offset, t.sizes, t.strides, False,
                                              t.problem))


def _constant_type(value: object, declared: Type) -> Type:
    try:
        return type_of_value(value)
    except TypeError:
        return declared
