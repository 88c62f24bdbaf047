"""Records what a run does: every operator call that the dispatcher sees becomes a node.

A tensor that no recorded operator made, and that is no parameter or input, is a constant of the
trace. Python's numbers are constants as well, but for sizes: `x.size(0)` gives, while a trace runs,
a tensor that remembers where it came from.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

import numpy as np

import aot
from aot import dispatch
from aot.dtypes import Size
from aot.jit_module import ScriptModule
from aot.nn.modules.module import Module
from aot.nn.modules.module_hooks import call_with_hooks
from aot.tensor_core import Tensor
from aot.trace_calls import RecordedCall, rewrite
from aot.trace_cells import MADE_OF
from aot.trace_class import shared_data
from aot.trace_graph import TracedBlock, TracedGraph, TracedNode, TracedValue
from lowering import types
from lowering.graph import Function, SourceRange
from lowering.objects import DeviceValue, ScriptObject, TensorData
from lowering.schema_table import Formal
from lowering.types import (
    DictType, FunctionType, ListType, OptionalType, TensorType, TupleType, Type,
)  # fmt: skip
from runtime import dtypes

_FOLDER = os.path.dirname(os.path.abspath(aot.__file__)) + os.sep
_LAYERS = os.path.join(_FOLDER, "nn") + os.sep


class TraceError(RuntimeError):
    """What cannot be traced."""


def user_frame() -> FrameType | None:
    """The innermost frame that is the user's, or of a layer; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_internal(frame):
        frame = frame.f_back
    return frame


def is_internal(frame: FrameType) -> bool:
    """Whether a frame belongs to the tensors and the tracer, rather than to a program."""
    name = frame.f_code.co_filename
    if name.startswith(_FOLDER):
        return not name.startswith(_LAYERS) or name.endswith("module_hooks.py")
    return frame.f_code.co_name == "__call__" and name.endswith("module.py") and "nn" in name


def tensor_type(t: Tensor) -> TensorType:
    data = t._data
    return TensorType(t.row, data.sizes, data.strides, t.requires_grad, "cpu")


class Recorder:
    """One trace, while it runs."""

    def __init__(self) -> None:
        self.graph = TracedGraph()
        self.block = self.graph.root
        self.values: dict[int, TracedValue] = {}
        self.keep: list[object] = []  # what `values` knows by id lives as long
        self.paths: dict[int, tuple[str, ...]] = {}  # of modules and objects
        self.attributes: dict[tuple[str, ...], TracedValue] = {}

    # --- values -------------------------------------------------------------------------------

    def bind(self, tensor: Tensor, value: TracedValue) -> None:
        self.values[id(tensor)] = value
        self.keep.append(tensor)

    def value_of(self, tensor: Tensor, frame: FrameType | None = None) -> TracedValue:
        """The value that stands for a tensor, named as the frame's variable that holds it."""
        value = self.values.get(id(tensor))
        if value is None:
            if tensor.requires_grad:
                raise TraceError(
                    "Cannot insert a Tensor that requires grad as a constant. Consider making it "
                    "a parameter or input, or detaching the gradient")
            value = self.constant(shared_data(tensor), tensor_type(tensor))
            self.bind(tensor, value)
        elif value.name is None and frame is not None:
            for name, held in frame.f_locals.items():
                if held is tensor and name != "self":
                    self.graph.give_name(value, name)
                    break
        return value

    def node(self, kind: str, inputs: list[TracedValue], outputs: list[Type],
             attributes: dict[str, object] | None = None, overload: str | None = None,
             keywords: tuple[str, ...] = ()) -> TracedNode:
        made = TracedNode(kind, inputs, attributes or {}, self.place(), overload, keywords)
        made.outputs = [self.graph.value(t, self.block) for t in outputs]
        self.block.items.append(made)
        return made

    def constant(self, value: object, type_: Type) -> TracedValue:
        attributes = {} if value is None else {"value": value}
        made = self.node("prim::Constant", [], [type_], attributes)
        if value is None:
            made.range = self.nowhere()
        return made.outputs[0]

    def place(self) -> SourceRange | None:
        frame = user_frame()
        if frame is None:
            return None
        return SourceRange(frame.f_code.co_filename, frame.f_lineno, 0, scope=self.block.scope)

    def nowhere(self) -> SourceRange | None:
        """For nodes that PyTorch shows no place beside: the modules around them only."""
        scope = self.block.scope
        return SourceRange("", 0, 0, scope=scope) if scope else None

    # --- operators ----------------------------------------------------------------------------

    def on_call(self, event: dispatch.Event) -> None:
        """What the dispatcher tells after each operator call."""
        if event.name == "aten::copy_" and self.is_number(event.args[1]):
            event.args = (event.args[0], event.args[1].item())
        if event.name == "aten::tensor":
            self.new_tensor(event.result)
            return
        if event.name in MADE_OF:
            results = [event.result] if isinstance(event.result, Tensor) else list(event.result)
            for result, part in zip(results, MADE_OF[event.name](*event.args, **event.kwargs)):
                self.bind(result, self.value_of(part))
            return
        found = rewrite(event)
        if found is None:
            return
        frame = user_frame()
        # Sizes become numbers when arguments are parsed, before any of them is written down.
        arguments = self.parsed(found, frame)
        inputs = [self.argument(formal, value, frame)
                  for formal, value in zip(found.schema.formals, arguments)]
        keywords = tuple(f.name for f in found.schema.formals if f.keyword_only)
        result = event.result
        if isinstance(result, Tensor):
            type_ = tensor_type(result)
            if found.plain_result:
                type_ = TensorType(type_.dtype, type_.sizes, type_.strides, False, "cpu")
            made = self.node(found.schema.name, inputs, [type_], None, found.schema.overload,
                             keywords)
            self.bind(result, made.outputs[0])
            return
        several = list(result)  # type: ignore[call-overload]
        if isinstance(found.schema.returns[0], ListType):
            made = self.node(found.schema.name, inputs, [ListType(types.Tensor)], None,
                             found.schema.overload, keywords)
            made = self.node("prim::ListUnpack", made.outputs, [tensor_type(t) for t in several])
        else:
            made = self.node(found.schema.name, inputs, [tensor_type(t) for t in several], None,
                             found.schema.overload, keywords)
        for tensor, value in zip(several, made.outputs):
            self.bind(tensor, value)

    def parsed(self, call: RecordedCall, frame: FrameType | None) -> list:
        """The arguments with numbers where numbers are asked for, the last Scalar first."""
        arguments = list(call.arguments)
        formals = call.schema.formals
        order = iter([i for i, f in enumerate(formals) if f.type == types.Number][::-1])
        for i, formal in enumerate(formals):
            at = next(order) if formal.type == types.Number else i
            arguments[at] = self.numbers(formals[at].type, arguments[at], frame)
        return arguments

    def is_number(self, x: object) -> bool:
        """Whether a tensor is a number that Python wrote."""
        return isinstance(x, Tensor) and not x._data.sizes and id(x) not in self.values

    def new_tensor(self, result: Any) -> None:
        """torch.tensor(data): a constant, brought to its device and cut off from the tape."""
        copy = TensorData.from_numpy(np.array(result._data.numpy()), result.row)
        value = self.constant(copy, tensor_type(Tensor._of_data(copy)))
        more = [self.plain(DeviceValue("cpu"), types.Device),
                self.plain(result.row.torch_code, types.Int), self.plain(False, types.Bool),
                self.plain(False, types.Bool), self.plain(None, types.NoneT)]
        type_ = tensor_type(Tensor._of_data(copy))
        moved = self.node("aten::to", [value, *more], [type_], None, "device")
        made = self.node("aten::detach", moved.outputs, [type_], None, "")
        self.bind(result, made.outputs[0])

    def numbers(self, type_: Type, x: Any, frame: FrameType | None) -> Any:
        """The argument with values of numbers in place of tensors where numbers are asked for."""
        if isinstance(type_, OptionalType):
            type_ = type_.element
        if isinstance(type_, ListType) and isinstance(x, (list, tuple)):
            return [self.numbers(type_.element, v, frame) for v in x]
        if isinstance(type_, (ListType, OptionalType)):
            return self.numbers(type_.element, x, frame)
        if isinstance(x, Tensor) and not isinstance(type_, TensorType):
            return self.number(x, type_, frame)
        return x

    def argument(self, formal: Formal, x: Any, frame: FrameType | None) -> TracedValue:
        """The value of one argument, as the formal's type has it."""
        type_ = formal.type
        if isinstance(x, TracedValue):
            return x
        if isinstance(type_, OptionalType):
            if x is None:
                return self.constant(None, types.NoneT)
            type_ = type_.element
        if isinstance(type_, ListType):
            if not isinstance(x, (list, tuple)):
                x = [x] * (formal.length or 1)
            inner = Formal(formal.name, type_.element, False)
            parts = [self.argument(inner, v, frame) for v in x]
            return self.node("prim::ListConstruct", parts, [type_]).outputs[0]
        if isinstance(type_, TensorType):
            if isinstance(x, Tensor):
                return self.value_of(x, frame)
            return self.number_tensor(x)
        return self.plain(x, type_)

    def plain(self, x: Any, type_: Type) -> TracedValue:
        if x is None:
            return self.constant(None, types.NoneT)
        if type_ == types.Float and isinstance(x, int):
            x = float(x)
        if isinstance(x, bool) and type_ == types.Int:
            x = int(x)
        if isinstance(x, str) and type_ == types.Device:
            x = DeviceValue.parse(x)
        kinds = {bool: types.Bool, int: types.Int, float: types.Float, str: types.Str,
                 complex: types.Complex, DeviceValue: types.Device}
        return self.constant(x, kinds[type(x)])

    def number_tensor(self, x: bool | int | float) -> TracedValue:
        """A number where a tensor is asked for."""
        row = dtypes.bool_ if isinstance(x, bool) else dtypes.i64 if isinstance(x, int) else \
            dtypes.f64
        data = TensorData.from_numpy(np.asarray(x, row.storage), row)
        return self.constant(data, TensorType(row, (), (), False, "cpu"))

    def number(self, x: Tensor, type_: Type, frame: FrameType | None) -> TracedValue:
        """A tensor where a number is asked for: made one right where the tensor was made."""
        value = self.value_of(x, frame)
        kind = {types.Int: "aten::Int", types.Float: "aten::Float", types.Bool: "aten::Bool"}.get(
            type_, "aten::ScalarImplicit")
        node = TracedNode(kind, [value], {}, self.nowhere(), "Tensor" if kind != "aten::Scalar"
                          "Implicit" else "")
        node.outputs = [self.graph.value(type_, value.owner)]
        items = (value.owner or self.block).items
        for i, item in enumerate(items):
            if value in item.outputs:
                items.insert(i + 1, node)
                break
        else:
            items.append(node)
        return node.outputs[0]

    def size(self, x: Tensor, dim: int) -> Tensor:
        """A size of a tensor that is traced, as a tensor."""
        frame = user_frame()
        inputs = [self.value_of(x, frame), self.plain(dim, types.Int)]
        made = self.node("aten::size", inputs, [types.Int], None, "int")
        return self.measured(x._data.sizes[dim], made)  # dim may count from the end

    def sizes(self, x: Tensor) -> Size:
        return Size([self.size(x, k) for k in range(len(x._data.sizes))])

    def numel(self, x: Tensor) -> Tensor:
        made = self.node("aten::numel", [self.value_of(x, user_frame())], [types.Int], None, "")
        return self.measured(x._data.numel, made)

    def measured(self, number: int, node: TracedNode) -> Tensor:
        type_ = TensorType(dtypes.i64, (), (), None, "cpu")
        made = self.node("prim::NumToTensor", node.outputs, [type_], None, "Scalar")
        made.range = self.nowhere()
        out = Tensor._of_array(np.asarray(number, np.int64), dtypes.i64)
        self.bind(out, made.outputs[0])
        return out

    # --- inputs and outputs -------------------------------------------------------------------

    def enter(self, module: Module | None, instance: ScriptObject | None, names: list[str],
              args: tuple) -> tuple:
        """Declares the traced module, its attributes and the inputs. The arguments come back with
        a tensor of its own for each place."""
        if instance is not None:
            assert module is not None
            own = self.graph.value(instance.type, self.graph.root, "self")
            self.graph.inputs.append(own)
            self.declare(module, instance, ())
        seen: set[int] = set()
        given = []
        for name, x in zip(names, args):
            value = self.graph.value(input_type(x), self.graph.root, name)
            self.graph.inputs.append(value)
            given.append(self.part(x, value, seen))
        return tuple(given)

    def part(self, x: Any, value: TracedValue, seen: set[int] | None) -> Any:
        """The value stands for x; what is in a tuple, list or dict gets values of its own."""
        if isinstance(x, Tensor):
            if seen is not None and id(x) in seen:
                # PyTorch looks at an input that is given twice through a view of its own.
                self.graph.skip(len(x._data.sizes) + 2)
                again = Tensor._of_data(x._data)
                again._wants_grad = x._wants_grad
                x = again
            if seen is not None:
                seen.add(id(x))
            self.bind(x, value)
            return x
        if isinstance(x, dict):
            out = {}
            for key, item in x.items():
                name = self.plain(key, types.Any)
                made = self.node("aten::__getitem__", [value, name], [input_type(item)], None,
                                 "Dict_str")
                out[key] = self.part(item, made.outputs[0], seen)
            return out
        kind = "prim::ListUnpack" if isinstance(x, list) else "prim::TupleUnpack"
        made = self.node(kind, [value], [input_type(item) for item in x])
        return type(x)(self.part(v, part, seen) for v, part in zip(x, made.outputs))

    def declare(self, module: Module, instance: ScriptObject, path: tuple[str, ...]) -> None:
        """A value for each attribute of a module and of those below it."""
        self.paths.setdefault(id(module), path)
        self.paths.setdefault(id(instance), path)
        self.keep.append(module)
        held = {**module._parameters, **module._buffers}
        for name, value in instance.attributes.items():
            below = (*path, name)
            tensor = held.get(name)
            type_ = instance.type.attributes[name] if tensor is None else tensor_type(tensor)
            found = self.graph.value(type_, None, None, below)
            self.attributes[below] = found
            if tensor is not None and id(tensor) in self.values:
                self.look_again(tensor)
            elif tensor is not None:
                self.bind(tensor, found)
            if isinstance(value, ScriptObject) and value.type.is_module:
                self.declare(module._modules[name], value, below)

    def look_again(self, tensor: Tensor) -> None:
        """PyTorch looks at a tensor that has two names through a view, which nothing reads."""
        sizes = [self.plain(n, types.Int) for n in tensor._data.sizes]
        listed = self.node("prim::ListConstruct", sizes, [ListType(types.Int)]).outputs
        self.node("aten::view", [self.values[id(tensor)], *listed], [tensor_type(tensor)], None, "")

    def output(self, x: Any, strict: bool) -> TracedValue:
        """The value of a result."""
        if isinstance(x, Tensor):
            return self.value_of(x)
        if isinstance(x, dict):
            if strict:
                raise TraceError(
                    "Encountering a dict at the output of the tracer might cause the trace to be "
                    "incorrect, this is only valid if the container structure does not change "
                    "based on the module's inputs. Consider using a constant container instead "
                    "(e.g. for `list`, use a `tuple` instead. for `dict`, use a `NamedTuple` "
                    "instead). If you absolutely need this and know the side effects, pass "
                    "strict=False to trace() to allow this behavior.")
            keys = [self.plain(k, types.Any) for k in x]
            items = [self.output(v, strict) for v in x.values()]
            pairs = [v for pair in zip(keys, items) for v in pair]
            type_ = DictType(types.Str if not keys else keys[0].type, types.Tensor)
            return self.node("prim::DictConstruct", pairs, [type_]).outputs[0]
        if isinstance(x, (list, tuple)):
            items = [self.output(v, strict) for v in x]
            if isinstance(x, list):
                element = types.Tensor if not items else _without_shape(items[0].type)
                return self.node("prim::ListConstruct", items, [ListType(element)]).outputs[0]
            type_ = TupleType(tuple(v.type for v in items))
            return self.node("prim::TupleConstruct", items, [type_]).outputs[0]
        raise TraceError(
            "Only tensors, lists, tuples of tensors, or dictionary of tensors can be output from "
            f"traced functions, found {type(x).__name__}")

    # --- calls --------------------------------------------------------------------------------

    def call_module(self, module: Any, args: tuple, kwargs: dict) -> Any:
        """A module's call: what it records becomes one of its methods."""
        path = self.paths.get(id(module))
        if path is None or not path or isinstance(module, ScriptModule):
            return call_with_hooks(module, module.forward, args, kwargs)

        def forward(*inner: Any, **named: Any) -> Any:
            outer, self.block = self.block, TracedBlock(path, self.block)
            outer.items.append(self.block)
            try:
                return module.forward(*inner, **named)
            finally:
                self.block = outer

        # What hooks do is recorded by the caller, around the module's own method.
        return call_with_hooks(module, forward, args, kwargs)

    def script_call(self, function: Function, instance: ScriptObject | None, args: list,
                    result: Any) -> None:
        """A call of a compiled function or method, which stays a call."""
        frame = user_frame()
        parameters = function.parameters[0 if instance is None else 1:]
        args = [self.numbers(p.type, x, frame) for p, x in zip(parameters, args)]
        inputs = [self.argument(Formal(p.name, p.type, False), x, frame)
                  for p, x in zip(parameters, args)]
        type_ = tensor_type(result) if isinstance(result, Tensor) else _without_shape(
            input_type(result))
        if instance is None:
            name = self.constant(function, FunctionType(function))
            made = self.node("prim::CallFunction", [name, *inputs], [type_])
        else:
            path = self.paths.get(id(instance))
            if path is None:
                raise TraceError(
                    f"Tried to trace <{instance.type.name}> but it is not part of the active "
                    "trace. Modules that are called during a trace must be registered as "
                    "submodules of the thing being traced.")
            name = function.name.rpartition(".")[2]
            made = self.node("prim::CallMethod", [self.attributes[path], *inputs], [type_],
                             {"name": name})
        made.range = None if instance is not None else made.range
        if isinstance(result, Tensor):
            self.bind(result, made.outputs[0])
        elif isinstance(result, (list, tuple, dict)):
            self.part(result, made.outputs[0], None)


def input_type(x: Any) -> Type:
    """The type of an example input. TraceError for what cannot be traced."""
    if isinstance(x, Tensor):
        return tensor_type(x)
    if isinstance(x, tuple):
        return TupleType(tuple(map(input_type, x)))
    if isinstance(x, list) and x:
        return ListType(_without_shape(input_type(x[0])))
    if isinstance(x, dict) and x:
        key, value = next(iter(x.items()))
        return DictType(types.Str if isinstance(key, str) else types.Int,
                        _without_shape(input_type(value)))
    raise TraceError(
        f"Type '{type(x).__name__}' cannot be traced. Only Tensors and (possibly nested) Lists, "
        "Dicts, and Tuples of Tensors can be traced")


def _without_shape(type_: Type) -> Type:
    if isinstance(type_, TensorType):
        return types.Tensor
    if isinstance(type_, TupleType):
        return TupleType(tuple(map(_without_shape, type_.elements)))
    return type_
