"""The instances of a compiled model: memory for calls that run at the same time.

A model without state has a free list: a call takes an instance or makes one, and gives it back. A
model with state has one instance behind a lock, so that the order of the calls is the order of its
states.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Callable, Protocol

import numpy as np

from runtime import abi
from runtime.description import ModelDescription
from runtime.errors import AotError, InputError, RuntimeFailure, TargetError
from runtime.pool import cpu_count

if TYPE_CHECKING:
    from runtime.call import Frame

_MIN_IDLE = 4  # instances kept for the next calls; more than the CPUs would only hold memory


class Lent(Protocol):
    """Something of the caller's that is in the instance, at this address, while a call runs."""

    def enter(self, address: int) -> None: ...

    def leave(self, address: int) -> None: ...


class Instance:
    """One instance: its memory, and the call frames of its methods."""

    __slots__ = ("memory", "address", "frames", "release", "__weakref__")

    def __init__(self, size: int, alignment: int, methods: int):
        self.memory = np.empty(size + alignment, np.uint8)  # pages come when written
        start = self.memory.__array_interface__["data"][0]
        self.address = -(-start // alignment) * alignment
        self.frames: list[Frame | None] = [None] * methods
        self.release: weakref.finalize | None = None  # gives back what the model allocated


class Instances:
    """All instances of the model at a descriptor's address, which have the same options.

    keepalive: what holds the code in memory, kept as long as this object. Makes one instance at
    once, so that a CPU that does not fit shows here: TargetError."""

    def __init__(self, address: int, keepalive: object, options: abi.Options):
        self.address, self.c = address, abi.model_at(address)
        self.description: ModelDescription = abi.describe(self.c)
        self.options = options
        self._keepalive = keepalive
        self._free: deque[Instance] = deque(maxlen=max(_MIN_IDLE, cpu_count()))
        self._lock = threading.Lock() if self.description.stateful else None
        self.lent: Lent | None = None  # what calls find in the instance, and leave
        self._free.append(self._make())

    def acquire(self) -> Instance:
        """An instance for one call; give it back with `release`."""
        if self._lock is not None:
            self._lock.acquire()
            instance = self._free[0]
            if self.lent is not None:
                self.lent.enter(instance.address)
            return instance
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def release(self, instance: Instance) -> None:
        """End of the call that `acquire` began."""
        if self._lock is not None:
            if self.lent is not None:
                self.lent.leave(instance.address)
            self._lock.release()
        else:
            self._free.append(instance)  # a full list drops the one that has waited longest

    def reset(self) -> None:
        """Put the state back to the start."""
        if self._lock is not None:
            with self._lock:
                self._init(self._free[0])

    def copy(self) -> Instances:
        """Others with the same options, and a state of their own that begins as this one is."""
        other = Instances(self.address, self._keepalive, self.options)
        if self._lock is not None and self.description.state_size:
            with self._lock:
                status = self.c.copy(other._free[0].address, self._free[0].address)
            if status != abi.OK:
                raise self.failure(other._free[0], status, "copy")
        return other

    def save(self) -> bytes:
        """The state; empty where nothing is kept."""
        saved = ctypes.create_string_buffer(self.description.state_size)
        if self._lock is not None and self.description.state_size:
            with self._lock:
                status = self.c.save(self._free[0].address, saved)
            if status != abi.OK:
                raise self.failure(self._free[0], status, "save")
        return saved.raw

    def restore(self, saved: bytes) -> None:
        """Puts the state back to what `save` gave. InputError for other bytes."""
        if self._lock is None or not self.description.state_size:
            if saved:
                raise InputError(f"'{self.description.name}' keeps nothing from call to call; a "
                                 f"saved state of {len(saved)} bytes was given")
            return
        with self._lock:
            status = self.c.restore(self._free[0].address, saved, len(saved))
            if status != abi.OK:
                raise self.failure(self._free[0], status, "restore")

    def seed(self, seed: int) -> None:
        """Begin the random numbers anew."""
        if self.description.draws:
            assert self._lock is not None
            with self._lock:
                self.c.seed(self._free[0].address, seed % 2**64)

    def failure(self, instance: Instance, status: int, where: str) -> AotError:
        """The error for a status, with the instance's message. `where` is the method."""
        name = self.description.name
        message = abi.text(self.c.message(instance.address))
        if status == abi.UNSUPPORTED_CPU:
            needs = ", ".join(self.description.cpu_features)
            detail = f": {message}" if message else f" (it needs {needs})"
            return TargetError(f"this CPU cannot run '{name}', which was compiled for "
                               f"{self.description.target_cpu}{detail}")
        if status == abi.INVALID_ARGUMENT:
            return InputError(message or f"{name}.{where}: invalid argument")
        if status == abi.OUT_OF_MEMORY:
            return RuntimeFailure(f"{name}.{where}: out of memory")
        return RuntimeFailure(message or f"{name}.{where}: failed with status {status}")

    def _make(self) -> Instance:
        d = self.description
        try:
            instance = Instance(d.instance_size, d.instance_alignment, len(d.methods))
        except MemoryError:
            raise RuntimeFailure(f"no memory for an instance of '{d.name}': it needs "
                                 f"{d.instance_size} bytes") from None
        self._init(instance)
        return instance

    def _init(self, instance: Instance) -> None:
        if instance.release is not None:
            instance.release()  # init forgets what blocks there are
        status = self.c.init(instance.address, ctypes.addressof(self.options))
        if status != abi.OK:
            raise self.failure(instance, status, "init")
        if self.description.allocates:
            instance.release = weakref.finalize(
                instance, _give_back, self.c.release, instance.address,
                (instance.memory, self._keepalive))
            instance.release.atexit = False  # the process takes its memory along


def _give_back(release: Callable[[int], None], address: int, alive: object) -> None:
    """Frees what an instance allocated; `alive` are its memory and its code."""
    release(address)
