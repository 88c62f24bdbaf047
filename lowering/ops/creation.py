"""Tensors made from nothing, from numbers, or in the likeness of another."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np

from lowering import expr as E
from lowering.build import (
    as_size, cast, check, compute, constant, full, number_dtype, pointwise, to_value,
)
from lowering.known import Unsupported, known
from lowering.ops.positions import check_all
from lowering.ops.slicing import diagonal as diagonal_of
from lowering.ops.table import aten
from lowering.ops.view import ravel
from lowering.sizes import at_least
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bool_, f32, f64, i64

_PLACE = "Layout? layout=None, Device? device=None, bool? pin_memory=None"
_MAKE = f"*, ScalarType? dtype=None, {_PLACE}) -> Tensor"
_LIKE = f"*, ScalarType? dtype=None, {_PLACE}, MemoryFormat? memory_format=None) -> Tensor"


def _sizes(size) -> tuple[int, ...]:
    if any(n < 0 for n in size):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(size)}: "
                           f"{list(size)}")
    return tuple(size)


def number_type(x) -> DType:
    """The dtype of a tensor made of a number: bool, i64 or the default float f32."""
    if isinstance(x, Value):
        return f32 if x.dtype.is_float else x.dtype
    return number_dtype(x)


@aten(f"zeros(int[] size, {_MAKE}", f"empty.memory_format(int[] size, {_LIKE}")
def zeros(size, *, dtype=None, **place):
    """(`empty` is zeros: nothing that was in memory before may show.)"""
    return full(_sizes(size), 0, dtype or f32)


@aten(f"empty_strided(int[] size, int[] stride, {_MAKE}")
def empty_strided(size, stride, *, dtype=None, **place):
    return zeros(size, dtype=dtype)


@aten(f"empty_permuted(int[] size, int[] physical_layout, {_MAKE}")
def empty_permuted(size, physical_layout, *, dtype=None, **place):
    if len(size) != len(physical_layout):
        raise RuntimeError("Number of dimensions in size does not match the length of the "
                           f"physical_layout; i.e. len(size) = {len(size)} is not equal to "
                           f"len(physical_layout) = {len(physical_layout)}")
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(f"{list(physical_layout)} is no order of the dims of {list(size)}")
    return zeros(size, dtype=dtype)


@aten(f"ones(int[] size, {_MAKE}")
def ones(size, *, dtype=None, **place):
    return full(_sizes(size), 1, dtype or f32)


@aten(f"full(int[] size, Scalar fill_value, {_MAKE}")
def full_tensor(size, fill_value, *, dtype=None, **place):
    return full(_sizes(size), fill_value, dtype or number_type(fill_value))


@aten(f"zeros_like(Tensor self, {_LIKE}", f"empty_like(Tensor self, {_LIKE}")
def zeros_like(x, *, dtype=None, **place):
    return full(x.shape, 0, dtype or x.dtype)


@aten(f"ones_like(Tensor self, {_LIKE}")
def ones_like(x, *, dtype=None, **place):
    return full(x.shape, 1, dtype or x.dtype)


@aten(f"full_like(Tensor self, Scalar fill_value, {_LIKE}")
def full_like(x, fill_value, *, dtype=None, **place):
    return full(x.shape, fill_value, dtype or x.dtype)


@aten(f"new_zeros(Tensor self, int[] size, {_MAKE}", f"new_empty(Tensor self, int[] size, {_MAKE}")
def new_zeros(x, size, *, dtype=None, **place):
    return full(_sizes(size), 0, dtype or x.dtype)


@aten(f"new_empty_strided(Tensor self, int[] size, int[] stride, {_MAKE}")
def new_empty_strided(x, size, stride, *, dtype=None, **place):
    return new_zeros(x, size, dtype=dtype)


@aten(f"new_ones(Tensor self, int[] size, {_MAKE}")
def new_ones(x, size, *, dtype=None, **place):
    return full(_sizes(size), 1, dtype or x.dtype)


@aten(f"new_full(Tensor self, int[] size, Scalar fill_value, {_MAKE}")
def new_full(x, size, fill_value, *, dtype=None, **place):
    return full(_sizes(size), fill_value, dtype or x.dtype)


@aten("fill.Scalar(Tensor self, Scalar value) -> Tensor",
      "fill.Tensor(Tensor self, Tensor value) -> Tensor")
def fill(x, value):
    if isinstance(value, Value) and value.ndim:
        raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                           f"{value.ndim} dimensions.")
    return full(x.shape, value, x.dtype)


@aten("zero(Tensor self) -> Tensor")
def zero(x):
    return full(x.shape, 0, x.dtype)


# Numbers to tensors


@aten(f"scalar_tensor(Scalar s, {_MAKE}")
def scalar_tensor(s, *, dtype=None, **place):
    return full((), s, dtype or f32)


@aten("tensor.bool(bool t, *, ScalarType? dtype=None, Device? device=None, "
      "bool requires_grad=False) -> Tensor",
      "tensor.int(int t, *, ScalarType? dtype=None, Device? device=None, "
      "bool requires_grad=False) -> Tensor",
      "tensor.float(float t, *, ScalarType? dtype=None, Device? device=None, "
      "bool requires_grad=False) -> Tensor",
      "tensor(t[] data, *, ScalarType? dtype=None, Device? device=None, "
      "bool requires_grad=False) -> Tensor",
      "as_tensor.bool(bool t, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
      "as_tensor.int(int t, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
      "as_tensor.float(float t, *, ScalarType? dtype=None, Device? device=None) -> Tensor",
      "as_tensor.list(t[] data, *, ScalarType? dtype=None, Device? device=None) -> Tensor")
def tensor(data, *, dtype=None, **place):
    """A number, or nested lists of numbers (some may be known only at run time)."""
    if not isinstance(data, (list, tuple)):
        return full((), data, dtype or number_type(data))
    shape, leaves = _leaves(data)
    kinds = [number_type(x) for x in leaves]
    out = dtype or (f32 if not kinds or any(k.is_float for k in kinds) else
                    i64 if any(k is not bool_ for k in kinds) else bool_)
    if not any(isinstance(x, Value) for x in leaves):
        wide = np.array(leaves, np.float64 if any(k.is_float for k in kinds) else np.int64)
        return cast(constant(wide.reshape(shape).astype(_exact(out))), out)
    parts = [to_value(x) for x in leaves]
    strides = [math.prod(shape[k + 1:]) for k in range(len(shape))]

    def body(*i):
        flat = E.const(0)
        for e, s in zip(i, strides):
            flat = flat + e * s
        y = E.cast(E.load(parts[-1]), out)
        for k in range(len(parts) - 2, -1, -1):
            y = E.select(E.eq(flat, k), E.cast(E.load(parts[k]), out), y)
        return y

    return compute(shape, body)


def _exact(dtype: DType) -> np.dtype:
    """A numpy type that holds the dtype's values before they are rounded."""
    return np.dtype(np.float64) if dtype.is_float else dtype.compute


def _leaves(data) -> tuple[tuple[int, ...], list]:
    """Shape and elements, in row-major order, of nested lists. ValueError if they are ragged."""
    if not isinstance(data, (list, tuple)):
        return (), [data]
    parts = [_leaves(x) for x in data]
    shapes = {shape for shape, _ in parts}
    if len(shapes) > 1:
        raise ValueError("expected lists of equal length in each dim of a tensor's data")
    inner = shapes.pop() if shapes else ()
    return (len(data), *inner), [x for _, leaves in parts for x in leaves]


# Sequences


@aten(f"arange(Scalar end, {_MAKE}")
def arange(end, *, dtype=None, **place):
    if isinstance(end, Value) and end.dtype is i64:
        check(pointwise(lambda n: n >= 0, end),
              "upper bound and lower bound inconsistent with step sign")
        return compute((as_size(end),), lambda i: E.cast(i, dtype or i64))
    return arange_step(0, end, 1, dtype=dtype)


@aten(f"arange.start(Scalar start, Scalar end, {_MAKE}",
      f"arange.start_step(Scalar start, Scalar end, Scalar step=1, {_MAKE}")
def arange_step(start, end, step=1, *, dtype=None, **place):
    """start, start + step, ... below end; i64 unless a float is among them."""
    if any(isinstance(x, Value) for x in (start, end, step)) and all(
            type(x) is int or isinstance(x, Value) and x.dtype is i64 for x in (start, end, step)):
        if (type(start), start, type(step), step) == (int, 0, int, 1):
            return arange(end, dtype=dtype)  # as many as `end`, the number that it is elsewhere
        return _arange_of_run_time(start, end, step, dtype or i64)
    _known_numbers("arange's bounds", start, end, step)
    if not all(math.isfinite(x) for x in (start, end, step)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(not isinstance(x, float) for x in (start, end, step))
    out = dtype or (i64 if whole else f32)
    if out is i64:  # for this dtype PyTorch counts in whole numbers
        start, end, step, whole = int(start), int(end), int(step), True
    if whole:
        count = -((start - end) // step)
    else:
        count = math.ceil((end - start) / step)
    return _sequence(max(count, 0), start, step, out)


def _arange_of_run_time(start, end, step, out: DType) -> Value:
    """Whole numbers between bounds that only the run knows, and perhaps the step."""
    first, last, by = (E.load(x) if isinstance(x, Value) else E.const(x)
                       for x in (start, end, step))
    up: bool | E.Expr = True
    if isinstance(step, Value):
        if not at_least(as_size(step), 1):
            check(compute((), lambda: E.ne(by, 0)), "step must be nonzero")
            up = by > 0
    elif step == 0:
        raise RuntimeError("step must be nonzero")
    else:
        up = step > 0
    if isinstance(up, bool):
        length, pace = (last - first, by) if up else (first - last, E.const(-step))
    else:
        length, pace = E.select(up, last - first, first - last), E.select(up, by, -by)
    check(compute((), lambda: length >= 0),
          "upper bound and lower bound inconsistent with step sign")
    count = as_size(compute((), lambda: (E.maximum(length, 0) + pace - 1) // E.maximum(pace, 1)))
    return compute((count,), lambda i: E.cast(first + i * by, out))


@aten(f"range(Scalar start, Scalar end, {_MAKE}",
      f"range.step(Scalar start, Scalar end, Scalar step=1, {_MAKE}")
def range_step(start, end, step=1, *, dtype=None, **place):
    """As arange, `end` included; float32 by default."""
    _known_numbers("range's bounds", start, end, step)
    return _sequence(int((end - start) / step) + 1, start, step, dtype or f32)


def _sequence(count: int, start, step, out: DType) -> Value:
    if not out.is_float:
        return compute((count,), lambda i: E.cast(int(start) + i * int(step), out))
    wide = f64 if out is f64 or isinstance(start, float) or isinstance(step, float) else i64
    return compute((count,), lambda i: E.cast(
        E.cast(i, wide) * E.const(step, wide) + E.const(start, wide), out))


def _known_numbers(what: str, *numbers) -> None:
    if any(isinstance(x, Value) for x in numbers):
        raise Unsupported(f"{what} must be known at compile time: the result's shape depends on "
                          "them")


def _ends(text: str, extra: str = "") -> list[str]:
    kinds = [("", "Scalar", "Scalar"), (".Scalar_Tensor", "Scalar", "Tensor"),
             (".Tensor_Scalar", "Tensor", "Scalar"), (".Tensor_Tensor", "Tensor", "Tensor")]
    return [f"{text}{o}({a} start, {b} end, int steps, {extra}{_MAKE}" for o, a, b in kinds]


@aten(*_ends("linspace"))
def linspace(start, end, steps, *, dtype=None, **place):
    """Both ends included; each half is counted from its own end, so that both are exact."""
    out = dtype or f32
    value = _spaced("linspace", start, end, steps, out)[1]
    return compute((steps,), lambda i: E.cast(value(i), out))


@aten(*_ends("logspace", "float base=10., "))
def logspace(start, end, steps, base=10.0, *, dtype=None, **place):
    """base to the power of a linspace."""
    out = dtype or f32
    wide, power = _spaced("logspace", start, end, steps, out)
    return compute((steps,), lambda i: E.cast(
        E.binary("pow", E.const(base, wide), power(i)), out))


def _spaced(name: str, start, end, steps: int, out: DType) -> tuple[DType, Callable]:
    """The dtype that a spaced sequence is computed in, and its element as a function of i."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    for x in (start, end):
        if isinstance(x, Value) and x.ndim:
            raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors")
    wide = f64 if out is f64 or not out.is_float else f32

    def bound(x) -> E.Expr:
        """An end of the sequence, whole for integers."""
        exact = wide if out.is_float else out
        x = E.cast(E.load(x), exact) if isinstance(x, Value) else E.const(x, exact)
        return E.cast(x, wide)

    a, b = bound(start), bound(end)

    def element(i):
        if steps == 1:
            return a
        step = (b - a) / (steps - 1)
        low = a + step * E.cast(i, wide)
        high = b - step * E.cast((steps - 1) - i, wide)
        return E.select(i < steps // 2, low, high)

    return wide, element


# Matrices


@aten(f"eye(int n, {_MAKE}")
def eye(n, *, dtype=None, **place):
    return eye_m(n, n, dtype=dtype)


@aten(f"eye.m(int n, int m, {_MAKE}")
def eye_m(n, m, *, dtype=None, **place):
    return compute(_sizes((n, m)), lambda i, j: E.cast(E.eq(i, j), dtype or f32))


@aten("tril(Tensor self, int diagonal=0) -> Tensor")
def tril(x, diagonal=0):
    return _triangle(x, lambda i, j: j - i <= diagonal)


@aten("triu(Tensor self, int diagonal=0) -> Tensor")
def triu(x, diagonal=0):
    return _triangle(x, lambda i, j: j - i >= diagonal)


def _triangle(x: Value, kept) -> Value:
    if x.ndim < 2:
        raise RuntimeError("tril: input tensor must have at least 2 dimensions")
    return compute(x.shape, lambda *i: E.select(
        kept(*i[-2:]), E.load(x, i), E.const(0, x.dtype)))


_CORNERS = f"(int row, int col, int offset=0, *, ScalarType? dtype=4, {_PLACE}) -> Tensor"


@aten(f"tril_indices{_CORNERS}")
def tril_indices(row, col, offset=0, *, dtype=i64, **place):
    return _constant_as(np.stack(np.nonzero(np.tri(row, col, offset))), dtype or i64)


@aten(f"triu_indices{_CORNERS}")
def triu_indices(row, col, offset=0, *, dtype=i64, **place):
    return _constant_as(np.stack(np.nonzero(1 - np.tri(row, col, offset - 1))), dtype or i64)


def _constant_as(array: np.ndarray, dtype: DType) -> Value:
    return constant(array.astype(dtype.compute), dtype)


@aten("diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor")
def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    """The last dim laid out on a diagonal of two new dims; zeros elsewhere."""
    n = x.ndim + 1
    if not (-n <= dim1 < n and -n <= dim2 < n):
        bad = dim2 if -n <= dim1 < n else dim1
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but "
                         f"got {bad})")
    dim1, dim2 = dim1 % n, dim2 % n
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = x.shape[-1] + max(offset, -offset)
    rest = [k for k in range(n) if k not in (dim1, dim2)]
    shape = [size] * n
    for k, extent in zip(rest, x.shape):
        shape[k] = extent

    def body(*i):
        row, column = i[dim1], i[dim2]
        at = column - offset if offset >= 0 else column
        inside = E.eq(column - row, offset) & (at >= 0) & (at < x.shape[-1])
        if not x.shape[-1]:
            return E.const(0, x.dtype)
        held = E.minimum(E.maximum(at, 0), x.shape[-1] - 1)
        return E.select(inside, E.load(x, [*(i[k] for k in rest), held]), E.const(0, x.dtype))

    return compute(shape, body)


@aten("diag(Tensor self, int diagonal=0) -> Tensor")
def diag(x, diagonal=0):
    """A vector as a diagonal matrix; a matrix's diagonal."""
    if x.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.ndim}D")
    return diag_embed(x, diagonal) if x.ndim == 1 else diagonal_of(x, diagonal, 0, 1)


@aten("diagflat(Tensor self, int offset=0) -> Tensor")
def diagflat(x, offset=0):
    return diag_embed(ravel(x), offset)


@aten("one_hot(Tensor self, int num_classes=-1) -> Tensor")
def one_hot(x, num_classes=-1):
    """i64; num_classes is counted only when the classes are known at compile time."""
    if num_classes < 0:
        num_classes = int(known(x, "one_hot's classes, when num_classes is not given,").max()) + 1
    check_all(x, lambda a: (a >= 0) & (a < num_classes), lambda wrong: (
        f"one_hot: Class values must be from 0 to {num_classes - 1}, found {wrong}"))
    return compute((*x.shape, num_classes),
                   lambda *i: E.cast(E.eq(E.cast(E.load(x, i[:-1]), i64), i[-1]), i64))
