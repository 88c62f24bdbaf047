"""Python functions as the compiler needs them: their scope and their source."""

from __future__ import annotations

import ast
import inspect

from aot.script.source import ScriptError, Source, source_of


def scope_of(function: object) -> dict[str, object]:
    """The globals of a function with its closure's variables on top."""
    function = inspect.unwrap(function) if callable(function) else function
    function = getattr(function, "__func__", function)
    scope = dict(getattr(function, "__globals__", {}))
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), function.__closure__ or ()):
        try:
            scope[name] = cell.cell_contents
        except ValueError:
            pass
    return scope


def definition_of(python: object) -> tuple[Source, ast.FunctionDef]:
    """A Python function's source and its syntax tree."""
    function = inspect.unwrap(python) if callable(python) else python
    function = getattr(function, "__func__", function)
    source = source_of(function)
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef):
            return source, node
    if any(isinstance(n, ast.Lambda) for n in ast.walk(source.tree)):
        raise ScriptError("Lambdas aren't supported: write a function", source.range(
            source.tree.body[0]))
    raise ScriptError(f"Expected a single top-level function, found none in {source.file}")
