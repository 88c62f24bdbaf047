"""`aot.jit.script`: compiles Python functions, classes and modules."""

from __future__ import annotations

import inspect

from aot.script.compiler import PROGRAM
from aot.script.script_function import ScriptFunction
from runtime.errors import InputError


def script(obj: object, optimize=None, _frames_up: int = 0, _rcb=None, example_inputs=None):
    """Compile a function to a ScriptFunction; a class for use in compiled code.

    ScriptError, with the place in the source, where the program is not TorchScript.
    """
    if isinstance(obj, ScriptFunction):
        return obj
    if isinstance(obj, type):
        PROGRAM.class_type(obj, None, None)
        return obj
    if inspect.isfunction(obj) or inspect.ismethod(obj):
        function = PROGRAM.function(obj)
        function.graph  # noqa: B018  compiles it now
        return ScriptFunction(function, obj)
    raise InputError(f"script() takes a function, class or module, found {type(obj).__name__}")


def interface(cls: type) -> type:
    """Declare an interface: the methods a class or module must have to be used as one."""
    return PROGRAM.interface(cls)
