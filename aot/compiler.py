"""`aot.compile`: a module or an archive, and what its arguments are, to a callable."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from aot import compile_cache
from aot.compiled import Compiled, Lowered
from aot.disk_cache import DiskCache
from aot.inputs import Input, input_of_value, parse_inputs
from aot.options import CompileOptions, name_of_path
from aot.progress import Progress
from llvm_backend.artifact import Artifact
from runtime.errors import AotError, InputError

if TYPE_CHECKING:
    from aot.jit import ScriptModule

# A method's name, its inputs where they are told by words, and example arguments where by those.
Request = tuple[str, Optional[tuple[Input, ...]], Optional[tuple[Any, ...]]]


def compile(module: Any, example_inputs: Sequence[Any] | None = None,
            inputs: Sequence[str] | Sequence[Sequence[str]] | None = None, *,
            method: str = "forward",
            methods: Mapping[str, Sequence[Any] | None] | None = None, threads: int = 1,
            cpu: str = "native", name: str | None = None, optimize: bool = True,
            precision: str = "f32", cache: bool = True) -> Compiled:
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

    precision="bf16" or "int8-weights" rounds the weights of products, which then take a half or a
    quarter of the memory; sums stay in float32.

    What was compiled is kept on disk and found again (aot/compile_cache.py), unless `cache` is
    False.

    InputError where the inputs do not fit, ArchiveError and CompileError as the message says."""
    if example_inputs is not None and inputs is not None:
        raise InputError("give example_inputs or inputs, not both")
    if methods is None:
        requests = _requests(method, example_inputs if inputs is None else inputs)
    elif not methods or inputs is not None or example_inputs is not None:
        raise InputError("methods: expected a dict of at least one method, with the inputs in it")
    else:
        requests = [r for each, given in methods.items() for r in _requests(each, given)]
    (first, given, _), *others = requests
    path = Path(module) if isinstance(module, (str, os.PathLike)) else None
    options = CompileOptions(given, first, name or name_of_path(path.stem if path else "model"),
                             cpu, threads, precision, optimize, cache=cache,
                             more_methods=tuple((each, words) for each, words, _ in others))
    if path is not None:
        return compile_archive(path, options, Progress(), requests)
    if not isinstance(module, importlib.import_module("aot.jit").ScriptModule):
        module = importlib.import_module("aot.accept").script_module(module, example_inputs)
    return _compile_module(module, options, requests)


def compile_archive(path: Path, options: CompileOptions, progress: Progress,
                    requests: Sequence[Request] = ()) -> Compiled:
    """Compiles methods of an archive, or finds their code in the cache. requests: those of the
    options, where example arguments tell what the inputs are."""

    def lower() -> Lowered:
        progress.stage("read")
        module = importlib.import_module("aot.jit").load(path)
        return _lower(module, options, requests, progress, path)

    cache = compile_cache.open_cache() if options.cache and path.is_file() else None
    if cache is None:
        return Compiled.of(lower(), options, progress)
    progress.stage("look up")
    kept = _Kept(cache, lambda: compile_cache.file_digest(path, cache), f"{path}: the archive",
                 options, requests)
    return kept.find(lower, progress) or kept.make(lower, progress)


def _compile_module(module: ScriptModule, options: CompileOptions,
                    requests: Sequence[Request]) -> Compiled:
    """The same of a module in this process, which is known by the archive that it would be."""

    def lower() -> Lowered:
        return _lower(module, options, requests, progress, "the module")

    def digest() -> bytes:
        archive = io.BytesIO()
        importlib.import_module("aot.jit").save(module, archive)
        return hashlib.sha256(archive.getbuffer()).digest()

    progress = Progress()
    known = all(inputs is not None or examples is not None for _, inputs, examples in requests)
    cache = compile_cache.open_cache() if options.cache and known else None
    if cache is not None:
        try:
            kept = _Kept(cache, digest, "the module", options, requests)
        except AotError:
            pass  # what no archive can hold is compiled anew
        else:
            found = kept.find(lower, progress)
            # One that changes is compiled again: the interpreter begins with the module as it is.
            return found if found and not found.changes_module else kept.make(lower, progress)
    return Compiled.of(lower(), options, progress)


class _Kept:
    """A compilation's place in the cache."""

    def __init__(self, cache: DiskCache, digest: Callable[[], bytes], what: str,
                 options: CompileOptions, requests: Sequence[Request]):
        """digest: of what is compiled, now; what: its name, for a message."""
        self.cache, self.digest, self.what, self.options = cache, digest, what, options
        self.before = digest()
        self.key = compile_cache.key_of(self.before, options, [_like(r, None) for r in requests])

    def find(self, lower: Callable[[], Lowered], progress: Progress) -> Compiled | None:
        """What was kept."""

        def again() -> Lowered:
            if self.digest() != self.before:
                raise InputError(f"{self.what} has changed since it was compiled")
            return lower()

        found = compile_cache.find(self.cache, self.key)
        if found is None:
            return None
        artifact, signatures, changes_module = found
        return Compiled(self.options, signatures, changes_module, again, artifact,
                        progress=progress)

    def make(self, lower: Callable[[], Lowered], progress: Progress) -> Compiled:
        """Compiles, and keeps the machine code when it is made."""
        lowered = lower()

        def made(artifact: Artifact) -> None:
            if self.digest() == self.before:  # and was all the time
                compile_cache.keep(self.cache, self.key, artifact, lowered.signatures,
                                   lowered.changes_module)

        return Compiled.of(lowered, self.options, progress, made)


def _lower(module: ScriptModule, options: CompileOptions, requests: Sequence[Request],
           progress: Progress, where: object) -> Lowered:
    if requests:
        (method, inputs), *others = [(r[0], _like(r, module)) for r in requests]
        options = replace(options, inputs=inputs, method=method, more_methods=tuple(others))
    pipeline = importlib.import_module("aot.pipeline")
    return pipeline.compile_module(module, options, progress, where)


def _requests(method: str, given: Sequence[Any] | None) -> list[Request]:
    """What a user gives for a method, words or examples, once for each signature."""
    if given and all(isinstance(x, (list, tuple)) and _are_words(x) for x in given) and any(given):
        return [(method, parse_inputs(words), None) for words in given]
    if given and _are_words(given):
        return [(method, parse_inputs(given), None)]
    return [(method, None, None if given is None else _arrays(tuple(given)))]


def _are_words(x: Sequence[Any]) -> bool:
    return all(isinstance(word, str) for word in x)


def _like(request: Request, module: ScriptModule | None) -> tuple[Input, ...] | None:
    """A method's inputs, from example arguments if there are any; without the method's names where
    there is no module."""
    method, inputs, examples = request
    if examples is None:
        return inputs
    if module is None:
        return tuple(map(input_of_value, examples))
    if method not in module.method_names():
        return None  # which is refused later
    return importlib.import_module("aot.specs").inputs_like(examples, module.method(method))


def _arrays(x: Any) -> Any:
    """Tensors in a nest as numpy arrays."""
    if x is None or isinstance(x, (np.ndarray, int, float, str)):
        return x
    if type(x) in (tuple, list):
        return type(x)(map(_arrays, x))
    return importlib.import_module("aot.torch_bridge").arrays(x)
