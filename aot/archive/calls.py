"""Calls of the serialized language: operators, methods, functions, constructions, conversions."""

from __future__ import annotations

import ast

from aot.archive.annotations import dotted_name
from aot.archive.expressions import Expressions
from aot.archive.literals import NotLiteral, literal_value
from aot.archive.upgraders import UPGRADERS
from lowering import types
from lowering.graph import Function, Value
from lowering.objects import DeviceValue
from lowering.types import (
    Bool, ClassType, FunctionType, FutureType, Int, InterfaceType, ListType, NoneT, OptionalType,
    TensorType, TupleType, Type,
)

_CONVERSIONS = {"int": "aten::Int", "float": "aten::Float", "bool": "aten::Bool",
                "str": "aten::str", "complex": "aten::Complex"}
# Functions of Python that name an operator without its namespace.
_PLAIN_OPERATORS = {
    "sorted": "aten::sorted", "len": "aten::len", "list": "aten::list", "dict": "aten::dict",
    "ord": "aten::ord", "chr": "aten::chr", "hash": "aten::hash", "round": "aten::round",
    "abs": "prim::abs", "min": "prim::min", "max": "prim::max", "hex": "aten::hex",
    "oct": "aten::oct", "bin": "aten::bin", "divmod": "aten::divmod", "id": "prim::id",
}
# annotate(int, tensor) converts, and refuses tensors that require gradients.
_IMPLICIT = {Int: "aten::IntImplicit", types.Float: "aten::FloatImplicit",
             types.Complex: "aten::ComplexImplicit", types.Number: "aten::ScalarImplicit"}
_ELEMENT_CODES = {Int: 0, types.Float: 1, types.Complex: 2, Bool: 3}


class Calls(Expressions):
    """Adds calls to expressions."""

    def call(self, node: ast.Call, hint: Type | None = None, targets: int = 1) -> list[Value]:
        """Insert what a call stands for, and return its outputs.

        `targets` is the number of names the results go to; it matters for operators only.
        """
        name = dotted_name(node.func)
        if name is not None and self.is_global(name):
            if name.startswith("__torch__."):
                return [self._definition_call(name, node, hint)]
            return self._operator_call(name, node, hint, targets)
        if isinstance(node.func, ast.Name) and self.lookup(node.func.id) is None:
            return self._builtin_call(node.func.id, node, hint)
        if isinstance(node.func, ast.Attribute):
            return self._method_call(node.func, node, hint)
        target = self.expression(node.func)
        if not isinstance(target.type, FunctionType):
            raise self.error(f"a value of type {target.type} cannot be called", node)
        return [self._function_call(target, node)]

    # --- operators ----------------------------------------------------------------------------

    def _operator_call(
        self, name: str, node: ast.Call, hint: Type | None, targets: int
    ) -> list[Value]:
        space, _, operator = name.partition(".")
        if space == "ops":
            space, _, operator = operator.partition(".")
        else:
            # Functional spellings such as torch.nn.functional.X are not serialized this way.
            space = "aten"
        if not operator or "." in operator:
            raise self.error(f"{name} is not an operator", node)
        if (space, operator) == ("aten", "device"):
            constant = self._device_constant(node)
            if constant is not None:
                return [constant]
        if space == "aten" and operator in ("Size",) and len(node.args) == 1:
            return [self.expression(node.args[0])]
        arguments, keywords = self._arguments(node)
        self.at(node)
        kind = f"{space}::{operator}"
        if kind == "prim::RaiseException":
            if len(arguments) == 1:
                arguments.append(self.builder.constant(None))
            self.builder.node(kind, arguments)
            return []
        upgrader = UPGRADERS.get(kind) if self.program.version < 10 else None
        if upgrader is not None and self.program.version < upgrader.version:
            upgraded = upgrader.build(self.builder, arguments, keywords)
            if upgraded is not None:
                return [upgraded]
        outputs = self.operator(kind, arguments, keywords, targets)
        if hint is not None and len(outputs) == 1 and _is_vague(outputs[0].type):
            outputs[0].type = hint
        return outputs

    def _device_constant(self, node: ast.Call) -> Value | None:
        try:
            texts = [literal_value(a, ()) for a in node.args]
        except NotLiteral:
            return None
        if node.keywords or not texts or not isinstance(texts[0], str):
            return None
        self.at(node)
        try:
            device = DeviceValue.parse(":".join(map(str, texts)))
        except ValueError as error:
            raise self.error(str(error), node) from None
        return self.builder.constant(device, types.Device)

    def _arguments(self, node: ast.Call) -> tuple[list[Value], dict[str, Value]]:
        arguments = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                raise self.error("`*` in a call is not part of the serialized language", node)
            arguments.append(self.expression(argument))
        keywords = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("`**` in a call is not part of the serialized language", node)
            keywords[keyword.arg] = self.expression(keyword.value)
        return arguments, keywords

    # --- functions, methods, classes ----------------------------------------------------------

    def _function_call(self, target: Value, node: ast.Call) -> Value:
        function = target.type.function
        arguments = self._bound_arguments(function, [], node)
        return self.builder.op("prim::CallFunction", [target, *arguments], function.returns)

    def _bound_arguments(
        self, function: Function, first: list[Value], node: ast.Call
    ) -> list[Value]:
        """The arguments of a call in the order of the parameters, defaults filled in."""
        parameters = function.parameters[len(first) :]
        if len(node.args) > len(parameters):
            raise self.error(
                f"{function.name} takes {len(parameters)} arguments, {len(node.args)} are given",
                node,
            )
        given = {p.name: a for p, a in zip(parameters, node.args)}
        for keyword in node.keywords:
            if keyword.arg in given or keyword.arg not in {p.name for p in parameters}:
                raise self.error(f"{function.name} has no argument {keyword.arg!r} left", node)
            given[keyword.arg] = keyword.value
        values = list(first)
        for parameter in parameters:
            if parameter.name in given:
                values.append(self.expression(given[parameter.name], parameter.type))
            elif parameter.required:
                raise self.error(f"{function.name} needs an argument {parameter.name!r}", node)
            else:
                values.append(self.builder.constant(parameter.default, parameter_type(parameter)))
        self.at(node)
        return values

    def _method_call(
        self, func: ast.Attribute, node: ast.Call, hint: Type | None
    ) -> list[Value]:
        if func.attr == "__new__" and dotted_name(func.value) is not None:
            return [self._new_object(node)]
        base = self.expression(func.value)
        name = func.attr
        if isinstance(base.type, (ClassType, InterfaceType)):
            method = base.type.methods.get(name)
            if method is None:
                raise self.error(f"{base.type.name} has no method {name!r}", node)
            arguments = self._bound_arguments(method, [base], node)
            return [
                self.builder.op(
                    "prim::CallMethod", arguments, method.returns, attributes={"name": name}
                )
            ]
        if name == "tolist" and isinstance(base.type, TensorType):
            return [self._to_list(base, node, hint)]
        arguments, keywords = self._arguments(node)
        self.at(node)
        return self.operator(f"aten::{name}", [base, *arguments], keywords)

    def _to_list(self, tensor: Value, node: ast.Call, hint: Type | None) -> Value:
        depth, element = 0, hint
        while isinstance(element, ListType):
            depth, element = depth + 1, element.element
        if element not in _ELEMENT_CODES:
            raise self.error("tolist() needs a stated type, as in annotate(List[int], ...)", node)
        self.at(node)
        codes = [self.builder.constant(depth), self.builder.constant(_ELEMENT_CODES[element])]
        return self.builder.op("prim::tolist", [tensor, *codes], hint)

    def _new_object(self, node: ast.Call) -> Value:
        if len(node.args) != 1:
            raise self.error("__new__ takes a class", node)
        cls = self.type(node.args[0])
        if not isinstance(cls, ClassType):
            raise self.error(f"expected a class, found {cls}", node)
        self.at(node)
        return self.builder.op("prim::CreateObject", [], cls)

    def _definition_call(self, name: str, node: ast.Call, hint: Type | None) -> Value:
        if name.endswith(".__new__"):
            return self._new_object(node)
        found = self.definition(name, node)
        if isinstance(found, Function):
            return self._function_call(self.function_value(found), node)
        if isinstance(found, TupleType):
            return self._named_tuple(found, node)
        if isinstance(found, ClassType):
            self.at(node)
            instance = self.builder.op("prim::CreateObject", [], found)
            init = found.methods.get("__init__")
            if init is not None:
                arguments = self._bound_arguments(init, [instance], node)
                self.builder.op(
                    "prim::CallMethod", arguments, NoneT, attributes={"name": "__init__"}
                )
            return instance
        raise self.error(f"{name} cannot be called", node)

    def _named_tuple(self, type_: TupleType, node: ast.Call) -> Value:
        fields = dict(zip(type_.fields, node.args))
        fields.update({k.arg: k.value for k in node.keywords})
        defaults = dict(zip(reversed(type_.fields), reversed(type_.defaults)))
        values = []
        for field, element in zip(type_.fields, type_.elements):
            if field in fields:
                values.append(self.expression(fields[field], element))
            elif field in defaults:
                values.append(self.builder.constant(defaults[field]))
            else:
                raise self.error(f"{type_.name} needs a field {field!r}", node)
        self.at(node)
        return self.builder.op("prim::TupleConstruct", values, type_)

    # --- the language's own functions ---------------------------------------------------------

    def _builtin_call(self, name: str, node: ast.Call, hint: Type | None) -> list[Value]:
        reader = {
            "annotate": self._annotate, "unchecked_cast": self._unchecked_cast,
            "uninitialized": self._uninitialized, "isinstance": self._isinstance,
            "getattr": self._getattr, "fork": self._fork,
        }.get(name)
        if reader is not None:
            return [reader(node)]
        if name not in _CONVERSIONS and name not in _PLAIN_OPERATORS and name != "print":
            raise self.error(f"the function {name!r} is not defined", node)
        arguments, keywords = self._arguments(node)
        self.at(node)
        if name == "print":
            self.builder.node("prim::Print", arguments)
            return []
        if name in _CONVERSIONS:
            return self.operator(_CONVERSIONS[name], arguments, keywords)
        return self.operator(_PLAIN_OPERATORS[name], arguments, keywords)

    def _typed(self, node: ast.Call) -> tuple[Type, ast.expr]:
        """The two arguments of annotate(T, v) and its like."""
        if len(node.args) != 2 or node.keywords:
            raise self.error("expected a type and a value", node)
        return self.type(node.args[0]), node.args[1]

    def _annotate(self, node: ast.Call) -> Value:
        type_, expression = self._typed(node)
        value = self.expression(expression, type_)
        if types.is_subtype(value.type, type_):
            return value
        if isinstance(type_, ListType) and isinstance(value.type, ListType):
            value.type = type_  # a fresh list whose element type only the context knows
            return value
        self.at(node)
        implicit = _IMPLICIT.get(type_) if isinstance(value.type, TensorType) else None
        return self.builder.op(implicit or "prim::unchecked_cast", [value], type_)

    def _unchecked_cast(self, node: ast.Call) -> Value:
        type_, expression = self._typed(node)
        value = self.expression(expression, type_)
        self.at(node)
        return self.builder.op("prim::unchecked_cast", [value], type_)

    def _uninitialized(self, node: ast.Call) -> Value:
        if len(node.args) != 1:
            raise self.error("uninitialized takes a type", node)
        self.at(node)
        return self.builder.op("prim::Uninitialized", [], self.type(node.args[0]))

    def _isinstance(self, node: ast.Call) -> Value:
        if len(node.args) != 2:
            raise self.error("isinstance takes a value and a type", node)
        value = self.expression(node.args[0])
        wanted = node.args[1]
        listed = wanted.elts if isinstance(wanted, (ast.Tuple, ast.List)) else [wanted]
        asked = [self.type(t) for t in listed]
        self.at(node)
        return self.builder.op("prim::isinstance", [value], Bool, attributes={"types": asked})

    def _getattr(self, node: ast.Call) -> Value:
        name = node.args[1].value if len(node.args) == 2 and _is_text(node.args[1]) else None
        if name is None:
            raise self.error("getattr takes an object and a constant name", node)
        base = self.expression(node.args[0])
        self.at(node)
        return self.attribute(base, name, node)

    def _fork(self, node: ast.Call) -> Value:
        name = dotted_name(node.args[0]) if node.args else None
        definition = self.lookup(name) if name else None
        if not isinstance(definition, ast.FunctionDef) or len(node.args) != 1:
            raise self.error("fork takes a function defined just before it", node)
        inner = type(self)(self.program, self.file, outer=self)
        result = inner.body(definition)
        self.at(node)
        return self.builder.op(
            "prim::fork",
            inner.captured,
            FutureType(result.type),
            attributes={"Subgraph": inner.graph},
        )

    def body(self, definition: ast.FunctionDef) -> Value:
        raise NotImplementedError  # lives in function_reader.py


def parameter_type(parameter) -> Type | None:
    """The type of the constant that stands for a default; None to let the value tell."""
    if isinstance(parameter.default, (list, dict)):
        type_ = parameter.type
        return type_.element if isinstance(type_, OptionalType) else type_
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_vague(type_: Type) -> bool:
    """Whether a rule could not say more than the context can: an empty or untyped container."""
    return type_ in (types.Any, types.Number) or (
        isinstance(type_, ListType) and _is_vague(type_.element)
    )
