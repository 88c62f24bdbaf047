"""What the back end makes of a register tile: `python benchmarks/register_tile.py [--cpu NAME]`.

C[m, n] = sum over k of A[m, k] B[k, n] for one tile whose accumulators are carried by the loop over
k; B is packed (n contiguous for each k), A packed (m contiguous for each k) or strided (rows of k).
Prints GFLOP/s against the measured peak of fused multiply-adds, and the spills in the loop.
"""

from __future__ import annotations

import argparse
import ctypes
import time

import numpy as np

from llvm_backend.jit import KernelFunction
from llvm_backend.kernel import Kernel, KernelBuilder
from llvm_backend.native import resolve_target
from llvm_backend.target import Target
from runtime.dtypes import f32


def tile_kernel(target: Target, rows: int, columns: int, depth: int, packed: bool,
                unroll: int) -> Kernel:
    """The tile: rows x columns accumulators, columns a multiple of the vector's lanes."""
    lanes = target.lanes(4)
    vectors = columns // lanes
    b = KernelBuilder(f"tile_{rows}x{columns}")
    a_buffer = b.buffer("a", f32, rows * depth, False, 64)
    b_buffer = b.buffer("b", f32, depth * columns, False, 64)
    c_buffer = b.buffer("c", f32, rows * columns, True, 64)
    zero = b.const(0.0, f32, lanes)
    with b.loop(0, depth, carried=[zero] * (rows * vectors), unroll=unroll) as f:
        k = f.counter
        b_index = b.mul(k, columns)
        right = [b.load(b_buffer, b_index, lanes, offset=v * lanes) for v in range(vectors)]
        a_index = b.mul(k, rows) if packed else k
        for r in range(rows):
            left = b.load(a_buffer, a_index, offset=r if packed else r * depth)
            left = b.broadcast(left, lanes)
            for v in range(vectors):
                f.yields.append(b.fma(left, right[v], f.carried[r * vectors + v]))
    for r in range(rows):
        for v in range(vectors):
            b.store(c_buffer, r * columns + v * lanes, f.results[r * vectors + v])
    return b.kernel


def peak_kernel(target: Target, chains: int, depth: int) -> Kernel:
    """Independent chains of fused multiply-adds in registers."""
    lanes = target.lanes(4)
    b = KernelBuilder("peak")
    x = b.buffer("x", f32, lanes, False, 64)
    y = b.buffer("y", f32, lanes * chains, True, 64)
    factor = b.load(x, 0, lanes)
    start = [b.const(float(k), f32, lanes) for k in range(chains)]
    with b.loop(0, depth, carried=start, unroll=4) as f:
        f.yields = [b.fma(v, factor, factor) for v in f.carried]
    for k, v in enumerate(f.results):
        b.store(y, k * lanes, v)
    return b.kernel


def aligned(n: int) -> np.ndarray:
    raw = np.zeros(n + 16, np.float32)
    start = (-raw.ctypes.data // 4) % 16
    return raw[start:start + n]


def seconds(function: KernelFunction, arrays: list[np.ndarray], calls: int = 200) -> float:
    """Best time of one call, which Python's part of a microsecond is in."""
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    best = 1e9
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(calls):
            function.function(*pointers)
        best = min(best, (time.perf_counter() - start) / calls)
    return best


def spills(assembly: str) -> int:
    """Stores of vectors to the stack."""
    return sum("(%rsp)" in line.split(",")[-1] and "mov" in line and "mm" in line
               for line in assembly.splitlines())


def report(target: Target, rows: int, columns: int, depth: int, packed: bool, unroll: int,
           peak: float) -> tuple[float, str]:
    """(share of the peak, the line to print); checks the product."""
    function = KernelFunction(tile_kernel(target, rows, columns, depth, packed, unroll), target)
    a, b, c = aligned(rows * depth), aligned(depth * columns), aligned(rows * columns)
    a[:] = np.random.default_rng(0).standard_normal(a.size)
    b[:] = np.random.default_rng(1).standard_normal(b.size)
    function(a, b, c)
    left = a.reshape(depth, rows).T if packed else a.reshape(rows, depth)
    want = left.astype(np.float64) @ b.reshape(depth, columns)
    assert np.abs(c.reshape(rows, columns) - want).max() < 1e-3
    rate = 2e-9 * rows * columns * depth / seconds(function, [a, b, c])
    return rate / peak, (f"{rows:2}x{columns:2} k={depth} {'packed ' if packed else 'strided'} "
                         f"unroll {unroll}: {rate:6.1f} GFLOP/s, {100 * rate / peak:3.0f} %, "
                         f"{spills(function.assembly)} spills")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", default="native")
    parser.add_argument("--depth", type=int, default=2048)
    options = parser.parse_args()
    target = resolve_target(options.cpu)
    lanes = target.lanes(4)
    chains, depth = 12, 20000
    function = KernelFunction(peak_kernel(target, chains, depth), target)
    peak = 2e-9 * lanes * chains * depth / seconds(
        function, [aligned(lanes), aligned(lanes * chains)], 20)
    print(f"{target.name}: peak {peak:.1f} GFLOP/s")
    shapes = ([(14, 32), (9, 48), (6, 64), (12, 32)] if target.vector_registers == 32
              else [(6, 2 * lanes), (4, 3 * lanes)])
    for rows, columns in shapes:
        for packed in (True, False):
            for unroll in (1, 2, 4):
                print(report(target, rows, columns, options.depth, packed, unroll, peak)[1])


if __name__ == "__main__":
    main()
