"""One engine in a process of its own: `python -m benchmarks.worker ENGINE THREADS [CLOCK]`.

Engines bring thread pools, and settings of the whole process; apart they cannot disturb each other.
Commands come in as JSON, a line each, and so go the answers:

    {"load": FOLDER}      -> {"seconds": ..., "error": ..., "failure": ...}
    {"time": SECONDS}     -> {"times": [seconds of each call]}

CLOCK is a function of the module time: perf_counter, or process_time where others use the machine.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, Call, arrays

_WARM_UP, _WARM_SECONDS = 3, 0.3  # calls at most, and no more of them after so long


def flat(value: Any) -> list[np.ndarray]:
    """The arrays of nested outputs, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in flat(part)]
    return [np.asarray(value)]


def largest_error(found: Any, folder: Path) -> float:
    """Of all outputs: the largest difference from PyTorch's, over the largest magnitude there."""
    wanted, worst = arrays(folder / "expected.npz"), 0.0
    results = flat(found)
    if len(results) < len(wanted):
        return float("inf")
    for x, want in zip(results, wanted):
        if x.size != want.size:
            return float("inf")
        difference = np.abs(x.reshape(want.shape).astype(np.float64) - want).max(initial=0.0)
        error = float(difference) / max(float(np.abs(want).max(initial=0.0)), 1e-30)
        worst = max(worst, error) if error == error else float("inf")
    return worst


def load(engine: str, folder: Path, threads: int) -> tuple[Call, float, float]:
    """The call, seconds until its first answer, and that answer's error."""
    begun = time.perf_counter()
    call = ENGINES[engine](folder, threads)
    first = call()
    seconds = time.perf_counter() - begun
    error = largest_error(first, folder)
    warm = time.perf_counter()
    for _ in range(_WARM_UP):
        call()
        if time.perf_counter() - warm > _WARM_SECONDS:
            break
    return call, seconds, error


def run(call: Call, seconds: float, clock: Callable[[], float]) -> list[float]:
    """Times of calls one after another, for so long; one call at least."""
    times = []
    end = clock() + seconds
    while True:
        begun = clock()
        call()
        now = clock()
        times.append(now - begun)
        if now >= end:
            return times


def main() -> None:
    engine, threads = sys.argv[1], int(sys.argv[2])
    clock = getattr(time, sys.argv[3] if len(sys.argv) > 3 else "perf_counter")
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    call: Call | None = None
    for line in sys.stdin:
        command = json.loads(line)
        if "load" in command:
            call = None  # its memory is not needed beside the next one's
            try:
                call, seconds, error = load(engine, Path(command["load"]), threads)
                answer: dict = {"seconds": seconds, "error": error, "failure": ""}
            except Exception as e:  # a peer may fail in any way: the row says how
                answer = {"seconds": 0.0, "error": 0.0,
                          "failure": f"{type(e).__name__}: {str(e).strip()[:200]}"}
        else:
            seconds = command["time"]
            answer = {"times": run(call, seconds, clock) if call is not None else []}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
