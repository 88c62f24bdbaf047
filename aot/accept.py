"""What `aot.compile` and `aot.jit` take for a module: ours, PyTorch's, functions, their tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aot import torch_bridge
from aot.jit import load
from aot.jit_module import ScriptModule, module_of, placeholder
from aot.nn.modules.module import Module
from aot.script import script_function
from aot.tensor_core import Tensor
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


def call_on_tensors(function: Callable, args: Sequence[Any]) -> Any:
    """The result of a function on numpy arrays, with tensors in the caller's style."""
    style = torch_bridge.style_of(args)
    result = function(*arrays(tuple(args)))
    return result if style == "numpy" else torch_bridge.give_back(
        torch_bridge.take(result), style, module_of)


def arrays(x: Any) -> Any:
    """Tensors in a nest, ours and PyTorch's, as numpy arrays on the same memory."""
    if torch_bridge.is_torch_tensor(x):
        x = torch_bridge.from_torch(x)
    if isinstance(x, Tensor):
        return x._data.numpy()
    if type(x) in (list, tuple):
        return type(x)(map(arrays, x))
    if isinstance(x, dict):
        return {k: arrays(v) for k, v in x.items()}
    return x
