"""aot.autograd: gradients of what was computed.

    backward(loss)                  adds them to the .grad of the leaves
    grad(loss, [x, y])              gives them back
    class F(Function): ...          an operation with a backward of its own
"""

from __future__ import annotations

import heapq
from typing import Any, Sequence

from aot import autograd_derive, grad_mode
from aot.autograd_graph import AccumulateGrad, FunctionNode, Node, edge_of
from aot.dispatch import call
from aot.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled
from aot.tensor_core import Tensor
from aot.tensor_creation import ones_like
from aot.trace_state import not_recording

__all__ = ["Function", "backward", "enable_grad", "grad", "inference_mode", "no_grad",
           "set_grad_enabled"]


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None,
             create_graph: bool = False, inputs: Any = None) -> None:
    """Adds the gradients of the tensors to the .grad of the leaves (of `inputs` only, if given).

    RuntimeError if a tensor has more than one element and no gradient, or requires none."""
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    only = None if inputs is None else [inputs] if isinstance(inputs, Tensor) else list(inputs)
    _run(roots, _seeds(roots, grad_tensors), bool(retain_graph or create_graph), create_graph,
         only, True)


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple:
    """The gradients of the outputs' sum with respect to the inputs."""
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for t in wanted:
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    keep = create_graph if retain_graph is None else retain_graph
    found = _run(roots, _seeds(roots, grad_outputs), keep, create_graph, wanted, False)
    if materialize_grads:
        found = [call("aten::zeros_like", (t,)) if g is None else g for g, t in zip(found, wanted)]
    elif not allow_unused and any(g is None for g in found):
        k = [g is None for g in found].index(True)
        raise RuntimeError(f"The differentiated Tensor at index {k} appears to not have been used "
                           "in the graph. Set allow_unused=True if this is the desired behavior.")
    return tuple(found)


class _Engine:
    """What the steps back compute with: the operators, and the derivatives of plans."""

    derive = staticmethod(autograd_derive.apply)

    @staticmethod
    def call(name: str, *args: object) -> Tensor:
        return call(name, args)  # type: ignore[return-value]


def _seeds(roots: Sequence[Tensor], given: Any) -> list[Tensor]:
    if isinstance(given, Tensor):
        given = [given]
    grads = [None] * len(roots) if given is None else list(given)
    out = []
    for root, seed in zip(roots, grads):
        if not root.requires_grad:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a "
                               "grad_fn")
        if seed is None:
            if root.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            seed = ones_like(root.detach())
        elif seed.shape != root.shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[0] has a shape of {seed.shape} and "
                               f"output[0] has a shape of {root.shape}.")
        out.append(seed)
    return out


def _run(roots: Sequence[Tensor], seeds: Sequence[Tensor], keep: bool, create_graph: bool,
         wanted: Sequence[Tensor] | None, accumulate: bool) -> list[Tensor | None]:
    """Runs the graph back from the roots, later nodes first. The wanted tensors' gradients."""
    mode = grad_mode.enable_grad() if create_graph else grad_mode.no_grad()
    pending: dict[Node, list[Tensor | None]] = {}
    queue: list[tuple[int, int, Node]] = []

    def arrive(node: Node, slot: int, value: Tensor) -> None:
        if node not in pending:
            pending[node] = [None] * max(node.results, 1)
            heapq.heappush(queue, (-node.number, id(node), node))
        slots = pending[node]
        slots.extend([None] * (slot + 1 - len(slots)))
        known = slots[slot]
        slots[slot] = value if known is None else call("aten::add", (known, value))  # type: ignore

    targets = {}
    for t in wanted or ():
        edge = edge_of(t)
        if edge is not None:
            targets[edge] = t
    found: dict[tuple, Tensor | None] = {}
    with mode, not_recording():
        for root, seed in zip(roots, seeds):
            edge = edge_of(root)
            assert edge is not None
            arrive(*edge, seed)
        while queue:
            _, _, node = heapq.heappop(queue)
            grads = pending.pop(node)
            _hooked(node, grads)
            for slot, value in enumerate(grads):
                if (node, slot) in targets:
                    found[node, slot] = value
            if isinstance(node, AccumulateGrad):
                if accumulate and (wanted is None or (node, 0) in targets):
                    _accumulate(node.variable, grads[0], create_graph)
                continue
            if accumulate:
                for slot, t in node.retained:
                    if slot < len(grads) and grads[slot] is not None:
                        _accumulate(t, grads[slot], create_graph)
            for edge, value in zip(node.edges, node.backward(grads, keep, _Engine)):
                if edge is not None and value is not None:
                    arrive(*edge, value)
    if accumulate:
        for edge, t in targets.items():
            if not isinstance(edge[0], AccumulateGrad) and found.get(edge) is not None:
                _accumulate(t, found[edge], create_graph)
    return [found.get(edge_of(t)) for t in wanted or ()]  # type: ignore[arg-type]


def _hooked(node: Node, grads: list[Tensor | None]) -> None:
    for slot, hooks in node.hooks.items():
        for hook in list(hooks.values()):
            if slot < len(grads) and grads[slot] is not None:
                changed = hook(grads[slot])
                grads[slot] = grads[slot] if changed is None else changed


def _accumulate(t: Tensor, value: Tensor | None, create_graph: bool) -> None:
    if value is None:
        return
    if t.grad is None:
        # .grad is a tensor of its own: what was passed along may be someone else's
        t.grad = value if create_graph else call("aten::clone", (value.detach(),))  # type: ignore
    else:
        t.grad = call("aten::add", (t.grad, value))  # type: ignore[assignment]


# Functions with a backward of their own


class _Context:
    """What a Function's forward leaves for its backward."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self.saved_tensors: tuple = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.__dict__["non_differentiable"] = {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """In-place writes are seen by their storages' versions."""

    def set_materialize_grads(self, value: bool) -> None:
        self.__dict__["materialize"] = value


class Function:
    """Subclass it with static methods forward(ctx, ...) and backward(ctx, *grads), and call
    `apply`."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom "
                                  "autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("You must implement either the backward or vjp method for your "
                                  "custom autograd.Function to use it with backward mode AD.")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        edges = [edge_of(a) if isinstance(a, Tensor) and a.row.is_float else None for a in args]
        ctx = _Context(tuple(e is not None for e in edges))
        with no_grad():
            result = cls.forward(ctx, *args)
        if not grad_mode.is_grad_enabled() or all(e is None for e in edges):
            return result
        several = isinstance(result, tuple)
        outs = list(result) if several else [result]

        def back(grads: list[Tensor | None]) -> list[Tensor | None]:
            if ctx.__dict__.get("materialize", True):
                grads = [call("aten::zeros_like", (shape,)) if g is None else g  # type: ignore
                         for g, shape in zip(grads, shapes)]
            found = cls.backward(ctx, *grads)
            return list(found) if isinstance(found, tuple) else [found]

        node = FunctionNode(f"{cls.__name__}Backward", edges, back, len(outs))
        skipped = ctx.__dict__.get("non_differentiable", set())
        fresh = []
        for k, out in enumerate(outs):
            if isinstance(out, Tensor) and out.row.is_float and id(out) not in skipped:
                if any(out is a for a in args):
                    out = Tensor._of_data(out._data)
                out._node, out._nr = node, k
            fresh.append(out)
        shapes = [o.detach() for o in fresh]
        return tuple(fresh) if several else fresh[0]
