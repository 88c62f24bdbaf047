"""Sort and Scan as machine code against numpy, in any layout, on every width of vectors."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lowering.schedule.rows import rows_of
from lowering.schedule.scan import schedule_scan
from lowering.schedule.sort import schedule_sort
from lowering.schedule.sort_records import network
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.tensor_ir import Scan, Sort, Value
from runtime.dtypes import DType, bf16, f16, f32, f64, i32, i64, to_compute, to_storage
from tests.kernel_memory import NAN, WIDEST, Memory, dtypes, same, sample, targets


# Sort


def sorted_reference(x: np.ndarray, dim: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    """Stable; numpy puts NaN last; descending is the ascending sort of the mirror image."""
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    if not descending:
        at = np.argsort(x, dim, kind="stable")
    else:
        at = x.shape[dim] - 1 - np.flip(
            np.argsort(np.flip(x, dim), dim, kind="stable"), dim)
    return np.take_along_axis(x, at, dim), at


def check_sort(x: np.ndarray, dtype: DType, dim: int, descending: bool, target,
               layout: tuple[int, int, int] = (0, 0, 0), wanted: tuple[int, ...] = (0, 1)) -> None:
    v = Value(x.shape, dtype)
    op = Sort(v, dim, descending)
    memory = Memory()
    memory.place(v, x, layout[0])
    results = [op.results[k] for k in wanted]
    for k in wanted:
        memory.place(op.results[k], None, layout[k + 1])
    memory.run(schedule_sort(op, memory.storages, target, "sort"), target, results)
    expected = sorted_reference(x, dim, descending)
    for k in wanted:
        assert same(memory.get(op.results[k]), expected[k]), (x, k)


@dtypes
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("shape, dim", [((3, 7), 1), ((5, 37), 1)])
def test_sort_every_dtype(dtype, descending, shape, dim):
    check_sort(sample(shape, dtype), dtype, dim, descending, WIDEST)


@targets
@pytest.mark.parametrize("n", [1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 100, 257, 1000])
def test_sort_lengths(target, n):
    check_sort(sample((n,), f32, n), f32, 0, n % 2 == 0, target)
    check_sort(sample((n,), i64, n), i64, 0, n % 2 == 1, target)


@targets
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("layout", [(0, 0, 0), (1, 1, 2), (2, 0, 1)])
def test_sort_dims_and_layouts(target, dim, layout):
    check_sort(sample((3, 21, 18), f32), f32, dim, False, target, layout)


def test_sort_and_scan_divided_among_threads():
    """The outermost loop is parallel, and no two of its iterations share scratch."""
    target = replace(WIDEST, threads=2)
    check_sort(sample((6, 100, 70), f32), f32, 1, False, target)
    check_sort(sample((40, 70, 20), i64), i64, 2, True, target)
    check_scan(sample((6, 100, 70), f32), f32, 1, "max", True, target)
    op, memory = Sort(Value((6, 100, 70), f32), 1, False), Memory()
    for v in (op.x, *op.results):
        memory.place(v)
    (kernel, memories), = schedule_sort(op, memory.storages, target, "sort")
    scratch, = (m for m in memories if m not in memory.arrays)
    assert kernel.parallel is not None and scratch.size >= 6 * 2 * 100


def test_sort_of_one_result():
    check_sort(sample((4, 50), f32), f32, 1, True, WIDEST, wanted=(0,))
    check_sort(sample((4, 50), f64), f64, 1, True, WIDEST, wanted=(1,))


def test_sort_of_a_scalar_and_of_nothing():
    check_sort(np.float32(3.5).reshape(()), f32, 0, False, WIDEST)
    for shape, dim in (((0,), 0), ((3, 0), 0), ((0, 3), 1)):
        v = Value(shape, f32)
        op = Sort(v, dim, False)
        memory = Memory()
        for w in (v, *op.results):
            memory.place(w)
        assert schedule_sort(op, memory.storages, WIDEST, "sort") == []


def test_sort_of_broadcast_rows():
    """A storage may have stride 0: all rows are one."""
    v = Value((3, 20), f32)
    op = Sort(v, 1, False)
    memory = Memory()
    x = sample((20,), f32)
    row = Value((20,), f32)
    memory.place(row, x)
    memory.storages[v] = Storage(memory.storages[row].buffer, (0, 1))
    for w in op.results:
        memory.place(w)
    memory.run(schedule_sort(op, memory.storages, WIDEST, "sort"), WIDEST, op.results)
    expected = sorted_reference(np.broadcast_to(x, (3, 20)), 1, False)
    assert same(memory.get(op.results[0]), expected[0])
    assert same(memory.get(op.results[1]), expected[1])


@pytest.mark.parametrize("n", range(1, 13))
def test_network_sorts_every_sequence_of_zeros_and_ones(n):
    """The zero-one principle: then it sorts everything."""
    x = np.array(list(itertools.product([0, 1], repeat=n)))
    for low, high in network(n):
        a, b = x[:, low].copy(), x[:, high].copy()
        x[:, low], x[:, high] = np.minimum(a, b), np.maximum(a, b)
    assert (np.diff(x, axis=1) >= 0).all()


def test_rows_merge_where_all_storages_agree():
    v, w = Value((4, 5, 6, 7), f32), Value((4, 5, 6, 7), f32)
    dense = Storage(MemoryBuffer(f32, 840, "arena"), (210, 42, 7, 1))
    rows = rows_of([v, w], 3, {v: dense, w: dense})
    assert rows.domain == (120, 7) and rows.storages[0].strides == (7, 1)
    other = Storage(MemoryBuffer(f32, 840, "arena"), (7, 28, 140, 1))
    assert rows_of([v, w], 3, {v: dense, w: other}).domain == (6, 5, 4, 7)


# Scan


def scan_reference(x: np.ndarray, dtype: DType, dim: int, combiner: str):
    """(values, positions), one step at a time, in the accumulator's dtype."""
    wide = np.float64 if dtype is f32 and combiner in ("add", "mul") else (
        np.float32 if dtype in (f16, bf16) else dtype.compute)
    x = np.moveaxis(x.reshape(x.shape or (1,)), dim, 0).astype(wide)
    values, positions = np.zeros_like(x), np.zeros(x.shape, np.int64)
    best, at = None, None
    step = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[combiner]
    for k, row in enumerate(x):
        if k == 0:
            best = row + 0 if combiner == "add" and dtype.is_float else row.copy()
            at = np.zeros(row.shape, np.int64)
        else:
            better = row >= best if combiner == "max" else row <= best
            if dtype.is_float:
                better |= np.isnan(row)
                better &= ~(np.isnan(best) & ~np.isnan(row))
            best, at = step(best, row), np.where(better, k, at)
        values[k], positions[k] = best, at
    return np.moveaxis(values, 0, dim), np.moveaxis(positions, 0, dim)


def check_scan(x: np.ndarray, dtype: DType, dim: int, combiner: str, indices: bool, target,
               layout: tuple[int, int, int] = (0, 0, 0)) -> None:
    v = Value(x.shape, dtype)
    op = Scan(v, dim, combiner, indices)
    memory = Memory()
    memory.place(v, x, layout[0])
    for k, w in enumerate(op.results):
        memory.place(w, None, layout[k + 1])
    memory.run(schedule_scan(op, memory.storages, target, "scan"), target, op.results)
    with np.errstate(all="ignore"):
        expected = scan_reference(x, dtype, dim, combiner)
        rounded = to_compute(to_storage(expected[0].astype(
            np.float32 if dtype is bf16 else dtype.compute), dtype), dtype)
    got = memory.get(op.results[0])
    if dtype.is_float and combiner in ("min", "max"):
        got, rounded = got + 0, rounded + 0  # the extreme of -0.0 and 0.0 is either
    assert same(got, rounded.reshape(x.shape))
    if indices:
        assert same(memory.get(op.results[1]), expected[1].reshape(x.shape))


@dtypes
@pytest.mark.parametrize("combiner", ["add", "mul", "min", "max"])
def test_scan_every_dtype(dtype, combiner):
    check_scan(sample((5, 19), dtype, 1), dtype, 1, combiner, False, WIDEST)
    if combiner in ("min", "max"):
        check_scan(sample((19, 5), dtype, 2), dtype, 0, combiner, True, WIDEST)


@targets
@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("layout", [(0, 0, 0), (1, 1, 2), (2, 0, 1)])
def test_scan_dims_and_layouts(target, dim, layout):
    check_scan(sample((3, 9, 35), f32), f32, dim, "add", False, target, layout)
    check_scan(sample((3, 9, 35), f32), f32, dim, "max", True, target, layout)


@targets
@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 70, 128])
def test_scan_row_counts(target, rows):
    check_scan(sample((rows, 4), i32), i32, 1, "add", False, target)
    check_scan(sample((4, rows), f32), f32, 0, "min", True, target)


def test_scan_keeps_the_last_of_equal_extremes_and_the_last_nan():
    x = np.array([1, 1, NAN, 2, NAN, 5], np.float32)
    check_scan(x, f32, 0, "max", True, WIDEST)
    values, positions = scan_reference(x, f32, 0, "max")
    assert positions.tolist() == [0, 1, 2, 2, 4, 4]  # as PyTorch


def test_scan_sums_f32_in_f64():
    x = np.random.default_rng(0).random(20000).astype(np.float32)
    check_scan(x, f32, 0, "add", False, WIDEST)


def test_scan_of_a_scalar_and_of_nothing():
    check_scan(np.float32(3.5).reshape(()), f32, 0, "add", False, WIDEST)
    v = Value((0, 3), f32)
    op = Scan(v, 0, "add")
    memory = Memory()
    for w in (v, *op.results):
        memory.place(w)
    assert schedule_scan(op, memory.storages, WIDEST, "scan") == []
