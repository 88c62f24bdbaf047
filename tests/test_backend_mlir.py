"""Kernels as MLIR: upstream's mlir-opt accepts every instruction, loop and memory form we print."""

from __future__ import annotations

import subprocess

from llvm_backend.kernel import COMPARE, Kernel, KernelBuilder, Type
from llvm_backend.print_mlir import print_kernel, print_kernels
from runtime.dtypes import ALL, bf16, bool_, f32, f64
from tests.backend_kernels import (COMPUTE, FLOAT_BINARY, FLOAT_UNARY, INT_BINARY, INT_UNARY,
                                   MATH_BINARY, MATH_UNARY, op_kernel)
from tests.conftest import mlir_opt, needs_mlir_opt


def verify(text: str) -> None:
    done = subprocess.run([mlir_opt(), "-", "-o", "/dev/null"], input=text, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def instructions() -> list[Kernel]:
    """Every op over its dtypes, scalar and vector."""
    kernels = []
    for lanes in (1, 8):
        for d in COMPUTE:
            if d.is_float:
                unary, binary = FLOAT_UNARY + MATH_UNARY, FLOAT_BINARY + MATH_BINARY
            elif d is bool_:
                unary, binary = ("not",), ("and", "or", "xor", "min", "max")
            else:
                unary, binary = INT_UNARY, INT_BINARY
            kernels += [op_kernel(op, d, lanes, 64, 1) for op in unary]
            kernels += [op_kernel(op, d, lanes, 64, 2) for op in (*binary, *COMPARE)]
            kernels += [op_kernel("fma", d, lanes, 64, 3)] if d is not bool_ else []
        kernels += [op_kernel("cast", a, lanes, 64, 1, c) for a in ALL for c in ALL if a is not c]
        kernels += [op_kernel("bitcast", a, lanes, 64, 1, c) for a in COMPUTE for c in COMPUTE
                    if a is not c and a.bits == c.bits and bool_ not in (a, c)]
    b = KernelBuilder("dot2")
    pairs, sums = b.buffer("x", bf16, 32, False), b.buffer("y", f32, 16, True)
    x = b.load(pairs, 0, 32)
    b.store(sums, 0, b.dot2(x, x, b.load(sums, 0, 16)))
    return [*kernels, b.kernel]


def structures() -> list[Kernel]:
    """Memory forms, constants, reductions, loops and branches, for every dtype."""
    kernels = []
    for d in ALL:
        for lanes in (1, 8):
            b = KernelBuilder(f"memory {d}")
            x, y = b.buffer("x", d, 64, False), b.buffer("y", d, 64, True)
            with b.loop(0, 64, 8, "parallel") as f:
                i = f.counter
                mask = b.first_lanes(b.binary("sub", b.const(60), i), lanes)
                v = b.load(x, i, lanes, mask=mask)
                index = b.add(b.iota(lanes), b.broadcast(i, lanes))
                g = b.gather(x, index, mask)
                c = b.const(1, d, lanes)
                b.store(y, i, b.select(mask, v, c), mask=mask, offset=0)
                b.scatter(y, index, g, mask)
                b.store(y, i, b.broadcast(b.extract(v, lanes - 1), lanes), offset=0)
            kernels.append(b.kernel)
    for d in COMPUTE:
        b = KernelBuilder("reduce")
        x, y = b.buffer("x", d, 8, False), b.buffer("y", d, 8, True)
        v = b.load(x, 0, 8)
        combiners = ("add", "mul", "min", "max") + (() if d.is_float else ("and", "or"))
        for k, combine in enumerate(combiners):
            b.store(y, k, b.reduce(combine, v))
        b.store(y, 0, b.emit("shuffle", (v, v), Type(d, 8), lanes=(0, 8, 1, 9, 2, 10, 3, 11)))
        b.store(y, 0, b.iota(8, d) if d is not bool_ else v)
        kernels.append(b.kernel)
    b = KernelBuilder("loops")
    x, y = b.buffer("x", f32, 64, False), b.buffer("y", f32, 64, True)
    special = [b.const(v, f32) for v in (float("inf"), float("-inf"), float("nan"), -0.0, 0.1)]
    with b.loop(0, 64, 4, carried=special[:2]) as f:
        with b.loop(f.counter, b.add(f.counter, 4), 1, "unrolled", [f.carried[0]]) as g:
            g.yields = [b.add(g.carried[0], b.load(x, g.counter))]
        f.yields = [g.results[0], f.carried[1]]
        with b.if_(b.binary("lt", g.results[0], special[4])) as node:
            b.store(y, f.counter, special[2])
        with b.otherwise(node):
            b.store(y, f.counter, special[3], offset=1)
    b.store(y, 0, f.results[1])
    kernels.append(b.kernel)
    return kernels


@needs_mlir_opt
def test_mlir_opt_accepts_every_instruction():
    verify(print_kernels(instructions()))


@needs_mlir_opt
def test_mlir_opt_accepts_every_structure():
    verify(print_kernels(structures()))


def test_a_kernel_prints_stably():
    kernel = op_kernel("exp", f32, 8, 64, 1)
    assert print_kernel(kernel) == """\
  func.func @exp_f32_8_f32(%b0: memref<64xf32>, %b1: memref<64xf32>) {
    %v1 = arith.constant 0 : i64
    %v2 = arith.constant 64 : i64
    %v3 = arith.index_cast %v1 : i64 to index
    %v4 = arith.index_cast %v2 : i64 to index
    %v5 = arith.constant 8 : index
    scf.for %v6 = %v3 to %v4 step %v5 {
      %v7 = arith.index_cast %v6 : index to i64
      %v8 = arith.index_cast %v7 : i64 to index
      %v9 = vector.load %b0[%v8] : memref<64xf32>, vector<8xf32>
      %v10 = math.exp %v9 : vector<8xf32>
      %v11 = arith.index_cast %v7 : i64 to index
      vector.store %v10, %b1[%v11] : memref<64xf32>, vector<8xf32>
    }
    return
  }
"""


def test_functions_without_an_upstream_name_print_expanded():
    text = print_kernel(op_kernel("lgamma", f64, 8, 64, 1))
    assert "lgamma" not in text.replace("@lgamma", "") and "math.fma" in text


def test_printing_leaves_the_kernel_alone():
    kernel = op_kernel("erfinv", f64, 8, 64, 1)
    before = print_kernel(kernel)
    assert print_kernel(kernel) == before
    assert any(s.op == "erfinv" for s in kernel.body[-1].body)
