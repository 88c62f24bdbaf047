"""The state of a program: the attributes that its methods set and the buffers that they write.

They are values of run time in all methods, and kept from call to call. Which they are is found by
evaluating the methods until no new one turns up: what no method changes is what the archive says.
What is no tensor and no number in them is the state's form (lowering/state_forms.py); methods are
evaluated for each form that the state can get (lowering/evaluate_forms.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

import numpy as np

from lowering.abstract import AbstractTensor, Storage
from lowering.evaluate_memory import related
from lowering.evaluate_state import is_same
from lowering.objects import ScriptObject, TensorData
from lowering.random_words import INITIAL
from lowering.state_forms import (
    Form, form_of_data, form_of_value, initial_arrays, leaves, value_of_form,
)
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Region, State, Value
from runtime.dtypes import DType
from runtime.errors import CompileError

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

Key = tuple  # of a cell: an object's id and an attribute's name, or a storage's id and a window
Forms = dict[Key, Form]
MOST_VALUES = 4  # of a number that is part of the form


@dataclass(eq=False)
class Cell:
    """An attribute that methods set, or (without owner) a buffer that they write in place.
    `before` is the archive's value and `form` its form."""

    name: str
    before: object
    form: Form
    owner: ScriptObject | None = None
    attribute: str = ""
    generator: str = ""  # which part of the random generator's state this is


@dataclass(eq=False)
class Entered:
    """A cell in one evaluation: its value at the start (of a buffer: its Storage), the tensors and
    numbers in it, and what they and its form are at the end."""

    cell: Cell
    value: object = None
    begins: dict[State, Value] = field(default_factory=dict)
    read: bool = False  # the program got the attribute as an earlier call left it
    form: Form | None = None
    ends: dict[State, Value] = field(default_factory=dict)
    problem: str = ""  # why the cell cannot be kept
    in_place: bool = False
    ends_in: set[Storage] = field(default_factory=set)


_PARTS = {id(INITIAL.words): "words", id(INITIAL.normal): "normal"}


class StateTable:
    """The cells found so far in a module and the objects that it holds."""

    def __init__(self, module: ScriptObject | None, known_numbers: bool = False):
        self.known_numbers = known_numbers  # those of a form are constants in it, but for counters
        self.counters: set[Key] = set()  # cells whose numbers take many values
        self.cells: dict[Key, Cell] = {}
        self.live: set[Key] = set()  # cells that some method looks at
        self.names: dict[int, str] = {}  # dotted names of the tensors, by identity
        self.strings: list[str] = []  # that strings of run time may be, in all methods
        self._states: dict[tuple, State] = {}
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
            for x in leaves(value):
                if isinstance(x, ScriptObject):
                    self._visit(x, f"{prefix}{name}.")
                elif isinstance(x, TensorData):
                    self._holders[id(x.storage)] = self._holders.get(id(x.storage), 0) + 1

    @property
    def changes(self) -> bool:
        """Whether methods change what the module holds."""
        return any(not cell.generator for cell in self.cells.values())

    # One evaluation

    def enter(self, ev: Evaluator, forms: Forms, values: dict[State, Value]) -> None:
        """Gives an evaluation that begins the cells as values of run time, in the given forms, or
        else the archive's. `values` has the parameters, and gets those it lacks."""
        for key, cell in self.cells.items():
            e = ev.state[key] = Entered(cell)
            param = self._parameters(key, e, values)
            if cell.owner is None:
                data = cell.before
                assert isinstance(data, TensorData)
                strides = None if data.is_contiguous else data.strides
                e.value = Storage(param("", data.dtype, data.sizes, False), strides, data)
                ev.memory.preload(data, e.value)
            else:
                e.value = value_of_form(ev, forms.get(key, self._archived(key)), "", param)
                ev.memory.written_attributes(cell.owner)[cell.attribute] = e.value

    def _parameters(self, key: Key, e: Entered, values: dict[State, Value]) -> Callable:
        def param(path: str, dtype: DType, shape: tuple[int, ...], wrapped: bool) -> Value:
            state = self._state(key, path, dtype, shape)
            if state not in values:
                name = re.sub(r"\W", "_", e.cell.name)
                name = f"_{name}" if name[:1].isdigit() else name
                values[state] = Value(shape, dtype, name=name, wrapped=wrapped)
            e.begins[state] = values[state]
            return values[state]

        return param

    def _state(self, key: Key, path: str, dtype: DType, shape: tuple[int, ...]) -> State:
        """The place of a tensor or number of a cell; forms that differ elsewhere share it."""
        found = self._states.get((key, path, dtype, shape))
        if found is None:
            cell = self.cells[key]
            array = dict(initial_arrays(cell.before)).get(path)
            if array is None or (array.shape, array.dtype) != (shape, np.dtype(dtype.storage)):
                array = np.zeros(shape, dtype.storage)
            found = self._states[(key, path, dtype, shape)] = State(
                cell.name, dtype, array, generator=cell.generator)
        return found

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
                    self.cells[key] = Cell(name, data, form_of_data(data),
                                           generator=_PARTS.get(id(data), ""))
        return len(self.cells) > count

    def _add_attribute(self, obj: ScriptObject, name: str) -> None:
        key = (id(obj), name)
        if key in self.cells or id(obj) not in self._objects or name not in obj.attributes:
            return
        title, before = self._objects[id(obj)][1] + name, obj.attributes[name]
        self.cells[key] = Cell(title, before, form_of_data(before), obj, name)

    def look(self, ev: Evaluator) -> bool:
        """Notes which cells an evaluation has looked at; whether one is found live."""
        count = len(self.live)
        reads = read_values(ev.memory.root)
        self.live |= {key for key, e in ev.state.items()
                      if e.read or any(v in reads for v in e.begins.values())}
        return len(self.live) > count

    def leave(self, ev: Evaluator) -> bool:
        """Notes what each cell holds at the end of an evaluation; whether one is found live."""
        found = self.look(ev)
        for key, e in ev.state.items():
            self._end(ev, key, e)
        return found

    def _end(self, ev: Evaluator, key: Key, e: Entered) -> None:
        cell = e.cell
        if cell.owner is None:
            assert isinstance(e.value, Storage)
            (state,) = e.begins
            e.form, e.ends, e.ends_in = cell.form, {state: e.value.current}, {e.value}
            return
        value = ev.memory.written_attributes(cell.owner)[cell.attribute]
        begins = set(e.begins.values())
        e.in_place = any(x.storage.current not in begins for x in _tensors(e.value)
                         if x.storage.source is None)
        for x in _tensors(value):
            e.ends_in |= related(x.storage)

        def keep(path: str, v: Value) -> None:
            if is_dynamic(v.shape):
                raise ValueError("it is a tensor whose size is known only at run time")
            e.ends[self._state(key, path, v.dtype, v.shape)] = v

        try:
            e.form = form_of_value(ev, value, "", keep, self._is_known(key))
        except ValueError as error:
            e.problem = f"the attribute '{cell.name}' is kept between calls, but {error}"

    # All evaluations

    def forms(self, entered: dict[Key, Entered] | None = None) -> Forms:
        """The forms at the end of an evaluation, or those of the archive, of all live cells."""
        if entered is None:
            return {key: self._archived(key) for key in self.live}
        found = {}
        for key in self.live:
            e = entered[key]
            if e.form is None:
                raise CompileError(e.problem)
            found[key] = e.form
        return found

    def _is_known(self, key: Key) -> bool:
        return self.known_numbers and key not in self.counters

    def _archived(self, key: Key) -> Form:
        cell = self.cells[key]
        return form_of_data(cell.before, True) if self._is_known(key) else cell.form

    def widen(self, forms: list[Forms]) -> bool:
        """Makes counters of the cells whose numbers take more than a few values, or are sometimes
        those of run time; whether there was one."""
        count = len(self.counters)
        for key in self.live:
            kinds = {form[key] for form in forms}
            if self._is_known(key) and (
                    len(kinds) > MOST_VALUES or len({form[0] for form in kinds}) > 1):
                self.counters.add(key)
        return len(self.counters) > count

    def text(self, forms: Forms) -> str:
        """What a combination of forms is, in words that are the same in every process."""
        return ", ".join(sorted(f"{self.cells[key].name}: {_words(form)}"
                                for key, form in forms.items()))

    def differing(self, a: Forms, b: Forms) -> list[str]:
        """The names of the cells whose forms differ."""
        return [f"'{self.cells[key].name}'" for key in self.live if a[key] != b[key]]

    def refuse_shared(self, entered: list[dict[Key, Entered]]) -> None:
        """CompileError where two cells are one tensor and one of them is written in place: each has
        its own memory, so the other would not change."""
        for key in self.live:
            others = [] if self.cells[key].owner is None else self._sharing(key, entered)
            if others:
                raise CompileError(
                    f"the attribute '{self.cells[key].name}' is one tensor with {others[0]} from "
                    "call to call, and one of them is written in place: compiled models cannot "
                    "keep that; use a clone()")

    def _sharing(self, key: Key, entered: list[dict[Key, Entered]]) -> list[str]:
        written = {k for cells in entered for k, e in cells.items()
                   if e.in_place or e.cell.owner is None}
        others: list[str] = []
        for cells in entered:
            mine = cells[key].ends_in
            for other, e in cells.items():
                if other != key and other in self.live and written & {key, other} and (
                        mine & e.ends_in):
                    others.append(f"'{e.cell.name}'")
            if key in written and any(s.source is not None for s in mine):
                others.append("a parameter or buffer")
        if key in written and any(isinstance(x, TensorData) and self._holders[id(x.storage)] > 1
                                  for x in leaves(self.cells[key].before)):
            others.append("another attribute")
        return others


def _words(x: object) -> str:
    if isinstance(x, tuple):
        return f"({' '.join(map(_words, x))})"
    return str(x) if isinstance(x, (str, int, float, DType, type(None))) else type(x).__name__


def _tensors(x: object) -> list[AbstractTensor]:
    return [v for v in leaves(x) if isinstance(v, AbstractTensor)]


def read_values(region: Region) -> set[Value]:
    """All Values that ops or results of the region, or of one inside, read."""
    found = set(region.results)
    for op in region.ops:
        found.update(op.operands())
        for inner in op.regions():
            found |= read_values(inner)
    return found
