"""What `aot.compile` takes for a module: ours, PyTorch's, functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aot import torch_bridge
from aot.jit import load
from aot.jit_module import ScriptModule, placeholder
from aot.nn.modules.module import Module
from aot.script import script_function
from runtime.errors import InputError


def script_module(x: Any, example_inputs: Sequence[Any] | None = None) -> ScriptModule:
    """A ScriptModule of x: itself, a scripted or traced function as `forward`, a module of PyTorch
    or of aot.nn traced with the example inputs if there are any and scripted otherwise.

    InputError for anything else. PyTorch is used only where the user has imported it, for what is
    PyTorch's.
    """
    if isinstance(x, ScriptModule):
        return x
    if isinstance(x, script_function.ScriptFunction):
        return ScriptModule(placeholder(x.function))
    if torch_bridge.is_torch_module(x) or torch_bridge.is_torch_script(x):
        return load(torch_bridge.archive_of(x, example_inputs))
    if isinstance(x, Module) or callable(x):
        from aot import jit  # the script compiler and the tracer: only here

        if example_inputs is not None:
            return script_module(jit.trace(x, tuple(example_inputs), check_trace=False))
        return script_module(jit.script(x))
    raise InputError(f"expected a module or the path of an archive, found a {type(x).__name__}")
