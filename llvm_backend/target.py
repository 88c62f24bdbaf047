"""A target is a row: what a schedule needs to know of a CPU, and what LLVM is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.errors import TargetError


PRECISIONS = ("f32", "bf16", "int8-weights")


@dataclass(frozen=True)
class Target:
    """One CPU. Sizes in bytes; `features` are what the artifact's entry checks for."""

    name: str
    triple: str
    cpu: str  # LLVM's -mcpu
    features: tuple[str, ...]
    vector_bytes: int  # width of one vector register
    vector_registers: int
    fma_ports: int
    masked: bool  # cheap masked loads and stores
    l1: int = 32 << 10
    l2: int = 1 << 20
    l3: int = 8 << 20
    attributes: str = ""  # LLVM's -mattr where it says more than `cpu`
    tune: str = ""  # LLVM's -mtune: whose latencies its scheduler knows; "" is `cpu`
    threads: int = 1  # how many the schedule divides loops for
    precision: str = "f32"  # of the weights of products: one of PRECISIONS
    panels: Target | None = None  # the row that says how weights are packed, for several rows
    # Knobs of kernels that were measured (lowering/schedule/knobs.py: Choices), None for no such.
    choices: Any = None

    def lanes(self, element_bytes: int) -> int:
        return max(1, self.vector_bytes // element_bytes)


_X86 = "x86_64-unknown-linux-gnu"
_ARM = "aarch64-unknown-linux-gnu"
_V2 = ("sse4.2", "ssse3", "popcnt")
_V3 = _V2 + ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = _V3 + ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

# What init can ask the CPU for (see cpu_check.py); a native row names those that the machine has.
CHECKED_FEATURES = _V4 + ("avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512vnni", "avx512bitalg",
                          "avx512vpopcntdq", "avx512bf16", "avxvnni", "gfni")

TARGETS = {
    t.name: t
    for t in (
        Target("x86-64", _X86, "x86-64", (), 16, 16, 1, False),
        Target("x86-64-v2", _X86, "x86-64-v2", _V2, 16, 16, 1, False),
        Target("x86-64-v3", _X86, "x86-64-v3", _V3, 32, 16, 2, False),
        Target("x86-64-v4", _X86, "x86-64-v4", _V4, 64, 32, 2, True, l1=48 << 10),
        Target("x86-64-v4-bf16", _X86, "x86-64-v4", (*_V4, "avx512bf16"), 64, 32, 2, True,
               l1=48 << 10, attributes="+avx512bf16"),
        Target("aarch64", _ARM, "generic", (), 16, 32, 2, False),
        # Every AArch64 CPU runs these: what they say is which one the code is laid out for.
        Target("cortex-a53", _ARM, "generic", (), 16, 32, 1, False, l2=512 << 10,
               tune="cortex-a53"),
        Target("cortex-a72", _ARM, "generic", (), 16, 32, 2, False, tune="cortex-a72"),
        Target("neoverse-n1", _ARM, "generic", (), 16, 32, 2, False, l1=64 << 10, l3=32 << 20,
               tune="neoverse-n1"),
        Target("neoverse-v1", _ARM, "generic", (), 16, 32, 4, False, l1=64 << 10, l3=32 << 20,
               tune="neoverse-v1"),
    )
}


def target_of_name(name: str) -> Target:
    """The row of a name. Raises TargetError that lists the known names."""
    if name in TARGETS:
        return TARGETS[name]
    known = ", ".join(["native", *TARGETS])
    raise TargetError(f"unknown CPU '{name}': expected one of {known}")
