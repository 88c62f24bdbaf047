"""Integers that only the run knows where PyTorch takes any: divmod, gcd, steps, shifts."""

from __future__ import annotations

import math

import numpy as np
import pytest

import aot
from runtime.errors import AotError
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def divided(x: torch.Tensor, i: int, k: int):
    return math.gcd(i, k), divmod(i, k), divmod(i, -3), divmod(float(i), 2.5)


def counted(x: torch.Tensor, i: int, k: int):
    return torch.arange(i, i + 6 * k, k), torch.arange(0, i * 2 + 1, 3)


def stepped(x: torch.Tensor, i: int, k: int):
    return torch.arange(0, i * 2, i)


def rolled(x: torch.Tensor, i: int, k: int):
    return x.roll(i, 0), x.roll([i, k], [0, 1]), x.roll(k), x[i : i + k]


def flat(x: object) -> list:
    if isinstance(x, (tuple, list)):
        return [v for y in x for v in flat(y)]
    return [np.asarray(x).tolist()]


@pytest.mark.parametrize("function", [divided, counted, stepped, rolled],
                         ids=lambda f: f.__name__)
def test_as_pytorch(function) -> None:
    scripted = torch.jit.script(function)
    compiled = aot.compile(scripted, inputs=["x:f32[3,4]", "i:int", "k:int"])
    for numbers in ((1, 2), (2, 3), (1, 7), (12, 8), (0, 5), (5, 0), (3, -2), (-1, 6)):
        try:
            expected = flat(scripted(torch.from_numpy(X), *numbers))
        except RuntimeError:
            expected = None
        for call in (compiled, compiled.interpret):
            if expected is None:
                with pytest.raises(AotError):
                    call(X, *numbers)
            else:
                assert flat(call(X, *numbers)) == expected, numbers
