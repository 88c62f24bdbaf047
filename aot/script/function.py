"""Compiles one function: its signature from annotations, its body into a Graph."""

from __future__ import annotations

import ast
import inspect
import re

from aot.script.cleanup import clean_up
from aot.script.control_flow import to_ssa
from aot.script.expressions import code_of
from aot.script.environment import is_module
from aot.script.emit_graph import EmitGraph
from aot.script.exits import lower_exits
from aot.script.matching import BroadcastParameter
from aot.script.resolution import Resolver
from aot.script.source import Source
from aot.script.statements import Statements
from lowering import types
from lowering.graph import Function, Graph, Parameter
from lowering.objects import DeviceValue
from lowering.types import Type

# The type of a parameter without one: equal to Tensor, but PyTorch tells the two apart where it
# shares placeholders (exits.py).
INFERRED = types.TensorType()
_BROADCASTING = re.compile(r"BroadcastingList(\d)")
_SIGNATURE = re.compile(r"#\s*type:\s*(\(.*\)\s*->.*)$")


class FunctionCompiler(Statements):
    """Compiles the body of one function."""

    def __init__(self, source: Source, resolver: Resolver) -> None:
        super().__init__(EmitGraph(), source)
        self.resolver = resolver
        self.found_returns = []

    def compile(
        self, definition: ast.FunctionDef, function: Function, returns: Type | None
    ) -> Graph:
        """The Graph; the function's result type is set where its signature states none."""
        self.returns = returns
        self.parameters(definition, function.parameters)
        self.statements(definition.body)
        return self.finish(function, definition)

    def parameters(self, definition: ast.FunctionDef, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            self.at(definition)
            value = self.builder.add_param(self.graph.block, parameter.type)
            self.graph.set_name(value, parameter.name)
            if is_module(parameter.type) and parameter is parameters[0] and (
                not self.modules_are_values
            ):
                self.frame.others[parameter.name] = value  # the module itself, not a variable
                continue
            self.store(parameter.name, value)

    def finish(self, function: Function, definition: ast.AST) -> Graph:
        if not self.frame.exits:
            self.at(definition)
            if self.returns not in (None, types.NoneT, types.Any) and not isinstance(
                self.returns, types.OptionalType
            ):
                raise self.error(
                    f"Function was not annotated as having type None, but does not return along "
                    f"all "
                    f"paths: it states {self.returns.annotation()}", definition)
            if self.found_returns and self.found_returns[0] != types.NoneT and self.returns is None:
                raise self.error("Function does not return along all paths", definition)
            value = self.constant(None)
            self.found_returns = self.found_returns or [types.NoneT]
            self.builder.node("prim::ReturnStmt", [value])
        returns = self.returns
        if returns is None:
            returns = self.found_returns[0] if self.found_returns else types.NoneT
        function.returns = returns
        result = self.op("prim::Uninitialized", [], returns)
        self.builder.set_outputs(self.graph.block, [result])
        to_ssa(self.graph)
        lower_exits(self.graph, returns)
        clean_up(self.graph)
        return self.graph


def signature_of(
    definition: ast.FunctionDef, source: Source, resolver: Resolver, owner: Type | None,
    python: object = None, hints: list[Type] | None = None,
) -> tuple[list[Parameter], Type | None]:
    """The parameters and the stated result type. `owner` is the type of `self` of a method."""
    env = FunctionCompiler(source, resolver)
    arguments = definition.args
    if arguments.vararg:
        raise source.error(
            "Compiled functions can't take variable number of arguments or use keyword-only "
            "arguments with defaults", arguments.vararg)
    if arguments.kwarg:
        raise source.error(
            "Compiled functions can't take variable number of arguments or use keyword-only "
            "arguments with defaults", arguments.kwarg)
    if any(d is not None for d in arguments.kw_defaults):
        raise source.error(
            "Compiled functions can't take variable number of arguments or use keyword-only "
            "arguments with defaults", definition)
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    commented, returns = _commented(definition, source, resolver, env, plain, owner)
    defaults = _defaults(python, source, definition)
    parameters = []
    for i, argument in enumerate(plain):
        if i == 0 and owner is not None:
            parameters.append(Parameter(argument.arg, owner))
            continue
        if hints is not None and argument.annotation is None and i < len(hints):
            type_: Type = hints[i]
        elif argument.annotation is not None:
            type_ = resolver.annotation(argument.annotation, env)
        else:
            type_ = commented.get(argument.arg, INFERRED)
        default = defaults.get(argument.arg, ...)
        if default is not ...:
            default = _default_value(default, type_, source, argument)
        length = _BROADCASTING.search(ast.unparse(argument.annotation or argument))
        if length is not None:
            count = int(length.group(1))
            if isinstance(default, int) and not isinstance(default, bool):
                default = [default] * count
            parameters.append(BroadcastParameter(argument.arg, type_, default, count))
            continue
        parameters.append(Parameter(argument.arg, type_, default))
    if definition.returns is not None:
        returns = resolver.annotation(definition.returns, env)
    return parameters, returns


def _defaults(python: object, source: Source, definition: ast.FunctionDef) -> dict[str, object]:
    if python is None:
        return {}
    try:
        found = inspect.signature(python)
    except (TypeError, ValueError):
        return {}
    return {
        n: p.default for n, p in found.parameters.items()
        if p.default is not inspect.Parameter.empty
    }


def _default_value(value: object, type_: Type, source: Source, node: ast.AST) -> object:
    if isinstance(value, (list, dict, set)):
        raise source.error(
            "Mutable default parameters are not supported because Python binds them to the function"
            " and they persist across function calls. As a workaround, make the default None and "
            "instantiate the mutable parameter within the body of the function. Found "
            f"{type(value).__name__} on parameter {node.arg}", node)
    code = code_of(value)
    if code is not None:
        return code
    if type(value).__name__ == "device":
        return DeviceValue.parse(str(value))
    if type_ == types.Float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type_ in (types.Int, types.Float, types.Bool, types.Str) and value is None:
        raise source.error(
            f"Expected a default value of type {type_.annotation()} on parameter \"{node.arg}\"",
            node)
    return value


def _commented(definition, source: Source, resolver: Resolver, env, plain, owner):
    """The types of a `# type: (int, Tensor) -> Tensor` comment below the signature."""
    text = definition.type_comment if hasattr(definition, "type_comment") else None
    lines = source.text.split("\n")
    first = definition.body[0].lineno if definition.body else definition.lineno
    if text is None:
        for line in lines[definition.lineno - 1 : first]:
            found = _SIGNATURE.search(line)
            if found and "ignore" not in line:
                text = found.group(1)
                break
    by_name = {}
    for i, argument in enumerate(plain):
        comment = getattr(argument, "type_comment", None)
        if comment:
            parsed = ast.parse(comment, mode="eval").body
            by_name[argument.arg] = resolver.annotation(ast.copy_location(parsed, argument), env)
    if text is None or "->" not in text:
        return by_name, None
    left, _, right = text.rpartition("->")
    given = ast.parse(left.strip(), mode="eval").body
    listed = list(given.elts) if isinstance(given, ast.Tuple) else [given]
    if left.strip() == "()":
        listed = []
    names = plain[1:] if owner is not None else plain
    if len(listed) != len(names):
        raise source.error(
            f"Number of type annotations for function parameters ({len(listed)}) does not match "
            f"the "
            f"number of parameters on the function ({len(names)})", definition)
    for argument, part in zip(names, listed):
        ast.copy_location(part, definition)
        for inner in ast.walk(part):
            ast.copy_location(inner, definition)
        by_name[argument.arg] = resolver.annotation(part, env)
    result = ast.parse(right.strip(), mode="eval").body
    return by_name, resolver.annotation(ast.copy_location(result, definition), env)
