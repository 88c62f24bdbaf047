"""What the C ABI is told of a method's inputs and outputs."""

from __future__ import annotations

from lowering.lower_sizes import abi_shape
from lowering.tensor_ir import TensorProgram, Value
from runtime.description import ValueInfo
from runtime.dtypes import bool_, u8
from runtime.structure import leaf_kinds


def input_infos(program: TensorProgram) -> list[ValueInfo]:
    """The inputs, in order."""
    kinds = leaf_kinds(program.input_structure)
    return [_info(v, name, program, leaf, program.input_numbers.get(k)) for k, (v, name, leaf)
            in enumerate(zip(program.inputs, program.input_names, kinds))]


def output_infos(program: TensorProgram) -> list[ValueInfo]:
    """The outputs: out0, out1 ..., and inputs that the program writes under their own names."""
    kinds = leaf_kinds(program.output_structure)
    names = [*(f"out{k}" for k in range(len(kinds))),
             *(program.input_names[k] for k in program.written)]
    leaves = [*kinds, *("T" for _ in program.written)]
    return [_info(v, name, program, leaf)
            for v, name, leaf in zip(program.outputs, names, leaves, strict=True)]


def _info(v: Value, name: str, program: TensorProgram, leaf: str,
          number: int | float | bool | None = None) -> ValueInfo:
    if leaf == "S":
        return ValueInfo(name, u8, (), "str")
    kind = "tensor"
    if v.wrapped:
        kind = "float" if v.dtype.is_float else "bool" if v.dtype is bool_ else "int"
    return ValueInfo(name, v.dtype, abi_shape(v, program), kind, number)
