"""A method that changes what its objects hold, as a function that is given it and returns it.

    def forward(self, x):              def forward(self, x, calls):
      calls = self.calls                 state = State(calls)
      self.calls = calls + 1       ~>    state.calls = state.calls + 1
      return x * calls                   return (x * calls, state.calls)

So calls of modules with state can be compiled: the state stays in the module, where Python sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aot.tensor_core import Tensor
from lowering.graph import Function, Graph, Node, Parameter, Value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.graph_passes.inline import inline_calls
from lowering.objects import ScriptObject, TensorData
from lowering.types import Bool, ClassType, Float, Int, OptionalType, TensorType, TupleType, Type

# What may hide a change: calls of what is not known, and graphs in nodes.
_OPAQUE = frozenset("prim::CallMethod prim::CallFunction prim::fork prim::PythonOp "
                    "prim::ModuleContainerIndex prim::Enter".split())


@dataclass(frozen=True)
class Slot:
    """An attribute that calls change; `rebound`: it is set anew, rather than written in place."""

    owner: ScriptObject
    name: str
    type: Type
    rebound: bool

    @property
    def value(self) -> Any:
        return self.owner.attributes[self.name]

    def put(self, value: Any) -> None:
        """Gives the attribute the value that a compiled call has for it."""
        before, new = self.value, _as_data(value)
        if self.rebound or before.sizes != new.sizes:
            self.owner.attributes[self.name] = new
        else:
            Tensor._of_data(before)._write(Tensor._of_data(new)._values())


@dataclass(frozen=True)
class Separated:
    """The function with the slots' values as further arguments; its result is a tuple of what it
    was, and the slots' new values."""

    function: Function
    slots: tuple[Slot, ...]


def separate(function: Function, instance: ScriptObject) -> Separated | str:
    """The method with the state apart, or the reason why that cannot be."""
    graph = inline_calls(function.graph)
    for node in graph.nodes():
        if node.kind in _OPAQUE:
            return f"{node.kind} may change what the module holds"
    owners = _owners(graph, instance)
    found = _changed(graph, owners)
    if isinstance(found, str):
        return found
    for slot in found.values():
        if not _is_plain(slot.type):
            return f"the attribute '{slot.name}', a {slot.type}, is changed"
        if _is_shared(slot, instance):
            return f"the attribute '{slot.name}' shares its memory with another one"
    return _rewritten(function, graph, owners, found)


def _owners(graph: Graph, instance: ScriptObject) -> dict[Value, ScriptObject]:
    """The objects that values of the graph are, as far as attributes tell."""
    owners = {graph.inputs[0]: instance}
    for node in graph.nodes():
        if node.kind == "prim::GetAttr" and node.inputs[0] in owners:
            value = owners[node.inputs[0]].attributes.get(node.attributes["name"])
            if isinstance(value, ScriptObject):
                owners[node.output] = value
    return owners


Found = dict[tuple[int, str], Slot]


def _changed(graph: Graph, owners: dict[Value, ScriptObject]) -> Found | str:
    """The attributes that the graph changes, or why they cannot be told."""
    aliases = Aliases(graph)
    found: Found = {}
    made = {v for node in graph.nodes() if node.kind == "prim::CreateObject" for v in node.outputs}
    for node in graph.nodes():
        sets = node.kind == "prim::SetAttr"
        if not sets and not (node.kind == "prim::GetAttr" and aliases.is_written(node.output)):
            continue
        value, name = node.inputs[0], node.attributes["name"]
        if value in made:
            continue  # its own object, which nobody else knows
        owner = owners.get(value)
        if owner is None:
            return "an attribute of an object is changed that only the call knows"
        if isinstance(owner.attributes.get(name), ScriptObject):
            if sets:
                return f"the attribute '{name}', an object, is set"
            continue
        key = id(owner), name
        before = found.get(key)
        rebound = sets or (before is not None and before.rebound)
        found[key] = Slot(owner, name, owner.type.attributes[name], rebound)
    return found


def _is_plain(type_: Type) -> bool:
    """Tensors, numbers and what may be one or None: their form rarely changes."""
    if isinstance(type_, OptionalType):
        return _is_plain(type_.element)
    if isinstance(type_, TupleType):
        return all(map(_is_plain, type_.elements))
    return isinstance(type_, TensorType) or type_ in (Int, Float, Bool)


def _as_data(x: Any) -> Any:
    """A result of compiled code as objects hold it."""
    if isinstance(x, np.ndarray):
        return TensorData.from_numpy(x)
    return tuple(map(_as_data, x)) if isinstance(x, tuple) else x


def _is_shared(slot: Slot, root: ScriptObject) -> bool:
    """Whether the memory of a slot's tensor is also that of something else."""
    value = slot.value
    if not isinstance(value, TensorData) or slot.rebound:
        return False
    if len(value.storage) != value.numel or not value.is_contiguous:
        return True
    return _uses(root, value.storage, set()) > 1


def _uses(x: Any, storage: object, seen: set[int]) -> int:
    if isinstance(x, TensorData):
        return int(x.storage is storage)
    if isinstance(x, ScriptObject):
        if id(x) in seen:
            return 0
        seen.add(id(x))
        x = x.attributes
    if isinstance(x, dict):
        return sum(_uses(v, storage, seen) for v in x.values())
    return sum(_uses(v, storage, seen) for v in x) if isinstance(x, (list, tuple)) else 0


def _rewritten(function: Function, graph: Graph, owners: dict[Value, ScriptObject],
               found: Found) -> Separated:
    slots = tuple(found.values())
    names = {key: f"s{k}" for k, key in enumerate(found)}
    state = ClassType("__torch__.State", attributes={f"s{k}": s.type for k, s in enumerate(slots)})
    for node in list(graph.nodes()):
        if node.kind in ("prim::GetAttr", "prim::SetAttr") and node.inputs[0] in owners:
            key = id(owners[node.inputs[0]]), node.attributes["name"]
            if key in names:
                node.attributes["name"] = names[key]
                node.attributes["state"] = True
    nodes = graph.block.nodes
    first: Node | None = nodes[graph.constants] if graph.constants < len(nodes) else None
    builder = Builder(graph, before=first)
    cell = builder.op("prim::CreateObject", [], state)
    for node in graph.nodes():
        if node.attributes.pop("state", False):
            builder.set_input(node, 0, cell)
    parameters = list(function.parameters)
    for k, slot in enumerate(slots):
        given = builder.add_param(graph.block, slot.type, f"s{k}")
        builder.node("prim::SetAttr", [cell, given], attributes={"name": f"s{k}"})
        parameters.append(Parameter(f"s{k}", slot.type))
    end = builder.at_end(graph.block)
    after = [end.op("prim::GetAttr", [cell], s.type, attributes={"name": f"s{k}"})
             for k, s in enumerate(slots)]
    returns = TupleType((function.returns, *(s.type for s in slots)))
    both = end.op("prim::TupleConstruct", [*graph.outputs, *after], returns)
    end.set_outputs(graph.block, [both])
    separated = Function(function.name, parameters, returns)
    separated.graph = graph
    return Separated(separated, slots)
