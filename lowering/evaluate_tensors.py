"""Operators on tensors that are no TensorOps: queries, numbers in tensors, aliases and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering.abstract import AbstractTensor, describe, known_array, number_type
from lowering.evaluate_operators import apply, copy_into
from lowering.evaluate_packed import TABLE as PACKED
from lowering.evaluate_running import TABLE as RUNNING
from lowering.index_algebra import IndexAlgebra, contiguous_strides, linearize
from lowering.known import Unsupported
from lowering.objects import DeviceValue
from lowering.sizes import Number, at_least, is_dynamic
from lowering.tensor_ir import Generic, Value
from runtime.dtypes import DType, bool_, dtype_of_code, f32, f64, i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

CPU = DeviceValue("cpu")


def known_value(array: np.ndarray, dtype: DType) -> int | float | bool:
    """The Python number of an array of one element."""
    x = array.reshape(-1)[0]
    return bool(x) if dtype is bool_ else float(x) if dtype.is_float else int(x)


def item(ev: Evaluator, t: AbstractTensor) -> object:
    """The number in a tensor of one element; of run time unless the tensor is a constant."""
    if t.numel != 1:
        raise RuntimeError(f"a Tensor with {t.numel} elements cannot be converted to Scalar")
    value = ev.memory.read(t)
    array = known_array(value)
    if array is not None:
        return known_value(array, value.dtype)
    target = bool_ if t.dtype is bool_ else f64 if t.dtype.is_float else i64
    zeros = [0] * value.ndim

    def scalar() -> Value:
        return B.cast(B.reindex(value, (), lambda: zeros), target)

    result = ev.memory.build(scalar)
    result.wrapped = True
    return result


def tolist(ev: Evaluator, t: AbstractTensor) -> object:
    """Nested lists of the tensor's numbers."""
    if t.ndim == 0:
        return item(ev, t)
    value = ev.memory.read(t)
    array = known_array(value)
    if array is not None:
        return array.tolist()
    if t.numel > 256:
        raise ValueError(f"tolist of {t.numel} numbers that are known only at run time")

    def part(prefix: tuple[int, ...]) -> object:
        if len(prefix) < t.ndim:
            return [part((*prefix, i)) for i in range(t.shape[len(prefix)])]
        element = ev.memory.build(lambda: B.reindex(value, (), lambda: list(prefix)))
        return item(ev, ev.memory.tensor(element))

    return part(())


def from_data(ev: Evaluator, data: object, dtype: int | None = None, **_: object) -> AbstractTensor:
    """torch.tensor: of a number or nested lists of numbers, known or of run time."""
    if isinstance(data, AbstractTensor):
        return convert(ev, data, None if dtype is None else dtype_of_code(dtype), True)
    shape: list[int] = []
    flat: list = [data]
    while isinstance(flat[0] if flat else None, (list, tuple)):
        sizes = {len(v) for v in flat}
        if len(sizes) > 1:
            raise ValueError("expected sequences of one length")
        shape.append(sizes.pop())
        flat = [v for row in flat for v in row]
    kinds = {_type_of_element(v) for v in flat}
    inferred = f32 if float in kinds or not kinds else i64 if int in kinds else bool_
    target = inferred if dtype is None else dtype_of_code(dtype)
    if any(isinstance(v, (Value, AbstractTensor)) for v in flat):
        return ev.memory.tensor(ev.memory.build(lambda: _stack(ev, flat, tuple(shape), target)))
    wide = np.array(flat, np.float64 if float in kinds else np.int64 if int in kinds else np.bool_)
    source = f64 if float in kinds else i64 if int in kinds else bool_
    wide = wide.reshape(shape)
    return ev.memory.tensor(
        ev.memory.build(lambda: B.cast(B.constant(wide, source), target))
    )


def _type_of_element(v: object) -> type:
    if isinstance(v, AbstractTensor):
        return bool if v.dtype is bool_ else float if v.dtype.is_float else int
    if not isinstance(v, (bool, int, float, Value)):
        raise TypeError(f"a tensor cannot be made of {describe(v)}")
    return number_type(v)


def _stack(ev: Evaluator, flat: list, shape: tuple[int, ...], dtype: DType) -> Value:
    out = B.full((len(flat),), 0, dtype)
    for k, v in enumerate(flat):
        if isinstance(v, AbstractTensor):
            v = item(ev, v)
        element = B.full((1,), v, dtype)
        out = B.insert(out, element, [k])
    return B.reindex(out, shape, lambda *i: [linearize(i, contiguous_strides(shape))])


def convert(ev: Evaluator, t: AbstractTensor, dtype: DType | None, copy: bool) -> AbstractTensor:
    """t in a dtype; t itself if it is that already and no copy is asked for."""
    if (dtype is None or dtype is t.dtype) and not copy:
        return t
    value, target = ev.memory.read(t), dtype or t.dtype
    return ev.memory.tensor(ev.memory.build(lambda: B.cast(value, target)))


def _to(ev: Evaluator, t: AbstractTensor, *args: object, **kwargs: object) -> AbstractTensor:
    """x.to(...): device, dtype, other tensor, non_blocking and copy in any of their orders."""
    dtype, flags = kwargs.get("dtype"), []
    for x in args:
        if isinstance(x, AbstractTensor):
            dtype = x.dtype.torch_code
        elif isinstance(x, bool):
            flags.append(x)
        elif isinstance(x, int) and dtype is None and not flags:
            dtype = x
    other = kwargs.get("other")
    if isinstance(other, AbstractTensor):
        dtype = other.dtype.torch_code
    copy = kwargs.get("copy", flags[1] if len(flags) > 1 else False)
    return convert(ev, t, None if dtype is None else _code(dtype), bool(copy))


def _code(code: object) -> DType:
    try:
        return dtype_of_code(code)  # type: ignore[arg-type]
    except KeyError:
        raise ValueError(f"tensors of PyTorch's dtype number {code} are not supported") from None


def _size(ev: Evaluator, t: AbstractTensor, dim: int | None = None) -> object:
    if dim is not None:
        return ev.memory.size_number(t.shape[B.dim_of(dim, t.ndim)])
    return [ev.memory.size_number(n) for n in t.shape]


def _stride(ev: Evaluator, t: AbstractTensor, dim: int | None = None) -> object:
    strides = t.strides()
    if strides is None:
        raise RuntimeError("the tensor has no strides")
    return list(strides) if dim is None else strides[B.dim_of(dim, t.ndim)]


def _as_strided(ev: Evaluator, t: AbstractTensor, size: list, stride: list,
                storage_offset: int | None = None) -> object:
    """Elements of the memory that t lies in, of which t may be a part."""
    if storage_offset is None:
        storage_offset = _storage_offset(ev, t)
    while t.base is not None:
        t = t.base
    strides = t.strides()
    order = sorted(range(t.ndim), key=lambda d: -strides[d])  # of dims in memory
    if order != list(range(t.ndim)):
        t = apply(ev, "aten::permute", [t, order], {})  # type: ignore[assignment]
    return apply(ev, "aten::as_strided", [t, size, stride, storage_offset], {})


def _storage_offset(ev: Evaluator, t: AbstractTensor) -> int:
    """Where in its storage the first element lies."""
    at = (E.const(0),) * t.ndim
    while t.base is not None:
        at = tuple(E.substitute(e, at) for e in t.view.index)
        t = t.base
    offset = IndexAlgebra(()).simplify(linearize(at, t.strides()))
    if not offset.is_const:
        raise ValueError("the place of a tensor's first element must be known at compile time")
    return offset.attr  # type: ignore[return-value]


def _fill_diagonal(ev: Evaluator, t: AbstractTensor, fill_value: object,
                   wrap: bool = False) -> AbstractTensor:
    """The diagonal of all dims, which have one size unless there are two; in a matrix with more
    rows than columns it begins anew below the row that follows its end, if `wrap`."""
    if t.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if t.ndim > 2 and len(set(t.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    starts = range(0, t.shape[0], t.shape[1] + 1) if wrap and t.ndim == 2 else (0,)
    for start in starts:
        part = apply(ev, "aten::slice", [t, 0, start], {}) if start else t
        for _ in range(t.ndim - 1):
            part = apply(ev, "aten::diagonal", [part, 0, 0, -1], {})
        apply(ev, "aten::fill_", [part, fill_value], {})
    return t


def _len(ev: Evaluator, t: AbstractTensor) -> int:
    if t.ndim == 0:
        raise TypeError("len() of a 0-d tensor")
    return ev.memory.size_number(t.shape[0])


def _alias(ev: Evaluator, t: AbstractTensor, *_: object, **__: object) -> AbstractTensor:
    out = AbstractTensor(t.storage, t.base, t.view)
    out.cache = t.cache
    return out


def _self(ev: Evaluator, t: AbstractTensor, *_: object, **__: object) -> AbstractTensor:
    return t


def _clone(ev: Evaluator, t: AbstractTensor, **_: object) -> AbstractTensor:
    return ev.memory.tensor(ev.memory.read(t))


def _contiguous(ev: Evaluator, t: AbstractTensor, memory_format: int = 0) -> AbstractTensor:
    return t if t.is_contiguous else _clone(ev, t)


def _is_contiguous(ev: Evaluator, t: AbstractTensor, memory_format: int = 0) -> bool:
    return t.is_contiguous


def _copy_in(ev: Evaluator, t: AbstractTensor, source: object, *_: object) -> AbstractTensor:
    x = ev.memory.read(source) if isinstance(source, AbstractTensor) else (
        source if isinstance(source, Value) else ev.memory.number(source)  # type: ignore[arg-type]
    )
    copy_into(ev, t, x)
    return t


def _fill(ev: Evaluator, t: AbstractTensor, value: object) -> AbstractTensor:
    if isinstance(value, AbstractTensor):
        value = ev.memory.read(value)
        if value.ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value.ndim} dimensions.")
    ev.memory.write(t, ev.memory.build(lambda: B.full(t.shape, value, t.dtype)))  # type: ignore
    return t


def _number(target: type) -> Callable:
    def apply(ev: Evaluator, t: AbstractTensor) -> object:
        return ev.to_number(item(ev, t), target)

    return apply


def _data_type(check: Callable[[DType], bool]) -> Callable:
    return lambda ev, t: check(t.dtype)


def _always(x: object) -> Callable:
    return lambda ev, t, *_, **__: x


def _shape_as_tensor(ev: Evaluator, t: AbstractTensor) -> AbstractTensor:
    return from_data(ev, [ev.memory.size_number(n) for n in t.shape], i64.torch_code)


def _equal_shapes(ev: Evaluator, a: AbstractTensor, b: AbstractTensor) -> bool:
    if a.shape != b.shape and a.ndim == b.ndim and is_dynamic((*a.shape, *b.shape)):
        raise Unsupported("whether shapes are equal that are known only at run time")
    return a.shape == b.shape


# Positions of run time


def _select(ev: Evaluator, t: AbstractTensor, dim: int, index: object) -> object:
    """One position of a dim; a position of run time is checked when the program runs."""
    if isinstance(index, Value) and isinstance(dim, int) and t.ndim:
        n = t.shape[B.dim_of(dim, t.ndim)]
        _check_range(ev, index, -n, n - 1, f"select(): index out of range for tensor of size "
                     f"{list(t.shape)} at dimension {dim}")
    return apply(ev, "aten::select", [t, dim, index], {})


def _slice(ev: Evaluator, t: AbstractTensor, dim: int = 0, start: object = None,
           end: object = None, step: int = 1) -> object:
    """x[start:end]. Bounds of run time must be a known distance apart, and within the dim."""
    if isinstance(start, Value) and isinstance(end, (int, Value)) and step == 1 and t.ndim:
        (a, c), (b, d) = _offset(start), _offset(end)
        n = t.shape[B.dim_of(dim, t.ndim)]
        if a is b and 0 <= d - c and at_least(n, d - c):
            _check_range(ev, start, 0, n - (d - c), f"a slice whose bounds are known only at run "
                         f"time leaves dimension {dim} of a tensor of size {list(t.shape)}")
            return apply(ev, "aten::narrow", [t, dim, start, d - c], {})
    return apply(ev, "aten::slice", [t, dim, start, end, step], {})


def _narrow(ev: Evaluator, t: AbstractTensor, dim: int, start: object, length: int) -> object:
    """x[start:start + length]; a start of run time is checked when the program runs."""
    start = ev.item(start)
    if isinstance(start, Value) and isinstance(dim, int) and isinstance(length, int) and t.ndim:
        n = t.shape[B.dim_of(dim, t.ndim)]
        given = start
        start = ev.memory.build(lambda: B.compute((), lambda: E.select(
            E.load(given) < 0, E.load(given) + n, E.load(given))))
        _check_range(ev, start, 0, n - length, f"narrow(): start + length ({length}) exceeds the "
                     f"size of dimension {dim} of a tensor of size {list(t.shape)}")
    return apply(ev, "aten::narrow", [t, dim, start, length], {})


def _offset(x: int | Value) -> tuple[Value | None, int]:
    """x as another number plus a constant; the number is None for a constant."""
    total = 0
    while isinstance(x, Value):
        body = x.op.body if isinstance(x.op, Generic) and x.op.combiner is None else None
        known = known_array(x)
        if known is not None:
            return None, total + int(known)
        if body is None or body.op not in ("add", "sub") or not body.args[1].is_const or (
            body.args[0].op != "load"
        ):
            return x, total
        total += body.args[1].attr if body.op == "add" else -body.args[1].attr
        x = body.args[0].attr
    return None, total + x


def _check_range(ev: Evaluator, x: Value, low: Number, high: Number, message: str) -> None:
    base, offset = _offset(x)
    least, most = ev.bounds.get(base, (low - 1, high + 1))  # type: ignore[arg-type]
    if at_least(least + offset, low) and at_least(high, most + offset):
        return
    inside = ev.memory.build(lambda: B.pointwise(
        lambda a: (a >= E.lift(low, i64)) & (a <= E.lift(high, i64)), x, dtype=i64))
    ev.check(inside, message)


# Operators whose first argument is a tensor.
TABLE: dict[str, Callable] = {
    **RUNNING,
    **PACKED,
    "aten::size": _size,
    "aten::stride": _stride,
    "aten::as_strided": _as_strided,
    "aten::storage_offset": _storage_offset,
    "aten::fill_diagonal_": _fill_diagonal,
    "aten::select": _select,
    "aten::slice": _slice,
    "aten::narrow": _narrow,
    "aten::dim": lambda ev, t: t.ndim,
    "prim::ndim": lambda ev, t: t.ndim,
    "aten::ndimension": lambda ev, t: t.ndim,
    "aten::numel": lambda ev, t: ev.memory.size_number(t.numel),
    "aten::len": _len,
    "aten::element_size": lambda ev, t: t.dtype.bytes,
    "aten::is_floating_point": _data_type(lambda d: d.is_float),
    "aten::is_complex": _always(False),
    "aten::is_signed": _data_type(lambda d: d.kind in "fi"),
    "aten::is_conj": _always(False),
    "aten::is_neg": _always(False),
    "aten::is_inference": _always(False),
    "aten::is_leaf": _always(True),
    "aten::is_pinned": _always(False),
    "aten::is_contiguous": _is_contiguous,
    "aten::is_same_size": _equal_shapes,
    "aten::get_device": _always(-1),
    "aten::device": _always(CPU),
    "prim::dtype": lambda ev, t: t.dtype.torch_code,
    "prim::device": _always(CPU),
    "prim::layout": _always(0),
    "prim::is_cpu": _always(True),
    **{
        f"prim::is_{name}": _always(False)
        for name in "cuda ipu maia meta mkldnn mps mtia nested quantized sparse sparse_csr vulkan "
        "xla xpu hpu".split()
    },
    "prim::requires_grad": _always(False),
    "aten::requires_grad": _always(False),
    "prim::grad": _always(None),
    "aten::Int": _number(int),
    "aten::Float": _number(float),
    "aten::Bool": _number(bool),
    "aten::IntImplicit": _number(int),
    "aten::FloatImplicit": _number(float),
    "aten::is_nonzero": _number(bool),
    "aten::item": item,
    "aten::ScalarImplicit": item,
    "aten::_local_scalar_dense": item,
    "aten::tolist": tolist,
    "prim::tolist": tolist,
    "aten::to": _to,
    "aten::type_as": lambda ev, t, other: convert(ev, t, other.dtype, False),
    "aten::cpu": _self,
    "aten::float": lambda ev, t: convert(ev, t, f32, False),
    "aten::contiguous": _contiguous,
    "aten::clone": _clone,
    "aten::detach": _alias,
    "aten::alias": _alias,
    "aten::detach_": _self,
    "aten::requires_grad_": _self,
    "aten::resolve_conj": _self,
    "aten::resolve_neg": _self,
    "aten::data": _alias,
    "prim::data": _alias,
    "aten::lift_fresh": _self,
    "aten::copy_": _copy_in,
    "aten::fill_": _fill,
    "aten::zero_": lambda ev, t: _fill(ev, t, 0),
    "aten::_shape_as_tensor": _shape_as_tensor,
    "aten::tensor": from_data,
    "aten::as_tensor": lambda ev, t, dtype=None, device=None: convert(
        ev, t, None if dtype is None else _code(dtype), False
    ),
    "aten::_unwrap_optional": _self,
    "aten::__is__": lambda ev, a, b: a is b,
    "aten::__isnot__": lambda ev, a, b: a is not b,
    "aten::record_stream": _always(None),
    "aten::retain_grad": _always(None),
    "aten::_assert_tensor_metadata": _always(None),
}


def number_to_tensor(ev: Evaluator, x: object) -> AbstractTensor:
    """prim::NumToTensor: a 0-d tensor, f64 of a float."""
    value = x if isinstance(x, Value) else ev.memory.number(x)  # type: ignore[arg-type]
    return ev.memory.tensor(value)
