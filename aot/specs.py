"""From what the user gives (--input, example arrays, an archive's own) to what evaluation takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aot.inputs import (
    ConstantInput, DictInput, Input, ScalarInput, SequenceInput, TensorInput, input_of_value,
)
from lowering.evaluate import InputSpec
from lowering.objects import TensorData
from runtime.errors import InputError

if TYPE_CHECKING:
    from aot.jit import Method


def as_specs(inputs: tuple[Input, ...]) -> list[InputSpec]:
    """What lowering.evaluate takes, one spec an argument."""
    return [_spec(given) for given in inputs]


def _spec(given: Input) -> InputSpec:
    if isinstance(given, TensorInput):
        return InputSpec(given.name, "tensor", given.dtype, given.shape)
    if isinstance(given, ScalarInput):
        return InputSpec(given.name, given.kind)
    if isinstance(given, ConstantInput):
        return InputSpec(given.name, "constant", value=given.value)
    items = tuple(_spec(item) for item in given.items)
    if isinstance(given, DictInput):
        return InputSpec(given.name, "dict", items=items, keys=given.keys)
    assert isinstance(given, SequenceInput)
    return InputSpec(given.name, given.kind, items=items)


def inputs_like(values: tuple[Any, ...], method: Method) -> tuple[Input, ...]:
    """One Input an example argument, with the method's parameter names. InputError where a value is
    nothing that a compiled method takes."""
    names = [p.name for p in method.function.parameters[1:]]
    if len(values) > len(names):
        raise InputError(f"{method.name} takes {len(names)} arguments ({', '.join(names)}), "
                         f"{len(values)} example inputs are given")
    return tuple(input_of_value(_shaped(value), name) for name, value in zip(names, values))


def _shaped(value: Any) -> Any:
    """An archive's tensors as arrays of their shape and dtype; they need no values."""
    if isinstance(value, TensorData):
        return np.broadcast_to(np.zeros((), value.dtype.storage), value.sizes)
    if isinstance(value, (tuple, list)):
        return type(value)(_shaped(item) for item in value)
    if isinstance(value, dict):
        return {key: _shaped(item) for key, item in value.items()}
    return value


def example_inputs(method: Method, where: object) -> tuple[Input, ...]:
    """The inputs of a traced archive's own example. InputError if it has none and needs some."""
    traced = method.module.archive.traced_inputs().get(method.name)
    if traced is not None:
        return inputs_like(tuple(traced), method)
    needed = [p for p in method.function.parameters[1:] if p.required]
    if not needed:
        return ()
    listed = " ".join(f"--input {p.name}:{_hint(str(p.type))}" for p in needed)
    raise InputError(
        f"{where}: the archive carries no example inputs for '{method.name}', which takes "
        f"{', '.join(f'{p.name}: {p.type}' for p in needed)}; say what they are, for example: "
        f"{listed}"
    )


def _hint(type_text: str) -> str:
    return {"int": "int", "float": "float", "bool": "bool", "str": "str=abc"}.get(
        type_text, "f32[1,3,224,224]")
