"""A compiled function as programs hold it."""

from __future__ import annotations

import functools
import importlib

from aot.script.inlined import shown_inlined
from lowering.graph import Function, Graph
from lowering.graph_code import print_code


class ScriptFunction:
    """A function that was scripted or traced: callable, with its Graph and its code."""

    def __init__(self, function: Function, python: object = None) -> None:
        self._script_function = function
        if python is not None:
            functools.update_wrapper(self, python)
        self.__wrapped_python__ = python
        self.__dict__.pop("__wrapped__", None)

    @property
    def function(self) -> Function:
        """The function of the Graph language."""
        return self._script_function

    @property
    def name(self) -> str:
        return self._script_function.name.rpartition(".")[2]

    @property
    def qualified_name(self) -> str:
        return self._script_function.name

    @property
    def graph(self) -> Graph:
        """The function's Graph; `str()` of it is TorchScript's text."""
        return self._script_function.graph

    @property
    def inlined_graph(self) -> Graph:
        """The Graph with the bodies of all called functions in their places."""
        return shown_inlined(self.graph)

    @property
    def code(self) -> str:
        """The function as TorchScript's code text."""
        return print_code(self._script_function)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the function."""
        run = importlib.import_module("aot.script.run")
        return run.call_function(self._script_function, args, kwargs)

    def __repr__(self) -> str:
        return f"<ScriptFunction {self.name}>"
