"""LLVM IR as text: type names, literals, and a writer that numbers values.

Text is written directly (ten times faster than building llvmlite.ir objects and printing them).
Intrinsics need no declaration: LLVM's parser declares what is called.

Registers hold f16 and bf16 as i16 (only moves and casts see them) and bool as i1.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from llvm_backend.kernel import Type
from llvm_backend.target import Target
from runtime.dtypes import DType, bf16, f16, round_bf16

_SCALAR = {"f32": "float", "f64": "double", "f16": "i16", "bf16": "i16", "bool": "i1",
           "u8": "i8", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64"}
_SUFFIX = {"float": "f32", "double": "f64", "half": "f16"}


def scalar_type(dtype: DType) -> str:
    """The LLVM type of one element in a register."""
    return _SCALAR[dtype.name]


def vector_of(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def register_type(type: Type) -> str:
    return vector_of(_SCALAR[type.dtype.name], type.lanes)


def memory_type(type: Type) -> str:
    """As register_type, but bool is a byte."""
    return vector_of("i8" if type.dtype.kind == "b" else _SCALAR[type.dtype.name], type.lanes)


def intrinsic_suffix(scalar: str, lanes: int) -> str:
    """How an overloaded intrinsic names a type: v8f32, i32."""
    s = _SUFFIX.get(scalar, scalar)
    return s if lanes == 1 else f"v{lanes}{s}"


def literal(value: int | float | bool, dtype: DType) -> str:
    """One element as LLVM text; integers wrap, floats round to the dtype (NaN becomes quiet)."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind in "iu":
        return str(int(value) & ((1 << dtype.bits) - 1))
    if dtype is f16:
        with np.errstate(over="ignore"):
            return str(int(np.float16(value).view(np.uint16)))
    if dtype is bf16:
        with np.errstate(over="ignore"):
            return str(int(round_bf16(np.float32(value).reshape(1)).view(np.uint32)[0] >> 16))
    v = float(value)
    if math.isnan(v):
        return "0x7FF8000000000000"
    if dtype.bits == 32:
        with np.errstate(over="ignore"):
            v = float(np.float32(v))
    return "0x" + struct.pack(">d", v).hex().upper()


def splat(text: str, scalar: str, lanes: int) -> str:
    """A literal on every lane."""
    return text if lanes == 1 else f"splat ({scalar} {text})"


class Writer:
    """Lines of one function, with fresh value and block names."""

    def __init__(self, target: Target):
        self.target = target
        self.lines: list[str] = []
        self.block = "entry"
        self._next = 0

    def fresh(self, prefix: str) -> str:
        self._next += 1
        return f"{prefix}{self._next}"

    def value(self, text: str) -> str:
        """Appends `%vN = text` and returns the name."""
        self._next += 1
        name = f"%v{self._next}"
        self.lines.append(f"  {name} = {text}")
        return name

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def call(self, name: str, scalar: str, lanes: int, *args: str) -> str:
        """An intrinsic whose result and arguments all have one type."""
        t = vector_of(scalar, lanes)
        operands = ", ".join(f"{t} {a}" for a in args)
        return self.value(f"call {t} @llvm.{name}.{intrinsic_suffix(scalar, lanes)}({operands})")

    def select(self, condition: str, t: str, a: str, b: str, lanes: int) -> str:
        return self.value(f"select {vector_of('i1', lanes)} {condition}, {t} {a}, {t} {b}")
