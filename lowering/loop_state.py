"""What a loop carries from turn to turn: values of every kind as Values, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering import build as B
from lowering.abstract import (
    UNINITIALIZED, AbstractTensor, Choice, Maybe, Rows, Storage, describe, is_number, number_type,
)  # fmt: skip
from lowering.evaluate_memory import related
from lowering.evaluate_numbers import convert
from lowering.evaluate_optional import present
from lowering.objects import NamedTupleValue
from lowering.sizes import Size
from lowering.string_numbers import number_of
from lowering.tensor_ir import Value

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


class Unstable(Exception):
    """The loop's state changes its form from turn to turn, so it cannot stay a loop."""


def same(a: object, b: object) -> bool:
    if a is b:
        return True
    if isinstance(a, AbstractTensor) and isinstance(b, AbstractTensor):
        return a.storage is b.storage and a.base is b.base and a.view is b.view
    if type(a) is Rows and type(b) is Rows:
        return same(a.data, b.data)
    if type(a) is Maybe and type(b) is Maybe:
        return same(a.present, b.present) and same(a.value, b.value)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (Value, AbstractTensor)) or isinstance(b, (Value, AbstractTensor)):
        return False
    return type(a) is type(b) and a == b


def leaves(ev: Evaluator, x: object) -> list[Value]:
    """The Values that a piece of state consists of."""
    if type(x) is Rows:
        x = x.data
    if type(x) is Maybe:
        return [x.present, *leaves(ev, x.value)]
    if isinstance(x, AbstractTensor):
        return [ev.memory.read(x)]
    if is_number(x):
        return [ev.value_of(x)]
    if isinstance(x, (str, Choice)):
        return [number_of(ev, x)]
    if isinstance(x, (list, tuple)):
        return [v for item in x for v in leaves(ev, item)]
    if isinstance(x, dict):
        return [v for item in x.values() for v in leaves(ev, item)]
    ev.use(x)
    raise Unstable(f"{describe(x)} changes from turn to turn")


def leaves_like(ev: Evaluator, x: object, inits: list[Value], before: object) -> list[Value]:
    """The Values of a piece of state after a turn; of the same dims and dtypes as before it."""
    if x is UNINITIALIZED:
        return [ev.memory.build(lambda v=v: B.full(v.shape, 0, v.dtype)) for v in inits]
    if type(before) is Maybe and type(x) is not Maybe:
        if x is None:
            x = Maybe(present(ev, x), before.value)
        else:
            x = Maybe(present(ev, x), x)
    if isinstance(before, float) and is_number(x) and number_type(x) is int:
        x = convert(ev, x, float)
    found = leaves(ev, x)
    if form_of(x) != form_of(before) or (
            [(v.ndim, v.dtype) for v in found] != [(v.ndim, v.dtype) for v in inits]):
        raise Unstable(f"{describe(before)} becomes {describe(x)} in a turn")
    return found


def form_of(x: object) -> object:
    """How lists, tuples and dicts hold a piece of state."""
    if isinstance(x, dict):
        return list(x), [form_of(v) for v in x.values()]
    return [form_of(v) for v in x] if isinstance(x, (list, tuple)) else None


def zeros_like(ev: Evaluator, x: object) -> object:
    """Something of x's form for a variable that only the body sets; nothing reads it."""
    if isinstance(x, AbstractTensor):
        shape, dtype = [0 if isinstance(n, Size) else n for n in x.shape], x.dtype
        with ev.memory.inside(ev.memory.regions[-2]):
            return ev.memory.tensor(ev.memory.build(lambda: B.full(shape, 0, dtype)))
    if is_number(x):
        return number_type(x)(0)
    if isinstance(x, (str, Choice)):
        return ""
    if type(x) is Rows:
        return Rows(zeros_like(ev, x.data), x.number)
    if type(x) is Maybe:
        value = zeros_like(ev, x.value)
        with ev.memory.inside(ev.memory.regions[-2]):
            return Maybe(present(ev, None), value)
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([zeros_like(ev, v) for v in x], x.type)
    if isinstance(x, (list, tuple)):
        return type(x)(zeros_like(ev, v) for v in x)
    if isinstance(x, dict):
        return {k: zeros_like(ev, v) for k, v in x.items()}
    raise Unstable(f"{describe(x)} is set in its body only")


def rebuild(like: object, values) -> object:
    """A piece of state of the form of `like`, from the next of `values`."""
    if type(like) is Maybe:
        flag = next(values)
        flag.wrapped = True
        return Maybe(flag, rebuild(like.value, values))
    if type(like) is Rows:
        return Rows(AbstractTensor(Storage(next(values))), like.number)
    if isinstance(like, AbstractTensor):
        return AbstractTensor(Storage(next(values)))
    if isinstance(like, NamedTupleValue):
        return NamedTupleValue([rebuild(v, values) for v in like], like.type)
    if isinstance(like, (list, tuple)):
        return type(like)(rebuild(v, values) for v in like)
    if isinstance(like, dict):
        return {k: rebuild(v, values) for k, v in like.items()}
    value = next(values)
    if isinstance(like, (str, Choice)):
        return Choice(value)
    value.wrapped = True
    return value


def storages_of(x: object) -> set[Storage]:
    """The storages of the tensors in a piece of state."""
    if type(x) is Rows:
        x = x.data
    if type(x) is Maybe:
        x = x.value
    if isinstance(x, AbstractTensor):
        return {x.storage}
    if isinstance(x, (list, tuple)):
        return {s for v in x for s in storages_of(v)}
    if isinstance(x, dict):
        return {s for v in x.values() for s in storages_of(v)}
    return set()


def aliases_of(args: list, outputs: list, varying: set[int],
             serial: int) -> set[tuple[int, Storage | int]]:
    """Which carried tensors leave a turn sharing memory: with an older storage, or with another
    carried one (by its position)."""
    owner = {s: k for k in varying for s in storages_of(args[k])}
    found: set[tuple[int, Storage | int]] = set()
    seen: dict[Storage, int] = {}
    for k in sorted(varying):
        for storage in set().union(*map(related, storages_of(outputs[k]))):
            if storage.serial <= serial:
                found.add((k, storage))
            if owner.get(storage, k) != k:
                found.add((k, owner[storage]))
            if seen.setdefault(storage, k) != k:
                found.add((k, seen[storage]))
    return found


def link_aliases(ev: Evaluator, values: list, state: list, varying: set[int],
                 aliases: set[tuple[int, Storage | int]]) -> None:
    """Links carried tensors with what they may be: what they were before the loop, and aliases."""
    for k in varying:
        for storage in storages_of(values[k]):
            for before in storages_of(state[k]):
                ev.memory.link(storage, before)
    for k, other in aliases:
        others = {other} if isinstance(other, Storage) else storages_of(values[other])
        for storage in storages_of(values[k]):
            for b in others:
                ev.memory.link(storage, b)
