"""Calls of scripted and traced functions: compiled for the arguments' types and shapes, or run.

The first call with arguments of new types or shapes compiles; later ones run machine code without
the GIL, and draw from the session's generator. Where gradients are wanted or arguments written
into, the Graph is run operator by operator.
Where the program changes attributes, and what the compiler cannot do, it is interpreted; the latter
with one warning that names it.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

from aot import jit_fusion, torch_bridge, trace_state
from aot.grad_mode import is_grad_enabled, no_grad
from aot.tensor_core import Tensor
from lowering.graph import Function, Node
from lowering.graph_aliases import Aliases
from lowering.graph_passes.inline import inline_calls
from lowering.objects import NamedTupleValue, ScriptObject, TensorData, TypedDict, TypedList
from lowering.random_words import RandomState
from lowering.types import ClassType, NoneT, Type
from runtime.errors import AotError, CompileError

_INTERPRETED = object()
_warned: set[str] = set()
_lock = threading.Lock()
_compiled: weakref.WeakKeyDictionary[Function, dict] = weakref.WeakKeyDictionary()
_needs: weakref.WeakKeyDictionary[Function, str] = weakref.WeakKeyDictionary()


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
    return torch_bridge.give_back(result, style, _module_of)


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
    if need != "nothing":
        return _eagerly(function, own, given)
    model = _model(function, instance, given)
    if model is _INTERPRETED:
        return _eagerly(function, own, given)
    return _wrapped(model(*_arrays(given)))


# What a function needs


def _need(function: Function) -> str:
    """'state' where the program changes what its object holds, 'arguments' where it writes into
    what it is given, 'nothing' otherwise."""
    known = _needs.get(function)
    if known is None:
        known = _needs[function] = _find_need(function)
    return known


def _find_need(function: Function) -> str:
    graph = inline_calls(function.graph)
    aliases = Aliases(graph)
    for node in graph.nodes():
        if node.kind in ("prim::SetAttr", "prim::PythonOp") or _writes_attribute(node, aliases):
            return "state"
    if any(aliases.is_written(x) for x in graph.inputs if not _is_module(x.type)):
        return "arguments"
    return "nothing"


def _is_module(type_: Type) -> bool:
    return isinstance(type_, ClassType) and type_.is_module


def _writes_attribute(node: Node, aliases: Aliases) -> bool:
    return node.kind == "prim::GetAttr" and aliases.is_written(node.output)


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
    return importlib.import_module("aot.jit_eager").run_eagerly(function, [*own, *given], _wrap)


def _module_of(instance: ScriptObject) -> Any:
    """The module of an object: modules are made of what is here, and so are asked by name."""
    return importlib.import_module("aot.jit_module").module_of(instance)


def _wrap(instance: object, name: str, value: TensorData) -> Tensor:
    """The tensor that the attribute's module shows, under this name or, for an element of a list,
    under any; gradients gather there."""
    assert isinstance(instance, ScriptObject)
    if instance.type.is_module:
        module = _module_of(instance).__dict__
        for held in (module["_parameters"], module["_buffers"]):
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
    """What programs draw random numbers from, where the session's generator stands."""
    return importlib.import_module("aot.random").default_generator.stream


def _model(function: Function, instance: ScriptObject | None, given: list) -> Any:
    """The compiled function for such arguments, or _INTERPRETED."""
    key = (_key(given), _state_key(instance, {}))
    models = _compiled.setdefault(function, {})
    model = models.get(key)
    if model is None:
        with _lock:
            model = models.get(key)
            if model is None:
                stale = [k for k in models if k[1] != key[1]]
                for k in stale:
                    del models[k]
                model = _INTERPRETED
                if len(models) < jit_fusion.most_shapes():
                    model = _compile(function, instance, given)
                models[key] = model
    return model


def _compile(function: Function, instance: ScriptObject | None, given: list) -> Any:
    """Machine code, or _INTERPRETED with a warning; LLVM is imported by the first compilation."""
    try:
        pipeline = importlib.import_module("aot.pipeline")
        model = pipeline.compile_call(function, instance, _arrays(given),
                                      jit_fusion.passes_left_out())
        model.draw_from(_session_stream)
        return model
    except CompileError as e:
        if jit_fusion.is_strict():
            raise
        text = f"{function.name} runs in the interpreter: {e}"
        if text not in _warned:
            _warned.add(text)
            warnings.warn(text, stacklevel=5)
        return _INTERPRETED
    except AotError:
        return _INTERPRETED


def _key(x: Any) -> object:
    if isinstance(x, Tensor):
        return (x._data.sizes, x.row.name)
    if isinstance(x, (list, tuple)):
        return (type(x).__name__, *map(_key, x))
    if isinstance(x, dict):
        return ("dict", *((k, _key(v)) for k, v in x.items()))
    if isinstance(x, ScriptObject):
        return _state_key(x, {})
    return (type(x).__name__, repr(x))


def _state_key(instance: object, seen: dict[int, int]) -> object:
    """What the compiled code has built in: it is stale once this has changed."""
    if isinstance(instance, TensorData):
        storage = instance.storage
        return (id(storage), storage.version, instance.offset, instance.sizes, instance.strides)
    if not isinstance(instance, ScriptObject):
        return (type(instance).__name__, repr(instance))
    if id(instance) in seen:
        return seen[id(instance)]
    seen[id(instance)] = len(seen)
    return tuple(_state_key(v, seen) for v in instance.attributes.values())


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


def _arrays(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x._data.numpy()
    if isinstance(x, (list, tuple)):
        return type(x)(map(_arrays, x)) if type(x) in (list, tuple) else tuple(map(_arrays, x))
    if isinstance(x, dict):
        return {k: _arrays(v) for k, v in x.items()}
    return x


def _wrapped(x: Any) -> Any:
    """A result with tensors for arrays and TensorData."""
    if isinstance(x, TensorData):
        return Tensor._of_data(x)
    if hasattr(x, "__array_interface__") and hasattr(x, "shape"):
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
