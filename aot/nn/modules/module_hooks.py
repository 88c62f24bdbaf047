"""Calling a module: hooks before and after its forward, and for its gradients."""

from __future__ import annotations

from typing import Any

from aot.autograd_graph import FunctionNode, edge_of
from aot.grad_mode import is_grad_enabled
from aot.tensor_core import Tensor

# A tracer stands in for a module's call: _tracer["call"](module, args, kwargs).
_tracer: dict[str, Any] = {}


def run_with_hooks(module: Any, args: tuple, kwargs: dict) -> Any:
    """module.forward(*args, **kwargs) with the module's hooks."""
    traced = _tracer.get("call")
    if traced is not None:
        return traced(module, args, kwargs)
    return call_with_hooks(module, module.forward, args, kwargs)


def call_with_hooks(module: Any, forward: Any, args: tuple, kwargs: dict) -> Any:
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    if module._backward_hooks and is_grad_enabled():
        return _with_backward_hooks(module, forward, args, kwargs)
    return _after(module, forward(*args, **kwargs), args, kwargs)


def _after(module: Any, result: Any, args: tuple, kwargs: dict) -> Any:
    for key, hook in list(module._forward_hooks.items()):
        if key in module._forward_hooks_with_kwargs:
            changed = hook(module, args, kwargs, result)
        else:
            changed = hook(module, args, result)
        result = result if changed is None else changed
    return result


def _with_backward_hooks(module: Any, forward: Any, args: tuple, kwargs: dict) -> Any:
    """Runs forward between two steps that do nothing but see the gradients go by."""
    outgoing: list[Any] = [None]

    def leave(grads: list) -> list:
        for hook in list(module._backward_hooks.values()):
            changed = hook(module, tuple(grads), outgoing[0])
            if changed is not None:
                grads = list(changed) if isinstance(changed, (tuple, list)) else [changed]
        return grads

    def enter(grads: list) -> list:
        outgoing[0] = tuple(grads)
        return grads

    args = tuple(_through(list(args), "BackwardHookFunctionBackward", leave))
    result = _after(module, forward(*args, **kwargs), args, kwargs)
    several = isinstance(result, (tuple, list))
    through = _through(list(result) if several else [result], "BackwardHookFunctionBackward", enter)
    return type(result)(through) if several else through[0]


def _through(values: list, name: str, function: Any) -> list:
    tensors = [v for v in values if isinstance(v, Tensor)]
    edges = [edge_of(t) if t.row.is_float else None for t in tensors]
    if all(e is None for e in edges):
        return values
    node = FunctionNode(name, edges, function, len(tensors))
    out, k = [], 0
    for v in values:
        if isinstance(v, Tensor):
            v = Tensor._of_data(v._data)
            if v.row.is_float:
                v._node, v._nr = node, k
            k += 1
        out.append(v)
    return out
