"""Writes the archives of this folder with PyTorch: NAME.pt, and NAME.npz with recorded calls.

NAME.npz holds arrays and `meta`, JSON in bytes: the calls in order, each with method, args and out.
Source paths and quoted source lines (*.debug_pkl) are left out of the archives.

    python -m tests.archives.make        # needs PyTorch 2.13
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.archives import models

HERE = Path(__file__).resolve().parent


class Recorder:
    """Calls a loaded module and keeps arguments and results as arrays and JSON."""

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self.module = module
        self.arrays: dict[str, np.ndarray] = {}
        self.calls: list[dict[str, Any]] = []

    def call(self, method: str, *arguments: Any) -> None:
        number = len(self.calls)
        call: dict[str, Any] = {"method": method}
        call["args"] = [self._encode(value, f"c{number}_in") for value in arguments]
        with torch.no_grad():
            result = getattr(self.module, method)(*arguments)
        call["out"] = self._encode(result, f"c{number}_out")
        self.calls.append(call)

    def _encode(self, value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, torch.Tensor):
            key = f"{prefix}_{len(self.arrays)}"
            value = value.detach()
            bits = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
            array = bits.numpy().copy()
            self.arrays[key] = array.view(np.uint16) if bits is not value else array
            return {"t": "tensor", "k": key, "dtype": str(value.dtype)}
        if value is None:
            return {"t": "none"}
        if isinstance(value, dict):
            pairs = [[self._encode(k, prefix), self._encode(v, prefix)] for k, v in value.items()]
            return {"t": "dict", "v": pairs}
        if isinstance(value, (tuple, list)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {"t": kind, "v": [self._encode(item, prefix) for item in value]}
        return {"t": type(value).__name__, "v": value}

    def save(self, path: Path) -> None:
        meta = json.dumps({"torch": torch.__version__.split("+")[0], "calls": self.calls})
        arrays = {"meta": np.frombuffer(meta.encode(), np.uint8), **self.arrays}
        np.savez_compressed(path, **arrays)


def save_archive(module: torch.jit.ScriptModule, path: Path) -> None:
    """torch.jit.save, then the same members without *.debug_pkl."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            if not member.filename.endswith(".debug_pkl"):
                name = zipfile.ZipInfo(path.stem + member.filename[member.filename.index("/") :])
                method = (
                    zipfile.ZIP_DEFLATED if name.filename.endswith(".py") else zipfile.ZIP_STORED
                )
                target.writestr(name, source.read(member), method)


def make(name: str, build: Callable[[], tuple[Any, list[tuple]]]) -> None:
    torch.manual_seed(0)
    module, calls = build()
    save_archive(module, HERE / f"{name}.pt")
    recorder = Recorder(torch.jit.load(str(HERE / f"{name}.pt")))
    for method, *arguments in calls:
        recorder.call(method, *arguments)
    recorder.save(HERE / f"{name}.npz")
    print(name, (HERE / f"{name}.pt").stat().st_size, len(calls))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in models.ALL:
        make(each.__name__, each)
