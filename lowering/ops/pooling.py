"""Pooling over windows: one reduction with affine loads, after what the windows reach over the edge
was inserted as padding.

Sizes: t = (n + 2 * padding - dilation * (k - 1) - 1) / stride + 1, rounded down, or up in ceil mode
if the last window still starts inside the input or its padding before.
"""

from __future__ import annotations

import itertools
import math
from typing import Sequence

import numpy as np

from lowering import expr as E
from lowering.build import compute_dtype, constant, full, generic, scatter
from lowering.expr import Expr
from lowering.ops.message_names import times
from lowering.ops.padding import pad_constant
from lowering.ops.table import aten
from lowering.sizes import Number, Size, at_least, maximum, minimum
from lowering.tensor_ir import Value
from runtime.dtypes import DType, i64


class Windows:
    """The windows of one pooling: sizes of kernel, step and padding, and what follows from them."""

    def __init__(self, x: Value, kernel: Sequence[int], stride: Sequence[int] | None,
                 padding: Sequence[int], dilation: Sequence[int], ceil_mode: bool):
        self.dims = len(kernel)
        self.lead = x.shape[:x.ndim - self.dims]
        self.sizes = x.shape[x.ndim - self.dims:]
        self.kernel, self.padding, self.dilation = list(kernel), list(padding), list(dilation)
        self.stride = list(stride) if stride else list(kernel)
        self.ceil_mode = ceil_mode
        self.out = [self._count(k) for k in range(self.dims)]

    def _count(self, k: int) -> int:
        n, p, s = self.sizes[k], self.padding[k], self.stride[k]
        reach = n + 2 * p - self.dilation[k] * (self.kernel[k] - 1) - 1
        count = (reach + (s - 1 if self.ceil_mode else 0)) // s + 1
        if self.ceil_mode:  # the last window begins inside
            count = minimum(count, (n + p - 1) // s + 1)
        return count

    def padded(self, x: Value, fill: float) -> Value:
        """x with what the windows reach over its edges."""
        none = [0] * len(self.lead)
        after = [self._after(k) for k in range(self.dims)]
        return pad_constant(x, [*none, *self.padding], [*none, *after], fill)

    def _after(self, k: int) -> Number:
        """How far the last window reaches over the end; for a size of run time, how far it may."""
        n, p, s = self.sizes[k], self.padding[k], self.stride[k]
        over = (self.out[k] - 1) * s + self.dilation[k] * (self.kernel[k] - 1) + 1 - (n + p)
        return p if isinstance(over, Size) and at_least(p, over) else maximum(over, 0)

    @property
    def domain(self) -> tuple[int, ...]:
        return (*self.lead, *self.out, *self.kernel)

    @property
    def parallel(self) -> int:
        return len(self.lead) + self.dims

    def starts(self) -> list[Expr]:
        """Position in the input where the window begins; negative in the padding."""
        n = len(self.lead)
        return [E.index(n + k) * s - p for k, (s, p) in enumerate(zip(self.stride, self.padding))]

    def element(self, x: Value) -> Expr:
        """An element of the window, of an input from padded()."""
        n = len(self.lead)
        at = [
            E.index(n + k) * self.stride[k] + E.index(n + self.dims + k) * self.dilation[k]
            for k in range(self.dims)
        ]
        return E.load(x, [*E.identity(n), *at])


def lowest(dtype: DType) -> float:
    """What a maximum ignores."""
    return -float("inf") if dtype.is_float else int(np.iinfo(dtype.compute).min)


def spread(value: int | Sequence[int], dims: int, name: str) -> list[int]:
    """One number a pooled dim."""
    values = [value] * dims if isinstance(value, int) else list(value)
    if len(values) == 1:
        values = values * dims
    words = {1: "one int", 2: "two ints", 3: "three ints"}
    if len(values) != dims:
        raise RuntimeError(f"{name} must either be a single int, or a tuple of {words[dims]}")
    return values


def _windows(x: Value, name: str, dims: int, kernel, stride, padding, dilation,
             ceil_mode: bool) -> Windows:
    kernel = spread(kernel, dims, f"{name}: kernel_size")
    stride = spread(stride, dims, f"{name}: stride") if stride != [] and stride else []
    padding = spread(padding, dims, f"{name}: padding")
    dilation = spread(dilation, dims, f"{name}: dilation")
    if x.ndim not in (dims + 1, dims + 2) or x.shape[-dims - 1] == 0:
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got:{list(x.shape)}"
        )
    if 0 in (*kernel, *stride):
        raise RuntimeError("stride should not be zero")
    if any(k < 0 for k in kernel):
        raise RuntimeError("kernel size should be greater than zero, but got "
                           + " ".join(map(str, kernel)))
    if any(s <= 0 for s in stride):
        raise RuntimeError("stride should be greater than zero, but got "
                           + " ".join(map(str, stride)))
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero, but got "
                           + " ".join(map(str, dilation)))
    for k, p, d in zip(kernel, padding, dilation):
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError("pad should be at most half of effective kernel size, but got "
                               f"pad={p}, kernel_size={k} and dilation={d}")
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
    w = Windows(x, kernel, stride, padding, dilation, ceil_mode)
    if any(t < 1 for t in w.out):
        sizes = (x.shape[-dims - 1], *w.sizes)
        raise RuntimeError(
            f"Given input size: ({times(sizes, 'x')}). Calculated output size: "
            f"({times((sizes[0], *w.out), 'x')}). Output size is too small"
        )
    return w


# Maximum


def _max_pool(x: Value, w: Windows) -> Value:
    working = compute_dtype(x.dtype)
    element = E.cast(w.element(w.padded(x, lowest(x.dtype))), working)
    post = None if working is x.dtype else E.cast(E.acc(working), x.dtype)
    return generic(w.domain, w.parallel, element, "max", post)


def _max_positions(x: Value, w: Windows) -> Value:
    """Row-major positions of the maxima in the pooled dims of the input. A window that holds only
    the lowest value has its maximum at its first position inside the input."""
    at = E.acc(i64)
    taps: list[Expr] = []
    for k in reversed(w.kernel):
        taps.insert(0, at % k)
        at = at // k
    starts = w.starts()
    hit = [s + t * d for s, t, d in zip(starts, taps, w.dilation)]
    first = [
        s + (E.maximum(-s, 0) + (d - 1)) // d * d if p else s
        for s, d, p in zip(starts, w.dilation, w.padding)
    ]
    position = _flat(hit, w.sizes)
    if any(w.padding) or w.ceil_mode:
        inside = E.const(True, E.eq(at, at).dtype)
        for h, n in zip(hit, w.sizes):
            inside = inside & (h >= 0) & (h < n)
        position = E.select(inside, position, _flat(first, w.sizes))
    element = E.cast(w.element(w.padded(x, lowest(x.dtype))), compute_dtype(x.dtype))
    return generic(w.domain, w.parallel, element, "argmax", position)


def _flat(position: Sequence[Expr], sizes: Sequence[int]) -> Expr:
    flat = E.const(0)
    for p, n in zip(position, sizes):
        flat = flat * n + p
    return flat


@aten("max_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=[0], int[1]"
      " dilation=[1], bool ceil_mode=False) -> Tensor")
def max_pool1d(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool(x, _windows(x, "max_pool1d", 1, kernel, stride, padding, dilation, ceil_mode))


@aten("max_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, int[2] "
      "dilation=1, bool ceil_mode=False) -> Tensor")
def max_pool2d(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool(x, _windows(x, "max_pool2d", 2, kernel, stride, padding, dilation, ceil_mode))


@aten("max_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, int[3] "
      "dilation=1, bool ceil_mode=False) -> Tensor")
def max_pool3d(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool(x, _windows(x, "max_pool3d", 3, kernel, stride, padding, dilation, ceil_mode))


def _max_pool_with_indices(x, kernel, stride, padding, dilation, ceil_mode: bool, dims: int):
    name = f"max_pool{dims}d"
    w = _windows(x, name, dims, kernel, stride, padding, dilation, ceil_mode)
    return _max_pool(x, w), _max_positions(x, w)


@aten("max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] "
      "padding=[0], int[1] dilation=[1], bool ceil_mode=False) -> (Tensor, Tensor)")
def max_pool1d_with_indices(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool_with_indices(x, kernel, stride, padding, dilation, ceil_mode, 1)


@aten("max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] "
      "padding=0, int[2] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)")
def max_pool2d_with_indices(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool_with_indices(x, kernel, stride, padding, dilation, ceil_mode, 2)


@aten("max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] "
      "padding=0, int[3] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)")
def max_pool3d_with_indices(x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    return _max_pool_with_indices(x, kernel, stride, padding, dilation, ceil_mode, 3)


# Average


def _avg_pool(x: Value, w: Windows, count_include_pad: bool, divisor: int | None) -> Value:
    """The sum of a window over `divisor`, else over the number of its elements: those inside the
    input, or inside the input and its padding."""
    working = compute_dtype(x.dtype)
    element = E.cast(w.element(w.padded(x, 0)), working)
    counts: list[list[int]] = []
    if divisor is not None:
        by = E.const(divisor, working)
    elif any(isinstance(n, Size) for n in w.out):
        by = E.cast(math.prod((_count(w, k, count_include_pad) for k in range(w.dims)),
                              start=E.const(1)), working)
    else:
        counts = [[_elements(w, k, t, count_include_pad) for t in range(n)]
                  for k, n in enumerate(w.out)]
    if not counts:
        pass
    elif all(len(set(c)) == 1 for c in counts):
        by = E.const(int(np.prod([c[0] for c in counts])), working)
    else:
        table = np.array([np.prod(c) for c in itertools.product(*counts)]).reshape(w.out)
        by = E.load(constant(table, working), E.identity(w.parallel)[len(w.lead):])
    total = E.acc(working)
    mean = total / by if working.is_float else E.binary("idiv", total, by)
    return generic(w.domain, w.parallel, element, "add", E.cast(mean, x.dtype))


def _count(w: Windows, k: int, count_include_pad: bool) -> Expr:
    """_elements of a window in a dim whose size the run decides, or beside one."""
    if count_include_pad and not w.ceil_mode:
        return E.const(w.kernel[k])
    start = E.index(len(w.lead) + k) * w.stride[k] - w.padding[k]
    end = E.minimum(start + w.kernel[k], E.const(w.sizes[k] + w.padding[k]))
    if count_include_pad:
        return end - start
    return E.maximum(E.minimum(end, E.const(w.sizes[k])) - E.maximum(start, 0), 0)


def _elements(w: Windows, k: int, t: int, count_include_pad: bool) -> int:
    """How many positions of window t count in dim k."""
    start = t * w.stride[k] - w.padding[k]
    end = min(start + w.kernel[k], w.sizes[k] + w.padding[k])
    if count_include_pad:
        return end - start
    return max(min(end, w.sizes[k]) - max(start, 0), 0)


@aten("avg_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=[0], bool "
      "ceil_mode=False, bool count_include_pad=True) -> Tensor")
def avg_pool1d(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True):
    w = _windows(x, "avg_pool1d", 1, kernel, stride, padding, 1, ceil_mode)
    return _avg_pool(x, w, count_include_pad, None)


@aten("avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, bool "
      "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor")
def avg_pool2d(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):
    _divisor(divisor_override)
    w = _windows(x, "avg_pool2d", 2, kernel, stride, padding, 1, ceil_mode)
    return _avg_pool(x, w, count_include_pad, divisor_override)


@aten("avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, bool "
      "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor")
def avg_pool3d(x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):
    _divisor(divisor_override)
    w = _windows(x, "avg_pool3d", 3, kernel, stride, padding, 1, ceil_mode)
    return _avg_pool(x, w, count_include_pad, divisor_override)


def _divisor(value: int | None) -> None:
    if value == 0:
        raise RuntimeError("divisor must be not zero")


# Back from a maximum


def _max_unpool(x: Value, indices: Value, output_size: Sequence[int]) -> Value:
    """Zeros, with the elements of x at `indices`, positions in the last dims of the result."""
    if indices.dtype is not i64:
        raise RuntimeError("elements in indices should be type int64 but got: "
                           + indices.dtype.torch_name)
    if x.shape != indices.shape:
        raise RuntimeError("Expected shape of indices to be same as that of the input tensor "
                           f"({list(x.shape)}) but got indices tensor with shape: "
                           f"{list(indices.shape)}")
    lead = x.shape[:x.ndim - len(output_size)]

    def at(*i: Expr) -> list[Expr]:
        flat = E.load(indices, i)
        position: list[Expr] = []
        for n in reversed(output_size[1:]):
            position.insert(0, flat % n)
            flat = flat // n
        return [*i[:len(lead)], flat, *position]

    base = full((*lead, *output_size), 0, x.dtype)
    return scatter(base, x.shape, at, lambda *i: E.load(x, i))


@aten("max_unpool2d(Tensor self, Tensor indices, int[2] output_size) -> Tensor")
def max_unpool2d(x, indices, output_size):
    return _max_unpool(x, indices, spread(output_size, 2, "output_size"))


@aten("max_unpool3d(Tensor self, Tensor indices, int[3] output_size, int[3] stride, int[3] "
      "padding) -> Tensor")
def max_unpool3d(x, indices, output_size, stride, padding):
    return _max_unpool(x, indices, spread(output_size, 3, "output_size"))
