"""What was computed from what: the nodes behind grad_fn, written while operators run.

A node keeps the plan of its operator and the tensors that it ran on; what the derivative is, the
first backward() works out (aot/autograd_derive.py). Tensors changed in place get a new node, and a
view changed in place gives its base one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Callable, Protocol, Sequence

import numpy as np

from aot.autograd_names import node_name
from aot.grad_mode import is_grad_enabled
from aot.tensor_core import Tensor
from lowering.objects import StorageData, TensorData
from runtime.dtypes import i64

if TYPE_CHECKING:
    from aot.tensor_plan import Plan

_numbers = itertools.count(1)

Edge = tuple["Node", int]


class Engine(Protocol):
    """What a step back computes with."""

    def call(self, name: str, *args: object) -> Tensor:
        """The result of an operator."""

    def derive(self, plan: Plan, saved: Sequence[Saved | None], wanted: Sequence[bool],
               grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradients of a plan's inputs."""


class Node:
    """A step back: from the gradients of its results to those of its inputs.

    `edges[k]` says where the gradient of input k goes, None where none is wanted."""

    def __init__(self, name: str, edges: Sequence[Edge | None], results: int = 1) -> None:
        self._name, self.edges, self.results = name, list(edges), results
        self.number = next(_numbers)  # inputs have smaller ones
        self.hooks: dict[int, dict[int, Callable]] = {}  # result -> hooks on its gradient
        self.retained: list[tuple[int, Tensor]] = []

    def name(self) -> str:
        return self._name

    @property
    def next_functions(self) -> tuple:
        return tuple((None, 0) if e is None else e for e in self.edges)

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        """The inputs' gradients, an entry an edge. `keep`: the graph will be used again."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self._name.rpartition('::')[2]} object at {id(self):#x}>"


class AccumulateGrad(Node):
    """Where a leaf's gradient arrives."""

    def __init__(self, variable: Tensor) -> None:
        super().__init__("torch::autograd::AccumulateGrad", [])
        self.variable = variable
        self.number = 0


class PlanNode(Node):
    """An operator that ran as a plan."""

    def __init__(self, plan: Plan, inputs: list[Saved], edges: Sequence[Edge | None],
                 results: int) -> None:
        super().__init__(node_name(plan.name, plan.overload, plan), edges, results)
        self.plan, self.inputs = plan, inputs

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        found = engine.derive(self.plan, self.inputs, [e is not None for e in self.edges], grads)
        if not keep:
            for saved in self.inputs:
                saved.free()
        return found


class ViewNode(Node):
    """A view of one tensor; its plan, which only backward() needs, is made when it is needed."""

    def __init__(self, name: str, edge: Edge, source: Tensor, plan: Callable[[], Plan]) -> None:
        super().__init__(name, [edge])
        self.shape, self.row, self.plan = source._data.sizes, source.row, plan

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        plan = self.plan() if callable(self.plan) else self.plan
        return engine.derive(plan, [None], [True], grads)


class FunctionNode(Node):
    """A step back written in Python: `function(grads)` gives the inputs' gradients."""

    def __init__(self, name: str, edges: Sequence[Edge | None], function: Callable,
                 results: int = 1) -> None:
        super().__init__(name, edges, results)
        self.function = function

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        return self.function(grads)


class SlicesNode(Node):
    """A tensor after a view of it was computed by `inner`: its other elements are as before."""

    def __init__(self, base: Tensor, view: Tensor, inner: Node) -> None:
        super().__init__("torch::autograd::CopySlices", [edge_of(base), *inner.edges])
        self.inner, self.where = inner, _of_positions(_positions(base._data, view._data))
        self.sizes, self.row = base._data.sizes, base.row

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        (grad,) = grads
        if grad is None:
            return [None] * len(self.edges)
        flat = engine.call("aten::reshape", grad, [-1])
        own = engine.call("aten::take", flat, self.where)
        zeros = Tensor._of_array(np.zeros(self.where._data.sizes, self.row.storage), self.row)
        rest = engine.call("aten::index_put", flat, [self.where], zeros)
        return [engine.call("aten::reshape", rest, list(self.sizes)),
                *self.inner.backward([own], True, engine)]


class WindowNode(Node):
    """A view of a tensor that was changed in place after the view was made."""

    def __init__(self, base: Tensor, view: Tensor, edge: Edge) -> None:
        super().__init__("AsStridedBackward0", [edge])
        self.where = _of_positions(_positions(base._data, view._data))
        self.sizes, self.row, self.numel = base._data.sizes, base.row, base.numel()

    def backward(self, grads: list[Tensor | None], keep: bool, engine: Engine
                 ) -> list[Tensor | None]:
        if grads[0] is None:
            return [None]
        zeros = Tensor._of_array(np.zeros(self.numel, self.row.storage), self.row)
        full = engine.call("aten::index_put", zeros, [self.where], grads[0], True)
        return [engine.call("aten::reshape", full, list(self.sizes))]


class Saved:
    """An input as it was when its operator ran."""

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: Tensor, edge: Edge | None, copy: bool = False) -> None:
        data = tensor._data
        storage, offset, strides = data.storage, data.offset, data.strides
        if copy:
            fresh = TensorData.from_numpy(np.array(data.numpy()), tensor.row)
            storage, offset, strides = fresh.storage, 0, fresh.strides
        kept = Tensor._of_data(TensorData(storage, offset, data.sizes, strides))
        if edge is not None:
            kept._node, kept._nr = edge
        self.tensor: Tensor | None = kept
        self.version = storage.version

    def free(self) -> None:
        self.tensor = None

    def get(self) -> Tensor:
        """The input. RuntimeError if it is gone or has changed."""
        if self.tensor is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward.")
        storage: StorageData = self.tensor._data.storage
        if storage.version != self.version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: [torch.{self.tensor.row.torch_name} "
                f"{list(self.tensor._data.sizes)}] is at version {storage.version}; expected "
                f"version {self.version} instead.")
        return self.tensor


def edge_of(t: Tensor) -> Edge | None:
    """Where the tensor's gradient goes; None if none is wanted."""
    node = t.grad_fn
    if node is not None:
        return node, t._nr
    if not t._wants_grad:
        return None
    accumulator = t.__dict__.get("_accumulator")
    if accumulator is None:
        accumulator = t.__dict__["_accumulator"] = AccumulateGrad(t)
    return accumulator, 0


def record(plan: Plan, inputs: list[Tensor], outputs: list[Tensor]) -> None:
    """Writes down that the outputs were computed from the inputs."""
    if not is_grad_enabled():
        return
    edges = [edge_of(t) if t.row.is_float else None for t in inputs]
    if all(e is None for e in edges) or not any(t.row.is_float for t in outputs):
        return
    node = PlanNode(plan, [Saved(t, e) for t, e in zip(inputs, edges)], edges, len(outputs))
    for k, out in enumerate(outputs):
        if out.row.is_float:
            out._node, out._nr = node, k


def record_view(name: str, overload: str, base: Tensor, out: Tensor,
                plan: Callable[[], Plan]) -> None:
    """Writes down that `out` is a view of `base`."""
    out._base = base if base._base is None else base._base
    if is_grad_enabled() and base.row.is_float:
        edge = edge_of(base)
        if edge is not None:
            out._node = ViewNode(node_name(name, overload, None), edge, base, plan)
    out._generation = out._base._generation


def attach(out: Tensor, name: str, inputs: Sequence[Tensor], function: Callable) -> Tensor:
    """Writes down that `out` was computed from the inputs, with a step back in Python."""
    if is_grad_enabled():
        edges = [edge_of(t) for t in inputs]
        if any(e is not None for e in edges):
            out._node, out._nr = FunctionNode(name, edges, function), 0
    return out


# Changes in place


def check_in_place(target: Tensor, inputs: Sequence[Tensor] = ()) -> None:
    """RuntimeError where PyTorch forbids changing the target."""
    if not is_grad_enabled():
        return
    base = target._base
    if target.is_leaf and target._wants_grad:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place "
                           "operation.")
    if base is not None and base._wants_grad and base.is_leaf:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an "
                           "in-place operation.")


def prepare_in_place(plan: Plan, inputs: list[Tensor], target: Tensor) -> Callable | None:
    """To be called before the target is overwritten; what it returns, after."""
    if not is_grad_enabled() or not target.row.is_float:
        return None
    edges = [edge_of(t) if t.row.is_float else None for t in inputs]
    if all(e is None for e in edges):
        if target.grad_fn is None:
            return None
        edges = []
    storage = target._data.storage
    saved = [Saved(t, e, t._data.storage is storage) for t, e in zip(inputs, edges)]
    node: Node
    if edges:
        node = PlanNode(plan, saved, edges, 1)
    else:
        node = FunctionNode(node_name(plan.name, plan.overload, plan), [], lambda grads: [])
    return lambda: rewrite_history(target, node)


def rewrite_history(target: Tensor, node: Node) -> None:
    """The target was changed in place: `node` is what its value now comes from."""
    base = target._base
    if base is None:
        target._node, target._nr = node, 0
        target._generation += 1
        return
    base._node, base._nr = SlicesNode(base, target, node), 0
    base._generation += 1


def _positions(base: TensorData, view: TensorData) -> np.ndarray:
    """For each element of the view, which element of the base, counted row by row, it is."""
    numbers = np.full(len(base.storage), -1, np.int64)
    at = np.lib.stride_tricks.as_strided
    at(numbers[base.offset:], base.sizes, [8 * s for s in base.strides])[...] = np.arange(
        base.numel).reshape(base.sizes)
    return np.array(at(numbers[view.offset:], view.sizes, [8 * s for s in view.strides]))


def _of_positions(positions: np.ndarray) -> Tensor:
    return Tensor._of_array(np.array(positions, order="C"), i64)


def renew_view(view: Tensor) -> None:
    """The view's base was changed in place: the view comes from the base as it is now."""
    base = view._base
    assert base is not None
    view._generation = base._generation
    edge = edge_of(base)
    if edge is None:
        view._node = None
        return
    view._node, view._nr = WindowNode(base, view, edge), 0


# Hooks


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook out again."""

    def __init__(self, hooks: dict, key: int) -> None:
        self._hooks, self.id = hooks, key

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def register_hook(t: Tensor, hook: Callable) -> RemovableHandle:
    edge = edge_of(t)
    if edge is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    hooks = edge[0].hooks.setdefault(edge[1], {})
    key = next(_numbers)
    hooks[key] = hook
    return RemovableHandle(hooks, key)


def retain_grad(t: Tensor) -> None:
    node = t.grad_fn
    if node is not None:
        node.retained.append((t._nr, t))
    elif not t._wants_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
