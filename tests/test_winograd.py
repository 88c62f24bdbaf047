"""Convolutions with fewer multiplications, against the interpreter on the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from llvm_backend.target import TARGETS
from lowering import build as B
from lowering import expr as E
from lowering.interpreter import run_program
from lowering.ops.convolution import conv2d
from lowering.optimize import optimize
from lowering.passes import winograd
from lowering.tensor_ir import Generic, Region, TensorProgram, Value
from lowering.tensor_verify import verify_program
from runtime.dtypes import f32, f64
from tests.compiled_engines import run_compiled

TARGET = TARGETS["x86-64-v4"]


def network(size: tuple[int, ...], channels: tuple[int, ...], padding: int = 1, stride: int = 1,
            dtype=f32) -> tuple[TensorProgram, list[np.ndarray]]:
    """3x3 convolutions with bias and relu, each padding the next, and the sum with the input of the
    last: what follows a convolution in real networks."""
    rng = np.random.default_rng(sum(channels))
    x = rng.uniform(-1, 1, (*size[:-2], channels[0], *size[-2:])).astype(dtype.storage)
    region = Region([Value(x.shape, dtype)])
    with B.collect(region):
        y = before = region.params[0]
        for a, b in zip(channels, channels[1:]):
            before = y
            w = rng.uniform(-1, 1, (b, a, 3, 3)).astype(dtype.storage) / (3 * a)
            bias = B.constant(rng.uniform(-1, 1, b).astype(dtype.storage), dtype)
            y = conv2d(y, B.constant(w, dtype), bias, stride, padding)
            y = B.pointwise(lambda p: E.maximum(p, 0), y)
        if before.shape == y.shape:
            y = B.pointwise(lambda p, q: p + q, y, before)
        region.results = [y]
    return TensorProgram("forward", region, ["x"], "", ""), [x]


def transforms(program: TensorProgram) -> int:
    """How many positions' products the passes made, in all."""
    optimize(program, TARGET, after=lambda name, p: verify_program(p, name))
    return sum(1 for op in program.body.ops if isinstance(op, Generic) and op.combiner == "add"
               and op.domain[:2] in ((6, 6), (4, 4), (6, 4), (4, 6)) and len(op.domain) > 5)


@pytest.mark.parametrize("size", [(1, 8, 8), (2, 8, 12), (1, 6, 8), (1, 8, 6), (3, 10, 6), (8, 4)])
@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_every_tile_equals_the_plain_convolution(size, cpu, monkeypatch) -> None:
    monkeypatch.setattr(winograd, "_pays", lambda found, target: True)
    channels = (5, 17, 17)
    assert transforms(network(size, channels)[0]) >= 2
    program, arrays = network(size, channels)
    expected, = run_program(program, arrays)
    found, = run_compiled(network(size, channels)[0], arrays, True, cpu)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_chosen_where_it_pays() -> None:
    assert transforms(network((1, 56, 56), (64, 64))[0]) >= 1
    assert transforms(network((1, 56, 56), (3, 8))[0]) == 0  # transforms outweigh the product


@pytest.mark.parametrize("size, channels, padding, stride, dtype", [
    ((1, 7, 7), (64, 64), 1, 1, f32),  # 7 is no multiple of a tile
    ((1, 57, 57), (64, 64), 1, 2, f32),
    ((1, 56, 56), (64, 64), 1, 1, f64),
])
def test_left_alone(size, channels, padding, stride, dtype) -> None:
    assert transforms(network(size, channels, padding, stride, dtype)[0]) == 0


def test_error_stays_small_in_deep_channels() -> None:
    program, arrays = network((1, 16, 16), (256, 256))
    expected, = run_program(program, arrays)
    found, = run_compiled(network((1, 16, 16), (256, 256))[0], arrays, True)
    assert np.abs(found - expected).max() <= 2e-5 * np.abs(expected).max()
