"""Memory for Values whose size is known only at run time, and the numbers that tell how much."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lowering.host_plan import Allocate, Node, Step
from lowering.schedule.codegen import Coder
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.sizes import Size, at_least, is_dynamic, maximum, numel, of_dim
from lowering.tensor_ir import TensorProgram, Value
from runtime.description import RUN_TIME_SIZE
from runtime.dtypes import i64

ENDLESS = 1 << 40  # elements that a buffer of a run-time size is taken to have


def block_of(v: Value) -> MemoryBuffer:
    """Memory of the heap for v alone, as long as it lives."""
    return MemoryBuffer(v.dtype, ENDLESS, "heap")


def elements_of(v: Value) -> int:
    """How many elements a buffer for v has."""
    return ENDLESS if is_dynamic(v.shape) else max(v.numel, 1)


def abi_shape(v: Value, program: TensorProgram) -> tuple[int, ...]:
    """The sizes of an input or output as aot.h has them. What is no named dim the run makes, and
    then all of that output."""
    named = {of_dim(u, d): -1 - k for k, (u, d) in enumerate(zip(program.sizes, program.dims))}
    sizes = [n for n in v.shape if isinstance(n, Size)]
    made = any(n not in named for n in sizes)
    return tuple(n if not isinstance(n, Size) else RUN_TIME_SIZE if made else named[n]
                 for n in v.shape)


def number_in_memory(n: Size, storages: Mapping[Value, Storage],
                     name: str) -> tuple[list[Node], MemoryBuffer]:
    """A memory that holds the number alone, and what puts it there."""
    if len(n.terms) == 1:
        (monomial, k), = n.terms.items()
        if k == 1 and len(monomial) == 1 and not monomial[0].op:
            where = storages[monomial[0].value]
            if where.offset == 0 and where.buffer.size == 1:
                return [], where.buffer
    memory = MemoryBuffer(i64, 1, "arena")
    coder = Coder(name, (), storages)
    coder.b.store(coder.parameter(memory, True), 0, coder.b.index(coder.size(n)))
    return [Step(coder.kernel, coder.memory)], memory


def allocate(v: Value, memory: MemoryBuffer, storages: Mapping[Value, Storage],
             name: str, keep: bool = False) -> list[Node]:
    """Makes room for all elements of v, and for one row where a size turns out to be 0; `keep`:
    what the memory holds stays, and there are rows."""
    row = v.dtype.bytes
    for n in v.shape:
        row *= max(n, 1) if isinstance(n, int) else 1
    sizes = [n for n in v.shape if isinstance(n, Size)]
    if not sizes:
        count = np.array(1 if v.numel else -1, np.int64)
        return [Allocate(memory, MemoryBuffer(i64, 1, "constant", data=count), row)]
    count = numel(sizes)
    assert isinstance(count, Size)
    if keep or len(sizes) == 1 or all(at_least(n, 1) for n in sizes):
        nodes, slot = number_in_memory(count, storages, name)
        return [*nodes, Allocate(memory, slot, row, keep)]
    slot = MemoryBuffer(i64, 1, "arena")
    coder = Coder(name, (), storages)
    b = coder.b
    room = b.index(coder.size(numel(maximum(n, 1) for n in sizes)))
    empty = b.binary("le", b.index(coder.size(count)), 0)
    b.store(coder.parameter(slot, True), 0, b.select(empty, b.unary("neg", room), room))
    return [Step(coder.kernel, coder.memory), Allocate(memory, slot, row)]
