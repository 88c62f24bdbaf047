"""Names and places of what is written.

All files of an artifact appear together and whole: they are made in a folder beside their place and
renamed into it, so that an error or an interrupt leaves what was there before.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def staged(targets: list[Path]) -> Iterator[list[Path]]:
    """Stand-ins for `targets`, all in one new folder; moved into place when the block succeeds."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".aot-", dir=_staging_parent(targets[0])))
    except OSError as error:
        raise CompileError(f"cannot write {targets[0]}: {_reason(error)}") from None
    try:
        stand_ins = [folder / target.name for target in targets]
        yield stand_ins
        for made, target in zip(stand_ins, targets):
            _place(made, target)
    except OSError as error:
        raise CompileError(f"cannot write {targets[0]}: {_reason(error)}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """The text as UTF-8. Raises CompileError if it cannot be written."""
    with staged([target]) as (made,):
        made.write_text(text, "utf-8")


def _staging_parent(target: Path) -> Path | None:
    special = target.exists() and not target.is_file()
    return None if special else target.parent  # None: the system's folder; not beside /dev/null


def _place(made: Path, target: Path) -> None:
    if target.exists() and not target.is_file():  # a device or a pipe is written, not replaced
        with made.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        return
    os.replace(made, target.resolve())  # resolve: a symbolic link stays one


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
