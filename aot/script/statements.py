"""Statements: assignments, branches, loops, exits."""

from __future__ import annotations

import ast

from aot.script.environment import Frame
from aot.script.loops import Loops
from aot.script.matching import unpack_tuple
from aot.script.values import ModuleItems, Several
from lowering import types
from lowering.graph import Value
from lowering.types import (
    ClassType, DictType, ListType, OptionalType, TensorType, TupleType, Type, UnionType,
)

_NO_LIMIT = 2**63 - 1
_IN_PLACE = {ast.Add: "aten::add_", ast.Sub: "aten::sub_", ast.Mult: "aten::mul_",
             ast.Div: "aten::div_", ast.Mod: "aten::remainder_", ast.BitAnd: "aten::__iand__",
             ast.BitOr: "aten::__ior__", ast.BitXor: "aten::__ixor__", ast.Pow: "aten::pow_",
             ast.FloorDiv: "aten::floor_divide_", ast.LShift: "aten::__ilshift__",
             ast.RShift: "aten::__irshift__"}  # fmt: skip
_IN_PLACE_MAGIC = {ast.Add: "__iadd__", ast.Sub: "__isub__", ast.Mult: "__imul__",
                   ast.Div: "__itruediv__", ast.Mod: "__imod__"}


class Statements(Loops):
    """Reads the statements of one function."""

    returns: Type | None = None  # stated by the function, None if it must be found
    found_returns: list[Type]

    def statements(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if self.frame.exits:
                return
            self.statement(node)

    def statement(self, node: ast.stmt) -> None:
        reader = _STATEMENTS.get(type(node))
        if reader is None:
            raise self.error(f"{_describe(node)} aren't supported", node)
        self.at(node)
        getattr(self, reader)(node)

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
        hint = stated
        if hint is None and isinstance(target, ast.Name):
            hint = self.declared(target.id)
        if isinstance(target, ast.Attribute):
            base = self.meaning(target.value)
            hint = self.resolver.attribute_type(self, base, target.attr) or hint
            right = self.expression(value, hint)
            self.resolver.set_attribute(self, base, target.attr, right, node, stated)
            return
        meaning = self.meaning(value, hint)
        if stated is not None and isinstance(meaning, Value):
            meaning = self.fit(meaning, stated, node)
            self.declare(target.id, stated)
        elif hint is not None and isinstance(meaning, Value):
            meaning = self.as_stated(meaning, hint, node)
        self._bind_target(target, meaning)

    def fit(self, value: Value, type_: Type, node: ast.AST) -> Value:
        """A value where a type is stated."""
        if not types.is_subtype(value.type, type_):
            raise self.error(
                f"Variable was annotated having type {type_.annotation()} but is being assigned to "
                f"a value of type {value.type.annotation()}", node)
        if value.type == types.NoneT and isinstance(type_, OptionalType):
            return value
        return value

    def _annotated(self, node: ast.AnnAssign) -> None:
        stated = self.resolver.annotation(node.annotation, self)
        if node.value is None:
            if isinstance(node.target, ast.Name):
                self.declare(node.target.id, stated)
            return
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

    # --- branches -----------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        condition = self.condition(node.test)
        if condition.known is not None:
            self.refine(condition.holds if condition.known else condition.fails, node)
            self.statements(node.body if condition.known else node.orelse)
            return
        self.branch(condition, node, node.body, node.orelse)

    def branch(self, condition, node: ast.AST, body, orelse) -> None:
        self.at(node)
        made, blocks = self.new_branch(condition.value)
        frames = []
        for block, told, part in zip(
            blocks, (condition.holds, condition.fails), (body, orelse)
        ):
            self.enter(block)
            self.refine(told, node)
            if callable(part):
                part()
            else:
                self.statements(part)
            frames.append(self.leave())
        self._join(node, frames)

    def _join(self, node: ast.AST, frames: list[Frame]) -> None:
        """Variables that both branches define are defined after them."""
        names: list[str] = []
        if all(f.exits for f in frames):
            for i, frame in enumerate(frames):
                for name in sorted(frame.types):
                    self._found(frames[1 - i], name)
            self.frame.exits = True
            return
        for i, frame in enumerate(frames):
            other = frames[1 - i]
            for name in sorted(frame.types):
                found = self._found(other, name)
                if found and name not in names:
                    names.append(name)
                elif not found and other.exits and name not in names:
                    names.append(name)
                elif not found and name not in names:
                    side = "true" if i else "false"
                    self.frame.undefined[name] = f"{name} is not defined in the {side} branch"
        for name in sorted(names):
            self._join_one(name, frames, node)
        for i, frame in enumerate(frames):
            if not frame.exits and frames[1 - i].exits:
                for name, other in frame.others.items():
                    self.frame.others[name] = other

    def _found(self, frame: Frame, name: str) -> bool:
        """Whether a branch knows a variable; knowing takes a read."""
        owner = frame.owner(name)
        if owner is None or name not in owner.types:
            return False
        self._at_end(frame, lambda: self.load(name, owner.types[name]))
        return True

    def _at_end(self, frame: Frame, action) -> object:
        kept, self.builder = self.builder, self.builder.at_end(frame.block)
        result = action()
        self.builder = kept
        return result

    def _join_one(self, name: str, frames: list[Frame], node: ast.AST) -> None:
        found: list[Type] = []
        for frame, other in zip(frames, reversed(frames)):
            owner = frame.owner(name) if not frame.exits else other.owner(name)
            if owner is None:
                return
            found.append(owner.types[name])
        for frame, type_ in zip(frames, found):
            if frame.exits:
                def fill(name=name, type_=type_):
                    value = self.op("prim::Uninitialized", [], type_)
                    self.builder.node("prim::Store", [value], (), {"name": name})
                self._at_end(frame, fill)
            else:
                self._at_end(frame, lambda: self.load(name, type_))
        type_ = types.unify(*found)
        declared = self.declared(name)
        if type_ is None and declared is not None:
            type_ = declared
        owner = self.frame.owner(name)
        if type_ is None:
            before = owner.types.get(name) if owner is not None else None
            if isinstance(before, UnionType) or before == types.Any:
                type_ = before
            elif owner is not None:
                raise self.error(
                    f"Type mismatch: {name} is set to type {found[0].annotation()} in the true "
                    f"branch and type {found[1].annotation()} in the false branch", node)
            else:
                self.frame.undefined[name] = (
                    f"Type mismatch: {name} is set to type {found[0].annotation()} in the true "
                    f"branch and type {found[1].annotation()} in the false branch")
                return
        if owner is not None:
            self.load(name)
            before = owner.unrefined.get(name, owner.types.get(name, type_))
            if before != type_ and types.is_subtype(type_, before):
                self.frame.unrefined[name] = before
        self.frame.types[name] = type_

    # --- loops --------------------------------------------------------------------------------

    def _for(self, node: ast.For) -> None:
        if node.orelse:
            raise self.error("else branches of for loops aren't supported", node)
        over = self.meaning(node.iter)
        self._looping(lambda: self.for_loop(
            over, node, lambda value: self._bind_target(node.target, value),
            lambda: self.statements(node.body)))

    def _looping(self, action) -> None:
        self.loop_depth += 1
        action()
        self.loop_depth -= 1

    loop_depth = 0

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise self.error("else branches of while loops aren't supported", node)
        limit = self.literal(_NO_LIMIT)
        loop = self.builder.node("prim::Loop", [limit])
        test, block = self.builder.add_block(loop), self.builder.add_block(loop)
        self.enter(test)
        condition = self.condition(node.test)
        if isinstance(node.test, (ast.BoolOp, ast.UnaryOp)):
            self.constant(0)
        self.builder.add_input(test, condition.value)
        self.leave()
        self.enter(block)
        self.builder.add_param(block, types.Int)
        self.refine(condition.holds, node)
        self._looping(lambda: self.statements(node.body))
        self.leave()

    def _break(self, node: ast.Break) -> None:
        self._jump("prim::BreakStmt", node)

    def _continue(self, node: ast.Continue) -> None:
        self._jump("prim::ContinueStmt", node)

    def _jump(self, kind: str, node: ast.AST) -> None:
        if not self.loop_depth:
            raise self.error("break and continue are only allowed inside a loop", node)
        self.builder.node(kind)
        self.frame.exits = True

    # --- exits --------------------------------------------------------------------------------

    def _return(self, node: ast.Return) -> None:
        declared = self.returns
        if node.value is None:
            value = self.constant(None)
        else:
            value = self.expression(node.value, declared)
        self.at(node)
        if declared is not None:
            if isinstance(value.type, TensorType) and declared != types.Any and not isinstance(
                declared, TensorType
            ) and declared in (types.Int, types.Float):
                value = self.implicit(value, declared, node)
            if not types.is_subtype(value.type, declared):
                raise self.error(
                    f"Return value was annotated as having type {declared.annotation()} but is "
                    f"actually of type {value.type.annotation()}", node)
        else:
            self.found_returns.append(value.type)
            before = self.found_returns[0]
            joined = value.type if before == value.type else types.unify(before, value.type)
            if joined is None:
                raise self.error(
                    f"Previous return statement returned a value of type {before.annotation()} but "
                    f"this return statement returns a value of type {value.type.annotation()}",
                    node)
            self.found_returns[0] = joined
        self.builder.node("prim::ReturnStmt", [value])
        self.frame.exits = True

    def _raise(self, node: ast.Raise) -> None:
        if node.exc is None:
            raise self.error("raise without an exception is not supported", node)
        message, name = self.exception(node.exc, node)
        self.at(node)
        self.builder.node("prim::RaiseException", [message, name])
        self.constant(None)
        self.frame.exits = True

    def exception(self, node: ast.expr, at: ast.AST) -> tuple[Value, Value]:
        """The message and the class's name of an exception that a program raises."""
        call = node if isinstance(node, ast.Call) else None
        found = self.resolver.exception_name(self, call.func if call else node, at)
        self.at(at)
        if call is None or not call.args:
            message = self.constant("")
        else:
            parts = [self.expression(a) for a in call.args]
            message = parts[0]
            if len(parts) > 1:
                made = self.as_value(Several(parts), at)
                message = self.op("aten::str", [made], types.Str)
            elif message.type != types.Str:
                message = self.op("aten::str", [message], types.Str)
        self.at(at)
        return message, self.constant(found)

    def _assert(self, node: ast.Assert) -> None:
        condition = self.condition(node.test)
        if condition.known is True:
            self.refine(condition.holds, node)
            return

        def fail() -> None:
            self.at(node)
            message = self.constant("") if node.msg is None else self.expression(node.msg)
            self.at(node)
            if message.type != types.Str:
                message = self.op("aten::str", [message], types.Str)
            prefix = self.constant("AssertionError: ")
            text = self.op("aten::add", [prefix, message], types.Str)
            self.builder.node("prim::RaiseException", [text, self.constant(None)])
            self.constant(None)
            self.frame.exits = True

        self.branch(condition, node, lambda: None, fail)

    # --- others -------------------------------------------------------------------------------

    def _expression_statement(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            self.constant(node.value.value)
            return
        meaning = self.meaning(node.value)
        if not isinstance(meaning, (Value, Several)):
            self.as_value(meaning, node)

    def _pass(self, node: ast.Pass) -> None:
        pass

    def _with(self, node: ast.With) -> None:
        entered = []
        for item in node.items:
            manager = self.expression(item.context_expr)
            if not isinstance(manager.type, ClassType):
                raise self.error("With item expression must be an object", node)
            enter, leave = (manager.type.methods.get(n) for n in ("__enter__", "__exit__"))
            if enter is None or leave is None:
                raise self.error("Object returned by with item expression does not define "
                                 "__enter__ and __exit__ methods", node)
            self.resolver.ready(enter, node, self)
            self.resolver.ready(leave, node, self)
            self.at(node)
            result = self.op("prim::Enter", [manager], enter.returns)
            if item.optional_vars is not None:
                self._bind_target(item.optional_vars, result)
            entered.append((manager, leave))
        self.statements(node.body)
        for manager, leave in reversed(entered):
            self.at(node)
            self.op("prim::Exit", [manager], types.Tensor)  # whatever it returns

    def _nested(self, node: ast.stmt) -> None:
        raise self.error("function definitions aren't supported", node)


def _describe(node: ast.stmt) -> str:
    names = {ast.Try: "try blocks", ast.ClassDef: "class definitions", ast.Global: "global "
             "variables", ast.Nonlocal: "nonlocal variables", ast.Import: "import statements",
             ast.ImportFrom: "import statements", ast.AsyncFor: "async for loops",
             ast.AsyncWith: "async with statements"}
    return names.get(type(node), f"{type(node).__name__} statements")


_STATEMENTS = {
    ast.Assign: "_assign_statement", ast.AnnAssign: "_annotated", ast.AugAssign: "_augmented",
    ast.If: "_if", ast.For: "_for", ast.While: "_while", ast.Break: "_break",
    ast.Continue: "_continue", ast.Return: "_return", ast.Raise: "_raise",
    ast.Assert: "_assert", ast.Expr: "_expression_statement", ast.Pass: "_pass",
    ast.With: "_with", ast.Delete: "_delete", ast.FunctionDef: "_nested",
}  # fmt: skip
