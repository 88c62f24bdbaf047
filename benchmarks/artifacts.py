"""What an artifact costs: seconds and memory to compile, bytes, cold start, memory of a process.

The command line does the work, in processes that are measured from outside; the standalone program
(`--emit exe`) is the C process that is started cold.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import aot
from benchmarks.engines import arguments, arrays
from benchmarks.race import ROOT
from tests.conformance.launcher import Launcher

COLD_STARTS = 7


@dataclass(frozen=True)
class Cost:
    """Seconds; bytes. `resident` is the C process's peak, `call_overhead` what a call from Python
    takes more than the same call in C."""

    compile_seconds: float
    compile_memory: int
    object_bytes: int
    code_bytes: int
    constant_bytes: int
    arena_bytes: int
    cold_start: float
    resident: int
    call_seconds: float
    call_overhead: float

    def as_dict(self) -> dict:
        return asdict(self)


def measure(folder: Path, launcher: Launcher) -> Cost:
    """Compiles the row's archive for one thread and runs it. RuntimeError where a step fails."""
    work = folder / "artifact"
    work.mkdir(exist_ok=True)
    words = _input_words(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    compiler = [sys.executable, "-m", "aot.cli", str(folder / "model.pt"), "--name", "m",
                "--no-cache"]
    for word in words:
        compiler += ["--input", word]
    done = launcher.run([*compiler, "-o", str(work / "m")], str(work), environment)
    if done.status:
        raise RuntimeError(done.messages[-500:])
    linked = launcher.run([*compiler, "--emit", "exe", "-o", str(work / "exe")], str(work),
                          environment)
    if linked.status:
        raise RuntimeError(linked.messages[-500:])
    files = []
    for k, array in enumerate(arrays(folder / "inputs.npz")):
        files.append(str(work / f"in{k}.npy"))
        np.save(files[-1], np.ascontiguousarray(array))
    command = [str(work / "exe"), "-o", str(work / "out"), *files]
    runs = [launcher.run(command, str(work), environment) for _ in range(COLD_STARTS)]
    if any(r.status for r in runs):
        raise RuntimeError(runs[0].messages[-500:])
    c_call = _bench(command[0], files, work)
    facts = json.loads(subprocess.run(
        [sys.executable, "-m", "benchmarks.artifacts", str(folder)], cwd=ROOT, check=True,
        capture_output=True, text=True, env=environment).stdout.splitlines()[-1])
    return Cost(
        compile_seconds=done.seconds, compile_memory=int(done.megabytes * 2**20),
        object_bytes=(work / "m.o").stat().st_size, code_bytes=facts["code"],
        constant_bytes=facts["constants"], arena_bytes=facts["arena"],
        cold_start=statistics.median(r.seconds for r in runs),
        resident=int(statistics.median(r.megabytes for r in runs) * 2**20),
        call_seconds=c_call, call_overhead=facts["python_call"] - c_call)


def _input_words(folder: Path) -> list[str]:
    """--input for archives that carry no example."""
    constants = json.loads((folder / "row.json").read_text())["constants"]
    tensors = iter(arrays(folder / "inputs.npz"))
    words = []
    for k, constant in enumerate(constants):
        if constant is None:
            words.append(f"x{k}:f32[{','.join(map(str, next(tensors).shape))}]")
        else:
            words.append(f"x{k}:int={constant}")
    return words


def _bench(program: str, files: list[str], work: Path) -> float:
    """The program's own median of a call, in seconds."""
    out = subprocess.run([program, "--bench", "50", "-o", str(work / "out"), *files],
                         capture_output=True, text=True, check=True).stdout
    found = re.search(r"median ([0-9.]+) ms", out)
    if found is None:
        raise RuntimeError(f"the program printed no median: {out[-300:]}")
    return float(found.group(1)) * 1e-3


def _facts(folder: Path) -> dict:
    """Sizes that the compiler knows, and the median of a call from Python."""
    given = arguments(folder)
    compiled = aot.compile(folder / "model.pt", example_inputs=given)
    tensors = [x for x in given if isinstance(x, np.ndarray)]
    stats = compiled.stats
    times = []
    for _ in range(60):
        begun = time.perf_counter()
        compiled(*tensors)
        times.append(time.perf_counter() - begun)
    return {"code": stats.code_bytes, "constants": stats.weight_bytes,
            "arena": stats.arena_bytes, "python_call": statistics.median(times[10:])}


if __name__ == "__main__":
    print(json.dumps(_facts(Path(sys.argv[1]))))
