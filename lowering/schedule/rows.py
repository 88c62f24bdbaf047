"""The dims around one special dim: what sort and scan loop over.

A sort along `dim` is the same work for every position of the other dims (the rows). Rows that all
storages step through evenly become one dim, so that few loops are left and lanes can be filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from lowering import expr as E
from lowering.expr import Expr
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Shape, Value


@dataclass(frozen=True)
class Rows:
    """domain = row extents, then the special dim's; one Storage of that domain for each tensor."""

    domain: Shape
    storages: tuple[Storage, ...]

    @property
    def along(self) -> int:
        """The special dim, always the last one."""
        return len(self.domain) - 1

    @property
    def count(self) -> int:
        n = 1
        for d in self.domain[:-1]:
            n *= d
        return n

    def element(self, which: int) -> tuple[MemoryBuffer, Expr]:
        """Memory and address of a tensor's element at the loop indices."""
        s = self.storages[which]
        return s.buffer, s.address(E.identity(len(self.domain)))

    def lane_dim(self, score: Callable[[int], float]) -> int | None:
        """The row dim of extent > 1 with the highest positive `score(dim)`, None if none has."""
        dims = [d for d in range(self.along) if self.domain[d] > 1]
        best = max(dims, key=lambda d: (score(d), d), default=None)
        return best if best is not None and score(best) > 0 else None


def rows_of(tensors: list[Value], dim: int, storages: dict[Value, Storage]) -> Rows:
    """The rows of tensors of one shape, by the strides of the last of them, outermost first.

    A 0-d tensor is one row of one element."""
    shape = tensors[0].shape
    where = [storages[v] for v in tensors]
    if not shape:
        return Rows((1,), tuple(Storage(s.buffer, (0,), s.offset) for s in where))
    order = sorted((d for d, n in enumerate(shape) if d != dim and n != 1),
                   key=lambda d: (-abs(where[-1].strides[d]), d))
    extents: list[int] = []
    strides: list[tuple[int, ...]] = []
    for d in order:
        step = tuple(s.strides[d] for s in where)
        n = shape[d]
        if strides and all(outer == n * inner for outer, inner in zip(strides[-1], step)):
            extents[-1] *= n
            strides[-1] = step
        else:
            extents.append(n)
            strides.append(step)
    extents.append(shape[dim])
    strides.append(tuple(s.strides[dim] for s in where))
    return Rows(tuple(extents), tuple(
        Storage(s.buffer, tuple(t[k] for t in strides), s.offset) for k, s in enumerate(where)))
