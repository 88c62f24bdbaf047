"""Where Values live: a buffer, an offset and a stride for each dim, in elements.

A layout is nothing but strides: channels-last is a permutation, the inside of a padded tensor or a
part of a concatenation is an offset in a larger buffer, a view is other strides on the same buffer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowering.expr import Expr
from lowering.index_algebra import linearize
from lowering.sizes import Number, Size
from runtime.dtypes import DType, to_compute, to_storage


class MemoryBuffer:
    """A run of `size` elements. space: input, output, arena or constant. Looks like a 1-d Value, so
    that expressions may load from it by flat position. `index`: which argument; `offset`: bytes,
    set by the memory plan. A constant has its elements in storage form as `data`, or is another
    constant rearranged: `packing` of `source`."""

    __slots__ = ("name", "dtype", "size", "space", "index", "data", "source", "packing", "offset")
    _count = 0

    def __init__(self, dtype: DType, size: int, space: str, index: int = 0,
                 data: np.ndarray | None = None, source: MemoryBuffer | None = None,
                 packing: Packing | None = None):
        MemoryBuffer._count += 1
        self.name = f"b{MemoryBuffer._count}"
        self.dtype, self.size, self.space = dtype, size, space
        self.index, self.data, self.offset = index, data, 0
        self.source, self.packing = source, packing

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def contents(self) -> np.ndarray:
        """A constant's elements, contiguous, in storage form."""
        if self.source is not None and self.packing is not None:
            return self.packing(self.source)
        assert self.data is not None
        return np.ascontiguousarray(self.data)

    def content_key(self) -> tuple:
        """Equal for constants of equal contents (as far as that is known without looking)."""
        if self.source is not None:
            return (*self.source.content_key(), self.packing)
        assert self.data is not None
        return (self.data.__array_interface__["data"][0], self.data.strides, self.data.shape,
                self.dtype.name, self.size)

    def __repr__(self) -> str:
        return f"@{self.name}:{self.dtype}[{self.size}] in {self.space}"


@dataclass(frozen=True)
class Packing:
    """A constant's elements as [lead][panel][k][width]: element (l, n, k) lies at offset + l, n and
    k times their strides (l and k may be several dims each), n is cut into panels of `width` and
    padded with zeros, and the values are cast to `dtype`."""

    dtype: DType
    offset: int
    lead: tuple[tuple[int, int], ...]  # (extent, stride) a dim
    columns: tuple[int, int]
    depth: tuple[tuple[int, int], ...]
    width: int
    pairs: bool = False  # [k / 2][width][2]: two neighbours along k lie together

    @property
    def steps(self) -> int:
        """Elements of k."""
        return math.prod(n for n, _ in self.depth)

    @property
    def panels(self) -> int:
        return -(-self.columns[0] // self.width)

    @property
    def size(self) -> int:
        return math.prod(n for n, _ in self.lead) * self.panels * self.steps * self.width

    def __call__(self, source: MemoryBuffer) -> np.ndarray:
        flat = to_compute(source.contents().reshape(-1), source.dtype)[self.offset:]
        dims = (*self.lead, *self.depth, self.columns)
        picked = np.lib.stride_tricks.as_strided(
            flat, [n for n, _ in dims], [s * flat.itemsize for _, s in dims], writeable=False)
        lead, (n, _) = math.prod(n for n, _ in self.lead), self.columns
        out = np.zeros((lead, self.panels, self.steps, self.width), self.dtype.compute)
        rows = picked.reshape(lead, self.steps, n)
        for p in range(self.panels):
            part = rows[:, :, p * self.width: (p + 1) * self.width]
            out[:, p, :, : part.shape[2]] = part
        if self.pairs:
            out = out.reshape(lead, self.panels, self.steps // 2, 2, self.width).swapaxes(3, 4)
        return to_storage(out.reshape(-1), self.dtype)


@dataclass(frozen=True)
class Storage:
    """Element (i, j, ...) lies at offset + i * strides[0] + j * strides[1] + ... of the buffer."""

    buffer: MemoryBuffer
    strides: tuple[Number, ...]
    offset: Number = 0

    def address(self, indices: tuple[Expr, ...]) -> Expr:
        return linearize(indices, self.strides) + self.offset

    def separates(self, shape: tuple[Number, ...]) -> bool:
        """Whether every element of a tensor of the shape has memory of its own: not where a
        broadcast tensor is a view."""
        steps = [(s, n) for s, n in zip(self.strides, shape) if n != 1]
        if any(isinstance(x, Size) for step in steps for x in step):
            return all(s != 0 for s, _ in steps)
        reach = 0  # how far apart elements are that differ in the dims so far
        for s, n in sorted((abs(s), n) for s, n in steps):
            if s <= reach:
                return False
            reach += s * (n - 1)
        return True


def ordered_strides(shape: tuple[Number, ...], order: tuple[int, ...]) -> tuple[Number, ...]:
    """Dense strides with the dims of `order` from outermost to innermost."""
    strides = [0] * len(shape)
    s = 1
    for d in reversed(order):
        strides[d] = s
        s = s * (shape[d] if isinstance(shape[d], Size) else max(shape[d], 1))
    return tuple(strides)
