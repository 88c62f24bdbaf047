"""`aot.jit`: programs in TorchScript. What PyTorch calls `torch.jit`, under the same names.

    load, save, freeze      archives
    trace, trace_module     a Graph recorded from a run (aot/tracer.py)
    script ...              a Graph compiled from Python source (aot/script)
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Mapping
from typing import Any

from aot import torch_bridge
from aot.archive.reader import read_archive
from aot.jit_module import (
    Method, ScriptFunction, ScriptModule, TopLevelTracedModule, TracedModule, module_of,
)  # fmt: skip
from lowering.graph import Function, Node, Parameter
from lowering.graph_passes.dead_code import eliminate_dead_code
from lowering.graph_passes.fold_batch_norm import fold_batch_norm
from lowering.graph_passes.freeze import freeze_graphs
from lowering.graph_passes.share_common import share_common
from lowering.objects import ScriptObject
from lowering.types import ClassType
from runtime.errors import InputError

RecursiveScriptModule = ScriptModule

# Module -> the names of aot.jit that it has; imported when first used.
_MODULES = {
    "aot.tracer": "trace trace_module is_tracing TracerWarning",
    "aot.jit_fusion": "enable_onednn_fusion onednn_fusion_enabled set_fusion_strategy "
    "strict_fusion",
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "Method", "RecursiveScriptModule", "ScriptFunction", "ScriptModule", "TopLevelTracedModule",
    "TracedModule", "freeze", "load", "module_of", "optimize_for_inference",
    "run_frozen_optimizations", "save", "script", *_LAZY,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    value = getattr(importlib.import_module(_LAZY.get(name, "aot.script.api")), name, None)
    if value is None:
        raise AttributeError(f"module 'aot.jit' has no attribute {name!r}")
    globals()[name] = value
    return value


def script(obj: Any, optimize: object = None, _frames_up: int = 0, _rcb: object = None,
           example_inputs: Any = None) -> Any:
    """Compile a function, class or module to TorchScript; a module of PyTorch, where the user has
    imported it, is scripted by PyTorch and read from there.

    ScriptError, with the place in the source, where the program is not TorchScript.
    """
    if isinstance(obj, ScriptModule):
        return obj
    if torch_bridge.is_torch_module(obj) or torch_bridge.is_torch_script(obj):
        return load(torch_bridge.archive_of(obj))
    compiler = importlib.import_module("aot.script.api")
    return compiler.script(obj, optimize, _frames_up, _rcb, example_inputs)


def load(
    f: str | os.PathLike | bytes | io.IOBase,
    map_location: object = None,
    _extra_files: dict[str, object] | None = None,
) -> ScriptModule:
    """Load a module that torch.jit.save wrote, from a path, bytes or an open binary file.

    `map_location` is None or "cpu": tensors come to the CPU wherever they were. The values of
    `_extra_files` are replaced by the contents (bytes) of the archive's files of those names.
    ArchiveError says what is wrong with an archive that cannot be read.
    """
    if map_location is not None and str(map_location) != "cpu":
        raise InputError(f"map_location: expected 'cpu', found {map_location!r}")
    archive = read_archive(f)
    for name in _extra_files or {}:
        contents = archive.extra_file(name)
        if contents is None:
            raise InputError(f"{archive.name}: the archive has no extra file {name!r}")
        _extra_files[name] = contents
    for instance, state in archive.unrestored:
        restore = instance.type.methods["__setstate__"]
        importlib.import_module("lowering.run_method").run_method(restore, [instance, state])
    return ScriptModule(archive.root, archive)


def save(m: ScriptModule | ScriptFunction, f: str | os.PathLike | io.IOBase,
         _extra_files: Mapping[str, str | bytes] | None = None) -> None:
    """Write a module or function as a TorchScript archive, to a path or an open binary file.

    The archive loads in PyTorch as well as here. `_extra_files` (name -> contents) are stored
    beside the program. InputError names what has no place in an archive.
    """
    if not isinstance(m, (ScriptModule, ScriptFunction)):
        raise InputError(f"save: expected a scripted or traced module or function, found a "
                         f"{type(m).__name__}; aot.jit.script or aot.jit.trace makes one of it")
    m.save(f, _extra_files)


def freeze(mod: ScriptModule, preserved_attrs: list[str] | None = None,
           optimize_numerics: bool = True) -> ScriptModule:
    """A module whose `forward`, and the methods that `preserved_attrs` names, have as constants
    what the module's attributes hold now; only what a method changes stays an attribute.

    Equal things are computed once and, with `optimize_numerics`, batch norms folded into
    convolutions. InputError if the module is in training mode or lacks a named method.
    """
    if mod.object.attributes.get("training") is True:
        raise InputError("freeze: the module is in training mode; save it after eval()")
    old = mod.object.type
    cls = ClassType(old.name, True, forward_hooks=(), forward_pre_hooks=())
    frozen = ScriptObject(cls)
    names = ["forward", *(preserved_attrs or ())]
    for name in names:
        if name not in old.methods:
            raise InputError(f"freeze: {old.name} has no method {name!r}")
    methods = [old.methods[name] for name in names]
    graphs = freeze_graphs([method.graph for method in methods], mod.object)
    for name, method, graph in zip(names, methods, graphs):
        share_common(graph)
        if optimize_numerics:
            fold_batch_norm(graph)
        eliminate_dead_code(graph)
        graph.inputs[0].type = cls
        for use in graph.inputs[0].uses:
            if not isinstance(use.user, Node) or "Attr" not in use.user.kind or use.index:
                raise InputError(f"freeze: {method.name} hands the module itself on")
            kept = use.user.attributes["name"]
            cls.attributes[kept] = old.attributes[kept]
            frozen.attributes[kept] = mod.object.attributes[kept]
        own = Parameter(method.parameters[0].name, cls)
        function = Function(method.name, [own, *method.parameters[1:]], method.returns)
        function.graph = graph
        cls.methods[name] = function
    return ScriptModule(frozen, mod.archive)


def run_frozen_optimizations(mod: ScriptModule, optimize_numerics: bool = True,
                             preserved_methods: list[str] | None = None) -> None:
    """Simplify a frozen module's graphs where they stand: equal things computed once and, with
    `optimize_numerics`, batch norms folded into convolutions."""
    for name in ("forward", *(preserved_methods or ())):
        if name not in mod.object.type.methods:
            raise InputError(f"{mod.object.type.name} has no method {name!r}")
        graph = mod.object.type.methods[name].graph
        share_common(graph)
        if optimize_numerics:
            fold_batch_norm(graph)
        eliminate_dead_code(graph)


def optimize_for_inference(mod: ScriptModule, other_methods: list[str] | None = None
                           ) -> ScriptModule:
    """The module frozen and simplified, ready to be compiled by its first call.

    A module in training mode has to be put into eval() first; `other_methods` are kept beside
    `forward`.
    """
    frozen = mod
    if mod.object.type.attributes:
        frozen = freeze(mod, other_methods)
    run_frozen_optimizations(frozen, preserved_methods=other_methods)
    return frozen
