"""TorchScript types from Python's annotations."""

from __future__ import annotations

import ast
import enum
import inspect
import numbers
import types as python_types
import typing
from typing import Callable

from lowering import types
from lowering.types import DictType, FutureType, ListType, OptionalType, TupleType, Type, UnionType

_PLAIN: dict[object, Type] = {
    int: types.Int, float: types.Float, bool: types.Bool, str: types.Str, complex: types.Complex,
    type(None): types.NoneT, None: types.NoneT, typing.Any: types.Any, numbers.Number: types.Number,
    inspect.Parameter.empty: types.Tensor,
}
# Classes of this library (and of PyTorch) by their names.
_LIBRARY: dict[str, Type] = {
    "Tensor": types.Tensor, "Parameter": types.Tensor, "device": types.Device, "dtype": types.Int,
    "layout": types.Int, "memory_format": types.Int, "Size": ListType(types.Int),
    "Generator": types.Generator, "qscheme": types.QScheme, "_TensorBase": types.Tensor,
    "TensorBase": types.Tensor, "Stream": types.Stream,
}


class UnknownAnnotation(Exception):
    """The annotation is no TorchScript type; the message says what it is."""


def type_of_annotation(annotation: object, class_of: Callable[[type], Type]) -> Type:
    """The type an annotation (the object, not its text) means.

    `class_of` gives the types of classes of the program. UnknownAnnotation if it is none.
    """
    try:
        if annotation in _PLAIN:
            return _PLAIN[annotation]
    except TypeError:
        pass
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)

    def inner(part: object) -> Type:
        return type_of_annotation(part, class_of)

    bare = {typing.List: "List", list: "List", typing.Dict: "Dict", dict: "Dict",
            typing.Tuple: "Tuple", tuple: "Tuple", typing.Optional: "Optional"}
    try:
        name = bare.get(annotation)
    except TypeError:
        name = None
    if name is not None:
        example = f"{name}[int, int]" if name == "Dict" else f"{name}[int]"
        raise UnknownAnnotation(f"Attempted to use {name} without a contained type. Please add a "
                                f"contained type, e.g. {example}")
    if origin in (list, typing.List):
        return ListType(inner(arguments[0]))
    if origin in (dict, typing.Dict):
        key = inner(arguments[0])
        if key not in (types.Int, types.Float, types.Str, types.Bool, types.Complex, types.Tensor):
            raise UnknownAnnotation(
                f"Unsupported type for a dict's key: {key.annotation()}. Keys are int, bool, "
                f"float, "
                "complex, Tensor or str")
        return DictType(key, inner(arguments[1]))
    if origin in (tuple, typing.Tuple):
        if len(arguments) == 2 and arguments[1] is ...:
            raise UnknownAnnotation("a Tuple of any length is not a TorchScript type")
        if arguments == ((),):
            arguments = ()
        return TupleType(tuple(map(inner, arguments)))
    if origin is typing.Union or origin is getattr(python_types, "UnionType", ()):
        return union_of([inner(a) for a in arguments])
    if origin is typing.Final or getattr(origin, "__name__", "") == "Final":
        return inner(arguments[0])
    if _is_future(origin or annotation):
        return FutureType(inner(arguments[0]) if arguments else types.Tensor)
    if isinstance(annotation, Type):
        return annotation
    if isinstance(annotation, (ast.AST, str)) or not isinstance(annotation, type):
        raise UnknownAnnotation(f"Unknown type annotation: '{annotation}'")
    module = annotation.__module__.partition(".")[0]
    if module in ("aot", "torch") and annotation.__name__ in _LIBRARY:
        return _LIBRARY[annotation.__name__]
    if issubclass(annotation, (int, float, bool, str)) and not issubclass(annotation, enum.Enum):
        raise UnknownAnnotation(f"Unknown type annotation: '{annotation.__name__}'")
    return class_of(annotation)


def _is_future(found: object) -> bool:
    module = getattr(found, "__module__", "") or ""
    return getattr(found, "__name__", "") == "Future" and module.split(".")[0] in ("aot", "torch")


def union_of(members: list[Type]) -> Type:
    """Union[T, None] is Optional[T], Union[T] is T."""
    flat: list[Type] = []
    for member in members:
        parts = member.elements if isinstance(member, UnionType) else (member,)
        if isinstance(member, OptionalType):
            parts = (member.element, types.NoneT)
        for part in parts:
            if part not in flat:
                flat.append(part)
    if len(flat) == 1:
        return flat[0]
    if len(flat) == 2 and types.NoneT in flat:
        return OptionalType(flat[0] if flat[1] == types.NoneT else flat[1])
    return UnionType(tuple(sorted(flat, key=_union_order)))


def _union_order(type_: Type) -> str:
    return type_.annotation().lower()


def is_module_class(cls: type) -> bool:
    """Whether a class is one of modules, of this library or of PyTorch."""
    return any(
        b.__name__ == "Module" and b.__module__.partition(".")[0] in ("aot", "torch")
        for b in cls.__mro__)
