"""Modules and functions of TorchScript: to look at, to call, to save.

A `ScriptModule` is an `aot.nn.Module` over an object of the program (`ScriptObject`): the object
holds the truth, parameters and buffers are tensors on the object's memory.
"""

from __future__ import annotations

import importlib
import io
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from aot.archive.writer import archive_bytes, write_archive
from aot.jit_call import SHOWN, call_method
from aot.nn.modules.module import Module
from aot.nn.parameter import Parameter as TensorParameter
from aot.script import script_function
from aot.script.inlined import shown_inlined
from aot.tensor_core import Tensor
from lowering.graph import Function, Graph, Parameter
from lowering.graph_builder import Builder
from lowering.graph_code import print_code
from lowering.objects import ScriptObject, TensorData, map_tensors
from lowering.types import ClassType, TupleType
from runtime.errors import InputError


class Method:
    """A method of a module, bound to it."""

    def __init__(self, module: ScriptModule, name: str, function: Function) -> None:
        self.module = module
        self.name = name
        self.function = function

    @property
    def graph(self) -> Graph:
        """The method's Graph; `str()` of it is TorchScript's text."""
        return self.function.shown_graph

    @property
    def inlined_graph(self) -> Graph:
        """The Graph with the bodies of all called functions and methods in their places."""
        return shown_inlined(self.function.shown_graph)

    @property
    def code(self) -> str:
        """The method as TorchScript's code text."""
        return print_code(self.function.as_shown())

    @property
    def code_with_constants(self) -> tuple[str, dict[str, object]]:
        """The code, and what the names `CONSTANTS.cN` in it stand for."""
        return _code_with_constants(self.function.as_shown())

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the method. Tensors in, tensors out; numpy arrays in, numpy arrays out.

        InputError if the arguments do not fit the method's parameters, RuntimeFailure if the
        program raises.
        """
        bound = bind(self.name, self.function.parameters[1:], args, kwargs)
        return call_method(self.function, self.module.object, bound)

    def interpret(self, *args: object, **kwargs: object) -> object:
        """Run the method in the numpy interpreter: right for every program, and slow."""
        bound = bind(self.name, self.function.parameters[1:], args, kwargs)
        return call_method(self.function, self.module.object, bound, interpret=True)

    def _bind(self, args: tuple, kwargs: dict[str, object]) -> list[object]:
        return bind(self.name, self.function.parameters[1:], args, kwargs)

    def __repr__(self) -> str:
        return f"<method {self.name} of {self.module.object.type.name}>"


def bind(name: str, parameters: list, args: tuple, kwargs: Mapping[str, object]) -> list[object]:
    """The arguments in the order of the parameters, defaults filled in."""
    if len(args) > len(parameters):
        raise InputError(f"{name}() takes {len(parameters)} arguments, {len(args)} are given")
    given = dict(zip((p.name for p in parameters), args))
    for key, value in kwargs.items():
        if key in given:
            raise InputError(f"{name}() is given the argument {key!r} twice")
        given[key] = value
    unknown = given.keys() - {p.name for p in parameters}
    if unknown:
        raise InputError(f"{name}() has no argument {sorted(unknown)[0]!r}")
    for parameter in parameters:
        if parameter.name not in given:
            if parameter.required:
                raise InputError(f"{name}() needs the argument {parameter.name!r}")
            given[parameter.name] = parameter.default
    return [given[p.name] for p in parameters]


def _code_with_constants(function: Function) -> tuple[str, dict[str, object]]:
    constants: list[object] = []

    def store(value: object) -> str:
        for i, known in enumerate(constants):
            if known is value:
                return f"CONSTANTS.c{i}"
        constants.append(value)
        return f"CONSTANTS.c{len(constants) - 1}"

    code = print_code(function, store=store)
    named = {f"c{i}": as_tensor(value) for i, value in enumerate(constants)}
    return code, named


def as_tensor(value: object) -> object:
    """TensorData in a nest as Tensors on the same memory; all else as it is."""
    if isinstance(value, (tuple, list, dict)):
        return map_tensors(value, as_tensor)
    if not isinstance(value, TensorData):
        return value
    tensor = Tensor._of_data(value)
    tensor._wants_grad = value.requires_grad
    return tensor


def module_of(instance: ScriptObject, archive: object = None) -> ScriptModule:
    """The module over an object of the program."""
    known = SHOWN.get(id(instance))
    return ScriptModule(instance, archive) if known is None else known


class _Compiling(type):
    """Compiles an object of a ScriptModule subclass once its `__init__` is done."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        module = super().__call__(*args, **kwargs)
        if "object" not in module.__dict__:
            compiler = importlib.import_module("aot.script.compiler")
            module._adopt(compiler.PROGRAM.module(module), None)
            for name in module.object.type.methods:
                module.__dict__[name] = module.method(name)
        return module


class HookedForward:
    """`module.forward`: its texts are the method's, a call runs the module's hooks as well."""

    def __init__(self, module: ScriptModule) -> None:
        self.module = module

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.module._run_forward(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "module":
            raise AttributeError(name)
        return getattr(self.module._forward(), name)


class ScriptModule(Module, metaclass=_Compiling):
    """A module of an archive, or one traced or scripted here. Its attributes and methods are
    Python attributes of this object.

    A subclass with methods marked `script_method` is compiled as soon as an object is made.
    """

    _kind = "RecursiveScriptModule"

    def __init__(self, instance: ScriptObject | None = None, archive: object = None) -> None:
        super().__init__()
        if instance is not None:
            self._adopt(instance, archive)

    def _adopt(self, instance: ScriptObject, archive: object) -> None:
        """Become the module over this object."""
        own = self.__dict__
        own.pop("training", None)
        own["object"], own["archive"] = instance, archive
        own["_modules"] = OrderedDict()
        kept, own["_parameters"], own["_buffers"] = own["_parameters"], {}, {}
        SHOWN[id(instance)] = self
        cls = instance.type
        for name, value in instance.attributes.items():
            if isinstance(value, ScriptObject) and value.type.is_module:
                own["_modules"][name] = module_of(value, archive)
            elif isinstance(value, TensorData) and name in cls.parameters:
                tensor = kept.get(name)
                if tensor is None or tensor._data is not value:
                    tensor = TensorParameter(as_tensor(value), value.requires_grad)
                own["_parameters"][name] = tensor
            elif isinstance(value, TensorData) and name in cls.buffers:
                own["_buffers"][name] = as_tensor(value)

    # --- methods ------------------------------------------------------------------------------

    def method_names(self) -> list[str]:
        return list(self.object.type.methods)

    def method(self, name: str) -> Method:
        """A method by name; KeyError if the module has none of this name."""
        return Method(self, name, self.object.type.methods[name])

    @property
    def forward(self) -> Any:  # type: ignore[override]
        """The method `forward`, which runs with the hooks that the module was scripted with."""
        return HookedForward(self)

    def _run_forward(self, args: tuple, kwargs: dict[str, object]) -> object:
        cls = self.object.type
        method = self._overload(args) if "forward__0" in cls.methods else self._forward()
        if not cls.forward_pre_hooks and not cls.forward_hooks:
            return method(*args, **kwargs)
        bound = method._bind(args, kwargs)
        return call_method(method.function, self.object, bound, hooks=True)

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

    @property
    def code_with_constants(self) -> tuple[str, dict[str, object]]:
        """`forward`'s code, and what the names `CONSTANTS.cN` in it stand for."""
        return self._forward().code_with_constants

    @property
    def original_name(self) -> str:
        """The name of the class the module was made of."""
        return self.object.type.name.rpartition(".")[2]

    def _overload(self, args: tuple) -> Method:
        """The `forward__N` whose first parameter is what the first argument is, a tuple or not."""
        names = [n for n in self.object.type.methods if n.startswith("forward__")]
        for name in names:
            first = self.object.type.methods[name].parameters[1].type
            if not args or isinstance(first, TupleType) == isinstance(args[0], tuple):
                return self.method(name)
        return self.method(names[0])

    def _forward(self) -> Method:
        cls = self.object.type
        if "forward" not in cls.methods:
            raise InputError(
                f"{cls.name} has no method 'forward'; it has {', '.join(cls.methods) or 'none'}"
            )
        return self.method("forward")

    # --- attributes ---------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in own.get(kind, ()):
                return own[kind][name]
        instance = own.get("object")
        if instance is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if name in instance.attributes:
            value = instance.attributes[name]
            if isinstance(value, ScriptObject) and value.type.is_module:
                return module_of(value, self.archive)
            return as_tensor(value)
        if name in instance.type.methods:
            return self.method(name)
        if name in instance.type.constants:
            return instance.type.constants[name]
        raise AttributeError(f"{instance.type.name} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if "object" not in own or name in ("_modules",):
            super().__setattr__(name, value)
            return
        instance = own["object"]
        if name not in instance.type.attributes:
            raise AttributeError(f"{instance.type.name} has no attribute {name!r} to set")
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in own[kind]:
                own[kind][name] = value
        if isinstance(value, ScriptModule):
            value = value.object
        elif isinstance(value, Tensor):
            value._data.requires_grad = value._wants_grad
            value = value._data
        instance.attributes[name] = value

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: int | str) -> Any:
        """A module of a list by its position, of a dict by its key."""
        if isinstance(index, str):
            return self._modules[index]
        return list(self._modules.values())[index]

    def __iter__(self) -> Any:
        return iter(self._modules.values())

    def train(self, mode: bool = True) -> ScriptModule:
        """Set `training` here and in all modules below; returns the module."""
        for module in self.modules():
            if isinstance(module, ScriptModule) and "training" in module.object.type.attributes:
                module.object.attributes["training"] = mode
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> ScriptModule:
        super()._apply(fn, recurse)
        for held in (self._parameters, self._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    tensor._data.requires_grad = tensor._wants_grad
                    self.object.attributes[name] = tensor._data
        return self

    # --- saving -------------------------------------------------------------------------------

    def save(self, f: str | os.PathLike | io.IOBase,
             _extra_files: Mapping[str, str | bytes] | None = None,
             _example_inputs: Mapping[str, Any] | None = None) -> None:
        """Write the module as a TorchScript archive, to a path or an open binary file.

        `_extra_files` are stored beside it. `_example_inputs`, arguments by method name, go into
        the archive only if they are given. InputError names what has no place in an archive.
        """
        write_archive(self.object, f, _extra_files, _plain_inputs(_example_inputs))

    def save_to_buffer(self, _extra_files: Mapping[str, str | bytes] | None = None) -> bytes:
        """The archive that `save` writes, as bytes."""
        return archive_bytes(self.object, _extra_files)

    # --- text ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        return f"original_name={self.original_name}"

    def _get_name(self) -> str:
        return self._kind


class TracedModule(ScriptModule):
    """A module that `trace` recorded; it prints under the name of its class."""

    def _get_name(self) -> str:
        return self.original_name


class TopLevelTracedModule(TracedModule):
    """The module that `trace` returns."""


class ScriptFunction(script_function.ScriptFunction):
    """A function traced or scripted here."""

    def __init__(self, function: Function, python: object = None) -> None:
        super().__init__(function, python)
        self.__name__ = self.__qualname__ = self.name

    @property
    def code_with_constants(self) -> tuple[str, dict[str, object]]:
        """The code, and what the names `CONSTANTS.cN` in it stand for."""
        return _code_with_constants(self.function)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the function. Tensors in, tensors out; numpy arrays in, numpy arrays out."""
        bound = bind(self.name, self.function.parameters, args, kwargs)
        return call_method(self.function, None, bound)

    def interpret(self, *args: object, **kwargs: object) -> object:
        """Run the function in the numpy interpreter."""
        bound = bind(self.name, self.function.parameters, args, kwargs)
        return call_method(self.function, None, bound, interpret=True)

    def save(self, f: str | os.PathLike | io.IOBase,
             _extra_files: Mapping[str, str | bytes] | None = None) -> None:
        """Write the function as an archive: a module whose `forward` it is."""
        write_archive(placeholder(self.function), f, _extra_files)

    def save_to_buffer(self, _extra_files: Mapping[str, str | bytes] | None = None) -> bytes:
        return archive_bytes(placeholder(self.function), _extra_files)

    def __repr__(self) -> str:
        return f"<aot.jit.ScriptFunction {self.name}>"


def placeholder(function: Function) -> ScriptObject:
    """An object of a module class without attributes whose `forward` is the function."""
    cls = ClassType("__torch__.PlaceholderModule", True)
    graph = Graph()
    builder = Builder(graph)
    builder.add_param(graph.block, cls, "self")
    builder.copy_block(function.graph.block, graph.block, {})
    method = Function(f"{cls.name}.forward", [Parameter("self", cls), *function.parameters],
                      function.returns)
    method.graph = graph
    cls.methods["forward"] = method
    return ScriptObject(cls)


def _plain_inputs(inputs: Mapping[str, Any] | None) -> dict[str, list[object]] | None:
    if inputs is None:
        return None

    def plain(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x._data
        if isinstance(x, (list, tuple)):
            return type(x)(map(plain, x))
        return x

    return {k: [plain(x) for x in (v if isinstance(v, (tuple, list)) else (v,))]
            for k, v in inputs.items()}
