"""One line of a table: a module with its inputs, what is measured of it, and what must hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A model to trace. `build` and `inputs` run after torch.manual_seed, in the worker only."""

    name: str
    build: Callable[[], Any]  # an nn.Module in eval mode
    inputs: Callable[[], tuple]
    grad: bool = False  # trace with gradients enabled
    faster: bool = False  # at least as fast as TorchScript frozen
    seconds: float | None = None  # limits of the compilation
    megabytes: float | None = None


@dataclass
class Row:
    """What was measured; `error` says why it ended early."""

    name: str
    compile_seconds: float | None = None
    peak_megabytes: float | None = None
    relative_error: float | None = None
    ours: float | None = None  # milliseconds, median of interleaved runs
    ours_min: float | None = None
    torchscript: float | None = None
    torchscript_min: float | None = None
    error: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Row:
        return Row(**json.loads(text))
