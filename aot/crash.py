"""The report of an internal error: what was asked, where it broke, and how to do it again."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from aot.version import VERSION


def write_report(argv: Sequence[str], error: BaseException, folder: str) -> Path | None:
    """Writes the report into `folder`, else the system's temporary one; None if neither takes
    it."""
    text = report(argv, error)
    name = f"aot-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for place in (folder, tempfile.gettempdir()):
        path = Path(place) / name
        try:
            path.write_text(text, "utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    return None


def report(argv: Sequence[str], error: BaseException) -> str:
    """The report's text: versions, the command that replays it, the traceback."""
    lines = [
        f"aot {VERSION}, Python {platform.python_version()}, {platform.platform()}",
        f"llvmlite {_installed('llvmlite')}, numpy {_installed('numpy')}",
        "",
        "To see it again, from the folder",
        f"  {os.getcwd()}",
        "run",
        f"  AOT_DEBUG=1 {shlex.join([sys.executable, '-m', 'aot.cli', *argv])}",
        "",
        "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    ]
    return "\n".join(lines)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
