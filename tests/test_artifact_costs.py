"""What a program costs beside its weights: code, memory, and the time from exec to the answer.

`python -m benchmarks` has the figures of large models (benchmarks/artifacts.py)."""

from __future__ import annotations

import functools
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import aot
from aot.compiled import Compiled

KB, MB = 1000, 1_000_000


def mlp() -> tuple[aot.nn.Module, tuple[int, ...]]:
    nn = aot.nn
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
                         nn.Linear(128, 10)), (1, 784)


def convolutions() -> tuple[aot.nn.Module, tuple[int, ...]]:
    """A stage of a ResNet: 9 MB of weights."""
    nn = aot.nn
    layers: list[aot.nn.Module] = [nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.ReLU(),
                                   nn.MaxPool2d(3, 2, 1)]
    for before, after in ((64, 128), (128, 256), (256, 256)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after),
                   nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 100)), (
        1, 3, 128, 128)


@functools.lru_cache(maxsize=None)
def compiled(model: str) -> tuple[Compiled, np.ndarray]:
    module, shape = {"mlp": mlp, "convolutions": convolutions}[model]()
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with aot.no_grad():
        return aot.compile(module.eval(), (x,), name="m"), x


@pytest.mark.parametrize(("model", "most"), [("mlp", 40 * KB), ("convolutions", 100 * KB)])
def test_code_is_small(model: str, most: int) -> None:
    """Limits of the project: 100 kB for an MLP, 400 kB for ResNet-18."""
    stats = compiled(model)[0].stats
    assert 1 * KB < stats.code_bytes < most


@pytest.mark.parametrize("model", ["mlp", "convolutions"])
def test_a_program_is_its_weights_and_little_more(model: str, tmp_path: Path) -> None:
    """5 MB beside weights and arena, and 60 ms from exec to the answer: 250 on a busy machine."""
    made, x = compiled(model)
    made.save(tmp_path / "program")
    np.save(tmp_path / "x.npy", x)
    command = [tmp_path / "program", "-o", tmp_path / "y", tmp_path / "x.npy"]
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.25
    assert np.allclose(np.load(tmp_path / "y.0.npy"), made(x), atol=1e-5)
    stats = made.stats
    assert (tmp_path / "program").stat().st_size < stats.weight_bytes + 200 * KB
    if Path("/proc/self/status").exists():
        most = stats.weight_bytes + stats.arena_bytes + 5 * MB
        assert stats.weight_bytes < resident([*command, "--bench", "10000000"], tmp_path) < most


def resident(command: list[str | Path], folder: Path) -> int:
    """The most memory of a program that runs on and on, when it has given its first answer. What
    the system says after its end would count what this process had when it started it."""
    (folder / "y.0.npy").unlink()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                if (folder / "y.0.npy").exists():
                    break
                time.sleep(0.05)
            time.sleep(0.05)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.kill()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
