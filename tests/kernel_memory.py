"""Memory for kernels under test: tensors in chosen layouts, and what lies between them guarded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llvm_backend.jit import KernelFunction, check_runs_here
from llvm_backend.target import TARGETS, Target
from lowering.schedule.storage import MemoryBuffer, Storage, ordered_strides
from lowering.tensor_ir import Value
from runtime.dtypes import ALL, DType, bool_, to_compute, to_storage
from runtime.errors import TargetError

NAN, INF = float("nan"), float("inf")


def runnable() -> list[Target]:
    """The rows whose code runs here, and one without vectors (as unoptimised lowering uses it)."""
    def ok(t) -> bool:
        try:
            check_runs_here(t)
        except TargetError:
            return False
        return True

    here = [t for t in TARGETS.values() if ok(t)]
    return [*here, *(replace(t, name="scalar", vector_bytes=1) for t in here[:1])]


RUNNABLE = runnable()
WIDEST = max(RUNNABLE, key=lambda t: t.vector_bytes)
targets = pytest.mark.parametrize("target", RUNNABLE, ids=lambda t: t.name)
dtypes = pytest.mark.parametrize("dtype", ALL, ids=str)


def aligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start:start + a.nbytes].view(a.dtype)
    out[...] = a.reshape(-1)
    return out


def layouts(shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """(strides, offset): dense, reversed order, and gaps between all elements."""
    n = len(shape)
    return [
        (ordered_strides(shape, tuple(range(n))), 0),
        (ordered_strides(shape, tuple(reversed(range(n)))), 3),
        (tuple(2 * s for s in ordered_strides(shape, tuple(range(n)))), 5),
    ]


class Memory:
    """Storages of Values and the arrays behind them; what lies between elements must not change."""

    def __init__(self):
        self.storages: dict[Value, Storage] = {}
        self.arrays: dict[MemoryBuffer, np.ndarray] = {}
        self.before: dict[MemoryBuffer, np.ndarray] = {}
        self.rng = np.random.default_rng(1)

    def place(self, v: Value, data: np.ndarray | None = None, layout: int = 0) -> None:
        strides, offset = layouts(v.shape)[layout]
        size = offset + 1 + sum(max(n - 1, 0) * s for n, s in zip(v.shape, strides))
        buffer = MemoryBuffer(v.dtype, size, "arena")
        self.storages[v] = Storage(buffer, strides, offset)
        noise = self.rng.integers(0, 2, size).astype(v.dtype.storage)
        self.arrays[buffer] = aligned(noise)
        if data is not None:
            self.view(v)[...] = to_storage(np.asarray(data, v.dtype.compute), v.dtype)
        self.before[buffer] = self.arrays[buffer].copy()

    def view(self, v: Value) -> np.ndarray:
        s = self.storages[v]
        array = self.arrays[s.buffer]
        return np.lib.stride_tricks.as_strided(
            array[s.offset:], v.shape, tuple(k * array.itemsize for k in s.strides))

    def get(self, v: Value) -> np.ndarray:
        return to_compute(self.view(v).copy(), v.dtype)

    def run(self, kernels, target, results: list[Value]) -> None:
        for kernel, memories in kernels:
            assert [b.dtype for b in kernel.buffers] == [m.dtype for m in memories]
            for m in memories:
                if m not in self.arrays:
                    assert m.space == "arena"
                    self.arrays[m] = aligned(np.zeros(m.size, m.dtype.storage))
            KernelFunction(kernel, target)(*(self.arrays[m] for m in memories))
        for v in results:
            assert self.untouched(v), "wrote between the elements"

    def untouched(self, v: Value) -> bool:
        buffer = self.storages[v].buffer
        after = self.arrays[buffer].copy()
        inside = np.zeros(after.shape, bool)
        s = self.storages[v]
        np.lib.stride_tricks.as_strided(
            inside[s.offset:], v.shape, s.strides)[...] = True
        return np.array_equal(after[~inside], self.before[buffer][~inside])


def sample(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> np.ndarray:
    """Few distinct values, so that ties are common, with every special value of the dtype."""
    rng = np.random.default_rng(seed)
    if dtype is bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_float:
        x = np.round(rng.normal(0, 3, shape)).astype(np.float32)
        special = rng.choice([NAN, INF, -INF, 0.0, -0.0], shape)
        return np.where(rng.random(shape) < 0.3, special, x).astype(dtype.compute)
    low, high = np.iinfo(dtype.storage).min, np.iinfo(dtype.storage).max
    x = rng.integers(max(low, -9), 9, shape, dtype=np.int64).astype(dtype.storage)
    return np.where(rng.random(shape) < 0.3, rng.choice([low, high], shape), x).astype(
        dtype.storage)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal with the sign of zeros; NaN equals NaN."""
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))
