"""Changes of dtype, and copies."""

from __future__ import annotations

from lowering import expr as E
from lowering import views
from lowering.build import compute, constant
from lowering.build import cast as cast_value
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, dtype_of_code, f16, f32, f64, i8, i16, i32, i64, u8

_REST = "bool non_blocking=False, bool copy=False"
_FORMAT = f"{_REST}, MemoryFormat? memory_format=None) -> Tensor(a)"


def _converted(x: Value, dtype: DType | None, copy: bool):
    """The tensor itself (as a view) when nothing changes, else a copy."""
    if not copy and dtype in (None, x.dtype):
        return views.permute(x.shape, range(x.ndim))
    return cast_value(x, dtype or x.dtype) if dtype not in (None, x.dtype) else _copy(x)


def _copy(x: Value) -> Value:
    return compute(x.shape, lambda *i: E.load(x, i))


@aten(f"to.dtype(Tensor(a) self, ScalarType dtype, {_FORMAT}",
      f"to.prim_dtype(Tensor(a) self, int? dtype=None, {_REST}) -> Tensor(b|a)")
def to_dtype(x, dtype=None, non_blocking=False, copy=False, memory_format=None):
    return _converted(x, _dtype(dtype), copy)


@aten(f"to.device(Tensor(a) self, Device device, ScalarType dtype, {_FORMAT}",
      f"to.prim_Device(Tensor(a) self, Device? device, int? dtype=None, {_REST}) -> Tensor(b|a)")
def to_device(x, device, dtype=None, non_blocking=False, copy=False, memory_format=None):
    return _converted(x, _dtype(dtype), copy)


@aten("to.dtype_layout(Tensor(a) self, *, ScalarType? dtype=None, Layout? layout=None, "
      f"Device? device=None, bool? pin_memory=None, {_FORMAT}")
def to_dtype_layout(x, *, dtype=None, copy=False, **place):
    return _converted(x, dtype, copy)


@aten(f"to.other(Tensor(a) self, Tensor other, {_FORMAT}")
def to_other(x, other, non_blocking=False, copy=False, memory_format=None):
    return _converted(x, other.dtype, copy)


@aten(f"to.prim_other(Tensor(a) self, {_REST}) -> Tensor(b|a)")
def to_nothing(x, non_blocking=False, copy=False):
    return _converted(x, None, copy)


def _dtype(dtype) -> DType | None:
    """int? arguments are dtype codes."""
    return dtype_of_code(dtype) if isinstance(dtype, int) else dtype


@aten("type_as(Tensor self, Tensor other) -> Tensor")
def type_as(x, other):
    return _converted(x, other.dtype, False)


@aten("_to_copy(Tensor self, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None, "
      "bool? pin_memory=None, bool non_blocking=False, MemoryFormat? memory_format=None) -> Tensor")
def to_copy(x, *, dtype=None, **place):
    return _converted(x, dtype, True)


@aten("clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
      "conj_physical(Tensor self) -> Tensor")
def clone(x, *, memory_format=None):
    return _copy(x)


@aten("copy(Tensor self, Tensor src, bool non_blocking=False) -> Tensor")
def copy(x, src, non_blocking=False):
    """src broadcast to x's shape, in x's dtype: what copy_ gives x."""
    return cast_value(views.expand(src.shape, x.shape).get(src), x.dtype)


@aten("as_tensor(Tensor(a) data, *, ScalarType? dtype=None, Device? device=None) -> Tensor(b|a)")
def as_tensor(x, *, dtype=None, **place):
    return _converted(x, dtype, False)


_CASTS = {"Byte": u8, "Char": i8, "Short": i16, "Int": i32, "Long": i64, "Half": f16, "Float": f32,
          "Double": f64}


def _casting(dtype: DType):
    return lambda x, non_blocking=False: cast_value(x, dtype)


for _name, _to in _CASTS.items():
    aten(f"_cast_{_name}(Tensor self, bool non_blocking=False) -> Tensor")(_casting(_to))


@aten("_shape_as_tensor(Tensor self) -> Tensor")
def shape_as_tensor(x):
    return constant(list(x.shape), i64)
