"""`aot.jit.script`: compiles Python functions, classes and modules."""

from __future__ import annotations

import builtins
import functools
import importlib
import inspect

from typing import Final

from aot.script.compiler import PROGRAM
from aot.script.marks import (
    Attribute, Future, annotate, export, fork, ignore, is_scripting, overload, unused, wait,
)  # fmt: skip
from aot.script.marks import isinstance_of as isinstance  # noqa: A001
from aot.script.marks import unwrap_optional as _unwrap_optional
from aot.script.source import ScriptError
from aot.script.script_function import ScriptFunction
from runtime.errors import InputError


_overload = _overload_method = overload
_fork, _wait = fork, wait
__all__ = """Attribute Final Future annotate export fork ignore interface is_scripting isinstance
    ScriptError script script_if_tracing script_method unused wait""".split()
_is_instance = builtins.isinstance


def script(obj: object, optimize=None, _frames_up: int = 0, _rcb=None, example_inputs=None):
    """Compile a function to a ScriptFunction; a class for use in compiled code.

    ScriptError, with the place in the source, where the program is not TorchScript.
    """
    if _is_instance(obj, ScriptFunction):
        return obj
    if _is_instance(obj, type):
        PROGRAM.class_type(obj, None, None)
        return obj
    if inspect.isfunction(obj) or inspect.ismethod(obj):
        function = PROGRAM.function(obj)
        function.graph  # noqa: B018  compiles it now
        return importlib.import_module("aot.jit_module").ScriptFunction(function, obj)
    if hasattr(obj, "_modules") and hasattr(obj, "_parameters"):
        return importlib.import_module("aot.jit_module").ScriptModule(PROGRAM.module(obj))
    raise InputError(f"script() takes a function, class or module, found {type(obj).__name__}")


def interface(cls: type) -> type:
    """Declare an interface: the methods a class or module must have to be used as one."""
    return PROGRAM.interface(cls)


def script_method(function):
    """Mark a method of a ScriptModule subclass: it is compiled when an object is made."""
    function._script_method = True
    return function


def script_if_tracing(function):
    """The function as it is; compiled when a trace calls it."""
    compiled = []

    @functools.wraps(function)
    def call(*args, **kwargs):
        tracing = importlib.import_module("aot.jit").is_tracing
        if not tracing():
            return function(*args, **kwargs)
        if not compiled:
            compiled.append(script(function))
        return compiled[0](*args, **kwargs)

    call.__original_fn = function
    return call
