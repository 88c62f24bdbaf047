"""From what the user gives (--input, example arrays, an archive's own) to what evaluation takes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aot.inputs import (
    ConstantInput, DictInput, Input, RowsInput, ScalarInput, SequenceInput, TensorInput,
    input_of_value,
)
from lowering.evaluate import InputSpec
from lowering.objects import TensorData
from runtime.dtypes import bool_, f64, i64
from runtime.errors import InputError

if TYPE_CHECKING:
    from aot.jit import Method


_NUMBERS = {"int": i64, "float": f64, "bool": bool_}


def as_specs(inputs: tuple[Input, ...]) -> list[InputSpec]:
    """What lowering.evaluate takes, one spec an argument."""
    return [_spec(given) for given in inputs]


def _spec(given: Input) -> InputSpec:
    if isinstance(given, TensorInput):
        return InputSpec(given.name, "tensor", given.dtype, given.shape)
    if isinstance(given, ScalarInput):
        return InputSpec(given.name, given.kind, value=given.value)
    if isinstance(given, ConstantInput):
        return InputSpec(given.name, "constant", value=given.value)
    if isinstance(given, RowsInput):
        if isinstance(given.item, TensorInput):
            return InputSpec(given.name, "rows", given.item.dtype, given.item.shape)
        return InputSpec(given.name, "numbers", _NUMBERS[given.item.kind])
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
    archive = method.module.archive  # a module made in this process has none
    traced = None if archive is None else archive.traced_inputs().get(method.name)
    if traced is not None:
        return inputs_like(tuple(traced), method)
    needed = [p for p in method.function.parameters[1:] if p.required]
    if not needed:
        return ()
    hints = [_hint(str(p.type)) for p in needed]
    listed = " ".join(f"--input {p.name}:{hint}" for p, hint in zip(needed, hints))
    advice = f"say what they are, for example: {listed}"
    if None in hints:
        advice = "--input has no word for these types: compile from Python, with example_inputs"
    raise InputError(
        f"{where}: the archive carries no example inputs for '{method.name}', which takes "
        f"{', '.join(f'{p.name}: {p.type}' for p in needed)}; {advice}"
    )


def _hint(type_text: str) -> str | None:
    """What --input could say of a parameter; None where it has no word for the type."""
    plain = {"Tensor": "f32[1,3,224,224]", "int": "int", "float": "float", "bool": "bool",
             "str": "str=abc", "Scalar": "float"}
    if type_text.endswith("?"):
        return "none"
    if type_text.endswith("[]"):
        item = _hint(type_text[:-2])
        return f"[{item},{item}]" if item else None
    if type_text.startswith("(") and type_text.endswith(")"):
        items = [_hint(item.strip()) for item in type_text[1:-1].split(",")]
        return f"({','.join(map(str, items))})" if None not in items else None
    return plain.get(type_text)


def as_choices(signatures: list[tuple[Input, ...]]) -> list[tuple[Input, ...]]:
    """The signatures of one method with the numbers in which they differ as arguments of run time,
    which choose one. What is the same constant in all of them stays compiled in."""
    same = [len(set(column)) == 1 for column in zip(*signatures)]
    return [tuple(given if k < len(same) and same[k] else _as_choice(given)
                  for k, given in enumerate(signature)) for signature in signatures]


def _as_choice(given: Input) -> Input:
    if isinstance(given, ConstantInput) and isinstance(given.value, (int, float)):
        return ScalarInput(given.name, type(given.value).__name__, given.value)
    if isinstance(given, (SequenceInput, DictInput)):
        return replace(given, items=tuple(map(_as_choice, given.items)))
    return given
