"""Where a compiled model's time goes: `python benchmarks/profile_kernels.py MODEL.pt [--top N]`.

Runs the kernels of the method one by one on random inputs and prints, for each distinct kernel, its
calls, milliseconds, share, GFLOP/s, and the size of its buffers. Serial; CPU time of this thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import aot
from llvm_backend.artifact import aligned_bytes
from llvm_backend.jit import KernelLibrary
from llvm_backend.program import Call, Copy, HostStmt, Program, Slot
from llvm_backend.target import Target


class Memory:
    """The memories of one run of one method, and pointers into them."""

    def __init__(self, program: Program):
        method = program.methods[0]
        rng = np.random.default_rng(0)
        self.constants = aligned_bytes(program.constants, program.constant_bytes)
        self.arena = self._zeros(program.arena_bytes)
        self.state = self._zeros(program.state_bytes)
        self.inputs, self.outputs = [], []
        for v in method.inputs:
            data = rng.standard_normal(v.shape) if v.dtype.is_float else rng.integers(0, 2, v.shape)
            self.inputs.append(np.ascontiguousarray(data.astype(v.dtype.storage)))
        for v in method.outputs:
            self.outputs.append(np.zeros(v.shape, v.dtype.storage))

    @staticmethod
    def _zeros(size: int) -> np.ndarray:
        raw = np.zeros(size + 64, np.uint8)
        start = -raw.ctypes.data % 64
        return raw[start:start + size]

    def address(self, s: Slot) -> int:
        whole = {"arena": self.arena, "constant": self.constants, "state": self.state}
        if s.space in whole:
            return whole[s.space].ctypes.data + s.offset
        arrays = self.inputs if s.space == "input" else self.outputs
        return arrays[s.index].ctypes.data + s.offset


def profile(program: Program, target: Target, runs: int) -> list[tuple[float, int, Call, str]]:
    """(best seconds of all calls together, calls, one of the calls, symbol) for each kernel."""
    kernels = program.kernels()
    library = KernelLibrary(kernels, target)
    functions = {id(k): f for k, f in zip(kernels, library.functions)}
    memory = Memory(program)
    calls = straight(program.methods[0].body)
    pointers = [[memory.address(s) for s in c.slots] for c in calls]
    best = [1e9] * len(calls)
    for _ in range(runs):
        for n, (call, addresses) in enumerate(zip(calls, pointers)):
            f = functions[id(call.kernel)]
            extra = () if f._trips is None else (0, f._trips)
            start = time.thread_time()
            f.function(*addresses, *extra)
            best[n] = min(best[n], time.thread_time() - start)
    rows: dict[int, tuple[float, int, Call, str]] = {}
    names = {id(k): f"k{n}" for n, k in enumerate(kernels)}
    for call, seconds in zip(calls, best):
        total, count, _, _ = rows.get(id(call.kernel), (0.0, 0, call, ""))
        rows[id(call.kernel)] = (total + seconds, count + 1, call, names[id(call.kernel)])
    return sorted(rows.values(), key=lambda r: -r[0])


def straight(body: list[HostStmt]) -> list[Call]:
    """The calls of a body without branches; loops and branches are left out, with a word."""
    calls = [s for s in body if isinstance(s, Call)]
    rest = sum(not isinstance(s, (Call, Copy)) for s in body)
    if rest:
        print(f"{rest} branches, loops and checks are left out")
    return calls


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    compiled = aot.compile(str(options.model))
    program, target = compiled.lowered.program, compiled.lowered.target
    rows = profile(program, target, options.runs)
    whole = sum(r[0] for r in rows)
    print(f"{whole * 1e3:.3f} ms in {sum(r[1] for r in rows)} calls of {len(rows)} kernels")
    for seconds, count, call, name in rows[:options.top]:
        sizes = " ".join(f"{b.dtype}[{b.size}]" for b in call.kernel.buffers)
        rate = call.kernel.flops * count / seconds * 1e-9
        print(f"{seconds * 1e3:8.3f} ms {100 * seconds / whole:5.1f} % {count:3}x "
              f"{rate:7.1f} GFLOP/s {name:5} {call.kernel.name[:40]:40} {sizes[:80]}")


if __name__ == "__main__":
    main()
