"""`aot.compile`: a module or an archive, and what its arguments are, to a callable."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aot.inputs import Input, parse_inputs
from aot.jit import ScriptModule, load
from aot.options import CompileOptions, name_of_path
from aot.pipeline import Compiled, compile_module
from aot.progress import Progress
from aot.specs import inputs_like
from runtime.errors import InputError


def compile(module: Any, example_inputs: Sequence[Any] | None = None,
            inputs: Sequence[str] | Sequence[Sequence[str]] | None = None, *,
            method: str = "forward",
            methods: Mapping[str, Sequence[Any] | None] | None = None, threads: int = 1,
            cpu: str = "native", name: str | None = None, optimize: bool = True) -> Compiled:
    """Compiles a method of a module, or of the archive at a path, or several.

    The module is a ScriptModule or ScriptFunction, or a module of aot.nn or of PyTorch, which is
    traced with `example_inputs` if they are given and scripted otherwise.

    What the arguments are is told by `example_inputs` (arrays, tensors and Python values; tensors
    are inputs of that shape and dtype, all else is compiled in), by `inputs` (the command line's
    --input words, such as "x:f32[1,3,224,224]"), or by the example that a traced archive carries.
    The result is called with numpy arrays or tensors and returns the like; `save` writes it as .o,
    .so or a program.

    `methods` compiles several, which share weights and state: the name of each, with its --input
    words or its example inputs (all words: {"forward": ["x:f32[1,4]"], "reset": []}; None: as a
    traced archive says). The first one is what a call of the result runs.

    A method may be compiled for several signatures: instead of a list of words, here or as
    `inputs`, give a list of such lists, [["x:f32[1,512]", "n:int=2"], ["x:f32[1,256]", "n:int=1"]].
    A call runs the first one that its arguments fit, and InputError lists all where none does.

    InputError where the inputs do not fit, ArchiveError and CompileError as the message says."""
    if example_inputs is not None and inputs is not None:
        raise InputError("give example_inputs or inputs, not both")
    if isinstance(module, (str, os.PathLike)):
        where, stem = Path(module), Path(module).stem
        module = load(module)
    else:
        where, stem = "the module", "model"
        if not isinstance(module, ScriptModule):
            module = importlib.import_module("aot.accept").script_module(module, example_inputs)
    if example_inputs is not None:
        example_inputs = importlib.import_module("aot.accept").arrays(tuple(example_inputs))
    if methods is None:
        given = ([(method, _like(module, method, example_inputs))] if inputs is None
                 else _signatures(module, method, inputs))
    elif not methods or inputs is not None or example_inputs is not None:
        raise InputError("methods: expected a dict of at least one method, with the inputs in it")
    else:
        given = [one for each, words in methods.items()
                 for one in _signatures(module, each, words)]
    (method, first), *others = given
    options = CompileOptions(first, method, name or name_of_path(stem), cpu, threads, optimize,
                             more_methods=tuple(others))
    return compile_module(module, options, Progress(), where)


def _signatures(module: ScriptModule, method: str, words: Sequence[Any] | None
                ) -> list[tuple[str, tuple[Input, ...] | None]]:
    """The method with its inputs, once for each signature."""
    several = words is not None and bool(words) and all(
        isinstance(each, (list, tuple)) and each and _are_words(each) for each in words)
    return [(method, parse_inputs(each) if each is not None and each and _are_words(each)
             else _like(module, method, each))
            for each in (words if several and words is not None else [words])]


def _are_words(x: Sequence[Any]) -> bool:
    return all(isinstance(word, str) for word in x)


def _like(module: ScriptModule, method: str,
          examples: Sequence[Any] | None) -> tuple[Input, ...] | None:
    """A method's inputs, from example arguments if there are any."""
    if examples is None or method not in module.method_names():
        return None  # a method that does not exist is refused later
    return inputs_like(tuple(examples), module.method(method))
