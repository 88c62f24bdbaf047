"""What the compiler reads from a module: parameters, buffers, attributes, constants, submodules."""

from __future__ import annotations

import enum
import importlib
import inspect
import sys
from dataclasses import dataclass, field
from typing import Callable

from aot.script.annotations import UnknownAnnotation, type_of_annotation
from aot.script.expressions import code_of
from aot.script.marks import Attribute
from aot.script.source import ScriptError
from lowering import types
from lowering.objects import (
    DeviceValue, EnumValue, NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList,
)
from lowering.types import ClassType, DictType, ListType, OptionalType, TupleType, Type

_SKIPPED = frozenset(
    """_parameters _buffers _modules _non_persistent_buffers_set _backward_pre_hooks _backward_hooks
    _forward_hooks _forward_hooks_with_kwargs _forward_hooks_always_called _forward_pre_hooks
    _forward_pre_hooks_with_kwargs _state_dict_hooks _state_dict_pre_hooks
    _load_state_dict_pre_hooks _load_state_dict_post_hooks _is_full_backward_hook training
    _compiled_call_impl dump_patches call_super_init _version T_destination""".split()
)


@dataclass
class ModuleInfo:
    """One module's make-up; two modules with equal `key()` share a class."""

    module: object
    attributes: dict[str, Type] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    constants: dict[str, tuple[object, Type]] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    functions: dict[str, object] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    pre_hooks: list[Callable] = field(default_factory=list)
    hooks: list[Callable] = field(default_factory=list)

    def key(self) -> tuple:
        constants = tuple((n, type(v), repr(v)) for n, (v, _) in sorted(self.constants.items()))
        functions = tuple((n, id(f)) for n, f in self.functions.items())
        hooks = tuple(map(id, (*self.pre_hooks, *self.hooks)))
        return (type(self.module), tuple(self.attributes.items()), constants, functions, hooks)


def is_tensor(value: object) -> bool:
    return any(
        c.__name__ == "Tensor" and c.__module__.partition(".")[0] in ("aot", "torch")
        for c in type(value).__mro__)


def tensor_data(value: object) -> TensorData:
    """The memory of a tensor of this library or of PyTorch."""
    data = getattr(value, "_data", None)
    if not isinstance(data, TensorData):
        bridge = importlib.import_module("aot.torch_bridge")
        data = bridge.as_tensor(value)._data
        data.requires_grad = bool(getattr(value, "requires_grad", False))
        return data
    if hasattr(value, "_wants_grad"):
        data.requires_grad = bool(value._wants_grad)
    return data


class ModuleReader:
    """Reads modules; `object_of` scripts a submodule, `class_of` gives the types of classes."""

    def __init__(self, object_of: Callable, class_of: Callable) -> None:
        self.object_of = object_of
        self.class_of = class_of

    def read(self, module: object) -> ModuleInfo:
        info = ModuleInfo(module)
        hints = annotations_of(type(module))
        for kind, names in (("_parameters", info.parameters), ("_buffers", info.buffers)):
            for name, value in getattr(module, kind).items():
                stated = self.hint(hints.get(name))
                type_ = stated or (types.NoneT if value is None else types.Tensor)
                self.add(info, name, type_, None if value is None else tensor_data(value))
                if value is not None or isinstance(type_, OptionalType):
                    names.append(name)
        self.add(info, "training", types.Bool, bool(module.training))
        self.add(info, "_is_full_backward_hook", _hook_type(type(module)), None)
        constants = self.constant_names(module, hints)
        self.plain_attributes(info, module, hints, constants)
        for name, sub in module._modules.items():
            if sub is None:
                self.add(info, name, types.NoneT, None)
                continue
            stated = self.hint(hints.get(name))
            made = self.object_of(sub)
            type_ = made.type
            if isinstance(stated, types.InterfaceType):
                self.check_interface(sub, name, stated)
                type_ = stated
            self.add(info, name, type_, made)
        self.constants(info, module, hints, constants)
        info.pre_hooks = list(module._forward_pre_hooks.values())
        info.hooks = list(module._forward_hooks.values())
        return info

    def add(self, info: ModuleInfo, name: str, type_: Type, value: object) -> None:
        info.attributes[name] = type_
        info.values[name] = value

    def check_interface(self, sub: object, name: str, stated: types.InterfaceType) -> None:
        missing = [m for m in stated.methods if not callable(getattr(sub, m, None))]
        if missing:
            raise ScriptError(f"the submodule '{name}' is to be a {stated.name}, but "
                              f"'{type(sub).__name__}' object has no attribute '{missing[0]}'")

    def hint(self, annotation: object) -> Type | None:
        """The type of an annotation; None if there is none or it is no TorchScript type."""
        if annotation is None or isinstance(annotation, str):
            return None
        try:
            return type_of_annotation(annotation, self.class_of)
        except (UnknownAnnotation, Exception):
            return None

    def constant_names(self, module: object, hints: dict[str, object]) -> list[str]:
        names = list(getattr(module, "__constants__", ()))
        names += [n for n, h in hints.items() if _is_final(h) and n not in names]
        own = module.__dict__
        return [n for n in names if n not in module._modules and n not in module._parameters and (
            n in own or hasattr(type(module), n)) and not is_tensor(getattr(module, n, None))]

    def plain_attributes(self, info, module, hints, constants: list[str]) -> None:
        for name, value in module.__dict__.items():
            if name in _SKIPPED or name in constants or name in info.attributes:
                continue
            if inspect.isroutine(value) or hasattr(value, "_script_function"):
                info.functions[name] = value
                continue
            stated = self.hint(hints.get(name))
            if isinstance(value, Attribute):
                stated, value = self.hint(value.type), value.value
            try:
                type_ = stated or self.infer(value)
                self.add(info, name, type_, self.convert(value, type_))
            except TypeError as error:
                info.failed[name] = str(error)

    def constants(self, info, module, hints, names: list[str]) -> None:
        for name in names:
            value = getattr(module, name)
            if inspect.isroutine(value):
                info.functions[name] = value
                continue
            try:
                type_ = self.infer(value)
                info.constants[name] = (self.convert(value, type_), type_)
            except TypeError as error:
                info.failed[name] = str(error)

    # --- values -------------------------------------------------------------------------------

    def infer(self, value: object) -> Type:
        """The type of a Python value; TypeError, saying why, if it has none."""
        plain = {bool: types.Bool, int: types.Int, float: types.Float, str: types.Str,
                 complex: types.Complex, type(None): types.NoneT}
        if type(value) in plain:
            return plain[type(value)]
        if is_tensor(value):
            return types.Tensor
        if isinstance(value, enum.Enum):
            return self.class_of(type(value))
        if type(value).__name__ == "device" or isinstance(value, DeviceValue):
            return types.Device
        if type(value).__name__ in ("dtype", "layout", "memory_format"):
            return types.Int
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self.class_of(type(value))
        if isinstance(value, tuple):
            return TupleType(tuple(map(self.infer, value)))
        if isinstance(value, list):
            if not value:
                raise TypeError(_unconverted(value, "List trace inputs must have elements"))
            return ListType(self._common([self.infer(v) for v in value]))
        if isinstance(value, dict):
            if not value:
                raise TypeError(_unconverted(value, "Dictionary inputs must have entries"))
            return DictType(self._common([self.infer(k) for k in value]),
                            self._common([self.infer(v) for v in value.values()]))
        if isinstance(value, ScriptObject):
            return value.type
        if type(value).__module__ != "builtins" and hasattr(value, "__dict__"):
            try:
                return self.class_of(type(value))
            except Exception as error:
                raise TypeError(f"its class is no TorchScript class: {error}") from None
        raise TypeError(_unconverted(value))

    def _common(self, found: list[Type]) -> Type:
        common: Type | None = found[0]
        for type_ in found[1:]:
            common = None if common is None else types.unify(common, type_)
        if common is None:
            raise TypeError("the elements have different types")
        return common

    def convert(self, value: object, type_: Type) -> object:
        """A Python value as the program's objects hold it."""
        if isinstance(type_, OptionalType):
            return None if value is None else self.convert(value, type_.element)
        if is_tensor(value):
            return tensor_data(value)
        if isinstance(value, enum.Enum):
            return EnumValue(self.class_of(type(value)), value.name)
        code = code_of(value)
        if code is not None:
            return code
        if type(value).__name__ == "device":
            return DeviceValue.parse(str(getattr(value, "type", value)))
        if isinstance(type_, TupleType) and isinstance(value, tuple):
            parts = [self.convert(v, t) for v, t in zip(value, type_.elements)]
            return NamedTupleValue(parts, type_) if type_.fields else tuple(parts)
        if isinstance(type_, ListType) and isinstance(value, (list, tuple)):
            return TypedList([self.convert(v, type_.element) for v in value], type_.element)
        if isinstance(type_, DictType) and isinstance(value, dict):
            items = {self.convert(k, type_.key): self.convert(v, type_.value)
                     for k, v in value.items()}
            return TypedDict(items, type_.key, type_.value)
        if isinstance(type_, ClassType) and not isinstance(value, ScriptObject):
            return ScriptObject(type_, {
                n: self.convert(getattr(value, n), t) for n, t in type_.attributes.items()})
        if type_ == types.Float and isinstance(value, int):
            return float(value)
        return value


def _unconverted(value: object, reason: str = "") -> str:
    return (f"(This attribute exists on the Python module, but we failed to convert Python type: "
            f"'{type(value).__name__}' to a TorchScript type. {reason}".rstrip() + ")")


def annotations_of(cls: type) -> dict[str, object]:
    """The annotations that count for a module's class: its own, or those of the nearest base that
    has any; texts are evaluated where that is possible."""
    for base in cls.__mro__:
        own = base.__dict__.get("__annotations__")
        if own is None and "__annotate__" in base.__dict__ or "__annotate_func__" in base.__dict__:
            own = base.__annotations__
        if own:
            scope = dict(vars(sys.modules.get(base.__module__, sys)))
            out = {}
            for name, hint in own.items():
                if isinstance(hint, str):
                    try:
                        hint = eval(hint, scope)
                    except Exception:
                        continue
                out[name] = hint
            return out
    return {}


def _hook_type(cls: type) -> Type:
    """PyTorch's base class annotates this attribute; a class with annotations of its own hides
    that, and the value None speaks."""
    for base in cls.__mro__:
        library = base.__module__.partition(".")[0] in ("aot", "torch")
        if base.__name__ == "Module" and library:
            return OptionalType(types.Bool)
        if library or base.__dict__.get("__annotations__") or "__annotate_func__" in vars(base):
            return types.NoneT
    return OptionalType(types.Bool)


def _is_final(hint: object) -> bool:
    text = str(hint)
    return text.startswith(("typing.Final", "typing_extensions.Final")) or "Final[" in text[:40]
