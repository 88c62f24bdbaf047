"""The element types, one row each: every room names a dtype by these objects.

bfloat16 has no numpy type: arrays at an interface carry its bits as uint16, arrays inside the
numpy interpreter carry its values as float32 rounded to bfloat16 (`round_bf16`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DType:
    """One element type. Interned: compare with `is`."""

    name: str  # short name used in texts and on the command line
    torch_name: str
    torch_code: int  # the integer that serialized TorchScript writes for the dtype
    kind: str  # 'f' float, 'i' signed, 'u' unsigned, 'b' bool
    bits: int
    storage: np.dtype  # numpy type of an array at an interface
    compute: np.dtype  # numpy type of an array inside the interpreter
    dlpack: int  # DLPack type code

    @property
    def bytes(self) -> int:
        return max(1, self.bits // 8)

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers; bool is not one."""
        return self.kind in "iu"

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self):
        return (dtype_of_name, (self.name,))


def _row(name, torch_name, code, kind, bits, storage, compute, dlpack) -> DType:
    return DType(name, torch_name, code, kind, bits, np.dtype(storage), np.dtype(compute), dlpack)


u8 = _row("u8", "uint8", 0, "u", 8, np.uint8, np.uint8, 1)
i8 = _row("i8", "int8", 1, "i", 8, np.int8, np.int8, 0)
i16 = _row("i16", "int16", 2, "i", 16, np.int16, np.int16, 0)
i32 = _row("i32", "int32", 3, "i", 32, np.int32, np.int32, 0)
i64 = _row("i64", "int64", 4, "i", 64, np.int64, np.int64, 0)
f16 = _row("f16", "float16", 5, "f", 16, np.float16, np.float16, 2)
f32 = _row("f32", "float32", 6, "f", 32, np.float32, np.float32, 2)
f64 = _row("f64", "float64", 7, "f", 64, np.float64, np.float64, 2)
bool_ = _row("bool", "bool", 11, "b", 8, np.bool_, np.bool_, 6)
bf16 = _row("bf16", "bfloat16", 15, "f", 16, np.uint16, np.float32, 4)

ALL = (u8, i8, i16, i32, i64, f16, f32, f64, bool_, bf16)
_BY_NAME = {d.name: d for d in ALL} | {d.torch_name: d for d in ALL}
_BY_CODE = {d.torch_code: d for d in ALL}


def dtype_of_name(name: str) -> DType:
    """The dtype of a short ('f32') or torch ('float32') name; KeyError otherwise."""
    return _BY_NAME[name]


def dtype_of_code(code: int) -> DType:
    """The dtype of a serialized TorchScript integer (float32 is 6); KeyError otherwise."""
    return _BY_CODE[code]


def dtype_of_numpy(dtype: np.dtype) -> DType:
    """The dtype whose interface arrays have this numpy type (uint16: bf16); KeyError otherwise."""
    for d in ALL:
        if d.storage == dtype:
            return d
    raise KeyError(str(dtype))


def round_bf16(x: np.ndarray) -> np.ndarray:
    """float32 values rounded to the nearest bfloat16, ties to even, NaN kept; still float32."""
    x = np.ascontiguousarray(x, np.float32)
    bits = x.view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + 0x7FFF).astype(np.uint32)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32)).astype(np.float32)


def to_compute(x: np.ndarray, dtype: DType) -> np.ndarray:
    """An interface array as the interpreter's array (bf16: uint16 bits to float32 values)."""
    if dtype is bf16 and x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(dtype.compute, copy=False)


def to_storage(x: np.ndarray, dtype: DType) -> np.ndarray:
    """The interpreter's array as an interface array (bf16: float32 values to uint16 bits)."""
    if dtype is bf16 and x.dtype != np.uint16:
        return (round_bf16(x).view(np.uint32) >> 16).astype(np.uint16).reshape(np.shape(x))
    return x.astype(dtype.storage, copy=False)


def promote(a: DType, b: DType) -> DType:
    """PyTorch's promotion of two dtypes of equal category rank (two tensors with dims)."""
    if a is b:
        return a
    if a.is_float or b.is_float:
        if not a.is_float:
            return b
        if not b.is_float:
            return a
        if a.bits == b.bits:  # f16 with bf16
            return f32
        return a if a.bits > b.bits else b
    if a is bool_:
        return b
    if b is bool_:
        return a
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed = a if a.kind == "i" else b  # the other one is u8
    return i16 if signed.bits == 8 else signed
