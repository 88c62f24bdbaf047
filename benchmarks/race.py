"""Engines by turns on one row: each runs for a moment, then the next, round after round.

What slows the machine for a while slows all of them, so that ratios hold even where times drift. A
process is stopped while it is not its turn: some engines' threads look for work for 100 ms after
their last, on the core where the next engine's second thread should run.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

ROOT = Path(__file__).resolve().parent.parent


LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Pace:
    """At most so many rounds, of `turn` seconds an engine, and no new one after `seconds`; but
    LEAST_ROUNDS in any case, of a call each where calls are long."""

    rounds: int = 10
    turn: float = 0.05
    seconds: float = 4.0


@dataclass
class Result:
    """One engine on one row with so many threads; times in seconds."""

    engine: str
    threads: int
    load_seconds: float = 0.0
    error: float = 0.0
    failure: str = ""
    times: list[float] = field(default_factory=list, repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def minimum(self) -> float:
        return min(self.times)


class Worker:
    """The other end of benchmarks/worker.py; its process runs only while it is asked."""

    def __init__(self, engine: str, threads: int, clock: str = "perf_counter"):
        self.engine, self.threads = engine, threads
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads),
                       "OPENBLAS_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
                       "PYTHONPATH": os.pathsep.join(
                           [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", engine, str(threads), clock],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment)

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self.tell(command)
        return self.answer()

    def tell(self, command: dict[str, Any]) -> None:
        """Sends a command; the process works on it until it is asked for the answer, or longer."""
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # there is no answer then

    def answer(self) -> dict[str, Any]:
        """The answer to the last command, waited for; then the process is stopped."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"failure": f"the process ended with status {self.process.wait()}",
                    "times": [], "seconds": 0.0, "error": 0.0}
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.send_signal(signal.SIGCONT)
        self.process.wait()


def race(folder: Path, workers: Sequence[Worker], pace: Pace) -> list[Result]:
    """Loads the row in every worker, then lets those that could run it run by turns."""
    for worker in workers:  # all at a time: two cores compile two engines' code
        worker.tell({"load": str(folder)})
    results = []
    for worker in workers:
        answer = worker.answer()
        results.append(Result(worker.engine, worker.threads, answer["seconds"], answer["error"],
                              answer["failure"]))
    running = [(w, r) for w, r in zip(workers, results) if not r.failure]
    begun = time.monotonic()
    for done in range(pace.rounds):
        if done >= LEAST_ROUNDS and time.monotonic() - begun > pace.seconds:
            break
        for worker, result in running:
            answer = worker.ask({"time": pace.turn})
            result.times += answer["times"]
            result.failure = answer.get("failure", "")
        running = [(w, r) for w, r in running if not r.failure]
    return results
