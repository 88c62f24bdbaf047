"""Statements of the serialized language: from a function's syntax tree to its Graph.

Variables become SSA values: an `if` returns what its branches assign, a loop carries what its body
assigns. Results that nothing reads are dropped at the end, as TorchScript does.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from aot.archive.annotations import dotted_name
from aot.archive.calls import Calls
from lowering import types
from lowering.graph import Block, Function, Graph, Node, Value
from lowering.graph_passes.dead_code import drop_unused_results
from lowering.types import (
    ClassType, ListType, TensorType, TupleType, Type,
)

if TYPE_CHECKING:
    from aot.archive.program import Program, SourceFile

_NO_LIMIT = 2**63 - 1  # iterations of a while loop


def read_function(
    program: Program, function: Function, node: ast.FunctionDef, file: SourceFile
) -> Graph:
    """The graph of one function or method; CodeError, with the line, if it cannot be read."""
    reader = FunctionReader(program, file)
    for parameter in function.parameters:
        value = reader.builder.add_param(reader.graph.block, parameter.type, parameter.name)
        reader.env[parameter.name] = value
    reader.returns = function.returns
    reader.body(node)
    return reader.graph


class FunctionReader(Calls):
    """Reads the statements of one function, or of a function that is forked inside it."""

    def __init__(self, program: Program, file: SourceFile, outer: Calls | None = None) -> None:
        super().__init__(program, file, outer)
        self.returns: Type | None = None

    def body(self, definition: ast.FunctionDef) -> Value:
        """Read the whole body into the graph; the value returned."""
        result = None
        for i, statement in enumerate(definition.body):
            if isinstance(statement, ast.Return):
                if i + 1 != len(definition.body):
                    raise self.error("a return is the last statement", statement)
                if statement.value is not None:
                    result = self.expression(statement.value, self.returns)
            else:
                self.statement(statement)
        if result is None:
            result = self.builder.constant(None)
        self.builder.set_outputs(self.graph.block, [result])
        drop_unused_results(self.graph)
        return result

    def statement(self, node: ast.stmt) -> None:
        reader = _STATEMENTS.get(type(node))
        if reader is None:
            raise self.error(f"{type(node).__name__} is not part of the serialized language", node)
        reader(self, node)

    def _statements(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            self.statement(node)

    # --- assignments --------------------------------------------------------------------------

    def _assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            raise self.error("one assignment has one target", node)
        self._assign_to(node.targets[0], node.value, None)

    def _annotated_assign(self, node: ast.AnnAssign) -> None:
        if node.value is None or not isinstance(node.target, ast.Name):
            raise self.error("expected `name : type = value`", node)
        type_ = self.type(node.annotation)
        self._assign_to(node.target, node.value, type_)
        self.declared[node.target.id] = type_

    def _augmented_assign(self, node: ast.AugAssign) -> None:
        target = ast.copy_location(_as_load(node.target), node.target)
        value = ast.copy_location(ast.BinOp(target, node.op, node.value), node)
        self._assign_to(node.target, value, None)

    def _assign_to(self, target: ast.expr, value: ast.expr, type_: Type | None) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value)
        elif isinstance(target, ast.Name) and isinstance(value, ast.Attribute) and (
            function := self._function_alias(value)
        ):
            self.env[target.id] = function
        else:
            self._store(target, self.expression(value, type_), type_, _is_fresh(value))

    def _function_alias(self, value: ast.Attribute) -> Function | None:
        name = dotted_name(value)
        if name is not None and name.startswith("__torch__.") and self.is_global(name):
            found = self.program.look_up(name)
            return found if isinstance(found, Function) else None
        return None

    def _store(
        self, target: ast.expr, value: Value, type_: Type | None = None, name: bool = True
    ) -> None:
        """Assign a value; with `name` an unnamed value takes the name of its variable."""
        if isinstance(target, ast.Name):
            self.declared.pop(target.id, None)
            self.env[target.id] = value
            fresh = not value.has_name and value.node is not None
            if value.is_constant and value is not self.newest_constant:
                fresh = False  # shared with an earlier place
            if name and fresh and not _is_numbered(target.id):
                self.builder.rename(value, target.id)
        elif isinstance(target, ast.Attribute):
            base = self.expression(target.value)
            if not isinstance(base.type, ClassType) or target.attr not in base.type.attributes:
                raise self.error(f"a {base.type} has no attribute {target.attr!r} to set", target)
            self.at(target)
            self.builder.node("prim::SetAttr", [base, value], attributes={"name": target.attr})
        elif isinstance(target, ast.Subscript):
            base, index = self.expression(target.value), self.expression(target.slice)
            self.at(target)
            self.operator("aten::_set_item", [base, index, value])
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack_value(target, value)
        else:
            raise self.error("expected a name to assign to", target)

    def _unpack(self, target: ast.Tuple | ast.List, value: ast.expr) -> None:
        """`a, b = x, y`;  `a, b = torch.max(x, 0)` (two results);  `a, b, = t` (one to unpack)."""
        count = len(target.elts)
        if isinstance(value, ast.Tuple):
            if len(value.elts) != count:
                raise self.error(f"{count} names for {len(value.elts)} values", target)
            hints = [self.declared.get(getattr(t, "id", "")) for t in target.elts]
            values = [self.expression(v, h) for v, h in zip(value.elts, hints)]
            for part, result, expression in zip(target.elts, values, value.elts):
                self._store(part, result, name=_is_fresh(expression))
            return
        if not isinstance(value, ast.Call):
            self._unpack_value(target, self.expression(value))
            return
        outputs = self.call(value, targets=count)
        if len(outputs) == 1 and (count != 1 or not isinstance(outputs[0].type, TensorType)):
            self._unpack_value(target, outputs[0])
        elif len(outputs) == count:
            for part, result in zip(target.elts, outputs):
                self._store(part, result)
        else:
            raise self.error(f"{count} names for {len(outputs)} results", target)

    def _unpack_value(self, target: ast.Tuple | ast.List, value: Value) -> None:
        count = len(target.elts)
        self.at(target)
        names = tuple(_hint(getattr(t, "id", None)) for t in target.elts)
        if isinstance(value.type, TupleType):
            if len(value.type.elements) != count:
                raise self.error(f"{count} names for a value of type {value.type}", target)
            parts = self.builder.node(
                "prim::TupleUnpack", [value], value.type.elements, names=names
            )
        elif isinstance(value.type, ListType):
            elements = (value.type.element,) * count
            parts = self.builder.node("prim::ListUnpack", [value], elements, names=names)
        else:
            raise self.error(f"a value of type {value.type} cannot be unpacked", target)
        for part, result in zip(target.elts, parts.outputs):
            self._store(part, result)

    # --- control flow -------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        condition = self.as_bool(self.expression(node.test))
        self.at(node)
        branch = self.builder.node("prim::If", [condition])
        before, declared_before = dict(self.env), dict(self.declared)
        ends = []
        for statements in (node.body, node.orelse):
            self.env, self.declared = dict(before), dict(declared_before)
            block = self._in_block(branch, statements)
            ends.append((block, self.env, self.declared))
        self.env, self.declared = dict(before), dict(declared_before)
        (first, env1, declared1), (second, env2, declared2) = ends
        for name in _assigned_names([*node.body, *node.orelse]):
            one, other = env1.get(name), env2.get(name)
            if one is other:
                if one is not None:
                    self.env[name] = one
                continue
            self.env.pop(name, None)
            if not isinstance(one, Value) or not isinstance(other, Value):
                continue
            stated = declared1.get(name) or declared2.get(name)
            type_ = stated or types.unify(one.type, other.type)
            if type_ is None:
                continue  # two variables that share a name; a later use is an error
            self.builder.add_input(first, one)
            self.builder.add_input(second, other)
            self.env[name] = self.builder.add_output(branch, type_, _hint(name))
            if stated is not None:
                self.declared[name] = stated

    def _in_block(self, owner: Node, statements: list[ast.stmt]) -> Block:
        """Read statements into a new block of `owner`."""
        block = self.builder.add_block(owner)
        outer, self.builder = self.builder, self.builder.at_end(block)
        self._statements(statements)
        self.builder = outer
        return block

    def _while(self, node: ast.While) -> None:
        if node.orelse:
            raise self.error("a while loop has no else", node)
        limit = self.builder.constant(_NO_LIMIT)
        condition = self.as_bool(self.expression(node.test))
        self._loop(node, limit, condition, None)

    def _for(self, node: ast.For) -> None:
        iterated = node.iter
        if (
            node.orelse
            or not isinstance(node.target, ast.Name)
            or not isinstance(iterated, ast.Call)
            or not isinstance(iterated.func, ast.Name)
            or iterated.func.id != "range"
            or len(iterated.args) != 1
        ):
            raise self.error("expected `for name in range(count)`", node)
        limit = self.as_int(self.expression(iterated.args[0]))
        self._loop(node, limit, self.builder.constant(True), node.target.id)

    def _loop(
        self, node: ast.For | ast.While, limit: Value, condition: Value, index: str | None
    ) -> None:
        assigned = _assigned_names(node.body)
        carried = [n for n, v in self.env.items() if n in assigned and isinstance(v, Value)]
        if self.outer is not None:
            for name in assigned.keys() - self.env.keys():
                if isinstance(self.lookup(name), Value):
                    carried.append(name)
        self.at(node)
        initial = [self.env[n] for n in carried]
        loop = self.builder.node("prim::Loop", [limit, condition, *initial])
        block = self.builder.add_block(loop)
        counter = self.builder.add_param(block, types.Int, _hint(index))
        before = dict(self.env)
        for name, value in zip(carried, initial):
            type_ = self.declared.get(name, value.type)
            self.env[name] = self.builder.add_param(block, type_, _hint(name))
        if index is not None:
            self.env[index] = counter
        outer, self.builder = self.builder, self.builder.at_end(block)
        self._statements(node.body)
        if isinstance(node, ast.While):
            again = self.as_bool(self.expression(node.test))
        else:
            again = self.builder.constant(True)
        finals = [self._final(name, node) for name in carried]
        self.builder.set_outputs(block, [again, *finals])
        self.builder = outer
        self.env = before
        for name, start, end, param in zip(carried, initial, finals, block.params[1:]):
            type_ = self.declared.get(name) or types.unify(param.type, end.type)
            if type_ is None:
                raise self.error(
                    f"{name!r} is a {start.type} before the loop and a {end.type} after", node
                )
            param.type = type_
            self.env[name] = self.builder.add_output(loop, type_, _hint(name))

    def _final(self, name: str, node: ast.AST) -> Value:
        value = self.env.get(name)
        if not isinstance(value, Value):
            raise self.error(f"{name!r} has no value at the end of the loop", node)
        return value

    def _with(self, node: ast.With) -> None:
        entered = []
        for item in node.items:
            manager = self.expression(item.context_expr)
            if not isinstance(manager.type, ClassType):
                raise self.error(f"a {manager.type} is no context manager", node)
            enter, leave = (manager.type.methods.get(m) for m in ("__enter__", "__exit__"))
            if enter is None or leave is None:
                raise self.error(f"{manager.type.name} is no context manager", node)
            self.at(node)
            result = self.builder.op("prim::Enter", [manager], enter.returns)
            if item.optional_vars is not None:
                self._store(item.optional_vars, result)
            entered.append((manager, leave))
        self._statements(node.body)
        for manager, leave in reversed(entered):
            self.at(node)
            self.builder.op("prim::Exit", [manager], leave.returns)

    # --- others -------------------------------------------------------------------------------

    def _expression_statement(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if not isinstance(node.value, ast.Call):
            raise self.error("expected a call", node)
        self.call(node.value)

    def _pass(self, node: ast.Pass) -> None:
        pass

    def _nested_function(self, node: ast.FunctionDef) -> None:
        self.env[node.name] = node

    def _assert(self, node: ast.Assert) -> None:
        """`assert c, m`: raise unless c."""
        condition = self.as_bool(self.expression(node.test))
        self.at(node)
        branch = self.builder.node("prim::If", [condition])
        self.builder.add_block(branch)
        block = self.builder.add_block(branch)
        outer, self.builder = self.builder, self.builder.at_end(block)
        prefix = self.builder.constant("AssertionError: ")
        message = prefix if node.msg is None else self.operator(
            "aten::add", [prefix, self.expression(node.msg)]
        )[0]
        self.builder.node("prim::RaiseException", [message, self.builder.constant(None)])
        self.builder = outer


_STATEMENTS = {
    ast.Assign: FunctionReader._assign,
    ast.AnnAssign: FunctionReader._annotated_assign,
    ast.AugAssign: FunctionReader._augmented_assign,
    ast.If: FunctionReader._if,
    ast.While: FunctionReader._while,
    ast.For: FunctionReader._for,
    ast.With: FunctionReader._with,
    ast.Expr: FunctionReader._expression_statement,
    ast.Pass: FunctionReader._pass,
    ast.FunctionDef: FunctionReader._nested_function,
    ast.Assert: FunctionReader._assert,
}


def _assigned_names(statements: list[ast.stmt]) -> dict[str, None]:
    """The local names that statements assign, in order."""
    return {
        node.id: None
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _is_fresh(expression: ast.expr) -> bool:
    """Whether an expression makes its value, rather than reading a variable."""
    return not isinstance(expression, ast.Name)


def _is_numbered(name: str) -> bool:
    """Whether PyTorch's printer made a name up: `_0`, `_1` ..."""
    return name[:1] == "_" and name[1:].isdigit()


def _hint(name: str | None) -> str | None:
    """A local name, if a person chose it."""
    return None if name is None or _is_numbered(name) else name


def _as_load(target: ast.expr) -> ast.expr:
    """The target of `x += 1` as the expression that reads it."""
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    return ast.Subscript(target.value, target.slice, ast.Load())
