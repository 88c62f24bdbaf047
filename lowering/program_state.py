"""The state of a program: the attributes that its methods set and the buffers that they write.

They are values of run time in all methods, and kept from call to call. Which they are is found by
evaluating the methods until no new one turns up: what no method changes is what the archive says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterator

import numpy as np

from lowering.abstract import AbstractTensor, Storage, describe, is_number, number_type
from lowering.evaluate_memory import related
from lowering.evaluate_state import is_same
from lowering.objects import NamedTupleValue, ScriptObject, TensorData
from lowering.tensor_ir import Region, State, TensorProgram, Value
from runtime.dtypes import bool_, f64, i64
from runtime.errors import CompileError

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

_NUMBERS = {bool: bool_, int: i64, float: f64}


@dataclass(eq=False)
class Cell:
    """An attribute that methods set, or (without owner) a buffer that they write in place.
    `before` is the archive's value; `states` its tensors and numbers, in order."""

    name: str
    before: object
    owner: ScriptObject | None = None
    attribute: str = ""
    states: list[State] = field(default_factory=list)


@dataclass(eq=False)
class Entered:
    """A cell in one evaluation: its value at the start (of a buffer: its Storage), the parameters
    in it, and what they are at the end, or why they are nothing that can be kept."""

    cell: Cell
    value: object
    params: list[Value]
    read: bool = False  # the program got the attribute as an earlier call left it
    results: list[Value] = field(default_factory=list)
    problem: str | None = None
    in_place: bool = False
    ends_in: set[Storage] = field(default_factory=set)


class StateTable:
    """The cells found so far in a module and the objects that it holds."""

    def __init__(self, module: ScriptObject | None):
        self.cells: dict[tuple, Cell] = {}
        self.names: dict[int, str] = {}  # dotted names of the tensors, by identity
        self._objects: dict[int, tuple[ScriptObject, str]] = {}
        self._holders: dict[int, int] = {}  # id of a StorageData -> tensors that lie in it
        if module is not None:
            self._visit(module, "")

    def _visit(self, instance: ScriptObject, prefix: str) -> None:
        if id(instance) in self._objects:
            return
        self._objects[id(instance)] = instance, prefix
        for name, value in instance.attributes.items():
            if isinstance(value, TensorData):
                self.names.setdefault(id(value), prefix + name)
            for x in _leaves(value):
                if isinstance(x, ScriptObject):
                    self._visit(x, f"{prefix}{name}.")
                elif isinstance(x, TensorData):
                    self._holders[id(x.storage)] = self._holders.get(id(x.storage), 0) + 1

    # One evaluation

    def enter(self, ev: Evaluator) -> dict[tuple, Entered]:
        """Gives an evaluation that begins the cells as values of run time."""
        for key, cell in self.cells.items():
            params: list[Value] = []
            if cell.owner is None:
                data = cell.before
                assert isinstance(data, TensorData)
                params.append(_param(cell.name, data))
                storage = Storage(params[0], None if data.is_contiguous else data.strides, data)
                ev.memory.preload(data, storage)
                ev.state[key] = Entered(cell, storage, params)
            else:
                value = _start(cell.before, cell.name, params)
                ev.memory.written_attributes(cell.owner)[cell.attribute] = value
                ev.state[key] = Entered(cell, value, params)
        return ev.state

    def note(self, ev: Evaluator) -> bool:
        """Adds cells for what the evaluation changed; whether there was anything new."""
        count = len(self.cells)
        for (_, name), obj in ev.assigned.items():
            self._add_attribute(obj, name)
        for (_, name), (obj, before, value) in ev.loaded.items():
            if isinstance(before, (list, dict)) and not is_same(before, value):
                self._add_attribute(obj, name)
        for storage in ev.memory.constants():
            data = storage.source
            if storage.written and isinstance(data, TensorData):
                key = (id(data.storage), data.offset, data.sizes, data.strides)
                if key not in self.cells:
                    name = self.names.get(id(data)) or data.storage.name or "buffer"
                    self.cells[key] = Cell(name, data, states=_states(name, data))
        return len(self.cells) > count

    def _add_attribute(self, obj: ScriptObject, name: str) -> None:
        key = (id(obj), name)
        if key in self.cells or id(obj) not in self._objects or name not in obj.attributes:
            return
        title, before = self._objects[id(obj)][1] + name, obj.attributes[name]
        self.cells[key] = Cell(title, before, obj, name, _states(title, before))

    def leave(self, ev: Evaluator) -> None:
        """Notes what each cell holds at the end of an evaluation."""
        for e in ev.state.values():
            cell = e.cell
            if cell.owner is None:
                assert isinstance(e.value, Storage)
                e.results, e.ends_in = [e.value.current], {e.value}
                continue
            value = ev.memory.written_attributes(cell.owner)[cell.attribute]
            e.in_place = any(x.storage.current not in e.params for x in _tensors(e.value))
            for x in _tensors(value):
                e.ends_in |= related(x.storage)
            try:
                _end(ev, cell.before, value, e.results)
            except ValueError as error:
                e.problem = f"the attribute '{cell.name}' is kept between calls, but {error}"

    # All evaluations

    def finish(self, programs: list[TensorProgram],
               entered: list[dict[tuple, Entered]]) -> None:
        """Makes the cells that some method looks at parameters and results of the programs."""
        reads = [_reads(p.body) for p in programs]
        for program in programs:
            program.changes = bool(self.cells)
        for key in self.cells:
            uses = [e[key] for e in entered]
            if not any(e.read or any(p in r for p in e.params) for e, r in zip(uses, reads)):
                continue  # set, and never looked at: no call can tell
            for e in uses:
                if e.problem is not None:
                    raise CompileError(e.problem)
            self._refuse_shared(key, entered)
            for program, e, r in zip(programs, uses, reads):
                for state, param, result in zip(e.cell.states, e.params, e.results):
                    if result is not param or param in r:
                        program.state.append(state)
                        program.body.params.append(param)
                        program.body.results.append(result)

    def _refuse_shared(self, key: tuple, entered: list[dict[tuple, Entered]]) -> None:
        """Each cell has its own memory: where two are one tensor, writing one in place would not
        change the other."""
        cell = self.cells[key]
        if cell.owner is None:
            return
        written = any(e[key].in_place for e in entered)
        others: list[str] = []
        for cells in entered:
            mine = cells[key].ends_in
            for other, e in cells.items():
                touched = written or e.cell.owner is None or any(c[other].in_place for c in entered)
                if other != key and touched and mine & e.ends_in:
                    others.append(f"'{e.cell.name}'")
            if written and any(s.source is not None for s in mine):
                others.append("a parameter or buffer")
        if written and any(isinstance(x, TensorData) and self._holders[id(x.storage)] > 1
                           for x in _leaves(cell.before)):
            others.append("another attribute")
        if others:
            raise CompileError(
                f"the attribute '{cell.name}' is one tensor with {others[0]} from call to call, "
                f"and "
                "one of them is written in place: compiled models cannot keep that; use a clone()")


def _leaves(x: object) -> Iterator[object]:
    """What stands in nested lists, tuples and dicts, in order."""
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from _leaves(v)
    elif isinstance(x, dict):
        for v in x.values():
            yield from _leaves(v)
    else:
        yield x


def _tensors(x: object) -> list[AbstractTensor]:
    return [v for v in _leaves(x) if isinstance(v, AbstractTensor)]


def _is_kept(x: object) -> bool:
    """Whether a leaf of the archive's value has a place in the state; all else must stay as is."""
    if isinstance(x, TensorData):
        return x.problem is None and not isinstance(x.storage.dtype, str)
    return isinstance(x, (bool, int, float))


def _states(name: str, before: object) -> list[State]:
    found = []
    for x in filter(_is_kept, _leaves(before)):
        if isinstance(x, TensorData):
            found.append(State(name, x.dtype, np.ascontiguousarray(x.numpy())))
        else:
            dtype = _NUMBERS[type(x)]
            found.append(State(name, dtype, np.array(x, dtype.storage)))
    return found


def _param(name: str, x: object) -> Value:
    name = re.sub(r"\W", "_", name)
    name = f"_{name}" if name[:1].isdigit() else name
    if isinstance(x, TensorData):
        return Value(x.sizes, x.dtype, name=name)
    return Value((), _NUMBERS[type(x)], name=name, wrapped=True)


def _start(before: object, name: str, params: list[Value]) -> object:
    """An attribute's value at the start of a call, of parameters that are appended to `params`."""
    if _is_kept(before):
        params.append(_param(name, before))
        if not isinstance(before, TensorData):
            return params[-1]
        tensor = AbstractTensor(Storage(params[-1]))
        tensor.requires_grad = before.requires_grad
        return tensor
    if isinstance(before, NamedTupleValue):
        return NamedTupleValue([_start(v, name, params) for v in before], before.type)
    if isinstance(before, tuple):
        return tuple(_start(v, name, params) for v in before)
    if isinstance(before, list):
        return [_start(v, name, params) for v in before]
    if isinstance(before, dict):
        return {k: _start(v, name, params) for k, v in before.items()}
    return before


def _end(ev: Evaluator, before: object, now: object, results: list[Value]) -> None:
    """Appends the tensors and numbers of `now`; ValueError unless it is of the form of `before`."""
    if _is_kept(before):
        if isinstance(before, TensorData):
            if isinstance(now, AbstractTensor) and (
                    (now.shape, now.dtype) == (before.sizes, before.dtype)):
                results.append(ev.memory.read(now))
                return
        elif is_number(now) and number_type(now) is type(before):
            results.append(ev.value_of(now))
            return
    elif isinstance(before, (list, tuple)):
        if isinstance(now, (list, tuple)) and len(now) == len(before):
            for a, b in zip(before, now):
                _end(ev, a, b, results)
            return
        if isinstance(now, (list, tuple)):
            raise ValueError(f"it has {len(before)} elements at the start and {len(now)} after a "
                             "call; the length must stay the same")
    elif isinstance(before, dict):
        if isinstance(now, dict) and list(now) == list(before):
            for k in before:
                _end(ev, before[k], now[k], results)
            return
    elif before is now or type(before) is type(now) is str and before == now:
        return
    raise ValueError(f"it is {_text(before)} at the start and {describe(now)} after a call; type, "
                     "dtype and shape must stay the same")


def _text(before: object) -> str:
    if isinstance(before, TensorData):
        return f"Tensor {before.storage.dtype}{list(before.sizes)}"
    return describe(before)


def _reads(region: Region) -> set[Value]:
    """All Values that ops or results of the region, or of one inside, read."""
    found = set(region.results)
    for op in region.ops:
        found.update(op.operands())
        for inner in op.regions():
            found |= _reads(inner)
    return found
