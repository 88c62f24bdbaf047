"""Adam and its kin: steps as long as the first moment over the root of the second"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from aot.optim.optimizer import Optimizer, check_positive, count_step
from aot.tensor_core import Tensor
from aot.tensor_creation import zeros_like


def _check_betas(betas: tuple[float, float]) -> None:
    for k, beta in enumerate(betas):
        if not 0 <= beta < 1:
            raise ValueError(f"Invalid beta parameter at index {k}: {beta}")


class Adam(Optimizer):
    """p -= lr m' / (sqrt(v') + eps), with m and v the running means of g and g squared, and m', v'
    what they are without their start at zero (Kingma and Ba 2014)."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        _check_betas(betas)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay})

    def _decays_gradient(self, group: dict[str, Any]) -> bool:
        return not group["decoupled_weight_decay"]

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        steps = count_step(state)
        if steps == 1:
            names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
            state.update({name: zeros_like(p) for name in names})
        if group["decoupled_weight_decay"]:
            p.mul_(1 - lr * group["weight_decay"])
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = square = state["max_exp_avg_sq"].maximum(square)
        root = (square.sqrt() / math.sqrt(1 - beta2**steps)).add_(group["eps"])
        p.addcdiv_(mean, root, value=-lr / (1 - beta1**steps))


class AdamW(Adam):
    """Adam whose weight decay is no part of the gradient: p *= 1 - lr weight_decay before each step
    (Loshchilov and Hutter 2017)."""

    def __init__(self, params: Iterable[Any], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False,
                 differentiable: bool = False, fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach,
                         maximize=maximize, capturable=capturable, differentiable=differentiable,
                         fused=fused, decoupled_weight_decay=True)


class Adamax(Optimizer):
    """Adam with the largest decayed |g| in place of the root of the second moment."""

    def __init__(self, params: Iterable[Any], lr: float = 2e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        _check_betas(betas)
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable})

    def _update(self, p: Tensor, grad: Tensor, state: dict[str, Any],
                group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        steps = count_step(state)
        if steps == 1:
            state.update({name: zeros_like(p) for name in ("exp_avg", "exp_inf")})
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        largest = (state["exp_inf"] * beta2).maximum(grad.abs() + group["eps"])
        state["exp_inf"] = largest
        p.addcdiv_(mean, largest, value=-group["lr"] / (1 - beta1**steps))
