"""A register tile stays in registers: what every matrix product and convolution stands on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks.register_tile import aligned, spills, tile_kernel
from llvm_backend import codegen
from llvm_backend.emit_kernel import attributes, emit_kernel
from llvm_backend.jit import KernelFunction, check_runs_here
from llvm_backend.target import TARGETS
from runtime.errors import TargetError

TILES = [("x86-64-v4", 14, 32), ("x86-64-v4", 6, 64), ("x86-64-v3", 6, 16), ("aarch64", 6, 16)]


@pytest.mark.parametrize("packed", (True, False), ids=("packed", "strided"))
@pytest.mark.parametrize("name,rows,columns", TILES)
def test_accumulators_are_not_spilled(name, rows, columns, packed):
    """One fused multiply-add an accumulator in the loop, and nothing of it on the stack."""
    target = TARGETS[name]
    kernel = tile_kernel(target, rows, columns, 256, packed, 1)
    module = codegen.parse(emit_kernel(kernel, target, "tile", "dso_local") + attributes(target))
    machine = codegen.machine_of(target)
    codegen.optimise(module, machine)
    text = codegen.assembly(module, machine)
    assert spills(text) == 0
    vectors = columns // target.lanes(4)
    assert len(re.findall(r"^\s+(?:vfmadd\w+ps|fmla)\s", text, re.M)) == rows * vectors


@pytest.mark.parametrize("unroll", (1, 4))
@pytest.mark.parametrize("name,rows,columns", TILES[:3])
def test_tile_computes_the_product(name, rows, columns, unroll):
    target = TARGETS[name]
    try:
        check_runs_here(target)
    except TargetError as e:
        pytest.skip(str(e))
    depth = 37
    function = KernelFunction(tile_kernel(target, rows, columns, depth, True, unroll), target)
    a, b, c = aligned(rows * depth), aligned(depth * columns), aligned(rows * columns)
    a[:] = np.random.default_rng(0).standard_normal(a.size)
    b[:] = np.random.default_rng(1).standard_normal(b.size)
    function(a, b, c)
    want = a.reshape(depth, rows).T.astype(np.float64) @ b.reshape(depth, columns)
    np.testing.assert_allclose(c.reshape(rows, columns), want, rtol=1e-4, atol=1e-5)
