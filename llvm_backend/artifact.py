"""Artifact: machine code, its constants and what it says about itself, from compiler or cache.

The code names its constants by one symbol that it does not define, and reaches them through the
global offset table. So one code serves files (elf_weights.py adds the constants) and this process
(jit.py says where they lie), and it is small enough to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from llvm_backend.elf_weights import ALIGNMENT, attach_weights, placed
from runtime.description import ModelDescription


@dataclass
class Artifact:
    """A compiled program. constants: (byte offset, array) of each, in constant_bytes in all.

    kernels: how many distinct ones; seconds: stage -> time that it took."""

    description: ModelDescription
    kernels: int
    code: bytes
    constants: list[tuple[int, np.ndarray]]
    constant_bytes: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Of one call of every method."""
        return sum(m.flops for m in self.description.methods)

    def object_parts(self) -> list[bytes | memoryview]:
        """The relocatable object with the constants in it, in pieces that follow one another."""
        return attach_weights(self.code, weights_name(self.description.name), self.constants,
                              self.constant_bytes)

    def object_bytes(self) -> bytes:
        """The relocatable object."""
        return b"".join(self.object_parts())

    def constant_pieces(self) -> list[bytes | memoryview]:
        """All constants in pieces that follow one another."""
        return placed(self.constants, self.constant_bytes)

    def weights(self) -> np.ndarray:
        """All constants as one array of bytes whose address is a multiple of 64."""
        return aligned_bytes(self.constants, self.constant_bytes)


def weights_name(model: str) -> str:
    """The symbol of a model's constants; no C identifier, so no other symbol is like it."""
    return f"{model}.weights"


def aligned_bytes(parts: list[tuple[int, np.ndarray]], size: int) -> np.ndarray:
    """The parts at their offsets in one array of bytes, aligned; itself where there is one such."""
    if len(parts) == 1 and parts[0][0] == 0 and parts[0][1].nbytes == size:
        whole = parts[0][1]
        if whole.dtype == np.uint8 and whole.ndim == 1 and whole.ctypes.data % ALIGNMENT == 0:
            return whole
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    memory = raw[start:start + size]
    for offset, data in parts:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        memory[offset:offset + flat.size] = flat
    return memory
