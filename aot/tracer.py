"""`aot.jit.trace`: runs a function or module with example inputs and records what it does."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from aot import torch_bridge, trace_state
from aot.grad_mode import no_grad
from aot.jit_module import ScriptFunction, ScriptModule, TopLevelTracedModule, TracedModule
from aot.nn.modules import module_hooks
from aot.nn.modules.module import Module
from aot.script.compiler import PROGRAM, qualified_name
from aot.tensor_core import Tensor
from aot.trace_class import traced_object
from aot.trace_methods import write_methods
from aot.trace_record import Recorder, TraceError
from aot.trace_watch import TracerWarning, watching
from lowering.graph import Function
from lowering.graph_print import print_graph
from lowering.objects import ScriptObject
from runtime.errors import InputError


class TracingCheckError(Exception):
    """A second trace of the same function is another graph."""


def is_tracing() -> bool:
    """Whether a trace is being recorded in this thread."""
    return trace_state.recorder() is not None


def trace(func: Any, example_inputs: Any = None, optimize: object = None, check_trace: bool = True,
          check_inputs: Any = None, check_tolerance: float = 1e-5, strict: bool = True,
          _force_outplace: bool = False, _module_class: Any = None, _compilation_unit: Any = None,
          example_kwarg_inputs: Mapping[str, Any] | None = None, _store_inputs: bool = True) -> Any:
    """Run `func`, a function, a module or one of its methods, and record the operators it runs.

    `example_inputs` is a tuple of tensors, or of tuples, lists and dicts of tensors; one tensor
    may stand alone. The result is a ScriptFunction, or a ScriptModule whose `forward` is the trace.
    Control flow is not recorded, only what happened: a TracerWarning tells where a tensor becomes
    a Python value. With `check_trace` the function runs again, on `check_inputs` if there are any,
    and a TracerWarning tells where the trace computes something else (by more than
    `check_tolerance`), a TracingCheckError where a second trace differs. With `strict` a dict as a
    result is refused. The example inputs are not kept.
    """
    if torch_bridge.is_torch_module(func) or torch_bridge.is_torch_script(func):
        return _from_torch(func, example_inputs)
    if isinstance(func, (ScriptModule, ScriptFunction)):
        return func
    owner = getattr(func, "__self__", None)
    if isinstance(owner, Module) and getattr(func, "__name__", "") == "forward":
        func = owner
    if isinstance(func, Module):
        given = example_inputs if example_kwarg_inputs is None else dict(example_kwarg_inputs)
        checks = None if check_inputs is None else [{"forward": c} for c in check_inputs]
        return trace_module(func, {"forward": given}, None, check_trace, checks, check_tolerance,
                            strict, example_inputs_is_kwarg=example_kwarg_inputs is not None)
    names, args = _arguments(func, example_inputs, example_kwarg_inputs)
    name = PROGRAM.unique(_function_name(func))
    function = _record(func, None, None, names, args, strict, name)
    traced = ScriptFunction(function)
    if check_trace:
        def again() -> Function:
            return _record(func, None, None, names, args, strict, PROGRAM.unique(name))

        _check(func, traced, function, again, _check_args(check_inputs, args), check_tolerance)
    return traced


def trace_module(mod: Any, inputs: Mapping[str, Any], optimize: object = None,
                 check_trace: bool = True, check_inputs: Any = None, check_tolerance: float = 1e-5,
                 strict: bool = True, _force_outplace: bool = False, _module_class: Any = None,
                 _compilation_unit: Any = None, example_inputs_is_kwarg: bool = False,
                 _store_inputs: bool = True) -> TopLevelTracedModule:
    """Trace several methods of a module: `inputs` maps each one's name to its example inputs.

    Errors and checks are those of `trace`; `check_inputs` is a list of such maps.
    """
    if not isinstance(mod, Module):
        raise AttributeError(f"expected a module, found {type(mod).__name__}")
    if isinstance(mod, ScriptModule):
        return mod  # type: ignore[return-value]
    instance = traced_object(mod, {})
    recorded: list[tuple] = []
    for name, example in inputs.items():
        method = mod if name == "forward" else getattr(mod, name)
        signature = getattr(mod, name)
        given = (None, example) if example_inputs_is_kwarg else (example, None)
        names, args = _arguments(signature, *given)
        qualified = f"{instance.type.name}.{name}"
        recorded.append((method, names, args, strict, qualified))
        function = _record(method, mod, instance, names, args, strict, qualified)
        instance.type.methods[name] = function
        if check_trace:
            def again() -> Function:
                scratch = traced_object(mod, {})
                return [_record(func, mod, scratch, *more) for func, *more in recorded][-1]

            bound = _bound_method(instance, name)
            checks = None if check_inputs is None else [c[name] for c in check_inputs]
            _check(method, bound, function, again, _check_args(checks, args), check_tolerance)
    traced = _as_modules(mod, instance, TopLevelTracedModule)
    assert isinstance(traced, TopLevelTracedModule)
    return traced


def _as_modules(module: Module, instance: ScriptObject, kind: type[ScriptModule]) -> ScriptModule:
    """ScriptModules over the traced objects; those that were scripted stay what they are."""
    for name, child in module._modules.items():
        below = instance.attributes.get(name)
        if isinstance(below, ScriptObject) and child is not None:
            if not isinstance(child, ScriptModule):
                instance_module = _as_modules(child, below, TracedModule)
                instance_module.__dict__["_kept_by"] = None
                _alive.setdefault(id(below), instance_module)
    traced = kind(instance)
    for name, child in module._modules.items():
        below = instance.attributes.get(name)
        if isinstance(below, ScriptObject):
            traced.__dict__["_modules"][name] = (
                child if isinstance(child, ScriptModule) else _alive.get(id(below)))
    for name, child in module._modules.items():
        _alive.pop(id(instance.attributes.get(name)), None)
    for name, tensor in module._parameters.items():
        if tensor is not None:
            traced.__dict__["_parameters"][name] = tensor
    return traced


_alive: dict[int, ScriptModule] = {}


def _record(func: Callable, module: Module | None, instance: ScriptObject | None, names: list[str],
            args: tuple, strict: bool, name: str) -> Function:
    """Runs the function once under a recorder."""
    recorder = Recorder()
    before = trace_state.set_recorder(recorder)
    try:
        args = recorder.enter(module, instance, names, args)
        with _module_calls(), watching(), trace_state.recording(recorder.on_call):
            result = func(*args)
        value = recorder.output(result, strict)
    finally:
        trace_state.set_recorder(before)
    recorder.graph.outputs = [value]
    return write_methods(recorder.graph, instance, name)


@contextmanager
def _module_calls() -> Iterator[None]:
    """Calls of modules go to the thread's recorder."""

    def call(module: Any, args: tuple, kwargs: dict) -> Any:
        recorder = trace_state.recorder()
        if recorder is None or not trace_state.is_recording():
            return module_hooks.call_with_hooks(module, module.forward, args, kwargs)
        return recorder.call_module(module, args, kwargs)

    before = module_hooks._tracer.get("call")
    module_hooks._tracer["call"] = call
    try:
        yield
    finally:
        if before is None:
            module_hooks._tracer.pop("call", None)
        else:
            module_hooks._tracer["call"] = before


# Arguments


def _arguments(func: Any, example: Any, named: Mapping[str, Any] | None) -> tuple[list, tuple]:
    """The names of the parameters that are given, and what is given."""
    target = func.forward if isinstance(func, Module) else func
    parameters = list(inspect.signature(target).parameters.values())
    if named is not None:
        known = [p.name for p in parameters]
        unknown = [k for k in named if k not in known]
        if unknown:
            raise InputError(f"trace: there is no parameter {unknown[0]!r}")
        chosen = [n for n in known if n in named]
        return chosen, tuple(_ours(named[n]) for n in chosen)
    if example is None:
        raise RuntimeError("example_inputs or example_kwarg_inputs must be given")
    if isinstance(example, (Tensor, dict)) or torch_bridge.is_torch_tensor(example):
        example = (example,)
    args = tuple(_ours(x) for x in example)
    names: list[str] = []
    for p in parameters:
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [f"{p.name}{k}" if k else p.name for k in range(len(args) - len(names))]
        elif p.kind is not inspect.Parameter.KEYWORD_ONLY:
            names.append(p.name)
    if len(args) > len(names):
        raise InputError(f"trace: {len(args)} example inputs are given, the function takes "
                         f"{len(names)}")
    return names[: len(args)], args


def _ours(x: Any) -> Any:
    if torch_bridge.is_torch_tensor(x):
        return torch_bridge.from_torch(x)
    if isinstance(x, np.ndarray):
        return torch_bridge.take(x)
    if type(x) in (list, tuple):
        return type(x)(map(_ours, x))
    if isinstance(x, dict):
        return {k: _ours(v) for k, v in x.items()}
    return x


def _function_name(func: Any) -> str:
    name = getattr(func, "__name__", type(func).__name__)
    if name == "<lambda>":
        name = "_lambda"
    module = getattr(func, "__module__", "__main__")
    return f"__torch__.{name}" if module == "__main__" else f"__torch__.{module}.{name}"


def _from_torch(func: Any, example: Any) -> Any:
    from aot.jit import load  # which has this function's name as well

    if torch_bridge.is_torch_tensor(example) or isinstance(example, Tensor):
        example = (example,)
    return load(torch_bridge.archive_of(func, example))


# Checks


def _bound_method(instance: ScriptObject, name: str) -> Callable:
    from aot.jit_call import call_method

    return lambda *args: call_method(instance.type.methods[name], instance, list(args),
                                     interpret=True)


def _check_args(given: Any, example: tuple) -> list[tuple]:
    if given is None:
        return [example]
    return [x if isinstance(x, tuple) else (x,) for x in map(_ours, given)]


def _check(func: Callable, traced: Callable, function: Function, again: Callable[[], Function],
           cases: list[tuple], tolerance: float) -> None:
    """Warns where the trace and the function differ, raises where two traces do."""
    from aot import random

    state = random.get_rng_state()
    try:
        second = again()
        first_text, second_text = (_shown(f) for f in (function, second))
        if first_text != second_text:
            raise TracingCheckError(
                "Tracing failed sanity checks!\nERROR: Graphs differed across invocations!\n"
                f"First trace:\n{first_text}\nSecond trace:\n{second_text}")
        run = traced.interpret if isinstance(traced, ScriptFunction) else traced
        for args in cases:
            with no_grad():
                copies = [_copied(args), _copied(args)]
                random.set_rng_state(state)
                expected = _leaves(func(*copies[0]))
                random.set_rng_state(state)
                found = _leaves(run(*copies[1]))
            _compare(expected, found, tolerance)
    finally:
        random.set_rng_state(state)


def _shown(function: Function) -> str:
    text = print_graph(function.graph, ranges=False)
    import re

    return re.sub(r"___torch_mangle_\d+\.", "", text)


def _copied(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().clone()
    if type(x) in (list, tuple):
        return type(x)(map(_copied, x))
    if isinstance(x, dict):
        return {k: _copied(v) for k, v in x.items()}
    return x


def _leaves(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in _leaves(v)]
    return []


def _compare(expected: list[Tensor], found: list[Tensor], tolerance: float) -> None:
    for i, (a, b) in enumerate(zip(expected, found)):
        x, y = (t.detach().double().numpy() for t in (a, b))
        if x.shape == y.shape and np.allclose(x, y, tolerance, tolerance, equal_nan=True):
            continue
        detail = f"shapes {x.shape} and {y.shape}" if x.shape != y.shape else (
            f"{int((~np.isclose(x, y, tolerance, tolerance)).sum())} of {x.size} elements differ, "
            f"by up to {np.nanmax(np.abs(x - y))}")
        warnings.warn(
            f"Output nr {i + 1}. of the traced function does not match the corresponding output of "
            f"the Python function. Detailed error:\n{detail}", TracerWarning, stacklevel=4)


__all__ = ["TraceError", "TracerWarning", "TracingCheckError", "is_tracing", "qualified_name",
           "trace", "trace_module"]
