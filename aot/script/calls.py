"""Calls: operators, functions, methods, classes."""

from __future__ import annotations

import ast

from aot.script.environment import unpack_tuple
from aot.script.subscripts import Subscripts
from aot.script.values import (
    Cast, ClassRef, Dispatch, FunctionRef, Ignored, MethodRef, Operator, Overloads, Several,
    Special,
)  # fmt: skip
from lowering import types
from lowering.graph import Function, Parameter, Value
from lowering.types import (
    ClassType, DictType, EnumType, InterfaceType, ListType, TupleType, Type,
)

_IGNORED = "This Python function is annotated to be ignored and cannot be run"
_ANY_ARGUMENTS = ("aten::format", "aten::percentFormat")
# x.float() and its kin are functions of TorchScript, made of `to`: the dtypes' codes.
TENSOR_CASTS = {"aten::byte": 0, "aten::char": 1, "aten::short": 2, "aten::int": 3, "aten::long": 4,
                "aten::half": 5, "aten::float": 6, "aten::double": 7}
_DEPTH_CODES = {types.Int: 0, types.Float: 1, types.Complex: 2, types.Bool: 3}


class Calls(Subscripts):
    """Adds calls to expressions."""

    def _call(self, node: ast.Call, hint: Type | None) -> object:
        target = self.meaning(node.func)
        return self.call(target, node, hint)

    def special_name(self, node: ast.expr) -> str | None:
        """The name of the compiler's own function that an expression names, if it names one."""
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or self.frame.owner(root.id) is not None:
            return None
        found = self.resolver.global_path(self, node)
        return found.name if isinstance(found, Special) else None

    def call(self, target: object, node: ast.Call, hint: Type | None) -> object:
        if isinstance(target, Special):
            return getattr(self, f"_call_{target.name}")(node, hint)
        if isinstance(target, Operator):
            return self._operator(target, node, hint)
        if isinstance(target, Cast):
            return self._cast(target, node)
        if isinstance(target, MethodRef):
            args, kwargs = self.arguments(node, target.function, 1)
            return self.call_method(target, args, kwargs, node)
        if isinstance(target, FunctionRef):
            return self.call_function(target.function, node)
        if isinstance(target, Overloads):
            return self._overloaded(target, node)
        if isinstance(target, ClassRef):
            return self._construct(target.type, node)
        if isinstance(target, Ignored):
            return self._ignored(target, node)
        if isinstance(target, Dispatch):
            return self._dispatched(target, node)
        if isinstance(target, Value):
            if isinstance(target.type, types.FunctionType):
                return self.call_function(target.type.function, node, target)
            if isinstance(target.type, ClassType) and target.type.is_module:
                return self.resolver.call_module(self, target, node)
            if isinstance(target.type, InterfaceType) and target.type.is_module:
                method = target.type.methods.get("forward")
                if method is not None:
                    args, kwargs = self.arguments(node, method, 1)
                    return self.call_method(MethodRef(target, "forward", method), args, kwargs,
                                            node)
            if isinstance(target.type, ClassType) and "__call__" in target.type.methods:
                method = target.type.methods["__call__"]
                args, kwargs = self.arguments(node, method, 1)
                return self.call_method(MethodRef(target, "__call__", method), args, kwargs, node)
            raise self.error(f"'{target.type.annotation()}' object is not callable", node)
        return self.resolver.call(self, target, node, hint)

    def arguments(
        self, node: ast.Call, function: Function | None = None, skip: int = 0
    ) -> tuple[list[Value], dict[str, Value]]:
        """The arguments of a call; what a parameter states is a hint for its argument."""
        parameters = function.parameters[skip:] if function is not None else []
        by_name = {p.name: p.type for p in parameters}
        args: list[Value] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                args += self._starred(argument)
                continue
            hint = parameters[len(args)].type if len(args) < len(parameters) else None
            if isinstance(argument, ast.List) and not argument.elts:
                hint = None  # an empty list is made again when its type is known
            args.append(self.expression(argument, hint))
        kwargs = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("keyword-arg expansion is not supported", node)
            kwargs[keyword.arg] = self.expression(keyword.value, by_name.get(keyword.arg))
        return args, kwargs

    def _starred(self, node: ast.Starred) -> list[Value]:
        meaning = self.meaning(node.value)
        if isinstance(meaning, Several):
            return [self.as_value(m, node) for m in meaning.items]
        value = self.as_value(meaning, node)
        if not isinstance(value.type, TupleType):
            raise self.error(f"cannot use a value of type {value.type.annotation()} as *args: only "
                             "tuples have a known length", node)
        return unpack_tuple(self, value)

    # --- operators, casts ---------------------------------------------------------------------

    def _operator(self, target: Operator, node: ast.Call, hint: Type | None) -> Value:
        name = target.name
        if name == "aten::tolist" and target.receiver is not None:
            return self._to_list(target.receiver, node, hint)
        args, kwargs = self.arguments(node)
        if name in _ANY_ARGUMENTS:
            self.at(node)
            first = [] if target.receiver is None else [target.receiver]
            return self.op(name, [*first, *args], types.Str)
        if target.receiver is not None:
            args = [target.receiver, *args]
            if name in TENSOR_CASTS and not args[1:] and not kwargs:
                self.at(node)
                return self.operator("aten::to", [*args, self.constant(TENSOR_CASTS[name])], node)
            if isinstance(target.receiver.type, (ListType, DictType)) and name == "aten::copy":
                name = "aten::copy"
        kwargs = {("self" if k == "input" else k): v for k, v in kwargs.items()}
        if name in ("aten::tensor", "aten::as_tensor") and args and args[0].type == types.NoneT:
            raise self.error("tensor() of None", node)
        return self.operator(name, args, node, kwargs)

    def _to_list(self, tensor: Value, node: ast.Call, hint: Type | None) -> Value:
        depth, element = 0, hint
        while isinstance(element, ListType):
            depth, element = depth + 1, element.element
        if element not in _DEPTH_CODES:
            raise self.error("Expected type hint for result of tolist()", node)
        self.at(node)
        codes = [self.constant(depth), self.constant(_DEPTH_CODES[element])]
        return self.op("prim::tolist", [tensor, *codes], hint)

    def _cast(self, target: Cast, node: ast.Call) -> Value:
        if len(node.args) != 1 or node.keywords:
            if target.type == types.Complex and len(node.args) == 2:
                args, _ = self.arguments(node)
                return self.operator("aten::Complex", args, node)
            raise self.error(f"expected exactly 1 argument for {target.type.annotation()}()", node)
        value = self.expression(node.args[0])
        if isinstance(value.type, ClassType):
            names = {types.Int: "__int__", types.Float: "__float__", types.Bool: "__bool__",
                     types.Str: "__str__"}
            return self.magic(value, names[target.type], [], node)
        self.at(node)
        if target.type == types.Str:
            self.constant(0)
            if value.type == types.Str:
                return value
            return self.op("aten::str", [value], types.Str)
        self.constant(0)
        if value.type == target.type:
            return value
        return self.operator(target.operator, [value], node)

    # --- functions, methods, classes ----------------------------------------------------------

    def call_function(self, function: Function, node: ast.Call, value: Value | None = None):
        args, kwargs = self.arguments(node, function)
        return self.call_with(function, args, kwargs, node, value)

    def call_with(self, function: Function, args, kwargs, node, value: Value | None = None):
        self.resolver.ready(function, node, self)
        inputs = self.match.arguments(function, [], args, kwargs, node)
        if value is None:
            value = self.op("prim::Constant", [], types.FunctionType(function),
                            {"value": function})
        return self.op("prim::CallFunction", [value, *inputs], function.returns)

    def call_method(self, method: MethodRef, args, kwargs, node) -> Value:
        self.resolver.ready(method.function, node, self)
        inputs = self.match.arguments(method.function, [method.receiver], args, kwargs, node)
        return self.op("prim::CallMethod", inputs, method.function.returns, {"name": method.name})

    def _overloaded(self, target: Overloads, node: ast.Call) -> Value:
        args, kwargs = self.arguments(node)
        first = [] if target.receiver is None else [target.receiver]
        for function in target.functions:
            if self.match.fits(function, [*first, *args], kwargs):
                break
        else:
            function = target.functions[0]
        if target.receiver is None:
            return self.call_with(function, args, kwargs, node)
        name = function.name.rpartition(".")[2]
        return self.call_method(MethodRef(target.receiver, name, function), args, kwargs, node)

    def _dispatched(self, target: Dispatch, node: ast.Call) -> Value:
        args, kwargs = self.arguments(node, target.if_false)
        flag = kwargs.get(target.flag)
        if flag is None and len(args) > target.index:
            flag = args[target.index]
        if flag is not None and not flag.is_constant:
            raise self.error(f"the argument {target.flag} must be a constant", node)
        chosen = target.if_true if flag is not None and flag.constant else target.if_false
        return self.call_with(chosen, args, kwargs, node)

    def _construct(self, type_: object, node: ast.Call) -> Value:
        if isinstance(type_, TupleType):
            return self._named_tuple(type_, node)
        if isinstance(type_, EnumType):
            return self._enum_of(type_, node)
        if isinstance(type_, InterfaceType):
            raise self.error(f"the interface {type_.name} cannot be instantiated", node)
        init = type_.methods.get("__init__")
        args, kwargs = ([], {}) if init is None else self.arguments(node, init, 1)
        self.at(node)
        instance = self.op("prim::CreateObject", [], type_)
        if init is not None:
            self.resolver.ready(init, node, self)
            inputs = self.match.arguments(init, [instance], args, kwargs, node)
            self.op("prim::CallMethod", inputs, types.NoneT, {"name": "__init__"})
        return instance

    def _named_tuple(self, type_: TupleType, node: ast.Call) -> Value:
        first = len(type_.fields) - len(type_.defaults)
        parameters = []
        for i, (name, element) in enumerate(zip(type_.fields, type_.elements)):
            default = type_.defaults[i - first] if i >= first else ...
            parameters.append(Parameter(name, element, default))
        constructor = Function(type_.name, parameters, type_)
        args, kwargs = self.arguments(node, constructor)
        inputs = self.match.arguments(constructor, [], args, kwargs, node)
        return self.op("prim::TupleConstruct", inputs, type_)

    def _enum_of(self, type_: EnumType, node: ast.Call) -> Value:
        raise self.error(f"the enumeration {type_.name} cannot be called", node)

    def _ignored(self, target: Ignored, node: ast.Call) -> Value:
        """A call of a function that Python keeps to itself, or that must not be called."""
        function = target.function
        first = [] if target.receiver is None else [target.receiver]
        args, kwargs = self.arguments(node, function, len(first))
        if target.python is None:
            self.at(node)
            self.builder.node("prim::RaiseException", [self.constant(_IGNORED),
                                                       self.constant(None)])
            self.constant(None)
            return self.op("prim::Uninitialized", [], function.returns)
        inputs = self.match.arguments(function, first, args, kwargs, node)
        name = function.name.rpartition(".")[2]
        return self.op("prim::PythonOp", inputs, function.returns,
                       {"name": name, "value": target.python})
