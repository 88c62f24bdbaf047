"""Conditions: comparisons, `and`, `or`, `not`, `is None`, isinstance; and what they tell about
types."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from aot.script.expressions import Expressions, _MAGIC
from aot.script.source import ScriptError
from lowering import types
from lowering.graph import Block, Value
from lowering.types import ClassType, EnumType, ListType, OptionalType, TupleType, Type, UnionType

_COMPARE = {ast.Eq: "aten::eq", ast.NotEq: "aten::ne", ast.Lt: "aten::lt", ast.LtE: "aten::le",
            ast.Gt: "aten::gt", ast.GtE: "aten::ge"}


_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


@dataclass
class Condition:
    """A bool, what it tells about variables where it holds and where not, and its value if that
    is known while compiling."""

    value: Value
    holds: dict[str, Type] = field(default_factory=dict)
    fails: dict[str, Type] = field(default_factory=dict)
    known: bool | None = None


class Conditions(Expressions):
    """Adds conditions to expressions."""

    def condition_value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self.comparison(node).value
        return self.condition(node).value

    def condition(self, node: ast.expr) -> Condition:
        """An expression as the condition of a branch."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            self.at(node)
            known = None if inner.known is None else not inner.known
            value = self.operator("aten::__not__", [inner.value], node)
            return Condition(value, inner.fails, inner.holds, known)
        if isinstance(node, ast.BoolOp):
            return self._short_circuit(node.values, isinstance(node.op, ast.Or), node)
        if isinstance(node, ast.Compare):
            if len(node.ops) > 1:
                return self._chain(node)
            if isinstance(node.ops[0], (ast.Is, ast.IsNot)):
                return self.comparison(node)
            if isinstance(node.ops[0], ast.NotIn):
                return self.comparison(node)
            return Condition(self.as_bool(self.comparison(node).value, node))
        if isinstance(node, ast.Call):
            found = self.static_call(node)
            if found is not None:
                return found
            self.meaning(node.func)  # read to see whether it is one of those
        value = self.expression(node)
        known = None
        if value.is_constant and isinstance(value.constant, bool) and (
            value.node.overload == "static" or isinstance(node, ast.Constant)
        ):
            known = value.constant
        return Condition(self.as_bool(value, node), known=known)

    def as_bool(self, value: Value, node: ast.AST) -> Value:
        """A condition's value: a bool stays, a tensor or a number is converted."""
        self.at(node)
        self.constant(0)
        if getattr(value.node, "overload", None) == "static":
            return value
        if value.type == types.Bool:
            return value
        if isinstance(value.type, ClassType) and "__bool__" in value.type.methods:
            return self.magic(value, "__bool__", [], node)
        try:
            return self.operator("aten::Bool", [value], node)
        except Exception as error:
            raise self.error(
                f"Could not cast value of type {value.type.annotation()} to bool", node
            ) from error

    def static(self, value: bool) -> Value:
        """A constant that decides a branch while compiling."""
        found = self.constant(value)
        found.node.overload = "static"
        return found

    # --- comparisons --------------------------------------------------------------------------

    def comparison(self, node: ast.Compare) -> Condition:
        op, right_node = node.ops[0], node.comparators[0]
        if isinstance(op, (ast.Is, ast.IsNot)):
            return self._identity(node, op, right_node)
        left = self.expression(node.left)
        right = self.expression(right_node)
        return Condition(self.compare(op, left, right, node))

    def compare(self, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
        if isinstance(op, (ast.In, ast.NotIn)):
            if isinstance(right.type, ClassType):
                found = self.magic(right, "__contains__", [left], node)
            elif right.type == types.Str:
                found = self._in_text(left, right, node)
            else:
                found = self.operator("aten::__contains__", [right, left], node)
            if isinstance(op, ast.NotIn):
                self.constant(0)
                found = self.operator("aten::__not__", [found], node)
            return found
        if isinstance(left.type, ClassType):
            return self.magic(left, _MAGIC[type(op)], [right], node)
        if isinstance(right.type, types.TensorType) and left.type in (types.Int, types.Float):
            left, right, op = right, left, _MIRRORED.get(type(op), type(op))()
        return self.operator(_COMPARE[type(op)], [left, right], node)

    def _in_text(self, part: Value, text: Value, node: ast.AST) -> Value:
        """`part in text`, as PyTorch's own function for it has it."""
        zero, missing = self.constant(0), self.constant(-1)
        length = self.operator("aten::len", [text], node)
        found = self.operator("aten::find", [text, part, zero, length], node)
        return self.operator("aten::ne", [found, missing], node)

    def _identity(self, node: ast.Compare, op: ast.cmpop, right_node: ast.expr) -> Condition:
        left, right = self.expression(node.left), self.expression(right_node)
        self.at(node)
        positive = isinstance(op, ast.Is)
        if right.type != types.NoneT and left.type == types.NoneT:
            left, right = right, left
            named: ast.expr = right_node
        else:
            named = node.left
        name = "aten::__is__" if positive else "aten::__isnot__"
        if right.type == types.NoneT:
            if left.type == types.NoneT or not _may_be_none(left.type):
                known = (left.type == types.NoneT) == positive
                return Condition(self.static(known), known=known)
            value = self.operator(name, [left, right], node)
            told: dict[str, Type] = {}
            variable = self.variable_of(named)
            if variable is not None:
                told = {variable: _without_none(left.type)}
            return Condition(value, *(({}, told) if positive else (told, {})))
        return Condition(self.operator(name, [left, right], node))

    def variable_of(self, node: ast.expr) -> str | None:
        """The name of the local variable that an expression is."""
        if isinstance(node, ast.Name) and self.type_of(node.id) is not None:
            return node.id
        return None

    def _chain(self, node: ast.Compare) -> Condition:
        parts: list[ast.expr] = []
        left = node.left
        for op, right in zip(node.ops, node.comparators):
            part = ast.copy_location(ast.Compare(left, [op], [right]), node)
            parts.append(part)
            left = right
        return self._short_circuit(parts, False, node)

    def _short_circuit(self, parts: list[ast.expr], is_or: bool, node: ast.AST) -> Condition:
        if len(parts) > 2:
            head = ast.copy_location(
                ast.BoolOp(ast.Or() if is_or else ast.And(), parts[:-1]), node)
            return self._short_circuit([head, parts[-1]], is_or, node)
        first = self.condition(parts[0])
        self.at(node)
        branch = self.builder.node("prim::If", [first.value])
        blocks = [self.builder.add_block(branch), self.builder.add_block(branch)]
        second = None
        for i, block in enumerate(blocks):
            self.enter(block)
            if (i == 0) == is_or:
                self.refine(first.holds if i == 0 else first.fails, node)
                self.at(node)
                value = self.constant(is_or)
            else:
                self.refine(first.holds if i == 0 else first.fails, node)
                second = self._second(parts[1], first.known is is_or)
                value = second.value
            self.builder.add_input(block, value)
            self.leave()
        out = self.builder.add_output(branch, types.Bool)
        known = is_or if is_or in (first.known, second.known) else (
            None if first.known is None else second.known)
        both_hold = {} if is_or else {**first.holds, **second.holds}
        both_fail = {**first.fails, **second.fails} if is_or else {}
        return Condition(out, both_hold, both_fail, known)

    def _second(self, node: ast.expr, decided: bool) -> Condition:
        """The second part of `and` or `or`; where the first decides, it need not compile."""
        try:
            return self.condition(node)
        except ScriptError:
            if not decided:
                raise
            return Condition(self.constant(False))

    def refine(self, told: dict[str, Type], node: ast.AST) -> None:
        """Narrow variables to what a condition tells about them."""
        for name, type_ in told.items():
            if self.type_of(name) is None:
                continue
            self.at(node)
            value = self.load(name)
            narrowed = self.op("prim::unchecked_cast", [value], type_)
            self.graph.name_variable(narrowed, name)
            if self.frame.parent is not None and self.frame.parent.owner(name) is not None:
                self.load(name)
            self.store(name, narrowed)

    # --- choices ------------------------------------------------------------------------------

    def _choice(self, node: ast.IfExp, hint: Type | None) -> Value:
        condition = self.condition(node.test)
        if condition.known is not None:
            self.refine(condition.holds if condition.known else condition.fails, node)
            return self.expression(node.body if condition.known else node.orelse, hint)
        self.at(node)
        branch = self.builder.node("prim::If", [condition.value])
        blocks = [self.builder.add_block(branch), self.builder.add_block(branch)]
        ends = []
        for block, told, part in zip(
            blocks, (condition.holds, condition.fails), (node.body, node.orelse)
        ):
            self.enter(block)
            self.refine(told, node)
            value = self.expression(part, hint)
            self.builder.add_input(block, value)
            ends.append(value.type)
            self.leave()
        type_ = types.unify(*ends)
        if type_ is None:
            if hint is not None and all(types.is_subtype(t, hint) for t in ends):
                type_ = hint
            else:
                raise self.error(
                    f"If-expression's branches have different types: {ends[0].annotation()} and "
                    f"{ends[1].annotation()}", node)
        return self.builder.add_output(branch, type_)

    # --- isinstance, hasattr ------------------------------------------------------------------

    def static_call(self, node: ast.Call) -> Condition | None:
        """isinstance() and hasattr() as conditions; None for other calls."""
        name = self.special_name(node.func)
        if name == "isinstance" and len(node.args) == 2:
            return self.isinstance_condition(node)
        if name == "hasattr" and len(node.args) == 2:
            return self._has_attribute(node)
        return None

    def special_name(self, node: ast.expr) -> str | None:
        raise NotImplementedError  # calls.py

    def isinstance_condition(self, node: ast.Call) -> Condition:
        value = self.expression(node.args[0])
        asked = self.resolver.type_list(node.args[1], self)
        self.at(node)
        members = _members(value.type)
        yes = [m for m in members if any(_is_instance(m, a) for a in asked)]
        unsure = value.type == types.Any or any(
            not _is_instance(m, a) and types.is_subtype(a, m) for m in members for a in asked)
        variable = self.variable_of(node.args[0])
        if not unsure and len(yes) == len(members):
            told = {} if variable is None else {variable: value.type}
            return Condition(self.static(True), told, known=True)
        if not unsure and not yes:
            told = {} if variable is None else {variable: value.type}
            return Condition(self.static(False), {}, told, known=False)
        plain = [a for a in asked if isinstance(a, Type)]
        result = self.op("prim::isinstance", [value], types.Bool, {"types": plain})
        if variable is None:
            return Condition(result)
        if value.type == types.Any:
            holds = {variable: plain[0] if len(plain) == 1 else UnionType(tuple(plain))}
            return Condition(result, holds, {variable: types.Any})
        rest = [m for m in members if m not in yes]
        return Condition(result, {variable: _union(yes or plain)}, {variable: _union(rest)})

    def _has_attribute(self, node: ast.Call) -> Condition | None:
        if not isinstance(node.args[1], ast.Constant) or not isinstance(node.args[1].value, str):
            raise self.error("hasattr's second argument must be a string literal", node)
        base = self.meaning(node.args[0])
        self.at(node)
        known = self.resolver.has_attribute(self, base, node.args[1].value)
        return Condition(self.static(known), known=known)

    def new_branch(self, condition: Value) -> tuple[object, list[Block]]:
        branch = self.builder.node("prim::If", [condition])
        return branch, [self.builder.add_block(branch), self.builder.add_block(branch)]


def _may_be_none(type_: Type) -> bool:
    if isinstance(type_, UnionType):
        return any(map(_may_be_none, type_.elements))
    return isinstance(type_, OptionalType) or type_ in (types.NoneT, types.Any)


def _without_none(type_: Type) -> Type:
    if isinstance(type_, OptionalType):
        return type_.element
    if isinstance(type_, UnionType):
        return _union([t for t in type_.elements if t != types.NoneT])
    return type_


def _union(members: list[Type]) -> Type:
    if len(members) == 1:
        return members[0]
    if len(members) == 2 and types.NoneT in members:
        return OptionalType(members[0] if members[1] == types.NoneT else members[1])
    return UnionType(tuple(members))


def _members(type_: Type) -> list[Type]:
    if isinstance(type_, UnionType):
        return list(type_.elements)
    if isinstance(type_, OptionalType):
        return [type_.element, types.NoneT]
    return [type_]


def _is_instance(found: Type, asked: Type) -> bool:
    if asked == types.AnyList:
        return isinstance(found, ListType)
    if asked == types.AnyTuple:
        return isinstance(found, TupleType)
    if isinstance(found, EnumType) or isinstance(asked, EnumType):
        return found is asked
    return types.is_subtype(found, asked) and not (asked == types.Any)
