"""`aot.compile`: a module or an archive, and what its arguments are, to a callable."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aot.inputs import parse_inputs
from aot.jit import ScriptModule, load
from aot.options import CompileOptions, name_of_path
from aot.pipeline import Compiled, compile_module
from aot.progress import Progress
from aot.specs import inputs_like
from runtime.errors import InputError


def compile(module: ScriptModule | str | os.PathLike, example_inputs: Sequence[Any] | None = None,
            inputs: Sequence[str] | None = None, *, method: str = "forward", threads: int = 1,
            cpu: str = "native", name: str | None = None, optimize: bool = True) -> Compiled:
    """Compiles one method of a module, or of the archive at a path.

    What the arguments are is told by `example_inputs` (numpy arrays and Python values; tensors are
    inputs of that shape and dtype, all else is compiled in), by `inputs` (the command line's
    --input words, such as "x:f32[1,3,224,224]"), or by the example that a traced archive carries.
    The result is called with numpy arrays; `save` writes it as .o, .so or a program.

    InputError where the inputs do not fit, ArchiveError and CompileError as the message says."""
    if example_inputs is not None and inputs is not None:
        raise InputError("give example_inputs or inputs, not both")
    if isinstance(module, (str, os.PathLike)):
        where, stem = Path(module), Path(module).stem
        module = load(module)
    else:
        where, stem = "the module", "model"
    given = parse_inputs(inputs) if inputs is not None else None
    if example_inputs is not None and method in module.method_names():
        given = inputs_like(tuple(example_inputs), module.method(method))
    options = CompileOptions(given, method, name or name_of_path(stem), cpu, threads, optimize)
    return compile_module(module, options, Progress(), where)
