"""Fills the objects of a pickle with their attributes, checked against their classes."""

from __future__ import annotations

from aot.archive.container import Container
from lowering import types
from lowering.objects import (
    DeviceValue, EnumValue, NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList,
)
from lowering.types import (
    ClassType, DictType, EnumType, InterfaceType, ListType, OptionalType, TensorType, TupleType,
    Type, UnionType,
)

_SCALARS = {types.Int: int, types.Float: float, types.Bool: bool, types.Str: str,
            types.Complex: complex, types.Device: DeviceValue, types.Number: (int, float, complex),
            types.NoneT: type(None)}


class _DoesNotFit(Exception):
    """A value is not of its declared type."""


def fill_objects(
    container: Container, member: str, states: list[tuple[ScriptObject, object]]
) -> list[tuple[ScriptObject, object]]:
    """Give every object its attributes, in the order the pickle built them.

    Returns the objects whose class has `__setstate__`, with their states: those are still to be
    restored by a call. ArchiveError if an attribute is unknown or has another type than declared.
    """
    unrestored = []
    converted: dict[tuple[int, Type], object] = {}
    for instance, state in states:
        cls = instance.type
        if "__setstate__" in cls.methods:
            unrestored.append((instance, state))
            continue
        if not isinstance(state, dict):
            raise container.error(f"the attributes of {cls.name} are not a dict", member)
        for name, value in state.items():
            declared = cls.attributes.get(name) if isinstance(name, str) else None
            if declared is None:
                raise container.error(f"{cls.name} has no attribute {str(name)[:80]!r}", member)
            try:
                instance.attributes[name] = fit(value, declared, converted)
            except _DoesNotFit as error:
                raise container.error(f"{cls.name}.{name}: {error}", member) from None
        for name, declared in cls.attributes.items():
            if name not in instance.attributes:
                _fill_missing(container, member, instance, name, declared)
    return unrestored


def _fill_missing(
    container: Container, member: str, instance: ScriptObject, name: str, declared: Type
) -> None:
    if types.is_subtype(types.NoneT, declared):
        instance.attributes[name] = None
        return
    raise container.error(
        f"{instance.type.name} needs an attribute {name!r} of type {declared.annotation()}", member
    )


def fit(value: object, declared: Type, converted: dict[tuple[int, Type], object]) -> object:
    """The value as its declared type has it: lists and dicts know their element types, tuples
    their names. One container becomes one container, however many attributes share it.

    `converted` remembers what was done; its keys stay alive because the pickle's values do.
    """
    if isinstance(value, (list, dict, tuple)):
        key = (id(value), declared)
        if key not in converted:
            converted[key] = _fit_container(value, declared, converted)
        return converted[key]
    if _fits(value, declared):
        return value
    if declared == types.Float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(declared, TensorType) and value is None:
        return value  # an undefined tensor
    raise _DoesNotFit(f"expected {declared.annotation()}, found {_describe(value)}")


def _fit_container(
    value: list | dict | tuple, declared: Type, converted: dict[tuple[int, Type], object]
) -> object:
    if isinstance(declared, OptionalType):
        return fit(value, declared.element, converted)
    if isinstance(declared, UnionType):
        for option in declared.elements:
            try:
                return fit(value, option, converted)
            except _DoesNotFit:
                continue
    elif isinstance(value, list) and isinstance(declared, ListType):
        items = [fit(v, declared.element, converted) for v in value]
        return TypedList(items, declared.element)
    elif isinstance(value, dict) and isinstance(declared, DictType):
        pairs = {
            fit(k, declared.key, converted): fit(v, declared.value, converted)
            for k, v in value.items()
        }
        return TypedDict(pairs, declared.key, declared.value)
    elif isinstance(value, tuple) and isinstance(declared, TupleType):
        if len(value) == len(declared.elements):
            items = [fit(v, t, converted) for v, t in zip(value, declared.elements)]
            return NamedTupleValue(items, declared) if declared.fields else tuple(items)
    elif declared in (types.Any, types.AnyList, types.AnyTuple):
        return value
    raise _DoesNotFit(f"expected {declared.annotation()}, found {_describe(value)}")


def _fits(value: object, declared: Type) -> bool:
    if isinstance(declared, OptionalType):
        return value is None or _fits(value, declared.element)
    if isinstance(declared, UnionType):
        return any(_fits(value, option) for option in declared.elements)
    if isinstance(declared, TensorType):
        return isinstance(value, TensorData)
    if isinstance(declared, ClassType):
        return isinstance(value, ScriptObject) and value.type is declared
    if isinstance(declared, InterfaceType):
        return isinstance(value, ScriptObject) and types.is_subtype(value.type, declared)
    if isinstance(declared, EnumType):
        return isinstance(value, EnumValue) and value.type is declared
    if declared == types.Any:
        return True
    wanted = _SCALARS.get(declared)
    if wanted is None:
        return False
    # In Python a bool is an int; in TorchScript it is not.
    return isinstance(value, wanted) and (not isinstance(value, bool) or wanted is bool)


def _describe(value: object) -> str:
    if isinstance(value, ScriptObject):
        return f"an object of {value.type.name}"
    if isinstance(value, TensorData):
        return "a tensor"
    if isinstance(value, EnumValue):
        return f"{value!r}"
    return "None" if value is None else f"a {type(value).__name__}"


