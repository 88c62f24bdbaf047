"""Copies that change the innermost dim, as machine code; shuffles; what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llvm_backend.jit import KernelFunction
from llvm_backend.kernel import KernelBuilder
from lowering import expr as E
from lowering.schedule.nest import Nest
from lowering.schedule.storage import MemoryBuffer, Storage, ordered_strides
from lowering.schedule.transpose import transpose_nest, transpose_registers
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bf16, bool_, f16, f32, f64, i64, u8
from tests.kernel_memory import RUNNABLE, WIDEST, Memory, aligned, dtypes, same, sample, targets


def copy_nest(shape: tuple[int, ...], source: Storage, target: Storage) -> Nest:
    i = E.identity(len(shape))
    return Nest(shape, len(shape), E.load(source.buffer, [source.address(i)]), None, None,
                target.buffer, target.address(i))


def check_copy(shape: tuple[int, ...], order: tuple[int, ...], dtype: DType, target,
               gap: int = 1, offset: int = 0) -> None:
    """out (dense) = x, whose dims lie in memory in `order`, `gap` elements apart."""
    x, out = Value(shape, dtype), Value(shape, dtype)
    memory = Memory()
    memory.place(x)
    memory.place(out)
    strides = list(ordered_strides(shape, order))
    outer = [d for d in order[:-1]]
    for d in outer:
        strides[d] += gap * int(np.prod([shape[k] for k in order[:order.index(d)]], initial=1))
    size = offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    buffer = MemoryBuffer(dtype, size, "arena")
    memory.storages[x] = Storage(buffer, tuple(strides), offset)
    memory.arrays[buffer] = aligned(np.zeros(size, dtype.storage))
    data = sample(shape, dtype)
    memory.view(x)[...] = 0
    if dtype is not bf16:
        memory.view(x)[...] = data
    else:
        memory.view(x)[...] = np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)
    expected = memory.get(x)
    scheduled = transpose_nest(copy_nest(shape, memory.storages[x], memory.storages[out]), target,
                               "move")
    assert scheduled is not None
    memory.run([scheduled], target, [out])
    assert same(memory.get(out), expected)


@dtypes
def test_every_dtype(dtype):
    check_copy((50, 41), (1, 0), dtype, WIDEST)


vectors = pytest.mark.parametrize(
    "target", [t for t in RUNNABLE if t.vector_bytes > 1], ids=lambda t: t.name)


@vectors
@pytest.mark.parametrize("rows", [4, 5, 7, 8, 16, 17, 33, 300])
@pytest.mark.parametrize("columns", [4, 15, 32, 47])
def test_sizes(target, rows, columns):
    check_copy((rows, columns), (1, 0), f32, target)


@vectors
@pytest.mark.parametrize("shape, order", [
    ((2, 8, 5, 7), (0, 2, 3, 1)), ((2, 5, 7, 8), (0, 3, 1, 2)), ((6, 1, 9, 1), (2, 1, 3, 0)),
    ((3, 4, 20, 6), (0, 1, 3, 2)), ((5, 6, 7), (2, 1, 0)),
])
def test_dims_offsets_and_gaps(target, shape, order):
    check_copy(shape, order, f32, target)
    check_copy(shape, order, f16, target, 3, 5)
    check_copy(shape, order, i64, target, 1, 2)


@pytest.mark.parametrize("shape, order", [((3, 150, 130), (0, 2, 1)), ((300, 150), (1, 0))])
def test_divided_among_threads(shape, order):
    check_copy(shape, order, f32, replace(WIDEST, threads=2))


@targets
@pytest.mark.parametrize("dtype", [u8, f16, f32, f64])
@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32])
def test_registers(target, dtype, lanes):
    """Any square of registers, wider than the target's included."""
    b = KernelBuilder("square")
    size = lanes * lanes
    source, out = b.buffer("x", dtype, size, False), b.buffer("y", dtype, size, True)
    rows = [b.load(source, k * lanes, lanes) for k in range(lanes)]
    for k, v in enumerate(transpose_registers(b, rows)):
        b.store(out, k * lanes, v)
    x = aligned(np.arange(size).astype(dtype.storage))
    y = aligned(np.zeros(size, dtype.storage))
    KernelFunction(b.kernel, target)(x, y)
    assert np.array_equal(y.reshape(lanes, lanes), x.reshape(lanes, lanes).T)


@pytest.mark.parametrize("dtype", [bool_, f16, f32])
def test_shuffle_picks_from_both(dtype):
    b = KernelBuilder("pick")
    x, y = b.buffer("x", dtype, 8, False), b.buffer("y", dtype, 6, True)
    lanes = (7, 0, 3, 4, 4, 1)
    b.store(y, 0, b.shuffle(b.load(x, 0, 4), b.load(x, 4, 4), lanes))
    data, out = aligned(sample((8,), dtype)), aligned(np.zeros(6, dtype.storage))
    KernelFunction(b.kernel, WIDEST)(data, out)
    assert same(out, data[list(lanes)])


def storage(shape: tuple[int, ...], order: tuple[int, ...]) -> Storage:
    return Storage(MemoryBuffer(f32, int(np.prod(shape)), "arena"), ordered_strides(shape, order))


def test_what_does_not_fit():
    a, c = storage((8, 8), (1, 0)), storage((8, 8), (0, 1))
    fits = copy_nest((8, 8), a, c)
    assert transpose_nest(fits, WIDEST, "t") is not None
    assert transpose_nest(copy_nest((8, 8), c, c), WIDEST, "t") is None, "a plain copy"
    scalar = replace(WIDEST, vector_bytes=1)
    assert transpose_nest(fits, scalar, "t") is None, "no vectors"
    narrow = copy_nest((8, 3), storage((8, 3), (1, 0)), storage((8, 3), (0, 1)))
    assert transpose_nest(narrow, WIDEST, "t") is None, "too narrow"
    outer = copy_nest((8, 9, 8), storage((8, 9, 8), (1, 0, 2)), storage((8, 9, 8), (0, 1, 2)))
    assert transpose_nest(outer, WIDEST, "t") is None, "both sides step by one along the last dim"
    x = fits.body
    summed = Nest((8, 8), 2, x + 1.0, None, None, c.buffer, fits.address)
    assert transpose_nest(summed, WIDEST, "t") is None, "not a copy"
    reduced = Nest((8, 8), 1, x, "add", None, c.buffer, E.index(0))
    assert transpose_nest(reduced, WIDEST, "t") is None, "a reduction"
    flipped = Nest((8, 8), 2, E.load(a.buffer, [E.index(0) % 5 + E.index(1) * 8]), None, None,
                   c.buffer, fits.address)
    assert transpose_nest(flipped, WIDEST, "t") is None, "not affine"
