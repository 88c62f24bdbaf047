"""PyTorch in the same process: its tensors and modules as ours, where the user has imported it.

Nothing here imports PyTorch. Tensors change hands through DLPack, without a copy.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from aot.dtypes import device, dtype, layout, memory_format
from aot.nn.modules.module import Module
from aot.tensor_core import Tensor
from lowering.objects import (
    DeviceValue, NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList,
)  # fmt: skip
from runtime import dtypes


def imported_torch() -> Any:
    """The torch module if the user has imported it, None otherwise."""
    return sys.modules.get("torch")


def is_torch_tensor(x: object) -> bool:
    torch = imported_torch()
    return torch is not None and isinstance(x, torch.Tensor)


def is_torch_module(x: object) -> bool:
    torch = imported_torch()
    return torch is not None and hasattr(torch, "nn") and isinstance(x, torch.nn.Module)


def is_torch_script(x: object) -> bool:
    """Whether x is a module or function that torch scripted, traced or loaded."""
    torch = imported_torch()
    return torch is not None and hasattr(torch, "jit") and isinstance(
        x, (torch.jit.ScriptModule, torch.jit.ScriptFunction))


def from_torch(x: Any) -> Tensor:
    """A torch tensor as ours, on the same memory; the CPU's only."""
    wanted = x.requires_grad
    data = x.detach()
    if str(data.dtype) == "torch.bfloat16":  # numpy has no such type
        torch = imported_torch()
        bits = np.from_dlpack(data.view(torch.int16)).view(np.uint16)
        out = _strided(bits, dtypes.bf16)
    elif str(data.dtype) == "torch.bool":
        torch = imported_torch()
        out = _strided(np.from_dlpack(data.view(torch.uint8)).view(np.bool_), dtypes.bool_)
    else:
        array = np.from_dlpack(data)
        out = _strided(array, dtypes.dtype_of_numpy(array.dtype))
    out._wants_grad = wanted
    return out


def _strided(array: np.ndarray, row: dtypes.DType) -> Tensor:
    """A tensor on an array's memory, whatever its strides."""
    from lowering.objects import StorageData

    step = array.itemsize
    if array.size == 0 or any(s < 0 or s % step for s in array.strides):
        return Tensor._of_data(TensorData.from_numpy(np.ascontiguousarray(array), row))
    strides = tuple(s // step for s in array.strides)
    extent = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides))
    flat = np.lib.stride_tricks.as_strided(array, (extent,), (step,))
    return Tensor._of_data(TensorData(StorageData(row, flat), 0, array.shape, strides))


def to_torch(x: Tensor) -> Any:
    """Our tensor as torch's, on the same memory."""
    torch = imported_torch()
    array = x._data.numpy()
    if not array.flags.writeable:
        array = array.copy()
    if x.row is dtypes.bf16:
        return torch.from_dlpack(array.view(np.int16)).view(torch.bfloat16)
    if x.row is dtypes.bool_:
        return torch.from_dlpack(array.view(np.uint8)).view(torch.bool)
    return torch.from_dlpack(array)


# Arguments and results of calls


def style_of(values: Any) -> str:
    """'torch' or 'numpy' where the values hold such tensors, 'tensor' otherwise."""
    if isinstance(values, (np.ndarray, np.generic)):
        return "numpy"
    if isinstance(values, TensorData):
        return "numpy"
    if is_torch_tensor(values):
        return "torch"
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        styles = [style_of(v) for v in values]
        return next((s for s in styles if s != "tensor"), "tensor")
    return "tensor"


def complex_of(x: np.ndarray) -> Any:
    """An array of complex numbers as our tensor, whose module few programs need."""
    return importlib.import_module("aot.complex_tensor").ComplexTensor.from_numpy(x)


def take(x: Any) -> Any:
    """An argument as programs have it: tensors are ours, dtypes and layouts are numbers."""
    if isinstance(x, Tensor) or x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if isinstance(x, np.ndarray):
        if x.dtype.kind == "c":
            return complex_of(x)
        return Tensor._of_data(TensorData.from_numpy(x))
    if isinstance(x, TensorData):
        return Tensor._of_data(x)
    if is_torch_tensor(x):
        return from_torch(x)
    if isinstance(x, (TypedList, TypedDict)) and style_of(x) == "tensor":
        return x  # the program's own: it is handed on, where Python's are copied
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue(map(take, x), x.type)
    if isinstance(x, tuple):
        return tuple(map(take, x))
    if isinstance(x, list):
        return [take(v) for v in x]
    if isinstance(x, dict):
        return {k: take(v) for k, v in x.items()}
    if isinstance(x, (dtype, layout, memory_format)):
        return x.code
    if isinstance(x, device):
        return DeviceValue(x.type, x.index)
    if isinstance(x, Module) and "object" in x.__dict__:
        return x.__dict__["object"]
    return x


def give_back(x: Any, style: str, module_of: Callable[[ScriptObject], Any]) -> Any:
    """A result in the caller's style; `module_of` is what a module object is shown as."""
    if isinstance(x, Tensor):
        if style == "torch":
            return to_torch(x)
        return x._data.numpy() if style == "numpy" else x
    if style != "tensor" and type(x).__name__ == "ComplexTensor":
        if style == "torch":
            return sys.modules["torch"].view_as_complex(to_torch(x._pairs))
        return x.numpy()
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([give_back(v, style, module_of) for v in x], x.type)
    if isinstance(x, tuple):
        return tuple(give_back(v, style, module_of) for v in x)
    if isinstance(x, list):
        for i, value in enumerate(x):
            x[i] = give_back(value, style, module_of)
        return x
    if isinstance(x, dict):
        for key, value in x.items():
            x[key] = give_back(value, style, module_of)
        return x
    if isinstance(x, ScriptObject) and x.type.is_module:
        return module_of(x)
    return x


# Modules


def archive_of(x: Any, example_inputs: Sequence[Any] | None = None) -> bytes:
    """The archive of a torch module or function: what it is already, else traced with the example
    inputs if there are any, scripted otherwise."""
    torch = imported_torch()
    if not is_torch_script(x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if example_inputs is None:
                x = torch.jit.script(x)
            else:
                x = torch.jit.trace(x, tuple(map(as_torch, example_inputs)))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(x, buffer)
    return buffer.getvalue()


def as_torch(x: Any) -> Any:
    """Our tensors and numpy arrays in a nest as torch's."""
    torch = imported_torch()
    if isinstance(x, Tensor):
        return to_torch(x)
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x)
    if isinstance(x, (list, tuple)):
        return type(x)(map(as_torch, x))
    if isinstance(x, dict):
        return {k: as_torch(v) for k, v in x.items()}
    return x


# Compiled functions


def call_on_tensors(function: Callable, args: Sequence[Any]) -> Any:
    """The result of a function on numpy arrays, with tensors in the caller's style."""
    style = style_of(args)
    result = function(*arrays(tuple(args)))
    return result if style == "numpy" else give_back(take(result), style, lambda x: x)


def arrays(x: Any) -> Any:
    """Tensors in a nest, ours and PyTorch's, as numpy arrays on the same memory."""
    if is_torch_tensor(x):
        x = from_torch(x)
    if isinstance(x, Tensor):
        return x._data.numpy()
    if type(x) in (list, tuple):
        return type(x)(map(arrays, x))
    if isinstance(x, (list, tuple)):
        return tuple(map(arrays, x))
    if isinstance(x, dict):
        return {k: arrays(v) for k, v in x.items()}
    return x
