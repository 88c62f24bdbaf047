"""What the names outside a function mean: globals, closures, attributes, annotations."""

from __future__ import annotations

import ast
import builtins
import enum
import inspect
import typing
from dataclasses import replace
from typing import TYPE_CHECKING

from aot.script import names
from aot.script.annotations import UnknownAnnotation, is_module_class, type_of_annotation
from aot.script.values import (
    ClassRef, FunctionRef, Ignored, MethodRef, ModuleItems, Operator, Overloads, PythonObject,
    Several, Special, described,
)
from lowering import types
from lowering.graph import Function, Value
from lowering.objects import EnumValue
from lowering.types import ClassType, EnumType, InterfaceType, OptionalType, Type

if TYPE_CHECKING:
    from aot.script.compiler import Program
    from aot.script.function import FunctionCompiler

_MISSING = object()
# Names that annotations may use without an import, in type comments above all.
_ALWAYS = {
    "Tensor": types.Tensor,
    **{n: getattr(typing, n) for n in ("List", "Dict", "Tuple", "Optional", "Union", "Any")},
}


class Resolver:
    """Answers for one function: `scope` is its globals with its closure on top."""

    def __init__(self, program: Program, scope: dict[str, object], owner: object = None) -> None:
        self.program = program
        self.scope = scope
        self.owner = owner  # the class or module whose method is compiled

    # --- names --------------------------------------------------------------------------------

    def python(self, name: str) -> object:
        found = self.scope.get(name, _MISSING)
        return getattr(builtins, name, _MISSING) if found is _MISSING else found

    def global_name(self, env: FunctionCompiler, name: str, node: ast.AST) -> object | None:
        found = self.python(name)
        if found is _MISSING:
            if name in ("annotate", "unchecked_cast", "uninitialized", "fork"):
                return Special(name)
            return None
        if isinstance(found, (int, float, str, complex)) and not isinstance(found, enum.Enum):
            return PythonObject(found)  # a number of the module may change: it is no constant
        return self.meaning(env, found, node)

    def global_path(self, env: FunctionCompiler, node: ast.expr) -> object | None:
        """What a dotted name that starts at a global means; nothing is written to the Graph."""
        if isinstance(node, ast.Name):
            found = self.python(node.id)
            if found is _MISSING:
                return None
            known = names.builtin(found)
            if known is not None:
                return known
            return self.special_object(found) or PythonObject(found)
        base = self.global_path(env, node.value)
        if not isinstance(base, PythonObject):
            return None
        path = names.library_path(base.object) if names.is_module(base.object) else None
        if path is not None:
            member = names.library_member(path, node.attr)
            if member is not None:
                return member
        value = getattr(base.object, node.attr, _MISSING)
        return None if value is _MISSING else PythonObject(value)

    def special_object(self, obj: object) -> Special | None:
        """The compiler's own function that a Python function of the library is."""
        module = getattr(obj, "__module__", "") or ""
        name = getattr(obj, "__name__", "")
        if module.startswith(("aot.", "torch")) and name in names._JIT and callable(obj):
            return Special(names._JIT[name])
        if name == "_list_with_default" and ".nn." in module:
            return Special("list_with_default")
        if name in ("_single", "_pair", "_triple") and ".nn." in module:
            return Special(f"repeat{name}")
        if "has_torch_function" in name:
            return Special("is_tracing")  # no tensor in compiled code overrides functions
        return None

    def meaning(self, env: FunctionCompiler, obj: object, node: ast.AST) -> object:
        """What a Python object means in a program."""
        known = names.builtin(obj)
        if known is not None:
            return known
        constant = env.python_constant(obj, node)
        if constant is not None:
            return constant
        if names.is_module(obj):
            return PythonObject(obj)
        special = names.special_callable(obj) or self.special_object(obj)
        if special is not None:
            return special
        script = getattr(obj, "_script_function", None)
        if isinstance(script, Function):
            return FunctionRef(script)
        operator = getattr(obj, "operator_name", None)  # aot.ops.mylib.scale, by another name
        if isinstance(operator, str):
            return Operator(operator)
        if isinstance(obj, enum.Enum):
            enum_type = self.program.class_type(type(obj), node, env)
            return env.constant(EnumValue(enum_type, obj.name), enum_type)
        if isinstance(obj, type):
            return self._class(env, obj, node)
        if inspect.isfunction(obj) or inspect.ismethod(obj):
            return self._function(env, obj, node)
        library = self._library_function(obj)
        if library is not None:
            return library
        return PythonObject(obj)

    def _library_function(self, obj: object) -> object | None:
        module = getattr(obj, "__module__", "") or ""
        name = getattr(obj, "__name__", "")
        if module.partition(".")[0] in ("aot", "torch") or module == "":
            return names.library_member("", name) if name else None
        return None

    def _class(self, env: FunctionCompiler, obj: type, node: ast.AST) -> object:
        module = obj.__module__.partition(".")[0]
        if module in ("aot", "torch") and obj.__name__ in ("Tensor", "device", "Size", "dtype"):
            found = names.library_member("", obj.__name__)
            return found if found is not None else PythonObject(obj)
        if issubclass(obj, BaseException) or is_module_class(obj):
            return PythonObject(obj)  # only its static methods and its name mean something
        return ClassRef(self.program.class_type(obj, node, env))

    def _function(self, env: FunctionCompiler, obj: object, node: ast.AST) -> object:
        module = getattr(obj, "__module__", "") or ""
        if module.startswith("aot.") and not module.startswith("aot.nn"):
            found = names.library_member("", obj.__name__)
            if found is not None:
                return found
        if module.startswith("aot.nn.functional"):
            found = names.library_member("nn.functional", obj.__name__)
            if found is not None:
                return found
        return self.program.function_meaning(obj, node, env)

    # --- attributes of what is no value -------------------------------------------------------

    def attribute(self, env: FunctionCompiler, base: object, name: str, node: ast.AST) -> object:
        if isinstance(base, PythonObject):
            return self._python_attribute(env, base.object, name, node)
        if isinstance(base, ClassRef):
            return self._class_attribute(env, base.type, name, node)
        if isinstance(base, ModuleItems):
            return self._items_attribute(env, base, name, node)
        if isinstance(base, Special) and base.name == "dict" and name == "fromkeys":
            raise env.error("dict.fromkeys is not supported", node)
        if isinstance(base, (Several,)):
            return env.attribute(env.as_value(base, node), name, node)
        raise env.error(f"{described(base)} has no attribute {name!r}", node)

    def _python_attribute(self, env, obj: object, name: str, node: ast.AST) -> object:
        if names.is_module(obj):
            path = names.library_path(obj)
            if path is not None:
                member = names.library_member(path, name)
                if member is not None:
                    return member
            if obj.__name__ == "math":
                member = names.math_member(name)
                if isinstance(member, float):
                    return env.constant(member)
                if member is not None:
                    return member
        value = getattr(obj, name, _MISSING)
        if value is _MISSING:
            raise env.error(f"module or object {getattr(obj, '__name__', obj)!r} has no attribute "
                            f"'{name}'", node)
        return self.meaning(env, value, node)

    def _class_attribute(self, env, type_: Type, name: str, node: ast.AST) -> object:
        if isinstance(type_, EnumType):
            if name not in type_.members:
                raise env.error(f"{type_.name} has no member {name!r}", node)
            return env.constant(EnumValue(type_, name), type_)
        static = self.program.static_method(type_, name)
        if static is not None:
            return FunctionRef(static)
        raise env.error(f"the class {type_} has no static method or member '{name}'", node)

    def _items_attribute(self, env, base: ModuleItems, name: str, node: ast.AST) -> object:
        if base.kind == "dict" and name in ("keys", "values", "items"):
            return PythonObject(_BoundItems(base, name))
        return self.object_attribute(env, base.receiver, name, node)

    # --- attributes of objects ----------------------------------------------------------------

    def object_attribute(self, env, base: Value, name: str, node: ast.AST) -> object:
        type_ = base.type
        if isinstance(type_, InterfaceType):
            return self.method(env, base, name, node)
        if name == "_flat_weights" and "_flat_weights" not in type_.attributes:
            return self._flat_weights(env, base, node)
        found = self.program.member(type_, name, node, env)
        if isinstance(found, Function):
            return MethodRef(base, name, found)
        if isinstance(found, (Overloads, Ignored)):
            return replace(found, receiver=base)
        if isinstance(found, property):
            getter = self.program.getter(type_, name)
            return env.call_method(MethodRef(base, getter.name.rpartition(".")[2], getter), [], {},
                                   node)
        if isinstance(found, Type):
            value = env.op("prim::GetAttr", [base], found, {"name": name})
            env.graph.set_name(value, f"_{name}" if name[:1].isdigit() else name)
            if isinstance(found, ClassType) and found.is_module:
                items = self.container_of(env, value)
                if items is not None:
                    return items
            return value
        if isinstance(found, StatedConstant):
            return found.meaning(env, node)
        if found is not None:
            return found
        raise env.error(
            f"'{type_.name}' object has no attribute or method '{name}'"
            + self.program.why_missing(type_, name), node)

    def method(self, env, base: Value, name: str, node: ast.AST) -> MethodRef:
        """A method that the object's class or interface declares."""
        method = base.type.methods.get(name)
        if method is None:
            raise env.error(f"{base.type.name} has no method '{name}'", node)
        return MethodRef(base, name, method)

    def _flat_weights(self, env, base: Value, node: ast.AST) -> Value:
        """The weights of a recurrent layer, in the order its operator takes them."""
        names_ = base.type.parameters
        parts = [self.object_attribute(env, base, n, node) for n in names_]
        return env.op("prim::ListConstruct", parts, types.ListType(types.Tensor))

    def has_attribute(self, env, base: object, name: str) -> bool:
        if isinstance(base, Value):
            if isinstance(base.type, ClassType):
                return self.program.has_member(base.type, name)
            if isinstance(base.type, types.TupleType) and base.type.fields:
                return name in base.type.fields
            return False
        if isinstance(base, PythonObject):
            return hasattr(base.object, name)
        return False

    def set_attribute(
        self, env, base: object, name: str, value: Value, node: ast.AST, stated: Type | None
    ) -> None:
        if not isinstance(base, Value) or not isinstance(base.type, ClassType):
            raise env.error("attributes can be set on objects of classes only", node)
        type_ = base.type
        wanted = type_.attributes.get(name)
        if wanted is None:
            if not self.program.may_add_attribute(type_, env):
                if self.program.has_setter(type_, name):
                    setter = self.program.setter(type_, name)
                    env.call_method(MethodRef(base, setter.name.rpartition(".")[2], setter),
                                    [value], {}, node)
                    return
                raise env.error(
                    f"Tried to set nonexistent attribute: {name}. Did you forget to initialize it "
                    "in __init__()?", node)
            wanted = type_.attributes[name] = stated or value.type
        if not types.is_subtype(value.type, wanted):
            raise env.error(
                f"Wrong type for attribute assignment. Expected {wanted.annotation()} but got "
                f"{value.type.annotation()}", node)
        env.at(node)
        env.builder.node("prim::SetAttr", [base, value], (), {"name": name})

    # --- types --------------------------------------------------------------------------------

    def annotation(self, node: ast.expr, env: FunctionCompiler) -> Type:
        """The type that an annotation in the program's text means."""
        try:
            scope = {**_ALWAYS, **self.scope}
            obj = eval(compile(ast.Expression(node), "<annotation>", "eval"), scope)
        except Exception as error:
            raise env.error(f"Unknown type name '{ast.unparse(node)}' ({error})", node) from None
        return self.type_of(obj, node, env)

    def type_of(self, obj: object, node: ast.AST, env: FunctionCompiler) -> Type:
        if isinstance(obj, str):
            return self.annotation(ast.copy_location(ast.parse(obj, mode="eval").body, node), env)
        try:
            return type_of_annotation(obj, lambda cls: self.program.class_type(cls, node, env))
        except UnknownAnnotation as error:
            raise env.error(str(error), node) from None

    def type_list(self, node: ast.expr, env: FunctionCompiler) -> list[Type]:
        """The types that isinstance's second argument lists."""
        if isinstance(node, (ast.Tuple, ast.List)):
            return [t for e in node.elts for t in self.type_list(e, env)]
        if isinstance(node, ast.Name) and node.id in ("list", "tuple"):
            return [types.AnyList if node.id == "list" else types.AnyTuple]
        found = self.annotation(node, env)
        if isinstance(found, OptionalType):
            return [found.element, types.NoneT]
        if isinstance(found, types.UnionType):
            return list(found.elements)
        return [found]

    def exception_name(self, env, node: ast.expr, at: ast.AST) -> str:
        try:
            obj = eval(compile(ast.Expression(node), "<raise>", "eval"), dict(self.scope))
        except Exception:
            raise env.error(f"undefined value {ast.unparse(node)}", at) from None
        cls = obj if isinstance(obj, type) else type(obj)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise env.error("exceptions must derive from BaseException", at)
        module = cls.__module__
        if module == "builtins":
            return f"builtins.{cls.__name__}"
        return f"{module}.{cls.__name__}"

    # --- calls that need the program ----------------------------------------------------------

    def ready(self, function: Function, node: ast.AST, env: FunctionCompiler) -> None:
        self.program.ready(function, node, env)

    def call(self, env, target: object, node: ast.Call, hint) -> object:
        if isinstance(target, PythonObject) and isinstance(target.object, _BoundItems):
            return target.object.items
        if isinstance(target, ModuleItems):
            return self.call_module(env, target.receiver, node)
        if isinstance(target, Ignored):
            return env._ignored(target, node)
        if isinstance(target, PythonObject):
            obj = target.object
            name = getattr(obj, "__name__", type(obj).__name__)
            raise env.error(f"Python builtin or object {name!r} is currently not supported in "
                            "Torchscript", node)
        raise env.error(f"cannot call {described(target)}", node)

    def call_module(self, env, value: Value, node: ast.Call) -> Value:
        return self.program.call_module(env, value, node)

    def container_of(self, env, value: Value) -> ModuleItems | None:
        return self.program.container_of(value)

    def module_members(self, env, items: ModuleItems) -> list:
        return self.program.module_members(env, items)

    def module_item(self, env, items: ModuleItems, node: ast.Subscript, hint) -> object:
        return self.program.module_item(env, items, node, hint)

    def super_of(self, env, node: ast.Call) -> object:
        return self.program.super_of(env, self.owner, node)

    def fork(self, env, node: ast.Call) -> Value:
        return self.program.fork(env, node)


class StatedConstant:
    """A `Final` attribute or one that `__constants__` names: its value stands in the program."""

    def __init__(self, value: object, type_: Type | None = None) -> None:
        self.value = value
        self.type = type_

    def meaning(self, env, node: ast.AST) -> object:
        if isinstance(self.value, list):
            parts = [StatedConstant(v).meaning(env, node) for v in self.value]
            return env.op("prim::ListConstruct", parts, self.type)
        if isinstance(self.value, bool):
            return env.static(self.value)  # decides branches while compiling
        found = env.python_constant(self.value, node)
        if found is None:
            return env.resolver.meaning(env, self.value, node)
        return found


class _BoundItems:
    """`modules.items` before it is called."""

    def __init__(self, items: ModuleItems, kind: str) -> None:
        self.items = ModuleItems(items.receiver, items.names, items.members, kind)
