"""Loops and comprehensions, and what they run over."""

from __future__ import annotations

import ast
from typing import Callable

from aot.script.known_calls import KnownCalls
from aot.script.environment import unpack_tuple
from aot.script.values import Iteration, ModuleItems, Several, described
from lowering import types
from lowering.graph import Value
from lowering.types import ClassType, DictType, ListType, TensorType, TupleType, Type

_NO_LIMIT = 2**63 - 1


class Loops(KnownCalls):
    """Adds loops to expressions and calls."""

    # --- what is run over ---------------------------------------------------------------------

    def iterable(self, meaning: object, node: ast.AST) -> object:
        """A list, range, zip or tuple of things for anything that a loop can run over."""
        if isinstance(meaning, (Iteration, Several)):
            return meaning
        if isinstance(meaning, ModuleItems):
            return Several(self.resolver.module_members(self, meaning))
        if not isinstance(meaning, Value):
            raise self.error(f"{described(meaning)} is not iterable", node)
        type_ = meaning.type
        if isinstance(type_, (ListType, TensorType)) or type_ == types.Str:
            return meaning
        if isinstance(type_, DictType):
            return self.operator("aten::keys", [meaning], node)
        if isinstance(type_, TupleType):
            return Several(unpack_tuple(self, meaning))
        if isinstance(type_, ClassType) and type_.is_module:
            items = self.resolver.container_of(self, meaning)
            if items is not None:
                return Several(self.resolver.module_members(self, items))
        raise self.error(f"'{type_.annotation()}' object is not iterable", node)

    def static_length(self, over: object, node: ast.AST) -> int | None:
        """The number of steps where it is known while compiling: the loop is then unrolled. What
        is run over beside modules or tuples must be known as well."""
        if isinstance(over, Several):
            return len(over.items)
        if not isinstance(over, Iteration) or over.kind != "zip":
            return None
        parts = _flat(over)
        known = [len(p.items) for p in parts if isinstance(p, Several)]
        if not known:
            return None
        for part in parts:
            if not isinstance(part, Several) and getattr(part, "endless", None) is None:
                raise self.error("Can not iterate over a module list or tuple with a value that "
                                 "does not have a statically determinable length",
                                 getattr(node, "iter", node))
        return min(known)

    def length(self, over: object, node: ast.AST) -> Value:
        self.at(node)
        if isinstance(over, Iteration):
            if over.kind == "zip":
                lengths = [self.length(p, node) for p in _flat(over)]
                if len(lengths) == 1:
                    return lengths[0]
                listed = self.op("prim::ListConstruct", lengths, ListType(types.Int))
                return self.op("prim::min", [listed], types.Int)
            if over.endless is not None:
                return over.endless
            if over.plain:
                return over.parts[1]
            return self.op("aten::__range_length", over.parts, types.Int)
        return self.operator("aten::len", [over], node)

    def element(self, over: object, index: Value, node: ast.AST) -> object:
        """The element of a step."""
        self.at(node)
        if isinstance(over, Iteration):
            if over.kind == "zip":
                parts = [self.element(p, index, node) for p in over.parts]
                values = [self.as_value(p, node) for p in parts]
                type_ = TupleType(tuple(v.type for v in values))
                return self.op("prim::TupleConstruct", values, type_)
            if over.plain:
                return index
            start, _, step = over.parts
            return self.op("aten::__derive_index", [index, start, step], types.Int)
        if isinstance(over.type, TensorType):
            return self.operator("aten::select", [over, self.constant(0), index], node)
        return self.operator("aten::__getitem__", [over, index], node)

    # --- for ----------------------------------------------------------------------------------

    def for_loop(self, over: object, node: ast.AST, bind: Callable, body: Callable) -> None:
        """Run `bind(element)` and `body()` for each element."""
        over = self.iterable(over, node)
        count = self.static_length(over, node)
        if count is not None:
            self._unroll(over, count, node, bind, body)
            return
        limit = self.length(over, node)
        self.at(node)
        again = self.constant(True)
        loop = self.builder.node("prim::Loop", [limit])
        condition, block = self.builder.add_block(loop), self.builder.add_block(loop)
        self.builder.add_input(condition, again)
        self.enter(block)
        index = self.builder.add_param(block, types.Int)
        bind(self.element(over, index, node))
        body()
        self.leave()

    def _unroll(self, over: object, count: int, node, bind, body) -> None:
        for i in range(count):
            self.at(node)
            self.literal(i)
            bind(self._static_element(over, i, node))
            body()

    def _static_element(self, over: object, index: int, node: ast.AST) -> object:
        if isinstance(over, Several):
            return over.items[index]
        if isinstance(over, Iteration) and over.kind == "zip":
            return Several([self._static_element(p, index, node) for p in over.parts])
        self.at(node)
        at = self.literal(index)
        return self.element(over, at, node)

    # --- comprehensions -----------------------------------------------------------------------

    def _comprehension_parts(
        self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp
    ) -> ast.comprehension:
        if len(node.generators) != 1:
            raise self.error("multi-generator comprehensions are not supported", node)
        generator = node.generators[0]
        if generator.ifs:
            raise self.error("Comprehension ifs are not supported yet", node)
        return generator

    def _list_comprehension(
        self, node: ast.ListComp | ast.GeneratorExp, hint: Type | None
    ) -> Value:
        generator = self._comprehension_parts(node)
        stated = hint.element if isinstance(hint, types.OptionalType) else hint
        element = stated.element if isinstance(stated, ListType) else None
        self.at(node)
        result = self.op("prim::ListConstruct", [], ListType(element or types.Tensor))
        over = self.iterable(self.meaning(generator.iter), generator.iter)
        first = [True]

        def bind(value: object) -> None:
            self._bind_target(generator.target, value)

        def body() -> None:
            value = self.expression(node.elt, element)
            if first[0] and element is None:
                result.type = ListType(_plain(value.type))
            first[0] = False
            self.operator("aten::append", [result, value], node)

        self._scoped(over, generator.iter, bind, body)
        return result

    def _scoped(self, over: object, node: ast.AST, bind, body) -> None:
        """A loop whose variables end with it."""
        frame = self.frame
        kept = dict(frame.types), dict(frame.others)
        self.for_loop(over, node, bind, body)
        frame.types, frame.others = kept

    def _dict_comprehension(self, node: ast.DictComp, hint: Type | None) -> Value:
        generator = self._comprehension_parts(node)
        stated = (hint.key, hint.value) if isinstance(hint, DictType) else None
        self.at(node)
        result = self.op("prim::DictConstruct", [],
                         DictType(*(stated or (types.Str, types.Tensor))))
        over = self.iterable(self.meaning(generator.iter), generator.iter)
        first = [True]

        def bind(value: object) -> None:
            self._bind_target(generator.target, value)

        def body() -> None:
            key = self.expression(node.key, stated[0] if stated else None)
            value = self.expression(node.value, stated[1] if stated else None)
            if first[0] and stated is None:
                result.type = DictType(key.type, _plain(value.type))
            first[0] = False
            self.operator("aten::_set_item", [result, key, value], node)

        self._scoped(over, generator.iter, bind, body)
        return result

    def _bind_target(self, target: ast.expr, value: object) -> None:
        raise NotImplementedError  # statements.py

    def collect(self, meaning: object, node: ast.AST) -> Value:
        """list(...) of anything a loop can run over."""
        self.at(node)
        result = self.op("prim::ListConstruct", [], ListType(types.Tensor))
        over = self.iterable(meaning, node)
        held: list[Value] = []

        def bind(value: object) -> None:
            held[:] = [self.as_value(value, node)]

        def body() -> None:
            result.type = ListType(_plain(held[0].type))
            self.operator("aten::append", [result, held[0]], node)

        self._scoped(over, node, bind, body)
        return result

    def collect_pairs(self, meaning: object, node: ast.AST) -> Value:
        """dict(...) of pairs that a loop can run over."""
        self.at(node)
        result = self.op("prim::DictConstruct", [], DictType(types.Str, types.Tensor))
        if isinstance(meaning, Value):
            self.graph.skip_numbers(1)
        over = self.iterable(meaning, node)
        pair: list[Value] = []

        def bind(value: object) -> None:
            value = self.as_value(value, node)
            if not isinstance(value.type, TupleType) or len(value.type.elements) != 2:
                raise self.error("dict() expects pairs, found values of type "
                                 f"{value.type.annotation()}", node)
            pair[:] = unpack_tuple(self, value)

        def body() -> None:
            result.type = DictType(pair[0].type, _plain(pair[1].type))
            self.operator("aten::_set_item", [result, *pair], node)

        self._scoped(over, node, bind, body)
        return result


def _flat(over: Iteration) -> list:
    """The parts of a zip, those of zips in it among them."""
    out = []
    for part in over.parts:
        nested = isinstance(part, Iteration) and part.kind == "zip"
        out += _flat(part) if nested else [part]
    return out


def _plain(type_: Type) -> Type:
    return types.Tensor if isinstance(type_, TensorType) else type_
