"""The row of this machine: CPU name and features from LLVM, cache sizes from the kernel."""

from __future__ import annotations

import functools
from pathlib import Path

import llvmlite.binding as llvm

from llvm_backend.target import CHECKED_FEATURES, TARGETS, Target, target_of_name
from runtime.errors import TargetError

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Implied by the architecture or by what is checked; every other feature of the CPU stays unused, so
# that the check in init covers all that the code needs.
_BASELINE = {"64bit", "cmov", "crc32", "cx16", "cx8", "fxsr", "mmx", "sahf", "sse", "sse2", "sse3",
             "sse4.1", "x87"}
_UNITS = {"K": 1 << 10, "M": 1 << 20}


def resolve_target(name: str) -> Target:
    """The row of a --cpu name, 'native' included; TargetError lists the known names."""
    return native_target() if name == "native" else target_of_name(name)


@functools.lru_cache(maxsize=None)
def native_target() -> Target:
    """This machine's row; TargetError where it is neither x86-64 nor AArch64."""
    triple = llvm.get_process_triple()
    machine = triple.split("-")[0]
    if machine not in ("x86_64", "aarch64"):
        raise TargetError(f"no code for this machine's {machine}: expected x86_64 or aarch64")
    found = llvm.get_host_cpu_features()
    caches = cache_sizes()
    cpu = llvm.get_host_cpu_name()
    if machine == "aarch64":
        base = TARGETS["aarch64"]
        return Target("native", triple, cpu, (), 16, base.vector_registers, 2, False, *caches,
                      found.flatten())
    features = tuple(f for f in CHECKED_FEATURES if found.get(f))
    usable = set(features) | _BASELINE
    attributes = ",".join(("+" if has and name in usable else "-") + name
                          for name, has in sorted(found.items()))
    wide = all(found.get(f) for f in TARGETS["x86-64-v4"].features)
    avx2 = all(found.get(f) for f in ("avx2", "fma"))
    vector_bytes = 64 if wide else 32 if avx2 else 16
    return Target("native", triple, cpu, features, vector_bytes, 32 if wide else 16,
                  2 if avx2 else 1, wide, *caches, attributes)


def cache_sizes() -> tuple[int, int, int]:
    """Bytes of the data caches of level 1, 2 and 3; the defaults of Target where unknown."""
    sizes = {1: Target.l1, 2: Target.l2, 3: Target.l3}
    try:
        for index in sorted(_CACHES.glob("index*")):
            if (index / "type").read_text().strip() == "Instruction":
                continue
            text = (index / "size").read_text().strip()
            number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1] in _UNITS else (text, 1)
            sizes[int((index / "level").read_text())] = int(number) * unit
    except (OSError, ValueError, KeyError):
        pass  # a container without /sys: the defaults serve
    return sizes[1], sizes[2], sizes[3]
