"""Reads the members of an archive: a zip file, taken with suspicion.

Nothing a header says is believed before it is checked against the bytes that are there: offsets and
sizes against the file, the local header against the central directory, members against each other
(no overlap), inflated sizes against a budget that follows from the file's size, contents against
their CRC. The whole file is read once into an aligned buffer; stored members are views on it.
"""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from struct import Struct

import numpy as np

from runtime.errors import ArchiveError

_END = Struct("<4s4H2LH")  # end of central directory
_END64_LOCATOR = Struct("<4sLQL")
_END64 = Struct("<4sQ2H2L4Q")
_CENTRAL = Struct("<4s6H3L5H2L")
_LOCAL = Struct("<4s5H3L2H")

_MAX_COMMENT = 0xFFFF
_MAX_MEMBERS = 1 << 18
# What all deflated members together may inflate to, beside a multiple of the file's size. Weights
# of zeros deflate a thousandfold, code twentyfold; a bomb exceeds this.
_INFLATED_BASE = 64 << 20
_INFLATED_FACTOR = 100
_ALIGNMENT = 64


@dataclass(frozen=True)
class Member:
    """One file of the archive: where its bytes lie, how they are packed, what they must sum to."""

    name: str
    deflated: bool
    crc: int
    packed_size: int
    size: int
    offset: int  # of the packed bytes


class Container:
    """The members of one archive below its root folder.

    `name` is what messages call the archive. Member names are without the root: 'data.pkl'.
    """

    def __init__(self, name: str, data: np.ndarray, script: bool = True) -> None:
        self.name = name
        self.data = data
        self.root, self.members = _read_directory(name, data, script)
        self._budget = _INFLATED_BASE + _INFLATED_FACTOR * len(data)

    def __contains__(self, member: str) -> bool:
        return member in self.members

    def error(self, message: str, member: str | None = None) -> ArchiveError:
        place = self.name if member is None else f"{self.name}: {member}"
        return ArchiveError(f"{place}: {message}")

    def read(self, name: str) -> memoryview:
        """A member's contents, checked; ArchiveError if it is missing or damaged."""
        member = self.members.get(name)
        if member is None:
            raise self.error(f"the archive has no member {name!r}")
        packed = memoryview(self.data)[member.offset : member.offset + member.packed_size]
        contents = self._inflate(member, packed) if member.deflated else packed
        if zlib.crc32(contents) != member.crc:
            raise self.error("the checksum does not match; the archive is damaged", name)
        return contents

    def _inflate(self, member: Member, packed: memoryview) -> memoryview:
        self._budget -= member.size
        if self._budget < 0:
            raise self.error(
                f"inflates to {member.size} bytes from {member.packed_size}, more than an archive "
                f"of {len(self.data)} bytes may hold in all",
                member.name,
            )
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            contents = inflater.decompress(packed, member.size + 1)
        except zlib.error as error:
            raise self.error(f"damaged deflate stream ({error})", member.name) from None
        if len(contents) != member.size:
            raise self.error(
                f"expected {member.size} bytes, the deflate stream has "
                f"{'more' if len(contents) > member.size else len(contents)}",
                member.name,
            )
        return memoryview(contents)


def open_container(source: str | os.PathLike | bytes | io.IOBase,
                   script: bool = True) -> Container:
    """Read an archive from a path, from bytes or from an open binary file; of torch.jit.save, or
    with `script` false of torch.save."""
    if isinstance(source, (str, os.PathLike)):
        return Container(os.fspath(source), _read_file(source), script)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Container("<bytes>", _aligned_copy(source), script)
    if hasattr(source, "read"):
        contents = source.read()
        if not isinstance(contents, (bytes, bytearray)):
            raise ArchiveError("expected a file opened in binary mode ('rb'), found text")
        name = str(getattr(source, "name", "<file>"))
        return Container(name, _aligned_copy(contents), script)
    raise ArchiveError(f"expected a path, bytes or an open file, found {type(source).__name__}")


def _aligned_buffer(size: int) -> np.ndarray:
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size]


def _aligned_copy(data: bytes | bytearray | memoryview) -> np.ndarray:
    buffer = _aligned_buffer(memoryview(data).nbytes)
    buffer[:] = np.frombuffer(data, np.uint8)
    buffer.flags.writeable = False
    return buffer


def _read_file(path: str | os.PathLike) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            buffer = _aligned_buffer(size)
            filled = 0
            while filled < size:
                count = file.readinto(memoryview(buffer)[filled:])
                if not count:
                    break
                filled += count
    except OSError as error:
        raise ArchiveError(f"{os.fspath(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a null byte
        raise ArchiveError(f"{os.fspath(path)!r}: cannot be read: {error}") from None
    buffer = buffer[:filled]
    buffer.flags.writeable = False
    return buffer


def _read_directory(name: str, data: np.ndarray,
                    script: bool = True) -> tuple[str, dict[str, Member]]:
    buffer = memoryview(data)
    count, start, end = _find_directory(name, buffer)
    members: dict[str, Member] = {}
    position = start
    for _ in range(count):
        if position + _CENTRAL.size > end:
            raise ArchiveError(f"{name}: the zip directory is cut off; the archive is damaged")
        member, position = _read_entry(name, buffer, position, end, start)
        if member is None:
            continue
        if member.name in members:
            raise ArchiveError(f"{name}: {member.name}: two members have this name")
        members[member.name] = member
    _refuse_overlaps(name, members)
    return _strip_root(name, members, script)


def _find_directory(name: str, buffer: memoryview) -> tuple[int, int, int]:
    """How many entries the central directory has, where it starts and ends."""
    tail_start = max(0, len(buffer) - _END.size - _MAX_COMMENT)
    tail = bytes(buffer[tail_start:])
    found = tail.rfind(b"PK\5\6")
    while found >= 0:
        if found + _END.size <= len(tail):
            record = _END.unpack_from(tail, found)
            if found + _END.size + record[-1] == len(tail):
                break
        found = tail.rfind(b"PK\5\6", 0, found + 3)
    if found < 0:
        kind = "the file is cut off or damaged" if bytes(buffer[:2]) == b"PK" else (
            "expected a TorchScript archive (a zip file written by torch.jit.save)"
        )
        raise ArchiveError(f"{name}: the zip directory was not found: {kind}")
    end_position = tail_start + found
    _, disk, directory_disk, _, count, size, start, _ = record
    end = end_position
    locator_position = end_position - _END64_LOCATOR.size
    if locator_position >= 0 and _signature(buffer, locator_position) == b"PK\6\7":
        _, _, position, _ = _END64_LOCATOR.unpack_from(buffer, locator_position)
        if (
            position + _END64.size > locator_position
            or _signature(buffer, position) != b"PK\6\6"
        ):
            raise ArchiveError(f"{name}: the zip64 end record is damaged")
        record = _END64.unpack_from(buffer, position)
        disk, directory_disk, _, count, size, start = record[4:]
        end = position
    if disk or directory_disk or start + size > end or count > _MAX_MEMBERS:
        raise ArchiveError(f"{name}: the zip end record is damaged ({count} members at {start})")
    return count, start, start + size


def _signature(buffer: memoryview, position: int) -> bytes:
    return bytes(buffer[position : position + 4])


def _read_entry(
    name: str, buffer: memoryview, position: int, end: int, directory: int
) -> tuple[Member | None, int]:
    fields = _CENTRAL.unpack_from(buffer, position)
    signature, _, _, flags, method, _, _, crc, packed_size, size = fields[:10]
    name_size, extra_size, comment_size, _, _, _, header = fields[10:]
    position += _CENTRAL.size
    after = position + name_size + extra_size + comment_size
    if signature != b"PK\1\2" or after > end:
        raise ArchiveError(f"{name}: the zip directory is damaged")
    raw_name = bytes(buffer[position : position + name_size])
    extra = bytes(buffer[position + name_size : position + name_size + extra_size])
    try:
        member_name = raw_name.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"{name}: a member's name is not UTF-8: {raw_name[:80]!r}") from None
    size, packed_size, header = _zip64_sizes(extra, size, packed_size, header)
    place = f"{name}: {member_name}"
    if member_name.endswith("/") and size == 0:
        return None, after
    if flags & 1:
        raise ArchiveError(f"{place}: the member is encrypted")
    if method not in (0, 8):
        raise ArchiveError(f"{place}: expected a stored or deflated member, found method {method}")
    if header + _LOCAL.size > directory:
        raise ArchiveError(f"{place}: the member lies outside the file")
    local = _LOCAL.unpack_from(buffer, header)
    offset = header + _LOCAL.size + local[9] + local[10]
    local_name = bytes(buffer[header + _LOCAL.size : header + _LOCAL.size + local[9]])
    if local[0] != b"PK\3\4" or local_name != raw_name or local[3] != method:
        raise ArchiveError(f"{place}: the local header is damaged")
    if offset + packed_size > directory or (method == 0 and size != packed_size):
        raise ArchiveError(
            f"{place}: expected {packed_size} bytes at {offset}, the file has "
            f"{max(0, directory - offset)}"
        )
    return Member(member_name, method == 8, crc, packed_size, size, offset), after


def _zip64_sizes(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three fields, with those that are all ones taken from the zip64 extra field."""
    values = [size, packed, header]
    position = 0
    while position + 4 <= len(extra):
        tag = int.from_bytes(extra[position : position + 2], "little")
        length = int.from_bytes(extra[position + 2 : position + 4], "little")
        field = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if tag != 1:
            continue
        at = 0
        for i in range(3):
            if values[i] == 0xFFFFFFFF and at + 8 <= len(field):
                values[i] = int.from_bytes(field[at : at + 8], "little")
                at += 8
    return values[0], values[1], values[2]


def _refuse_overlaps(name: str, members: dict[str, Member]) -> None:
    reached, before = 0, ""
    for member in sorted(members.values(), key=lambda m: (m.offset, m.packed_size)):
        if member.packed_size and member.offset < reached:
            raise ArchiveError(f"{name}: the members {before!r} and {member.name!r} overlap")
        if member.offset + member.packed_size > reached:
            reached, before = member.offset + member.packed_size, member.name


def _strip_root(name: str, members: dict[str, Member],
                script: bool) -> tuple[str, dict[str, Member]]:
    """Find the folder that holds data.pkl, and name its members without it."""
    suffix = "/data.pkl"
    roots = [m[: -len("data.pkl")] for m in members if m.endswith(suffix)]
    if not roots:
        raise ArchiveError(
            f"{name}: expected a TorchScript archive with a member ROOT/data.pkl, found a zip file "
            f"with {len(members)} other members"
        )
    root = min(roots, key=lambda r: (r.count("/"), len(r)))
    below = {m[len(root) :]: member for m, member in members.items() if m.startswith(root)}
    for wanted in ("constants.pkl", "version") if script else ():
        if wanted not in below and f".data/{wanted}" not in below:
            hint = ""
            if not any(m.startswith("code/") for m in below):
                hint = " (this looks like a file of torch.save; torch.jit.save writes archives)"
            raise ArchiveError(f"{name}: the archive has no member {wanted!r}{hint}")
    return root, below
