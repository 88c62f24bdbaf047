"""The names of element types, devices, layouts and sizes that Python programs use.

They print as PyTorch's do (`torch.float32`, `device(type='cpu')`, `torch.Size([2, 3])`), so that a
program's output does not change with the import.
"""

from __future__ import annotations

import numpy as np

from lowering.objects import DeviceValue
from runtime import dtypes as rows
from runtime.dtypes import DType


class dtype:
    """An element type as programs name it; `row` is its line in the table of dtypes, None for the
    complex types, which have a name and a code but no arithmetic here."""

    __slots__ = ("name", "code", "row")
    _by_code: dict[int, dtype] = {}

    def __init__(self, name: str, code: int, row: DType | None) -> None:
        self.name, self.code, self.row = name, code, row
        dtype._by_code[code] = self

    @property
    def is_floating_point(self) -> bool:
        return self.row is not None and self.row.is_float

    @property
    def is_complex(self) -> bool:
        return self.row is None

    @property
    def is_signed(self) -> bool:
        return self.row is None or self.row.kind in "fi"

    @property
    def itemsize(self) -> int:
        return self.row.bytes if self.row is not None else {9: 8, 10: 16}[self.code]

    def to_complex(self) -> dtype:
        return dtype._by_code[10 if self.itemsize == 8 else 9]

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


uint8 = dtype("uint8", 0, rows.u8)
int8 = dtype("int8", 1, rows.i8)
int16 = short = dtype("int16", 2, rows.i16)
int32 = int_ = dtype("int32", 3, rows.i32)
int64 = long = dtype("int64", 4, rows.i64)
float16 = half = dtype("float16", 5, rows.f16)
float32 = float_ = dtype("float32", 6, rows.f32)
float64 = double = dtype("float64", 7, rows.f64)
complex64 = cfloat = dtype("complex64", 9, None)
complex128 = cdouble = dtype("complex128", 10, None)
bool_ = dtype("bool", 11, rows.bool_)
bfloat16 = dtype("bfloat16", 15, rows.bf16)

_OF_ROW = {d.row: d for d in dtype._by_code.values() if d.row is not None}


def of_row(row: DType) -> dtype:
    """The program's name of a row of the dtype table."""
    return _OF_ROW[row]


def of_code(code: int) -> dtype:
    """The dtype of a serialized TorchScript integer; KeyError otherwise."""
    return dtype._by_code[code]


def as_row(x: object) -> DType:
    """The row of a dtype, a code or a row. TypeError for what is none or has no arithmetic."""
    if isinstance(x, DType):
        return x
    if isinstance(x, int) and not isinstance(x, bool) and x in dtype._by_code:
        x = dtype._by_code[x]
    if isinstance(x, dtype):
        if x.row is None:
            raise TypeError(f"tensors of {x} are not supported")
        return x.row
    named = {float: rows.f32, int: rows.i64, bool: rows.bool_}
    if x in named:
        return named[x]  # type: ignore[index]
    raise TypeError(f"expected a dtype, found {x!r}")


class device:
    """A device's name; every tensor here is on the CPU."""

    __slots__ = ("type", "index")

    def __init__(self, type: str | device | DeviceValue, index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, DeviceValue):
            type, index = type.kind, type.index
        elif isinstance(type, str) and ":" in type:
            parsed = DeviceValue.parse(type)
            type, index = parsed.kind, parsed.index
        self.type, self.index = type, index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"


cpu = device("cpu")


class layout:
    """How a tensor lies in memory: `strided`, always."""

    def __init__(self, name: str, code: int) -> None:
        self.name, self.code = name, code

    def __repr__(self) -> str:
        return f"torch.{self.name}"


class memory_format(layout):
    """The order of a result's dims in memory."""


strided = layout("strided", 0)
contiguous_format = memory_format("contiguous_format", 0)
preserve_format = memory_format("preserve_format", 1)
channels_last = memory_format("channels_last", 2)
channels_last_3d = memory_format("channels_last_3d", 3)


class Size(tuple):
    """The sizes of a tensor's dims."""

    def numel(self) -> int:
        """The product of the sizes."""
        count = 1
        for n in self:
            count *= n
        return count

    def __getitem__(self, key):
        found = super().__getitem__(key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other):
        return Size(super().__add__(tuple(other)))

    def __mul__(self, count):
        return Size(super().__mul__(count))

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    __str__ = __repr__


class _Default:
    """The dtype of tensors made of Python floats."""

    def __init__(self) -> None:
        self.row = rows.f32


_default = _Default()


def get_default_dtype() -> dtype:
    return of_row(_default.row)


def set_default_dtype(d: dtype) -> None:
    """The dtype of tensors made of Python floats from now on. TypeError unless it is a float's."""
    row = as_row(d)
    if not row.is_float:
        raise TypeError("only floating-point types are supported as the default type")
    _default.row = row


class finfo:
    """The limits of a floating-point dtype, the default one if none is given."""

    def __init__(self, type: dtype | None = None) -> None:
        row = as_row(type) if type is not None else _default.row
        if not row.is_float:
            raise TypeError(f"finfo requires a floating point dtype, found {type}")
        self.dtype, self.bits = row.torch_name, row.bits
        if row is rows.bf16:
            self.max = float.fromhex("0x1.fep127")
            self.eps, self.tiny = 2.0**-7, 2.0**-126
        else:
            info = np.finfo(row.storage)
            self.max, self.eps, self.tiny = float(info.max), float(info.eps), float(info.tiny)
        self.min, self.smallest_normal, self.resolution = -self.max, self.tiny, None
        digits = {16: 3 if row is rows.f16 else 2, 32: 6, 64: 15}[row.bits]
        self.resolution = float(f"1e-{digits}")

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
                f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, "
                f"tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """The limits of an integer dtype."""

    def __init__(self, type: dtype) -> None:
        row = as_row(type)
        info = np.iinfo(row.storage)
        self.dtype, self.bits, self.min, self.max = row.torch_name, row.bits, info.min, info.max

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
