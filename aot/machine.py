"""What --cpu native depends on, told without LLVM: the CPU's kind, features and caches."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

_CPU_LINES = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags",  # x86-64
              "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision",
              "Features")  # AArch64


@functools.lru_cache(maxsize=None)
def this_machine() -> object:
    """Equal for equal machines. Where Linux does not tell, LLVM is asked, which takes longer to
    load."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        caches = Path("/sys/devices/system/cpu/cpu0/cache")
        sizes = [(p / "size").read_text() for p in sorted(caches.glob("index*"))]
    except OSError:
        return repr(importlib.import_module("llvm_backend.native").native_target())
    lines = [line for line in first if line.partition("\t")[0].strip(" :") in _CPU_LINES]
    return (*lines, *sizes)
