"""Mixing the groups of a grouped convolution (Zhang et al. 2018)."""

from __future__ import annotations

from aot import Tensor
from aot.nn import functional as F
from aot.nn.modules.module import Module


class ChannelShuffle(Module):
    """Channels [g, C / g] become [C / g, g]."""

    __constants__ = ["groups"]
    groups: int

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Runs the forward pass."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
