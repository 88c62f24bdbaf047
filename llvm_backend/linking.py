"""Object code as files: object and header, shared library, standalone program.

Libraries and programs are linked by the system's C compiler. Every file is written under a
temporary name beside its target and renamed: a reader sees the old file or the whole new one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from runtime.c_compiler import C_FLAGS, compiled_source, run_compiler
from runtime.description import is_c_identifier
from runtime.errors import CompileError
from runtime.foreign import files_of

LIBRARY_SOURCES = ("aot_pool.c",)
PROGRAM_SOURCES = ("main.c", "aot_npy.c", "aot_pool.c")
MAIN_FLAGS = ("-DAOT_MODEL=aot_model_entry",)

Pieces = Iterable["bytes | memoryview"]  # that follow one another


def write_object(object_code: bytes | Pieces, path: str | Path) -> None:
    """Write an object file. CompileError if the path cannot be written."""
    write_file(object_code, path)


def write_shared_library(
    object_code: bytes | Pieces, path: str | Path, name: str, foreign: Sequence[str] = ()
) -> None:
    """Link the object of the model `name` into a shared library that `load_library` loads, with
    the C functions `foreign` that it calls, from where runtime/foreign.py has them.

    It exports the object's symbols, the descriptor as `aot_model_entry`, and the thread pool.
    CompileError: no C compiler, it failed, or the path cannot be written."""
    path = Path(path)
    arguments = ["-shared", f"-Wl,-soname,{path.name}", "-Wl,-z,defs"]
    _link(object_code, path, name, LIBRARY_SOURCES, arguments, "writing a shared library", foreign)


def write_executable(object_code: bytes | Pieces, path: str | Path, name: str,
                     foreign: Sequence[str] = ()) -> None:
    """Link the object of the model `name` and runtime/src/main.c into a program.

    CompileError: no C compiler, it failed, or the path cannot be written."""
    _link(object_code, Path(path), name, PROGRAM_SOURCES, [], "writing a program", foreign)


def write_file(data: bytes | str | Pieces, path: str | Path) -> None:
    """Write a file (text as UTF-8). CompileError if it cannot be written."""
    with _replacing(Path(path)) as temporary:
        _write(data, temporary)


def _write(data: bytes | str | Pieces, path: Path) -> None:
    raw = data.encode("utf-8") if isinstance(data, str) else data
    with path.open("wb") as file:
        file.writelines([raw] if isinstance(raw, bytes) else raw)


def _identifier(name: str) -> str:
    if not is_c_identifier(name):
        raise CompileError(f"'{name}' is no C identifier")
    return name


def _link(
    object_code: bytes | Pieces, path: Path, name: str, sources: tuple[str, ...],
    arguments: list[str], purpose: str, foreign: Sequence[str] = (),
) -> None:
    missing = [symbol for symbol in foreign if not files_of([symbol])]
    if missing:
        raise CompileError(
            f"{path}: {purpose} needs the C function{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}: give the source or library that has "
            f"{'them' if len(missing) > 1 else 'it'} (--operator-source, --operator-library), or "
            "write an object file, to be linked with your own")
    theirs = files_of(foreign)
    folders = dict.fromkeys(f.resolve().parent for f in theirs if f.suffix != ".c")
    arguments = [*arguments, *(f"-Wl,-rpath,{folder}" for folder in folders)]
    arguments = [*arguments, f"-Wl,--defsym,aot_model_entry={_identifier(name)}_model"]
    purpose = f"{path}: {purpose}"
    files = [compiled_source(file, MAIN_FLAGS if file == "main.c" else (), purpose)
             for file in sources]
    with _replacing(path) as temporary:
        object_file = temporary.with_name("model.o")
        _write(object_code, object_file)
        run_compiler([*C_FLAGS, *arguments, *MAIN_FLAGS, object_file, *files, *theirs,
                      *(["-lm"] if theirs else []), "-o", temporary], purpose)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name in a new folder beside `path`; what is written there becomes `path` at the end.

    A device or pipe (/dev/null, /dev/stdout) is written to, never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # nothing there yet
    if stat.S_ISDIR(mode):
        raise CompileError(f"{path}: cannot be written: it is a folder")
    beside = path.parent if stat.S_ISREG(mode) else None
    try:
        with tempfile.TemporaryDirectory(prefix=".aot-", dir=beside) as folder:
            temporary = Path(folder) / "output"
            yield temporary
            if beside is not None:
                os.replace(temporary, path.resolve() if path.is_symlink() else path)
            else:
                path.write_bytes(temporary.read_bytes())
    except OSError as error:
        raise CompileError(f"{path}: cannot be written: {error.strerror or error}") from None
