"""Loads, stores, masks, gathers, loops, branches through LLVM; no code calls a library."""

from __future__ import annotations

import re

import numpy as np
import pytest

from llvm_backend import codegen
from llvm_backend.emit_kernel import attributes, emit_kernel, trip_count
from llvm_backend.expand_math import expand_math
from llvm_backend.jit import KernelLibrary
from llvm_backend.kernel import COMPARE, KernelBuilder
from llvm_backend.target import TARGETS
from runtime import dtypes
from runtime.dtypes import ALL, bool_, f32, i64
from tests.backend_kernels import (COMPUTE, FLOAT_BINARY, FLOAT_UNARY, INT_BINARY, INT_UNARY,
                                   MATH_BINARY, MATH_UNARY, op_kernel)
from tests.test_backend_ops import target, values

__all__ = ["target"]  # a fixture
SIZE = 67


def data(dtype, seed=0, n=SIZE):
    return values(dtype, seed, n=200)[:n].copy()


def same_bits(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("lanes", (1, 3, 8, 16))
def test_masked_copy_touches_only_true_lanes(target, lanes):
    """Rows of SIZE elements, the last vector cut by a mask: what lies behind stays as it was."""
    kernels = []
    for d in ALL:
        b = KernelBuilder("copy")
        x, y = b.buffer("x", d, SIZE, False), b.buffer("y", d, SIZE, True)
        with b.loop(0, SIZE, lanes) as f:
            left = b.binary("sub", b.const(SIZE), f.counter)
            mask = b.first_lanes(left, lanes)
            b.store(y, f.counter, b.load(x, f.counter, lanes, mask=mask), mask=mask)
        kernels.append(b.kernel)
    for d, function in zip(ALL, KernelLibrary(kernels, target).functions):
        x, y = data(d), data(d, 1, SIZE + 20)
        behind = y[SIZE:].copy()
        function(x, y)
        same_bits(y[:SIZE], x)
        same_bits(y[SIZE:], behind)


@pytest.mark.parametrize("lanes", (1, 5, 16))
def test_gather_and_scatter(target, lanes):
    """y[p[i]] = x[p[i] + 1] where allowed; the index of a false lane may be anything."""
    n = 80
    kernels = []
    for d in ALL:
        b = KernelBuilder("gather")
        x, y = b.buffer("x", d, n + 1, False), b.buffer("y", d, n, True)
        p, m = b.buffer("p", i64, n, False), b.buffer("m", bool_, n, False)
        with b.loop(0, n, lanes) as f:
            index = b.load(p, f.counter, lanes)
            mask = b.load(m, f.counter, lanes)
            one = b.const(1, i64, lanes)
            b.scatter(y, index, b.gather(x, b.add(index, one), mask), mask)
        kernels.append(b.kernel)
    rng = np.random.default_rng(0)
    p, m = rng.permutation(n).astype(np.int64), rng.integers(0, 2, n).astype(np.bool_)
    wild = np.where(m, p, 1 << 60)
    for d, function in zip(ALL, KernelLibrary(kernels, target).functions):
        x, y = data(d, 2, n + 1), data(d, 3, n)
        want = y.copy()
        want[p[m]] = x[p[m] + 1]
        function(x, y, wild, m)
        same_bits(y, want)


def test_scatter_to_equal_indices_keeps_the_last_lane(target):
    b = KernelBuilder("last")
    x, y = b.buffer("x", f32, 8, False), b.buffer("y", f32, 2, True)
    b.scatter(y, b.binary("irem", b.iota(8), b.const(2, i64, 8)), b.load(x, 0, 8))
    y_data = np.zeros(2, np.float32)
    KernelLibrary([b.kernel], target).functions[0](np.arange(8, dtype=np.float32), y_data)
    np.testing.assert_array_equal(y_data, [6, 7])


def test_offsets_may_lead_back_into_the_buffer(target):
    """index -3 with offset 5, and aligned loads where the index is a known multiple."""
    b = KernelBuilder("offsets")
    x, y = b.buffer("x", f32, 64, False, 64), b.buffer("y", f32, 64, True, 64)
    start = b.buffer("s", i64, 1, False)
    b.store(y, 0, b.load(x, b.load(start, 0), 16, offset=5))
    with b.loop(16, 64, 16) as f:
        b.store(y, f.counter, b.load(x, f.counter, 16))
    raw = np.zeros(200, np.float32)
    at = (-raw.ctypes.data // 4) % 16
    x_data, y_data = raw[at:at + 64], raw[at + 64:at + 128]
    x_data[:] = np.arange(64)
    KernelLibrary([b.kernel], target).functions[0](x_data, y_data, np.array([-3]))
    np.testing.assert_array_equal(y_data[:16], np.arange(2, 18))
    np.testing.assert_array_equal(y_data[16:], np.arange(16, 64))


def test_a_prefetch_is_a_hint_that_may_lead_beyond_the_end(target):
    b = KernelBuilder("hint")
    x, y = b.buffer("x", f32, SIZE, False), b.buffer("y", f32, SIZE, True)
    with b.loop(0, SIZE) as f:
        b.prefetch(x, f.counter, 1 << 20)
        b.store(y, f.counter, b.load(x, f.counter))
    library = KernelLibrary([b.kernel], target)
    source, found = data(f32), np.zeros(SIZE, np.float32)
    library.functions[0](source, found)
    same_bits(found, source)
    if "x86_64" in target.triple:
        assert "prefetcht1" in library.assembly()


@pytest.mark.parametrize("kind,unroll", (("serial", 1), ("serial", 3), ("serial", 4),
                                         ("unrolled", 1)))
def test_carried_values(target, kind, unroll):
    """Sum and product of lo, lo + step ... < hi; constant bounds, some without iterations."""
    bounds = [(0, 10, 1), (0, 10, 3), (5, 5, 1), (7, 2, 1), (-4, 9, 4), (0, 1, 7)]
    kernels = []
    for lo, hi, step in bounds:
        b = KernelBuilder("fold")
        y = b.buffer("y", i64, 3, True)
        with b.loop(lo, hi, step, kind, [b.const(0), b.const(1), b.const(-1)], unroll) as f:
            total, product, _ = f.carried
            f.yields = [b.add(total, f.counter), b.mul(product, b.add(f.counter, 9)), total]
        for k, r in enumerate(f.results):
            b.store(y, k, r)
        kernels.append(b.kernel)
    for (lo, hi, step), function in zip(bounds, KernelLibrary(kernels, target).functions):
        y = np.zeros(3, np.int64)
        function(y)
        total, product, before = 0, 1, -1
        for i in range(lo, hi, step):
            total, product, before = total + i, product * (i + 9), total
        np.testing.assert_array_equal(y, [total, product, before], err_msg=f"{lo} {hi} {step}")


def test_loop_with_computed_bounds_in_a_loop(target):
    """Prefix sums of rows whose length is loaded: 0, negative and positive."""
    b = KernelBuilder("ragged")
    ends, y = b.buffer("ends", i64, 6, False), b.buffer("y", i64, 6, True)
    with b.loop(0, 6) as rows:
        with b.loop(1, b.load(ends, rows.counter), carried=[b.const(100)]) as f:
            f.yields = [b.add(f.carried[0], f.counter)]
        b.store(y, rows.counter, f.results[0])
    ends_data, y_data = np.array([0, -5, 1, 2, 3, 50]), np.zeros(6, np.int64)
    KernelLibrary([b.kernel], target).functions[0](ends_data, y_data)
    np.testing.assert_array_equal(y_data, [100 + sum(range(1, e)) for e in ends_data])


def test_branches(target):
    b = KernelBuilder("branches")
    x, y = b.buffer("x", i64, 20, False), b.buffer("y", i64, 20, True)
    with b.loop(0, 20) as f:
        v = b.load(x, f.counter)
        with b.if_(b.binary("lt", v, 0)) as node:
            b.store(y, f.counter, b.unary("neg", v))
        with b.otherwise(node):
            with b.if_(b.binary("gt", v, 5)):
                b.store(y, f.counter, b.const(5))
    x_data, y_data = np.arange(-10, 10), np.full(20, 77)
    KernelLibrary([b.kernel], target).functions[0](x_data, y_data)
    np.testing.assert_array_equal(y_data, np.where(x_data < 0, -x_data,
                                                   np.where(x_data > 5, 5, 77)))


def test_parallel_loop_runs_any_range(target):
    b = KernelBuilder("parallel")
    y = b.buffer("y", i64, 40, True)
    with b.loop(3, 40, 4, "parallel") as f:
        b.store(y, f.counter, b.mul(f.counter, 2))
    assert trip_count(b.kernel) == 10
    function = KernelLibrary([b.kernel], target).functions[0].function
    y_data = np.zeros(40, np.int64)
    for begin, end in ((4, 7), (9, 10), (2, 2), (5, 1)):
        function(y_data.ctypes.data, begin, end)
    done = [3 + 4 * k for k in (4, 5, 6, 9)]
    np.testing.assert_array_equal(y_data, [2 * i if i in done else 0 for i in range(40)])


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("lanes", (1, 8))
def test_no_instruction_becomes_a_call(name, lanes):
    """Neither libm nor compiler-rt nor anything else, on any target, AArch64 included."""
    target = TARGETS[name]
    kernels = []
    for d in COMPUTE:
        if d.is_float:
            unary, binary = FLOAT_UNARY + MATH_UNARY, FLOAT_BINARY + MATH_BINARY
            kernels.append(op_kernel("fma", d, lanes, 64, 3))
        else:
            unary, binary = ((), ()) if d is bool_ else (INT_UNARY, INT_BINARY)
        kernels += [op_kernel(op, d, lanes, 64, 1) for op in unary]
        kernels += [op_kernel(op, d, lanes, 64, 2) for op in (*binary, *COMPARE)]
    kernels += [op_kernel("cast", a, lanes, 64, 1, c) for a in ALL for c in ALL if a is not c]
    text = "\n".join([*(emit_kernel(expand_math(k, target), target, f"k{n}", "dso_local")
                        for n, k in enumerate(kernels)), attributes(target)])
    machine = codegen.machine_of(target)
    module = codegen.parse(text)
    codegen.optimise(module, machine)
    assembly = codegen.assembly(module, machine)
    assert not re.findall(r"^\s+(?:callq?|bl|jmp\s+[a-z_]+f?@PLT)\s.*", assembly, re.M)


def test_dtypes_are_all_covered():
    assert set(COMPUTE) | {dtypes.f16, dtypes.bf16} == set(ALL)
