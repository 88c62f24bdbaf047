"""What a call from Python adds to the C call: `python benchmarks/call_overhead.py`.

Each model runs on numpy arrays: in a loop of C over its entry, and called from Python in the ways a
program has. Microseconds of CPU time, the least of many rounds taken by turns; `adds` is Python
less C.
"""

from __future__ import annotations

import ctypes
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

import aot
from runtime.c_compiler import C_FLAGS, run_compiler
from runtime.loader import load_library

ROUNDS, CALLS = 60, 1000
_LOOP = """
#include "aot.h"
#include <time.h>
double seconds(aot_status (*run)(void *, const aot_tensor *, aot_tensor *), void *instance,
               const aot_tensor *inputs, aot_tensor *outputs, int calls) {
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < calls; i++)
        if (run(instance, inputs, outputs) != AOT_OK) return -1;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) * 1e-9;
}
"""


class Cell(aot.nn.Module):
    """Two inputs and two outputs, in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = aot.nn.Linear(4, 4)

    def forward(self, x: aot.Tensor, h: aot.Tensor) -> tuple[aot.Tensor, aot.Tensor]:
        h = aot.tanh(self.linear(x) + h)
        return h, h


class LSTM(aot.nn.Module):
    """Three inputs and three outputs, in nested tuples of results."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = aot.nn.LSTM(8, 8)

    def forward(self, x: aot.Tensor, h: aot.Tensor, c: aot.Tensor) -> Any:
        return self.lstm(x, (h, c))


def models() -> dict[str, tuple[Any, tuple[np.ndarray, ...]]]:
    """Name -> (module, its inputs)."""
    x, r = np.ones((3, 4), np.float32), np.ones((1, 1, 8), np.float32)
    mlp = aot.nn.Sequential(aot.nn.Linear(64, 64), aot.nn.ReLU(), aot.nn.Linear(64, 10))
    return {
        "relu": (aot.nn.ReLU(), (x,)),
        "cell": (Cell(), (x, x)),
        "lstm": (LSTM(), (r, r, r)),
        "mlp": (mlp, (np.ones((1, 64), np.float32),)),
    }


def c_loop(folder: Path) -> Callable[..., float]:
    """The function of _LOOP, compiled in a folder."""
    source, library = folder / "loop.c", folder / "loop.so"
    source.write_text(_LOOP)
    run_compiler([*C_FLAGS, "-D_GNU_SOURCE", "-shared", source, "-o", library], "the benchmark")
    function = ctypes.CDLL(str(library)).seconds
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int]
    return function


def measure(module: Any, args: tuple[np.ndarray, ...], folder: Path,
            loop: Callable[..., float]) -> dict[str, float]:
    """The way of calling -> microseconds a call."""
    compiled = aot.compile(module, args)
    compiled.save(folder / "model.so")
    library = load_library(folder / "model.so")
    (folder / "model.so").unlink()
    ways: dict[str, Callable[..., Any]] = {
        "compiled(x)": compiled,
        "library(x)": library,
        "library.forward(x)": library.forward,
    }
    for call in ways.values():
        call(*args)
    instances = library._instances
    instance = instances.acquire()
    frame = instance.frames[0]
    run = ctypes.cast(instances.c.methods[0].run, ctypes.c_void_p)
    outputs = [np.empty(v.shape, v.dtype.storage) for v in library.forward.description.outputs]
    for cell, array in zip(frame.cells, (*args, *outputs)):
        cell.value = array.ctypes.data

    best = {name: 1e9 for name in ("C", *ways)}
    for _ in range(ROUNDS):
        best["C"] = min(best["C"], loop(run, *frame.addresses, CALLS) / CALLS * 1e6)
        instances.release(instance)
        for name, call in ways.items():
            begun = time.thread_time()
            for _ in range(CALLS):
                call(*args)
            best[name] = min(best[name], (time.thread_time() - begun) / CALLS * 1e6)
        instance = instances.acquire()
    return best


def figures() -> dict[str, dict[str, float]]:
    """Model -> way of calling, C's among them -> microseconds a call."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop = c_loop(folder)
        return {model: measure(module, args, folder, loop)
                for model, (module, args) in models().items()}


def main() -> None:
    for model, best in figures().items():
        c = best.pop("C")
        for way, microseconds in best.items():
            print(f"{model:6} {way:20} {microseconds:6.2f} us, C {c:6.2f} us, "
                  f"adds {microseconds - c:5.2f} us")


if __name__ == "__main__":
    main()
