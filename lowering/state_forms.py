"""Values that a program keeps from call to call, taken apart: tensors and numbers, and the rest.

The rest is the form: None, a string, a list's length, a tensor's shape and dtype. It is a nest of
    ("tensor", dtype, shape)   ("number", dtype)   ("constant", value)
    ("list", None, forms)   ("tuple", type of a named tuple or None, forms)   ("dict", keys, forms)
A tensor or number is known by its path, such as ".0.'key'". A number that takes few values may be
a constant of the form instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Iterator

import numpy as np

from lowering.abstract import (
    AbstractComplex, AbstractNested, AbstractTensor, Choice, Future, Maybe, Rows, Storage, Unknown,
    describe, is_number, number_type,
)  # fmt: skip
from lowering.evaluate_prims import abstract
from lowering.objects import NamedTupleValue, TensorData
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bool_, f64, i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

Form = tuple
_NUMBERS = {bool: bool_, int: i64, float: f64}


def is_kept(x: object) -> bool:
    """Whether something in an archive's value is a tensor or number that we compute with."""
    if isinstance(x, TensorData):
        return x.problem is None and not isinstance(x.storage.dtype, str)
    return isinstance(x, (bool, int, float))


def leaves(x: object) -> Iterator[object]:
    """What stands in nested lists, tuples and dicts, in order."""
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from leaves(v)
    elif isinstance(x, dict):
        for v in x.values():
            yield from leaves(v)
    else:
        yield x


def initial_arrays(x: object, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The tensors and numbers of an archive's value as interface arrays, with their paths."""
    if isinstance(x, (list, tuple)):
        for k, v in enumerate(x):
            yield from initial_arrays(v, f"{path}.{k}")
    elif isinstance(x, dict):
        for k, v in x.items():
            yield from initial_arrays(v, f"{path}.{k!r}")
    elif isinstance(x, TensorData) and is_kept(x):
        yield path, np.ascontiguousarray(x.numpy()).reshape(x.sizes)
    elif is_kept(x):
        yield path, np.array(x, _NUMBERS[type(x)].storage)  # type: ignore[index]


def form_of_data(x: object, known: bool = False) -> Form:
    """The form of an archive's value; `known`: its numbers are constants."""
    if isinstance(x, TensorData) and is_kept(x):
        return ("tensor", x.dtype, x.sizes)
    if is_kept(x) and not known:
        return ("number", _NUMBERS[type(x)])  # type: ignore[index]
    if isinstance(x, tuple):
        named = x.type if isinstance(x, NamedTupleValue) else None
        return ("tuple", named, tuple(form_of_data(v, known) for v in x))
    if isinstance(x, list):
        return ("list", None, tuple(form_of_data(v, known) for v in x))
    if isinstance(x, dict):
        return ("dict", tuple(x), tuple(form_of_data(v, known) for v in x.values()))
    return ("constant", x)


def value_of_form(ev: Evaluator, form: Form, path: str,
                  param: Callable[[str, DType, tuple[int, ...], bool], Value]) -> object:
    """A value of the form, of parameters that `param(path, dtype, shape, is a number)` makes."""
    kind = form[0]
    if kind == "tensor":
        return AbstractTensor(Storage(param(path, form[1], form[2], False)))
    if kind == "number":
        return param(path, form[1], (), True)
    if kind == "constant":
        return abstract(ev, form[1])
    if kind == "dict":
        return {k: value_of_form(ev, f, f"{path}.{k!r}", param)
                for k, f in zip(form[1], form[2])}
    items = [value_of_form(ev, f, f"{path}.{k}", param) for k, f in enumerate(form[2])]
    if kind == "list":
        return items
    return tuple(items) if form[1] is None else NamedTupleValue(items, form[1])


def form_of_value(ev: Evaluator, x: object, path: str, keep: Callable[[str, Value], None],
                  known: bool = False) -> Form:
    """The form of a value of partial evaluation; its Values are given to `keep(path, value)`.
    `known`: known numbers are constants. ValueError if there is something that cannot be kept."""
    if isinstance(x, AbstractTensor):
        value = ev.memory.read(x)
        if not all(isinstance(n, int) for n in value.shape):
            raise ValueError("after a call it is a tensor whose size is known only at run time")
        keep(path, value)
        return ("tensor", value.dtype, value.shape)
    if is_number(x) and not (known and not isinstance(x, Value)):
        keep(path, ev.value_of(x))
        return ("number", _NUMBERS[number_type(x)])
    if isinstance(x, (list, tuple)):
        named = x.type if isinstance(x, NamedTupleValue) else None
        items = tuple(form_of_value(ev, v, f"{path}.{k}", keep, known) for k, v in enumerate(x))
        return ("list" if isinstance(x, list) else "tuple", named, items)
    if isinstance(x, dict):
        items = tuple(form_of_value(ev, v, f"{path}.{k!r}", keep, known) for k, v in x.items())
        return ("dict", tuple(x), items)
    if isinstance(x, Unknown) and x.problem:
        raise ValueError(x.problem)
    if isinstance(x, (AbstractComplex, AbstractNested, Choice, Maybe, Rows, Unknown, Future)):
        raise ValueError(f"after a call it is {describe(x)}, which cannot be kept")
    return ("constant", x)
