"""The database of measured knobs (--tune): which kernel, on which CPU, runs fastest with what.

A JSON file, {"aot-tune": 1, "rows": {CPU: {kernel: [knobs]}}}. A CPU is a row of the target table,
or native and a digest of what this machine is; kernels and knobs are lowering/schedule/knobs.py's.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from aot.machine import this_machine
from aot.options import CompileOptions
from runtime.cache_folder import cache_folder
from runtime.errors import CompileError

Rows = dict[str, tuple[int, ...]]  # kernel -> knobs

_HEAD, _FORM = "aot-tune", 1
_FILE = "tuned.json"


def database(options: CompileOptions, make: bool = False) -> Path | None:
    """The file that --tune-db names, or the one in the cache folder, which is made if it is to be
    written; None where there is none."""
    if options.tune_db:
        return Path(options.tune_db)
    folder = cache_folder(make)
    return None if folder is None else folder / _FILE


def measured_rows(options: CompileOptions) -> dict[str, Rows]:
    """What the database has for the CPUs of the options: --cpu's name of each -> its rows.

    CompileError where a file that was named cannot be read, or is no such database."""
    names = list(dict.fromkeys(name.strip() for name in options.cpu.split(",")))
    if not options.optimize:
        return {name: {} for name in names}
    path = database(options)
    stored = {} if path is None else _read(path, bool(options.tune_db))
    return {name: stored.get(_cpu(name), {}) for name in names}


def keep_rows(path: Path, cpu: str, rows: Rows) -> None:
    """Adds rows of a CPU, --cpu's name of it, to the file; those of the same kernels are replaced.
    CompileError if it cannot be written."""
    stored = _read(path, False)
    stored.setdefault(_cpu(cpu), {}).update(rows)
    text = json.dumps({_HEAD: _FORM, "rows": stored}, indent=0, sort_keys=True)
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text + "\n")
        os.replace(file.name, path)
    except OSError as e:
        raise CompileError(f"{path}: cannot be written: {e.strerror or e}") from None


def _cpu(name: str) -> str:
    if name != "native":
        return name
    return f"native {hashlib.sha256(repr(this_machine()).encode()).hexdigest()[:16]}"


def _read(path: Path, named: bool) -> dict[str, Rows]:
    """CPU -> its rows. A file that cannot be read has none, but one that the user named."""
    try:
        content = json.loads(path.read_bytes())
        return _checked(content)
    except OSError as e:
        if not named:
            return {}
        hint = "; --tune makes it" if isinstance(e, FileNotFoundError) else ""
        raise CompileError(f"--tune-db {path}: {e.strerror or e}{hint}") from None
    except (ValueError, TypeError, RecursionError) as e:  # no JSON, or not what --tune writes
        raise CompileError(f"{path}: expected a database that --tune wrote: {e}") from None


def _checked(content: Any) -> dict[str, Rows]:
    if not isinstance(content, dict) or content.get(_HEAD) != _FORM:
        raise ValueError(f"it does not begin with {_HEAD} {_FORM}")
    stored: dict[str, Rows] = {}
    for cpu, kernels in dict(content.get("rows", {})).items():
        stored[cpu] = {}
        for kernel, knobs in dict(kernels).items():
            if not isinstance(knobs, list) or not all(type(n) is int for n in knobs):
                raise ValueError(f"the knobs of {kernel!r} are no list of integers")
            stored[cpu][kernel] = tuple(knobs)
    return stored
