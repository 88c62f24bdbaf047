"""Writes a pickle of TorchScript values: protocol 2, in the opcodes that PyTorch uses."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from aot.archive.writer_storage import StorageTable
from lowering import types
from lowering.objects import (
    DeviceValue, EnumValue, ScriptObject, TensorData, TypedDict, TypedList,
)  # fmt: skip
from lowering.types import DictType, ListType, OptionalType, TupleType, Type, UnionType
from runtime.errors import InputError

_BUILDERS = {types.Int: "build_intlist", types.Float: "build_doublelist",
             types.Bool: "build_boollist"}


class PickleWriter:
    """Writes one value; `state_of` gives an object's own state (`__getstate__`), or None.

    A string, a tensor, a storage, an object, and a list or dict that several things share, is
    written once and referred to afterwards.
    """

    def __init__(self, storages: StorageTable,
                 state_of: Callable[[ScriptObject], tuple[object, Type] | None]) -> None:
        self.storages = storages
        self.state_of = state_of
        self.out = bytearray()
        self.memo: dict[object, int] = {}
        self.entries = 0
        self.open: set[int] = set()
        self.keep: list[object] = []  # what the memo knows by id lives as long as the writer

    def write(self, value: object, declared: Type | None = None) -> bytes:
        """The pickle of a value whose static type is `declared`. InputError if it has none."""
        self.out += b"\x80\x02"
        self.value(value, declared)
        self.out += b"."
        return bytes(self.out)

    # --- memo ---------------------------------------------------------------------------------

    def known(self, key: object) -> bool:
        """Refers to what stands in the memo; False if it is not there."""
        entry = self.memo.get(key)
        if entry is None:
            return False
        self.out += b"h" + bytes((entry,)) if entry < 256 else b"j" + pack("<I", entry)
        return True

    def remember(self, key: object, owner: object = None) -> None:
        entry = self.memo[key] = self.entries
        self.entries += 1
        self.keep.append(owner)
        self.out += b"q" + bytes((entry,)) if entry < 256 else b"r" + pack("<I", entry)

    # --- values -------------------------------------------------------------------------------

    def value(self, x: object, declared: Type | None) -> None:
        while isinstance(declared, OptionalType):
            declared = declared.element
        if isinstance(declared, UnionType) or declared == types.Any:
            declared = None
        if x is None:
            self.out += b"N"
        elif isinstance(x, bool):
            self.out += b"\x88" if x else b"\x89"
        elif isinstance(x, int):
            self.float(float(x)) if declared == types.Float else self.integer(x)
        elif isinstance(x, float):
            self.float(x)
        elif isinstance(x, str):
            self.text(x)
        elif isinstance(x, complex):
            self.name("builtins", "complex")
            self.float(x.real)
            self.float(x.imag)
            self.out += b"\x86R"
        elif isinstance(x, TensorData):
            self.tensor(x)
        elif isinstance(x, ScriptObject):
            self.object(x)
        elif isinstance(x, EnumValue):
            self.name(*_split(x.type.name))
            self.value(x.value, None)
            self.out += b"R"
        elif isinstance(x, DeviceValue):
            self.device(x)
        elif isinstance(x, tuple):
            self.tuple(x, declared)
        elif isinstance(x, (list, dict)):
            self.container(x, declared)
        else:
            raise InputError(f"save: a {type(x).__name__} cannot stand in an archive")

    def integer(self, x: int) -> None:
        if 0 <= x < 256:
            self.out += b"K" + bytes((x,))
        elif 0 <= x < 65536:
            self.out += b"M" + pack("<H", x)
        elif -(2**31) <= x < 2**31:
            self.out += b"J" + pack("<i", x)
        elif -(2**63) <= x < 2**63:
            self.out += b"\x8a\x08" + pack("<q", x)
        else:
            raise InputError(f"save: {x} does not fit 64 bits, TorchScript's int")

    def float(self, x: float) -> None:
        self.out += b"G" + pack(">d", x)

    def text(self, x: str) -> None:
        key = ("text", x)
        if self.known(key):
            return
        encoded = x.encode("utf-8", "surrogatepass")
        self.out += b"X" + pack("<I", len(encoded)) + encoded
        self.remember(key)

    def name(self, module: str, name: str) -> None:
        key = ("name", module, name)
        if not self.known(key):
            self.out += f"c{module}\n{name}\n".encode()
            self.remember(key)

    def device(self, x: DeviceValue) -> None:
        key = ("device", x)
        if self.known(key):
            return
        self.name("torch", "device")
        self.text(x.kind)
        if x.index is None:
            self.out += b"\x85R"
        else:
            self.integer(x.index)
            self.out += b"\x86R"
        self.remember(key)

    def tuple(self, x: tuple, declared: Type | None) -> None:
        elements: tuple = (None,) * len(x)
        if isinstance(declared, TupleType) and len(declared.elements) == len(x):
            elements = declared.elements
        if not x:
            self.out += b")"
            return
        if len(x) > 3:
            self.out += b"("
        for item, type_ in zip(x, elements):
            self.value(item, type_)
        self.out += b"t" if len(x) > 3 else (b"", b"\x85", b"\x86", b"\x87")[len(x)]

    def container(self, x: list | dict, declared: Type | None) -> None:
        key = ("container", id(x), declared)
        if self.known(key):
            return
        if id(x) in self.open:
            raise InputError("save: a list or dict that contains itself cannot be saved")
        self.open.add(id(x))
        if isinstance(x, list):
            self.list(x, declared if isinstance(declared, ListType) else list_type(x))
        else:
            self.dict(x, declared if isinstance(declared, DictType) else dict_type(x))
        self.open.discard(id(x))
        self.remember(key, x)

    def list(self, x: list, type_: ListType) -> None:
        builder = _BUILDERS.get(type_.element)
        if isinstance(type_.element, types.TensorType):
            builder = "build_tensorlist"
        if builder is None:
            self.name("torch.jit._pickle", "restore_type_tag")
            self.items(x, type_.element)
            self.text(type_.annotation())
            self.out += b"\x86R"
            return
        self.name("torch.jit._pickle", builder)
        self.out += b"("
        self.items(x, type_.element)
        self.out += b"tR"

    def items(self, x: list, element: Type) -> None:
        self.out += b"]("
        for item in x:
            self.value(item, element)
        self.out += b"e"

    def dict(self, x: dict, type_: DictType) -> None:
        self.name("torch.jit._pickle", "restore_type_tag")
        self.out += b"}("
        for k, v in x.items():
            self.value(k, type_.key)
            self.value(v, type_.value)
        self.out += b"u"
        self.text(type_.annotation())
        self.out += b"\x86R"

    def object(self, x: ScriptObject) -> None:
        key = ("object", id(x))
        if self.known(key):
            return
        if id(x) in self.open:
            raise InputError(f"save: an object of {x.type.name} contains itself")
        self.open.add(id(x))
        self.name(*_split(x.type.name))
        self.out += b")\x81"
        state = self.state_of(x)
        if state is not None:
            self.keep.append(state)
            self.value(*state)
        else:
            self.out += b"}("
            for name, declared in x.type.attributes.items():
                if name not in x.attributes:
                    raise InputError(f"save: {x.type.name}.{name} is not set")
                self.text(name)
                self.value(x.attributes[name], declared)
            self.out += b"u"
        self.out += b"b"
        self.open.discard(id(x))
        self.remember(key, x)

    # --- tensors ------------------------------------------------------------------------------

    def tensor(self, x: TensorData) -> None:
        key = ("tensor", id(x))
        if self.known(key):
            return
        if x.problem is not None and not x.problem.startswith("tensors of type "):
            raise InputError(f"save: {x.problem}")
        self.name("torch._utils", "_rebuild_tensor_v2")
        self.out += b"("
        self.storage(x)
        self.integer(x.offset)
        for numbers in (x.sizes, x.strides):
            self.out += b"("
            for n in numbers:
                self.integer(n)
            self.out += b"t"
        self.out += b"\x88" if x.requires_grad else b"\x89"
        self.name("collections", "OrderedDict")
        self.out += b")RtR"
        self.remember(key, x)

    def storage(self, x: TensorData) -> None:
        number, type_name, count = self.storages.add(x.storage)
        key = ("storage", number, type_name)
        if self.known(key):
            return
        self.out += b"("
        self.text("storage")
        self.name("torch", type_name)
        self.text(str(number))
        self.text("cpu")
        self.integer(count)
        self.out += b"tQ"
        self.remember(key)


def _split(qualified: str) -> tuple[str, str]:
    module, _, name = qualified.rpartition(".")
    return module, name


def list_type(x: list) -> ListType:
    """The type of a list that nobody declared: what it knows itself, or what its elements say."""
    if isinstance(x, TypedList) and x.element is not None:
        return ListType(x.element)
    return ListType(_common(x))


def dict_type(x: dict) -> DictType:
    if isinstance(x, TypedDict) and x.key is not None and x.value is not None:
        return DictType(x.key, x.value)
    return DictType(_common(list(x)) if x else types.Str, _common(list(x.values())))


def value_type(x: object) -> Type:
    """The type of a value of any kind, as far as it tells; Any otherwise."""
    if isinstance(x, TensorData):
        return types.Tensor
    if isinstance(x, list):
        return list_type(x)
    if isinstance(x, dict):
        return dict_type(x)
    if isinstance(x, (ScriptObject, EnumValue)):
        return x.type
    if isinstance(x, tuple):
        return getattr(x, "type", None) or TupleType(tuple(map(value_type, x)))
    if isinstance(x, DeviceValue):
        return types.Device
    simple = {bool: types.Bool, int: types.Int, float: types.Float, str: types.Str,
              complex: types.Complex, type(None): types.NoneT}
    return simple.get(type(x), types.Any)


def _common(values: list) -> Type:
    out: Type | None = None
    for value in values:
        found = value_type(value)
        out = found if out is None else types.unify(out, found) or types.Any
    return types.Tensor if out is None else out
