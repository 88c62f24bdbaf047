"""x[index] and x[index] = value: slices and numbers are views, tensors pick elements."""

from __future__ import annotations

import numpy as np

from aot import dispatch, trace_state
from aot.dispatch import call
from aot.tensor_core import Tensor
from aot.tensor_creation import of_data
from runtime import dtypes

_END = 9223372036854775807


def get(x: Tensor, index: object) -> Tensor:
    """x[index]. IndexError as PyTorch words it."""
    view, tensors = _basic(x, index)
    if tensors is not None:
        return call("aten::index", (view, tensors))  # type: ignore[return-value]
    return view if view is not x else call("aten::alias", (x,))  # type: ignore[return-value]


def put(x: Tensor, index: object, value: object) -> None:
    """x[index] = value, broadcast and cast to x's dtype."""
    view, tensors = _basic(x, index)
    if not isinstance(value, Tensor):
        value = of_data(value, x.row)
    if tensors is not None:
        if value.row is not x.row:
            value = call("aten::to", (value, x.dtype))
        call("aten::index_put_", (view, tensors, value))
        return
    while isinstance(value, Tensor) and value.ndim > view.ndim and value._data.sizes[0] == 1:
        value = call("aten::squeeze", (value, 0))
    call("aten::copy_", (view, value))


def _basic(x: Tensor, index: object) -> tuple[Tensor, list[Tensor | None] | None]:
    """The view that numbers, slices, None and ... select, and the index tensors left, if any."""
    items = list(index) if isinstance(index, tuple) else [index]
    if isinstance(index, list) and _holds_slices(index):
        items = list(index)
    items = [_item(i) for i in items]
    used = sum(_dims(i) for i in items)
    if used > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}")
    out, dim = x, 0
    tensors: list[Tensor | None] = []
    for i in items:
        if i is Ellipsis:
            dim += x.ndim - used
        elif i is None:
            out = call("aten::unsqueeze", (out, dim))  # type: ignore[assignment]
            dim += 1
        elif isinstance(i, bool):
            out = call("aten::unsqueeze", (out, dim))  # type: ignore[assignment]
            _place(tensors, dim, of_data([0] if i else [], dtypes.i64))
            dim += 1
        elif isinstance(i, int):
            out = _select(out, dim, i)
        elif isinstance(i, slice):
            out = _slice(out, dim, i)
            dim += 1
        else:
            _place(tensors, dim, i)
            dim += _dims(i)
    return out, tensors or None


def _place(tensors: list, dim: int, index: Tensor) -> None:
    tensors.extend([None] * (dim - len(tensors)))
    tensors.append(index)
    if index.row is dtypes.bool_:  # a mask stands for as many dims as it has
        tensors.extend([])


def _holds_slices(index: list) -> bool:
    return any(i is None or i is Ellipsis or isinstance(i, slice) for i in index)


def _item(i: object) -> object:
    """One index as int, bool, slice, None, ... or a tensor."""
    if i is None or i is Ellipsis or isinstance(i, (bool, slice)):
        return i
    if isinstance(i, Tensor):
        if i.ndim == 0 and i.row.is_integer and not trace_state.is_recording():
            return int(i)
        if i.row.is_float:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return i
    if isinstance(i, (list, tuple)):
        return of_data(i, None if i else dtypes.i64)
    if isinstance(i, np.ndarray):
        return of_data(i, None)
    if hasattr(i, "__index__"):
        return i.__index__()
    raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte "
                    f"Variables are valid indices (got {type(i).__name__})")


def _dims(i: object) -> int:
    if i is None or i is Ellipsis or isinstance(i, bool):
        return 0
    if isinstance(i, Tensor) and i.row in (dtypes.bool_, dtypes.u8):
        return i.ndim
    return 1


def _select(x: Tensor, dim: int, i: int) -> Tensor:
    n = x._data.sizes[dim]
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {dim} with size {n}")
    return call("aten::select", (x, dim, i))  # type: ignore[return-value]


def _slice(x: Tensor, dim: int, s: slice) -> Tensor:
    start = 0 if s.start is None else int(s.start)
    stop = _END if s.stop is None else int(s.stop)
    step = 1 if s.step is None else int(s.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    if (start, stop, step) == (0, _END, 1) and not trace_state.is_recording():
        return x
    return call("aten::slice", (x, dim, start, stop, step))  # type: ignore[return-value]
