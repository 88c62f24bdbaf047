"""Calls: operators, functions, methods, classes, and the functions the compiler knows itself."""

from __future__ import annotations

import ast

from aot.script.environment import IMPLICIT
from aot.script.matching import WARNINGS, unpack_tuple
from aot.script.subscripts import Subscripts
from aot.script.values import (
    Cast, ClassRef, Dispatch, FunctionRef, Ignored, Iteration, MethodRef, ModuleItems, Operator,
    Overloads, Several, Special,
)  # fmt: skip
from lowering import types
from lowering.graph import Function, Parameter, Value
from lowering.types import (
    ClassType, DictType, EnumType, FutureType, InterfaceType, ListType, OptionalType, TensorType,
    TupleType, Type,
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

    # --- the compiler's own functions ---------------------------------------------------------

    def _call_print(self, node: ast.Call, hint) -> Value:
        args, _ = self.arguments(node)
        self.at(node)
        self.builder.node("prim::Print", args)
        return Several([])

    def _call_annotate(self, node: ast.Call, hint) -> Value:
        if len(node.args) != 2 or node.keywords:
            raise self.error("expected exactly two arguments to annotate", node)
        type_ = self.resolver.annotation(node.args[0], self)
        value = self.expression(node.args[1], type_)
        if not types.is_subtype(value.type, type_):
            value = self.implicit(value, type_, node)
        return self.as_stated(value, type_, node)

    def implicit(self, value: Value, type_: Type, node: ast.AST) -> Value:
        """A tensor where a number is stated is converted; an error for anything else."""
        if isinstance(value.type, TensorType) and type_ in IMPLICIT:
            return self.op(IMPLICIT[type_], [value], type_)
        raise self.error(f"expected an expression of type {type_.annotation()} but found "
                         f"{value.type.annotation()}", node)

    def as_stated(self, value: Value, type_: Type, node: ast.AST) -> Value:
        """None that is stated to be Optional becomes a constant of that type."""
        if value.type == types.NoneT and isinstance(type_, OptionalType):
            self.at(node)
            value = self.constant(None)
            value.type = type_
        return value

    def _call_unchecked_cast(self, node: ast.Call, hint) -> Value:
        type_ = self.resolver.annotation(node.args[0], self)
        value = self.expression(node.args[1])
        self.at(node)
        return self.op("prim::unchecked_cast", [value], type_)

    def _call_isinstance(self, node: ast.Call, hint) -> Value:
        return self.condition(node).value

    def _call_hasattr(self, node: ast.Call, hint) -> Value:
        return self.condition(node).value

    def _call_getattr(self, node: ast.Call, hint) -> object:
        if len(node.args) not in (2, 3):
            raise self.error("getattr expects 2 or 3 arguments", node)
        name = node.args[1]
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            raise self.error("getattr's second argument must be a string literal", name)
        base = self.meaning(node.args[0])
        self.at(node)
        if isinstance(base, Value) and not self.modules_are_values:
            if len(node.args) == 2 or self.resolver.has_attribute(self, base, name.value):
                self.attribute(base, name.value, node)  # read once to see that it is there
        if len(node.args) == 3 and not self.resolver.has_attribute(self, base, name.value):
            return self.meaning(node.args[2])
        return self.attribute(base, name.value, node)

    def _call_len(self, node: ast.Call, hint) -> Value:
        meaning = self.meaning(node.args[0])
        if isinstance(meaning, ModuleItems):
            return self.magic(meaning.receiver, "__len__", [], node)
        if isinstance(meaning, Several):
            return self.constant(len(meaning.items))
        value = self.as_value(meaning, node)
        if isinstance(value.type, TupleType):
            self.at(node)
            return self.constant(len(value.type.elements))
        if isinstance(value.type, ClassType):
            return self.magic(value, "__len__", [], node)
        return self.operator("aten::len", [value], node)

    def _call_range(self, node: ast.Call, hint) -> Iteration:
        if not 1 <= len(node.args) <= 3 or node.keywords:
            raise self.error("range expects 1 to 3 arguments", node)
        parts = []
        for argument in node.args:
            value = self.expression(argument)
            if value.type != types.Int:
                value = self.range_bound(value, argument)
            parts.append(value)
        self.at(node)
        plain = len(parts) == 1
        if plain:
            parts.insert(0, self.constant(0))
        if len(parts) == 2:
            parts.append(self.constant(1))
        return Iteration("range", parts, plain)

    def range_bound(self, value: Value, node: ast.AST) -> Value:
        if isinstance(value.type, TensorType):
            return self.op("aten::IntImplicit", [value], types.Int)
        raise self.error(f"range() expects ints, found {value.type.annotation()}", node)

    def _call_enumerate(self, node: ast.Call, hint) -> Iteration:
        self.at(node)
        endless = self.literal(2**63 - 1)
        over = self.meaning(node.args[0])
        start = self.constant(0) if len(node.args) < 2 else self.expression(node.args[1])
        step = self.constant(1)
        counter = Iteration("range", [start, None, step], len(node.args) < 2, endless)
        return Iteration("zip", [counter, self.iterable(over, node)])

    def _call_zip(self, node: ast.Call, hint) -> Iteration:
        if not node.args:
            raise self.error("zip expects at least one argument", node)
        return Iteration("zip", [self.iterable(self.meaning(a), node) for a in node.args])

    def _call_reversed(self, node: ast.Call, hint) -> object:
        raise self.error("reversed is not supported", node)

    def _call_list(self, node: ast.Call, hint) -> Value:
        if not node.args:
            return self._list(ast.copy_location(ast.List([], ast.Load()), node), hint)
        meaning = self.meaning(node.args[0])
        if isinstance(meaning, Value) and isinstance(meaning.type, TupleType):
            parts = unpack_tuple(self, meaning)
            element = self.common_type([p.type for p in parts], "list", node)
            return self.op("prim::ListConstruct", parts, ListType(element))
        if isinstance(meaning, Value) and (
            isinstance(meaning.type, ListType) or meaning.type == types.Str
        ):
            return self.operator("aten::list", [meaning], node)
        return self.collect(meaning, node)

    def collect(self, meaning: object, node: ast.AST) -> Value:
        raise NotImplementedError  # loops.py

    def iterable(self, meaning: object, node: ast.AST) -> object:
        raise NotImplementedError  # loops.py

    def _call_tuple(self, node: ast.Call, hint) -> Value:
        meaning = self.meaning(node.args[0])
        if isinstance(meaning, Value) and isinstance(meaning.type, TupleType):
            return meaning
        raise self.error("tuple() of a value whose length is not known", node)

    def _call_dict(self, node: ast.Call, hint) -> Value:
        if not node.args and not node.keywords:
            return self._dict(ast.copy_location(ast.Dict([], []), node), hint)
        if len(node.args) == 1 and not node.keywords:
            return self.operator("aten::dict", [self.expression(node.args[0])], node)
        keys = [ast.copy_location(ast.Constant(k.arg), node) for k in node.keywords]
        values = [k.value for k in node.keywords]
        return self._dict(ast.copy_location(ast.Dict(keys, values), node), hint)

    def _builtin(self, name: str, node: ast.Call) -> Value:
        args, kwargs = self.arguments(node)
        return self.operator(name, args, node, kwargs)

    def _call_abs(self, node: ast.Call, hint) -> Value:
        value = self.expression(node.args[0])
        if isinstance(value.type, ClassType):
            return self.magic(value, "__abs__", [], node)
        return self.operator("prim::abs", [value], node)

    def _call_min(self, node: ast.Call, hint) -> Value:
        return self._builtin("prim::min", node)

    def _call_max(self, node: ast.Call, hint) -> Value:
        return self._builtin("prim::max", node)

    def _call_super(self, node: ast.Call, hint) -> object:
        return self.resolver.super_of(self, node)

    def _call_uninitialized(self, node: ast.Call, hint) -> Value:
        type_ = self.resolver.annotation(node.args[0], self)
        self.at(node)
        return self.op("prim::Uninitialized", [], type_)

    def _call_new(self, node: ast.Call, hint) -> Value:
        """`C.__new__(C)`: an object of an archive's class."""
        type_ = self.resolver.annotation(node.args[0], self)
        self.at(node)
        return self.op("prim::CreateObject", [], type_)

    def _call_fork(self, node: ast.Call, hint) -> Value:
        return self.resolver.fork(self, node)

    def _call_wait(self, node: ast.Call, hint) -> Value:
        value = self.expression(node.args[0])
        if not isinstance(value.type, FutureType):
            raise self.error("wait expects a Future", node)
        return self.operator("aten::wait", [value], node)

    def _call_warn(self, node: ast.Call, hint) -> Value:
        message = self.expression(node.args[0])
        level = next((k.value for k in node.keywords if k.arg == "stacklevel"), None)
        value = self.constant(2) if level is None else self.expression(level)
        self.at(node)
        made = self.builder.node("aten::warn", [message, value], (), {"warn_id": next(WARNINGS)})
        made.overload = ""
        self.constant(None)  # what it returns
        return Several([])

    def _repeated(self, node: ast.Call, count: int) -> Value:
        """One number as a list of `count`; a tuple or list as a list."""
        value = self.expression(node.args[0])
        self.at(node)
        if isinstance(value.type, ListType):
            return value
        parts = [value] * count
        if isinstance(value.type, TupleType):
            parts = unpack_tuple(self, value)
        return self.op("prim::ListConstruct", parts, ListType(parts[0].type))

    def _call_repeat_single(self, node: ast.Call, hint) -> Value:
        return self._repeated(node, 1)

    def _call_repeat_pair(self, node: ast.Call, hint) -> Value:
        return self._repeated(node, 2)

    def _call_repeat_triple(self, node: ast.Call, hint) -> Value:
        return self._repeated(node, 3)

    def _call_list_with_default(self, node: ast.Call, hint) -> Value:
        """Sizes asked for, beside an input's: fewer than those. None among them is for Python."""
        (wanted, sizes), _ = self.arguments(node)
        self.at(node)
        nothing, text = self.constant(None), self.constant("AssertionError: ")
        lengths = [self.operator("aten::len", [v], node) for v in (sizes, wanted)]
        fewer = self.operator("aten::gt", lengths, node)
        branch = self.builder.node("prim::If", [fewer])
        self.builder.add_block(branch)
        self.builder.at_end(self.builder.add_block(branch)).node(
            "prim::RaiseException", [text, nothing])
        return wanted

    def _call_is_scripting(self, node: ast.Call, hint) -> Value:
        self.at(node)
        return self.static(True)

    def _call_is_tracing(self, node: ast.Call, hint) -> Value:
        self.at(node)
        return self.static(False)
