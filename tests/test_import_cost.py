"""What importing costs: few modules, little time, and LLVM only for the first compilation."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

_ASK = """
import resource, sys
def seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = seconds()
{statement}
print(seconds() - before, *sorted(sys.modules))
"""


def after(statement: str) -> tuple[float, set[str]]:
    """Seconds of CPU that a statement takes in a new process, and the modules there then."""
    done = subprocess.run([sys.executable, "-c", _ASK.format(statement=statement)],
                          capture_output=True, text=True, cwd=ROOT, timeout=100,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "AOT_CACHE": "0"})
    assert done.returncode == 0, done.stderr
    seconds, *names = done.stdout.split()
    return float(seconds), set(names)


@pytest.mark.parametrize("statement, most", [("import aot", 0.15), ("import aot.jit, aot.nn", 0.3)])
def test_imports_take_little_time(statement: str, most: float) -> None:
    after(statement)  # with the files' compiled forms, where Python keeps them
    assert min(after(statement)[0] for _ in range(5)) < most


def test_imports_bring_what_they_need() -> None:
    _, names = after("import aot")
    assert not names & {"numpy", "lowering", "llvmlite", "torch"}
    _, names = after("import aot.jit, aot.nn")
    assert not names & {"lowering.ops", "lowering.build", "aot.script.api", "llvmlite", "torch"}


def test_llvm_comes_with_the_first_compilation() -> None:
    prepare = ("import aot; x = aot.ones(3); "
               "module = aot.jit.trace(aot.nn.ReLU(), x); loaded = aot.jit.load("
               "module.save_to_buffer()); module.graph, module.code")
    _, names = after(prepare)
    assert "lowering.ops" in names and not names & {"llvmlite", "aot.pipeline", "torch"}
    _, names = after(f"{prepare}; loaded(x)")
    assert "llvmlite" in names and "torch" not in names
