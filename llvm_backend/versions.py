"""One program for several CPUs: each method has a body a CPU, and all share constants and state.

    main(x): k0; k1  for v4        main(x): version 0: k0; k1
    main(x): k0; k1  for v3   ~>            version 1: k0'; k1'

init asks the CPU and writes down the number of the first version that it runs; `HostVersions` reads
it. Constants of equal contents are one; those of products are equal where the rows have `panels` of
the first one (target.py).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import fields, is_dataclass, replace
from typing import Any, Callable, Sequence

import numpy as np

from llvm_backend.kernel import Kernel
from llvm_backend.program import Call, HostVersions, Program, Slot, all_statements
from llvm_backend.target import Target
from runtime.errors import TargetError

_ALIGNMENT = 64


def in_order(targets: Sequence[Target]) -> list[Target]:
    """The rows in the order in which a CPU is asked, most wanted first, each once; all read weights
    as the first one packs them. TargetError for rows of two architectures."""
    rows = sorted(dict.fromkeys(targets), key=lambda t: (-t.vector_bytes, -len(t.features)))
    kinds = sorted({t.triple.split("-")[0] for t in rows})
    if len(kinds) > 1:
        raise TargetError("one object holds code of one architecture, not of "
                          f"{' and '.join(kinds)}")
    if len(rows) > 1 and kinds != ["x86_64"]:
        raise TargetError("several rows in one object are for x86-64 only: code cannot ask other "
                          "CPUs what they are")
    return rows if len(rows) == 1 else [replace(t, panels=rows[0]) for t in rows]


def merge_versions(programs: Sequence[Program], targets: Sequence[Target]) -> Program:
    """The programs as versions of one. They are of the same methods, in the order of `in_order`."""
    if len(programs) == 1:
        return programs[0]
    kept = [(p.state_bytes, p.state_fingerprint, p.generator) for p in programs]
    assert all(k == kept[0] for k in kept), "what is kept from call to call depends on the CPU"
    constants = _Constants()
    moved = [_moved(p, constants) for p in programs]
    methods = [
        replace(m, body=[HostVersions([p.methods[k].body for p in moved], list(targets))])
        for k, m in enumerate(programs[0].methods)
    ]
    return replace(moved[0], methods=methods, constants=constants.found,
                   constant_bytes=constants.bytes,
                   arena_bytes=max(p.arena_bytes for p in programs),
                   heap_blocks=max(p.heap_blocks for p in programs))


def versions_of(program: Program) -> list[Target]:
    """The rows that a program was merged for; none for one that has one version."""
    for m in program.methods:
        for s in m.body:
            if isinstance(s, HostVersions):
                return s.targets
    return []


def rows_of_kernels(program: Program, target: Target) -> dict[int, tuple[int, Target]]:
    """id(kernel) -> the number of its version, and the row that it is for."""
    rows = {id(k): (0, target) for k in program.kernels()}
    for m in program.methods:
        for s in m.body:
            if isinstance(s, HostVersions):
                for n, (body, row) in enumerate(zip(s.bodies, s.targets)):
                    rows.update((id(call.kernel), (n, row)) for call in all_statements(body)
                                if isinstance(call, Call))
    return rows


class _Constants:
    """Constants of several programs, equal ones once."""

    def __init__(self) -> None:
        self.found: list[tuple[int, np.ndarray]] = []
        self.bytes = 0
        self._known: dict[tuple[int, bytes], int] = {}

    def place(self, data: np.ndarray) -> int:
        """The offset of a constant."""
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        key = flat.size, hashlib.sha256(flat.data).digest()
        if key not in self._known:
            self._known[key] = self.bytes
            self.found.append((self.bytes, data))
            self.bytes += -(-max(flat.size, 1) // _ALIGNMENT) * _ALIGNMENT
        return self._known[key]


def _moved(program: Program, constants: _Constants) -> Program:
    """The program with its constants among those of all."""
    starts = sorted((offset, data) for offset, data in program.constants)
    olds = [offset for offset, _ in starts]
    news = [constants.place(data) for _, data in starts]

    def move(offset: int) -> int:
        if not olds:
            return offset  # a slot without elements
        k = bisect_right(olds, offset) - 1
        return news[k] + offset - olds[k]

    methods = [replace(m, body=_with_slots(m.body, move)) for m in program.methods]
    state = [(at, move(source), size) for at, source, size in program.state]
    return replace(program, methods=methods, state=state)


def _with_slots(x: Any, move: Callable[[int], int]) -> Any:
    """Statements, or what is in one, with other offsets of constants."""
    if isinstance(x, Slot):
        return replace(x, offset=move(x.offset)) if x.space == "constant" else x
    if isinstance(x, (list, tuple)):
        return type(x)(_with_slots(item, move) for item in x)
    if is_dataclass(x) and not isinstance(x, Kernel):
        return replace(x, **{f.name: _with_slots(getattr(x, f.name), move) for f in fields(x)})
    return x
