"""The Graphs of an archive's functions as TorchScript shows them.

TorchScript reads an archive's code with the compiler that compiles users' programs, so its values
are named and numbered as in scripted functions. What is run is read by function_reader.py, which is
faster and takes more; these Graphs are for people to look at.
"""

from __future__ import annotations

import ast
import builtins
from typing import TYPE_CHECKING

from aot.archive.annotations import annotation_type, dotted_name
from aot.archive.code_text import CodeError
from aot.archive.literals import NotLiteral, literal_value
from aot.script import names
from aot.script.function import FunctionCompiler
from aot.script.resolution import Resolver
from aot.script.source import ScriptError
from aot.script.values import ClassRef, FunctionRef, Operator, Special
from lowering import types
from lowering.graph import Function, Graph, SourceRange, Value, type_of_value
from lowering.objects import TensorData
from lowering.types import ClassType, EnumType, Type

if TYPE_CHECKING:
    from aot.archive.program import Program, SourceFile

_SPECIAL = ("annotate", "unchecked_cast", "uninitialized", "fork")
_NUMBERS = {"inf": float("inf"), "nan": float("nan"), "infj": complex(0.0, float("inf")),
            "nanj": complex(0.0, float("nan"))}


class Path:
    """A dotted name of the serialized language that is not yet the name of anything."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = name


def shown_graph(
    program: Program, function: Function, definition: ast.FunctionDef, file: SourceFile
) -> Graph:
    """The graph of one function, as TorchScript shows it; ScriptError if the script compiler does
    not take the text, which says more than PyTorch's writer would."""
    compiler = _Compiler(_Source(file), _Names(program))
    signature = Function(function.name, function.parameters, function.returns)
    return compiler.compile(definition, signature, function.returns)


class _Compiler(FunctionCompiler):
    """The script compiler, for whom a module is a value like others."""

    modules_are_values = True

    def _unary(self, node: ast.UnaryOp, hint: Type | None) -> Value:
        number = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if not isinstance(node.op, ast.USub) or type(number) not in (int, float, complex):
            return super()._unary(node, hint)
        self.at(node)
        return self.literal(-number)  # one constant here


class _Source:
    """Places in a code member, as the compiler asks for them."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.text = ""

    def range(self, node: ast.AST) -> SourceRange:
        return self.file.range(node)

    def error(self, message: str, node: ast.AST) -> ScriptError:
        return ScriptError(message, self.range(node))


class _Names(Resolver):
    """What the names in an archive's code mean: operators, and the archive's own definitions."""

    def __init__(self, archive: Program) -> None:
        super().__init__(None, {}, None)
        self.archive = archive

    def global_name(self, env: FunctionCompiler, name: str, node: ast.AST) -> object | None:
        if name in ("torch", "ops", "__torch__", "CONSTANTS"):
            return Path(name)
        if name in _NUMBERS:
            return env.constant(_NUMBERS[name])
        if name in _SPECIAL:
            return Special(name)
        return names.builtin(getattr(builtins, name, None))

    def global_path(self, env: FunctionCompiler, node: ast.expr) -> object | None:
        return self.global_name(env, node.id, node) if isinstance(node, ast.Name) else None

    def attribute(self, env: FunctionCompiler, base: object, name: str, node: ast.AST) -> object:
        if isinstance(base, ClassRef) and name == "__new__":
            return Special("new")
        if not isinstance(base, Path):
            return super().attribute(env, base, name, node)
        full = f"{base.name}.{name}"
        if base.name == "torch" and full != "torch.ops":
            return Operator(f"aten::{name}")
        if base.name == "CONSTANTS":
            return self._constant(env, node)
        if full.count(".") == 2 and full.startswith("ops."):
            return Operator(full.removeprefix("ops.").replace(".", "::"))
        found = self.archive.look_up(full) if full.startswith("__torch__.") else None
        if isinstance(found, Function):
            return FunctionRef(found)
        return Path(full) if found is None else ClassRef(found)

    def _constant(self, env: FunctionCompiler, node: ast.AST) -> Value:
        try:
            value = literal_value(node, self.archive.constants)
        except NotLiteral:
            raise env.error("expected a constant", node) from None
        return env.constant(value, types.Tensor if isinstance(value, TensorData) else
                            type_of_value(value))

    def _class_attribute(self, env, type_: Type, name: str, node: ast.AST) -> object:
        if not isinstance(type_, EnumType):
            raise env.error(f"{type_} has no member {name!r}", node)
        return super()._class_attribute(env, type_, name, node)

    # --- objects ------------------------------------------------------------------------------

    def object_attribute(self, env, base: Value, name: str, node: ast.AST) -> object:
        type_ = base.type
        if isinstance(type_, ClassType) and name in type_.attributes:
            value = env.op("prim::GetAttr", [base], type_.attributes[name], {"name": name})
            env.graph.set_name(value, f"_{name}" if name[:1].isdigit() else name)
            return value
        if isinstance(type_, ClassType) and name in type_.constants:
            return env.constant(type_.constants[name], type_.constant_types[name])
        return self.method(env, base, name, node)

    def has_attribute(self, env, base: object, name: str) -> bool:
        type_ = base.type if isinstance(base, Value) else None
        return isinstance(type_, ClassType) and (
            name in type_.attributes or name in type_.methods or name in type_.constants)

    def container_of(self, env, value: Value) -> None:
        return None

    # --- types, calls -------------------------------------------------------------------------

    def annotation(self, node: ast.expr, env: FunctionCompiler) -> Type:
        try:
            return annotation_type(node, self.archive.find_class)
        except CodeError as error:
            raise env.error(str(error), node) from None

    def ready(self, function: Function, node: ast.AST, env: FunctionCompiler) -> None:
        """Every function of an archive states its types."""

    def call(self, env, target: object, node: ast.Call, hint) -> object:
        name = dotted_name(node.func) or "this"
        raise env.error(f"{name} cannot be called", node)
