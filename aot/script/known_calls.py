"""Calls of the functions that the compiler knows itself: range, len, isinstance, annotate ..."""

from __future__ import annotations

import ast

from aot.script.calls import Calls
from aot.script.environment import unpack_tuple
from aot.script.matching import WARNINGS
from aot.script.values import Iteration, ModuleItems, Several
from lowering import types
from lowering.graph import Value
from lowering.types import (
    ClassType, DictType, FutureType, ListType, OptionalType, TensorType, TupleType, Type,
)


class KnownCalls(Calls):
    """Adds the compiler's own functions to calls: `_call_range` reads a call of range."""

    def _call_print(self, node: ast.Call, hint) -> Value:
        if node.keywords:
            raise self.error("print doesn't accept any keyword arguments", node)
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
            found, value = value.type, self.converted(value, type_)
            if not types.is_subtype(value.type, type_):
                raise self.error(f"expected an expression of type {type_.annotation()} but found "
                                 f"{found.annotation()}", node)
        return self.as_stated(value, type_, node)

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
        return self._asked("isinstance", node)

    def _call_hasattr(self, node: ast.Call, hint) -> Value:
        return self._asked("hasattr", node)

    def _asked(self, name: str, node: ast.Call) -> Value:
        if len(node.args) != 2 or node.keywords:
            raise self.error(f"{name} expected exactly 2 arguments but found {len(node.args)}",
                             node)
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

    def collect_pairs(self, meaning: object, node: ast.AST) -> Value:
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
        pairs = [ast.Tuple([ast.Constant(k.arg), k.value], ast.Load()) for k in node.keywords]
        source = node.args[0] if node.args else ast.List([], ast.Load())
        if isinstance(source, ast.List):
            source, pairs = ast.List([*source.elts, *pairs], ast.Load()), []
        source = ast.fix_missing_locations(ast.copy_location(source, node))
        meaning = self.meaning(source)
        if isinstance(meaning, Value) and isinstance(meaning.type, DictType):
            result = self.operator("aten::dict", [meaning], node)
        else:
            if node.args:  # read twice: once to see its type
                meaning = self.meaning(source)
            result = self.collect_pairs(meaning, node)
        for keyword in node.keywords if pairs else ():
            key = self.constant(keyword.arg)
            self.operator("aten::_set_item", [result, key, self.expression(keyword.value)], node)
        return result

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

    def _call_assert_(self, node: ast.Call, hint) -> Value:
        """`torch._assert(condition, message)`."""
        (condition, message), _ = self.arguments(node)
        self.at(node)
        nothing, prefix = self.constant(None), self.constant("AssertionError: ")
        if condition.type != types.Bool:
            condition = self.operator("aten::Bool", [condition], node)
        branch = self.builder.node("prim::If", [condition])
        self.builder.add_block(branch)
        failing = self.builder.at_end(self.builder.add_block(branch))
        text = failing.op("aten::add", [prefix, message], types.Str)
        failing.node("prim::RaiseException", [text, nothing])
        return Several([])

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
