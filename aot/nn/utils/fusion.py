"""A batch norm in evaluation as a part of the layer before it"""

from __future__ import annotations

import copy
from typing import Any

import aot as torch
from aot import Tensor
from aot.nn.modules.module import Module
from aot.nn.parameter import Parameter


def _scaled(w: Tensor, b: Tensor | None, mean: Tensor, var: Tensor, eps: float,
            weight: Tensor | None, bias: Tensor | None, dim: int) -> tuple[Parameter, Parameter]:
    b = torch.zeros_like(mean) if b is None else b
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    scale = weight * torch.rsqrt(var + eps)
    sizes = [1] * w.dim()
    sizes[dim] = -1
    return (Parameter((w * scale.reshape(sizes)).to(w.dtype), w.requires_grad),
            Parameter(((b - mean) * scale + bias).to(b.dtype), b.requires_grad))


def fuse_conv_bn_weights(conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor,
                         bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does what one and a batch norm behind it do."""
    return _scaled(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor,
                           bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None
                           ) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does what one and a batch norm behind it do."""
    return _scaled(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of the convolution with the batch norm in its weights; both must be in eval()."""
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of the linear layer with the batch norm in its weights; both must be in eval()."""
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or "
                             "bn.num_features == 1")
    return _fused(linear, bn, 0)


def _fused(layer: Module, bn: Module, dim: int) -> Module:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("Expected bn.running_mean and bn.running_var to be set")
    out = copy.deepcopy(layer)
    with torch.no_grad():
        out.weight, out.bias = _scaled(layer.weight, layer.bias, bn.running_mean, bn.running_var,
                                       bn.eps, bn.weight, bn.bias, dim)
    return out
