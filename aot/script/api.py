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
from aot.script.module_info import ModuleReader
from aot.script.script_function import ScriptFunction
from aot.script.source import ScriptError
from lowering import types
from lowering.objects import TypedDict, TypedList
from lowering.types import DictType, ListType, Type
from runtime.errors import InputError

_overload = _overload_method = overload
_fork, _wait = fork, wait
__all__ = """Attribute Final Future annotate export fork ignore interface is_scripting isinstance
    ScriptError script script_if_tracing script_method unused wait""".split()
_is_instance = builtins.isinstance


def script(obj: object, optimize=None, _frames_up: int = 0, _rcb=None, example_inputs=None):
    """Compile a function to a ScriptFunction, a module to a ScriptModule, a class for use in
    compiled code; a list or dict becomes one that knows its types.

    `example_inputs`, a list of tuples of arguments, gives the types of a function's parameters
    that are not annotated. ScriptError, with the place in the source, where the program is not
    TorchScript.
    """
    with PROGRAM.lock:
        return _script(obj, example_inputs)


def _script(obj: object, examples: object) -> object:
    if _is_instance(obj, ScriptFunction):
        return obj
    if _is_instance(obj, type):
        PROGRAM.class_type(obj, None, None)
        return obj
    if inspect.isfunction(obj) or inspect.ismethod(obj):
        function = PROGRAM.function(obj, _hints(examples))
        function.graph  # noqa: B018  compiles it now
        return importlib.import_module("aot.jit_module").ScriptFunction(function, obj)
    if hasattr(obj, "_modules") and hasattr(obj, "_parameters"):
        made = PROGRAM.module(obj, _method_hints(obj, examples))
        return importlib.import_module("aot.jit_module").ScriptModule(made)
    if _is_instance(obj, (list, dict)):
        return _typed(obj)
    raise InputError(f"script() takes a function, class or module, found {type(obj).__name__}")


def _method_hints(module: object, examples: object) -> dict[str, list[Type]]:
    """The types of the arguments of methods: `examples` are those of `forward`, or a dict that
    has them by method."""
    if not examples:
        return {}
    by_method = examples if _is_instance(examples, dict) else {"forward": examples}
    found = {}
    for method, rows in by_method.items():
        name = method if _is_instance(method, str) else getattr(method, "__name__", "forward")
        found[name] = [types.Any, *(_hints(rows) or [])]  # the first is the module's own
    return found


def _reader() -> ModuleReader:
    return ModuleReader(PROGRAM.module, lambda cls: PROGRAM.class_type(cls, None, None))


def _hints(examples: object) -> list[Type] | None:
    """The types of the arguments that examples give; those that differ meet."""
    if not examples or not _is_instance(examples, (list, tuple)):
        return None
    found: list[Type] | None = None
    for arguments in examples:
        row = arguments if _is_instance(arguments, tuple) else (arguments,)
        inferred = [_reader().infer(a) for a in row]
        if found is None:
            found = inferred
        else:
            found = [types.unify(a, b) or types.Any for a, b in zip(found, inferred)]
    return found


def _typed(obj: list | dict) -> TypedList | TypedDict:
    try:
        type_ = _reader().infer(obj)
    except TypeError as error:
        raise InputError(f"script(): {error}") from None
    if _is_instance(type_, ListType):
        return TypedList(obj, type_.element)
    assert _is_instance(type_, DictType)
    return TypedDict(obj, type_.key, type_.value)


def interface(cls: type) -> type:
    """Declare an interface: the methods a class or module must have to be used as one."""
    with PROGRAM.lock:
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
