"""The program being compiled: which functions and classes are known, by the objects they came
from."""

from __future__ import annotations

import ast
import itertools
import threading
from typing import Callable

from aot.script.function import FunctionCompiler, signature_of
from aot.script.marks import mark_of, overloads_of
from aot.script.program_classes import Classes
from aot.script.program_modules import Modules
from aot.script.qualified import qualified_name
from aot.script.python_objects import definition_of, scope_of
from aot.script.resolution import Resolver
from aot.script.source import ScriptError, Source
from aot.script.values import Dispatch, FunctionRef, Ignored, Overloads
from lowering import types
from lowering.graph import Function, Graph, Value
from lowering.types import Type

_UNKNOWN = types.SimpleType("<not compiled yet>")


class Program(Classes, Modules):
    """Everything compiled so far in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # one program is compiled at a time
        self.functions: dict[object, Function] = {}
        self.names: set[str] = set()
        self.mangles = itertools.count()
        self.compiling: list[Function] = []
        self.unready: dict[Function, FunctionCompiler] = {}
        Classes.__init__(self)
        Modules.__init__(self)

    def unique(self, name: str) -> str:
        """The name, or one with `___torch_mangle_N` where it is taken."""
        if name in self.names:
            prefix, _, last = name.rpartition(".")
            name = f"{prefix}.___torch_mangle_{next(self.mangles)}.{last}"
        self.names.add(name)
        return name

    # --- functions ----------------------------------------------------------------------------

    def function(self, python: object, hints: list[Type] | None = None) -> Function:
        """The compiled form of a Python function; compiled on its first use."""
        known = self.functions.get(python)
        if known is None:
            scope = scope_of(python)
            known = self.declare(python, Resolver(self, scope), None,
                                 self.unique(qualified_name(python)), hints)
            self.functions[python] = known
        return known

    def declare(
        self, python: object, resolver: Resolver, owner: Type | None, name: str,
        hints: list[Type] | None = None, signature_from: object = None,
    ) -> Function:
        """A Function with its signature; its body is compiled when asked for."""
        source, definition = definition_of(python)
        if signature_from is not None:
            stated, stated_definition = definition_of(signature_from)
            parameters, returns = signature_of(stated_definition, stated, resolver, owner,
                                               signature_from, hints)
            parameters = self._with_defaults(parameters, python)
        else:
            parameters, returns = signature_of(definition, source, resolver, owner, python, hints)
        function = Function(name, parameters, returns or _UNKNOWN,
                            range=source.range(definition))

        def build() -> Graph:
            with self.lock:
                return self.build(function, definition, source, resolver, returns)

        function.build = build
        return function

    def _with_defaults(self, parameters, python):
        return parameters

    def build(
        self, function: Function, definition: ast.FunctionDef, source: Source, resolver: Resolver,
        returns: Type | None,
    ) -> Graph:
        if function in self.compiling:
            raise ScriptError(
                f"function '{definition.name}' is called recursively. Recursive calls are not "
                "supported", source.range(definition))
        self.compiling.append(function)
        try:
            compiler = FunctionCompiler(source, resolver)
            return compiler.compile(definition, function, returns)
        finally:
            self.compiling.pop()

    def ready(self, function: Function, node: ast.AST, env: FunctionCompiler) -> None:
        """Compile a function that is called, so that its result type is known."""
        if function.is_built or (function.build is None):
            return
        if function in self.compiling:
            if function.returns is not _UNKNOWN and "." in function.name:
                owner = function.parameters[0].type if function.parameters else None
                if isinstance(owner, types.ClassType) and not owner.is_module:
                    return  # methods of a class may call each other
            raise env.error(f"function '{function.name.rpartition('.')[2]}' is called recursively. "
                            "Recursive calls are not supported", node)
        function.graph  # noqa: B018  builds it

    def function_meaning(self, python: object, node: ast.AST, env: FunctionCompiler) -> object:
        """What a Python function means where a program names it."""
        plain = getattr(python, "if_false", None)
        if plain is not None:
            return self.dispatch(plain, python.if_true)
        mark = mark_of(python)
        if mark in ("ignore", "unused"):
            return self.ignored(python, None, mark)
        declared = overloads_of(python)
        if declared:
            resolver = Resolver(self, scope_of(python))
            key = (python, "overloads")
            if key not in self.functions:
                base = qualified_name(python)
                self.functions[key] = tuple(
                    self.declare(python, resolver, None, self.unique(base),
                                 signature_from=overload)
                    for overload in declared)
            return Overloads(self.functions[key])
        return FunctionRef(self.function(python))

    def dispatch(self, if_false: object, if_true: object) -> Dispatch:
        functions = self.function(if_false), self.function(if_true)
        names = [p.name for p in functions[0].parameters]
        return Dispatch(*functions, "return_indices", names.index("return_indices"))

    def ignored(
        self, python: Callable, owner: Type | None, mark: str, receiver: Value | None = None
    ) -> Ignored:
        """A function that is not compiled: only its signature is read."""
        key = (python, mark, owner)
        if key not in self.functions:
            source, definition = definition_of(python)
            resolver = Resolver(self, scope_of(python), owner)
            parameters, returns = signature_of(definition, source, resolver, owner, python)
            self.functions[key] = Function(qualified_name(python), parameters,
                                           returns or types.Tensor,
                                           range=source.range(definition))
        return Ignored(self.functions[key], python if mark == "ignore" else None, receiver)


PROGRAM = Program()
