"""Puts the weights into an ELF object after the compiler has written it.

The compiler sees one undefined hidden symbol; here it gets a section of its own, `.rodata.weights`,
appended to the file with a new table of section headers. So half a gigabyte of weights passes
through neither LLVM's text nor its assembler, on every target, and is not copied.
"""

from __future__ import annotations

import struct
from typing import Sequence

import numpy as np

from runtime.errors import CompileError

ALIGNMENT = 64
_LIMIT = (1 << 31) - (1 << 27)  # code reaches constants by 32-bit offsets; room for the rest
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_PROGBITS, _SYMTAB, _RELA, _ALLOC = 1, 2, 4, 2
_OBJECT = 1  # a local symbol's st_info: binding 0, type object


def attach_weights(code: bytes, symbol: str, parts: Sequence[tuple[int, np.ndarray]],
                   size: int) -> list[bytes | memoryview]:
    """The 64-bit little-endian object with `symbol` defined as `size` bytes: the parts at their
    offsets, zeros between. In pieces that follow one another, so that weights are not copied to be
    written. CompileError for more than an object can address."""
    if size == 0:
        return [code]
    if size > _LIMIT:
        raise CompileError(f"the weights take {size / 2**30:.2f} GiB; an object holds at most "
                           f"{_LIMIT / 2**30:.2f} GiB")
    head = bytearray(code)
    fields = list(_HEADER.unpack_from(head))
    table, count, names_index = fields[6], fields[12], fields[13]
    sections = [list(_SECTION.unpack_from(head, table + k * _SECTION.size)) for k in range(count)]
    _define(head, sections, symbol, len(sections), size)

    names = sections[names_index]
    text = bytes(head[names[4]:names[4] + names[5]])
    new_name = len(text)
    text += b".rodata.weights\0"
    out: list[bytes | memoryview] = []
    at = len(head)

    def align(to: int) -> int:
        nonlocal at
        out.append(bytes(-at % to))
        at += -at % to
        return at

    start = align(ALIGNMENT)
    out += placed(parts, size)
    at += size
    sections.append([new_name, _PROGBITS, _ALLOC, 0, start, size, 0, 0, ALIGNMENT, 0])
    names[4], names[5] = at, len(text)
    out.append(text)
    at += len(text)
    fields[6], fields[12] = align(8), len(sections)
    out += [_SECTION.pack(*s) for s in sections]
    _HEADER.pack_into(head, 0, *fields)
    out.insert(0, bytes(head))
    return out


def placed(parts: Sequence[tuple[int, np.ndarray]], size: int) -> list[bytes | memoryview]:
    """The parts at their offsets, zeros between, `size` bytes in all: as pieces that follow one
    another, which are the parts' own memory."""
    out: list[bytes | memoryview] = []
    at = 0
    for offset, data in sorted(parts, key=lambda p: p[0]):
        if offset < at:
            raise ValueError(f"constants overlap at byte {offset}")
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        out += [bytes(offset - at), flat.data]
        at = offset + flat.size
    if at > size:
        raise ValueError("constants reach beyond their size")
    return [*out, bytes(size - at)]


def _define(head: bytearray, sections: list[list[int]], symbol: str, index: int, size: int) -> None:
    """The undefined symbol becomes the beginning of section `index`, a local one. Locals come
    before globals, so it changes places with the first global, also in the relocations. If no code
    uses the symbol it is not there, and nothing is to do."""
    for s in sections:
        if s[1] != _SYMTAB:
            continue
        table, count, strings, first_global = s[4], s[5] // _SYMBOL.size, sections[s[6]], s[7]
        for k in range(first_global, count):
            name, _, _, where, _, _ = _SYMBOL.unpack_from(head, table + k * _SYMBOL.size)
            begin = strings[4] + name
            if where == 0 and head[begin:head.index(0, begin)] == symbol.encode():
                break
        else:
            continue
        other = _SYMBOL.unpack_from(head, table + first_global * _SYMBOL.size)
        _SYMBOL.pack_into(head, table + k * _SYMBOL.size, *other)
        _SYMBOL.pack_into(head, table + first_global * _SYMBOL.size, name, _OBJECT, 0, index, 0,
                          size)
        s[7] = first_global + 1
        _swap_in_relocations(head, sections, k, first_global)


def _swap_in_relocations(head: bytearray, sections: list[list[int]], a: int, b: int) -> None:
    """Relocations name symbols by index, in the upper half of their second word."""
    for s in sections:
        if s[1] != _RELA:
            continue
        words = np.frombuffer(head, np.uint64, s[5] // 8, s[4]).reshape(-1, 3)
        info = words[:, 1]
        was_a, was_b = info >> np.uint64(32) == a, info >> np.uint64(32) == b
        change = np.uint64((a ^ b) << 32)
        info[was_a | was_b] ^= change
