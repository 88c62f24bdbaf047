"""Tensors from Python values, and the functions that make tensors of a size.

`dtype`, `device` and `requires_grad` are keywords of all of them; the values come from the operator
table, with the default dtype that the program has set.
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from aot import dtypes as names
from aot import complex_tensor, dispatch, trace_state
from aot.dispatch import Event, call
from aot.tensor_core import Tensor
from lowering.objects import StorageData, TensorData
from runtime import dtypes
from runtime.dtypes import DType


def of_data(data: object, row: DType | None = None) -> Tensor:
    """A new tensor of a number, nested sequences of numbers, an array or a tensor."""
    if isinstance(data, Tensor):
        array, found = np.array(data._values()), data.row
    elif isinstance(data, (np.ndarray, np.generic)):
        array = np.array(data)
        found = _row_of_numpy(array.dtype)
    else:
        array, found = _of_sequence(data)
    row = row or found
    with np.errstate(all="ignore"):
        return Tensor._of_array(np.array(dtypes.to_storage(array, row), order="C"), row)


def _row_of_numpy(dtype: np.dtype) -> DType:
    if dtype == np.uint16:
        raise TypeError("tensors of uint16 are not supported")
    try:
        return dtypes.dtype_of_numpy(dtype)
    except KeyError:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{dtype}. The only supported types are: "
            "float64, float32, float16, int64, int32, int16, int8, uint8, and bool.") from None


def _of_sequence(data: object) -> tuple[np.ndarray, DType]:
    shape: list[int] = []
    flat: list = [data]
    while flat and isinstance(flat[0], (list, tuple, range)) or (
        flat and isinstance(flat[0], (Tensor, np.ndarray)) and flat[0].ndim
    ):
        sizes = {len(v) if hasattr(v, "__len__") else -1 for v in flat}
        if len(sizes) > 1:
            other = next(len(v) if hasattr(v, "__len__") else 0 for v in flat
                         if not hasattr(v, "__len__") or len(v) != len(flat[0]))
            raise ValueError(f"expected sequence of length {len(flat[0])} at dim {len(shape)} "
                             f"(got {other})")
        shape.append(sizes.pop())
        flat = [v for row in flat for v in row]
    flat = [v.item() if isinstance(v, (Tensor, np.generic, np.ndarray)) else v for v in flat]
    kinds = {type(v) for v in flat}
    strange = kinds - {bool, int, float}
    if strange:
        found = next(v for v in flat if type(v) in strange)
        if isinstance(found, str):
            raise TypeError("new(): invalid data type 'str'")
        if isinstance(found, (complex,)):
            raise TypeError("tensors of complex numbers are not supported")
        if not hasattr(found, "__float__"):
            raise RuntimeError(f"Could not infer dtype of {type(found).__name__}")
        flat = [float(v) if type(v) in strange else v for v in flat]
        kinds = {type(v) for v in flat}
    if float in kinds or not kinds:
        row, working = names._default.row, np.float64
    elif int in kinds:
        row, working = dtypes.i64, np.int64
    else:
        row, working = dtypes.bool_, np.bool_
    return np.array(flat, working).reshape(shape), row


def _announce(name: str, args: tuple, kwargs: dict, result: Tensor) -> Tensor:
    """Shows a recorder a call that no operator of the table stands for."""
    if trace_state.is_recording():
        trace_state.tell(Event(name, None, args, kwargs, result))
    return result


def _is_complex(data: object) -> bool:
    if isinstance(data, (list, tuple)):
        return any(map(_is_complex, data))
    return isinstance(data, complex)


def tensor(data: object, *, dtype: names.dtype | None = None, device: object = None,
           requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A tensor of the data, copied; a leaf."""
    _on_cpu(device)
    if dtype is not None and dtype.is_complex or _is_complex(data):
        made = complex_tensor.of_numbers(data, dtype)
        return made.requires_grad_() if requires_grad else made
    out = of_data(data, None if dtype is None else names.as_row(dtype))
    _announce("aten::tensor", (data,), {"dtype": dtype}, out)
    return out.requires_grad_() if requires_grad else out


def as_tensor(data: object, dtype: names.dtype | None = None, device: object = None) -> Tensor:
    """A tensor of the data, sharing it where that is possible."""
    _on_cpu(device)
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and (
            dtype is None or names.as_row(dtype).storage == data.dtype):
        return from_numpy(data)
    return tensor(data, dtype=dtype)


asarray = as_tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    row = _row_of_numpy(array.dtype)
    if array.flags.c_contiguous:
        return Tensor._of_array(array, row)
    size = array.itemsize
    if any(s < 0 for s in array.strides):
        raise ValueError("At least one stride in the given numpy array is negative, and tensors "
                         "with negative strides are not currently supported. (You can probably "
                         "work around this by making a copy of your array  with array.copy().) ")
    strides = tuple(s // size for s in array.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides)) if array.size else 0
    flat = np.lib.stride_tricks.as_strided(array, (span,), (size,))
    return Tensor._of_data(TensorData(StorageData(row, flat), 0, array.shape, strides))


def from_dlpack(source: object) -> Tensor:
    """A tensor that shares the memory of anything with __dlpack__."""
    return from_numpy(np.from_dlpack(source))  # type: ignore[arg-type]


def legacy(data: object = None, *more: object) -> Tensor:
    """Tensor(2, 3): uninitialised memory of a size; Tensor([1, 2]): of data; both float32."""
    if data is None:
        return of_data([], names._default.row)
    if isinstance(data, int) and not isinstance(data, bool):
        return empty(data, *more)
    if isinstance(data, names.Size):
        return empty(data)
    return data if isinstance(data, Tensor) else of_data(data, names._default.row)


def _on_cpu(device: object) -> None:
    if device is not None and str(device).partition(":")[0] not in ("cpu", "meta"):
        raise RuntimeError(f"tensors are on the CPU only, found device {device}")


def _sizes(size: tuple) -> list[int]:
    return [int(n) for n in _listed(size)]


def _listed(size: tuple) -> tuple:
    """The sizes, which may stand in a list; a trace's are tensors that know where they are from."""
    if len(size) == 1 and not isinstance(size[0], (int, Tensor)):
        return tuple(size[0])
    return size


def _finish(out: object, requires_grad: bool) -> Tensor:
    assert isinstance(out, Tensor)
    return out.requires_grad_() if requires_grad else out


def _with_dtype(kwargs: dict) -> dict:
    """The keywords for the operator: the default dtype is named if it is not the table's own."""
    for ignored in ("pin_memory", "layout", "names"):
        kwargs.pop(ignored, None)
    _on_cpu(kwargs.get("device"))
    if kwargs.get("dtype") is None and names._default.row is not dtypes.f32:
        kwargs["dtype"] = names.get_default_dtype()
    return kwargs


def _of_size(name: str) -> Callable[..., Tensor]:
    def make(*size: object, requires_grad: bool = False, out: Tensor | None = None,
             **kwargs: object) -> Tensor:
        if "size" in kwargs:
            size = (kwargs.pop("size"),)
        kwargs = _with_dtype(kwargs)
        if out is not None:
            kwargs["out"] = out
        return _finish(call(f"aten::{name}", (list(_listed(size)),), kwargs), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"aten::{name} of a size given as numbers or as one sequence."
    return make


zeros, ones, empty = _of_size("zeros"), _of_size("ones"), _of_size("empty")


def full(size: Sequence[int], fill_value: object, *, requires_grad: bool = False,
         **kwargs: object) -> Tensor:
    """A tensor of one value, of the value's dtype unless another is given."""
    kwargs = _with_dtype(kwargs) if isinstance(fill_value, float) else kwargs
    size = [size] if isinstance(size, int) else list(size)
    return _finish(call("aten::full", (size, fill_value), kwargs), requires_grad)


def _passing(name: str, floats_only: bool) -> Callable[..., Tensor]:
    def make(*args: object, requires_grad: bool = False, **kwargs: object) -> Tensor:
        for ignored in ("pin_memory", "layout"):
            kwargs.pop(ignored, None)
        _on_cpu(kwargs.get("device"))
        if not floats_only or any(isinstance(a, float) for a in (*args, *kwargs.values())):
            if kwargs.get("dtype") is None and names._default.row is not dtypes.f32:
                kwargs["dtype"] = names.get_default_dtype()
        return _finish(call(f"aten::{name}", args, kwargs), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"aten::{name}."
    return make


def _like(name: str) -> Callable[..., Tensor]:
    def make(*args: object, requires_grad: bool = False, **kwargs: object) -> Tensor:
        kwargs.pop("pin_memory", None)
        return _finish(call(f"aten::{name}", args, kwargs), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"aten::{name}."
    return make


arange, linspace = _passing("arange", True), _passing("linspace", False)
logspace, eye = _passing("logspace", False), _passing("eye", False)
zeros_like, ones_like = _like("zeros_like"), _like("ones_like")
empty_like, full_like = _like("empty_like"), _like("full_like")
