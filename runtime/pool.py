"""Thread pools for models that run in this process: aot_pool.c, one pool for each thread count.

The pool's code comes from the model's shared library, which has it built in. A model compiled in
this process has no library; then aot_pool.c is compiled once into the user's cache folder.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
import threading
from pathlib import Path

from runtime import abi, c_compiler
from runtime.cache_folder import cache_folder
from runtime.errors import InputError, RuntimeFailure

MAX_THREADS = 1024

_lock = threading.Lock()
_pools: dict[tuple[int, int], abi.Options] = {}  # by process and thread count; live until exit


def cpu_count() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool_options(threads: int, library: ctypes.CDLL | None = None) -> abi.Options:
    """Options that run an instance on `threads` threads (0: all CPUs, 1: serially).

    Pools are shared by all models and never freed. InputError for a bad count; CompileError if the
    pool must be compiled and cannot; RuntimeFailure if the threads cannot be started."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise InputError(f"threads: expected an int, found {threads!r}")
    if not 0 <= threads <= MAX_THREADS:
        raise InputError(f"threads: expected 0 (all CPUs) to {MAX_THREADS}, found {threads}")
    threads = threads or cpu_count()
    if threads == 1:
        return abi.Options()
    with _lock:
        key = (os.getpid(), threads)
        if key not in _pools:
            if library is None or not hasattr(library, "aot_pool_create"):
                library = ctypes.CDLL(str(_pool_library()))
            _pools[key] = _create(library, threads)
        return _pools[key]


def _create(library: ctypes.CDLL, threads: int) -> abi.Options:
    pool = ctypes.c_void_p()
    create = library.aot_pool_create
    create.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    create.restype = ctypes.c_int32
    if create(ctypes.byref(pool), threads) != abi.OK:
        raise RuntimeFailure(f"a pool of {threads} threads cannot be started")
    run = ctypes.cast(library.aot_pool_parallel_for, ctypes.c_void_p)
    return abi.Options(threads=threads, parallel_for=run.value, pool=pool.value)


def _pool_library() -> Path:
    """aot_pool.c as a shared library, compiled where the cache folder has it not yet."""
    source = c_compiler.source("aot_pool.c")
    headers = [c_compiler.INCLUDE_DIR / name for name in ("aot.h", "aot_pool.h")]
    text = b"".join(path.read_bytes() for path in (source, *headers))
    name = f"aot_pool-{hashlib.sha256(text).hexdigest()[:16]}.so"
    folder = cache_folder() or Path(tempfile.mkdtemp(prefix="aot-"))
    path = folder / name
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            built = Path(work) / name
            c_compiler.run_compiler(
                [*c_compiler.C_FLAGS, "-shared", source, "-o", built],
                "running a model on several threads",
            )
            os.replace(built, path)
    return path
