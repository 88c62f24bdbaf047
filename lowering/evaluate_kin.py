"""Which memory the tensors that an If merges share, with each other and with what was there before.

A merged tensor is a twin of each branch's tensor (lowering/evaluate_aliases.py). Where that one
lies in a storage made in the branch, which several merged tensors share, or which has twins itself,
the storage becomes a result of the If too, and so do the conditions of its twins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from lowering.abstract import AbstractTensor, Storage
from lowering.evaluate_aliases import Twin, moved
from lowering.tensor_ir import Value

if TYPE_CHECKING:
    from lowering.evaluate_if import Branch
    from lowering.evaluate_memory import Memory


@dataclass
class Merged:
    """A tensor to be, and what it is in each branch; None where the branch has none."""

    ends: tuple[AbstractTensor | None, AbstractTensor | None]
    tensor: AbstractTensor | None = None


class Kin:
    """The shared memory of one If's results."""

    def __init__(self, memory: Memory, condition: Value, then: Branch, otherwise: Branch):
        self.memory, self.condition = memory, condition
        self.branches = (then, otherwise)
        self.serial = then.serial
        self.made: list[Merged] = []
        self.kept: dict[Storage, int] = {}  # storages of the branches -> result
        # Of the branches; for each condition that is computed there, its result
        self.twins: list[tuple[Twin, bool, dict[Value, int]]] = []

    def expect(self, a: AbstractTensor | None, b: AbstractTensor | None) -> Merged:
        self.made.append(Merged((a, b)))
        return self.made[-1]

    def keep(self, pair: Callable[[Value | None, Value | None], int]) -> None:
        """Adds the storages and conditions that have to be results."""
        for side, branch in enumerate(self.branches):
            def result(v: Value, side: int = side) -> int:
                return pair(None, v) if side else pair(v, None)

            inner = [m.ends[side].storage for m in self.made  # type: ignore[union-attr]
                     if m.ends[side] is not None and not self._is_old(m.ends[side].storage)]
            todo = [s for s in dict.fromkeys(inner)
                    if inner.count(s) > 1 or any(_touches(t, s) for t in branch.twins)]
            for storage in todo:  # which grows
                if storage in self.kept or storage.stale:
                    continue
                self.kept[storage] = result(storage.current)
                for twin in branch.twins:
                    if _touches(twin, storage):
                        other = twin.other(storage)[1].storage
                        if not self._is_old(other):
                            todo.append(other)
            inside = {v for op in branch.region.ops for v in op.results} if branch.twins else set()
            for twin in branch.twins:
                if all(self._is_old(t.storage) or t.storage in self.kept for t in (twin.a, twin.b)):
                    conditions = {c: result(c) for c, _ in twin.case if c in inside}
                    self.twins.append((twin, side == 0, conditions))

    def _is_old(self, storage: Storage) -> bool:
        return storage.serial <= self.serial

    def connect(self, results: list[Value]) -> None:
        """Notes the twins and rivals of the merged tensors."""
        kept = {s: Storage(results[k], s.strides) for s, k in self.kept.items()}

        def outside(t: AbstractTensor) -> AbstractTensor:
            return moved(t, kept[t.storage]) if t.storage in kept else t

        made = [m for m in self.made if m.tensor is not None]
        cases = [frozenset({(self.condition, holds)}) for holds in (True, False)]
        for i, merged in enumerate(made):
            for t, case in zip(merged.ends, cases):
                if t is not None and (self._is_old(t.storage) or t.storage in kept):
                    self.memory.pair(Twin(case, merged.tensor, outside(t)))  # type: ignore
            for rival in self._rivals(merged):
                if self._is_old(rival):
                    self.memory.link(merged.tensor.storage, rival)  # type: ignore[union-attr]
            for other in made[:i]:
                if self._rivals(merged) & self._rivals(other):
                    self.memory.link(merged.tensor.storage,  # type: ignore[union-attr]
                                     other.tensor.storage)  # type: ignore[union-attr]
        for twin, side, conditions in self.twins:
            inner = {(results[conditions[c]] if c in conditions else c, h) for c, h in twin.case}
            self.memory.pair(Twin(cases[not side] | inner, outside(twin.a), outside(twin.b)))

    def _rivals(self, merged: Merged) -> set[Storage]:
        found: set[Storage] = set()
        for t, branch in zip(merged.ends, self.branches):
            if t is not None:
                found |= branch.rivals.get(t.storage, set())
        return found


def _touches(twin: Twin, storage: Storage) -> bool:
    return twin.a.storage is storage or twin.b.storage is storage
