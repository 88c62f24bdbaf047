"""Tensors that are one or another, as data decides: what a write to one does to the others.

    y = x if c else z      y.add_(1)      ->   x = c ? x + 1 : x,   z = c ? z : z + 1

A tensor merged from two branches has a storage of its own with the chosen value, and a Twin for
each branch: where the condition holds, it is that branch's tensor. A write to a storage goes along
its twins, and theirs, each time where all conditions on the way hold; reads need not know of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowering import build as B
from lowering import expr as E
from lowering.abstract import AbstractTensor, Storage
from lowering.tensor_ir import Value

if TYPE_CHECKING:
    from lowering.evaluate_memory import Memory

# A write goes to no more storages than this; the value of the others cannot be told afterwards.
MOST_WRITES = 32


# Conditions, and whether they hold
Case = frozenset[tuple[Value, bool]]


@dataclass(frozen=True, eq=False)
class Twin:
    """In the case that all of its conditions (0-d bool) are as it says, a and b are one tensor."""

    case: Case
    a: AbstractTensor
    b: AbstractTensor

    def other(self, storage: Storage) -> tuple[AbstractTensor, AbstractTensor]:
        """The tensor in the storage, and the other one."""
        return (self.a, self.b) if self.a.storage is storage else (self.b, self.a)


def connect(twin: Twin) -> None:
    twin.a.storage.twins.append(twin)
    twin.b.storage.twins.append(twin)


def disconnect(twin: Twin) -> None:
    twin.a.storage.twins.remove(twin)
    twin.b.storage.twins.remove(twin)


def twins_of(storage: Storage) -> set[Storage]:
    return {twin.other(storage)[1].storage for twin in storage.twins}


def spread(memory: Memory, storage: Storage) -> None:
    """Writes what a storage has become to all tensors that may lie in it."""
    ways: list[tuple[Case, tuple[Storage, ...]]] = [(frozenset(), (storage,))]
    written = 0
    for case, way in ways:  # which grows: the nearest first
        for twin in list(way[-1].twins):
            mine, other = twin.other(way[-1])
            target, both = other.storage, case | twin.case
            if target in way or target.stale or any((c, not holds) in both for c, holds in both):
                continue
            if written == MOST_WRITES or mine.shape != other.shape:
                memory.set_stale(target, True)
                continue
            _copy_in(memory, both, mine, other)
            ways.append((both, (*way, target)))
            written += 1


def _copy_in(memory: Memory, case: Case, a: AbstractTensor, b: AbstractTensor) -> None:
    """b.copy_(a) in that case."""
    now, before = memory.read(a), memory.read(b)

    def element(*i: E.Expr) -> E.Expr:
        result, kept = E.load(now, i), E.load(before, i)
        for condition, holds in case:
            flag = E.load(condition)
            result = E.select(flag, result, kept) if holds else E.select(flag, kept, result)
        return result

    memory.write(b, memory.build(lambda: B.compute(b.shape, element)), False)


def moved(t: AbstractTensor, storage: Storage) -> AbstractTensor:
    """The same views of another storage."""
    if t.base is None:
        return AbstractTensor(storage)
    return AbstractTensor(storage, moved(t.base, storage), t.view)
