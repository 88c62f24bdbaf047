"""What the pickles of an archive mean: modules, tensors, typed containers, enumerations.

The names a pickle may mention are the closed list in `_Values.find_global`; any other is refused
with its name. Sizes, strides and offsets are checked against the storage's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from aot.archive.container import Container
from aot.archive.pickle_reader import PickleError, read_pickle, refuse_bombs
from lowering.objects import (
    DeviceValue, EnumValue, ScriptObject, StorageData, TensorData, TypedDict, TypedList,
)
from lowering.types import (
    Bool, ClassType, DictType, EnumType, Float, Int, ListType, OptionalType, Tensor, Type,
)
from runtime import dtypes
from runtime.dtypes import DType


@dataclass(frozen=True)
class _StorageType:
    dtype: DType | str
    numpy: np.dtype


def _storage_type(dtype: DType | str, numpy: object = None) -> _StorageType:
    return _StorageType(dtype, np.dtype(dtype.storage if numpy is None else numpy))


# Element types without a DType keep their raw values, so that the archive loads and only the use
# of such a tensor fails.
_STORAGES = {
    "FloatStorage": _storage_type(dtypes.f32),
    "DoubleStorage": _storage_type(dtypes.f64),
    "HalfStorage": _storage_type(dtypes.f16),
    "BFloat16Storage": _storage_type(dtypes.bf16),
    "LongStorage": _storage_type(dtypes.i64),
    "IntStorage": _storage_type(dtypes.i32),
    "ShortStorage": _storage_type(dtypes.i16),
    "CharStorage": _storage_type(dtypes.i8),
    "ByteStorage": _storage_type(dtypes.u8),
    "BoolStorage": _storage_type(dtypes.bool_),
    "ComplexHalfStorage": _storage_type("ComplexHalf", np.uint32),
    "ComplexFloatStorage": _storage_type("ComplexFloat", np.complex64),
    "ComplexDoubleStorage": _storage_type("ComplexDouble", np.complex128),
    "QInt8Storage": _storage_type("QInt8", np.int8),
    "QUInt8Storage": _storage_type("QUInt8", np.uint8),
    "QInt32Storage": _storage_type("QInt32", np.int32),
    "UInt16Storage": _storage_type("UInt16", np.uint16),
    "UInt32Storage": _storage_type("UInt32", np.uint32),
    "UInt64Storage": _storage_type("UInt64", np.uint64),
    "Float8_e5m2Storage": _storage_type("Float8_e5m2", np.uint8),
    "Float8_e4m3fnStorage": _storage_type("Float8_e4m3fn", np.uint8),
    "Float8_e5m2fnuzStorage": _storage_type("Float8_e5m2fnuz", np.uint8),
    "Float8_e4m3fnuzStorage": _storage_type("Float8_e4m3fnuz", np.uint8),
}
_LIST_BUILDERS: dict[str, Type] = {
    "build_intlist": Int,
    "build_doublelist": Float,
    "build_boollist": Bool,
    "build_tensorlist": Tensor,
}
_MAX_DIMS = 64
_MAX_VIEW_BYTES = 1 << 40  # of a tensor whose strides repeat elements


class _Token:
    """A name that a pickle may call."""

    def __init__(self, name: str, call: Callable[..., object]) -> None:
        self.name = name
        self.call = call


class _Values:
    """The Meaning of one pickle."""

    def __init__(
        self,
        container: Container,
        folder: str,
        find_class: Callable[[str], Type],
        parse_type: Callable[[str], Type],
        budget: int,
    ) -> None:
        self.container = container
        self.folder = folder
        self.find_class = find_class
        self.parse_type = parse_type
        self.budget = budget  # of elements that calls may copy
        self.states: list[tuple[ScriptObject, object]] = []
        self._storages: dict[str, StorageData] = {}
        self._raw: dict[str, memoryview] = {}

    # --- names --------------------------------------------------------------------------------

    def find_global(self, module: str, name: str) -> object:
        if module == "__torch__" or module.startswith("__torch__."):
            return self.find_class(f"{module}.{name}")
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name in _LIST_BUILDERS:
            element = _LIST_BUILDERS[name]
            return _Token(name, lambda values: self._list(values, element))
        call = {
            ("torch.jit._pickle", "restore_type_tag"): self._tagged,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_qtensor"): self._quantized,
            ("torch._utils", "_rebuild_sparse_tensor"): self._sparse,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch", "device"): self._device,
            ("collections", "OrderedDict"): lambda: {},
            ("builtins", "complex"): self._complex,
            ("torch", "per_tensor_affine"): None,
            ("torch", "per_channel_affine"): None,
            ("torch", "per_channel_affine_float_qparams"): None,
            ("torch", "sparse_coo"): None,
        }
        if (module, name) not in call:
            raise PickleError(
                f"the pickle asks for {module}.{name}, which no TorchScript archive holds; "
                f"nothing was executed"
            )
        return _Token(name, call[module, name] or self._not_callable)

    def call(self, function: object, arguments: object) -> object:
        if isinstance(function, EnumType):
            # PyTorch writes the member's value itself where a tuple of arguments should stand.
            return self._enum_member(function, arguments)
        if not isinstance(function, _Token):
            raise PickleError(f"a {type(function).__name__} cannot be called")
        if not isinstance(arguments, tuple):
            raise PickleError("the arguments of a call are not a tuple")
        return function.call(*arguments)

    def new_object(self, cls: object, arguments: tuple) -> object:
        if not isinstance(cls, ClassType) or arguments:
            raise PickleError(f"expected a class without arguments, found {cls!r}")
        return ScriptObject(cls)

    def build(self, instance: object, state: object) -> None:
        if not isinstance(instance, ScriptObject):
            raise PickleError(f"expected an object to fill, found a {type(instance).__name__}")
        self.states.append((instance, state))

    def load_persistent(self, key: object) -> object:
        if not (isinstance(key, tuple) and len(key) == 5 and key[0] == "storage"):
            raise PickleError(f"expected a reference to a storage, found {str(key)[:80]}")
        _, type_, name, _, numel = key
        if not (isinstance(type_, _StorageType) and isinstance(name, str) and _is_size(numel)):
            raise PickleError(f"the reference to a storage is damaged: {str(key)[:80]}")
        return self._storage(type_, name, numel)

    # --- tensors ------------------------------------------------------------------------------

    def _storage(self, kind: _StorageType, name: str, numel: int) -> StorageData:
        member = f"{self.folder}/{name}"
        raw = self._raw.get(member)
        if raw is None:
            raw = self._raw[member] = self.container.read(member)
        wanted = numel * kind.numpy.itemsize
        shape_only = self.folder == "traced_inputs" and len(raw) == 0
        if wanted > len(raw) and not shape_only:
            raise PickleError(
                f"the storage {member} should hold {numel} elements ({wanted} bytes), "
                f"it has {len(raw)} bytes"
            )
        key = f"{member}:{kind.dtype}"
        storage = self._storages.get(key)
        if storage is None or len(storage) < numel:
            if shape_only:  # PyTorch writes example inputs without their values
                array = np.broadcast_to(np.zeros(1, kind.numpy), (numel,))
            else:
                array = np.frombuffer(raw[:wanted], kind.numpy)
            if not array.flags.aligned:
                array = array.copy()
                array.flags.writeable = False
            if kind.dtype is dtypes.bool_ and array.view(np.uint8).max(initial=0) > 1:
                array = array.view(np.uint8) != 0  # numpy bools other than 0 and 1 miscount
                array.flags.writeable = False
            storage = self._storages[key] = StorageData(kind.dtype, array, member)
        return storage

    def _tensor(
        self,
        storage: object,
        offset: object,
        sizes: object,
        strides: object,
        requires_grad: object = False,
        hooks: object = None,
        metadata: object = None,
    ) -> TensorData:
        if not isinstance(storage, StorageData):
            raise PickleError("a tensor without a storage")
        sizes, strides = _sizes(sizes), _sizes(strides)
        if not _is_size(offset) or len(sizes) != len(strides):
            raise PickleError(f"a tensor of sizes {sizes}, strides {strides}, offset {offset}")
        tensor = TensorData(storage, offset, sizes, strides, bool(requires_grad))
        last = offset + sum((s - 1) * t for s, t in zip(sizes, strides))
        if tensor.numel and last >= len(storage) or offset > len(storage):
            raise PickleError(
                f"a tensor of sizes {list(sizes)}, strides {list(strides)}, offset {offset} "
                f"reaches beyond its storage {storage.name} of {len(storage)} elements"
            )
        if tensor.numel * storage.array.itemsize > max(_MAX_VIEW_BYTES, storage.array.nbytes):
            raise PickleError(f"a tensor of sizes {list(sizes)} on {len(storage)} elements")
        if isinstance(storage.dtype, str):
            tensor.problem = f"tensors of type {storage.dtype} are not supported ({storage.name})"
        if isinstance(metadata, dict) and any(metadata.values()):
            bits = ", ".join(str(k) for k, v in metadata.items() if v)
            tensor.problem = f"tensors with the bit {bits!r} are not supported ({storage.name})"
        return tensor

    def _quantized(
        self, storage: object, offset: object, sizes: object, strides: object, quantizer: object,
        requires_grad: object = False, hooks: object = None,
    ) -> TensorData:
        tensor = self._tensor(storage, offset, sizes, strides, requires_grad)
        tensor.problem = f"quantized tensors are not supported ({tensor.storage.name})"
        return tensor

    def _sparse(self, layout: object, arguments: object) -> TensorData:
        empty = StorageData(dtypes.f32, np.empty(0, np.float32), "a sparse tensor")
        return TensorData(empty, 0, (0,), (1,), problem="sparse tensors are not supported")

    # --- other values -------------------------------------------------------------------------

    def _spend(self, count: int) -> None:
        self.budget -= count
        if self.budget < 0:
            raise PickleError("the pickle copies its containers too often")

    def _list(self, values: object, element: Type) -> TypedList:
        if not isinstance(values, list):
            raise PickleError(f"expected a list, found a {type(values).__name__}")
        self._spend(len(values))
        if element is Float:
            values = [float(v) if isinstance(v, int) else v for v in values]
        return TypedList(values, element)

    def _tagged(self, value: object, tag: object) -> object:
        if not isinstance(tag, str):
            raise PickleError("a type tag that is not a text")
        type_ = self.parse_type(tag)
        while isinstance(type_, OptionalType):
            type_ = type_.element
        if isinstance(value, list) and isinstance(type_, ListType):
            return self._list(value, type_.element)
        if isinstance(value, dict) and isinstance(type_, DictType):
            self._spend(len(value))
            return TypedDict(value, type_.key, type_.value)
        if isinstance(value, (list, dict)):
            raise PickleError(f"the type tag {tag!r} does not fit a {type(value).__name__}")
        return value

    def _enum_member(self, enum: EnumType, value: object) -> EnumValue:
        for name, member in enum.members.items():
            if member == value and isinstance(value, type(member)):
                return EnumValue(enum, name)
        raise PickleError(f"{enum.name} has no member with the value {value!r}")

    def _device(self, kind: object, index: object = None) -> DeviceValue:
        if not isinstance(kind, str) or not (index is None or _is_size(index)):
            raise PickleError("a device needs a name")
        if index is not None:
            kind = f"{kind}:{index}"
        return DeviceValue.parse(kind)

    def _complex(self, real: object, imaginary: object) -> complex:
        if not isinstance(real, (int, float)) or not isinstance(imaginary, (int, float)):
            raise PickleError("a complex number is two floats")
        return complex(real, imaginary)

    def _not_callable(self, *arguments: object) -> object:
        raise PickleError("a constant was called")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _sizes(values: object) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > _MAX_DIMS:
        raise PickleError("sizes and strides are tuples")
    if not all(map(_is_size, values)):
        raise PickleError(f"sizes and strides are non-negative integers, found {values}")
    return tuple(values)


def read_values(
    container: Container,
    member: str,
    find_class: Callable[[str], Type],
    parse_type: Callable[[str], Type],
) -> tuple[object, list[tuple[ScriptObject, object]]]:
    """The value of a `.pkl` member, and the states its objects are still to be filled with.

    ArchiveError names the member and the byte.
    """
    data = bytes(container.read(member))
    budget = 64 * (len(data) + 1024)
    values = _Values(container, member.removesuffix(".pkl"), find_class, parse_type, budget)
    try:
        root = read_pickle(data, values)
        refuse_bombs([root, *(state for _, state in values.states)], len(data))
    except PickleError as error:
        raise container.error(str(error), member) from None
    except RecursionError:
        raise container.error("a name or value is nested too deep", member) from None
    return root, values.states
