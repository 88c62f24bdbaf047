"""Calls of C functions before memory is planned: what each argument and result is in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lowering.host_plan import ForeignCall, Node, TensorMemory
from lowering.lower_sizes import number_in_memory
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.sizes import Size
from lowering.tensor_ir import Foreign, Value


def foreign_call(op: Foreign, storages: Mapping[Value, Storage], name: str,
                 alone: Callable[[Value], tuple[list[Node], MemoryBuffer]]) -> list[Node]:
    """The call; its results have their place. alone(v): a memory that holds v and nothing else,
    row-major, and what puts it there."""
    nodes: list[Node] = []

    def memory(v: Value) -> MemoryBuffer:
        before, where = alone(v)
        nodes.extend(before)
        return where

    def size(n: int | Size) -> int | MemoryBuffer:
        if isinstance(n, int):
            return n
        before, where = number_in_memory(n, storages, name)
        nodes.extend(before)
        return where

    def tensor(v: Value) -> TensorMemory:
        return TensorMemory(memory(v), [size(n) for n in v.shape])

    def given(kind: str, x: object) -> object:
        if isinstance(x, list):
            return [given(kind, v) for v in x]
        if not isinstance(x, Value):
            return x
        return tensor(x) if kind.startswith("Tensor") else memory(x)

    arguments = [given(kind, x) for (kind, _), x in zip(op.function.parameters, op.arguments)]
    results = [tensor(v) if kind == "Tensor" else memory(v)
               for (kind, _), v in zip(op.function.results, op.results)]
    origin = op.out.origin
    where = f"\n  at {origin}" if origin is not None else ""
    return [*nodes, ForeignCall(op.function, arguments, results, where)]
