"""Values whose numbers are known at compile time: what sizes and positions may depend on."""

from __future__ import annotations

import numpy as np

from lowering.tensor_ir import Constant, Value


class Unsupported(ValueError):
    """Right in PyTorch, but not something that we compile. The message says what would be."""


def known(value: Value, what: str) -> np.ndarray:
    """The numbers of a Value. Unsupported says that `what` has to be known at compile time."""
    data = known_or_none(value)
    if data is None:
        raise Unsupported(f"{what} must be known at compile time: the result's shape depends on it")
    return data


def known_or_none(value: Value) -> np.ndarray | None:
    """The numbers of a constant, None for everything else."""
    return value.op.data if isinstance(value.op, Constant) else None
