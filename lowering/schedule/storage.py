"""Where Values live: a buffer, an offset and a stride for each dim, in elements.

A layout is nothing but strides: channels-last is a permutation, the inside of a padded tensor or a
part of a concatenation is an offset in a larger buffer, a view is other strides on the same buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowering.expr import Expr
from lowering.index_algebra import linearize
from runtime.dtypes import DType


class MemoryBuffer:
    """A run of `size` elements. space: input, output, arena or constant. Looks like a 1-d Value, so
    that expressions may load from it by flat position. `index`: which argument; `data`: a
    constant's elements in storage form; `offset`: bytes, set by the memory plan."""

    __slots__ = ("name", "dtype", "size", "space", "index", "data", "offset")
    _count = 0

    def __init__(self, dtype: DType, size: int, space: str, index: int = 0,
                 data: np.ndarray | None = None, name: str = ""):
        MemoryBuffer._count += 1
        self.name = name or f"b{MemoryBuffer._count}"
        self.dtype, self.size, self.space = dtype, size, space
        self.index, self.data, self.offset = index, data, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def __repr__(self) -> str:
        return f"@{self.name}:{self.dtype}[{self.size}] in {self.space}"


@dataclass(frozen=True)
class Storage:
    """Element (i, j, ...) lies at offset + i * strides[0] + j * strides[1] + ... of the buffer."""

    buffer: MemoryBuffer
    strides: tuple[int, ...]
    offset: int = 0

    def address(self, indices: tuple[Expr, ...]) -> Expr:
        return linearize(indices, self.strides) + self.offset


def ordered_strides(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """Dense strides with the dims of `order` from outermost to innermost."""
    strides = [0] * len(shape)
    s = 1
    for d in reversed(order):
        strides[d] = s
        s *= max(shape[d], 1)
    return tuple(strides)


def dim_order(strides: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Dims from outermost (largest stride) to innermost; ties and unit dims keep their order."""
    return tuple(sorted(range(len(shape)), key=lambda d: (-strides[d] if shape[d] != 1 else 0, d)))
