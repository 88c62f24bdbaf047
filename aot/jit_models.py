"""The compiled code of calls: kept by function, by what arguments are, and by what is built in."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from aot import jit_fusion, torch_bridge
from aot.jit_state import Separated, Slot, separate
from aot.tensor_core import Tensor
from lowering.graph import Function
from lowering.objects import ScriptObject, TensorData
from runtime.errors import AlwaysRaises, AotError, CompileError

_FOLDER = os.path.dirname(__file__) + os.sep
_MOST_OBJECTS = 8  # whose methods' states are known apart, for each function
_MOST_TURNS = 4  # how often code is made anew at once when a module's weights were changed

Compiled = Callable[..., Any]


class _Entry:
    """Code for one kind of arguments of one object. `built_in` is what it has for constant, and
    `held` keeps that alive, so that nothing else can be taken for it. It was made anew `turn`
    times; `waits`: so often that it is made only if the next call finds what this one did."""

    def __init__(self, built_in: object, held: list, turn: int) -> None:
        self.built_in, self.held, self.turn = built_in, held, turn
        self.waits = turn > _MOST_TURNS
        self.model: Compiled | None = None


_lock = threading.Lock()
_warned: set[str] = set()
_entries: weakref.WeakKeyDictionary[Function, dict[object, _Entry]] = weakref.WeakKeyDictionary()
_separated: weakref.WeakKeyDictionary[Function, OrderedDict] = weakref.WeakKeyDictionary()


def model_of(function: Function, instance: ScriptObject | None, given: list, stream: Callable,
             slots: Sequence[Slot] = ()) -> Compiled | None:
    """The compiled function for such arguments, compiled now if it is not yet; None where it is not
    compiled. `stream` gives the generator it draws from; the slots' values follow the arguments."""
    state = [slot.value for slot in slots]
    key = (id(instance), _key(given), _kind(state))
    held: list = [instance]
    built_in = _built_in(instance, {}, held, {(id(s.owner), s.name) for s in slots})
    entries = _entries.setdefault(function, {})
    entry = entries.get(key)
    if entry is not None and entry.built_in == built_in and not entry.waits:
        return entry.model
    with _lock:
        entry = entries.get(key)
        if entry is not None and entry.built_in == built_in:
            wanted, entry.waits = entry.waits, False
        else:
            wanted = entry is not None or len(entries) < jit_fusion.most_shapes()
            entry = _Entry(built_in, held, 0 if entry is None else entry.turn + 1)
            wanted = wanted and not entry.waits
        if wanted:
            entry.model = _compile(function, instance, given, state, stream)
        entries[key] = entry
    return entry.model


def models_of(function: Function) -> list[Compiled | None]:
    """What there is for a function: a model for each kind of arguments, None where it has none."""
    return [entry.model for entry in _entries.get(function, {}).values()]


def separated_of(function: Function, instance: ScriptObject) -> Separated | None:
    """The method with its state apart; None, with one warning, where that cannot be."""
    known = _separated.setdefault(function, OrderedDict())
    with _lock:
        found = known.get(id(instance))
        if found is None:
            made = separate(function, instance)
            if isinstance(made, str):
                _say(function, made)
            found = known[id(instance)] = instance, made  # the object stays, and so does its id
            if len(known) > _MOST_OBJECTS:
                known.popitem(last=False)
    return found[1] if isinstance(found[1], Separated) else None


def _compile(function: Function, instance: ScriptObject | None, given: list, state: list,
             stream: Callable) -> Compiled | None:
    """Machine code, or None with a warning; LLVM is imported by the first compilation."""
    try:
        more = [_as_input(x, f"s{k}") for k, x in enumerate(state)]
        pipeline = importlib.import_module("aot.pipeline")
        model = pipeline.compile_call(function, instance, torch_bridge.arrays(given),
                                      jit_fusion.passes_left_out(), more)
        model.draw_from(stream)
        return model
    except AlwaysRaises:  # as it will, with its own words
        return None
    except CompileError as e:
        if jit_fusion.is_strict():
            raise
        _say(function, str(e))
        return None
    except AotError:
        return None


def _say(function: Function, reason: str) -> None:
    """One warning, at the line of the user's call."""
    text = f"{function.name} runs in the interpreter: {reason}"
    if text in _warned:
        return
    _warned.add(text)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDER):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)


# Keys


def _key(x: Any) -> object:
    if isinstance(x, Tensor):
        return (x._data.sizes, x.row.name)
    if isinstance(x, (list, tuple)):
        return (type(x).__name__, *map(_key, x))
    if isinstance(x, dict):
        return ("dict", *((k, _key(v)) for k, v in x.items()))
    if isinstance(x, ScriptObject):
        return _built_in(x, {}, [], set())
    return (type(x).__name__, repr(x))


def _kind(x: Any) -> object:
    """What the code depends on of a value in the state; numbers are arguments."""
    if isinstance(x, TensorData):
        return (x.sizes, x.dtype.name)
    if isinstance(x, (list, tuple)):
        return tuple(map(_kind, x))
    return type(x).__name__


def _built_in(x: object, seen: dict[int, int], held: list, apart: set[tuple[int, str]]) -> object:
    """What the compiled code has built in: it is stale once this has changed. Attributes in `apart`
    are arguments. What is identified by its address is noted in `held`."""
    if isinstance(x, TensorData):
        held.append(x.storage)
        return (id(x.storage), x.storage.version, x.offset, x.sizes, x.strides)
    if not isinstance(x, ScriptObject):
        return (type(x).__name__, repr(x))
    if id(x) in seen:
        return seen[id(x)]
    seen[id(x)] = len(seen)
    return tuple(_built_in(v, seen, held, apart) for name, v in x.attributes.items()
                 if (id(x), name) not in apart)


# Values


def as_argument(x: Any) -> Any:
    """A value in the state as compiled code takes it."""
    if isinstance(x, TensorData):
        return x.numpy()
    return tuple(map(as_argument, x)) if isinstance(x, tuple) else x


def _as_input(x: Any, name: str) -> Any:
    """What a value in the state is for the compiler: numbers are known only when it runs."""
    inputs = importlib.import_module("aot.inputs")
    if isinstance(x, (bool, int, float)):
        return inputs.ScalarInput(name, type(x).__name__)
    if isinstance(x, tuple):
        return inputs.SequenceInput(name, "tuple", tuple(_as_input(v, "") for v in x))
    return inputs.input_of_value(as_argument(x), name)
