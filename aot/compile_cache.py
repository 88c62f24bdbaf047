"""Compilations kept from process to process: which ones are equal, and what is kept of one.

Whole artifacts are kept, code and packed weights: reading an archive and bringing it to kernels
takes as long as LLVM does, so that keeping the kernels' code alone would save half of the time.
The two are equal whose programs, options, machine and compiler are: the archive's bytes, all that
the options say about code, the target's row or this machine's features, the knobs that --tune found
for it, every source file of the compiler by name, size and time, and the operators that the process
has declared.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aot.compiled import Signature
from aot.disk_cache import DiskCache
from aot.machine import this_machine
from aot.options import CompileOptions, environment
from aot.tuned import measured_rows
from llvm_backend.artifact import Artifact
from llvm_backend.target import TARGETS
from runtime.cache_folder import cache_folder

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("aot", "lowering", "llvm_backend", "runtime")
_LARGE = 4 << 20  # a file of fewer bytes is read in less time than its digest is found
_SETTLED = 2_000_000_000  # ns: longer than any file system's clock takes to tell two changes apart
_NO_CODE = ("check", "cache", "tune_db")  # fields of CompileOptions that change no code


def open_cache() -> DiskCache | None:
    """The cache as the environment wants it; None where there is none, or stages are shown."""
    said = environment()
    if said.cache_megabytes == 0 or said.debug >= 2 or said.dump:
        return None
    folder = cache_folder()
    return None if folder is None else DiskCache(folder, said.cache_megabytes << 20)


def key_of(program: bytes, options: CompileOptions, examples: object = None) -> str:
    """The name of a compilation of `program`, a digest of what holds it; `examples` are what the
    inputs are like where the options do not say."""
    digest = hashlib.sha256(program)
    rows = [name.strip() for name in options.cpu.split(",")]
    machines = [this_machine() if row == "native" else repr(TARGETS.get(row)) for row in rows]
    own = sys.modules.get("lowering.custom_operators")  # not loaded: there are none
    operators = [] if own is None else sorted(own.DEFINITIONS.items())
    for part in (_compiler(), machines, measured_rows(options), examples, operators):
        _add(digest.update, part)
    for field in fields(options):
        if field.name not in _NO_CODE:
            _add(digest.update, (field.name, getattr(options, field.name)))
    return digest.hexdigest()


def file_digest(path: Path, cache: DiskCache) -> bytes:
    """Of a file's content. A large file that has not changed since is not read again: the cache
    knows its digest by what the file system says, the time of the last change included."""
    status = path.stat()
    fields = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    key = hashlib.sha256(repr(("file", *fields)).encode()).hexdigest()
    found = cache.get(key) if status.st_size >= _LARGE else None
    if found is not None:
        return found[0]
    with path.open("rb") as file:
        if hasattr(hashlib, "file_digest"):  # Python 3.11
            digest = hashlib.file_digest(file, "sha256").digest()
        else:
            digest = hashlib.sha256(file.read()).digest()
        after = os.fstat(file.fileno())
    settled = time.time_ns() - status.st_ctime_ns > _SETTLED and after.st_ctime_ns == fields[-1]
    if settled and status.st_size >= _LARGE:
        cache.put(key, digest, [])
    return digest


def keep(cache: DiskCache, key: str, artifact: Artifact, signatures: list[Signature],
         changes_module: bool) -> None:
    """Keeps an artifact and what a Compiled says beside it."""
    record = (artifact.description, artifact.kernels, len(artifact.code), signatures,
              changes_module)
    cache.put(key, record, [*artifact.constant_pieces(), artifact.code])


def find(cache: DiskCache, key: str) -> tuple[Artifact, list[Signature], bool] | None:
    """What `keep` kept; its weights are the file's pages."""
    kept = cache.get(key)
    if kept is None:
        return None
    (description, kernels, code, signatures, changes_module), data = kept
    size = len(data) - code
    constants = [(0, np.frombuffer(data, np.uint8, size))] if size else []
    artifact = Artifact(description, kernels, bytes(data[size:]), constants, size)
    return artifact, signatures, changes_module


def _add(update: Callable[[bytes], None], value: Any) -> None:
    """Adds a value to a digest: what is equal adds the same bytes, and nothing else does."""
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "torch_code"):
            _add(update, ("dtype", value.name))
            return
        value = (type(value).__name__, *(getattr(value, f.name) for f in fields(value)))
    if isinstance(value, np.ndarray):
        _add(update, ("array", value.dtype.str, value.shape, value.tobytes()))
    elif isinstance(value, (set, frozenset)):
        _add(update, ("set", *sorted(value)))
    elif isinstance(value, dict):
        _add(update, ("dict", *value.items()))
    elif isinstance(value, (tuple, list)):
        update(f"{type(value).__name__} {len(value)};".encode())
        for item in value:
            _add(update, item)
    else:
        raw = value if isinstance(value, bytes) else repr(value).encode()
        update(f"{type(value).__name__} {len(raw)};".encode() + raw)


@functools.lru_cache(maxsize=None)
def _compiler() -> tuple[object, ...]:
    """What tells one version of the compiler from another: its files, LLVM's and numpy's."""
    found: list[object] = [np.__version__]
    for package in _PACKAGES:
        for folder, folders, names in os.walk(_ROOT / package):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            found += _files(folder, sorted(names))
    llvm = importlib.util.find_spec("llvmlite")
    if llvm is not None and llvm.origin is not None:
        binding = os.path.join(os.path.dirname(llvm.origin), "binding")
        found += _files(binding, sorted(os.listdir(binding)))
    return tuple(found)


def _files(folder: str, names: Sequence[str]) -> list[object]:
    found: list[object] = []
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            status = os.stat(path)
            found.append((path, status.st_size, status.st_mtime_ns))
    return found
