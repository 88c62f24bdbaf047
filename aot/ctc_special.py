"""CTC: the likelihood of label sequences whose place in time is not known (Graves et al. 2006)"""

from __future__ import annotations

import numpy as np

from aot import autograd_graph
from aot.dispatch import SPECIAL, new_tensor
from aot.tensor_core import Tensor

_REDUCTIONS = ("none", "mean", "sum")


def _numbers(x: object, count: int, name: str) -> list[int]:
    listed = x.reshape([-1]).tolist() if isinstance(x, Tensor) else x
    found = [int(n) for n in (listed if isinstance(listed, (list, tuple)) else [listed])]
    if len(found) != count:
        raise RuntimeError(f"{name} must be of size batch_size")
    return found


def _labels(targets: Tensor, lengths: list[int]) -> list[np.ndarray]:
    """Each sequence's labels, of [N, S] or of all sequences one after the other."""
    values = targets._values()
    if values.ndim == 2:
        return [values[n, :length] for n, length in enumerate(lengths)]
    ends = np.cumsum(lengths)
    return [values[end - length:end] for end, length in zip(ends, lengths)]


def _sum(*parts: np.ndarray) -> np.ndarray:
    """log(sum of exp), of minus infinities too."""
    stacked = np.stack(parts)
    top = np.maximum(stacked.max(0), -1e300)
    with np.errstate(divide="ignore"):
        return top + np.log(np.exp(stacked - top).sum(0))


def _shifted(x: np.ndarray, by: int) -> np.ndarray:
    """x moved to the right, minus infinity coming in."""
    out = np.full_like(x, -np.inf)
    out[by:] = x[:len(x) - by]
    return out


def _forward(log_probs: np.ndarray, states: np.ndarray, jumps: np.ndarray) -> np.ndarray:
    """[T, states]: log of the probability of all ways to be in a state at a time. `jumps`: whether
    a state may follow the one before the one before it."""
    steps = len(log_probs)
    alpha = np.full((steps, len(states)), -np.inf)
    alpha[0, :2] = log_probs[0, states[:2]]
    for t in range(1, steps):
        before = alpha[t - 1]
        jumped = np.where(jumps, _shifted(before, 2), -np.inf)
        alpha[t] = _sum(before, _shifted(before, 1), jumped) + log_probs[t, states]
    return alpha


def _one(log_probs: np.ndarray, labels: np.ndarray, blank: int) -> tuple[float, np.ndarray]:
    """The loss of one sequence, and its gradient by log_probs [T, C] as if those were the results
    of a log_softmax, which is PyTorch's."""
    states = np.full(2 * len(labels) + 1, blank, np.int64)
    states[1::2] = labels
    jumps = np.zeros(len(states), bool)
    jumps[3::2] = labels[1:] != labels[:-1]
    alpha = _forward(log_probs, states, jumps)
    likelihood = float(_sum(*alpha[-1, -2:]))
    backwards = np.zeros(len(states), bool)  # reversed, a jump goes from what it went to
    backwards[2:] = jumps[::-1][:-2]
    beta = _forward(log_probs[::-1], states[::-1], backwards)[::-1, ::-1]
    ways = np.full(log_probs.shape, -np.inf)
    for k, label in enumerate(states):
        ways[:, label] = _sum(ways[:, label], alpha[:, k] + beta[:, k])
    with np.errstate(invalid="ignore", over="ignore"):
        grad = np.exp(log_probs) - np.exp(ways - likelihood - log_probs)
    return -likelihood, grad


def _ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: object, target_lengths: object,
              blank: int = 0, reduction: int = 1, zero_infinity: bool = False) -> Tensor:
    """Losses [N] of log_probs [T, N, C], or their mean or sum; 0-d for log_probs [T, C]. The mean
    divides each by the length of its target. RuntimeError for lengths that do not fit."""
    values = log_probs._values().astype(np.float64)
    batched = values.ndim == 3
    if not batched:
        values = values[:, None]
    steps, count, classes = values.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    inputs = _numbers(input_lengths, count, "input_lengths")
    lengths = _numbers(target_lengths, count, "target_lengths")
    for n, length in enumerate(inputs):
        if not 0 <= length <= steps:
            raise RuntimeError(f"Expected input_lengths to have value at most {steps}, but got "
                               f"value {length} (while checking arguments for ctc_loss_cpu)")
    losses, grads = np.zeros(count), np.zeros_like(values)
    for n, labels in enumerate(_labels(targets, lengths)):
        if inputs[n]:
            losses[n], grads[:inputs[n], n] = _one(values[:inputs[n], n], labels, blank)
        elif len(labels):
            losses[n] = np.inf
    impossible = np.isinf(losses)
    if zero_infinity:
        losses[impossible], grads[:, impossible] = 0, 0
    else:
        grads[:, impossible] = np.nan
    scale = np.ones(count)
    if _REDUCTIONS[reduction] == "mean":
        scale = 1 / (np.maximum(lengths, 1) * count)
    result = losses if reduction == 0 else np.asarray((losses * scale).sum())
    result = result if batched or reduction else result[0]

    def back(upper: list) -> list:
        weights = np.broadcast_to(upper[0]._values(), (count,)) * scale
        grad = (grads * weights[:, None]).reshape(log_probs._data.sizes)
        return [new_tensor(grad, log_probs.row)]

    return autograd_graph.attach(new_tensor(np.asarray(result), log_probs.row), "MeanBackward0"
                                 if reduction == 1 else "CtcLossBackward0", [log_probs], back)


SPECIAL["aten::ctc_loss"] = _ctc_loss
