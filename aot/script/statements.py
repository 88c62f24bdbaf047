"""Statements: branches, loops, exits."""

from __future__ import annotations

import ast

from aot.script.assignments import Assignments
from aot.script.environment import Frame
from aot.script.values import Several
from lowering import types
from lowering.graph import Value
from lowering.types import ClassType, Type, UnionType

_NO_LIMIT = 2**63 - 1


class Statements(Assignments):
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
        owner = self.frame.owner(name)
        if type_ is None:
            before = owner.types.get(name) if owner is not None else None
            if isinstance(before, UnionType):
                type_ = types.union_of(*found)
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

    # --- exits --------------------------------------------------------------------------------

    def _return(self, node: ast.Return) -> None:
        declared = self.returns
        if node.value is None:
            value = self.constant(None)
        else:
            value = self.expression(node.value, declared)
        self.at(node)
        if declared is not None:
            value = self.converted(value, declared)
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
             ast.AsyncWith: "async with statements",
             ast.AsyncFunctionDef: "async function definitions"}
    return names.get(type(node), f"{type(node).__name__} statements")


_STATEMENTS = {
    ast.Assign: "_assign_statement", ast.AnnAssign: "_annotated", ast.AugAssign: "_augmented",
    ast.If: "_if", ast.For: "_for", ast.While: "_while", ast.Break: "_break",
    ast.Continue: "_continue", ast.Return: "_return", ast.Raise: "_raise",
    ast.Assert: "_assert", ast.Expr: "_expression_statement", ast.Pass: "_pass",
    ast.With: "_with", ast.Delete: "_delete", ast.FunctionDef: "_nested",
}  # fmt: skip
