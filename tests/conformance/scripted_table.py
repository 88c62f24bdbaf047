"""Every classification family of torchvision, scripted, with random weights, at its usual size.

python -m tests.conformance scripted [--only TEXT]

All run in one process; what they are compared with is torch.jit.script's own result.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.conformance.detection_table import run_apart
from tests.conformance.torchvision_table import SIZES, build, images

TOLERANCE = 2e-5  # relative to the largest number of the result
HEADER = ("model", "compile s", "code kB", "largest error", "")


def measure(names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows, one a model."""
    import torch

    import aot

    torch.set_num_threads(1)
    for name in names:
        size = SIZES[name]
        torch.manual_seed(3)
        script = torch.jit.script(build(name, size))
        archive = io.BytesIO()
        torch.jit.save(script, archive)
        begun = time.perf_counter()
        module = aot.jit.load(io.BytesIO(archive.getvalue()))
        compiled = aot.compile(module, inputs=[f"x:f32[1,3,{size},{size}]"])
        kilobytes = compiled.stats.code_bytes / 1024
        seconds = time.perf_counter() - begun
        x, = images(size)
        with torch.no_grad():
            wanted = _first(script(x)).numpy()
        found = np.asarray(_first(compiled(x.numpy())))
        yield {"name": name, "seconds": seconds, "kilobytes": kilobytes,
               "error": float(np.abs(found - wanted).max() / np.abs(wanted).max())}


def _first(x: Any) -> Any:
    """The scores; families with auxiliary ones give them in a tuple."""
    return x[0] if isinstance(x, tuple) else x


def print_table(only: str = "", seconds: float = 240.0) -> int:
    """Prints a line a model; returns how many do not hold."""
    print(f"\n## torchvision classification, scripted\n\n| {' | '.join(HEADER)} |\n"
          f"|{'---|' * len(HEADER)}", flush=True)
    names = [name for name in SIZES if only in name]
    rows, ended = run_apart("tests.conformance.scripted_table", names, seconds)
    failed = 0
    for name in names:
        row = next((row for row in rows if row["name"] == name), None)
        problem = ended if row is None else "" if row["error"] <= TOLERANCE else (
            f"error above {TOLERANCE:g}")
        failed += bool(problem)
        cells = ["", "", ""] if row is None else [
            f"{row['seconds']:.1f}", f"{row['kilobytes']:.0f}", f"{row['error']:.1e}"]
        print(f"| {' | '.join([name, *cells])} | {problem} |", flush=True)
    return failed


if __name__ == "__main__":
    for row in measure(sys.argv[1:]):
        print(json.dumps(row), flush=True)
