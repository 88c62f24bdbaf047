"""TensorProgram to Program: every op becomes kernels, every Value a place in memory.

Values are placed as their ops are met, in program order: outputs of the program in the caller's
memory, insertions in their base's, views on what they look into, all else in the arena. A Value's
dims lie in the order that layout.py chooses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

import numpy as np

from lowering import expr as E
from lowering.host_plan import (
    Assert, Branch, Deliver, Node, Repeat, SideBySide, host, memories, plan,
)
from lowering.index_algebra import contiguous_strides
from lowering.insertion_room import inside, order_around, room_of, root_of
from lowering.passes.row_groups import RowGroup, consecutive_row_groups
from lowering.region_state import RegionState
from lowering.lower_kernels import steps
from lowering.schedule.dynamic import schedule_dynamic, schedule_dynamic_scan
from lowering.schedule.fill import around, insertions, is_constant_fill
from lowering.schedule.layout import result_order
from lowering.schedule.loops import schedule_loops
from lowering.schedule.memory import Constants, StateSlots
from lowering.schedule.nest import nest_of
from lowering.schedule.random import schedule_random
from lowering.schedule.row_groups import row_form, schedule_row_group
from lowering.schedule.scan import schedule_scan
from lowering.schedule.scatter import schedule_scatter
from lowering.schedule.sort import schedule_sort
from lowering.schedule.sort_dynamic import schedule_dynamic_sort, scratch_values
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.lower_foreign import foreign_call
from lowering.lower_places import Places
from lowering.lower_sizes import abi_shape, allocate, elements_of, number_in_memory
from lowering.sizes import Size, is_dynamic
from lowering.tensor_ir import (
    Check, Constant, Foreign, Generic, Grow, If, Loop, Random, Region, Scan, Scatter, Sort, Tasks,
    TensorOp, TensorProgram, Value,
)
from lowering.value_infos import input_infos, output_infos
from llvm_backend.program import Method, Program
from llvm_backend.target import Target
from runtime.description import RUN_TIME_SIZE
from runtime.dtypes import bool_, to_storage


def lower_program(program: TensorProgram, target: Target, name: str, optimize: bool = True,
                  progress: Callable[[int, int], None] | None = None) -> Program:
    """The Program of one method. `progress(done, total)` is called as ops are scheduled.

    optimize False gives plain scalar loops: slow code to compare fast code with."""
    return lower_programs([program], target, name, optimize, progress)


def lower_programs(programs: list[TensorProgram], target: Target, name: str, optimize: bool = True,
                   progress: Callable[[int, int], None] | None = None) -> Program:
    """The Program of several methods, which share constants, state and arena."""
    methods, constants, kept = [], Constants(), StateSlots()
    arena = blocks = 0
    for program in programs:
        lowering = _Lowering(target, optimize, progress, len(program.body.ops), kept)
        nodes = lowering.program(program)
        method_arena, method_blocks = plan(nodes)
        arena, blocks = max(arena, method_arena), max(blocks, method_blocks)
        constants.place(memories(nodes))
        methods.append(Method(
            program.name, input_infos(program), output_infos(program),
            host(nodes), program.input_structure, program.output_structure, program.dims,
        ))
    filled = kept.fill(constants)
    return Program(name, methods, constants.found, constants.bytes, arena, filled, kept.bytes,
                   blocks, kept.fingerprint(), kept.generator(), programs[0].strings)


class _Lowering(Places):
    """One program's worth of state."""

    def __init__(self, target: Target, optimize: bool,
                 progress: Callable[[int, int], None] | None, total: int, kept: StateSlots):
        self.kept = kept
        self.target = target if optimize else replace(target, vector_bytes=1)
        self.optimize = optimize
        super().__init__(self.target, optimize)
        self.progress, self.total, self.done = progress, total, 0

    # Regions

    def program(self, program: TensorProgram) -> list[Node]:
        body = program.body
        inputs = len(body.params) - len(program.state)
        for k, v in enumerate(body.params[:inputs]):
            self._place(v, MemoryBuffer(v.dtype, elements_of(v), "input", k))
        slots = [self.kept.slot(s) for s in program.state]
        for v, slot in zip(body.params[inputs:], slots):
            self._place(v, slot)
        outputs = [None if RUN_TIME_SIZE in abi_shape(v, program)
                   else MemoryBuffer(v.dtype, elements_of(v), "output", k)
                   for k, v in enumerate(program.outputs)]
        # What the call leaves behind goes to the state last: until then its old contents are read.
        placed = {v: m for v, m in zip(program.outputs, outputs) if m is not None}
        state = RegionState(body, placed, kept=len(slots))
        nodes = self._region(body, [*outputs, *slots], state)
        for k, v in enumerate(program.outputs):
            if outputs[k] is None:
                nodes += self._deliver(k, v)
        return nodes

    def _region(self, region: Region, results: list[MemoryBuffer | None],
                state: RegionState) -> list[Node]:
        """Code of a region whose results end in the given buffers (None: stay where they are),
        row-major."""
        nodes: list[Node] = []
        chains = {id(g.ops[0]): g for g in consecutive_row_groups(region, self.target)
                  } if self.optimize else {}
        done = 0
        for position, op in enumerate(region.ops):
            state.position = position
            if id(op) in chains:
                nodes += self._row_group(chains[id(op)], state)
                done = position + len(chains[id(op)].ops)
            elif position >= done:
                nodes += self._op(op, state)
        moves = [(v, Storage(memory, contiguous_strides(v.shape)))
                 for v, memory in zip(region.results, results)
                 if memory is not None and (v.numel or memory.space == "heap")]
        moves = [(v, where) for v, where in moves if self.storages[v] != where]
        overwritten = {where.buffer for _, where in moves}
        for k, (v, where) in enumerate(moves):  # a loop may swap what it carries
            if self.storages[v].buffer in overwritten:
                aside = Value(v.shape, v.dtype)
                nodes += self._fresh(aside)
                nodes += self.kernels.copy(v, self.storages[aside])
                moves[k] = aside, where
        # Sizes are among the results: what they are the sizes of is moved before them.
        for v, where in sorted(moves, key=lambda move: move[1].buffer.space != "heap"):
            if where.buffer.space == "heap":
                nodes += allocate(v, where.buffer, self.storages, self.kernels.name())
            nodes += self.kernels.copy(v, where)
        return nodes

    def _deliver(self, output: int, v: Value) -> list[Node]:
        """Hands v's block to the caller; a view of something else is copied first."""
        nodes, memory = self._alone(v, self.storages[v].buffer.space == "heap")
        sizes = []
        for n in v.shape:
            if isinstance(n, Size):
                before, slot = number_in_memory(n, self.storages, self.kernels.name())
                nodes += before
                sizes.append(slot)
        return [*nodes, Deliver(output, memory, sizes)]

    def _dynamic(self, op: Generic, state: RegionState) -> list[Node]:
        """A Generic over or onto a size of run time."""
        if op.write is None and self._as_view(op, state):
            return []
        nodes: list[Node] = []
        if op.base is not None:
            if op.base not in self.storages:  # a fill that waited for its first insertion
                nodes += self._fill(op.base, result_order(op, self.storages), state)
            nodes += self._on_base(op, op.base, state)
        elif is_constant_fill(op) and op.out not in self.storages and self._waits(op, state):
            return []
        elif is_dynamic(op.out.shape):
            nodes += self._new_dynamic(op.out, result_order(
                op, self.storages, state.only_reader.get(op.out)), state)
        elif op.out not in self.storages:
            self._new(op.out, None, state)
        return nodes + self.kernels.nest(nest_of(op, self.storages))

    def _on_base(self, op: Generic | Scatter, base: Value, state: RegionState) -> list[Node]:
        """_place_on_base, and the copy of the base where the result needs one."""
        if not is_dynamic(op.out.shape):
            copied = self._place_on_base(op, base, state)
            return self.kernels.copy(base, self.storages[op.out]) if copied else []
        if self._reuse_base(op, base, state):
            return []
        nodes = self._new_dynamic(op.out)
        if isinstance(op, Generic):
            nodes += self.kernels.copy(base, self.storages[op.out])
        return nodes

    # Ops

    def _op(self, op: TensorOp, state: RegionState) -> list[Node]:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))
        if isinstance(op, Constant):
            data = np.ascontiguousarray(to_storage(op.data, op.out.dtype))
            self._place(op.out, MemoryBuffer(op.out.dtype, max(op.out.numel, 1), "constant",
                                             data=data))
            return []
        if isinstance(op, Generic):
            return self._generic(op, state)
        if isinstance(op, Sort) and is_dynamic(op.x.shape):
            scratch = scratch_values(op)
            nodes = [n for v in (*op.results, *scratch) for n in self._fresh(v)]
            return nodes + steps([schedule_dynamic_sort(
                op, self.storages, scratch, self.kernels.name())])
        if isinstance(op, Sort):
            for v in op.results:
                self._new(v, None, state)
            return steps(schedule_sort(op, self.storages, self.target, self.kernels.name()))
        if isinstance(op, Scan) and is_dynamic(op.x.shape):
            nodes = self._new_dynamic(op.out)
            return nodes + steps([schedule_dynamic_scan(
                op, self.storages, self.target, self.kernels.name())])
        if isinstance(op, Scan):
            for v in op.results:
                self._new(v, None, state)
            return steps(schedule_scan(op, self.storages, self.target, self.kernels.name()))
        if isinstance(op, Scatter):
            nodes = []
            if is_dynamic(op.out.shape):
                nodes = self._on_base(op, op.base, state)
            else:
                self._place_on_base(op, op.base, state)
            scheduled = schedule_scatter(op, self.storages, self.target, self.kernels.name())
            return nodes + steps(scheduled)
        if isinstance(op, Random):
            nodes = self._new_dynamic(op.out) if is_dynamic(op.out.shape) else []
            if op.out not in self.storages:
                self._new(op.out, None, state)
            return nodes + steps([schedule_random(
                op, self.storages, self.target, self.kernels.name())])
        if isinstance(op, Grow):
            return self._grow(op, state)
        if isinstance(op, Foreign):
            nodes = []
            for v in op.results:
                if is_dynamic(v.shape):
                    nodes += self._new_dynamic(v, None, state)
                else:
                    self._new(v, None, state)
            return nodes + foreign_call(op, self.storages, self.kernels.name(), self._alone)
        if isinstance(op, Check):
            return self._check(op)
        if isinstance(op, If):
            return self._if(op, state)
        if isinstance(op, Tasks):
            return self._tasks(op, state)
        if isinstance(op, Loop):
            return self._loop(op, state)
        raise AssertionError(f"unknown op {type(op).__name__}")

    def _generic(self, op: Generic, state: RegionState) -> list[Node]:
        if is_dynamic((*op.domain, *op.out.shape)):
            return self._dynamic(op, state)
        if op.out.numel == 0:
            self._new(op.out)
            return []
        copies = op.body.op == "load" and op.combiner is None and op.write is None
        if copies and op.out in state.direct:
            self._new(op.out, None, state)  # a copy has no order of its own to prefer
        elif op.write is None and self._as_view(op, state):
            return []
        nodes: list[Node] = []
        if op.base is not None:
            if is_constant_fill(op.base.op) and op.base not in self.storages:
                nodes += self._fill(op.base, result_order(op, self.storages), state)
            copied = self._place_on_base(op, op.base, state)
            if copied:
                nodes += self.kernels.copy(op.base, self.storages[op.out])
            if id(op) in state.settled:
                return nodes
        elif is_constant_fill(op) and (op.out in state.roomy or op.out not in self.storages
                                       and self._waits(op, state)):
            return []
        elif op.out not in self.storages:
            nodes += self._in_room(op.out, result_order(
                op, self.storages, state.only_reader.get(op.out)), state)
        if 0 in op.domain[: op.parallel]:
            return nodes
        return nodes + self.kernels.nest(nest_of(op, self.storages))

    def _waits(self, fill: Generic, state: RegionState) -> bool:
        """Whether it is written when the first insertion is met, around what is inserted."""
        reader = state.only_reader.get(fill.out)
        return isinstance(reader, Generic) and reader.base is fill.out

    def _row_group(self, group: RowGroup, state: RegionState) -> list[Node]:
        """A chain of ops as one kernel."""
        self.done += len(group.ops)
        form = row_form(group, self.target)
        storages = dict(self.storages)
        for op in group.ops:
            if op.out not in group.inside:
                self._new(op.out, result_order(op, storages, state.only_reader.get(op.out)), state)
            storages[op.out] = self.storages.get(op.out) or Storage(  # what orders may follow
                form.storages[op.out].buffer, contiguous_strides(op.out.shape))
        storages |= form.storages
        nests = [nest_of(op, storages) for op in group.ops]
        return steps(self.kernels.shapes.kernels(nests, lambda shapes, form: schedule_row_group(
            shapes, form, self.target, self.kernels.name()), form))

    def _fill(self, base: Value, order: tuple[int, ...], state: RegionState) -> list[Node]:
        """Places a constant base with its dims in this order, and writes what no insertion of the
        chain covers."""
        fill = base.op
        nodes: list[Node] = []
        chain = insertions(base, state.only_reader)
        if is_dynamic(base.shape):
            nodes = self._new_dynamic(base, order)
        elif chain and self.optimize and not E.loads(fill.body):
            nodes = self._in_room(chain[-1].out, order, state)
            where = self.storages.pop(chain[-1].out)  # it is there when it is complete
            self.residents[where.buffer].remove(chain[-1].out)
            self._place(base, where.buffer, where.strides, where.offset)
            if where.buffer.space == "output" or len(self.residents[where.buffer]) > 1:
                state.roomy.add(base)
        else:
            self._new(base, order)
        pieces = around(nest_of(fill, self.storages), base.shape, chain)
        if not pieces:
            return nodes
        if is_dynamic(base.shape):
            return nodes + steps(
                [schedule_dynamic(pieces, self.storages, self.target, self.kernels.name())])
        return nodes + steps([schedule_loops(pieces, self.target, self.kernels.name())])

    def _in_room(self, v: Value, order: tuple[int, ...], state: RegionState) -> list[Node]:
        """Places v in what it will be inserted into, if that may be; else in fresh memory."""
        op = room_of(v, state) if self.optimize and v not in state.direct else None
        if op is None:
            self._new(v, order, state)
            return []
        nodes: list[Node] = []
        root = root_of(op, state)
        if root not in self.storages:
            nodes = self._fill(root, order_around(op, order), state)
            state.roomy.add(root)
        elif root not in state.roomy:
            self._new(v, order, state)
            return nodes
        where = inside(op, self.storages[root])
        self._place(v, where.buffer, where.strides, where.offset)
        state.settled.add(id(op))
        return nodes

    # Control flow

    def _check(self, op: Check) -> list[Node]:
        nodes, condition = self._dense(op.condition)
        message: list[str | tuple[MemoryBuffer, str]] = []
        for part in op.told.parts:
            if isinstance(part, str):
                message.append(part)
            else:
                before, memory = self._dense(part.value)
                nodes += before
                message.append((memory, part.form))
        return [*nodes, Assert(condition, message, op.kind)]

    def _if(self, op: If, state: RegionState) -> list[Node]:
        taken = self._new_results(op, state)
        results = [self.storages[v].buffer for v in op.results]
        nodes, condition = self._dense(op.condition)
        branches = [self._region(r, results, RegionState(r, flows=[
            (taken[v], end) for v, end in zip(op.results, r.results) if v in taken]))
            for r in (op.then, op.otherwise)]
        return [*nodes, Branch(condition, *branches)]

    def _tasks(self, op: Tasks, state: RegionState) -> list[Node]:
        self._new_results(op, state)
        results = iter([self.storages[v].buffer for v in op.results])
        tasks = [self._region(r, [next(results) for _ in r.results], RegionState(r))
                 for r in op.tasks]
        return tasks[0] if len(tasks) == 1 else [SideBySide(tasks)]

    def _loop(self, op: Loop, state: RegionState) -> list[Node]:
        nodes: list[Node] = []
        taken = self._new_results(op, state)
        for v, init in zip(op.results, op.inits):
            if v in taken:
                continue
            where = Storage(self.storages[v].buffer, contiguous_strides(init.shape))
            if where.buffer.space == "heap":
                nodes += allocate(init, where.buffer, self.storages, self.kernels.name())
            if init.numel:
                nodes += self.kernels.copy(init, where)
        counter, *carried = op.body.params
        self._new(counter)
        for p, v in zip(carried, op.results):
            self._place(p, self.storages[v].buffer)
        results = [self.storages[v].buffer for v in op.results]
        condition = None
        if op.condition is not None:
            condition = MemoryBuffer(bool_, 1, "arena")
            nodes += self.kernels.copy(op.condition, Storage(condition, ()))
            results = [condition, *results]
        trip = op.trip
        if isinstance(trip, Value):
            before, trip = self._dense(trip)
            nodes += before
        with self.kernels.in_turns(self.storages[counter].buffer):
            body = self._region(op.body, results, RegionState(op.body, carried=True))
        return [*nodes, Repeat(trip, condition, self.storages[counter].buffer, body)]
