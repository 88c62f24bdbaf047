"""Runs a tutorial's listings in order, as a program of its own, and collects what each prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

_MARK = "=== listing "


def run_listings(listings: list[str], folder: Path) -> tuple[list[str], str]:
    """What each listing prints, and what goes to stderr in all: run one after the other in one
    process with `import aot as torch`.

    AssertionError with the program's error if it fails. Places in graphs (`# file:line`) go.
    """
    program = "import aot as torch\n" + "".join(
        f"print('{_MARK}{i}')\n{text}\n" for i, text in enumerate(listings)
    )
    path = folder / "tutorial.py"
    path.write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
                   "PYTHONWARNINGS": "default"}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=folder,
                          env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    text = re.sub(r" # .*", "", done.stdout)
    parts = re.split(rf"^{_MARK}\d+\n", text, flags=re.M)[1:]
    assert len(parts) == len(listings)
    return parts, done.stderr
