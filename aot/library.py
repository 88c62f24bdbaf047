"""Operators of one's own: usable from Python, in scripts, traces and archives, and compiled.

    @aot.library.operator("mylib::swish(Tensor x, float beta=1.0) -> Tensor")
    def swish(x: aot.Tensor, beta: float) -> aot.Tensor:
        return x * aot.sigmoid(beta * x)

    aot.ops.mylib.swish(x)

The definition is a function that the script compiler takes; wherever the operator is called, its
body is compiled in place. An archive that calls `ops.mylib.swish`, whoever wrote it, then loads,
runs and compiles.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from lowering.custom_operators import define


def operator(schema: str) -> Callable[[Callable], Callable]:
    """Declares an operator by its schema, in PyTorch's notation, and its definition in terms of
    other operators: a function with the same parameters. Gives the function that calls it.

    The definition writes none of its arguments. InputError where the schema is none, the operator
    exists, or the parameters differ."""
    def declare(definition: Callable) -> Callable:
        script = importlib.import_module("aot.jit").script(definition)
        space, _, name = define(schema, script._script_function).name.partition("::")
        return getattr(getattr(importlib.import_module("aot.ops"), space), name)

    return declare
