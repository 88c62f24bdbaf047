"""What a run changes in the objects of a program: attributes set, buffers written, lists grown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering.abstract import AbstractComplex, AbstractTensor
from lowering.objects import ScriptObject, TensorData

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def changes(ev: Evaluator) -> list[tuple[ScriptObject, str, object]]:
    """Attributes of objects of the archive that are not what they were, with their values now.

    Objects that the program made itself do not outlive the run, unless such an attribute holds
    them."""
    found = []
    archived = {id(obj) for obj, _, _ in ev.loaded.values()}
    for obj, written in ev.memory.attributes.values():
        if not obj.attributes and id(obj) not in archived:
            continue
        for name, value in written.items():
            if name not in obj.attributes or not is_same(obj.attributes[name], value):
                found.append((obj, name, value))
    for (key, name), (obj, before, value) in ev.loaded.items():
        set_since = ev.memory.attributes.get(key, (obj, {}))[1]
        if name not in set_since and not is_same(before, value):
            found.append((obj, name, value))
    return found


def is_same(before: object, value: object) -> bool:
    """Whether an attribute's abstract value is still what the archive's object holds."""
    if isinstance(value, AbstractTensor):
        storage = value.storage
        return (value.view is None and not storage.written
                and isinstance(before, TensorData) and isinstance(storage.source, TensorData)
                and before.storage is storage.source.storage
                and (before.offset, before.sizes, before.strides)
                == (storage.source.offset, storage.source.sizes, storage.source.strides))
    if isinstance(value, AbstractComplex):  # made from the archive's tensor, and never written
        return isinstance(before, TensorData) and value.pairs.storage.source is not None
    if isinstance(before, (list, tuple)) and isinstance(value, (list, tuple)):
        return len(before) == len(value) and all(map(is_same, before, value))
    if isinstance(before, dict) and isinstance(value, dict):
        return list(before) == list(value) and all(is_same(before[k], value[k]) for k in before)
    return before is value or (type(before) is type(value) and before == value)


def tensor_names(module: ScriptObject) -> dict[int, str]:
    """The dotted names of the tensors among a module's attributes, by identity."""
    names: dict[int, str] = {}
    seen: set[int] = set()

    def visit(instance: ScriptObject, prefix: str) -> None:
        if id(instance) in seen:
            return
        seen.add(id(instance))
        for name, value in instance.attributes.items():
            if isinstance(value, TensorData):
                names.setdefault(id(value), prefix + name)
            elif isinstance(value, ScriptObject):
                visit(value, f"{prefix}{name}.")

    visit(module, "")
    return names
