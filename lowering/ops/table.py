"""The operator table: one entry an operator, filled by the files of this package.

    @aten("relu(Tensor self) -> Tensor")
    def relu(x):
        return pointwise(lambda a: maximum(a, 0), x)

The schema tells how calls bind, the function builds TensorOps (lowering/build.py). Arguments arrive
as: Tensor -> Value; Tensor[] -> list of Values; ScalarType -> DType; Scalar, int, float, bool ->
Python number, or a 0-d `wrapped` Value when only known at run time; Layout, Device and MemoryFormat
-> whatever was given; None where optional. Results: Value, or tuple or list of Values as declared.

View operators (a result type such as Tensor(a)) return lowering.views.View objects of their first
argument's shape: `transpose(x, 0, 1)` in another entry gives a Value, the partial evaluator
takes the View itself so that writes reach the base. A view operator that returns a Value is a copy
for those arguments (reshape). In-place variants (`relu_`, `add_.Tensor`) and `out=` variants are
derived from the functional entry of the same name; they have no entries.

Wrong arguments raise ValueError, IndexError, TypeError or RuntimeError with PyTorch's wording; the
caller adds the source line.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Callable

from lowering.schema import Schema, parse_schema
from lowering.tensor_ir import Value
from lowering.views import View


@dataclass(frozen=True)
class Entry:
    """One overload. `function` takes the schema's arguments by position and keyword."""

    schema: Schema
    function: Callable

    @property
    def name(self) -> str:
        return self.schema.name


TABLE: dict[str, list[Entry]] = {}


def aten(*schemas: str, namespace: str = "aten") -> Callable[[Callable], Callable]:
    """Declares the entry of one operator, all overloads that share its function."""

    def declare(function: Callable) -> Callable:
        for text in schemas:
            schema = parse_schema(text, namespace)
            entries = TABLE.setdefault(schema.name, [])
            if any(e.schema.overload == schema.overload for e in entries):
                raise ValueError(f"{schema.name}.{schema.overload} has two entries")
            entries.append(Entry(schema, function))

        @functools.wraps(function)
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            base = args[0] if args else None
            if isinstance(result, View) and isinstance(base, Value):
                return result.get(base)
            if isinstance(result, (list, tuple)) and any(isinstance(r, View) for r in result):
                return type(result)(r.get(base) if isinstance(r, View) else r for r in result)
            return result

        return call

    return declare


def each(names: str, signature: str) -> list[str]:
    """Schemas of one function under several names: each("acos arccos", "(Tensor self) ...")."""
    return [f"{name}{signature}" for name in names.split()]
