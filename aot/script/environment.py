"""Variables of a function while it is compiled: reads and writes of them by name.

Each block of the Graph has a frame. A variable of the Graph is written by a `prim::Store[name]` and
read by a `prim::Load[name]`; control_flow.py turns these into SSA. A variable may also stand for
what is no value of the Graph (a function, a module).
"""

from __future__ import annotations

import ast

from aot.script.emit_graph import EmitGraph
from aot.script.source import Source
from aot.script.values import described
from lowering import types
from lowering.graph import Block, Node, Value
from lowering.graph_builder import Builder
from lowering.types import Type


# A tensor where a number is stated.
IMPLICIT = {types.Int: "aten::IntImplicit", types.Float: "aten::FloatImplicit",
            types.Complex: "aten::ComplexImplicit", types.Number: "aten::ScalarImplicit"}
# A number whose type is not known (`x.item()`) where one is stated.
FROM_NUMBER = {types.Int: "aten::Int", types.Float: "aten::Float", types.Complex: "aten::Complex"}
# `[]` where nothing says what will be in it; a list of tensors in the end (cleanup.py).
EMPTY_LIST = "prim::EmptyListLiteral"


class Frame:
    """The variables of one block. `types` are those of the Graph, `others` all else."""

    def __init__(self, block: Block, parent: Frame | None) -> None:
        self.block = block
        self.parent = parent
        self.types: dict[str, Type] = {}
        self.others: dict[str, object] = {}
        self.exits = False  # a return, raise, break or continue ended the block
        self.undefined: dict[str, str] = {}  # why variables of one branch are not there after it

    def has(self, name: str) -> bool:
        return name in self.types or name in self.others

    def why_undefined(self, name: str) -> str | None:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.undefined:
                return frame.undefined[name]
            frame = frame.parent
        return None

    def owner(self, name: str) -> Frame | None:
        frame: Frame | None = self
        while frame is not None:
            if frame.has(name):
                return frame
            frame = frame.parent
        return None


class Environment:
    """Writes nodes at the end of the current block, reads and writes variables."""

    modules_are_values = False  # in the text of archives they are

    def __init__(self, graph: EmitGraph, source: Source) -> None:
        self.graph = graph
        self.source = source
        self.frame = Frame(graph.block, None)
        self.builder = Builder(graph)
        self.literals: dict[tuple, Value] = {}
        self.sliced_modules: list[Value] = []  # those from slices are variables to PyTorch

    # --- nodes --------------------------------------------------------------------------------

    def at(self, node: ast.AST) -> None:
        self.builder.range = self.source.range(node)

    def error(self, message: str, node: ast.AST) -> Exception:
        return self.source.error(message, node)

    def op(self, kind: str, inputs: list[Value], type_: Type, attributes: dict | None = None):
        """A node with one output; the output."""
        return self.builder.node(kind, inputs, (type_,), attributes).output

    def constant(self, value: object, type_: Type | None = None) -> Value:
        """A constant, here."""
        if type_ is None:
            from_value = {type(None): types.NoneT, bool: types.Bool, int: types.Int,
                          float: types.Float, str: types.Str, complex: types.Complex}
            type_ = from_value[type(value)]
        attributes = {} if value is None else {"value": value}
        return self.op("prim::Constant", [], type_, attributes)

    def literal(self, value: int | float | complex) -> Value:
        """A number of the program's text: one constant for all its places, at the graph's head."""
        key = (type(value), repr(value))
        known = self.literals.get(key)
        if known is not None:
            return known
        block = self.graph.block
        builder = Builder(self.graph, block, block.nodes[0] if block.nodes else None)
        builder.range = self.builder.range
        type_ = {int: types.Int, float: types.Float, complex: types.Complex}[type(value)]
        found = builder.op("prim::Constant", [], type_, attributes={"value": value})
        self.literals[key] = found
        return found

    # --- frames -------------------------------------------------------------------------------

    def enter(self, block: Block) -> Frame:
        """Go on at the end of `block`, in a new frame."""
        self.frame = Frame(block, self.frame)
        self.builder = self.builder.at_end(block)
        return self.frame

    def leave(self) -> Frame:
        """Back to the block around."""
        frame = self.frame
        self.frame = frame.parent
        self.builder = self.builder.at_end(self.frame.block)
        return frame

    # --- variables ----------------------------------------------------------------------------

    def type_of(self, name: str) -> Type | None:
        """The type of a variable of the Graph; None if there is none of this name."""
        owner = self.frame.owner(name)
        return None if owner is None else owner.types.get(name)

    def load(self, name: str, type_: Type | None = None) -> Value:
        """Read a variable of the Graph."""
        type_ = type_ if type_ is not None else self.type_of(name)
        value = self.op("prim::Load", [], type_, {"name": name})
        self.graph.name_variable(value, name)
        return value

    def store(self, name: str, value: Value) -> None:
        self.frame.types[name] = value.type
        self.frame.others.pop(name, None)
        self.builder.node("prim::Store", [value], (), {"name": name})

    def look_up(self, name: str) -> object | None:
        """What a local name stands for; a read of it if it is a variable of the Graph."""
        owner = self.frame.owner(name)
        if owner is None:
            return None
        if name in owner.types:
            return self.load(name)
        if any(owner.others[name] is module for module in self.sliced_modules):
            self.graph.skip_numbers(1)
        return owner.others[name]

    def assign(self, name: str, value: object, node: ast.AST, stated: Type | None = None) -> None:
        """Write a variable. Its type must not change."""
        if isinstance(value, Value) and is_module(value.type) and not self.modules_are_values:
            self.frame.types.pop(name, None)
            self.frame.others[name] = value  # a module is no variable: loops over them unroll
            return
        if not isinstance(value, Value):
            outer = self.frame.parent.owner(name) if self.frame.parent is not None else None
            if outer is not None and name in outer.types:
                raise self.error(f"Cannot re-assign '{name}' to "
                                 f"{described(value)} inside of an if or a loop", node)
            self.frame.types.pop(name, None)
            self.frame.others[name] = value
            return
        fresh = value.node.owner if value.node is not None else value.block
        if not value.has_name and fresh is self.frame.block:
            self.graph.name_variable(value, name)
        owner = self.frame.owner(name)
        if owner is not None:
            if name not in owner.types:
                raise self.error(f"Cannot re-assign '{name}' because it is not a value", node)
            around = self.frame.parent.owner(name) if self.frame.parent is not None else None
            if around is not None:  # a branch or a loop goes on with the type that it found
                expected = around.types[name]
                self.load(name)
                value = self.converted(value, expected)
                if not types.is_subtype(value.type, expected):
                    raise self.error(
                        f"Variable '{name}' previously had type {expected.annotation()} but is now "
                        f"being assigned to a value of type {value.type.annotation()}", node)
        self.store(name, value)
        if stated is not None:
            self.frame.types[name] = stated

    def converted(self, value: Value, wanted: Type) -> Value:
        """A value where a type is stated: a tensor or a number of an unknown type becomes the
        number that is wanted, alone or in a tuple; what cannot be converted stays."""
        if isinstance(wanted, types.OptionalType) and value.type != types.NoneT:
            wanted = wanted.element
        if isinstance(value.type, types.TensorType) and wanted in IMPLICIT:
            return self.op(IMPLICIT[wanted], [value], wanted)
        if value.type == types.Number and wanted in FROM_NUMBER:
            return self.op(FROM_NUMBER[wanted], [value], wanted)
        if isinstance(wanted, types.TupleType) and isinstance(value.type, types.TupleType) and (
            len(wanted.elements) == len(value.type.elements)
            and not types.is_subtype(value.type, wanted)
        ):
            parts = [self.converted(p, t)
                     for p, t in zip(unpack_tuple(self, value), wanted.elements)]
            return self.op("prim::TupleConstruct", parts, types.TupleType(
                tuple(p.type for p in parts), wanted.name, wanted.fields))
        return value


def is_module(type_: Type) -> bool:
    return isinstance(type_, types.ClassType) and type_.is_module


def is_node_of(value: object, kind: str) -> bool:
    return isinstance(value, Value) and isinstance(value.node, Node) and value.node.kind == kind


def unpack_tuple(env: Environment, value: Value) -> list[Value]:
    """The elements of a tuple."""
    if is_node_of(value, "prim::TupleConstruct"):
        return list(value.node.inputs)
    return list(env.builder.node("prim::TupleUnpack", [value], value.type.elements).outputs)
