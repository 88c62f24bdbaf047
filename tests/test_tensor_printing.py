"""Tensors print digit for digit as PyTorch's do."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()


def both(array: np.ndarray, dtype: str) -> tuple[str, str]:
    theirs = torch.from_numpy(array).to(getattr(torch, dtype))
    ours = aot.from_numpy(array).to(getattr(aot, dtype))
    return repr(ours), repr(theirs)


SHAPES = [(), (0,), (0, 3), (1,), (5,), (12,), (30,), (2, 3), (3, 4, 2), (2, 2, 2, 2), (1001,),
          (40, 40), (7, 200), (3, 1, 5), (11, 11, 11), (1, 0, 4)]
SCALES = [1.0, 10.0, 1e-3, 1e-5, 1e5, 1e9, 1e-12]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_floats(dtype):
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for scale in SCALES:
            for make in (rng.standard_normal, rng.random, lambda s: np.round(rng.normal(0, 9, s))):
                ours, theirs = both(np.asarray(make(shape) * scale), dtype)
                assert ours == theirs, (shape, scale)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool"])
def test_integers(dtype):
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for high in (2, 100, 100000):
            ours, theirs = both(np.asarray(rng.integers(-high, high, shape)), dtype)
            assert ours == theirs, (shape, high)


@pytest.mark.parametrize("values", [
    [0.0, 0.0], [float("nan")], [float("inf"), 1.0], [float("-inf"), 1.5], [float("nan"), 2.0],
    [1e-45], [0.0, 1e-4], [1.0, 1000.0], [1.0, 1001.0], [1.5, 1501.0], [-0.0], [1e8, 1e8 + 8],
    [123456789.0], [-1.0, 2.5, float("inf"), float("nan")], [float("inf")] * 3, [0.1, -100.25],
    [99999.0, 1.0], [-1e10, 1e-10],
])
def test_special_values(values):
    for shape in ((-1,), (1, -1), (-1, 1)):
        ours, theirs = both(np.array(values).reshape(shape), "float32")
        assert ours == theirs


def test_suffixes():
    for n in (3, 9, 10, 11, 12):
        ours, theirs = aot.ones(n), torch.ones(n)
        assert repr(ours.requires_grad_()) == repr(theirs.requires_grad_())
        assert repr(ours * 2.5) == repr(theirs * 2.5)
        assert repr(aot.tanh(ours.double())) == repr(torch.tanh(theirs.double()))
    assert repr([aot.ones(1), aot.zeros(1)]) == repr([torch.ones(1), torch.zeros(1)])


def test_structured_results_and_names():
    ours, theirs = aot.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]])
    assert repr(ours.max(1)) == repr(theirs.max(1))
    assert repr(ours.dtype) == repr(theirs.dtype) and repr(ours.shape) == repr(theirs.shape)
    assert repr(ours.device) == repr(theirs.device) and str(ours.device) == str(theirs.device)
    assert f"{ours[0, 1]:.3f}" == f"{theirs[0, 1]:.3f}"
    assert repr(aot.finfo(aot.float32)) == repr(torch.finfo(torch.float32))


def test_options():
    x = np.linspace(-5, 5000, 60).reshape(6, 10)
    for options in ({"precision": 2}, {"sci_mode": True}, {"sci_mode": False}, {"linewidth": 120},
                    {"threshold": 5}, {"threshold": 5, "edgeitems": 1}, {"profile": "short"}):
        aot.set_printoptions(**options)
        torch.set_printoptions(**options)
        try:
            ours, theirs = both(x, "float32")
            assert ours == theirs, options
        finally:
            aot.set_printoptions(profile="default")
            torch.set_printoptions(profile="default")
