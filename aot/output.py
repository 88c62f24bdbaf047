"""Names and places of what is written. The writing itself is llvm_backend/linking.py."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runtime.errors import CompileError

SUFFIXES = {"obj": (".o", ".h"), "lib": (".so", ".h"), "exe": ("",)}


def stem(archive: Path, out: str | None, emit: str) -> Path:
    """The path that suffixes are appended to; OUT may already carry the first one."""
    if out is None:
        return Path(archive.stem or "model")
    suffix = SUFFIXES.get(emit, ("",))[0]
    path = Path(out[: -len(suffix)] if suffix and out.endswith(suffix) else out)
    if path.name in ("", "..") or out.endswith("/"):
        raise CompileError(f"cannot write {out}: it is a directory; give a file name with -o")
    return path


def files(stem: Path, emit: str) -> list[Path]:
    """The files that are written for the kind."""
    return [stem.with_name(stem.name + suffix) for suffix in SUFFIXES.get(emit, ("",))]


def check_writable(file: Path, archive: Path) -> None:
    """Raises CompileError where writing will fail, before an hour of work is done for it."""
    try:
        if file.is_dir():
            raise CompileError(f"cannot write {file}: it is a directory; give a file name with -o")
        folder = file.parent
        if not folder.is_dir():
            raise CompileError(f"cannot write {file}: there is no directory {folder}")
        if file.exists():
            if file.samefile(archive):
                raise CompileError(f"cannot write {file}: it is the archive itself; use -o")
            if not os.access(file, os.W_OK):
                raise CompileError(f"cannot write {file}: permission denied")
            if not stat.S_ISREG(file.stat().st_mode):
                return
        if not os.access(folder, os.W_OK | os.X_OK):
            raise CompileError(f"cannot write {file}: no permission to write in {folder}")
    except (OSError, ValueError) as error:
        raise CompileError(f"cannot write {file}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
