"""What an artifact costs: seconds and memory to compile, bytes, cold start, memory of a process.

The command line does the work, in processes that are measured from outside; the standalone program
(`--emit exe`) is the C process that is started cold.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import aot
from benchmarks.engines import arguments, arrays
from benchmarks.race import ROOT
from tests.conformance.launcher import Finished, Launcher

_COLD_STARTS, _AGAIN = 9, 3
_CALLS_SECONDS = 0.2  # calls are measured for about so long
_WAIT = 60.0  # seconds for a program's first answer


@dataclass(frozen=True)
class Cost:
    """Seconds; bytes. `again_seconds`: the same command once more, from the cache. `resident`: the
    C process's peak. `call_overhead`: what a call from Python takes more than the same call in
    C."""

    compile_seconds: float
    compile_memory: int
    again_seconds: float
    object_bytes: int
    code_bytes: int
    constant_bytes: int
    arena_bytes: int
    cold_start: float
    resident: int
    call_seconds: float
    call_overhead: float

    @property
    def beside(self) -> int:
        """Bytes of the process that are neither weights nor arena."""
        return self.resident - self.constant_bytes - self.arena_bytes


def measure(folder: Path, launcher: Launcher) -> Cost:
    """Compiles the row's archive for one thread and runs it. RuntimeError where a step fails."""
    work = folder / "artifact"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    environment = {**os.environ, "AOT_CACHE": str(work / "cache"), "PYTHONPATH": os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    compiler = [sys.executable, "-m", "aot.cli", str(folder / "model.pt"), "--name", "m"]
    for word in _input_words(folder):
        compiler += ["--input", word]

    def run(command: list[str]) -> Finished:
        done = launcher.run(command, str(work), environment)
        if done.status:
            raise RuntimeError(done.messages[-500:])
        return done

    first = run([*compiler, "-o", "m"])
    size = (work / "m.o").stat().st_size
    again = []
    for _ in range(_AGAIN):
        (work / "m.o").unlink()
        again.append(run([*compiler, "-o", "m"]).seconds)
    run([*compiler, "--emit", "exe", "-o", "exe"])
    files = []
    for k, array in enumerate(arrays(folder / "inputs.npz")):
        files.append(f"in{k}.npy")
        np.save(work / files[-1], np.ascontiguousarray(array))
    command = [str(work / "exe"), "-o", "out", *files]
    starts = [run(command).seconds for _ in range(_COLD_STARTS)]
    facts = json.loads(subprocess.run(
        [sys.executable, "-m", "benchmarks.artifacts", str(folder)], cwd=ROOT, check=True,
        capture_output=True, text=True, env=environment).stdout.splitlines()[-1])
    calls = int(min(max(_CALLS_SECONDS / facts["python_call"], 5), 10000))
    c_call = _bench([*command, "--bench", str(calls)], work)
    cost = Cost(
        compile_seconds=first.seconds, compile_memory=int(first.megabytes * 2**20),
        again_seconds=min(again), object_bytes=size, code_bytes=facts["code"],
        constant_bytes=facts["constants"], arena_bytes=facts["arena"],
        cold_start=statistics.median(starts),
        resident=_resident([*command, "--bench", "1000000000"], work),
        call_seconds=c_call, call_overhead=facts["python_call"] - c_call)
    shutil.rmtree(work)
    return cost


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


def _bench(command: list[str], work: Path) -> float:
    """The program's own median of a call, in seconds."""
    out = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True).stdout
    found = re.search(r"median ([0-9.]+) ms", out)
    if found is None:
        raise RuntimeError(f"the program printed no median: {out[-300:]}")
    return float(found.group(1)) * 1e-3


def _resident(command: list[str], work: Path) -> int:
    """The most memory of a program that runs on and on, when it has given its first answer. What
    the system says after its end would count what this process had when it started it."""
    answer = work / "out.0.npy"
    answer.unlink()
    with subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + _WAIT
            while not answer.exists() and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.05)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.kill()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("the program ended before its memory was looked at")
    return int(found.group(1)) * 1024


def _facts(folder: Path) -> dict:
    """Sizes that the compiler knows, and the median of a call from Python."""
    given = arguments(folder)
    compiled = aot.compile(folder / "model.pt", inputs=_input_words(folder), name="m")
    tensors = [x for x in given if isinstance(x, np.ndarray)]
    stats = compiled.stats
    compiled(*tensors)
    times: list[float] = []
    end = time.perf_counter() + _CALLS_SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        begun = time.perf_counter()
        compiled(*tensors)
        times.append(time.perf_counter() - begun)
    return {"code": stats.code_bytes, "constants": stats.weight_bytes,
            "arena": stats.arena_bytes, "python_call": statistics.median(times)}


if __name__ == "__main__":
    print(json.dumps(_facts(Path(sys.argv[1]))))
