"""Places for Values: in memory of their own, where their base is, or as views of their operands."""

from __future__ import annotations

from lowering.flows import is_beginning
from lowering.host_plan import Node
from lowering.index_algebra import contiguous_strides
from lowering.lower_kernels import Kernels
from lowering.lower_sizes import allocate, block_of
from lowering.region_state import RegionState
from lowering.schedule.alias import view_of
from lowering.schedule.fill import loads_of
from lowering.schedule.storage import MemoryBuffer, Storage, ordered_strides
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Generic, Grow, Scatter, TensorOp, Value
from llvm_backend.target import Target


def _row_major(v: Value, order: tuple[int, ...] | None) -> bool:
    kept = [d for d in range(v.ndim) if v.shape[d] != 1]
    return order is None or [d for d in order if v.shape[d] != 1] == kept


class Places:
    """Where the Values of one program lie, as they are placed."""

    def __init__(self, target: Target, optimize: bool):
        self.storages: dict[Value, Storage] = {}
        self.residents: dict[MemoryBuffer, list[Value]] = {}
        self.kernels = Kernels(target, optimize, self.storages)

    def _place(self, v: Value, memory: MemoryBuffer, strides: tuple[int, ...] | None = None,
               offset: int = 0) -> None:
        self.storages[v] = Storage(memory, strides or contiguous_strides(v.shape), offset)
        self.residents.setdefault(memory, []).append(v)

    def _new(self, v: Value, order: tuple[int, ...] | None = None,
             state: RegionState | None = None) -> None:
        """Places v in fresh memory: the caller's if it is a result of the program and row-major."""
        if state is not None and v in state.direct and _row_major(v, order):
            self._place(v, state.direct.pop(v))
            return
        memory = MemoryBuffer(v.dtype, max(v.numel, 1), "arena")
        self._place(v, memory, ordered_strides(v.shape, order) if order else None)

    def _new_dynamic(self, v: Value, order: tuple[int, ...] | None = None,
                     state: RegionState | None = None) -> list[Node]:
        """Places v in a block of the heap of its own, and makes that large enough; in the caller's
        memory if it is a row-major result of the program that has a place there."""
        if state is not None and v in state.direct and _row_major(v, order):
            self._place(v, state.direct.pop(v))
            return []
        memory = block_of(v)
        self._place(v, memory, ordered_strides(v.shape, order) if order else None)
        return allocate(v, memory, self.storages, self.kernels.name())

    def _fresh(self, v: Value) -> list[Node]:
        """Places v in memory of its own, wherever that has to be."""
        if is_dynamic(v.shape):
            return self._new_dynamic(v)
        self._new(v)
        return []

    def _alone(self, v: Value, stays: bool = True) -> tuple[list[Node], MemoryBuffer]:
        """A memory that holds v row-major from its start, and what puts it there; v's own, if it
        `stays` and does."""
        where = self.storages[v]
        if stays and where == Storage(where.buffer, contiguous_strides(v.shape)):
            return [], where.buffer
        dense = Value(v.shape, v.dtype)
        nodes = self._fresh(dense)
        copied = self.kernels.copy(v, self.storages[dense]) if v.numel else []
        return [*nodes, *copied], self.storages[dense].buffer

    def _as_view(self, op: Generic, state: RegionState) -> bool:
        """A pure copy with an affine address needs no code: its Value is placed on the operand's
        memory. Not where memory is written by somebody else later, or is the caller's to read."""
        if op.out in self.storages or op.body.op == "load" and op.body.attr in state.carried:
            u = state.follows.get(op.out)
            if op.out in self.storages or u is None or not is_beginning(op) or (
                    not self._has_own_memory(u)):
                return False
            self._place(op.out, self.storages[u].buffer)
            return True
        where = view_of(op, self.storages)
        if where is not None:
            self._place(op.out, where.buffer, where.strides, where.offset)
        return where is not None

    def _place_on_base(self, op: Generic | Scatter, base: Value, state: RegionState) -> bool:
        """Puts op's result where its base is, if nobody needs the base afterwards. Returns whether
        the base has to be copied (Scatter's schedule does that itself)."""
        if op.out in self.storages:
            return True
        if base in state.roomy:
            where = self.storages[base]
            self._place(op.out, where.buffer, where.strides, where.offset)
            state.roomy.add(op.out)
            return False
        if self._reuse_base(op, base, state):
            return False
        self._new(op.out)
        return True

    def _reuse_base(self, op: Generic | Scatter, base: Value, state: RegionState) -> bool:
        """Places op's result on its base's memory, if that is possible."""
        source = self.storages[base]
        free = source.buffer.space in ("arena", "heap") and all(
            state.last_use.get(v, -1) <= state.position
            and v not in state.outer and v not in state.carried
            for v in self.residents[source.buffer])
        reads = [v for v in op.operands() if v is not base]
        if any(isinstance(op, Scatter) or x.args != op.write or op.combiner is not None
               for x in loads_of(op, base)):
            free = False  # it would read what it has overwritten
        free = free and source.separates(base.shape)
        if free and all(self.storages[v].buffer is not source.buffer for v in reads):
            self._place(op.out, source.buffer, source.strides, source.offset)
            return True
        if state.in_place.get(base) is op.out:
            self._place(op.out, source.buffer, source.strides, source.offset)
            return True
        return False

    def _dense(self, v: Value) -> tuple[list[Node], MemoryBuffer]:
        """A memory that holds v alone, row-major, and what puts it there."""
        where = self.storages[v]
        if where == Storage(where.buffer, contiguous_strides(v.shape)) and (
                where.buffer.size == v.numel):
            return [], where.buffer
        memory = MemoryBuffer(v.dtype, max(v.numel, 1), "arena")
        return self.kernels.copy(v, Storage(memory, contiguous_strides(v.shape))), memory

    def _new_results(self, op: TensorOp, state: RegionState) -> dict[Value, Value]:
        """Places the results, and gives those that take the place of a Value, with it. Blocks of
        the heap are made large enough where they are written."""
        taken: dict[Value, Value] = {}
        for v in op.results:
            u = state.follows.get(v)
            if u is not None and self._has_own_memory(u):
                taken[v] = u
                self._place(v, self.storages[u].buffer)
            elif is_dynamic(v.shape):
                self._place(v, block_of(v))
            else:
                self._new(v, None, state)
        return taken

    def _has_own_memory(self, v: Value) -> bool:
        """Whether v begins its memory, row-major."""
        where = self.storages[v]
        return where == Storage(where.buffer, contiguous_strides(v.shape))

    def _grow(self, op: Grow, state: RegionState) -> list[Node]:
        """More rows, where the base is if that is possible."""
        v, base = op.out, op.base
        name = self.kernels.name()
        if state.in_place.get(base) is v and self._has_own_memory(base) and (
                self.storages[base].buffer.space == "heap"):
            self._place(v, self.storages[base].buffer)
            return allocate(v, self.storages[v].buffer, self.storages, name, keep=True)
        nodes = self._fresh(v)
        return nodes + self.kernels.copy(base, self.storages[v])
