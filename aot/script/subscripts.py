"""Subscripts: elements and slices of lists, tuples, dicts, strings; indexing of tensors."""

from __future__ import annotations

import ast

from aot.script.conditions import Conditions
from aot.script.environment import unpack_tuple
from aot.script.values import ModuleItems, Several
from lowering import types
from lowering.graph import Value
from lowering.types import ClassType, DictType, ListType, OptionalType, TensorType, TupleType


class Subscripts(Conditions):
    """Adds subscripts to expressions."""

    def _subscript(self, node: ast.Subscript, hint) -> object:
        base = self.meaning(node.value)
        self.at(node)
        if not isinstance(base, Value):
            return self._item_of(base, node, hint)
        return self.item(base, node)

    def item(self, base: Value, node: ast.Subscript) -> Value:
        index = node.slice
        if isinstance(base.type, OptionalType):
            raise self.error(f"'{base.type.annotation()}' object is not subscriptable", node)
        if isinstance(base.type, TupleType):
            return self._tuple_item(base, node)
        if isinstance(base.type, TensorType):
            if not isinstance(index, (ast.Slice, ast.Tuple)):
                self.expression(index)
            return self._tensor_index(base, node)
        if isinstance(index, ast.Slice):
            return self._slice(base, index, node)
        if isinstance(base.type, ClassType):
            return self.magic(base, "__getitem__", [self.expression(index)], node)
        if isinstance(base.type, (ListType, DictType)) or base.type == types.Str:
            return self.operator("aten::__getitem__", [base, self.expression(index)], node)
        raise self.error(f"'{base.type.annotation()}' object is not subscriptable", node)

    def _item_of(self, base: object, node: ast.Subscript, hint) -> object:
        """The item of what is no value: a tuple of things, a module container."""
        if isinstance(base, Several) and not isinstance(node.slice, ast.Slice):
            index = self.constant_index(node.slice)
            if not -len(base.items) <= index < len(base.items):
                raise self.error("Tuple index out of range", node)
            return base.items[index]
        if isinstance(base, ModuleItems):
            return self.resolver.module_item(self, base, node, hint)
        return self.item(self.as_value(base, node), node)

    def constant_index(self, node: ast.expr) -> int:
        """An index that must be known while compiling."""
        value = self.expression(node)
        if not value.is_constant or not isinstance(value.constant, int):
            raise self.error("Expected an integer literal as the index", node)
        return value.constant

    # --- tuples and sequences -----------------------------------------------------------------

    def _tuple_item(self, base: Value, node: ast.Subscript) -> Value:
        elements = base.type.elements
        if isinstance(node.slice, ast.Slice):
            return self._tuple_slice(base, node.slice, node)
        index = self.expression(node.slice)
        self.at(node)
        if not index.is_constant:
            if not elements or any(e != elements[0] for e in elements):
                raise self.error(
                    "Cannot index into a tuple with a non-integer literal because we cannot "
                    "resolve the output type", node)
            return self.op("prim::TupleIndex", [base, index], elements[0])
        at = index.constant
        if not isinstance(at, int):
            raise self.error("tuple index must be an integer", node)
        if not -len(elements) <= at < len(elements):
            raise self.error("Tuple index out of range: " + str(at), node)
        return self.op("prim::TupleIndex", [base, index], elements[at])

    def _tuple_slice(self, base: Value, slice_: ast.Slice, node: ast.AST) -> Value:
        bounds = []
        for part in (slice_.lower, slice_.upper, slice_.step):
            bounds.append(None if part is None else self.constant_index(part))
        self.graph.unique_name(None)  # PyTorch makes a slice first
        taken = range(len(base.type.elements))[slice(*bounds)]
        parts = unpack_tuple(self, base)
        chosen = [parts[i] for i in taken]
        return self.op("prim::TupleConstruct", chosen, TupleType(tuple(v.type for v in chosen)))

    def _slice(self, base: Value, slice_: ast.Slice, node: ast.AST) -> Value:
        return self.operator("aten::slice", [base], node, self.bounds(slice_))

    def bounds(self, slice_: ast.Slice) -> dict[str, Value]:
        """The parts of a slice as keyword arguments of aten::slice."""
        given = {}
        for name, part in (("start", slice_.lower), ("end", slice_.upper)):
            if part is not None:
                given[name] = self.expression(part)
        if slice_.step is not None:
            given["step"] = self.expression(slice_.step)
        else:
            given["step"] = self.constant(1)
        return given

    # --- tensors ------------------------------------------------------------------------------

    def _tensor_index(self, base: Value, node: ast.Subscript) -> Value:
        indexed, tensors = self.sliced(base, node)
        if not tensors:
            return indexed
        return self.operator("aten::index", [indexed, self._index_list(tensors)], node)

    def _index_list(self, tensors: list[Value]) -> Value:
        element = OptionalType(types.Tensor)
        return self.op("prim::ListConstruct", tensors, ListType(element))

    def sliced(self, base: Value, node: ast.Subscript) -> tuple[Value, list[Value]]:
        """The tensor after its slices, ints and Nones, and the index tensors that remain."""
        index = node.slice
        parts = list(index.elts) if isinstance(index, ast.Tuple) else [index]
        if not isinstance(index, ast.Tuple) and not isinstance(index, ast.Slice):
            value = None
            if not _is_dots(index):
                self.expression(index)  # read twice: once to see its type
                value = self.expression(index)
            if value is not None and isinstance(value.type, TupleType):
                parts = unpack_tuple(self, value)
                return self._sliced_by(base, [self._as_index(p, node) for p in parts], node)
        values: list[object] = []
        if isinstance(index, ast.Tuple):
            for part in parts:
                if not isinstance(part, ast.Slice) and not _is_dots(part):
                    self.expression(part)
        for part in parts:
            if isinstance(part, ast.Slice) or _is_dots(part):
                values.append(part)
            else:
                read = self.expression(part) if isinstance(index, ast.Tuple) else value
                values.append(self._as_index(read, node))
        return self._sliced_by(base, values, node)

    def _sliced_by(self, base: Value, values: list, node: ast.Subscript) -> tuple[Value, list]:
        dim = 0
        tensors: dict[int, Value] = {}
        after_dots = False
        total = len(values)
        for position, value in enumerate(values):
            if isinstance(value, ast.Constant):
                after_dots = True
                dim = -sum(1 for v in values[position + 1 :] if not _adds_dim(v))
                continue
            if isinstance(value, ast.Slice):
                self.at(node)
                at = self.constant(dim)
                given = self.bounds(value)
                base = self.operator("aten::slice", [base, at], node, given)
                dim += 1
            elif value.type == types.NoneT:
                where = dim - 1 if after_dots else dim
                base = self.operator("aten::unsqueeze", [base, self.constant(where)], node)
                dim += 0 if after_dots else 1
            elif value.type == types.Int:
                base = self.operator("aten::select", [base, self.constant(dim), value], node)
                dim += 1 if after_dots else 0
            elif isinstance(value.type, TensorType) or value.type == OptionalType(types.Tensor):
                tensors[dim] = value
                dim += 1
            else:
                raise self.error(
                    "Unsupported operation: indexing tensor with unsupported index type "
                    f"'{value.type.annotation()}'. Only ints, slices, lists and tensors are "
                    "supported", node)
        del total
        if not tensors:
            return base, []
        if after_dots and min(tensors) < 0:
            raise self.error("Ellipses followed by tensor indexing is currently not supported",
                             node)
        filled = [tensors.get(i) for i in range(max(tensors) + 1)]
        return base, [v if v is not None else self.constant(None) for v in filled]

    def _as_index(self, value: Value, node: ast.AST) -> Value:
        """A list of ints or bools as an index tensor."""
        if not isinstance(value.type, ListType):
            return value
        return self.operator("aten::tensor", [value], node, {"dtype": self.constant(4)})  # int64


def _is_dots(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _adds_dim(value: object) -> bool:
    return isinstance(value, Value) and value.type == types.NoneT
