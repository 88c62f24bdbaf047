"""Adaptive pooling: the size of the result is given, window i of t over n positions reaches from
floor(i * n / t) to ceil((i + 1) * n / t).

Where n is a multiple of t the windows are equal and nothing is masked; else each window reads as
many positions as the largest has, and those past its end do not count.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from lowering import expr as E
from lowering.build import compute_dtype, constant, full, generic, reindex
from lowering.expr import Expr
from lowering.ops.pooling import lowest
from lowering.ops.table import aten
from lowering.sizes import Number, Size, divides
from lowering.tensor_ir import Value
from runtime.dtypes import i64


class AdaptiveWindows:
    """Starts and sizes of the windows, dim by dim. `counts`: the sizes, None where the run decides
    them one by one."""

    def __init__(self, x: Value, out: Sequence[int]):
        self.dims, self.out = len(out), list(out)
        self.lead = x.shape[:x.ndim - self.dims]
        self.sizes = x.shape[x.ndim - self.dims:]
        self.uniform = [divides(t, n) if t != 0 else True for n, t in zip(self.sizes, out)]
        self.counts = [self._counts(k) for k in range(self.dims)]
        self.largest = [
            (n - 1) // t + 2 if c is None else c[0] if u and c else max(c, default=0)
            for n, t, u, c in zip(self.sizes, out, self.uniform, self.counts)]

    def _counts(self, k: int) -> list[Number] | None:
        n, t = self.sizes[k], self.out[k]
        if t == 0:
            return []
        if self.uniform[k]:
            return [n // t]
        if isinstance(n, Size) or isinstance(t, Size):
            return None
        return [-(-(i + 1) * n // t) - i * n // t for i in range(t)]

    @property
    def domain(self) -> tuple[int, ...]:
        return (*self.lead, *self.out, *self.largest)

    @property
    def parallel(self) -> int:
        return len(self.lead) + self.dims

    def start(self, k: int) -> Expr:
        """Where the window begins in dim k."""
        i = E.index(len(self.lead) + k)
        return i * self.largest[k] if self.uniform[k] else i * self.sizes[k] // self.out[k]

    def end(self, k: int) -> Expr:
        """What the window reaches to in dim k."""
        size, count = self.sizes[k], self.out[k]
        return ((E.index(len(self.lead) + k) + 1) * size + (count - 1)) // count

    def element(self, x: Value, ignored: float) -> Expr:
        """An element of the window in the dtype computed in, `ignored` past its end."""
        n = len(self.lead)
        at: list[Expr] = []
        within: Expr | None = None
        for k in range(self.dims):
            tap = E.index(n + self.dims + k)
            position = self.start(k) + tap
            if not self.uniform[k]:
                size = self.sizes[k]
                inside = E.binary("lt", position, self.end(k))
                within = inside if within is None else within & inside
                position = E.minimum(position, size - 1)
            at.append(position)
        value = E.cast(E.load(x, [*E.identity(n), *at]), compute_dtype(x.dtype))
        return value if within is None else E.select(within, value, ignored)


def _check(x: Value, out: Sequence[int], name: str) -> AdaptiveWindows:
    dims = len(out)
    if x.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(f"{name}(): Expected {dims + 1}D or {dims + 2}D tensor, but got "
                           f"{list(x.shape)}")
    for k in range(1, dims + 1):
        if x.shape[-k] == 0:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but "
                f"input has sizes {list(x.shape)} with dimension {x.ndim - k} being empty"
            )
    if any(n < 0 for n in out):
        sizes = ", ".join(map(str, out))
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 "
                           f"but received {{{sizes}}}")
    return AdaptiveWindows(x, out)


def _sizes(out: int | Sequence[int], dims: int, name: str) -> list[int]:
    sizes = [out] * dims if isinstance(out, int) else list(out)
    if len(sizes) == 1:
        sizes = sizes * dims
    if len(sizes) != dims:
        raise RuntimeError(f"{name}: output_size must be {dims}")
    return sizes


def _average(x: Value, out: int | Sequence[int], dims: int) -> Value:
    name = f"adaptive_avg_pool{dims}d"
    w = _check(x, _sizes(out, dims, name), name)
    if 0 in w.out:
        return full((*w.lead, *w.out), 0, x.dtype)
    if list(w.sizes) == w.out:
        return reindex(x, x.shape, lambda *i: i)
    working = compute_dtype(x.dtype)
    by: Expr = E.const(1.0, working)
    for k, counts in enumerate(w.counts):
        if counts is not None and len(set(counts)) == 1 and isinstance(counts[0], int):
            by = E.const(by.attr * counts[0], working) if by.is_const else by * counts[0]
            continue
        if counts is None:
            at = E.cast(w.end(k) - w.start(k), working)
        elif len(counts) == 1:
            at = E.const(counts[0], working)
        else:
            table = constant(np.array(counts, working.compute), working)
            at = E.load(table, (E.index(len(w.lead) + k),))
        by = at if by.is_const and by.attr == 1 else at * by
    mean = E.acc(working) / by
    return generic(w.domain, w.parallel, w.element(x, 0), "add", E.cast(mean, x.dtype))


def _maximum(x: Value, out: int | Sequence[int], dims: int) -> tuple[Value, Value]:
    """Maxima and their row-major positions in the pooled dims."""
    name = f"adaptive_max_pool{dims}d"
    w = _check(x, _sizes(out, dims, name), name)
    if 0 in w.out:
        return full((*w.lead, *w.out), 0, x.dtype), full((*w.lead, *w.out), 0, i64)
    element = w.element(x, lowest(compute_dtype(x.dtype)))
    post = None if element.dtype is x.dtype else E.cast(E.acc(element.dtype), x.dtype)
    values = generic(w.domain, w.parallel, element, "max", post)
    at = E.acc(i64)
    taps: list[Expr] = []
    for k in reversed(w.largest):
        taps.insert(0, at % k)
        at = at // k
    flat = E.const(0)
    for k, (tap, n) in enumerate(zip(taps, w.sizes)):
        flat = flat * n + (w.start(k) + tap)
    return values, generic(w.domain, w.parallel, element, "argmax", flat)


@aten("adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor")
def adaptive_avg_pool1d(x, output_size):
    return _average(x, output_size, 1)


@aten("adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor",
      "_adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor")
def adaptive_avg_pool2d(x, output_size):
    return _average(x, output_size, 2)


@aten("adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor",
      "_adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor")
def adaptive_avg_pool3d(x, output_size):
    return _average(x, output_size, 3)


@aten("adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)")
def adaptive_max_pool1d(x, output_size):
    return _maximum(x, output_size, 1)


@aten("adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor, Tensor)")
def adaptive_max_pool2d(x, output_size):
    return _maximum(x, output_size, 2)


@aten("adaptive_max_pool3d(Tensor self, int[3] output_size) -> (Tensor, Tensor)")
def adaptive_max_pool3d(x, output_size):
    return _maximum(x, output_size, 3)
