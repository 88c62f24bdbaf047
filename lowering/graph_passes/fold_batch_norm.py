"""Folds a batch normalization with known statistics into the convolution before it."""

from __future__ import annotations

import numpy as np

from lowering.graph import Graph, Node, Value, type_of_value
from lowering.graph_aliases import Aliases
from lowering.graph_builder import Builder
from lowering.objects import TensorData
from runtime import dtypes

_CONVOLUTIONS = ("aten::conv1d", "aten::conv2d", "aten::conv3d")
_GENERAL_CONVOLUTION = "aten::_convolution"
# What a batch norm leaves as it is.
_QUESTIONS = ("aten::dim", "aten::size", "prim::device", "prim::dtype", "aten::numel")
_TRANSPOSED = 6  # the argument of _convolution that says so


def fold_batch_norm(graph: Graph) -> bool:
    """Fold every batch norm in evaluation mode that alone reads a convolution with constant
    weights; True if there was one.

        %2 : Tensor = aten::conv2d(%x, %w, %b, ...)
        %y : Tensor = aten::batch_norm(%2, %gamma, %beta, %mean, %var, False, ...)
    ~>
        %y : Tensor = aten::conv2d(%x, %w', %b', ...)

    with w' = w * s and b' = (b - mean) * s + beta, where s = gamma / sqrt(var + eps) a channel of
    the output; computed in float64 and rounded once to the weights' type.
    """
    aliases = Aliases(graph)
    builder = Builder(graph)
    changed = False
    for node in list(graph.nodes()):
        if node.kind == "aten::batch_norm":
            changed |= _fold(node, aliases, builder)
    return changed


def _fold(norm: Node, aliases: Aliases, builder: Builder) -> bool:
    conv = norm.inputs[0].node
    if conv is None or not _is_plain_convolution(conv) or not _reads_alone(norm, conv.output):
        return False
    if conv.owner is not norm.owner or aliases.is_written(conv.output) or norm.kwarg_names:
        return False
    statistics = _statistics(norm)
    weight = _array(conv.inputs[1])
    if statistics is None or weight is None or weight.ndim < 3:
        return False
    channels = weight.shape[0]
    bias = np.zeros(channels) if conv.inputs[2].is_constant else None
    if conv.inputs[2].is_constant and conv.inputs[2].constant is not None:
        bias = _array(conv.inputs[2])
    scale, shift = statistics
    if bias is None or any(a.shape != (channels,) for a in (bias, scale, shift)):
        return False
    dtype = conv.inputs[1].constant.dtype
    folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    builder.set_input(conv, 1, _constant(folded, dtype, builder))
    builder.set_input(conv, 2, _constant(bias * scale + shift, dtype, builder))
    builder.replace_uses(norm.output, conv.output)
    builder.erase(norm)
    return True


def _reads_alone(norm: Node, value: Value) -> bool:
    """Whether all other users of a value ask for nothing that the batch norm changes."""
    return all(
        use.user is norm or (isinstance(use.user, Node) and use.user.kind in _QUESTIONS)
        for use in value.uses
    )


def _is_plain_convolution(node: Node) -> bool:
    if node.kwarg_names or len(node.inputs) < 3:
        return False
    if node.kind == _GENERAL_CONVOLUTION:
        # The weights of a transposed convolution have their output channels elsewhere.
        transposed = node.inputs[_TRANSPOSED]
        return transposed.is_constant and transposed.constant is False
    return node.kind in _CONVOLUTIONS


def _statistics(norm: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """(scale, shift) a channel, in float64; None where something is not known or it trains."""
    if len(norm.inputs) < 8 or not all(v.is_constant for v in norm.inputs[1:8]):
        return None
    _, gamma, beta, mean, variance, training, _, epsilon = norm.inputs[:8]
    if training.constant is not False or mean.constant is None or variance.constant is None:
        return None
    means, variances = _array(mean), _array(variance)
    if means is None or variances is None:
        return None
    scale = 1.0 / np.sqrt(variances + epsilon.constant)
    if gamma.constant is not None:
        scale = scale * _array(gamma)
    shift = -means * scale
    if beta.constant is not None:
        shift = shift + _array(beta)
    return scale, shift


def _array(value: Value) -> np.ndarray | None:
    """The values of a constant floating-point tensor in float64; None if it is something else."""
    data = value.constant if value.is_constant else None
    if not isinstance(data, TensorData) or data.problem is not None or not data.dtype.is_float:
        return None
    return dtypes.to_compute(data.numpy(), data.dtype).astype(np.float64)


def _constant(array: np.ndarray, dtype: dtypes.DType, builder: Builder) -> Value:
    computed = array.astype(dtype.compute)
    data = TensorData.from_numpy(dtypes.to_storage(computed, dtype), dtype)
    return builder.constant(data, type_of_value(data))
