"""aot.nn: modules, their parameters and their functions."""

from __future__ import annotations

from aot.nn import functional, init, utils
from aot.nn.modules import LAYERS
from aot.nn.parameter import Buffer, Parameter

globals().update(LAYERS)

__all__ = ["Buffer", "Parameter", "functional", "init", "utils", *LAYERS]
