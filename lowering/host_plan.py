"""What a method does before its memory is planned, and the host code it becomes.

Nodes are as the statements of llvm_backend/program.py, but for slots that are still MemoryBuffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from llvm_backend.kernel import Kernel
from llvm_backend.program import (
    Call, HostAllocate, HostCheck, HostDeliver, HostForeign, HostIf, HostLoop, HostStmt,
    HostTasks, Slot, TensorArgument, TextHole,
)
from lowering.schedule.memory import Lifetimes, plan_arena, plan_heap
from lowering.schedule.storage import MemoryBuffer
from runtime.dtypes import u8
from runtime.foreign import ForeignFunction


@dataclass
class Step:
    """A kernel call before the memory plan: slots are still memories."""

    kernel: Kernel
    memories: list[MemoryBuffer]


@dataclass
class Branch:
    condition: MemoryBuffer
    then: list
    otherwise: list


@dataclass
class Repeat:
    trip: int | MemoryBuffer
    condition: MemoryBuffer | None
    counter: MemoryBuffer
    body: list


@dataclass
class Assert:
    condition: MemoryBuffer
    message: list[str | tuple[MemoryBuffer, str]]  # memories with the forms they are shown in
    kind: str

    def memories(self) -> list[MemoryBuffer]:
        return [self.condition, *(p[0] for p in self.message if not isinstance(p, str))]


@dataclass
class Allocate:
    """Room for `memory`, `count` rows of row_bytes; `keep`: it goes on holding what it holds."""

    memory: MemoryBuffer
    count: MemoryBuffer
    row_bytes: int
    keep: bool = False


@dataclass
class Deliver:
    """An output of a run-time size: what is in `memory`; `sizes` hold those of its dims that the
    run decides, in order."""

    output: int
    memory: MemoryBuffer
    sizes: list[MemoryBuffer]


@dataclass
class TensorMemory:
    """A tensor for a C function: alone and row-major in a memory."""

    memory: MemoryBuffer
    dims: list[int | MemoryBuffer]


@dataclass
class ForeignCall:
    """As HostForeign."""

    function: ForeignFunction
    arguments: list
    results: list[TensorMemory | MemoryBuffer]
    where: str

    def memories(self) -> list[MemoryBuffer]:
        found: list[MemoryBuffer] = []
        stack = [*self.arguments, *self.results]
        while stack:
            x = stack.pop()
            if isinstance(x, MemoryBuffer):
                found.append(x)
            elif isinstance(x, TensorMemory):
                stack += [x.memory, *x.dims]
            elif isinstance(x, list):
                stack += x
        return found


@dataclass
class SideBySide:
    """Lists of nodes that may run at the same time."""

    tasks: list[list]


Node = Step | Branch | Repeat | Assert | Allocate | Deliver | ForeignCall | SideBySide


def plan(nodes: list[Node]) -> tuple[int, int]:
    """Sets where the buffers of the arena lie, and in which blocks those of the heap; returns the
    arena's size in bytes and the number of blocks."""
    owners: dict[MemoryBuffer, tuple] = {}
    _find_owners(nodes, (), owners)
    lifetimes = Lifetimes()
    scratch = _walk(nodes, (), owners, lifetimes)
    arena, blocks = plan_arena(lifetimes), plan_heap(lifetimes)
    _move(scratch)
    return arena, blocks


Path = tuple  # of (SideBySide, task) pairs, by identity, from the outermost one
Scratch = list  # of (memory that stands for a task's arena, the task's buffers, its own Scratch)


def _find_owners(nodes: list[Node], path: Path, owners: dict[MemoryBuffer, Path]) -> None:
    """For each buffer of the arena the innermost task that all of its uses are in: no other task
    may overwrite it, but it is free for others outside."""
    for n in nodes:
        if isinstance(n, SideBySide):
            for k, task in enumerate(n.tasks):
                _find_owners(task, (*path, (id(n), k)), owners)
            continue
        inner = [n.then, n.otherwise] if isinstance(n, Branch) else [n.body] if isinstance(
            n, Repeat) else []
        for body in inner:
            _find_owners(body, path, owners)
        for m in memories([n]) if not inner else _heads(n):
            if m.space == "arena":
                before = owners.get(m, path)
                same = next((k for k, (a, b) in enumerate(zip(before, path)) if a != b),
                            min(len(before), len(path)))
                owners[m] = path[:same]


def _heads(n: Branch | Repeat) -> list[MemoryBuffer]:
    if isinstance(n, Branch):
        return [n.condition]
    return [m for m in (n.trip, n.condition, n.counter) if isinstance(m, MemoryBuffer)]


def _walk(nodes: list[Node], path: Path, owners: dict[MemoryBuffer, Path],
          lifetimes: Lifetimes) -> Scratch:
    """Notes when each buffer is used that belongs to the path."""
    scratch: Scratch = []

    def use(m: MemoryBuffer) -> None:
        if m.space == "heap" or owners.get(m, path) == path:
            lifetimes.use(m)

    for n in nodes:
        lifetimes.step()
        if isinstance(n, Step):
            for m in n.memories:
                use(m)
        elif isinstance(n, (Assert, ForeignCall)):
            for m in n.memories():
                use(m)
        elif isinstance(n, Allocate):
            use(n.count)
            use(n.memory)
        elif isinstance(n, Deliver):
            for m in n.sizes:
                use(m)
            lifetimes.keep(n.memory)
        elif isinstance(n, Branch):
            use(n.condition)
            scratch += _walk(n.then, path, owners, lifetimes)
            scratch += _walk(n.otherwise, path, owners, lifetimes)
        elif isinstance(n, SideBySide):
            scratch += _side_by_side(n, path, owners, lifetimes)
        else:
            began = lifetimes.now
            for m in _heads(n):
                use(m)
            scratch += _walk(n.body, path, owners, lifetimes)
            lifetimes.step()
            for m in (n.condition, n.counter):
                if m is not None:
                    use(m)
            lifetimes.loop_ends(began)
    return scratch


def _side_by_side(n: SideBySide, path: Path, owners: dict[MemoryBuffer, Path],
                  lifetimes: Lifetimes) -> Scratch:
    """Each task has an arena of its own, which lives as long as all of them run; so does what they
    share, and every block of the heap."""
    scratch: Scratch = []
    shared = [m for task in n.tasks for m in memories(task)]
    for k, task in enumerate(n.tasks):
        inner, own = Lifetimes(), (*path, (id(n), k))
        below = _walk(task, own, owners, inner)
        size = plan_arena(inner)
        whole = MemoryBuffer(u8, max(size, 1), "arena")
        mine = [m for m in inner.first if m.space == "arena"]
        shared += [whole, *(m for m in inner.first if m.space == "heap")]
        scratch.append((whole, mine, below))
    for _ in range(2):  # from the beginning to the end
        for m in shared:
            if m.space == "heap" or owners.get(m, path) == path:
                lifetimes.use(m)
        lifetimes.step()
    return scratch


def _move(scratch: Scratch, by: int = 0) -> None:
    """Moves the buffers of tasks to where their arenas lie."""
    for whole, mine, below in scratch:
        start = whole.offset + by
        for m in mine:
            m.offset += start
        _move(below, start)


def host(nodes: list[Node]) -> list[HostStmt]:
    """The statements of a method, after all memory has its place."""
    out: list[HostStmt] = []
    for n in nodes:
        if isinstance(n, Step):
            out.append(Call(n.kernel, [slot(m) for m in n.memories]))
        elif isinstance(n, Assert):
            parts = (p if isinstance(p, str) else TextHole(slot(p[0]), p[1]) for p in n.message)
            out.append(HostCheck(slot(n.condition), tuple(parts), n.kind))
        elif isinstance(n, Allocate):
            out.append(HostAllocate(n.memory.index, slot(n.count), n.row_bytes, n.keep))
        elif isinstance(n, Deliver):
            out.append(HostDeliver(n.output, n.memory.index, [slot(m) for m in n.sizes]))
        elif isinstance(n, ForeignCall):
            out.append(HostForeign(n.function, _slots(n.arguments), _slots(n.results), n.where))
        elif isinstance(n, SideBySide):
            out.append(HostTasks([host(task) for task in n.tasks]))
        elif isinstance(n, Branch):
            out.append(HostIf(slot(n.condition), host(n.then), host(n.otherwise)))
        else:
            trip = n.trip if isinstance(n.trip, int) else slot(n.trip)
            condition = slot(n.condition) if n.condition is not None else None
            out.append(HostLoop(trip, condition, slot(n.counter), host(n.body)))
    return out


def memories(nodes: list[Node]) -> Iterator[MemoryBuffer]:
    """Every memory that the nodes touch."""
    for n in nodes:
        if isinstance(n, Step):
            yield from n.memories
        elif isinstance(n, Branch):
            yield n.condition
            yield from memories(n.then)
            yield from memories(n.otherwise)
        elif isinstance(n, SideBySide):
            for task in n.tasks:
                yield from memories(task)
        elif isinstance(n, Repeat):
            yield from (m for m in (n.trip, n.condition, n.counter)
                        if isinstance(m, MemoryBuffer))
            yield from memories(n.body)
        elif isinstance(n, Allocate):
            yield n.count
        elif isinstance(n, Deliver):
            yield from n.sizes
        else:
            yield from n.memories()


def _slots(x: object) -> object:
    """What a C function is given, with slots."""
    if isinstance(x, list):
        return [_slots(v) for v in x]
    if isinstance(x, TensorMemory):
        return TensorArgument(slot(x.memory), _slots(x.dims))
    return slot(x) if isinstance(x, MemoryBuffer) else x


def slot(memory: MemoryBuffer) -> Slot:
    return Slot(memory.space, memory.dtype, memory.size, memory.offset, memory.index)
