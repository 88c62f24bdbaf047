"""Measures cases, one after the other, in a process of its own; prints one JSON row a line.

    python -m tests.conformance.worker SUITE NAME...

Compiles with the real command line in a child process, so that its time and memory are those that
a user sees; runs the library through the loader, beside TorchScript in the same process.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.case import Case, Row
from tests.conformance.compare import Mismatch, argument, relative_error, to_numpy
from tests.conformance.launcher import Launcher

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 5  # TorchScript's executor specialises in its first calls
MIN_ROUNDS, MAX_ROUNDS = 7, 400
TARGET_SECONDS = 3.0  # of interleaved measuring


class CompilerFailed(Exception):
    """aot-compile's own message."""


def save_archive(case: Case, path: Path) -> tuple[Any, tuple]:
    """Traces the case and saves it; returns (the archive as PyTorch loads it, its inputs)."""
    import torch

    torch.manual_seed(0)
    module = case.build().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(case.grad)
    inputs = case.inputs()
    with torch.set_grad_enabled(case.grad), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, inputs, check_trace=False)
    torch.jit.save(traced, str(path))
    return torch.jit.load(str(path)).eval(), inputs


def compile_library(launcher: Launcher, archive: Path, library: Path, row: Row) -> None:
    """aot-compile --emit lib in a child; fills in its seconds and its peak memory."""
    command = [sys.executable, "-m", "aot.cli", str(archive), "--emit", "lib", "-o", str(library)]
    done = launcher.run(command, str(archive.parent), _environment())
    if done.status:
        if "Traceback" in done.messages:
            print(done.messages, file=sys.stderr)
        message = done.messages.rpartition("aot-compile: error: ")[2]
        raise CompilerFailed(message or f"the compiler ended with status {done.status}")
    row.compile_seconds, row.peak_megabytes = done.seconds, done.megabytes


def measure(launcher: Launcher, case: Case, folder: Path) -> Row:
    """All figures of a case; what goes wrong is in the row's `error`."""
    import torch

    row = Row(case.name)
    try:
        archive, library = folder / "model.pt", folder / "model.so"
        script, inputs = save_archive(case, archive)
        with torch.no_grad():
            expected = to_numpy(script(*inputs))
            compile_library(launcher, archive, library, row)
            from runtime.loader import load_library

            compiled = load_library(str(library))
            arrays = tuple(argument(to_numpy(value)) for value in inputs)
            row.relative_error = relative_error(_as_arrays(compiled(*arrays)), expected)
            frozen = torch.jit.freeze(script)
            time_both(row, lambda: compiled(*arrays), lambda: frozen(*inputs))
    except (Mismatch, CompilerFailed) as problem:
        row.error = str(problem)
    except Exception as problem:  # shown in the table; the next case goes on
        row.error = f"{type(problem).__name__}: {problem}"
    return row


def time_both(row: Row, ours: Any, torchscript: Any) -> None:
    """Medians and minima of both, run by turns so that the machine's moods hit both alike."""
    for _ in range(WARM_UP):
        ours()
        torchscript()
    samples: tuple[list[float], list[float]] = ([], [])
    begun = time.perf_counter()
    while len(samples[0]) < MAX_ROUNDS:
        for function, taken in zip((ours, torchscript), samples):
            start = time.perf_counter()
            function()
            taken.append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() - begun > TARGET_SECONDS and len(samples[0]) >= MIN_ROUNDS:
            break
    row.ours, row.torchscript = float(np.median(samples[0])), float(np.median(samples[1]))
    row.ours_min, row.torchscript_min = min(samples[0]), min(samples[1])


def _as_arrays(value: Any) -> Any:
    """A compiled function's result; it may be any array type that numpy understands."""
    if isinstance(value, (tuple, list)):
        return tuple(_as_arrays(v) for v in value)
    if isinstance(value, dict):
        return {k: _as_arrays(v) for k, v in value.items()}
    return value if value is None or isinstance(value, (str, int, float)) else np.asarray(value)


def _environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    crashes = ROOT / "build" / "crashes"
    crashes.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "AOT_CRASH_DIR": str(crashes),
    }


def main(arguments: list[str]) -> None:
    launcher = Launcher()
    suite, names = arguments[0], arguments[1:]
    cases = {
        case.name: case for case in importlib.import_module(f"tests.conformance.{suite}").CASES
    }
    import torch

    torch.set_num_threads(1)
    for name in names:
        print(f"begin {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            row = measure(launcher, cases[name], Path(folder))
        print(f"row {row.to_json()}", flush=True)
    launcher.close()


if __name__ == "__main__":
    main(sys.argv[1:])
