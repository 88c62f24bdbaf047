"""Expressions of a program: names, literals, arithmetic, displays, attributes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from aot.script.environment import EMPTY_LIST, Environment
from aot.script.environment import unpack_tuple
from aot.script.matching import Matcher
from aot.script.values import (
    FunctionRef, Iteration, MethodRef, ModuleItems, Operator, Overloads, PythonObject, Several,
    described,
)
from lowering import types
from lowering.graph import Value
from lowering.objects import DeviceValue, EnumValue
from lowering.schema_table import schemas_of
from lowering.types import (
    ClassType, DictType, EnumType, FunctionType, InterfaceType, ListType, OptionalType, TensorType,
    TupleType, Type, UnionType,
)

if TYPE_CHECKING:
    from aot.script.resolution import Resolver

_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv",
    ast.Mod: "remainder", ast.Pow: "pow", ast.MatMult: "matmul", ast.BitAnd: "__and__",
    ast.BitOr: "__or__", ast.BitXor: "__xor__", ast.LShift: "__lshift__", ast.RShift: "__rshift__",
}  # fmt: skip
_MAGIC = {
    ast.Add: "__add__", ast.Sub: "__sub__", ast.Mult: "__mul__", ast.Div: "__truediv__",
    ast.FloorDiv: "__floordiv__", ast.Mod: "__mod__", ast.Pow: "__pow__",
    ast.MatMult: "__matmul__", ast.BitAnd: "__and__", ast.BitOr: "__or__", ast.BitXor: "__xor__",
    ast.LShift: "__lshift__", ast.RShift: "__rshift__", ast.USub: "__neg__",
    ast.Invert: "__invert__",
    ast.Eq: "__eq__", ast.NotEq: "__ne__", ast.Lt: "__lt__", ast.LtE: "__le__", ast.Gt: "__gt__",
    ast.GtE: "__ge__", ast.In: "__contains__",
}  # fmt: skip
# Attributes of tensors that are operators.
# Methods that are no operators: those of other values, and x.float() and its kin.
_WITHOUT_SCHEMA = frozenset("tolist format byte char short int long half float double".split())
TENSOR_ATTRIBUTES = {
    "shape": "aten::size", "dtype": "prim::dtype", "device": "prim::device", "T": "aten::numpy_T",
    "mT": "aten::mT", "H": "aten::matrix_H", "mH": "aten::mH", "ndim": "aten::dim",
    "grad": "prim::grad", "data": "prim::data", "requires_grad": "prim::requires_grad",
    "layout": "prim::layout", "is_cuda": "prim::is_cuda", "is_cpu": "prim::is_cpu",
    "is_sparse": "prim::is_sparse", "is_sparse_csr": "prim::is_sparse_csr",
    "is_mkldnn": "prim::is_mkldnn", "is_quantized": "prim::is_quantized",
    "is_meta": "prim::is_meta", "is_leaf": "aten::is_leaf", "is_mps": "prim::is_mps",
    "is_vulkan": "prim::is_vulkan", "is_xpu": "prim::is_xpu", "is_xla": "prim::is_xla",
    "is_nested": "prim::is_nested", "itemsize": "prim::itemsize", "nbytes": "prim::nbytes",
    "real": "aten::real", "imag": "aten::imag", "name": "prim::name",
    "is_ipu": "prim::is_ipu", "is_mtia": "prim::is_mtia", "is_maia": "prim::is_maia",
    "retains_grad": "aten::retains_grad", "output_nr": "aten::output_nr",
}  # fmt: skip


class Expressions(Environment):
    """Reads expressions. `resolver` says what the program's global names are."""

    resolver: Resolver

    @property
    def match(self) -> Matcher:
        return Matcher(self)

    def operator(
        self, name: str, args: list[Value], node: ast.AST, kwargs: dict[str, Value] | None = None
    ) -> Value:
        return self.match.call(name, args, kwargs or {}, node)

    # --- any expression -----------------------------------------------------------------------

    def expression(self, node: ast.expr, hint: Type | None = None) -> Value:
        """An expression that is a value of the Graph; `hint` is the type its context states."""
        return self.as_value(self.meaning(node, hint), node)

    def meaning(self, node: ast.expr, hint: Type | None = None) -> object:
        """What an expression stands for."""
        reader = _READERS.get(type(node))
        if reader is None:
            raise self.error(f"{_describe(node)} aren't supported", node)
        return getattr(self, reader)(node, hint)

    def as_value(self, meaning: object, node: ast.AST) -> Value:
        """A value of the Graph for what an expression stands for."""
        if isinstance(meaning, Value):
            return meaning
        if isinstance(meaning, Several):
            self.at(node)
            parts = [self.as_value(m, node) for m in meaning.items]
            return self.op("prim::TupleConstruct", parts, TupleType(tuple(p.type for p in parts)))
        if isinstance(meaning, FunctionRef):
            self.at(node)
            return self.constant(meaning.function, FunctionType(meaning.function))
        if isinstance(meaning, Overloads) and meaning.receiver is None:
            return self.as_value(FunctionRef(meaning.functions[0]), node)
        if isinstance(meaning, Iteration) and meaning.kind == "range":
            raise self.error("range() cannot be used as a value", node)
        if isinstance(meaning, ModuleItems) and meaning.kind in ("list", "dict"):
            return meaning.receiver
        if isinstance(meaning, PythonObject):
            raise self.error(
                f"Python value of type '{type(meaning.object).__name__}' cannot be used as a value."
                " Perhaps it is a closed over global variable? If so, please consider passing it "
                "in as an argument or use a local variable instead.", node)
        raise self.error(f"{described(meaning)} cannot be used as a value", node)

    def _name(self, node: ast.Name, hint: Type | None) -> object:
        self.at(node)
        found = self.look_up(node.id)
        if found is not None:
            return found
        found = self.resolver.global_name(self, node.id, node)
        if found is None:
            reason = self.frame.why_undefined(node.id)
            raise self.error(reason or f"undefined value {node.id}", node)
        return found

    def _constant(self, node: ast.Constant, hint: Type | None) -> Value:
        value = node.value
        self.at(node)
        if value is None or isinstance(value, (bool, str)):
            return self.constant(value)
        if isinstance(value, (int, float, complex)):
            return self.literal(value)
        if value is ...:
            raise self.error("Ellipsis is only supported in subscripts", node)
        raise self.error(f"a constant of type {type(value).__name__} is not supported", node)

    def _attribute(self, node: ast.Attribute, hint: Type | None) -> object:
        base = self.meaning(node.value)
        self.at(node)
        return self.attribute(base, node.attr, node)

    # --- attributes ---------------------------------------------------------------------------

    def attribute(self, base: object, name: str, node: ast.AST) -> object:
        """What `base.name` stands for."""
        if not isinstance(base, Value):
            return self.resolver.attribute(self, base, name, node)
        type_ = base.type
        if isinstance(type_, TensorType) and name in TENSOR_ATTRIBUTES:
            return self.operator(TENSOR_ATTRIBUTES[name], [base], node)
        if isinstance(type_, (ClassType, InterfaceType)):
            return self.resolver.object_attribute(self, base, name, node)
        if isinstance(type_, TupleType) and type_.fields and name in type_.fields:
            at = type_.fields.index(name)
            return self.op("prim::TupleIndex", [base, self.constant(at)], type_.elements[at])
        if isinstance(type_, EnumType):
            if name == "name":
                return self.op("prim::EnumName", [base], types.Str)
            if name == "value":
                return self.op("prim::EnumValue", [base], type_.value_type)
        if type_ == types.Device and name in ("type", "index"):
            return self.operator(f"prim::{name}", [base], node)
        if type_ == types.Complex and name in ("real", "imag"):
            return self.operator(f"aten::{name}", [base], node)
        if isinstance(type_, OptionalType):
            raise self.error(
                f"'Optional[{type_.element.annotation()}]' object has no attribute or method "
                f"'{name}'. Did you forget to check for None?", node)
        if name not in _WITHOUT_SCHEMA and not schemas_of(f"aten::{name}"):
            raise self.error(
                f"'{type_.annotation()}' object has no attribute or method '{name}'", node)
        return Operator(f"aten::{name}", base)

    # --- arithmetic ---------------------------------------------------------------------------

    def _binary(self, node: ast.BinOp, hint: Type | None) -> Value:
        kind = _BINARY.get(type(node.op))
        if kind is None:
            raise self.error(f"unsupported binary operator: {type(node.op).__name__}", node)
        if isinstance(node.op, ast.Mod):
            self.expression(node.left)  # read once more, to see whether it is a text
        left = self.expression(node.left)
        right = self.expression(node.right)
        return self.binary(node.op, left, right, node)

    def binary(self, op: ast.AST, left: Value, right: Value, node: ast.AST) -> Value:
        if isinstance(left.type, ClassType):
            return self.magic(left, _MAGIC[type(op)], [right], node)
        if isinstance(op, ast.Add) and isinstance(left.type, TupleType) and isinstance(
            right.type, TupleType
        ):
            parts = [*unpack_tuple(self, left), *unpack_tuple(self, right)]
            return self.op("prim::TupleConstruct", parts, TupleType(tuple(p.type for p in parts)))
        if isinstance(op, ast.Mod) and left.type == types.Str:
            self.at(node)
            return self.op("aten::percentFormat", [left, right], types.Str)
        if isinstance(right.type, TensorType) and left.type in (types.Int, types.Float):
            found = self._number_first(type(op), left, right, node)
            if found is not None:
                return found
        name = _BINARY[type(op)]
        if name == "floordiv" and isinstance(left.type, TensorType):
            name = "floor_divide"
        return self.operator(f"aten::{name}", [left, right], node)

    def _number_first(self, op: type, left: Value, right: Value, node: ast.AST) -> Value | None:
        """A number and a tensor, as PyTorch's own functions for them compute it."""
        if op in (ast.Add, ast.Mult):
            return self.operator(f"aten::{_BINARY[op]}", [right, left], node)
        if op is ast.Sub:
            one = self.constant(1)
            negative = self.operator("aten::neg", [right], node)
            return self.operator("aten::add", [negative, left], node, {"alpha": one})
        if op is ast.Div:
            inverse = self.operator("aten::reciprocal", [right], node)
            return self.operator("aten::mul", [inverse, left], node)
        if op is ast.FloorDiv:
            inverse = self.operator("aten::reciprocal", [right], node)
            product = self.operator("aten::mul", [inverse, left], node)
            return self.operator("aten::floor", [product], node)
        return None

    def magic(self, base: Value, name: str, args: list[Value], node: ast.AST) -> Value:
        """A magic method of an object."""
        method = base.type.methods.get(name)
        if method is None:
            raise self.error(f"Class {base.type.name} does not define a {name} method", node)
        return self.call_method(MethodRef(base, name, method), args, {}, node)

    def _unary(self, node: ast.UnaryOp, hint: Type | None) -> Value:
        if isinstance(node.op, ast.Not):
            return self.condition_value(node)
        operand = self.expression(node.operand)
        if isinstance(node.op, ast.UAdd):
            raise self.error("unsupported unary operator: UAdd", node)
        name = "aten::neg" if isinstance(node.op, ast.USub) else "aten::bitwise_not"
        if isinstance(operand.type, ClassType):
            return self.magic(operand, _MAGIC[type(node.op)], [], node)
        value = self.operator(name, [operand], node)
        if isinstance(node.op, ast.USub) and operand.is_constant:
            number = operand.constant
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                return self.constant(-number)
        return value

    def _comparison(self, node: ast.expr, hint: Type | None) -> Value:
        return self.condition_value(node)

    def condition_value(self, node: ast.expr) -> Value:
        raise NotImplementedError  # conditions.py

    def call_method(self, method: MethodRef, args, kwargs, node) -> Value:
        raise NotImplementedError  # calls.py

    # --- displays -----------------------------------------------------------------------------

    def _list(self, node: ast.List, hint: Type | None) -> Value:
        hint = _unwrapped(hint, ListType)
        element = hint.element if isinstance(hint, ListType) else None
        values = [self._part(e, element) for e in node.elts]
        self.at(node)
        if element is None and not values:
            return self.op(EMPTY_LIST, [], ListType(types.Tensor))
        if element is None:
            element = self.common_type([v.type for v in values], "list", node)
        for value, part in zip(values, node.elts):
            if not types.is_subtype(value.type, element):
                raise self.error(
                    f"List type annotation `List[{element.annotation()}]` did not match the types "
                    f"of the given list elements: found {value.type.annotation()}", part)
        return self.op("prim::ListConstruct", values, ListType(element))

    def _part(self, node: ast.expr, hint: Type | None) -> Value:
        if isinstance(node, ast.Starred):
            raise self.error("Starred elements are not supported in a list", node)
        return self.expression(node, hint)

    def common_type(self, found: list[Type], what: str, node: ast.AST) -> Type:
        """The element type of a display; Tensor if there is no element."""
        if not found:
            return types.Tensor
        common: Type | None = found[0]
        for type_ in found[1:]:
            common = None if common is None else types.unify(common, type_)
        if common is None:
            union: list[Type] = []
            for type_ in found:
                if type_ not in union:
                    union.append(type_)
            return UnionType(tuple(union))
        return types.Tensor if isinstance(common, TensorType) else common

    def _tuple(self, node: ast.Tuple, hint: Type | None) -> Value:
        hint = _unwrapped(hint, TupleType)
        hints: list = [None] * len(node.elts)
        if isinstance(hint, TupleType) and len(hint.elements) == len(node.elts):
            hints = list(hint.elements)
        values: list[Value] = []
        for element, wanted in zip(node.elts, hints):
            if isinstance(element, ast.Starred):
                inner = self.expression(element.value)
                if not isinstance(inner.type, TupleType):
                    raise self.error("only tuples may be starred", element)
                values += unpack_tuple(self, inner)
            else:
                values.append(self.expression(element, wanted))
        self.at(node)
        return self.op("prim::TupleConstruct", values, TupleType(tuple(v.type for v in values)))

    def _dict(self, node: ast.Dict, hint: Type | None) -> Value:
        hint = _unwrapped(hint, DictType)
        stated = (hint.key, hint.value) if isinstance(hint, DictType) else (None, None)
        keys, values = [], []
        for key, value in zip(node.keys, node.values):
            if key is None:
                raise self.error("`**` in a dict is not supported", node)
            keys.append(self.expression(key, stated[0]))
            values.append(self.expression(value, stated[1]))
        self.at(node)
        if stated[0] is None:
            stated = (types.Str, types.Tensor)
            if keys:
                stated = (self.common_type([k.type for k in keys], "dict", node),
                          self.common_type([v.type for v in values], "dict", node))
        inputs = [v for pair in zip(keys, values) for v in pair]
        return self.op("prim::DictConstruct", inputs, DictType(*stated))

    def _joined(self, node: ast.JoinedStr, hint: Type | None) -> Value:
        text, values = "", []
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            if part.conversion != -1 and part.conversion is not None:
                raise self.error("Don't support conversion in JoinedStr", node)
            if part.format_spec is not None:
                raise self.error("Don't support formatting in JoinedStr", node)
            text += "{}"
            values.append(part.value)
        self.at(node)
        template = self.constant(text)
        inputs = [template, *(self.expression(v) for v in values)]
        self.at(node)
        return self.op("aten::format", inputs, types.Str)

    # --- things Python has ready --------------------------------------------------------------

    def python_constant(self, value: object, node: ast.AST) -> object | None:
        """The constant for a plain Python value; None if it is of another kind."""
        from_code = code_of(value)
        if value is None or isinstance(value, (bool, int, float, str, complex)):
            return self.constant(value)
        if isinstance(value, DeviceValue):
            return self.constant(value, types.Device)
        if isinstance(value, EnumValue):
            return self.constant(value, value.type)
        if from_code is not None:
            return self.constant(from_code)
        if isinstance(value, tuple):
            parts = [self.python_constant(v, node) for v in value]
            if any(p is None for p in parts):
                return None
            return self.as_value(Several(parts), node)
        return None


_CODES = {
    name: code for code, names in enumerate(
        """uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool
        qint8 quint8 qint32 bfloat16 quint4x2 quint2x4 bits1x8 bits2x4 bits4x2 bits8 bits16
        float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz uint16 uint32 uint64""".split())
    for name in [names]
}  # fmt: skip
_OTHER_CODES = {"strided": 0, "sparse_coo": 1, "contiguous_format": 0, "preserve_format": 1,
                "channels_last": 2, "channels_last_3d": 3}


def code_of(value: object) -> int | None:
    """The number that stands for a dtype, layout or memory format; None for other objects."""
    if type(value).__name__ not in ("dtype", "layout", "memory_format"):
        return None
    code = getattr(value, "code", None)
    if isinstance(code, int):
        return code
    name = str(value).rpartition(".")[2]
    return _CODES.get(name, _OTHER_CODES.get(name))


def _unwrapped(hint: Type | None, wanted: type) -> Type | None:
    if isinstance(hint, OptionalType):
        return hint.element
    if isinstance(hint, UnionType):
        found = [t for t in hint.elements if isinstance(t, wanted)]
        return found[0] if len(found) == 1 else None
    return hint


def _describe(node: ast.AST) -> str:
    names = {
        ast.Lambda: "Lambdas", ast.Set: "sets", ast.SetComp: "SetComps", ast.Await: "Awaits",
        ast.Yield: "Yields", ast.Starred: "Starred expressions",
        ast.NamedExpr: "NamedExprs",
    }  # fmt: skip
    return names.get(type(node), f"{type(node).__name__} expressions")


_READERS = {
    ast.Name: "_name", ast.Constant: "_constant", ast.Attribute: "_attribute",
    ast.BinOp: "_binary", ast.UnaryOp: "_unary", ast.Compare: "_comparison",
    ast.BoolOp: "_comparison", ast.IfExp: "_choice", ast.List: "_list", ast.Tuple: "_tuple",
    ast.Dict: "_dict", ast.JoinedStr: "_joined", ast.Call: "_call", ast.Subscript: "_subscript",
    ast.ListComp: "_list_comprehension", ast.GeneratorExp: "_list_comprehension",
    ast.DictComp: "_dict_comprehension",
}  # fmt: skip
