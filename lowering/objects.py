"""The values of a TorchScript program that Python has no type for.

int, float, bool, str, None, complex, list, dict and tuple stand for themselves. What needs more is
here: tensors that share storages, objects of the program's classes, enumeration members, devices.
An archive's pickles become these; partial evaluation reads them as concrete values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from lowering.types import ClassType, EnumType, TupleType, Type, scalar_name
from runtime import dtypes
from runtime.dtypes import DType
from runtime.errors import AotError


class StorageData:
    """A flat run of elements that tensors share; compared by identity.

    `array` is one-dimensional, of the dtype's interface numpy type (bf16 is uint16). It is
    read-only where it lies directly in a mapped archive. A storage of an element type this project
    does not compute with has `dtype` as TorchScript's name ('QInt8') and may hold raw bytes.
    `version` counts the writes in place.
    """

    __slots__ = ("dtype", "array", "name", "version")

    def __init__(self, dtype: DType | str, array: np.ndarray, name: str = "") -> None:
        self.dtype = dtype
        self.array = array
        self.name = name  # where it came from, for messages
        self.version = 0

    def __len__(self) -> int:
        return self.array.shape[0]

    def __repr__(self) -> str:
        return f"StorageData({scalar_name(self.dtype)}, {len(self)}, {self.name!r})"


class TensorData:
    """A strided window on a storage, offset and strides counted in elements.

    `problem` says why the values cannot be used (quantised, conjugated, float8 ...); it is None for
    an ordinary tensor, and `numpy()` raises AotError with it otherwise. Compared by identity.
    """

    __slots__ = ("storage", "offset", "sizes", "strides", "requires_grad", "problem")

    def __init__(
        self,
        storage: StorageData,
        offset: int,
        sizes: tuple[int, ...],
        strides: tuple[int, ...],
        requires_grad: bool = False,
        problem: str | None = None,
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.sizes = tuple(sizes)
        self.strides = tuple(strides)
        self.requires_grad = requires_grad
        self.problem = problem

    @classmethod
    def from_numpy(cls, array: np.ndarray, dtype: DType | None = None) -> TensorData:
        """A contiguous tensor of the array's values. uint16 arrays are bf16 unless `dtype` says so.

        The array is shared, not copied, when it is contiguous and of the storage type already.
        """
        array = np.asarray(array)
        dtype = dtypes.dtype_of_numpy(array.dtype) if dtype is None else dtype
        sizes = array.shape
        flat = np.ascontiguousarray(dtypes.to_storage(array, dtype)).reshape(-1)
        return cls(StorageData(dtype, flat), 0, sizes, contiguous_strides(sizes))

    @property
    def dtype(self) -> DType:
        """The element type; AotError if this project does not compute with it."""
        if isinstance(self.storage.dtype, str):
            found = self.storage.dtype
            raise AotError(self.problem or f"tensors of type {found} are not supported")
        return self.storage.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def numel(self) -> int:
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @property
    def is_contiguous(self) -> bool:
        return self.numel == 0 or all(
            size == 1 or stride == wanted
            for size, stride, wanted in zip(
                self.sizes, self.strides, contiguous_strides(self.sizes)
            )
        )

    def numpy(self) -> np.ndarray:
        """A view on the storage of shape `sizes`, interface type (bf16 as uint16); no copy.

        It is read-only where several elements share memory or the storage is read-only.
        """
        if self.problem is not None:
            raise AotError(self.problem)
        flat = self.storage.array
        if self.is_contiguous:
            return flat[self.offset : self.offset + self.numel].reshape(self.sizes)
        itemsize = flat.itemsize
        return np.lib.stride_tricks.as_strided(
            flat[self.offset :],
            self.sizes,
            tuple(s * itemsize for s in self.strides),
            writeable=flat.flags.writeable and 0 not in self.strides,
        )

    def __repr__(self) -> str:
        return f"TensorData({scalar_name(self.storage.dtype)}, sizes={list(self.sizes)})"


def contiguous_strides(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements, with PyTorch's rule that a size of 0 counts as 1."""
    strides = [1] * len(sizes)
    for i in range(len(sizes) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(1, sizes[i + 1])
    return tuple(strides)


class ScriptObject:
    """An object of a class of the program (a module among them): its type and its attributes."""

    __slots__ = ("type", "attributes")

    def __init__(self, type: ClassType, attributes: dict[str, object] | None = None) -> None:
        self.type = type
        self.attributes = {} if attributes is None else attributes

    def __repr__(self) -> str:
        return f"ScriptObject({self.type.name})"


@dataclass(frozen=True)
class EnumValue:
    """A member of an enumeration of the program."""

    type: EnumType
    name: str

    @property
    def value(self) -> object:
        return self.type.members[self.name]

    def __repr__(self) -> str:
        return f"{self.type.name}.{self.name}"


@dataclass(frozen=True)
class DeviceValue:
    """A device such as `cpu` or `cuda:0`; every computation here runs on the host CPU."""

    kind: str
    index: int | None = None

    def __str__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> DeviceValue:
        """The device of a text such as 'cuda:1'; ValueError if it is none."""
        kind, colon, index = text.partition(":")
        if not kind.isidentifier() or (colon and not index.isdigit()):
            raise ValueError(f"not a device: {text!r}")
        return cls(kind, int(index) if colon else None)


class TypedList(list):
    """A list that knows its element type, where an archive or a program stated it."""

    def __init__(self, values=(), element: Type | None = None) -> None:
        super().__init__(values)
        self.element = element


class TypedDict(dict):
    """A dict that knows its key and value types, where an archive or a program stated them."""

    def __init__(self, values=(), key: Type | None = None, value: Type | None = None) -> None:
        super().__init__(values)
        self.key = key
        self.value = value


class NamedTupleValue(tuple):
    """A tuple whose fields have names; equal to the plain tuple of its elements."""

    type: TupleType

    def __new__(cls, values, type: TupleType) -> NamedTupleValue:
        self = super().__new__(cls, values)
        self.type = type
        return self

    def __getattr__(self, name: str) -> object:
        fields = self.__dict__["type"].fields or ()
        if name in fields:
            return self[fields.index(name)]
        raise AttributeError(name)


def copy_object(instance: ScriptObject) -> ScriptObject:
    """The object with all that it holds, for a program to change: elements are shared until they
    are written, and what is one object or tensor here is one there."""
    made: dict[int, object] = {}

    def copy(x: object) -> object:
        if id(x) in made:
            return made[id(x)]
        result = x
        if isinstance(x, TensorData):
            result = TensorData(x.storage, x.offset, x.sizes, x.strides, x.requires_grad, x.problem)
        elif isinstance(x, ScriptObject):
            result = made[id(x)] = ScriptObject(x.type)
            result.attributes = {name: copy(v) for name, v in x.attributes.items()}
        elif isinstance(x, TypedList):
            result = TypedList([copy(v) for v in x], x.element)
        elif isinstance(x, list):
            result = [copy(v) for v in x]
        elif isinstance(x, TypedDict):
            result = TypedDict({k: copy(v) for k, v in x.items()}, x.key, x.value)
        elif isinstance(x, dict):
            result = {k: copy(v) for k, v in x.items()}
        elif isinstance(x, NamedTupleValue):
            result = NamedTupleValue([copy(v) for v in x], x.type)
        elif isinstance(x, tuple):
            result = tuple(copy(v) for v in x)
        made[id(x)] = result
        return result

    copied = copy(instance)
    assert isinstance(copied, ScriptObject)
    return copied


def map_tensors(value: object, change: Callable[[TensorData], object]) -> object:
    """The same nest of lists, tuples and dicts with every tensor changed; objects stay."""
    if isinstance(value, TensorData):
        return change(value)
    if isinstance(value, TypedList):
        return TypedList([map_tensors(v, change) for v in value], value.element)
    if isinstance(value, list):
        return [map_tensors(v, change) for v in value]
    if isinstance(value, TypedDict):
        items = {k: map_tensors(v, change) for k, v in value.items()}
        return TypedDict(items, value.key, value.value)
    if isinstance(value, dict):
        return {k: map_tensors(v, change) for k, v in value.items()}
    if isinstance(value, NamedTupleValue):
        return NamedTupleValue([map_tensors(v, change) for v in value], value.type)
    if isinstance(value, tuple):
        return tuple(map_tensors(v, change) for v in value)
    return value
