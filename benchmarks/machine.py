"""What the machine can do at most: multiply-adds a second, and bytes read a second.

Measured by kernels of this project's back end, on as many threads as a row is run with. No model
can be faster than its arithmetic at that rate, nor than its weights read once, where they are too
large to stay in a cache.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.register_tile import peak_kernel
from llvm_backend.jit import KernelFunction
from llvm_backend.kernel import Kernel, KernelBuilder
from llvm_backend.native import native_target
from llvm_backend.target import Target
from runtime.dtypes import f32

_CHAINS, _DEPTH = 12, 5_000_000  # some 7 ms, beside which a thread's start is nothing
_FLOATS = 1 << 26  # 256 MB: no cache holds them
_WAYS = 8


@dataclass(frozen=True)
class Wall:
    """flops and bytes a second; `cache` is the size of the last cache in bytes."""

    flops: float
    bandwidth: float
    cache: int

    def seconds(self, flops: int, weight_bytes: int) -> float:
        """The least time for so much arithmetic, and weights that stand in memory."""
        read = weight_bytes / self.bandwidth if weight_bytes > self.cache else 0.0
        return max(flops / self.flops, read)


def reading_kernel(target: Target, floats: int) -> Kernel:
    """Sums of `floats` elements, in several running vectors."""
    lanes = target.lanes(4)
    b = KernelBuilder("reading")
    x = b.buffer("x", f32, floats, False, 64)
    y = b.buffer("y", f32, lanes * _WAYS, True, 64)
    start = [b.const(0.0, f32, lanes)] * _WAYS
    with b.loop(0, floats, lanes * _WAYS, carried=start) as f:
        f.yields = [b.binary("add", v, b.load(x, f.counter, lanes, offset=k * lanes))
                    for k, v in enumerate(f.carried)]
    for k, v in enumerate(f.results):
        b.store(y, k * lanes, v)
    return b.kernel


def _aligned(n: int) -> np.ndarray:
    raw = np.ones(n + 16, np.float32)
    start = (-raw.ctypes.data // 4) % 16
    return raw[start:start + n]


class Machine:
    """The two kernels, compiled once, to be run again and again during a run of benchmarks."""

    def __init__(self, cpu_time: bool = False) -> None:
        self.clock = time.thread_time if cpu_time else time.perf_counter
        self.target = native_target()
        self.lanes = self.target.lanes(4)
        self._peak = KernelFunction(peak_kernel(self.target, _CHAINS, _DEPTH), self.target)
        self._data = _aligned(_FLOATS)
        self._readers = {
            n: KernelFunction(reading_kernel(self.target, _FLOATS // n), self.target)
            for n in (1, 2)}
        self._best: dict[tuple[str, int], float] = {}

    def measure(self, threads: int) -> Wall:
        """The best of all measurements until now."""
        results = [_aligned(self.lanes * max(_CHAINS, _WAYS)) for _ in range(threads)]
        factor = _aligned(self.lanes)
        factor[:] = 0.5  # the chains must not overflow
        flops = 2 * self.lanes * _CHAINS * _DEPTH * threads
        peak = self._peak
        self._record("flops", flops, [
            (peak, [factor, results[k]]) for k in range(threads)])
        share = _FLOATS // threads
        reader = self._reader(threads)
        self._record("bytes", 4 * _FLOATS, [
            (reader, [self._data[k * share:(k + 1) * share], results[k]]) for k in range(threads)])
        return Wall(self._best["flops", threads], self._best["bytes", threads], self.target.l3)

    def _reader(self, threads: int) -> KernelFunction:
        if threads not in self._readers:
            self._readers[threads] = KernelFunction(
                reading_kernel(self.target, _FLOATS // threads), self.target)
        return self._readers[threads]

    def _record(self, what: str, amount: float,
                jobs: list[tuple[KernelFunction, list[np.ndarray]]]) -> None:
        seconds = min(_together(jobs, self.clock) for _ in range(3))
        key = what, len(jobs)
        self._best[key] = max(self._best.get(key, 0.0), amount / seconds)


def _together(jobs: list[tuple[KernelFunction, list[np.ndarray]]],
              clock: Callable[[], float]) -> float:
    """The longest of all jobs, begun at one time, a thread each; ctypes releases the GIL."""
    calls = [(f.function, [ctypes.c_void_p(a.ctypes.data) for a in arrays])
             for f, arrays in jobs]
    start = threading.Barrier(len(calls))
    seconds = []

    def work(function: Callable[..., None], pointers: list[ctypes.c_void_p]) -> None:
        start.wait()
        begun = clock()
        function(*pointers)
        seconds.append(clock() - begun)

    threads = [threading.Thread(target=work, args=call) for call in calls]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return max(seconds)
