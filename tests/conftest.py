"""What every test may use: the one rule about what is skipped where.

PyTorch, mlir-opt and valgrind are outside answers that not every machine has. On a person's machine
a test that needs a missing one is skipped; in CI (CI=true or AOT_CI=1) PyTorch and mlir-opt must be
there and the test fails.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
os.environ["AOT_CACHE_MB"] = "0"  # tests are of the compiler, not of what it made the last time
Test = TypeVar("Test", bound=Callable)


def in_ci() -> bool:
    """True where a missing tool is a failure rather than a skip."""
    return os.environ.get("CI", "").lower() in ("true", "1") or os.environ.get("AOT_CI") == "1"


def have_torch() -> bool:
    """True if PyTorch can be imported (asked without importing it)."""
    return importlib.util.find_spec("torch") is not None


def mlir_opt() -> str | None:
    """Path of mlir-opt 22, or None."""
    return shutil.which("mlir-opt-22") or shutil.which("mlir-opt")


def require(present: bool, what: str) -> None:
    """Skip the running test if `what` is missing; fail it in CI."""
    if present:
        return
    if in_ci():
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not installed")


def _needs(check: Callable[[], bool], what: str) -> Callable[[Test], Test]:
    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def checked(*args, **kwargs):
            require(check(), what)
            return test(*args, **kwargs)

        return checked

    return decorate


needs_torch = _needs(have_torch, "PyTorch")
needs_mlir_opt = _needs(lambda: mlir_opt() is not None, "mlir-opt 22 (Debian: mlir-22-tools)")


def import_torch(samples: bool = False) -> ModuleType:
    """PyTorch, for a module whose every test needs it: `torch = import_torch()` at its top. With
    `samples` also its sample inputs of operators, which import expecttest."""
    for tool in ("torch", *(["expecttest"] if samples else [])):
        if importlib.util.find_spec(tool) is None and not in_ci():
            pytest.skip(f"{tool} is not installed", allow_module_level=True)
        importlib.import_module(tool)
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    return torch
