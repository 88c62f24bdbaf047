"""Program -> the text of one LLVM module, and what the program says about itself."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from llvm_backend.artifact import weights_name
from llvm_backend.cpu_check import cpu_checks
from llvm_backend.descriptor import Constants, describe_program, descriptor
from llvm_backend.emit_kernel import (COMPUTED, BufferFacts, attributes, emit_kernel,
                                      emit_turns, trip_count)
from llvm_backend.entry_check import CHECK
from llvm_backend.entry_code import entry_attributes, generic_run, typed_entry
from llvm_backend.expand_math import expand_math
from llvm_backend.fingerprint import fingerprint
from llvm_backend.foreign_code import foreign_code
from llvm_backend.heap_code import heap_functions
from llvm_backend.host_code import KernelSymbol, method_body, range_task
from llvm_backend.instance_code import instance_functions
from llvm_backend.program import Call, Program, Slot, all_statements
from llvm_backend.string_code import string_functions
from llvm_backend.target import Target
from llvm_backend.text_code import text_functions
from llvm_backend.verify_kernel import verify
from llvm_backend.versions import rows_of_kernels, versions_of
from runtime.description import ModelDescription, typed_entries


_GROUPS = 2  # the attribute group of the first version's kernels; #1 is that of the C ABI


@dataclass
class ModuleText:
    """LLVM text; kernels: how many distinct kernel functions are in it."""

    text: str
    description: ModelDescription
    kernels: int


def build_module(program: Program, target: Target) -> ModuleText:
    """The module of a program; target: what all code but that of versions is for. Its constants are
    not in it: see artifact.py."""
    constants = Constants()
    versions = versions_of(program) or [target]
    description = describe_program(program, versions[-1])
    functions: list[str] = []
    symbols, count = _kernels(program, target, functions)
    functions.append(cpu_checks(versions, constants))
    functions.append(instance_functions(program, description, constants))
    functions.append(heap_functions(program))
    functions.append(text_functions(program))
    functions.append(foreign_code(program))
    functions.append(CHECK)
    functions.append(string_functions(program, description, constants))
    dims = [method.dims for method in program.methods]
    for k, method in enumerate(program.methods):
        functions.append(method_body(k, method, program, symbols, constants))
        functions.append(generic_run(k, description, dims[k], constants))
    for entry in typed_entries(description):
        functions.append(typed_entry(entry, description, dims, constants))
    descriptor(constants, description)
    text = "\n".join([
        f'source_filename = "{program.name}"',
        f'target triple = "{target.triple}"',
        _weights(program),
        *constants.lines,
        "",
        *functions,
        *(attributes(row, _GROUPS + n, len(versions) > 1) for n, row in enumerate(versions)),
        entry_attributes(target),
        "",
    ])
    return ModuleText(text, description, count)


def _weights(program: Program) -> str:
    symbol, size = weights_name(program.name), program.constant_bytes
    if size == 0:  # a slot without elements may still name it
        return f"@{symbol} = private constant [1 x i8] zeroinitializer, align 64"
    return f"@{symbol} = external constant [{size} x i8], align 64"


def _kernels(program: Program, target: Target,
             functions: list[str]) -> tuple[dict[int, KernelSymbol], int]:
    """Emits every kernel, equal ones once; returns (id(kernel) -> symbol, distinct functions)."""
    facts = _facts(program)
    symbols: dict[int, KernelSymbol] = {}
    known: dict[tuple, KernelSymbol] = {}
    rows = rows_of_kernels(program, target)
    for kernel in program.kernels():
        version, row = rows[id(kernel)]
        key = version, fingerprint(kernel), tuple(facts[id(kernel)])
        if key not in known:
            verify(kernel)
            plain = re.sub(r"[^A-Za-z0-9_]", "_", kernel.name)
            symbol = KernelSymbol(f"k{len(known)}_{plain}", trip_count(kernel))
            known[key] = symbol
            functions.append(emit_kernel(expand_math(kernel, row), row, symbol.name,
                                         facts=facts[id(kernel)], group=_GROUPS + version))
            if symbol.trips == COMPUTED:
                functions.append(emit_turns(kernel, row, symbol.name, facts[id(kernel)],
                                            _GROUPS + version))
            if symbol.trips is not None and symbol.trips not in (0, 1):
                functions.append(range_task(symbol, len(kernel.buffers)))
        symbols[id(kernel)] = known[key]
    return symbols, len(known)


def _facts(program: Program) -> dict[int, list[BufferFacts]]:
    """What holds of each kernel's buffers in all of its calls: alignment, and no overlap."""
    found: dict[int, list[BufferFacts]] = {}

    def meet(s: Call) -> None:
        if len(s.slots) != len(s.kernel.buffers):
            raise ValueError(f"kernel {s.kernel.name}: {len(s.kernel.buffers)} buffers, "
                             f"called with {len(s.slots)}")
        now = [BufferFacts(_alignment(slot), _alone(s, k)) for k, slot in enumerate(s.slots)]
        for b, f in zip(s.kernel.buffers, now):
            if b.align > f.align:
                raise ValueError(f"kernel {s.kernel.name}: buffer {b.name} wants alignment "
                                 f"{b.align}, its slot has {f.align}")
        before = found.get(id(s.kernel), now)
        found[id(s.kernel)] = [BufferFacts(math.gcd(a.align, b.align), a.alone and b.alone)
                               for a, b in zip(before, now)]

    for m in program.methods:
        for s in all_statements(m.body):
            if isinstance(s, Call):
                meet(s)
    return found


def _alignment(s: Slot) -> int:
    """Bytes that a slot's address is a multiple of; a caller's memory has its element's only."""
    if s.space == "heap":
        return 16  # what malloc gives
    base = s.dtype.bytes if s.space in ("input", "output") else 64
    return math.gcd(base, s.offset) if s.offset else base


def _alone(s: Call, k: int) -> bool:
    """False if slot k shares bytes with another slot of the call and one of the two is written."""
    mine = s.slots[k]
    for n, other in enumerate(s.slots):
        if n == k or (mine.space, mine.index) != (other.space, other.index):
            continue
        if not (s.kernel.buffers[k].writable or s.kernel.buffers[n].writable):
            continue
        if (mine.offset < other.offset + other.size * other.dtype.bytes
                and other.offset < mine.offset + mine.size * mine.dtype.bytes):
            return False
    return True
