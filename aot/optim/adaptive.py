"""RMSprop, Adagrad, Adadelta: steps divided by the size that gradients had"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aot.optim.optimizer import Optimizer, check_positive, count_step
from aot.tensor_core import Tensor
from aot.tensor_creation import full_like, zeros_like


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), v being the running mean of g squared (Hinton 2012); `centered`
    takes the running mean of g off, squared (Graves 2013)."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99,
                 eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0,
                 centered: bool = False, capturable: bool = False, foreach: bool | None = None,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_positive(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable})

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        alpha = group["alpha"]
        if count_step(state) == 1:
            names = ["square_avg"] + ["momentum_buffer"] * (group["momentum"] > 0)
            names += ["grad_avg"] * group["centered"]
            state.update({name: zeros_like(p) for name in names})
        square = state["square_avg"].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(grad, 1 - alpha)
            square = square.addcmul(mean, mean, value=-1)
        root = square.sqrt().add_(group["eps"])
        if group["momentum"] > 0:
            moved = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(grad, root)
            p.add_(moved, alpha=-group["lr"])
        else:
            p.addcdiv_(grad, root, value=-group["lr"])


class Adagrad(Optimizer):
    """p -= lr' g / (sqrt(s) + eps), s being the sum of g squared (Duchi et al. 2011), and
    lr' = lr / (1 + (steps - 1) lr_decay)."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0,
                 weight_decay: float = 0, initial_accumulator_value: float = 0, eps: float = 1e-10,
                 foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        check_positive(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps,
                       initial_accumulator_value=initial_accumulator_value)
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused})

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        steps = count_step(state)
        if steps == 1:
            state["sum"] = full_like(p, group["initial_accumulator_value"])
        total = state["sum"].addcmul_(grad, grad, value=1)
        rate = group["lr"] / (1 + (steps - 1) * group["lr_decay"])
        p.addcdiv_(grad, total.sqrt().add_(group["eps"]), value=-rate)


class Adadelta(Optimizer):
    """p -= lr d, d = g sqrt(u + eps) / sqrt(v + eps), v and u being the running means of g and of d
    squared (Zeiler 2012)."""

    def __init__(self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable})

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        if count_step(state) == 1:
            state.update({name: zeros_like(p) for name in ("square_avg", "acc_delta")})
        square = state["square_avg"].mul_(rho).addcmul_(grad, grad, value=1 - rho)
        change = (state["acc_delta"] + eps).sqrt_().div_((square + eps).sqrt_()).mul_(grad)
        state["acc_delta"].mul_(rho).addcmul_(change, change, value=1 - rho)
        p.add_(change, alpha=-group["lr"])
