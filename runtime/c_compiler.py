"""The system's C compiler and our C sources: what links libraries, programs and the thread pool."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Sequence

from runtime.cache_folder import cache_folder
from runtime.errors import CompileError

_HERE = Path(__file__).resolve().parent
INCLUDE_DIR = _HERE / "include"  # aot.h, aot.hpp, aot_pool.h, aot_npy.h, aot_load.h
SOURCE_DIR = _HERE / "src"  # aot_pool.c, aot_npy.c, main.c

C_FLAGS = ("-std=c99", "-O2", "-fPIC", "-pthread", f"-I{INCLUDE_DIR}")


def find_compiler() -> list[str] | None:
    """The words that start the C compiler: $CC, or the first of cc, gcc, clang; or None."""
    chosen = shlex.split(os.environ.get("CC", ""))
    if chosen:
        return chosen if shutil.which(chosen[0]) else None
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    return None


def run_compiler(arguments: Sequence[str | Path], purpose: str) -> None:
    """Run the C compiler; CompileError that says `purpose` if there is none or it complains."""
    compiler = find_compiler()
    if compiler is None:
        asked = os.environ.get("CC")
        found = f"CC={asked} is not there" if asked else "none of cc, gcc, clang is there"
        raise CompileError(
            f"{purpose} needs a C compiler, and {found}: install one (Debian, Ubuntu: "
            "apt-get install gcc), set CC, or write an object file, which needs none"
        )
    command = [*compiler, *map(str, arguments)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise CompileError(f"{purpose}: {compiler[0]} cannot be started: {error}") from None
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["it said nothing"]
        raise CompileError(f"{purpose}: {compiler[0]} failed: " + "\n  ".join(said[:12]))


def compiled_source(name: str, flags: Sequence[str], purpose: str) -> Path:
    """A file of SOURCE_DIR as an object, compiled once and kept in the cache folder; the file
    itself where there is no such folder, or no compiler to ask. CompileError as run_compiler."""
    path, folder, compiler = source(name), cache_folder(), find_compiler()
    program = compiler and shutil.which(compiler[0])
    if folder is None or not program:
        return path
    status = os.stat(program)
    texts = [file.read_bytes() for file in (path, *sorted(INCLUDE_DIR.iterdir()))]
    key = repr((compiler, program, status.st_size, status.st_mtime_ns, flags, texts)).encode()
    kept = folder / f"{path.stem}-{hashlib.sha256(key).hexdigest()[:16]}.o"
    if not kept.exists():
        try:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                made = Path(work) / kept.name
                run_compiler([*C_FLAGS, *flags, "-c", path, "-o", made], purpose)
                os.replace(made, kept)
        except OSError:
            return path  # a full disk
    return kept


def source(name: str) -> Path:
    """The path of a file of SOURCE_DIR; CompileError if the installation lost it."""
    path = SOURCE_DIR / name
    if not path.is_file():
        raise CompileError(f"{path} is missing: the package was installed without its C sources")
    return path
