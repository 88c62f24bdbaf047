"""Pooling that has indices to return, or sizes to check."""

from __future__ import annotations

from typing import List, Optional, Union

import aot as torch
from aot import Tensor
from aot.nn.broadcasting import BroadcastingList1, BroadcastingList2, BroadcastingList3
from aot.nn.functional_activations import relu


def _pair(size: BroadcastingList2[int]) -> List[int]:
    """One number as two; two as they are."""
    return [size, size] if isinstance(size, int) else size


def max_pool1d_with_indices(
        input: Tensor, kernel_size: BroadcastingList1[int],
        stride: Optional[BroadcastingList1[int]] = None, padding: BroadcastingList1[int] = 0,
        dilation: BroadcastingList1[int] = 1, ceil_mode: bool = False,
        return_indices: bool = False) -> tuple[Tensor, Tensor]:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)


def _max_pool1d(input: Tensor, kernel_size: BroadcastingList1[int],
                stride: Optional[BroadcastingList1[int]] = None,
                padding: BroadcastingList1[int] = 0, dilation: BroadcastingList1[int] = 1,
                ceil_mode: bool = False, return_indices: bool = False) -> Tensor:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_with_indices(
        input: Tensor, kernel_size: BroadcastingList2[int],
        stride: Optional[BroadcastingList2[int]] = None, padding: BroadcastingList2[int] = 0,
        dilation: BroadcastingList2[int] = 1, ceil_mode: bool = False,
        return_indices: bool = False) -> tuple[Tensor, Tensor]:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)


def _max_pool2d(input: Tensor, kernel_size: BroadcastingList2[int],
                stride: Optional[BroadcastingList2[int]] = None,
                padding: BroadcastingList2[int] = 0, dilation: BroadcastingList2[int] = 1,
                ceil_mode: bool = False, return_indices: bool = False) -> Tensor:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_with_indices(
        input: Tensor, kernel_size: BroadcastingList3[int],
        stride: Optional[BroadcastingList3[int]] = None, padding: BroadcastingList3[int] = 0,
        dilation: BroadcastingList3[int] = 1, ceil_mode: bool = False,
        return_indices: bool = False) -> tuple[Tensor, Tensor]:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool3d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)


def _max_pool3d(input: Tensor, kernel_size: BroadcastingList3[int],
                stride: Optional[BroadcastingList3[int]] = None,
                padding: BroadcastingList3[int] = 0, dilation: BroadcastingList3[int] = 1,
                ceil_mode: bool = False, return_indices: bool = False) -> Tensor:
    if stride is None:
        stride = torch.jit.annotate(List[int], [])
    return torch.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode)


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: BroadcastingList1[int],
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    return torch.adaptive_max_pool1d(input, output_size)


def _adaptive_max_pool1d(input: Tensor, output_size: BroadcastingList1[int],
                         return_indices: bool = False) -> Tensor:
    return adaptive_max_pool1d_with_indices(input, output_size)[0]


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: BroadcastingList2[int],
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    output_size = _list_with_default(output_size, input.size())
    return torch.adaptive_max_pool2d(input, output_size)


def _adaptive_max_pool2d(input: Tensor, output_size: BroadcastingList2[int],
                         return_indices: bool = False) -> Tensor:
    return adaptive_max_pool2d_with_indices(input, output_size)[0]


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: BroadcastingList3[int],
                                     return_indices: bool = False) -> tuple[Tensor, Tensor]:
    output_size = _list_with_default(output_size, input.size())
    return torch.adaptive_max_pool3d(input, output_size)


def _adaptive_max_pool3d(input: Tensor, output_size: BroadcastingList3[int],
                         return_indices: bool = False) -> Tensor:
    return adaptive_max_pool3d_with_indices(input, output_size)[0]


def adaptive_avg_pool2d(input: Tensor, output_size: BroadcastingList2[int]) -> Tensor:
    _output_size = _list_with_default(output_size, input.size())
    return torch.adaptive_avg_pool2d(input, _output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: BroadcastingList3[int]) -> Tensor:
    _output_size = _list_with_default(output_size, input.size())
    return torch.adaptive_avg_pool3d(input, _output_size)


def _list_with_default(out_size: List[int], defaults: List[int]) -> List[int]:
    """The sizes asked for; None keeps the input's."""
    assert len(defaults) > (1 if isinstance(out_size, int) else len(out_size))
    if isinstance(out_size, int):
        return [out_size] * (len(defaults) - 2 if len(defaults) > 3 else len(defaults) - 1)
    kept = defaults[-len(out_size):]
    return [d if v is None else v for v, d in zip(out_size, kept)]


def _chosen(plain, with_indices):
    """The function that returns indices too if its flag asks for them."""

    def pool(input, *args, **kwargs):
        position = 1 if "adaptive" in plain.__name__ else 5
        indices = kwargs.get("return_indices", False)
        if len(args) > position:
            indices = args[position]
        return (with_indices if indices else plain)(input, *args, **kwargs)

    pool.__name__ = pool.__qualname__ = plain.__name__.strip("_")
    # The script compiler takes the branch that a constant flag chooses.
    pool.if_false, pool.if_true = plain, with_indices
    return pool


max_pool1d = _chosen(_max_pool1d, max_pool1d_with_indices)
max_pool2d = _chosen(_max_pool2d, max_pool2d_with_indices)
max_pool3d = _chosen(_max_pool3d, max_pool3d_with_indices)
adaptive_max_pool1d = _chosen(_adaptive_max_pool1d, adaptive_max_pool1d_with_indices)
adaptive_max_pool2d = _chosen(_adaptive_max_pool2d, adaptive_max_pool2d_with_indices)
adaptive_max_pool3d = _chosen(_adaptive_max_pool3d, adaptive_max_pool3d_with_indices)


def lp_pool1d(input: Tensor, norm_type: Union[int, float], kernel_size: int,
              stride: Optional[BroadcastingList1[int]] = None, ceil_mode: bool = False) -> Tensor:
    assert isinstance(norm_type, (int, float))
    if norm_type == float("inf"):
        return max_pool1d(input.abs(), kernel_size, stride, ceil_mode=ceil_mode)
    if norm_type == -float("inf"):
        return -max_pool1d(-input.abs(), kernel_size, stride, ceil_mode=ceil_mode)
    if stride is not None:
        out = torch.avg_pool1d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    else:
        out = torch.avg_pool1d(input.pow(norm_type), kernel_size, padding=0, ceil_mode=ceil_mode)
    return (torch.sign(out) * relu(torch.abs(out))).mul(kernel_size).pow(1.0 / norm_type)


def lp_pool2d(input: Tensor, norm_type: Union[int, float], kernel_size: BroadcastingList2[int],
              stride: Optional[BroadcastingList2[int]] = None, ceil_mode: bool = False) -> Tensor:
    kw, kh = _pair(kernel_size)
    assert isinstance(norm_type, (int, float))
    if norm_type == float("inf"):
        return max_pool2d(input.abs(), kernel_size, stride, ceil_mode=ceil_mode)
    if norm_type == -float("inf"):
        return -max_pool2d(-input.abs(), kernel_size, stride, ceil_mode=ceil_mode)
    if stride is not None:
        out = torch.avg_pool2d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    else:
        out = torch.avg_pool2d(input.pow(norm_type), kernel_size, padding=0, ceil_mode=ceil_mode)
    return (torch.sign(out) * relu(torch.abs(out))).mul(kw * kh).pow(1.0 / norm_type)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: BroadcastingList2[int],
                 stride: Optional[BroadcastingList2[int]] = None,
                 padding: BroadcastingList2[int] = 0,
                 output_size: Optional[List[int]] = None) -> Tensor:
    kernel, step, pad = [[v, v] if isinstance(v, int) else list(v)
                         for v in (kernel_size, stride or kernel_size, padding)]
    if output_size is None:
        sizes = input.size()[-2:]
        output_size = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(sizes, step, kernel, pad)]
    return torch.max_unpool2d(input, indices, list(output_size)[-2:])
