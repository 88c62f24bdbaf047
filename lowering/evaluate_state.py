"""Whether a run has changed an attribute of the program's objects."""

from __future__ import annotations

from lowering.abstract import AbstractComplex, AbstractTensor
from lowering.objects import TensorData


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
