"""Operator calls as PyTorch records them.

Most are recorded as they are. A convolution of any kind is `aten::_convolution`, a number beside a
tensor in arithmetic is a tensor, and factories name the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aot.dispatch import Event
from aot.dtypes import dtype
from aot.tensor_core import Tensor
from lowering.objects import DeviceValue, TensorData
from lowering.schema_table import OperatorSchema, find_schema, schemas_of

_LAST = 2**63 - 1


@dataclass
class RecordedCall:
    """A call as the trace shows it. `plain_result`: the result is shown without its gradient."""

    schema: OperatorSchema
    arguments: list[object]
    plain_result: bool = False


# Operators whose numbers become tensors.
_ARITHMETIC = frozenset(
    f"aten::{name}{suffix}" for suffix in ("", "_") for name in
    "add sub mul div true_divide floor_divide multiply subtract divide".split()
)
_FACTORIES = frozenset(
    f"aten::{name}" for name in "zeros ones empty full arange linspace logspace eye rand randn "
    "randint randperm tril_indices triu_indices scalar_tensor".split()
)


def rewrite(event: Event) -> RecordedCall | None:
    """The call as it is recorded; None if it leaves no trace."""
    if not _is_tensors(event.result):
        return None
    if event.name in _BY_EVENT:
        found = _BY_EVENT[event.name](event)
        if found is not None:
            return found
    schema, values = _bound(event)
    if schema is None:
        raise RuntimeError(f"{event.name} cannot be traced: no overload of it is known")
    special = _REWRITES.get(event.name)
    if special is not None:
        return special(schema, values)
    arguments = [values.get(f.name, None if f.default is ... else f.default)
                 for f in schema.formals]
    if event.name in _FACTORIES:
        _set_default(schema, arguments, "device", DeviceValue("cpu"))
        _set_default(schema, arguments, "pin_memory", False)
    elif event.name.endswith("_like") or event.name.startswith("aten::new_"):
        _set_default(schema, arguments, "pin_memory", False)
    return RecordedCall(schema, arguments)


def _is_tensors(result: object) -> bool:
    if isinstance(result, (list, tuple)):
        return bool(result) and all(isinstance(v, Tensor) for v in result)
    return isinstance(result, Tensor)


def _set_default(schema: OperatorSchema, arguments: list, name: str, value: object) -> None:
    for i, formal in enumerate(schema.formals):
        if formal.name == name and arguments[i] is None:
            arguments[i] = value


def _bound(event: Event) -> tuple[OperatorSchema | None, dict[str, object]]:
    """The overload of a call and its arguments by name."""
    if event.call is None:
        return _matched(event)
    entry = event.call.entry.schema
    taken = [source for source in event.call.sources if isinstance(source, int)]
    if taken and len(event.args) > len(taken):  # view(x, 2, 3): several sizes in place of a list
        last = max(taken)
        event.args = (*event.args[:last], list(event.args[last:]))
    values = {a.name: v for a, v in zip(entry.arguments, event.arguments)}
    overload = entry.overload
    if event.name in _ARITHMETIC and overload in ("Scalar", "Scalar_mode"):
        overload = overload.replace("Scalar", "Tensor")
    schema = find_schema(event.name, overload)
    if schema is None and overload.startswith("Tensor"):
        schema = find_schema(event.name, overload[len("Tensor"):].lstrip("_"))
    if schema is None:  # an overload that only the in-place or the functional form has
        schema = next((s for s in schemas_of(event.name)
                       if {f.name for f in s.formals} >= values.keys()), None)
    return schema, values


def _matched(event: Event) -> tuple[OperatorSchema | None, dict[str, object]]:
    """The first overload whose formals take as many arguments, of these names."""
    for schema in schemas_of(event.name):
        formals = schema.formals
        positional = [f for f in formals if not f.keyword_only]
        named = {f.name for f in formals}
        if len(event.args) > len(positional) or not event.kwargs.keys() <= named:
            continue
        values = {f.name: v for f, v in zip(positional, event.args)}
        values.update(event.kwargs)
        values = {k: v.code if isinstance(v, dtype) else v for k, v in values.items()}
        if all(f.name in values or f.default is not ... for f in formals):
            return schema, values
    return None, {}


def _convolution(dims: int, transposed: bool) -> Callable:
    def record(schema: OperatorSchema, values: dict[str, object]) -> RecordedCall:
        target = find_schema("aten::_convolution", "")
        assert target is not None

        def numbers(name: str, default: int) -> object:
            x = values.get(name, default)
            return [x] * dims if isinstance(x, int) else list(x)  # type: ignore[call-overload]

        padding = values.get("padding", 0)
        if isinstance(padding, str):
            named = find_schema("aten::_convolution_mode", "")
            assert named is not None
            return RecordedCall(named, [
                values["input"], values["weight"], values.get("bias"), numbers("stride", 1),
                padding, numbers("dilation", 1), values.get("groups", 1)])
        arguments = [
            values["input"], values["weight"], values.get("bias"), numbers("stride", 1),
            numbers("padding", 0), numbers("dilation", 1), transposed,
            numbers("output_padding", 0), values.get("groups", 1), False, False, True, True,
        ]
        return RecordedCall(target, arguments, plain_result=True)

    return record


def _slice(schema: OperatorSchema, values: dict[str, object]) -> RecordedCall:
    start, end = values.get("start"), values.get("end")
    return RecordedCall(schema, [
        values["self"], values.get("dim", 0), 0 if start is None else start,
        _LAST if end is None else end, values.get("step", 1),
    ])


def _to_dtype(event: Event) -> RecordedCall:
    """x.float() is x.to(torch.float32)."""
    schema = find_schema("aten::to", "dtype")
    assert schema is not None and isinstance(event.result, Tensor)
    return RecordedCall(schema, [event.args[0], event.result.row.torch_code, False, False, None])


def _write_number(event: Event) -> RecordedCall | None:
    """x[...] = 1.5 fills with a tensor of x's dtype."""
    target, source = event.args[0], event.args[1]
    if isinstance(source, Tensor) or not isinstance(target, Tensor):
        return None
    schema = find_schema("aten::fill_", "Tensor")
    assert schema is not None
    data = TensorData.from_numpy(np.asarray(source, target.row.storage), target.row)
    return RecordedCall(schema, [target, Tensor._of_data(data)])


# Operators that are another one with a dtype; a write of a number.
_BY_EVENT: dict[str, Callable[[Event], RecordedCall | None]] = {
    **{f"aten::{name}": _to_dtype for name in
       "float double half bfloat16 int long short char byte bool".split()},
    "aten::copy_": _write_number,
}
_REWRITES: dict[str, Callable[[OperatorSchema, dict[str, object]], RecordedCall]] = {
    **{f"aten::conv{d}d": _convolution(d, False) for d in (1, 2, 3)},
    **{f"aten::conv_transpose{d}d": _convolution(d, True) for d in (1, 2, 3)},
    "aten::slice": _slice,
}
