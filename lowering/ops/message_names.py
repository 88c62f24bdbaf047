"""How PyTorch's messages name element types, tensors and sizes."""

from __future__ import annotations

from typing import Sequence

from lowering.tensor_ir import Value
from runtime.dtypes import DType

_C_NAMES = {
    "f32": "float", "f64": "double", "f16": "c10::Half", "bf16": "c10::BFloat16", "bool": "bool",
    "i8": "signed char", "u8": "unsigned char", "i16": "short", "i32": "int", "i64": "long int",
}
_TYPE_NAMES = {
    "f32": "Float", "f64": "Double", "f16": "Half", "bf16": "BFloat16", "i8": "Char", "u8": "Byte",
    "i16": "Short", "i32": "Int", "i64": "Long", "bool": "Bool",
}


def c_name(dtype: DType) -> str:
    """The C++ type of an element: float, c10::Half."""
    return _C_NAMES[dtype.name]


def type_name(dtype: DType) -> str:
    """The scalar type: Float, Half."""
    return _TYPE_NAMES[dtype.name]


def tensor_name(x: Value) -> str:
    """The class of such tensors: torch.FloatTensor."""
    return f"torch.{type_name(x.dtype)}Tensor"


def times(sizes: Sequence[int], sign: str = " x ") -> str:
    """Sizes as in '3 x 224 x 224'."""
    return sign.join(map(str, sizes))
