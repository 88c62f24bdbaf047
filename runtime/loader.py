"""Run compiled models from Python: numpy arrays in, numpy arrays out. Needs numpy and ctypes only.

    model = load_library("digits.so")        # or CompiledModel(address_of_descriptor, keepalive)
    logits = model(images)                   # the method `forward`, or the only one
    other = model.methods["encode"](x, n=3)  # any method; model.encode(x, n=3) is the same

Calls release the GIL and may come from many threads: each runs on an instance of its own, taken
from a free list. A model with state (`description.stateful`) has one instance and runs one call at
a time, in the order of the calls; `reset()` puts it back to the archive's state.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from typing import Any

import numpy as np

from runtime import abi
from runtime.call import Frame, Method
from runtime.description import ModelDescription
from runtime.errors import AotError, InputError, RuntimeFailure, TargetError
from runtime.library_file import open_library
from runtime.pool import cpu_count, pool_options

ENTRY = "aot_model_entry"  # the descriptor's name in every shared library
_MIN_IDLE = 4  # instances kept for the next calls; more than the CPUs would only hold memory


class Instance:
    """One instance of a model: its memory, and the call frames of its methods."""

    __slots__ = ("memory", "address", "frames")

    def __init__(self, size: int, alignment: int, methods: int):
        self.memory = np.empty(size + alignment, np.uint8)  # pages come when written
        start = self.memory.__array_interface__["data"][0]
        self.address = -(-start // alignment) * alignment
        self.frames: list[Frame | None] = [None] * methods


class CompiledModel:
    """A model at a descriptor's address in this process. See the module's text.

    keepalive: what holds the code in memory (a library, a JIT engine), kept as long as the model.
    threads: how many threads one call may use; 0 is all CPUs. seed: of its random numbers, 0 is
    the default. library: where to look for the thread pool first.
    """

    def __init__(
        self,
        address: int,
        keepalive: object = None,
        threads: int = 1,
        seed: int = 0,
        library: ctypes.CDLL | None = None,
    ):
        self._keepalive = keepalive
        self._c = abi.model_at(address)
        self.description: ModelDescription = abi.describe(self._c)
        pool = pool_options(threads, library)
        self._options = abi.Options(pool.threads, pool.parallel_for, pool.pool, seed)
        self._free: deque[Instance] = deque(maxlen=max(_MIN_IDLE, cpu_count()))
        self._lock = threading.Lock() if self.description.stateful else None
        self.methods: dict[str, Method] = {
            m.name: Method(self, i, m, self._c.methods[i])
            for i, m in enumerate(self.description.methods)
        }
        self._main = self.methods.get("forward")
        if self._main is None and len(self.methods) == 1:
            (self._main,) = self.methods.values()
        self._free.append(self._new_instance())  # so that a CPU that does not fit shows here

    @property
    def name(self) -> str:
        """The name that the model was compiled with."""
        return self.description.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the method `forward`, or the only method."""
        if self._main is None:
            raise InputError(f"{self.name} has no method 'forward': call one of "
                             f"{', '.join(self.methods)}")
        return self._main(*args, **kwargs)

    def __getattr__(self, name: str) -> Method:
        methods = self.__dict__.get("methods", {})
        if name in methods:
            return methods[name]
        raise AttributeError(f"{type(self).__name__} has no attribute or method {name!r}")

    def reset(self) -> None:
        """Put the model's state (buffers that calls changed, random numbers) back to the start."""
        if self._lock is None:
            return
        with self._lock:
            self._init(self._free[0])

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} '{self.name}' for {self.description.target_cpu}"]
        return "\n  ".join([*lines, *map(str, self.description.methods)])

    # ---- Instances: used by Method -----------------------------------------------------------

    def acquire(self) -> Instance:
        """An instance for one call; give it back with `release`."""
        if self._lock is not None:
            self._lock.acquire()
            return self._free[0]
        try:
            return self._free.pop()
        except IndexError:
            return self._new_instance()

    def release(self, instance: Instance) -> None:
        """End of the call that `acquire` began."""
        if self._lock is not None:
            self._lock.release()
        else:
            self._free.append(instance)  # a full list drops the one that has waited longest

    def failure(self, instance: Instance, status: int, where: str) -> AotError:
        """The error for a status, with the instance's message."""
        message = abi.text(self._c.message(instance.address))
        if status == abi.UNSUPPORTED_CPU:
            needs = ", ".join(self.description.cpu_features)
            detail = f": {message}" if message else f" (it needs {needs})"
            return TargetError(f"this CPU cannot run '{self.name}', which was compiled for "
                               f"{self.description.target_cpu}{detail}")
        if status == abi.INVALID_ARGUMENT:
            return InputError(message or f"{where}: invalid argument")
        if status == abi.OUT_OF_MEMORY:
            return RuntimeFailure(f"{where}: out of memory")
        return RuntimeFailure(message or f"{where}: the model failed with status {status}")

    def _new_instance(self) -> Instance:
        size, alignment = self.description.instance_size, self.description.instance_alignment
        try:
            instance = Instance(size, alignment, len(self.methods))
        except MemoryError:
            raise RuntimeFailure(f"no memory for an instance of '{self.name}': it needs "
                                 f"{size} bytes") from None
        self._init(instance)
        return instance

    def _init(self, instance: Instance) -> None:
        status = self._c.init(instance.address, ctypes.addressof(self._options))
        if status != abi.OK:
            raise self.failure(instance, status, f"{self.name}: init")


class CompiledLibrary(CompiledModel):
    """A model in a shared library. `path` is the file."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 1, seed: int = 0):
        self.path = os.path.abspath(os.fspath(path))
        library = open_library(self.path)
        try:
            address = ctypes.addressof(ctypes.c_char.in_dll(library, ENTRY))
        except ValueError:
            raise InputError(f"{self.path}: not a compiled model: the library does not define "
                             f"{ENTRY}") from None
        super().__init__(address, library, threads, seed, library)


def load_library(
    path: str | os.PathLike[str], threads: int = 1, seed: int = 0
) -> CompiledLibrary:
    """The model of a shared library that `aot-compile --emit lib` wrote.

    The file is code and runs: load only what you trust. InputError: no such file, not a library,
    not a model; TargetError: this CPU cannot run it."""
    return CompiledLibrary(path, threads, seed)
