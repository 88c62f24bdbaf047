"""Runs a method with values, in Python: what calling a loaded module does.

The Graph is evaluated with everything known, so that each operator's TensorOps run in the numpy
interpreter as soon as they are built. Right for any data-dependent program, and slow.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from lowering import build as B
from lowering.abstract import (
    AbstractComplex, AbstractTensor, Future, Raised, Storage, Unknown, known_array,
)  # fmt: skip
from lowering.evaluate_prims import abstract
from lowering.evaluate_state import is_same
from lowering.evaluator import Evaluator
from lowering.graph import Function
from lowering.objects import (
    NamedTupleValue, ScriptObject, StorageData, TensorData, contiguous_strides,
)  # fmt: skip
from lowering.random_words import DEFAULT_SEED, RandomState
from runtime import dtypes
from runtime.errors import CompileError, InputError, RuntimeFailure


def run_method(function: Function, args: Sequence[object], as_data: bool = False,
               generator: RandomState | None = None) -> object:
    """The result of a function or method; `args` of a method begin with its object.

    With `as_data` tensors come out as TensorData, which know their dtype. Random numbers are drawn
    from `generator` and move it; without one each run begins with the default seed.

    Tensors are numpy arrays (bf16 as uint16) or TensorData in, numpy arrays out. Attributes that
    the method sets, and buffers that it writes in place, stay changed. RuntimeFailure where the
    program raises, CompileError where it uses what is not supported.
    """
    missing = [p.name for p in function.parameters[len(args):] if p.required]
    if missing or len(args) > len(function.parameters):
        raise InputError(f"{function.name} takes {len(function.parameters)} arguments, found "
                         f"{len(args)}" + (f": '{missing[0]}' is missing" if missing else ""))
    ev = Evaluator(eager=True)
    ev.memory.generator = generator or RandomState(DEFAULT_SEED)
    with B.collect(ev.memory.root):
        try:
            result = ev.call(function, [_given(ev, x) for x in args], {})
        except Raised as e:
            if ev.problems:
                raise CompileError(ev.problems_text()) from None
            raise RuntimeFailure(f"{e.message}\n{e.where}".rstrip()) from None
        except CompileError:
            if ev.problems:
                raise CompileError(ev.problems_text()) from None
            raise
        if ev.problems:
            raise CompileError(ev.problems_text())
        answer = _concrete(ev, result, _data if as_data else None)
        _persist(ev)
    return answer


def _given(ev: Evaluator, x: object) -> object:
    """An argument as partial evaluation has it."""
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if isinstance(x, np.ndarray):
        try:
            dtype = dtypes.dtype_of_numpy(x.dtype)
        except KeyError:
            raise InputError(f"an argument is an array of {x.dtype}, which is no tensor's type") \
                from None
        value = B.constant(dtypes.to_compute(x, dtype), dtype)
        return AbstractTensor(Storage(value))
    if isinstance(x, TensorData):
        return abstract(ev, x)
    if isinstance(x, list):
        return [_given(ev, v) for v in x]
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([_given(ev, v) for v in x], x.type)
    if isinstance(x, tuple):
        return tuple(_given(ev, v) for v in x)
    if isinstance(x, dict):
        return {k: _given(ev, v) for k, v in x.items()}
    return x


def _array(ev: Evaluator, t: AbstractTensor) -> np.ndarray:
    value = ev.memory.read(t)
    array = known_array(value)
    assert array is not None, "nothing is of run time here"
    return np.array(dtypes.to_storage(array, value.dtype))


def _concrete(ev: Evaluator, x: object, tensor=None) -> object:
    """A result as Python has it; `tensor` makes something of each tensor, by default its array."""
    if isinstance(x, AbstractTensor):
        return (tensor or _array)(ev, x)
    if isinstance(x, AbstractComplex):
        pairs = np.ascontiguousarray(_array(ev, x.pairs))
        return pairs.view(np.result_type(pairs, np.complex64)).reshape(pairs.shape[:-1])
    if isinstance(x, Future):
        return _concrete(ev, x.value, tensor)
    if isinstance(x, list):
        return [_concrete(ev, v, tensor) for v in x]
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([_concrete(ev, v, tensor) for v in x], x.type)
    if isinstance(x, tuple):
        return tuple(_concrete(ev, v, tensor) for v in x)
    if isinstance(x, dict):
        return {k: _concrete(ev, v, tensor) for k, v in x.items()}
    if isinstance(x, Unknown):
        raise CompileError(x.problem or "the result cannot be told")
    return x


def _data(ev: Evaluator, t: AbstractTensor) -> TensorData:
    source = t.storage.source
    if isinstance(source, TensorData) and t.view is None:
        return source
    return TensorData.from_numpy(_array(ev, t), t.dtype)


def _persist(ev: Evaluator) -> None:
    """Brings what the run changed into the objects of the program."""
    for storage in ev.memory.constants():
        source = storage.source
        if storage.written and isinstance(source, TensorData):
            array = _array(ev, AbstractTensor(storage))
            source.storage = StorageData(source.dtype, array.reshape(-1), source.storage.name)
            source.offset, source.strides = 0, contiguous_strides(source.sizes)
            storage.written = False
    written: set[tuple[int, str]] = set()
    for instance, attributes in ev.memory.attributes.values():
        for name, value in attributes.items():
            instance.attributes[name] = _concrete(ev, value, _data)
            written.add((id(instance), name))
    for (_, name), (instance, before, value) in ev.loaded.items():
        if (id(instance), name) not in written and not is_same(before, value):
            assert isinstance(instance, ScriptObject)
            instance.attributes[name] = _concrete(ev, value, _data)
