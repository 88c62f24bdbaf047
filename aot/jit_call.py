"""Calls of scripted and traced functions: compiled for the arguments' types and shapes, or run.

The first call with arguments of new types or shapes compiles; later ones run machine code without
the GIL, and draw from the process's generator. Where gradients are wanted or arguments written
into, the Graph is run operator by operator.
What a module holds and a call changes goes into the compiled code and comes back. What the compiler
cannot do runs operator by operator too, with one warning that names it.
"""

from __future__ import annotations

import contextlib
import importlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aot import torch_bridge, trace_state
from aot.grad_mode import is_grad_enabled, no_grad
from aot.jit_models import as_argument, model_of, separated_of
from aot.jit_results import put_passed, shared_results
from aot.tensor_core import Tensor
from lowering.graph import Function, Node, Value
from lowering.graph_aliases import Aliases
from lowering.graph_passes.inline import inline_calls
from lowering.objects import NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList
from lowering.random_words import RandomState
from lowering.types import ClassType, NoneT

# The modules over objects (aot/jit_module.py), by the objects' ids: one an object.
SHOWN: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_needs: weakref.WeakKeyDictionary[Function, _Need] = weakref.WeakKeyDictionary()


def call_method(function: Function, instance: ScriptObject | None, args: Sequence[object],
                hooks: bool = False, interpret: bool = False) -> object:
    """The result of a function, or of a method on its object.

    Tensors in, tensors out; torch tensors in, torch tensors out; numpy arrays in, numpy arrays out.
    With `hooks` the hooks of the object's class run before and after.
    """
    style = torch_bridge.style_of(args)
    if style == "numpy":  # arrays have no gradients
        with no_grad():
            return _call(function, instance, args, hooks, interpret, style)
    return _call(function, instance, args, hooks, interpret, style)


def _call(function: Function, instance: ScriptObject | None, args: Sequence[object], hooks: bool,
          interpret: bool, style: str) -> object:
    given = [torch_bridge.take(x) for x in args]
    recorder = trace_state.recorder()
    with contextlib.ExitStack() as stack:
        if recorder is not None:
            stack.enter_context(trace_state.not_recording())
        if hooks:
            assert instance is not None
            result = _with_hooks(function, instance, given)
        else:
            own = [] if instance is None else [instance]
            result = _run(function, own, given, interpret)
    if recorder is not None and trace_state.is_recording():
        recorder.script_call(function, instance, given, result)
    return torch_bridge.give_back(result, style, _shown)


def _with_hooks(function: Function, instance: ScriptObject, given: list) -> object:
    cls, inputs = instance.type, tuple(given)
    for name in cls.forward_pre_hooks:
        hook = cls.methods[name]
        result = _run(hook, [instance], [inputs], True)
        if hook.returns != NoneT:
            inputs = result if isinstance(result, tuple) else (result,)
    output = _run(function, [instance], list(inputs), False)
    for name in cls.forward_hooks:
        hook = cls.methods[name]
        result = _run(hook, [instance], [inputs, output], True)
        if hook.returns != NoneT:
            output = result
    return output


def _run(function: Function, own: list, given: list, interpret: bool) -> object:
    instance = own[0] if own else None
    if interpret:
        return _interpret(function, own, given)
    if trace_state.recorder() is not None:  # a result that is an argument must be known as that
        return _eagerly(function, own, given)
    if is_grad_enabled() and (_any_wants_grad(given) or _object_wants_grad(instance, set())):
        return _eagerly(function, own, given)
    need = _need(function)
    if need.kind == "state" and instance is not None:
        result = _with_state(function, instance, given)
    elif need.kind != "nothing":
        return _eagerly(function, own, given)
    else:
        model = model_of(function, instance, given, _session_stream)
        if model is None:
            return _eagerly(function, own, given)
        result = _wrapped(model(*torch_bridge.arrays(given)))
    return put_passed(result, need.passed, [*own, *given]) if need.passed else result


def _with_state(function: Function, instance: ScriptObject, given: list) -> object:
    """Compiled with the state as arguments and results; operator by operator if that cannot be."""
    separated = separated_of(function, instance)
    model = None
    if separated is not None:
        state = [slot.value for slot in separated.slots]
        model = model_of(separated.function, instance, given, _session_stream, separated.slots)
    if separated is None or model is None:
        return _eagerly(function, [instance], given)
    result, *after = model(*torch_bridge.arrays(given), *map(as_argument, state))
    for slot, value in zip(separated.slots, after):
        slot.put(value)
    _show_changes(instance, set())
    return _wrapped(result)


# What a function needs


@dataclass(frozen=True)
class _Need:
    """What a call must mind. `kind` is 'state' where the program changes what its object holds,
    'arguments' where it writes into what it is given, 'windows' where results lie in memory that
    the caller knows, 'nothing' otherwise. `passed`: which results are which arguments."""

    kind: str
    passed: dict[tuple, int]


def _need(function: Function) -> _Need:
    known = _needs.get(function)
    if known is None:
        known = _needs[function] = _find_need(function)
    return known


def _find_need(function: Function) -> _Need:
    graph = inline_calls(function.graph)
    aliases = _Writes(graph)
    written = {node.attributes["name"] for node in graph.nodes()
               if node.kind == "prim::GetAttr" and aliases.is_written(node.output)}
    set_ = [node for node in graph.nodes() if node.kind == "prim::SetAttr"]
    kept = [node.inputs[1] for node in set_ if node.attributes["name"] in written]
    shared = shared_results(graph, {node.attributes["name"] for node in set_} - written)
    for x in graph.inputs:
        if isinstance(x.type, ClassType) and x.type.is_module:
            continue
        if aliases.is_written(x) or any(aliases.may_be_one(x, value) for value in kept):
            return _Need("arguments", {})
    if shared.windows:
        return _Need("windows", {})
    changes = any(not _is_new(node.inputs[0]) for node in set_)
    if written or changes or any(node.kind == "prim::PythonOp" for node in graph.nodes()):
        return _Need("state", shared.passed)
    return _Need("nothing", shared.passed)


def _is_new(x: Value) -> bool:
    """Whether an object is one that the program has made, which nobody else knows."""
    return x.node is not None and x.node.kind == "prim::CreateObject"


class _Writes(Aliases):
    """Aliases, where to keep a value in an attribute is not yet to write into it."""

    def _node(self, node: Node) -> None:
        if node.kind != "prim::SetAttr":
            super()._node(node)

    def may_be_one(self, a: Value, b: Value) -> bool:
        return self._root(a) is self._root(b)


def _any_wants_grad(values: Any) -> bool:
    if isinstance(values, Tensor):
        return values.requires_grad
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, (list, tuple)):
        return False
    return any(map(_any_wants_grad, values))


def _object_wants_grad(instance: object, seen: set[int]) -> bool:
    if not isinstance(instance, ScriptObject) or id(instance) in seen:
        return False
    seen.add(id(instance))
    for name, value in instance.attributes.items():
        if isinstance(value, TensorData):
            if _wrap(instance, name, value).requires_grad:
                return True
        elif _object_wants_grad(value, seen):
            return True
    return False


# The three ways


def _eagerly(function: Function, own: list, given: list) -> object:
    """Operator by operator; imported by the first such call, with the operators."""
    run = importlib.import_module("aot.jit_eager").run_eagerly
    try:
        return run(function, [*own, *given], _wrap, _shown)
    finally:
        if own and _need(function).kind != "nothing":
            _show_changes(own[0], set())


def _shown(instance: ScriptObject) -> Any:
    """The module over an object, the object itself where nobody has seen one."""
    return SHOWN.get(id(instance), instance)


def _show_changes(instance: ScriptObject, seen: set[int]) -> None:
    """Parameters and buffers of the modules over objects are what the objects hold now."""
    if id(instance) in seen:
        return
    seen.add(id(instance))
    module = SHOWN.get(id(instance))
    for name, value in instance.attributes.items():
        if isinstance(value, ScriptObject):
            _show_changes(value, seen)
        elif module is not None and isinstance(value, TensorData):
            for held in (module.__dict__["_parameters"], module.__dict__["_buffers"]):
                if name in held and (held[name] is None or held[name]._data is not value):
                    held[name] = _wrap(instance, name, value)


def _wrap(instance: object, name: str, value: TensorData) -> Tensor:
    """The tensor that the attribute's module shows, under this name or, for an element of a list,
    under any; gradients gather there."""
    assert isinstance(instance, ScriptObject)
    module = SHOWN.get(id(instance))
    if module is not None:
        for held in (module.__dict__["_parameters"], module.__dict__["_buffers"]):
            for tensor in (held.get(name),) if name else held.values():
                if tensor is not None and tensor._data is value:
                    return tensor
    tensor = Tensor._of_data(value)
    tensor._wants_grad = value.requires_grad
    return tensor


def _interpret(function: Function, own: list, given: list) -> object:
    """In the numpy interpreter; imported by the first such call, with the operators."""
    run = importlib.import_module("lowering.run_method").run_method
    return _wrapped(run(function, [*own, *map(_data, given)], as_data=True,
                        generator=_session_stream()))


def _session_stream() -> RandomState:
    """What programs draw random numbers from, where the process's generator stands."""
    return importlib.import_module("aot.random").default_generator.stream


# Values


def _data(x: Any) -> object:
    """The argument as the interpreter takes it."""
    if isinstance(x, Tensor):
        return x._data
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue(map(_data, x), x.type)
    if isinstance(x, TypedList):
        return TypedList(map(_data, x), x.element)
    if isinstance(x, (list, tuple)):
        return type(x)(map(_data, x))
    if isinstance(x, dict):
        return {k: _data(v) for k, v in x.items()}
    return x


def _wrapped(x: Any) -> Any:
    """A result with tensors for arrays and TensorData."""
    if isinstance(x, TensorData):
        return Tensor._of_data(x)
    if hasattr(x, "__array_interface__") and hasattr(x, "shape"):
        if x.dtype.kind == "c":
            return torch_bridge.complex_of(x)
        return Tensor._of_data(TensorData.from_numpy(x))
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue(map(_wrapped, x), x.type)
    if isinstance(x, TypedList):
        return TypedList(map(_wrapped, x), x.element)
    if isinstance(x, TypedDict):
        return TypedDict({k: _wrapped(v) for k, v in x.items()}, x.key, x.value)
    if hasattr(x, "_fields"):
        return type(x)(*map(_wrapped, x))
    if isinstance(x, (list, tuple)):
        return type(x)(map(_wrapped, x))
    if isinstance(x, dict):
        return {k: _wrapped(v) for k, v in x.items()}
    return x
