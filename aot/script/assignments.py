"""Assignments: to names, attributes and items; unpacking; augmented assignments; del."""

from __future__ import annotations

import ast

from aot.script.loops import Loops
from aot.script.environment import unpack_tuple
from aot.script.values import ModuleItems, Several
from lowering import types
from lowering.graph import Value
from lowering.types import ClassType, DictType, ListType, TensorType, TupleType, Type

_IN_PLACE = {ast.Add: "aten::add_", ast.Sub: "aten::sub_", ast.Mult: "aten::mul_",
             ast.Div: "aten::div_", ast.Mod: "aten::remainder_", ast.BitAnd: "aten::__iand__",
             ast.BitOr: "aten::__ior__", ast.BitXor: "aten::__ixor__", ast.Pow: "aten::pow_",
             ast.FloorDiv: "aten::floor_divide_", ast.LShift: "aten::__ilshift__",
             ast.RShift: "aten::__irshift__"}  # fmt: skip
_IN_PLACE_MAGIC = {ast.Add: "__iadd__", ast.Sub: "__isub__", ast.Mult: "__imul__",
                   ast.Div: "__itruediv__", ast.Mod: "__imod__"}


class Assignments(Loops):
    """Adds assignments to loops and expressions."""

    # --- assignments --------------------------------------------------------------------------

    def _assign_statement(self, node: ast.Assign) -> None:
        stated = None
        if node.type_comment:
            parsed = ast.parse(node.type_comment, mode="eval").body
            stated = self.resolver.annotation(ast.copy_location(parsed, node), self)
        if len(node.targets) > 1:
            value = self.meaning(node.value)
            for target in node.targets:
                self._bind_target(target, value)
            return
        self._assign_one(node.targets[0], node.value, stated, node)

    def _assign_one(self, target: ast.expr, value: ast.expr, stated: Type | None, node) -> None:
        if isinstance(target, ast.Subscript):
            right = self.expression(value, stated)
            self._store_item(target, right, node)
            return
        if isinstance(target, ast.Attribute):
            base = self.meaning(target.value)
            right = self.expression(value, stated)
            self.resolver.set_attribute(self, base, target.attr, right, node, stated)
            return
        meaning = self.meaning(value, stated)
        if stated is None or not isinstance(target, ast.Name):
            self._bind_target(target, meaning)
            return
        if isinstance(meaning, Value) and not types.is_subtype(meaning.type, stated):
            raise self.error(
                f"Variable '{target.id}' is annotated with type {stated.annotation()} but is being "
                f"assigned to a value of type {meaning.type.annotation()}", node)
        self.at(target)
        self.assign(target.id, meaning, target, stated)

    def _annotated(self, node: ast.AnnAssign) -> None:
        stated = self.resolver.annotation(node.annotation, self)
        if node.value is None:
            raise self.error("annotated assignments without assigned value aren't supported", node)
        if isinstance(node.target, ast.Name) and self.frame.has(node.target.id):
            before = self.type_of(node.target.id)
            if before is not None and not types.is_subtype(stated, before):
                raise self.error(
                    f"Type annotations on reassigned variables are not supported: "
                    f"'{node.target.id}'", node)
        self._assign_one(node.target, node.value, stated, node)

    def _bind_target(self, target: ast.expr, value: object) -> None:
        """Assign to a name, or take a tuple or list apart."""
        if isinstance(target, ast.Name):
            self.at(target)
            self.assign(target.id, value, target)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value)
        elif isinstance(target, ast.Attribute):
            base = self.meaning(target.value)
            self.resolver.set_attribute(
                self, base, target.attr, self.as_value(value, target), target, None)
        elif isinstance(target, ast.Subscript):
            self._store_item(target, self.as_value(value, target), target)
        else:
            raise self.error("unexpected expression on left-hand side of an assignment", target)

    def _unpack(self, target: ast.Tuple | ast.List, value: object) -> None:
        names = target.elts
        starred = [i for i, t in enumerate(names) if isinstance(t, ast.Starred)]
        if len(starred) > 1:
            raise self.error("Only one starred expression is allowed on the lhs", target)
        self.at(target)
        parts = self._parts_of(value, len(names), bool(starred), target)
        if starred:
            at = starred[0]
            last = len(parts) - (len(names) - at - 1)
            if last < at:
                raise self.error(f"need at least {len(names) - 1} values to unpack, found "
                                 f"{len(parts)}", target)
            middle: object = Several(parts[at:last])
            if all(isinstance(p, Value) for p in parts[at:last]):
                middle = self.as_value(middle, target)
            parts = [*parts[:at], middle, *parts[last:]]
            names = [t.value if isinstance(t, ast.Starred) else t for t in names]
        if len(parts) < len(names):
            raise self.error(f"need {len(names)} values to unpack but found only {len(parts)}",
                             target)
        if len(parts) > len(names):
            raise self.error(f"too many values to unpack: need {len(names)} but found {len(parts)}",
                             target)
        for name, part in zip(names, parts):
            self._bind_target(name, part)

    def _parts_of(self, value: object, count: int, starred: bool, node: ast.AST) -> list:
        if isinstance(value, Several):
            return value.items
        if isinstance(value, ModuleItems):
            return self.resolver.module_members(self, value)
        value = self.as_value(value, node)
        if isinstance(value.type, TupleType):
            return unpack_tuple(self, value)
        if isinstance(value.type, ListType):
            if starred:
                raise self.error("Provided list cannot be used with a starred target", node)
            elements = (value.type.element,) * count
            return list(self.builder.node("prim::ListUnpack", [value], elements).outputs)
        raise self.error(f"'{value.type.annotation()}' object cannot be used as a tuple", node)

    # --- items --------------------------------------------------------------------------------

    def _store_item(self, target: ast.Subscript, value: Value, node: ast.AST) -> None:
        base = self.expression(target.value)
        if isinstance(base.type, TensorType):
            self._store_in_tensor(base, target, value, node)
        elif isinstance(base.type, ClassType):
            index = self.expression(target.slice)
            self.magic(base, "__setitem__", [index, value], node)
        elif isinstance(base.type, (ListType, DictType)):
            if isinstance(target.slice, ast.Slice):
                raise self.error("slices of lists cannot be assigned to", node)
            index = self.expression(target.slice)
            self.operator("aten::_set_item", [base, index, value], node)
        else:
            raise self.error(
                f"'{base.type.annotation()}' object does not support item assignment", node)

    def _store_in_tensor(self, base: Value, target: ast.Subscript, value: Value, node) -> None:
        sliced, tensors = self.sliced(base, target)
        value = self._as_element(sliced, value, node)
        if not tensors:
            self.operator("aten::copy_", [sliced, value], node)
            return
        indices = self._index_list(tensors)
        self.operator("aten::index_put_", [sliced, indices, value], node)

    def _as_element(self, tensor: Value, value: Value, node: ast.AST) -> Value:
        if isinstance(value.type, TensorType):
            return value
        kinds = {"dtype": "prim::dtype", "device": "prim::device"}
        kwargs = {k: self.operator(v, [tensor], node) for k, v in kinds.items()}
        return self.operator("aten::tensor", [value], node, kwargs)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and self.frame.has(target.id):
                self.frame.types.pop(target.id, None)
                self.frame.others.pop(target.id, None)
                continue
            if not isinstance(target, ast.Subscript):
                raise self.error("del of a variable is not supported", node)
            base = self.expression(target.value)
            index = self.expression(target.slice)
            if isinstance(base.type, ClassType):
                self.magic(base, "__delitem__", [index], node)
                continue
            self.at(node)
            if not isinstance(base.type, (ListType, DictType)):
                raise self.error(f"'{base.type.annotation()}' object does not support item "
                                 "deletion", node)
            self.builder.node("aten::Delete", [base, index]).overload = ""

    def _augmented(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            left = self.expression(ast.copy_location(ast.Name(target.id, ast.Load()), target))
            value = self._in_place(left, node)
            self.at(node)
            self.assign(target.id, value, node)
        elif isinstance(target, ast.Attribute):
            base = self.meaning(target.value)
            self.at(target)
            left = self.as_value(self.attribute(base, target.attr, target), target)
            value = self._in_place(left, node)
            self.resolver.set_attribute(self, base, target.attr, value, node, None)
        elif isinstance(target, ast.Subscript):
            self._augmented_item(target, node)
        else:
            raise self.error("left-hand side of an augmented assignment must be a variable, an "
                             "attribute or a subscript", node)

    def _in_place(self, left: Value, node: ast.AugAssign) -> Value:
        right = self.expression(node.value)
        op = type(node.op)
        if isinstance(left.type, TensorType):
            name = _IN_PLACE.get(op)
            if name is None:
                raise self.error(f"unsupported augmented assignment {op.__name__}", node)
            return self.operator(name, [left, right], node)
        if isinstance(left.type, ClassType):
            magic = _IN_PLACE_MAGIC.get(op)
            if magic in left.type.methods:
                return self.magic(left, magic, [right], node)
        if isinstance(left.type, ListType) and op in (ast.Add, ast.Mult):
            return self.operator(_IN_PLACE[op], [left, right], node)
        return self.binary(node.op, left, right, node)

    def _augmented_item(self, target: ast.Subscript, node: ast.AugAssign) -> None:
        base = self.expression(target.value)
        if isinstance(base.type, TensorType):
            sliced, tensors = self.sliced(base, target)
            right = self.expression(node.value)
            if not tensors:
                self.operator(_IN_PLACE[type(node.op)], [sliced, right], node)
                return
            indices = self._index_list(tensors)
            read = self.operator("aten::index", [sliced, indices], node)
            value = self.operator(_IN_PLACE[type(node.op)], [read, right], node)
            self.operator("aten::index_put_", [sliced, indices, value], node)
            return
        index = self.expression(target.slice)
        right = self.expression(node.value)
        left = self.operator("aten::__getitem__", [base, index], node)
        value = self.binary(node.op, left, right, node)
        self.operator("aten::_set_item", [base, index, value], node)
