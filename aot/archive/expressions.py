"""Expressions of the serialized language, as nodes of a Graph."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from aot.archive.annotations import annotation_type, dotted_name
from aot.archive.code_text import CodeError
from aot.archive.literals import NotLiteral, literal_value, stored_constant
from lowering import types
from lowering.graph import Function, Graph, Value, type_of_value
from lowering.graph_builder import Builder
from lowering.objects import EnumValue
from lowering.result_types import result_types
from lowering.types import (
    Bool, ClassType, DictType, EnumType, FunctionType, Int, InterfaceType, ListType, OptionalType,
    Str, TensorType, TupleType, Type,
)

if TYPE_CHECKING:
    from aot.archive.program import Program, SourceFile

# What general TorchScript writes as operators; PyTorch's own writer spells them as calls.
_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv",
    ast.Mod: "remainder", ast.Pow: "pow", ast.MatMult: "matmul", ast.BitAnd: "__and__",
    ast.BitOr: "__or__", ast.BitXor: "__xor__", ast.LShift: "__lshift__",
    ast.RShift: "__rshift__",
}
_COMPARE = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
    ast.Is: "__is__", ast.IsNot: "__isnot__",
}
# Attributes of tensors that are operators in disguise.
_TENSOR_ATTRIBUTES = {
    "shape": "aten::size", "dtype": "prim::dtype", "device": "prim::device", "T": "aten::numpy_T",
    "requires_grad": "prim::requires_grad", "layout": "prim::layout", "data": "prim::data",
    "is_cuda": "prim::is_cuda", "is_quantized": "prim::is_quantized", "ndim": "aten::dim",
}


class Expressions:
    """Reads expressions into `graph`, at the insertion point of `builder`.

    `env` maps each local name to its Value; a name that stands for a function or a nested
    definition maps to that.
    """

    def __init__(
        self, program: Program, file: SourceFile, outer: Expressions | None = None
    ) -> None:
        self.program = program
        self.file = file
        self.graph = Graph()
        self.builder = Builder(self.graph)
        self.env: dict[str, Value | Function | ast.FunctionDef] = {}
        self.declared: dict[str, Type] = {}
        self.outer = outer
        self.newest_constant: Value | None = None  # it may still get a name
        self.captured: list[Value] = []  # values of `outer` that became inputs here

    # --- helpers ------------------------------------------------------------------------------

    def error(self, message: str, node: ast.AST) -> CodeError:
        return CodeError(message, getattr(node, "lineno", 0))

    def at(self, node: ast.AST) -> None:
        """Give the nodes made from now on the place of `node`."""
        self.builder.range = self.file.range(node)

    def type(self, node: ast.expr) -> Type:
        return annotation_type(node, self.program.find_class)

    def operator(
        self,
        kind: str,
        arguments: list[Value],
        keywords: dict[str, Value] | None = None,
        targets: int = 1,
    ) -> list[Value]:
        """Insert an operator and return its outputs, typed by the operator's rule."""
        keywords = keywords or {}
        outputs = result_types(
            kind,
            [v.type for v in arguments],
            {name: v.type for name, v in keywords.items()},
            targets,
        )
        inputs = [*arguments, *keywords.values()]
        return self.builder.node(kind, inputs, outputs, kwarg_names=tuple(keywords)).outputs

    def one(self, outputs: list[Value], node: ast.AST) -> Value:
        """The value of an expression with these outputs: a tuple if several, None if none."""
        if len(outputs) == 1:
            return outputs[0]
        if not outputs:
            return self.builder.constant(None)
        type_ = TupleType(tuple(v.type for v in outputs))
        return self.builder.op("prim::TupleConstruct", outputs, type_)

    # --- expressions --------------------------------------------------------------------------

    def expression(self, node: ast.expr, hint: Type | None = None) -> Value:
        """The value of an expression; `hint` is the type its context states, for empty lists."""
        if not isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.Attribute)):
            try:
                value = literal_value(node, ())
            except NotLiteral:
                pass
            else:
                self.at(node)
                count = self.graph.constants
                constant = self.builder.constant(value)
                if self.graph.constants > count:
                    self.newest_constant = constant
                return constant
        reader = _READERS.get(type(node))
        if reader is None:
            raise self.error(f"{type(node).__name__} is not part of the serialized language", node)
        return reader(self, node, hint)

    def call(self, node: ast.Call, hint: Type | None = None, targets: int = 1) -> list[Value]:
        raise NotImplementedError  # lives in calls.py

    def _call(self, node: ast.Call, hint: Type | None) -> Value:
        return self.one(self.call(node, hint), node)

    def _name(self, node: ast.Name, hint: Type | None) -> Value:
        found = self.lookup(node.id)
        if found is None:
            raise self.error(f"the name {node.id!r} is not defined", node)
        if isinstance(found, Function):
            return self.function_value(found)
        if not isinstance(found, Value):
            raise self.error(f"{node.id!r} is not a value", node)
        return found

    def lookup(self, name: str) -> Value | Function | ast.FunctionDef | None:
        """What a local name stands for; inside a fork, outer values become inputs."""
        found = self.env.get(name)
        if found is not None or self.outer is None:
            return found
        found = self.outer.lookup(name)
        if isinstance(found, Value):
            if found.is_constant:
                inner = self.builder.constant(found.constant, found.type)
            else:
                self.captured.append(found)
                inner = self.builder.add_param(self.graph.block, found.type, name)
            self.env[name] = inner
            return inner
        return found

    def function_value(self, function: Function) -> Value:
        return self.builder.constant(function, FunctionType(function))

    def _attribute(self, node: ast.Attribute, hint: Type | None) -> Value:
        try:
            constant = stored_constant(node, self.program.constants)
        except NotLiteral:
            pass
        else:
            return self.builder.constant(constant, type_of_value(constant))
        name = dotted_name(node)
        if name is not None and self.is_global(name):
            return self._global(name, node)
        base = self.expression(node.value)
        self.at(node)
        return self.attribute(base, node.attr, node)

    def is_global(self, name: str) -> bool:
        """Whether a dotted name starts at a module of the language, not at a local."""
        first = name.partition(".")[0]
        return first in ("__torch__", "torch", "ops") and self.lookup(first) is None

    def _global(self, name: str, node: ast.AST) -> Value:
        if not name.startswith("__torch__."):
            raise self.error(f"{name} is not a value", node)
        prefix, _, last = name.rpartition(".")
        enum = self.program.look_up(prefix)
        if isinstance(enum, EnumType) and last in enum.members:
            return self.builder.constant(EnumValue(enum, last), enum)
        found = self.definition(name, node)
        if not isinstance(found, Function):
            raise self.error(f"{name} is a class, expected a value", node)
        return self.function_value(found)

    def definition(self, name: str, node: ast.AST) -> Type | Function:
        """What the archive defines under a qualified name."""
        found = self.program.look_up(name)
        if found is None:
            raise self.error(f"the archive does not define {name}", node)
        return found

    def attribute(self, base: Value, name: str, node: ast.AST) -> Value:
        """`base.name`: an attribute of an object, a field of a NamedTuple, part of an enum."""
        type_ = base.type
        if isinstance(type_, ClassType):
            if name in type_.attributes:
                hint = re.sub(r"\W", "_", name)
                hint = f"_{hint}" if hint[:1].isdigit() else hint
                return self.builder.op(
                    "prim::GetAttr", [base], type_.attributes[name], attributes={"name": name},
                    names=(hint,),
                )
            if name in type_.constants:
                return self.builder.constant(type_.constants[name], type_.constant_types[name])
            raise self.error(f"{type_.name} has no attribute {name!r}", node)
        if isinstance(type_, TupleType) and type_.fields and name in type_.fields:
            index = type_.fields.index(name)
            inputs = [base, self.builder.constant(index)]
            return self.builder.op("prim::TupleIndex", inputs, type_.elements[index])
        if isinstance(type_, EnumType) and name in ("name", "value"):
            kind = "prim::EnumName" if name == "name" else "prim::EnumValue"
            return self.builder.op(kind, [base], Str if name == "name" else type_.value_type)
        if isinstance(type_, TensorType) and name in _TENSOR_ATTRIBUTES:
            return self.operator(_TENSOR_ATTRIBUTES[name], [base])[0]
        if type_ == types.Device and name in ("type", "index"):
            return self.operator(f"prim::{name}", [base])[0]
        if isinstance(type_, InterfaceType):
            raise self.error(f"an interface has no attributes; {name!r} was asked for", node)
        raise self.error(f"a value of type {type_} has no attribute {name!r}", node)

    def _subscript(self, node: ast.Subscript, hint: Type | None) -> Value:
        base = self.expression(node.value)
        self.at(node)
        if isinstance(node.slice, ast.Slice):
            return self._slice(base, node.slice, node)
        if isinstance(base.type, TupleType):
            return self._tuple_item(base, node)
        index = self.expression(node.slice)
        self.at(node)
        if isinstance(base.type, ClassType):
            return self._module_item(base, index, hint, node)
        if isinstance(base.type, TensorType):
            return self.operator("aten::select", [base, self.builder.constant(0), index])[0]
        return self.operator("aten::__getitem__", [base, index])[0]

    def _tuple_item(self, base: Value, node: ast.Subscript) -> Value:
        elements = base.type.elements
        try:
            index = literal_value(node.slice, ())
        except NotLiteral:
            index = None
        if not isinstance(index, int):
            # Only a tuple whose elements agree may be indexed by a run-time number.
            if not elements or any(e != elements[0] for e in elements):
                raise self.error("a tuple's index is a constant", node)
            position = self.expression(node.slice)
            if position.type != Int:
                raise self.error(f"a tuple's index is an int, found {position.type}", node)
            inputs = [base, position]
            return self.builder.op("prim::TupleIndex", inputs, elements[0])
        if not -len(elements) <= index < len(elements):
            raise self.error(f"index {index} of a tuple of {len(elements)} elements", node)
        inputs = [base, self.builder.constant(index)]
        return self.builder.op("prim::TupleIndex", inputs, elements[index])

    def _module_item(self, base: Value, index: Value, hint: Type | None, node: ast.AST) -> Value:
        """`modules[i]` of a ModuleList or ModuleDict; the context states the interface."""
        if hint is None:
            raise self.error("the item of a module container needs a stated type", node)
        return self.builder.op("prim::ModuleContainerIndex", [base, index], hint)

    def _slice(self, base: Value, slice_: ast.Slice, node: ast.AST) -> Value:
        if isinstance(base.type, TupleType):
            return self._tuple_slice(base, slice_, node)
        bounds = [slice_.lower, slice_.upper, slice_.step]
        values = [
            self.expression(b) if b is not None else self.builder.constant(1 if i == 2 else None)
            for i, b in enumerate(bounds)
        ]
        if isinstance(base.type, TensorType):
            values.insert(0, self.builder.constant(0))
        return self.operator("aten::slice", [base, *values])[0]

    def _tuple_slice(self, base: Value, slice_: ast.Slice, node: ast.AST) -> Value:
        elements = base.type.elements
        try:
            bounds = [
                None if b is None else literal_value(b, ())
                for b in (slice_.lower, slice_.upper, slice_.step)
            ]
            taken = range(len(elements))[slice(*bounds)]
        except (NotLiteral, TypeError, ValueError):
            raise self.error("the bounds of a tuple's slice are constants", node) from None
        parts = [
            self.builder.op("prim::TupleIndex", [base, self.builder.constant(i)], elements[i])
            for i in taken
        ]
        type_ = TupleType(tuple(p.type for p in parts))
        return self.builder.op("prim::TupleConstruct", parts, type_)

    # --- displays -----------------------------------------------------------------------------

    def _list(self, node: ast.List, hint: Type | None) -> Value:
        hint = hint.element if isinstance(hint, OptionalType) else hint
        element = hint.element if isinstance(hint, ListType) else None
        values = [self.expression(e, element) for e in node.elts]
        if element is None:
            element = self._common_type(values, node)
        self.at(node)
        return self.builder.op("prim::ListConstruct", values, ListType(element))

    def _common_type(self, values: list[Value], node: ast.AST) -> Type:
        if not values:
            return types.Tensor  # as TorchScript has it
        common: Type | None = values[0].type
        for value in values[1:]:
            common = None if common is None else types.unify(common, value.type)
        if common is None:
            found = ", ".join(sorted({str(v.type) for v in values}))
            raise self.error(f"the elements of a list have different types: {found}", node)
        return types.Tensor if isinstance(common, TensorType) else common

    def _tuple(self, node: ast.Tuple, hint: Type | None) -> Value:
        hint = hint.element if isinstance(hint, OptionalType) else hint
        hints = hint.elements if isinstance(hint, TupleType) else ()
        if len(hints) != len(node.elts):
            hints = (None,) * len(node.elts)
        values = [self.expression(e, h) for e, h in zip(node.elts, hints)]
        self.at(node)
        type_ = TupleType(tuple(v.type for v in values))
        return self.builder.op("prim::TupleConstruct", values, type_)

    def _dict(self, node: ast.Dict, hint: Type | None) -> Value:
        hint = hint.element if isinstance(hint, OptionalType) else hint
        stated = (hint.key, hint.value) if isinstance(hint, DictType) else (None, None)
        inputs = []
        for key, value in zip(node.keys, node.values):
            if key is None:
                raise self.error("`**` in a dict is not part of the serialized language", node)
            inputs += [self.expression(key, stated[0]), self.expression(value, stated[1])]
        if stated[0] is None:
            stated = (Str, types.Tensor)
            if inputs:
                stated = tuple(self._common_type(inputs[i::2], node) for i in (0, 1))
        self.at(node)
        return self.builder.op("prim::DictConstruct", inputs, DictType(*stated))

    # --- operators of general TorchScript -----------------------------------------------------

    def _binop(self, node: ast.BinOp, hint: Type | None) -> Value:
        name = _BINARY.get(type(node.op))
        if name is None:
            raise self.error(f"the operator {type(node.op).__name__} is not known", node)
        operands = [self.expression(node.left), self.expression(node.right)]
        self.at(node)
        return self.operator(f"aten::{name}", operands)[0]

    def _unaryop(self, node: ast.UnaryOp, hint: Type | None) -> Value:
        operand = self.expression(node.operand)
        self.at(node)
        if isinstance(node.op, ast.UAdd):
            return operand
        if isinstance(node.op, ast.Not):
            return self.operator("aten::__not__", [self.as_bool(operand)])[0]
        kind = "aten::neg" if isinstance(node.op, ast.USub) else "aten::bitwise_not"
        return self.operator(kind, [operand])[0]

    def _compare(self, node: ast.Compare, hint: Type | None) -> Value:
        if len(node.ops) != 1:
            raise self.error("a chained comparison is not part of the serialized language", node)
        left, right = self.expression(node.left), self.expression(node.comparators[0])
        self.at(node)
        operator = node.ops[0]
        if isinstance(operator, (ast.In, ast.NotIn)):
            found = self.operator("aten::__contains__", [right, left])[0]
            if isinstance(operator, ast.In):
                return found
            return self.operator("aten::__not__", [found])[0]
        return self.operator(f"aten::{_COMPARE[type(operator)]}", [left, right])[0]

    def as_bool(self, value: Value) -> Value:
        """`value` as the condition of an `if`: a bool stays, a tensor or number is converted."""
        return value if value.type == Bool else self.operator("aten::Bool", [value])[0]

    def as_int(self, value: Value) -> Value:
        return value if value.type == Int else self.operator("aten::Int", [value])[0]


_READERS = {
    ast.Name: Expressions._name,
    ast.Attribute: Expressions._attribute,
    ast.Subscript: Expressions._subscript,
    ast.Call: Expressions._call,
    ast.List: Expressions._list,
    ast.Tuple: Expressions._tuple,
    ast.Dict: Expressions._dict,
    ast.BinOp: Expressions._binop,
    ast.UnaryOp: Expressions._unaryop,
    ast.Compare: Expressions._compare,
}
