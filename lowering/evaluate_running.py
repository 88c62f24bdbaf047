"""Normalisation in training: besides its result it moves running statistics, in place.

    running = (1 - momentum) * running + momentum * statistic

of the batch's mean and its unbiased variance; instance norm takes the mean over the samples' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowering.abstract import AbstractTensor
from lowering.evaluate_operators import apply, copy_into

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def _batch_norm(ev: Evaluator, x: AbstractTensor, weight: Any, bias: Any, mean: Any, var: Any,
                training: bool, momentum: Any, eps: float, cudnn_enabled: bool) -> object:
    args = [x, weight, bias, mean, var, training, momentum, eps, cudnn_enabled]
    result = apply(ev, "aten::batch_norm", args, {})
    if training and x.numel:
        _move(ev, mean, var, x, [d for d in range(x.ndim) if d != 1], momentum)
    return result


def _instance_norm(ev: Evaluator, x: AbstractTensor, weight: Any, bias: Any, mean: Any, var: Any,
                   use_input_stats: bool, momentum: Any, eps: float,
                   cudnn_enabled: bool) -> object:
    args = [x, weight, bias, mean, var, use_input_stats, momentum, eps, cudnn_enabled]
    result = apply(ev, "aten::instance_norm", args, {})
    if use_input_stats and x.numel:
        _move(ev, mean, var, x, list(range(2, x.ndim)), momentum)
    return result


def _move(ev: Evaluator, mean: object, var: object, x: AbstractTensor, dims: list[int],
          momentum: object) -> None:
    """Moves the running statistics that there are; those of (samples, channels) are averaged."""
    def call(name: str, *args: object) -> Any:
        return ev.operate_with(name, list(args), {})

    rest = call("aten::sub", 1.0, momentum)
    for running, name in ((mean, "aten::mean"), (var, "aten::var")):
        if not isinstance(running, AbstractTensor):
            continue
        wide = call("aten::to", x, running.dtype.torch_code)
        found = call("aten::var", wide, dims, True) if name == "aten::var" else call(
            "aten::mean", wide, dims)
        if found.ndim > 1:
            found = call("aten::mean", found, [0])
        moved = call("aten::add", call("aten::mul", running, rest),
                     call("aten::mul", found, momentum))
        copy_into(ev, running, ev.memory.read(moved))


TABLE = {"aten::batch_norm": _batch_norm, "aten::instance_norm": _instance_norm}
