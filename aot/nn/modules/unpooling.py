"""Pooling undone, pooling in random windows"""

from __future__ import annotations

from typing import List, Optional

from aot import Tensor
from aot.nn import functional as F
from aot.nn.modules.module import Module
from aot.nn.modules.pooling import LPPool1d
from aot.nn.modules.sizes import ntuple

_MODULE = "aot.nn.modules.pooling"  # archives name these layers after the others' file


class _MaxUnpoolNd(Module):
    _dims = 1

    def __init__(self, kernel_size, stride=None, padding=0) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self._dims)
        self.stride = ntuple(stride if stride is not None else kernel_size, self._dims)
        self.padding = ntuple(padding, self._dims)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts the maxima back where MaxPool1d's indices say."""

    __module__ = _MODULE

    def forward(self, input: Tensor, indices: Tensor,
                output_size: Optional[List[int]] = None) -> Tensor:
        """Runs the forward pass."""
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding,
                              output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts the maxima back where MaxPool3d's indices say."""

    __module__ = _MODULE
    _dims = 3

    def forward(self, input: Tensor, indices: Tensor,
                output_size: Optional[List[int]] = None) -> Tensor:
        """Runs the forward pass."""
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding,
                              output_size)


class LPPool3d(LPPool1d):
    """Norms of windows of [N, C, D, H, W]."""

    __module__ = _MODULE

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride,
                           self.ceil_mode)


class _FractionalMaxPoolNd(Module):
    _dims = 2

    def __init__(self, kernel_size, output_size=None, output_ratio=None,
                 return_indices: bool = False, _random_samples=None) -> None:
        super().__init__()
        name, dims = type(self).__name__, self._dims
        self.kernel_size = ntuple(kernel_size, dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size, dims)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio, dims)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{name} requires specifying either an output size, or a pooling "
                             "ratio" if output_size is None else
                             "only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima of windows that begin at pseudo-random places of [N, C, H, W] (Graham 2014)."""

    __module__ = _MODULE

    def forward(self, input: Tensor):
        """Runs the forward pass."""
        return F.fractional_max_pool2d(input, self.kernel_size, self.output_size,
                                       self.output_ratio, self.return_indices,
                                       _random_samples=self._random_samples)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima of windows that begin at pseudo-random places of [N, C, D, H, W] (Graham 2014)."""

    __module__ = _MODULE
    _dims = 3

    def forward(self, input: Tensor):
        """Runs the forward pass."""
        return F.fractional_max_pool3d(input, self.kernel_size, self.output_size,
                                       self.output_ratio, self.return_indices,
                                       _random_samples=self._random_samples)
