"""Classes of a program: NamedTuples, enumerations, interfaces, and classes with methods."""

from __future__ import annotations

import ast
import enum
import inspect
import sys
from typing import TYPE_CHECKING

from aot.script import context_managers
from aot.script.annotations import UnknownAnnotation, is_module_class, type_of_annotation
from aot.script.marks import is_ignored
from aot.script.qualified import qualified_name
from aot.script.resolution import Resolver
from aot.script.source import ScriptError, source_of
from lowering import types
from lowering.graph import Function
from lowering.types import ClassType, EnumType, InterfaceType, TupleType, Type

if TYPE_CHECKING:
    from aot.script.function import FunctionCompiler

_SKIPPED = frozenset("__module__ __dict__ __weakref__ __doc__ __init_subclass__".split())


class Classes:
    """The part of a program that knows classes."""

    def __init__(self) -> None:
        self.classes: dict[type, Type] = {}
        self.python_classes: dict[Type, type] = {}
        self.static_methods: dict[tuple[Type, str], Function] = {}
        self.open_classes: set[Type] = set()

    def class_type(self, cls: type, node: ast.AST | None, env: FunctionCompiler | None) -> Type:
        """The type of a Python class, compiled on first use."""
        known = self.classes.get(cls)
        if known is not None:
            return known
        if cls.__name__ in ("no_grad", "enable_grad") and _is_library(cls):
            return self._context_manager(cls)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._named_tuple(cls, node, env)
        if issubclass(cls, enum.Enum):
            return self._enum(cls, node, env)
        if getattr(cls, "__torch_script_interface__", None) is not None:
            return cls.__torch_script_interface__
        if hasattr(cls, "_parameters") or is_module_class(cls):
            text = (f"a module class ({cls.__name__}) cannot be used as a type or called; make the "
                    "module in __init__")
            raise env.error(text, node) if env else ScriptError(text)
        return self._class(cls, node, env)

    def _context_manager(self, cls: type) -> Type:
        own = getattr(context_managers, cls.__name__)
        type_ = self._class(own, None, None, f"__torch__.torch.autograd.grad_mode.{cls.__name__}")
        self.classes[cls] = type_
        return type_

    def _named_tuple(self, cls: type, node, env) -> Type:
        hints: dict[str, object] = {}
        for base in reversed(cls.__mro__):  # a subclass with methods has the fields of its base
            hints |= getattr(base, "__annotations__", {})
        scope = vars(sys.modules.get(cls.__module__, sys))
        elements = []
        for name in cls._fields:
            hint = hints.get(name, inspect.Parameter.empty)
            if hasattr(hint, "__forward_arg__"):
                hint = hint.__forward_arg__
            if isinstance(hint, str):
                hint = eval(hint, dict(scope))
            try:
                elements.append(type_of_annotation(
                    hint, lambda c: self.class_type(c, node, env)))
            except UnknownAnnotation as error:
                raise (env.error(str(error), node) if env else ScriptError(str(error))) from None
        defaults = getattr(cls, "_field_defaults", {})
        last = tuple(defaults[n] for n in cls._fields if n in defaults)
        name = self.unique(qualified_name(cls))
        type_ = TupleType(tuple(elements), name, tuple(cls._fields), last)
        self.classes[cls] = type_
        return type_

    def _enum(self, cls: type, node, env) -> Type:
        members = {name: member.value for name, member in cls.__members__.items()}
        kinds = {type(v) for v in members.values()}
        value_types = {int: types.Int, float: types.Float, str: types.Str}
        if len(kinds) != 1 or not kinds <= value_types.keys():
            text = (f"Could not unify type list for the values of enum class '{cls.__name__}': "
                    f"they "
                    "are all int, all float or all str")
            raise env.error(text, node) if env else ScriptError(text)
        type_ = EnumType(self.unique(qualified_name(cls)), value_types[kinds.pop()], members)
        self.classes[cls] = type_
        return type_

    def _class(self, cls: type, node, env, name: str | None = None) -> Type:
        if issubclass(cls, BaseException):
            text = "exceptions cannot be used as values"
            raise env.error(text, node) if env else ScriptError(text)
        bases = [b for b in cls.__mro__[1:] if b is not object]
        if bases:
            text = "TorchScript classes do not support inheritance: " + cls.__name__
            raise env.error(text, node) if env else ScriptError(text)
        source = source_of(cls)
        type_ = ClassType(self.unique(name or qualified_name(cls)))
        self.classes[cls] = type_
        self.python_classes[type_] = cls
        self._members(cls, type_, source)
        return type_

    def _members(self, cls: type, type_: ClassType, source) -> None:
        scope = class_scope(cls)
        resolver = Resolver(self, scope, type_)
        for name, hint in getattr(cls, "__annotations__", {}).items():
            if isinstance(hint, str):
                hint = eval(hint, dict(scope))
            type_.attributes[name] = type_of_annotation(
                hint, lambda c: self.class_type(c, None, None))
        methods = {}
        for name, member in vars(cls).items():
            if name in _SKIPPED:
                continue
            if isinstance(member, staticmethod):
                self.static_methods[type_, name] = self.declare(
                    member.__func__, resolver, None,
                    self.unique(qualified_name(member.__func__)))
            elif isinstance(member, property):
                self.property_of(type_, name, member, resolver, methods)
            elif inspect.isfunction(member) and not is_ignored(member):
                methods[name] = self.declare(member, resolver, type_, f"{type_.name}.{name}")
        type_.methods.update(methods)
        if "__init__" in methods:
            self.open_classes.add(type_)
            methods["__init__"].returns = types.NoneT
            methods["__init__"].graph  # noqa: B018  finds the attributes
            self.open_classes.discard(type_)
        for method in methods.values():
            method.graph  # noqa: B018

    def property_of(self, type_: ClassType, name: str, member: property, resolver, methods) -> None:
        self.properties[type_, name] = member
        methods[f"__{name}_getter"] = self.declare(
            member.fget, resolver, type_, f"{type_.name}.__{name}_getter")
        if member.fset is not None:
            setter = self.declare(member.fset, resolver, type_, f"{type_.name}.__{name}_setter")
            setter.returns = types.NoneT
            methods[f"__{name}_setter"] = setter

    def may_add_attribute(self, type_: Type, env: FunctionCompiler) -> bool:
        """Whether an assignment may make an attribute: in `__init__` of the class only."""
        return type_ in self.open_classes and bool(self.compiling) and (
            self.compiling[-1].name == f"{type_.name}.__init__")

    def static_method(self, type_: Type, name: str) -> Function | None:
        return self.static_methods.get((type_, name))

    def interface(self, cls: type) -> type:
        """The interface that a class declares with its methods' signatures."""
        is_module = is_module_class(cls)
        type_ = InterfaceType(self.unique(qualified_name(cls)), is_module)
        resolver = Resolver(self, class_scope(cls), type_)
        self.classes[cls] = type_
        for name, member in vars(cls).items():
            if inspect.isfunction(member) and not (name.startswith("__") and name == "__init__"):
                method = self.declare(member, resolver, type_, f"{type_.name}.{name}")
                method.build = None
                type_.methods[name] = method
        cls.__torch_script_interface__ = type_
        return cls


def class_scope(cls: type) -> dict[str, object]:
    """The globals that a class's methods see, with what their closures hold."""
    scope = dict(vars(sys.modules[cls.__module__])) if cls.__module__ in sys.modules else {}
    for member in vars(cls).values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function):
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
                try:
                    scope[name] = cell.cell_contents
                except ValueError:
                    pass
            scope = {**function.__globals__, **scope}
    scope[cls.__name__] = cls
    return scope


def _is_library(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ("aot", "torch")
