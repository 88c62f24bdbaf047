"""The check in `init` that the CPU, and the operating system, run what the object was built for."""

from __future__ import annotations

from typing import Sequence

from llvm_backend.descriptor import Constants
from llvm_backend.target import Target

# feature: (cpuid leaf, subleaf, result register, bit)
_BITS = {
    "ssse3": (1, 0, 2, 9), "fma": (1, 0, 2, 12), "sse4.2": (1, 0, 2, 20), "movbe": (1, 0, 2, 22),
    "popcnt": (1, 0, 2, 23), "avx": (1, 0, 2, 28), "f16c": (1, 0, 2, 29),
    "bmi": (7, 0, 1, 3), "avx2": (7, 0, 1, 5), "bmi2": (7, 0, 1, 8), "avx512f": (7, 0, 1, 16),
    "avx512dq": (7, 0, 1, 17), "avx512ifma": (7, 0, 1, 21), "avx512cd": (7, 0, 1, 28),
    "avx512bw": (7, 0, 1, 30), "avx512vl": (7, 0, 1, 31), "avx512vbmi": (7, 0, 2, 1),
    "avx512vbmi2": (7, 0, 2, 6), "gfni": (7, 0, 2, 8), "avx512vnni": (7, 0, 2, 11),
    "avx512bitalg": (7, 0, 2, 12), "avx512vpopcntdq": (7, 0, 2, 14), "avxvnni": (7, 1, 0, 4),
    "avx512bf16": (7, 1, 0, 5), "lzcnt": (0x80000001, 0, 2, 5),
}
_YMM = {"avx", "avx2", "fma", "f16c", "avxvnni"}


def cpu_checks(targets: Sequence[Target], constants: Constants) -> str:
    """`@.cpu()`: NULL, or the message that names the first feature missing for the last of the
    targets. `@.version()`: the number of the first target whose code this CPU runs."""
    checks = [_check(t, f"@.cpu{n}", constants) for n, t in enumerate(targets)]
    lacks = ["define internal ptr @.cpu() #1 {"]
    which = ["define internal i64 @.version() #1 {"]
    last = len(targets) - 1
    number = str(last)
    for n in range(last, -1, -1):
        which += [f"  %lacks{n} = call ptr @.cpu{n}()",
                  f"  %runs{n} = icmp eq ptr %lacks{n}, null",
                  f"  %first{n} = select i1 %runs{n}, i64 {n}, i64 {number}"]
        number = f"%first{n}"
    lacks += ["  %number = call i64 @.version()", f"  %last = icmp eq i64 %number, {last}",
              f"  %lacks = call ptr @.cpu{last}()",
              "  %message = select i1 %last, ptr %lacks, ptr null", "  ret ptr %message", "}", ""]
    return "\n".join([*checks, *which, f"  ret i64 {number}", "}", "", *lacks])


def _check(target: Target, name: str, constants: Constants) -> str:
    """`define internal ptr NAME()`: NULL, or the message that names the first missing feature.

    CPUID says what the CPU has, XGETBV which registers the operating system saves."""
    lines = [f"define internal ptr {name}() #1 {{"]
    if not target.triple.startswith("x86_64") or not target.features:
        return "\n".join([*lines, "  ret ptr null", "}", ""])
    quad = "{ i32, i32, i32, i32 }"
    leaves: dict[tuple[int, int], list[str]] = {}
    emit = lines.append
    count = 0

    def fresh(text: str) -> str:
        nonlocal count
        count += 1
        emit(f"  %t{count} = {text}")
        return f"%t{count}"

    def cpuid(leaf: int, sub: int) -> list[str]:
        r = fresh(f'call {quad} asm sideeffect "cpuid", "={{ax}},={{bx}},={{cx}},={{dx}},{{ax}},'
                  f'{{cx}}"(i32 {leaf & 0xFFFFFFFF}, i32 {sub})')
        return [fresh(f"extractvalue {quad} {r}, {k}") for k in range(4)]

    def has(register: str, bits: int) -> str:
        masked = fresh(f"and i32 {register}, {bits}")
        return fresh(f"icmp eq i32 {masked}, {bits}")

    highest = cpuid(0, 0)[0]
    highest_extended = cpuid(0x80000000, 0)[0]
    leaves[1, 0] = cpuid(1, 0)
    saves = has(leaves[1, 0][2], 1 << 27)
    emit(f"  br i1 {saves}, label %xgetbv, label %ready")
    emit("xgetbv:")
    pair = fresh('call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx}"(i32 0)')
    enabled = fresh(f"extractvalue {{ i32, i32 }} {pair}, 0")
    emit("  br label %ready\nready:")
    xcr0 = fresh(f"phi i32 [ 0, %entry ], [ {enabled}, %xgetbv ]")
    lines[1:1] = ["entry:"]
    missing = "null"
    for feature in reversed(target.features):
        leaf, sub, register, bit = _BITS[feature]
        if (leaf, sub) not in leaves:
            leaves[leaf, sub] = cpuid(leaf, sub)
        limit = highest_extended if leaf >= 0x80000000 else highest
        ok = fresh(f"icmp uge i32 {limit}, {leaf}")
        present = has(leaves[leaf, sub][register], 1 << bit)
        ok = fresh(f"and i1 {ok}, {present}")
        if feature in _YMM or feature.startswith("avx512"):
            saved = has(xcr0, 0xE6 if feature.startswith("avx512") else 6)
            ok = fresh(f"and i1 {ok}, {saved}")
        text = constants.string(f"this CPU lacks {feature}, which the object was compiled for "
                                f"(target {target.name})")
        missing = fresh(f"select i1 {ok}, ptr {missing}, ptr {text}")
    emit(f"  ret ptr {missing}")
    return "\n".join([*lines, "}", ""])
