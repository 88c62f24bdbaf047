"""Dropout."""

from __future__ import annotations

from aot import Tensor
from aot.nn import functional as F
from aot.nn.modules.module import Module


class _DropoutNd(Module):
    __constants__ = ["p", "inplace"]
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes elements."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Zeroes channels of [N, C, L]."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Zeroes channels of [N, C, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Zeroes channels of [N, C, D, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of SELU networks."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of channels."""

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.feature_alpha_dropout(input, self.p, self.training)
