"""SGD: gradient descent, with momentum (Sutskever et al. 2013)"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aot.optim.optimizer import Optimizer, check_positive
from aot.tensor_core import Tensor


class SGD(Optimizer):
    """p -= lr v, where v = g or, with momentum, v = momentum v + (1 - dampening) g; Nesterov's
    takes g + momentum v."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0,
                 dampening: float = 0, weight_decay: float = 0, nesterov: bool = False, *,
                 maximize: bool = False, foreach: bool | None = None,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        check_positive(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused})

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        if momentum:
            before = state.get("momentum_buffer")
            if before is None:
                moved = state["momentum_buffer"] = grad.detach().clone()
            else:
                moved = before.mul_(momentum).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(moved, alpha=momentum) if group["nesterov"] else moved
        p.add_(grad, alpha=-group["lr"])
