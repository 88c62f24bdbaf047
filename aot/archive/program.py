"""The classes and functions an archive's code members define, found by qualified name.

A member is parsed when a name in it is first asked for, a function's body when its graph is.
"""

from __future__ import annotations

import ast
import itertools
from functools import partial
from typing import Callable

from aot.archive.annotations import annotation_type, dotted_name
from aot.archive.code_text import CodeError, parse_code, parse_type_text
from aot.archive.container import Container
from aot.archive.function_reader import read_function
from aot.archive.literals import NotLiteral, literal_value
from aot.archive.pickle_reader import PickleError
from aot.archive.shown_graphs import shown_graph
from aot.archive.source_ranges import SourceTable
from aot.script.source import ScriptError
from lowering import types
from lowering.graph import Function, Graph, Parameter, SourceRange
from lowering.types import ClassType, EnumType, InterfaceType, TupleType, Type
from runtime.errors import ArchiveError


_LONGEST_LINE = 160  # of an archive's code in a message


class SourceFile:
    """One parsed code member: its lines, and its top-level definitions by name."""

    def __init__(
        self, member: str, tree: ast.Module, lines: list[str], table: SourceTable
    ) -> None:
        self.member = member
        self.lines = lines
        self.table = table
        sizes = (len(line.encode()) + 1 for line in lines)
        self._line_starts = [0, *itertools.accumulate(sizes)]
        self.definitions: dict[str, ast.ClassDef | ast.FunctionDef] = {
            node.name: node
            for node in tree.body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        }

    def range(self, node: ast.AST) -> SourceRange:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        offset = self._line_starts[line - 1] + column if line <= len(self.lines) else 0
        return SourceRange(self.member, line, column, text, partial(self.table.find, offset))


class Program:
    """The program of one archive. `constants` is the tuple that `CONSTANTS.cN` indexes."""

    def __init__(self, container: Container, version: int) -> None:
        self.container = container
        self.version = version
        self.constants: tuple = ()
        self._files: dict[str, SourceFile] = {}
        self._definitions: dict[str, Type | Function] = {}
        self._type_tags: dict[str, Type] = {}

    # --- names --------------------------------------------------------------------------------

    def find(self, name: str) -> Type | Function:
        """The class, interface, enumeration, NamedTuple or function of a qualified name.

        ArchiveError if the archive does not define it.
        """
        found = self.look_up(name)
        if found is None:
            member = _member_of(name)
            here = member in self.container
            problem = "has no such definition" if here else "is not in the archive"
            raise self.container.error(f"{name} is used, but {member!r} {problem}")
        return found

    def look_up(self, name: str) -> Type | Function | None:
        """As `find`, but None if the archive does not define the name."""
        known = self._definitions.get(name)
        if known is not None:
            return known
        file = self._file(_member_of(name))
        node = None if file is None else file.definitions.get(name.rpartition(".")[2])
        if node is None:
            return None
        return self._guarded(file, lambda: self._define(name, node, file))

    def find_class(self, name: str) -> Type:
        """The type of a qualified name; ArchiveError if it is a function or not defined."""
        found = self.find(name)
        if isinstance(found, Function):
            raise self.container.error(f"{name} is a function, expected a class")
        return found

    def parse_type(self, text: str) -> Type:
        """The type a pickle's type tag spells; PickleError if it spells none."""
        if text not in self._type_tags:
            try:
                self._type_tags[text] = annotation_type(parse_type_text(text), self.find_class)
            except CodeError as error:
                raise PickleError(f"the type tag {text[:80]!r}: {error}") from None
        return self._type_tags[text]

    def defined(self) -> list[Type | Function]:
        """Everything asked for so far."""
        return list(self._definitions.values())

    def _file(self, member: str) -> SourceFile | None:
        file = self._files.get(member)
        if file is None and member in self.container:
            text = bytes(self.container.read(member))
            try:
                tree, lines = parse_code(text)
            except CodeError as error:
                lines = text.decode("utf-8", "replace").split("\n")
                raise self._error(error, member, lines) from None
            table = SourceTable(self.container, member)
            file = self._files[member] = SourceFile(member, tree, lines, table)
        return file

    def _error(self, error: CodeError, member: str, lines: list[str]) -> ArchiveError:
        place = f"{member}:{error.line}" if error.line else member
        line = lines[error.line - 1].rstrip() if 0 < error.line <= len(lines) else ""
        shown = line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + " ..."
        return self.container.error(f"{error}\n    {shown}" if line else str(error), place)

    def _guarded(self, file: SourceFile, action: Callable[[], object]) -> object:
        """Run `action`, with a CodeError inside told as an ArchiveError with its place."""
        try:
            return action()
        except CodeError as error:
            raise self._error(error, file.member, file.lines) from None
        except RecursionError:
            raise self.container.error("nested too deep", file.member) from None

    # --- definitions --------------------------------------------------------------------------

    def _define(
        self, name: str, node: ast.ClassDef | ast.FunctionDef, file: SourceFile
    ) -> Type | Function:
        if isinstance(node, ast.FunctionDef):
            function = self._function(name, node, file, None)
            self._definitions[name] = function
            return function
        bases = [dotted_name(base) for base in node.bases]
        base = bases[0] if bases else None
        if base == "NamedTuple":
            return self._named_tuple(name, node)
        if base == "Enum":
            return self._enum(name, node)
        if base in ("Interface", "ModuleInterface"):
            return self._interface(name, node, file, base == "ModuleInterface")
        if base not in ("Module", "object", None):
            raise CodeError(f"the base class {base!r} is not known", node.lineno)
        return self._class(name, node, file, base == "Module")

    def _named_tuple(self, name: str, node: ast.ClassDef) -> Type:
        fields, elements, defaults = [], [], []
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                fields.append(item.target.id)
                elements.append(annotation_type(item.annotation, self.find_class))
                if item.value is not None:
                    defaults.append(self._literal(item.value))
        type_ = TupleType(tuple(elements), name, tuple(fields), tuple(defaults))
        self._definitions[name] = type_
        return type_

    def _enum(self, name: str, node: ast.ClassDef) -> Type:
        members = {}
        for item in node.body:
            if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                members[item.targets[0].id] = self._literal(item.value)
        value_types = {int: types.Int, float: types.Float, str: types.Str}
        kinds = {type(v) for v in members.values()}
        if len(kinds) != 1 or not kinds <= value_types.keys():
            raise CodeError("the members of an enumeration are all int, float or str", node.lineno)
        enum = EnumType(name, value_types[kinds.pop()], members)
        self._definitions[name] = enum
        return enum

    def _interface(self, name: str, node: ast.ClassDef, file: SourceFile, is_module: bool) -> Type:
        interface = InterfaceType(name, is_module)
        self._definitions[name] = interface
        for item in node.body:
            if isinstance(item, ast.FunctionDef):
                method = self._function(f"{name}.{item.name}", item, file, interface)
                method.build = None
                interface.methods[item.name] = method
        return interface

    def _class(self, name: str, node: ast.ClassDef, file: SourceFile, is_module: bool) -> Type:
        cls = ClassType(name, is_module)
        # Registered before its members are read: they may name the class itself.
        self._definitions[name] = cls
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                self._attribute(cls, item.target.id, item)
            elif isinstance(item, ast.Assign) and len(item.targets) == 1:
                self._class_assignment(cls, item)
            elif isinstance(item, ast.FunctionDef):
                method = self._function(f"{name}.{item.name}", item, file, cls)
                cls.methods[item.name] = method
            elif not isinstance(item, ast.Pass) and not _is_docstring(item):
                raise CodeError("expected an attribute or a method", item.lineno)
        return cls

    def _attribute(self, cls: ClassType, name: str, item: ast.AnnAssign) -> None:
        type_ = annotation_type(item.annotation, self.find_class)
        if item.value is None:
            cls.attributes[name] = type_
        else:
            cls.constants[name] = self._literal(item.value)
            cls.constant_types[name] = type_

    def _class_assignment(self, cls: ClassType, item: ast.Assign) -> None:
        target = item.targets[0]
        if isinstance(target, ast.Subscript) and dotted_name(target.value) == "__annotations__":
            key = self._literal(target.slice)
            cls.attributes[str(key)] = annotation_type(item.value, self.find_class)
            return
        lists = {
            "__parameters__": "parameters",
            "__buffers__": "buffers",
            "__forward_pre_hooks__": "forward_pre_hooks",
            "__forward_hooks__": "forward_hooks",
        }
        name = dotted_name(target)
        if name in lists:
            setattr(cls, lists[name], tuple(map(str, self._literal(item.value))))
        elif name != "__annotations__" and not (name or "").startswith("__"):
            raise CodeError(f"expected an attribute with a type, found {name!r}", item.lineno)

    def _literal(self, node: ast.expr) -> object:
        try:
            return literal_value(node, self.constants)
        except NotLiteral:
            raise CodeError("expected a constant", node.lineno) from None

    # --- functions ----------------------------------------------------------------------------

    def _function(
        self,
        name: str,
        node: ast.FunctionDef,
        file: SourceFile,
        owner: ClassType | InterfaceType | None,
    ) -> Function:
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.posonlyargs or node.decorator_list:
            raise CodeError("expected a function with plain parameters", node.lineno)
        plain = arguments.args + arguments.kwonlyargs
        defaults = [None] * (len(arguments.args) - len(arguments.defaults))
        defaults += list(arguments.defaults) + list(arguments.kw_defaults)
        parameters = []
        for i, (argument, default) in enumerate(zip(plain, defaults)):
            if i == 0 and owner is not None:
                type_: Type = owner
            elif argument.annotation is None:
                type_ = types.Tensor
            else:
                type_ = annotation_type(argument.annotation, self.find_class)
            value = ... if default is None else self._literal(default)
            parameters.append(Parameter(argument.arg, type_, value))
        returns = self._return_type(node)
        function = Function(name, parameters, returns, range=file.range(node))
        function.build = lambda: self._build(function, node, file)
        function.build_shown = lambda: self._build_shown(function, node, file)
        return function

    def _return_type(self, node: ast.FunctionDef) -> Type:
        if node.returns is None:
            return types.Tensor
        return annotation_type(node.returns, self.find_class)

    def _build(self, function: Function, node: ast.FunctionDef, file: SourceFile) -> Graph:
        return self._guarded(file, lambda: read_function(self, function, node, file))

    def _build_shown(self, function: Function, node: ast.FunctionDef, file: SourceFile) -> Graph:
        try:
            return self._guarded(file, lambda: shown_graph(self, function, node, file))
        except ScriptError:
            return function.graph


def _member_of(name: str) -> str:
    """The code member that defines a qualified name."""
    return f"code/{name.rpartition('.')[0].replace('.', '/')}.py"


def _is_docstring(item: ast.stmt) -> bool:
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
