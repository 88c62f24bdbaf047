"""`aot.jit.load`: the modules of TorchScript archives, to look at and to call.

A call runs the method's Graph through partial evaluation and the numpy interpreter: right and slow.
Compiling it is `aot.compile`'s work.
"""

from __future__ import annotations

import importlib
import io
import os
from typing import Iterator

from aot.archive.reader import Archive, read_archive

from lowering.graph import Function, Graph, Node, Parameter
from lowering.graph_code import print_code
from lowering.graph_passes.dead_code import eliminate_dead_code
from lowering.graph_passes.fold_batch_norm import fold_batch_norm
from lowering.graph_passes.freeze import freeze_graphs
from lowering.graph_passes.inline import inline_calls
from lowering.graph_passes.share_common import share_common
from lowering.objects import ScriptObject, TensorData
from lowering.types import ClassType, NoneT
from runtime.errors import InputError



def load(
    path: str | os.PathLike | bytes | io.IOBase,
    map_location: str | None = None,
    _extra_files: dict[str, object] | None = None,
) -> ScriptModule:
    """Load a module that torch.jit.save wrote, from a path, bytes or an open binary file.

    `map_location` is None or "cpu": tensors come to the CPU wherever they were. The values of
    `_extra_files` are replaced by the contents (bytes) of the archive's files of those names.
    ArchiveError says what is wrong with an archive that cannot be read.
    """
    if map_location is not None and str(map_location) != "cpu":
        raise InputError(f"map_location: expected 'cpu', found {map_location!r}")
    archive = read_archive(path)
    for name in _extra_files or {}:
        contents = archive.extra_file(name)
        if contents is None:
            raise InputError(f"{archive.name}: the archive has no extra file {name!r}")
        _extra_files[name] = contents
    for instance, state in archive.unrestored:
        _run(instance.type.methods["__setstate__"], [instance, state])
    return ScriptModule(archive.root, archive)


def freeze(module: ScriptModule, preserved_attrs: list[str] | None = None) -> ScriptModule:
    """A module whose `forward`, and the methods that `preserved_attrs` names, have as constants
    what the module's attributes hold now; only what a method changes stays an attribute.

    Batch norms are folded into convolutions and equal things computed once. InputError if the
    module is in training mode or lacks a named method.
    """
    if module.object.attributes.get("training") is True:
        raise InputError("freeze: the module is in training mode; save it after eval()")
    old = module.object.type
    cls = ClassType(old.name, True, forward_hooks=(), forward_pre_hooks=())
    frozen = ScriptObject(cls)
    names = ["forward", *(preserved_attrs or ())]
    for name in names:
        if name not in old.methods:
            raise InputError(f"freeze: {old.name} has no method {name!r}")
    methods = [old.methods[name] for name in names]
    graphs = freeze_graphs([method.graph for method in methods], module.object)
    for name, method, graph in zip(names, methods, graphs):
        share_common(graph)
        fold_batch_norm(graph)
        eliminate_dead_code(graph)
        graph.inputs[0].type = cls
        for use in graph.inputs[0].uses:
            if not isinstance(use.user, Node) or "Attr" not in use.user.kind or use.index:
                raise InputError(f"freeze: {method.name} hands the module itself on")
            kept = use.user.attributes["name"]
            cls.attributes[kept] = old.attributes[kept]
            frozen.attributes[kept] = module.object.attributes[kept]
        own = Parameter(method.parameters[0].name, cls)
        function = Function(method.name, [own, *method.parameters[1:]], method.returns)
        function.graph = graph
        cls.methods[name] = function
    return ScriptModule(frozen, module.archive)


def _run(function: Function, arguments: list[object]) -> object:
    """Run a function; the interpreter and the operators are imported by the first run."""
    return importlib.import_module("lowering.run_method").run_method(function, arguments)


class Method:
    """A method of a module, bound to it."""

    def __init__(self, module: ScriptModule, name: str, function: Function) -> None:
        self.module = module
        self.name = name
        self.function = function

    @property
    def graph(self) -> Graph:
        """The method's Graph; `str()` of it is TorchScript's text."""
        return self.function.graph

    @property
    def inlined_graph(self) -> Graph:
        """The Graph with the bodies of all called functions and methods in their places."""
        return inline_calls(self.function.graph)

    @property
    def code(self) -> str:
        """The method as TorchScript's code text."""
        return print_code(self.function)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the method in the numpy interpreter.

        Tensors may be given as numpy arrays or TensorData; InputError if the arguments do not fit
        the method's parameters.
        """
        return _run(self.function, [self.module.object, *self._bind(args, kwargs)])

    def _bind(self, args: tuple, kwargs: dict[str, object]) -> list[object]:
        parameters = self.function.parameters[1:]
        if len(args) > len(parameters):
            raise InputError(
                f"{self.name}() takes {len(parameters)} arguments, {len(args)} are given"
            )
        given = dict(zip((p.name for p in parameters), args))
        for name, value in kwargs.items():
            if name in given:
                raise InputError(f"{self.name}() is given the argument {name!r} twice")
            given[name] = value
        unknown = given.keys() - {p.name for p in parameters}
        if unknown:
            raise InputError(f"{self.name}() has no argument {sorted(unknown)[0]!r}")
        for parameter in parameters:
            if parameter.name not in given:
                if parameter.required:
                    raise InputError(f"{self.name}() needs the argument {parameter.name!r}")
                given[parameter.name] = parameter.default
        return [given[p.name] for p in parameters]

    def __repr__(self) -> str:
        return f"<method {self.name} of {self.module.object.type.name}>"


class ScriptModule:
    """A module of an archive. Its attributes and methods are Python attributes of this object."""

    def __init__(self, instance: ScriptObject, archive: Archive) -> None:
        self.__dict__["object"] = instance
        self.__dict__["archive"] = archive

    # --- methods ------------------------------------------------------------------------------

    def method_names(self) -> list[str]:
        return list(self.object.type.methods)

    def method(self, name: str) -> Method:
        """A method by name; KeyError if the module has none of this name."""
        return Method(self, name, self.object.type.methods[name])

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run `forward`, with the hooks the module was scripted with."""
        cls = self.object.type
        if "forward" not in cls.methods:
            raise InputError(
                f"{cls.name} has no method 'forward'; it has {', '.join(cls.methods) or 'none'}"
            )
        forward = self.method("forward")
        if not cls.forward_pre_hooks and not cls.forward_hooks:
            return forward(*args, **kwargs)
        inputs = tuple(forward._bind(args, kwargs))
        for name in cls.forward_pre_hooks:
            hook = cls.methods[name]
            result = _run(hook, [self.object, inputs])
            if hook.returns != NoneT:
                inputs = result if isinstance(result, tuple) else (result,)
        output = _run(forward.function, [self.object, *inputs])
        for name in cls.forward_hooks:
            hook = cls.methods[name]
            result = _run(hook, [self.object, inputs, output])
            if hook.returns != NoneT:
                output = result
        return output

    @property
    def graph(self) -> Graph:
        """The Graph of `forward`."""
        return self._forward().graph

    @property
    def inlined_graph(self) -> Graph:
        """The Graph of `forward` with all calls inlined."""
        return self._forward().inlined_graph

    @property
    def code(self) -> str:
        """`forward` as TorchScript's code text."""
        return self._forward().code

    def _forward(self) -> Method:
        if "forward" not in self.object.type.methods:
            raise InputError(f"{self.object.type.name} has no method 'forward'")
        return self.method("forward")

    # --- attributes ---------------------------------------------------------------------------

    def __getattr__(self, name: str) -> object:
        instance = self.__dict__["object"]
        if name in instance.attributes:
            return self._wrap(instance.attributes[name])
        if name in instance.type.methods:
            return self.method(name)
        if name in instance.type.constants:
            return instance.type.constants[name]
        raise AttributeError(f"{instance.type.name} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.object.type.attributes:
            raise AttributeError(f"{self.object.type.name} has no attribute {name!r} to set")
        self.object.attributes[name] = value.object if isinstance(value, ScriptModule) else value

    def _wrap(self, value: object) -> object:
        if isinstance(value, ScriptObject) and value.type.is_module:
            return ScriptModule(value, self.archive)
        return value

    def named_children(self) -> Iterator[tuple[str, ScriptModule]]:
        for name, value in self.object.attributes.items():
            if isinstance(value, ScriptObject) and value.type.is_module:
                yield name, ScriptModule(value, self.archive)

    def children(self) -> Iterator[ScriptModule]:
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, ScriptModule]]:
        """This module as '' and all below it as 'a', 'a.b' ...; a shared module comes once."""
        return self._named_modules(prefix, set())

    def _named_modules(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, ScriptModule]]:
        if id(self.object) in seen:
            return
        seen.add(id(self.object))
        yield prefix, self
        for name, child in self.named_children():
            yield from child._named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[ScriptModule]:
        return (module for _, module in self.named_modules())

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, TensorData]]:
        return self._named_tensors(lambda cls: cls.parameters, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[TensorData]:
        return (tensor for _, tensor in self.named_parameters(recurse))

    def named_buffers(self, recurse: bool = True) -> Iterator[tuple[str, TensorData]]:
        return self._named_tensors(lambda cls: cls.buffers, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[TensorData]:
        return (tensor for _, tensor in self.named_buffers(recurse))

    def _named_tensors(self, names_of, recurse: bool) -> Iterator[tuple[str, TensorData]]:
        seen: set[int] = set()
        modules = self.named_modules() if recurse else [("", self)]
        for prefix, module in modules:
            for name in names_of(module.object.type):
                value = module.object.attributes.get(name)
                if isinstance(value, TensorData) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def train(self, mode: bool = True) -> ScriptModule:
        """Set `training` here and in all modules below; returns the module."""
        for module in self.modules():
            if "training" in module.object.type.attributes:
                module.object.attributes["training"] = mode
        return self

    def eval(self) -> ScriptModule:
        """The same as train(False)."""
        return self.train(False)

    def state_dict(self, prefix: str = "") -> dict[str, TensorData]:
        """All parameters and buffers by their dotted names, in PyTorch's order. A module that
        stands in two places comes under both names."""
        out: dict[str, TensorData] = {}
        cls = self.object.type
        for name in (*cls.parameters, *cls.buffers):
            value = self.object.attributes.get(name)
            if isinstance(value, TensorData):
                out[prefix + name] = value
        for name, child in self.named_children():
            out.update(child.state_dict(f"{prefix}{name}."))
        return out

    def __repr__(self) -> str:
        return self._describe(0)

    def _describe(self, depth: int) -> str:
        indent = "  " * (depth + 1)
        name = self.object.type.name.rpartition(".")[2]
        children = [
            f"{indent}({key}): {child._describe(depth + 1)}" for key, child in self.named_children()
        ]
        if not children:
            return f"RecursiveScriptModule(original_name={name})"
        lines = ["RecursiveScriptModule(", f"{indent}original_name={name}", *children]
        return "\n".join(lines) + "\n" + "  " * depth + ")"
