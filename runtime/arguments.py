"""Python values as what one input of a model takes: a contiguous numpy array, an int, a float.

`fitter` gives a function value -> value for an input; it is quick for what fits already, and says
name, expected, found and what to do for what cannot be made to fit.
"""

from __future__ import annotations

import operator
from typing import Any, Callable

import numpy as np

from runtime import dtypes
from runtime.description import MethodDescription, ValueInfo
from runtime.dtypes import DType
from runtime.errors import InputError

Fitter = Callable[[Any], Any]


def fitter(method: MethodDescription, info: ValueInfo, leaf: str = "T") -> Fitter:
    """value -> what the input takes (a C-contiguous, aligned array of the dtype and shape, or an
    int, float, bool). `leaf` is its letter in the structure. The function raises InputError."""
    where = f"{method.name}: argument '{info.name}'"
    if leaf in ("L", "R"):
        return lambda value: _list(value, info, method, where)
    if info.kind != "tensor":
        convert = {"int": _int, "float": _float, "bool": _bool, "str": _string}[info.kind]
        if info.value is None:
            return lambda value: convert(value, where)
        return lambda value: _asked(convert(value, where), info.value, where)
    expected = info.text(method.dim_names)
    dtype, shape, ndarray = info.dtype.storage, info.shape, np.ndarray

    def fit(value: Any) -> np.ndarray:
        if type(value) is ndarray and value.dtype == dtype and value.shape == shape:
            flags = value.flags
            if flags.c_contiguous and flags.aligned:
                return value
        return _tensor(value, info, expected, where)

    return fit


def _int(value: Any, where: str) -> int:
    try:
        result = operator.index(value)
    except TypeError:
        raise InputError(f"{where}: expected an int, found {_found(value)}") from None
    if not -(2**63) <= result < 2**63:
        raise InputError(f"{where}: {result} does not fit into 64 bits")
    return result


def _float(value: Any, where: str) -> float:
    if isinstance(value, (int, float, np.floating, np.integer)):
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{where}: {value} does not fit into a float") from None
    raise InputError(f"{where}: expected a float, found {_found(value)}")


def _bool(value: Any, where: str) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise InputError(f"{where}: expected a bool, found {_found(value)}")


def _list(value: Any, info: ValueInfo, method: MethodDescription, where: str) -> np.ndarray:
    """A list of numbers or of arrays of one shape as an array."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: expected a list, found {_found(value)}")
    item = ValueInfo(info.name, info.dtype, info.shape[1:])
    if len(info.shape) == 1:
        convert = {"i": _int, "f": _float, "b": _bool}[info.dtype.kind]
        return np.array([convert(v, where) for v in value], info.dtype.storage)
    rows = [_tensor(v, item, item.text(method.dim_names), where) for v in value]
    return np.stack(rows) if rows else np.empty((0, *info.shape[1:]), info.dtype.storage)


def _string(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a str, found {_found(value)}")
    if "\0" in value:
        raise InputError(f"{where}: a string with a zero character in it cannot be passed")
    return value.encode("utf-8", "surrogatepass")


def _asked(value: Any, asked: Any, where: str) -> Any:
    if value != asked:
        raise InputError(f"{where}: expected {asked}, found {value}")
    return value


def _tensor(value: Any, info: ValueInfo, expected: str, where: str) -> np.ndarray:
    """The slow way: converts what can be converted without changing a value."""
    array = _as_array(value, info, expected, where)
    if info.dtype is dtypes.bf16 and array.dtype.name == "bfloat16":  # ml_dtypes' type
        array = array.view(np.uint16)
    if array.dtype != info.dtype.storage:
        if array.dtype.newbyteorder("=") != info.dtype.storage:
            raise InputError(f"{where}: expected {expected}, found {_array_text(array)}: "
                             f"{_conversion(info.dtype)}")
        array = array.astype(info.dtype.storage)
    sizes_fit = array.ndim == len(info.shape) and all(
        found == size or size < 0 for found, size in zip(array.shape, info.shape)
    )
    if not sizes_fit:
        raise InputError(f"{where}: expected {expected}, found {_array_text(array)}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, order="C", copy=True, subok=False)
    return array


def _as_array(value: Any, info: ValueInfo, expected: str, where: str) -> np.ndarray:
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if isinstance(value, (bool, int, float)) and not info.shape and info.dtype is not dtypes.bf16:
        try:
            return np.asarray(value, info.dtype.storage)
        except OverflowError:
            raise InputError(f"{where}: {value} does not fit into {info.dtype}") from None
    reasons = []
    for present, convert in (
        (hasattr(value, "__dlpack__"), getattr(np, "from_dlpack", None)),
        (hasattr(value, "__array__") or hasattr(value, "__array_interface__"), np.asarray),
        (isinstance(value, (memoryview, bytes, bytearray)), np.asarray),
    ):
        if not present or convert is None:
            continue
        try:
            return convert(value)
        except Exception as error:  # whatever a foreign object raises: its words help the user
            reasons.append((str(error).strip() or repr(error)).splitlines()[0])
    found = _found(value)
    if "bfloat16" in str(getattr(value, "dtype", "")):
        found += " of bfloat16; pass its bits as uint16, x.view(torch.uint16)"
    elif reasons:
        found += f", which gives no array: {reasons[0]}"
    elif isinstance(value, (list, tuple, int, float)):
        found += f": make it an array, np.asarray(x, np.{info.dtype.storage})"
    raise InputError(f"{where}: expected {expected}, found {found}")


def _conversion(dtype: DType) -> str:
    if dtype is dtypes.bf16:
        return "bfloat16 is passed as its bits, in an array of uint16"
    return f"convert it, x.astype(np.{dtype.storage})"


def _array_text(array: np.ndarray) -> str:
    """'f32[2,3]', with numpy's name for a type that models have not."""
    try:
        name = dtypes.dtype_of_numpy(array.dtype).name
    except KeyError:
        name = str(array.dtype)
    if array.dtype == np.uint16:  # dtypes has it as bf16's bits
        name = "uint16"
    return f"{name}[{','.join(map(str, array.shape))}]"


def _found(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {_array_text(value)}"
    return type(value).__name__
