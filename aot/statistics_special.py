"""Running statistics: what batch and instance norms write into their buffers in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from aot.dispatch import SPECIAL, compute_array
from aot.tensor_core import Tensor


def _batch_norm(input: Tensor, weight: Any, bias: Any, running_mean: Tensor | None,
                running_var: Tensor | None, training: bool, momentum: float, *_: Any,
                **__: Any) -> object:
    if training:
        _update(input, running_mean, running_var, momentum, (0, *range(2, input.ndim)))
    return NotImplemented


def _instance_norm(input: Tensor, weight: Any, bias: Any, running_mean: Tensor | None,
                   running_var: Tensor | None, use_input_stats: bool, momentum: float, *_: Any,
                   **__: Any) -> object:
    if use_input_stats:
        _update(input, running_mean, running_var, momentum, tuple(range(2, input.ndim)))
    return NotImplemented


def _update(x: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float,
            dims: tuple[int, ...]) -> None:
    """running = (1 - momentum) * running + momentum * statistic; the variance is the unbiased
    one. Statistics of single images are averaged over the batch."""
    array = compute_array(x).astype(np.float64)
    count = int(np.prod([array.shape[d] for d in dims]))
    for buffer, statistic in ((mean, array.mean(dims)),
                              (var, array.var(dims) * count / max(count - 1, 1))):
        if buffer is not None:
            if statistic.ndim == 2:
                statistic = statistic.mean(0)
            buffer._write((1 - momentum) * buffer._values() + momentum * statistic)


SPECIAL.update({"aten::batch_norm": _batch_norm, "aten::instance_norm": _instance_norm})
