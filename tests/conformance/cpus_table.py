"""Models for every level of x86-64 and for AArch64, on CPUs that QEMU plays, beside PyTorch.

Programs for one row run on a CPU that has no more than the row; those for several rows on all, and
pick their code there. AVX-512, which QEMU does not play, runs where this machine has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.torchvision_table import build
from tests.conftest import require

NEHALEM, HASWELL = ("qemu-x86_64", "-cpu", "Nehalem"), ("qemu-x86_64", "-cpu", "Haswell")
SEVERAL = "x86-64-v2,x86-64-v3,x86-64-v4"
# --cpu, the compiler that links, and what runs the program; () is this machine.
ROWS = [("x86-64-v2", "cc", NEHALEM), ("x86-64-v3", "cc", HASWELL), ("x86-64-v4", "cc", ()),
        ("aarch64", "aarch64-linux-gnu-gcc -static", ("qemu-aarch64",)),
        (SEVERAL, "cc", NEHALEM), (SEVERAL, "cc", HASWELL), (SEVERAL, "cc", ())]
MODELS = ("mobilenet_v3_small", "efficientnet_b0", "resnet18", "encoder", "lstm")
TOLERANCE = 1e-5  # of the largest magnitude


def make(name: str) -> tuple[Any, Any]:
    """A model and its input."""
    import torch
    from torch import nn

    torch.manual_seed(3)
    if name == "encoder":
        layer = nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", batch_first=True)
        return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval(), torch.randn(
            1, 16, 384)
    if name == "lstm":
        return nn.LSTM(128, 256), torch.randn(16, 1, 128)
    return build(name, 96), torch.randn(1, 3, 96, 96)


def check(archive: Path, cpu: str, linker: str, runner: tuple[str, ...],
          expected: list[np.ndarray]) -> tuple[float, float]:
    """The largest relative error of a program, and the seconds that it ran."""
    import aot

    program, out = archive.with_name("program"), archive.with_name("out")
    os.environ["CC"] = linker
    aot.compile(archive, cpu=cpu, name="m").save(program)
    begun = time.monotonic()
    run = subprocess.run([*runner, program, "-o", out, archive.with_name("x.npy")],
                         capture_output=True, text=True, timeout=600)
    seconds = time.monotonic() - begun
    if run.returncode:
        raise RuntimeError(run.stderr.strip()[-200:])
    worst = 0.0
    for k, want in enumerate(expected):
        file = out.with_name(f"out.{k}.npy")
        found = np.load(file)
        file.unlink()
        worst = max(worst, float(np.abs(found - want).max() / np.abs(want).max()))
    return worst, seconds


def print_table(only: str = "") -> int:
    """Prints the table; returns how many lines do not hold."""
    import torch

    from llvm_backend.native import native_target
    from llvm_backend.target import TARGETS

    for tool in ("qemu-x86_64", "qemu-aarch64", "aarch64-linux-gnu-gcc"):
        require(shutil.which(tool) is not None, tool)
    wide = set(TARGETS["x86-64-v4"].features) <= set(native_target().features)
    print("\n## CPUs\n")
    print("| model | --cpu | runs on | error | s |\n|---|---|---|---|---|", flush=True)
    failed = count = 0
    before = os.environ.get("CC")
    for name in (m for m in MODELS if only in m):
        model, x = make(name)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            archive = Path(folder) / "m.pt"
            torch.jit.trace(model, x, check_trace=False).save(str(archive))
            np.save(archive.with_name("x.npy"), x.numpy())
            expected = _arrays(model(x))
            for cpu, linker, runner in ROWS:
                if cpu == "x86-64-v4" and not wide:
                    continue
                count += 1
                try:
                    worst, seconds = check(archive, cpu, linker, runner, expected)
                    said, holds = f"{worst:.1e} | {seconds:.1f}", worst <= TOLERANCE
                except Exception as error:  # every kind of failure is a result here
                    said, holds = f"{type(error).__name__}: {error}", False
                failed += not holds
                where = " ".join(runner) or "this machine"
                print(f"| {name} | {cpu} | {where} | {said}{'' if holds else ' (too much)'} |",
                      flush=True)
    os.environ.pop("CC", None) if before is None else os.environ.update(CC=before)
    print(f"\n{count - failed} of {count} hold.", flush=True)
    return failed


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in _arrays(part)]
    return [value.numpy()]
