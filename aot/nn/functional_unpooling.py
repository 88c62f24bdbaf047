"""Pooling undone, pooling in random windows, norms of windows"""

from __future__ import annotations

import math
from typing import List, Optional, Tuple

import numpy as np

import aot as torch
from aot import Tensor


def _each(x, dims: int) -> Tuple[int, ...]:
    """One number a dim."""
    return tuple(x) if isinstance(x, (tuple, list)) else (x,) * dims


def _unpooled_size(input: Tensor, window: Tuple[int, ...], stride: Tuple[int, ...],
                   padding: Tuple[int, ...], output_size: Optional[List[int]]) -> List[int]:
    """The size before pooling; a given one may differ from the least by less than a stride."""
    count = len(window)
    least = [(n - 1) * s + w - 2 * p
             for n, w, s, p in zip(input.size()[-count:], window, stride, padding)]
    if output_size is None:
        return least
    given = list(output_size)[-count:]
    if len(given) != count:
        raise ValueError(f"output_size should be a sequence containing {count} or {count + 2} "
                         f"elements, but it has a length of '{len(output_size)}'")
    for n, default, step in zip(given, least, stride):
        if not default - step < n < default + step:
            raise ValueError(f"invalid output_size {list(output_size)} (dim must be between "
                             f"{default - step} and {default + step})")
    return given


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size, stride=None, padding=0,
                 output_size: Optional[List[int]] = None) -> Tensor:
    window = _each(kernel_size, 1)
    steps = window if stride is None else _each(stride, 1)
    size = _unpooled_size(input, window, steps, _each(padding, 1), output_size)
    out = torch.max_unpool2d(input.unsqueeze(-1), indices.unsqueeze(-1), [*size, 1])
    return out.squeeze(-1)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size, stride=None, padding=0,
                 output_size: Optional[List[int]] = None) -> Tensor:
    window, margin = _each(kernel_size, 3), _each(padding, 3)
    steps = window if stride is None else _each(stride, 3)
    size = _unpooled_size(input, window, steps, margin, output_size)
    return torch.max_unpool3d(input, indices, size, list(steps), list(margin))


def lp_pool3d(input: Tensor, norm_type: float, kernel_size, stride=None,
              ceil_mode: bool = False) -> Tensor:
    window = _each(kernel_size, 3)
    steps = window if stride is None else _each(stride, 3)
    out = torch.avg_pool3d(input.pow(norm_type), window, steps, 0, ceil_mode)
    out = torch.sign(out) * torch.relu(torch.abs(out))
    return out.mul(math.prod(window)).pow(1.0 / norm_type)


def _starts(sample: np.floating, size: int, out: int, window: int) -> List[int]:
    """Where the windows of one dim begin (Graham 2014): pseudo-random, the last one at the end."""
    if out == 1:
        return [size - window]
    alpha = type(sample)(size - window) / type(sample)(out - 1)
    return [int((k + sample) * alpha) - int(sample * alpha)
            for k in range(out - 1)] + [size - window]


def _fractional(input: Tensor, window: Tuple[int, ...], size: Tuple[int, ...],
                samples: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
    """(maxima, indices) of [N, C, *dims]; `samples` [N, C, dims] in [0, 1)."""
    dims = len(window)
    x = input if input.dim() == dims + 2 else input.unsqueeze(0)
    n, c, *whole = x.shape
    for k, (length, out, w) in enumerate(zip(whole, size, window)):
        if out + w - 1 > length:
            raise RuntimeError(f"fractional_max_pool{dims}d(): pool dim {k}: {w} too large "
                               f"relative to input size {length}")
    if samples is None:
        samples = torch.rand(n, c, dims, dtype=x.dtype)
    strides = [math.prod(whole[k + 1:]) for k in range(dims)]
    drawn = samples.numpy()  # of the input's dtype, as PyTorch computes with them
    places = []
    for plane in (drawn[i][j] for i in range(n) for j in range(c)):
        index = torch.zeros(1, 1, dtype=torch.int64)
        order = plane if dims == 3 else plane[::-1]  # of two, PyTorch draws the last one first
        for k in range(dims):
            begins = _starts(order[k], whole[k], size[k], window[k])
            own = torch.tensor(begins)[:, None] + torch.arange(window[k])
            index = (index[:, None, :, None] + own[None, :, None, :] * strides[k]).reshape(
                index.shape[0] * size[k], index.shape[1] * window[k])
        places.append(index)
    flat = torch.stack(places).reshape(n, c, -1, math.prod(window))
    values = x.flatten(2).gather(2, flat.flatten(2)).reshape(flat.shape)
    maxima, which = values.max(-1)
    indices = flat.gather(3, which.unsqueeze(-1)).squeeze(-1)
    shape = [n, c, *size]
    maxima, indices = maxima.reshape(shape), indices.reshape(shape)
    if input.dim() == dims + 1:
        return maxima.squeeze(0), indices.squeeze(0)
    return maxima, indices


def _fractional_size(input: Tensor, output_size, output_ratio, dims: int) -> Tuple[int, ...]:
    if output_size is None and output_ratio is None:
        raise ValueError(f"fractional_max_pool{dims}d requires specifying either an output_size or "
                         "an output_ratio")
    if output_size is not None:
        return _each(output_size, dims)
    ratios = _each(output_ratio, dims)
    return tuple(int(n * r) for n, r in zip(input.size()[-dims:], ratios))


def fractional_max_pool2d(input: Tensor, kernel_size, output_size=None, output_ratio=None,
                          return_indices: bool = False,
                          _random_samples: Optional[Tensor] = None):
    size = _fractional_size(input, output_size, output_ratio, 2)
    maxima, indices = _fractional(input, _each(kernel_size, 2), size, _random_samples)
    return (maxima, indices) if return_indices else maxima


def fractional_max_pool3d(input: Tensor, kernel_size, output_size=None, output_ratio=None,
                          return_indices: bool = False,
                          _random_samples: Optional[Tensor] = None):
    size = _fractional_size(input, output_size, output_ratio, 3)
    maxima, indices = _fractional(input, _each(kernel_size, 3), size, _random_samples)
    return (maxima, indices) if return_indices else maxima
