"""Modules of a program: classes for them, their methods, calls, members of containers."""

from __future__ import annotations

import ast
import inspect
import re

from aot.script.emit_graph import EmitGraph
from aot.script.function import FunctionCompiler, signature_of
from aot.script.marks import is_ignored, mark_of, overloads_of
from aot.script.environment import unpack_tuple
from aot.script.module_info import ModuleInfo, ModuleReader
from aot.script.python_objects import scope_of
from aot.script.qualified import qualified_name
from aot.script.resolution import Resolver, StatedConstant
from aot.script.source import Source
from aot.script.values import FunctionRef, MethodRef, ModuleItems, Operator, Overloads, Several
from lowering import types
from lowering.graph import Function, Value
from lowering.graph_builder import Builder
from lowering.objects import ScriptObject
from lowering.types import ClassType, InterfaceType, Type


class Modules:
    """The part of a program that knows modules."""

    def __init__(self) -> None:
        self.properties: dict[tuple[Type, str], property] = {}
        self.infos: dict[Type, ModuleInfo] = {}
        self.shared: dict[tuple, ClassType] = {}
        self.hints: dict[Type, dict[str, list[Type]]] = {}

    # --- making -------------------------------------------------------------------------------

    def module(
        self, module: object, hints: dict[str, list[Type]] | None = None
    ) -> ScriptObject:
        """Script a module and all below it; one that is scripted already stays. `hints` are the
        types of parameters that are not annotated, by method."""
        return self._object(module, {}, hints or {})

    def _object(
        self, module: object, made: dict[int, ScriptObject], hints: dict[str, list[Type]]
    ) -> ScriptObject:
        known = made.get(id(module))
        if known is not None:
            return known
        ready = module.__dict__.get("object")
        if isinstance(ready, ScriptObject):
            return ready
        reader = ModuleReader(lambda sub: self._object(sub, made, {}),
                              lambda cls: self.class_type(cls, None, None))
        info = reader.read(module)
        key = (*info.key(), *((name, *map(str, row)) for name, row in hints.items()))
        type_ = self.shared.get(key)
        fresh = type_ is None
        if fresh:
            type_ = self.shared[key] = self._class_of(info)
            self.hints[type_] = hints
        instance = ScriptObject(type_, dict(info.values))
        made[id(module)] = instance
        if fresh:
            self._compile_module(info, type_)
        return instance

    def _class_of(self, info: ModuleInfo) -> ClassType:
        type_ = ClassType(self.unique(qualified_name(type(info.module))), True)
        type_.attributes = dict(info.attributes)
        type_.constants = {n: v for n, (v, _) in info.constants.items()}
        type_.constant_types = {n: t for n, (_, t) in info.constants.items()}
        type_.parameters = tuple(info.parameters)
        type_.buffers = tuple(info.buffers)
        self.infos[type_] = info
        return type_

    def _compile_module(self, info: ModuleInfo, type_: ClassType) -> None:
        cls = type(info.module)
        for name, member in inspect.getmembers(cls, lambda m: isinstance(m, property)):
            if not is_ignored(member.fget) and _is_users(member.fget) and name not in getattr(
                cls, "__jit_unused_properties__", ()
            ):
                self.property_of(type_, name, member, self.resolver_of(type_, member.fget),
                                 type_.methods)
        names = []
        forward = getattr(cls, "forward", None)
        if forward is not None and not is_ignored(forward) and _is_written(forward):
            names.append("forward")
        names += [n for n in dir(cls) if mark_of(getattr(cls, n, None)) == "export"]
        for name in names:
            self.method(type_, name)
        if self.container_kind(type_) in ("list", "dict"):
            self._container_methods(info, type_)
        self._hooks(info, type_)
        for name in list(type_.methods):
            method = type_.methods[name]
            if method not in self.compiling:
                method.graph  # noqa: B018  compiles it

    def method(self, type_: ClassType, name: str) -> Function | Overloads | None:
        """A method of a module's class, declared on first use."""
        known = type_.methods.get(name)
        if known is not None:
            return known
        python = getattr(type(self.infos[type_].module), name, None)
        if python is None or not (inspect.isfunction(python) or inspect.ismethod(python)):
            return None
        declared = overloads_of(python)
        if declared:
            functions = []
            for i, overload in enumerate(declared):
                full = f"{name}__{i}"
                type_.methods[full] = self.declare(
                    python, self.resolver_of(type_, python), type_, f"{type_.name}.{full}",
                    signature_from=overload)
                functions.append(type_.methods[full])
            return Overloads(tuple(functions))
        type_.methods[name] = self.declare(
            python, self.resolver_of(type_, python), type_, f"{type_.name}.{name}",
            self.hints.get(type_, {}).get(name))
        return type_.methods[name]

    def resolver_of(self, type_: Type, python: object):
        return Resolver(self, scope_of(python), type_)

    def _hooks(self, info: ModuleInfo, type_: ClassType) -> None:
        for kind, hooks in (("forward_pre_hooks", info.pre_hooks), ("forward_hooks", info.hooks)):
            names = []
            for hook in hooks:
                name = hook.__name__
                names.append(name)
                if name not in type_.methods:
                    type_.methods[name] = self.declare(
                        hook, self.resolver_of(type_, hook), type_, f"{type_.name}.{name}")
            setattr(type_, kind, tuple(names))

    # --- members ------------------------------------------------------------------------------

    def member(self, type_: ClassType, name: str, node: ast.AST, env: FunctionCompiler) -> object:
        """What an attribute of an object is: a type, a constant, a method, a function ..."""
        if name in type_.attributes:
            return type_.attributes[name]
        if name in type_.constants:
            return StatedConstant(type_.constants[name], type_.constant_types[name])
        if (type_, name) in self.properties:
            return self.properties[type_, name]
        if name in type_.methods:
            return type_.methods[name]
        info = self.infos.get(type_)
        if info is None:
            return self._static(type_, name)
        if name in info.functions:
            return env.resolver.meaning(env, info.functions[name], node)
        cls = type(info.module)
        python = getattr(cls, name, None)
        if is_ignored(python):
            return self.ignored(python, type_, mark_of(python))
        raw = inspect.getattr_static(cls, name, None)
        if isinstance(raw, staticmethod):
            return FunctionRef(self.function(raw.__func__))
        return self.method(type_, name)

    def _static(self, type_: Type, name: str) -> object | None:
        found = self.static_method(type_, name)
        return None if found is None else FunctionRef(found)

    def getter(self, type_: ClassType, name: str) -> Function:
        return type_.methods[f"__{name}_getter"]

    def has_setter(self, type_: ClassType, name: str) -> bool:
        return f"__{name}_setter" in type_.methods

    def setter(self, type_: ClassType, name: str) -> Function:
        return type_.methods[f"__{name}_setter"]

    def has_member(self, type_: ClassType, name: str) -> bool:
        if name in type_.attributes or name in type_.methods or name in type_.constants:
            return True
        if (type_, name) in self.properties:
            return True
        info = self.infos.get(type_)
        if info is None:
            return self.static_method(type_, name) is not None
        return name in info.functions or inspect.isfunction(
            getattr(type(info.module), name, None))

    def why_missing(self, type_: ClassType, name: str) -> str:
        info = self.infos.get(type_)
        if info is None:
            return ""
        if name in info.failed:
            return ". " + info.failed[name]
        if hasattr(info.module, name):
            return ". It exists on the Python module, but is no TorchScript value"
        return ""

    # --- calls --------------------------------------------------------------------------------

    def call_module(self, env: FunctionCompiler, value: Value, node: ast.Call) -> Value:
        """`self.layer(x)`: its forward, between its hooks."""
        type_ = value.type
        if isinstance(type_, InterfaceType):
            return env.call(value, node, None)
        found = type_.methods.get("forward")
        if found is None and any(n.startswith("forward__") for n in type_.methods):
            functions = [m for n, m in type_.methods.items() if n.startswith("forward__")]
            return env._overloaded(Overloads(tuple(functions), value), node)
        if found is None and type_ in self.infos:
            found = self.member(type_, "forward", node, env)
        if isinstance(found, Overloads):
            return env._overloaded(Overloads(found.functions, value), node)
        if not isinstance(found, Function):
            raise env.error(f"the module {type_.name} has no method 'forward'", node)
        args, kwargs = env.arguments(node, found, 1)
        if type_.forward_pre_hooks or type_.forward_hooks:
            return self._call_hooked(env, value, found, args, kwargs, node)
        return env.call_method(MethodRef(value, "forward", found), args, kwargs, node)

    def _call_hooked(self, env, value: Value, forward: Function, args, kwargs, node) -> Value:
        type_ = value.type
        inputs = env.match.arguments(forward, [value], args, kwargs, node)[1:]
        given = env.as_value(Several(inputs), node)
        for name in type_.forward_pre_hooks:
            hook = type_.methods[name]
            result = self._run_hook(env, hook, [value, given], node)
            if result.type != types.NoneT:
                if not isinstance(result.type, types.TupleType):
                    result = env.as_value(Several([result]), node)
                given = result
        parts = unpack_tuple(env, given)
        output = env.call_method(MethodRef(value, "forward", forward), parts, {}, node)
        for name in type_.forward_hooks:
            hook = type_.methods[name]
            result = self._run_hook(env, hook, [value, given, output], node)
            if result.type != types.NoneT:
                output = result
        return output

    def _run_hook(self, env, hook: Function, inputs: list[Value], node) -> Value:
        self.ready(hook, node, env)
        function = env.op("prim::Constant", [], types.FunctionType(hook), {"value": hook})
        return env.op("prim::CallFunction", [function, *inputs], hook.returns)

    def super_of(self, env, owner, node: ast.Call) -> object:
        raise env.error("super() is not supported in compiled methods", node)

    def fork(self, env: FunctionCompiler, node: ast.Call) -> Value:
        """`torch.jit.fork(f, *args)`: the call as a graph of its own."""
        if not node.args:
            raise env.error("fork expects a function", node)
        target = env.meaning(node.args[0])
        rest = ast.copy_location(ast.Call(node.args[0], node.args[1:], node.keywords), node)
        function = target.function if isinstance(target, (FunctionRef, MethodRef)) else None
        if function is None and isinstance(target, Value) and isinstance(target.type, ClassType):
            found = self.member(target.type, "forward", node, env)
            target, function = MethodRef(target, "forward", found), found
        if isinstance(target, Operator) and target.receiver is None:
            return self._fork_operator(env, target.name, rest, node)
        if function is None:
            raise env.error("fork expects a function, a method or a module", node)
        self.ready(function, node, env)
        first = [target.receiver] if isinstance(target, MethodRef) else []
        args, kwargs = env.arguments(rest, function, len(first))
        inputs = env.match.arguments(function, first, args, kwargs, node)
        graph = EmitGraph()
        inner = Builder(graph)
        params = [inner.add_param(graph.block, v.type) for v in inputs]
        graph.skip_numbers(1 - len(params))  # PyTorch adds them when the body is there
        for i, (param, value) in enumerate(zip(params, inputs)):
            name = re.sub(r"\.\d+$", "", value.name)
            if name.isdigit():
                graph.take_number(param, len(params) + 3 + i)
            else:
                graph.set_name(param, name)
                graph.set_name(param, f"{name}.1")
        if first:
            out = inner.op("prim::CallMethod", params, function.returns,
                           attributes={"name": target.name})
        else:
            value = inner.constant(function, types.FunctionType(function))
            for _ in params:
                graph.unique_name(None)  # PyTorch reads each parameter once more
            out = inner.op("prim::CallFunction", [value, *params], function.returns)
        inner.set_outputs(graph.block, [out])
        for _ in range(3):
            env.graph.unique_name(None)
        return env.op("prim::fork", inputs, types.FutureType(function.returns),
                      {"Subgraph": graph})

    def _fork_operator(self, env: FunctionCompiler, name: str, call: ast.Call,
                       node: ast.Call) -> Value:
        """An operator's call as a graph of its own."""
        args, kwargs = env.arguments(call)
        inputs = [*args, *kwargs.values()]
        inner = FunctionCompiler(env.source, env.resolver)
        params = [inner.builder.add_param(inner.graph.block, v.type) for v in inputs]
        for param, value in zip(params, inputs):
            plain = re.sub(r"\.\d+$", "", value.name)
            if not plain.isdigit():
                inner.graph.set_name(param, plain)
                inner.graph.set_name(param, f"{plain}.1")
        out = inner.operator(name, params[:len(args)], node,
                             dict(zip(kwargs, params[len(args):])))
        inner.builder.set_outputs(inner.graph.block, [out])
        env.at(node)
        return env.op("prim::fork", inputs, types.FutureType(out.type),
                      {"Subgraph": inner.graph})

    # --- containers ---------------------------------------------------------------------------

    def container_kind(self, type_: Type) -> str | None:
        """'list' for a ModuleList or Sequential, 'dict' for a ModuleDict, 'parameters' and 'named
        parameters' for a ParameterList and ParameterDict, None for others."""
        info = self.infos.get(type_)
        if info is None:
            return None
        for base in type(info.module).__mro__:
            if base.__module__.partition(".")[0] in ("aot", "torch"):
                if base.__name__ in ("ModuleList", "Sequential"):
                    return "list"
                if base.__name__ == "ModuleDict":
                    return "dict"
                if base.__name__ == "ParameterList":
                    return "parameters"
                if base.__name__ == "ParameterDict":
                    return "named parameters"
        return None

    def container_of(self, value: Value) -> ModuleItems | None:
        kind = self.container_kind(value.type)
        if kind is None:
            return None
        info = self.infos[value.type]
        names = info.parameters if kind.endswith("parameters") else list(info.module._modules)
        return ModuleItems(value, names, [], kind)

    def module_members(self, env: FunctionCompiler, items: ModuleItems) -> list:
        """What iterating over a container gives. All members are read, as PyTorch does."""
        keys, modules = [], []
        for name in items.names:
            keys.append(env.constant(name))
            if items.kind.endswith("parameters"):  # they are read to see what they are, and again
                env.resolver.object_attribute(env, items.receiver, name, _PLACE)
            modules.append(env.resolver.object_attribute(env, items.receiver, name, _PLACE))
        if items.kind in ("dict", "keys"):
            return keys
        if items.kind == "items":
            return [Several([k, m]) for k, m in zip(keys, modules)]
        return modules

    def _modules_of(self, env: FunctionCompiler, items: ModuleItems) -> list:
        kind = "parameters" if items.kind.endswith("parameters") else "list"
        return self.module_members(env, ModuleItems(items.receiver, items.names, [], kind))

    def module_item(self, env, items: ModuleItems, node: ast.Subscript, hint) -> object:
        if isinstance(node.slice, ast.Slice):
            modules = self._modules_of(env, items)
            bounds = [None if p is None else env.constant_index(p)
                      for p in (node.slice.lower, node.slice.upper, node.slice.step)]
            chosen = modules[slice(*bounds)]
            env.graph.skip_numbers(2 + 2 * len(chosen))  # PyTorch makes tuples of them in between
            env.sliced_modules += [m.receiver if isinstance(m, ModuleItems) else m for m in chosen]
            return Several(chosen)
        index = env.expression(node.slice)
        if isinstance(hint, InterfaceType):
            return env.op("prim::ModuleContainerIndex", [items.receiver, index], hint)
        if not index.is_constant:
            raise env.error(
                "Unable to extract string literal index. ModuleDict indexing is only supported "
                "with string literals. Enumeration of ModuleDict is supported, e.g. 'for k, v in "
                "self.items(): ...'" if items.kind == "dict" else
                "Expected integer literal for index. ModuleList/Sequential indexing is only "
                "supported with integer literals. Enumeration is supported, e.g. 'for index, v in "
                "enumerate(self): ...'", node)
        at = index.constant
        if items.kind in ("dict", "named parameters"):
            if at not in items.names:
                raise env.error(f"Key Error, {at}", node)
            return self._modules_of(env, items)[items.names.index(at)]
        if not isinstance(at, int) or not -len(items.names) <= at < len(items.names):
            raise env.error(f"Index {at} out of range of length {len(items.names)}", node)
        return self._modules_of(env, items)[at]

    def _container_methods(self, info: ModuleInfo, type_: ClassType) -> None:
        """`__len__`, and `__contains__` of a ModuleDict: their answers are known."""
        names = list(info.module._modules)
        self._written_method(type_, f"def __len__(self) -> int:\n    return {len(names)}\n")
        if self.container_kind(type_) == "dict":
            found = f"key in {names}" if names else "False"
            self._written_method(
                type_, f"def __contains__(self, key: str) -> bool:\n    return {found}\n")

    def _written_method(self, type_: ClassType, text: str) -> None:
        source = Source(text, "<string>", 1)
        definition = source.tree.body[0]
        resolver = Resolver(self, {}, type_)
        parameters, returns = signature_of(definition, source, resolver, type_)
        function = Function(f"{type_.name}.{definition.name}", parameters, returns)
        function.graph = FunctionCompiler(source, resolver).compile(definition, function, returns)
        type_.methods[definition.name] = function


_PLACE = ast.Constant(None, lineno=1, col_offset=0)


def _is_users(function: object) -> bool:
    """Whether a property is a user's: those of the library's modules are for Python."""
    module = getattr(function, "__module__", "") or ""
    return module.partition(".")[0] not in ("aot", "torch")


def _is_written(forward: object) -> bool:
    """Whether a class has a forward of its own, not the one of Module that only raises."""
    name = getattr(forward, "__name__", "")
    owner = getattr(forward, "__qualname__", "").partition(".")[0]
    return name != "_forward_unimplemented" and owner != "Module"
