"""The folder for what is kept from process to process; only its user can write to it."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(make: bool = True) -> Path | None:
    """AOT_CACHE, or the folder aot in XDG_CACHE_HOME or ~/.cache; made if it is not there, or, if
    not to be made, None.

    None where AOT_CACHE=0, where no folder can be made, or where others can write to it: code is
    loaded from it."""
    named = os.environ.get("AOT_CACHE", "")
    if named == "0":
        return None
    try:
        base = os.environ.get("XDG_CACHE_HOME")
        folder = Path(named) if named else Path(base or Path.home() / ".cache") / "aot"
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid == os.getuid() and not status.st_mode & 0o022:
            return folder
    except (OSError, RuntimeError):
        pass  # a read-only home, or none
    return None
