"""Operators on tensors that are no TensorOps: aliases, copies, conversions."""

from __future__ import annotations

import numpy as np

from aot import autograd_graph
from aot.dispatch import (
    SPECIAL, _gathering, _resolve, call, compute_array, new_tensor, plan_of, run_plan,
)  # fmt: skip
from aot.grad_mode import no_grad
from aot.tensor_core import Tensor
from lowering.objects import DeviceValue, contiguous_strides
from lowering.views import View
from runtime import dtypes


def _detach(t: Tensor) -> Tensor:
    return Tensor._of_data(t._data)


def _contiguous(t: Tensor, memory_format: int = 0) -> Tensor:
    return t if t._data.is_contiguous else _copy(t, "aten::clone", False)


def _clone(t: Tensor, memory_format: int | None = None) -> Tensor:
    return _copy(t, "aten::clone", memory_format in (None, 1))


def _copy(t: Tensor, name: str, keep_strides: bool) -> Tensor:
    """The same elements in memory of its own, with the same order of dims if it is dense."""
    data = t._data
    out = Tensor._of_array(np.array(data.numpy(), order="C"), t.row)
    if keep_strides and not data.is_contiguous:
        order = sorted(range(t.ndim), key=lambda k: -data.strides[k])
        dense = contiguous_strides(tuple(data.sizes[k] for k in order))
        if dense == tuple(data.strides[k] for k in order):
            out._data.storage.array = np.ascontiguousarray(
                out._data.numpy().transpose(order)).reshape(-1)
            out._data.strides = data.strides
    return autograd_graph.attach(out, "CloneBackward0", [t], lambda grads: grads)


def _to(t: Tensor, *args: object, **kwargs: object) -> Tensor:
    """x.to(...): dtype, device and another tensor in any of their orders."""
    row, copy = t.row, bool(kwargs.get("copy", False))
    flags = []
    for x in (*args, kwargs.get("dtype"), kwargs.get("other"), kwargs.get("device")):
        if isinstance(x, Tensor):
            row = x.row
        elif isinstance(x, bool):
            flags.append(x)
        elif isinstance(x, int):
            row = dtypes.dtype_of_code(x)
        elif isinstance(x, (str, DeviceValue)) and str(x).partition(":")[0] not in ("cpu", "meta"):
            raise RuntimeError(f"tensors are on the CPU only, found device {x!s}")
    copy = copy or (len(flags) > 1 and flags[1])
    if row is t.row:
        return _copy(t, "aten::clone", True) if copy else t
    return convert(t, row)


def convert(t: Tensor, row: dtypes.DType) -> Tensor:
    """t in another dtype, itself if it has it."""
    if row is t.row:
        return t
    args, kwargs, resolved = _resolve("aten::_to_copy", (t,), {"dtype": row.torch_code})
    plan, tensors = plan_of(resolved, args, kwargs)
    out = run_plan(plan, tensors)
    assert isinstance(out, Tensor)
    return out


def _cast(row: dtypes.DType):
    return lambda t, *_, **__: convert(t, row)


def _as_strided(t: Tensor, size: list[int], stride: list[int],
                storage_offset: int | None = None) -> Tensor:
    offset = t._data.offset if storage_offset is None else storage_offset
    last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else offset - 1
    if last >= len(t._data.storage):
        raise RuntimeError(f"setStorage: sizes {size}, strides {stride}, storage offset {offset} "
                           "are out of bounds for storage")
    out = t._window(offset, tuple(size), tuple(stride))
    out._base = t if t._base is None else t._base
    out._generation = out._base._generation
    if autograd_graph.edge_of(t) is not None:
        autograd_graph.renew_view(out)
    return out


def _alias(t: Tensor) -> Tensor:
    shape = t._data.sizes
    out = t._window(t._data.offset, shape, t._data.strides)
    view = View(shape, shape, tuple(_index(k) for k in range(len(shape))))
    autograd_graph.record_view("aten::alias", "", t, out,
                               lambda: _gathering("aten::alias", "", t.row, view))
    return out


def _index(k: int):
    from lowering import expr as E

    return E.index(k)


def _equal(a: Tensor, b: Tensor) -> bool:
    if a._data.sizes != b._data.sizes:
        return False
    return bool(np.array_equal(compute_array(a), compute_array(b)))


def _allclose(a: Tensor, b: Tensor, rtol: float = 1e-05, atol: float = 1e-08,
              equal_nan: bool = False) -> bool:
    close = call("aten::isclose", (a, b), {"rtol": rtol, "atol": atol, "equal_nan": equal_nan})
    return bool(close._values().all())  # type: ignore[attr-defined]


def _resize(t: Tensor, *sizes: object, **_: object) -> Tensor:
    size = sizes[0] if isinstance(sizes[0], list) else list(sizes)
    t._data.storage.version += 1
    count = int(np.prod(size)) if size else 1
    storage = t._data.storage
    if t._data.offset + count > len(storage):
        grown = np.zeros(t._data.offset + count, storage.array.dtype)
        grown[:len(storage)] = storage.array
        storage.array = grown
    t._data.sizes, t._data.strides = tuple(size), contiguous_strides(tuple(size))
    return t


def _itself(t: Tensor, *_: object) -> Tensor:
    return t


def _narrow(x: Tensor, dim: int, start: object, length: int) -> object:
    """A start given as a tensor is a number, so that the result is a view."""
    if not isinstance(start, Tensor):
        return NotImplemented
    return call("aten::narrow", (x, dim, int(start), length))


def _embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1,
               scale_grad_by_freq: bool = False, sparse: bool = False) -> object:
    """The gradient of the padding row is zero; rows may share theirs by how often they occur."""
    if (padding_idx < 0 and not scale_grad_by_freq) or not weight.requires_grad:
        return NotImplemented
    with no_grad():
        out = call("aten::embedding", (weight.detach(), indices))
    assert isinstance(out, Tensor)
    rows = indices._values().reshape(-1)
    counts = np.bincount(rows, minlength=weight._data.sizes[0])

    def back(grads: list) -> list:
        flat = grads[0]._values().reshape(len(rows), -1)
        total = np.zeros(weight._data.sizes, flat.dtype)
        keep = rows != padding_idx
        shares = flat / counts[rows][:, None] if scale_grad_by_freq else flat
        np.add.at(total, rows[keep], shares[keep])
        return [new_tensor(total, weight.row)]

    return autograd_graph.attach(out, "EmbeddingBackward0", [weight], back)


def _broadcast_tensors(tensors: list[Tensor]) -> list:
    shape = list(np.broadcast_shapes(*(t._data.sizes for t in tensors)))
    return [t if list(t._data.sizes) == shape else call("aten::expand", (t, shape))
            for t in tensors]


_ROWS = {"float": dtypes.f32, "double": dtypes.f64, "half": dtypes.f16, "bfloat16": dtypes.bf16,
         "long": dtypes.i64, "int": dtypes.i32, "short": dtypes.i16, "char": dtypes.i8,
         "byte": dtypes.u8, "bool": dtypes.bool_}
SPECIAL.update({
    "aten::detach": _detach, "aten::contiguous": _contiguous, "aten::clone": _clone,
    "aten::to": _to, "aten::as_strided": _as_strided, "aten::alias": _alias,
    "aten::cpu": _itself, "aten::equal": _equal, "aten::allclose": _allclose,
    "aten::type_as": lambda t, other: convert(t, other.row), "aten::resize_": _resize,
    "aten::narrow": _narrow, "aten::broadcast_tensors": _broadcast_tensors,
    "aten::embedding": _embedding,
    "aten::is_nonzero": lambda t: bool(t), "aten::is_same_size": lambda a, b: a.shape == b.shape,
    "aten::resolve_conj": _itself, "aten::resolve_neg": _itself,
    "aten::lift_fresh": _itself, "aten::pin_memory": _itself,
    "aten::requires_grad_": lambda t, requires_grad=True: t.requires_grad_(requires_grad),
    **{f"aten::{name}": _cast(row) for name, row in _ROWS.items()},
})
