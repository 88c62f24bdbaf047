"""Writes the zip file of an archive as PyTorch lays it out.

Every member's bytes start at a multiple of 64: the local header carries an extra field `FB` of Zs.
Checksum and sizes stand in a data descriptor behind the bytes; a zip64 end record is always there.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from pathlib import Path
from struct import pack
from typing import BinaryIO

from runtime.errors import InputError

_ALIGNMENT = 64
_FLAGS = 0x808  # sizes follow the bytes, names are UTF-8
_WORTH_DEFLATING = 200  # bytes
_LARGE = 0xFFFFFFFF

Contents = bytes | bytearray | memoryview


class ZipWriter:
    """Appends members to an open binary file."""

    def __init__(self, file: BinaryIO, root: str) -> None:
        self.file = file
        self.root = root
        self.position = 0
        self.directory = bytearray()
        self.count = 0
        self.checksums: list[int] = []

    def _put(self, data: Contents) -> None:
        self.file.write(data)
        self.position += len(data)

    def add(self, name: str, contents: Contents, deflate: bool = False) -> None:
        """Write one member. `deflate` packs it if it is long enough to gain."""
        raw_name = f"{self.root}/{name}".encode()
        checksum, size = zlib.crc32(contents), len(contents)
        self.checksums.append(checksum)
        method = 8 if deflate and size > _WORTH_DEFLATING else 0
        if method:
            deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
            contents = deflater.compress(contents) + deflater.flush()
        needed = 20 if method else 0
        header = self.position
        large = size >= _LARGE or len(contents) >= _LARGE
        zip64 = pack("<HHQQ", 1, 16, 0, 0) if large else b""
        start = header + 30 + len(raw_name) + len(zip64) + 4
        padding = b"Z" * (-start % _ALIGNMENT)
        extra = zip64 + pack("<2sH", b"FB", len(padding)) + padding
        self._put(pack("<4s5H3L2H", b"PK\3\4", needed, _FLAGS, method, 0, 0, 0, 0, 0,
                       len(raw_name), len(extra)))
        self._put(raw_name)
        self._put(extra)
        self._put(contents)
        form = "<4sLQQ" if large else "<4sLLL"
        self._put(pack(form, b"PK\7\10", checksum, len(contents), size))
        self._list(raw_name, needed, method, checksum, len(contents), size, header)

    def _list(self, name: bytes, needed: int, method: int, checksum: int, packed: int, size: int,
              header: int) -> None:
        wide = [n for n in (size, packed, header) if n >= _LARGE]
        extra = pack("<HH", 1, 8 * len(wide)) + b"".join(pack("<Q", n) for n in wide)
        extra = extra if wide else b""
        self.directory += pack("<4s6H3L5H2L", b"PK\1\2", 0, needed, _FLAGS, method, 0, 0, checksum,
                               min(packed, _LARGE), min(size, _LARGE), len(name), len(extra), 0, 0,
                               0, 0, min(header, _LARGE))
        self.directory += name + extra
        self.count += 1

    def finish(self) -> None:
        """Write the directory and the records that end the file."""
        start, size, count = self.position, len(self.directory), self.count
        self._put(bytes(self.directory))
        end64 = self.position
        self._put(pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x031E, 45, 0, 0, count, count, size, start))
        self._put(pack("<4sLQL", b"PK\6\7", 0, end64, 1))
        short = min(count, 0xFFFF)
        self._put(pack("<4s4H2LH", b"PK\5\6", 0, 0, short, short, size, min(start, _LARGE), 0))


def root_of(path: str | os.PathLike) -> str:
    """The folder of an archive's members: the file's name without its ending."""
    return Path(path).stem or "archive"


class _Replacing:
    """A new file that takes `path`'s place when the block ends well, and vanishes otherwise."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def __enter__(self) -> BinaryIO:
        try:
            handle, self.name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as e:
            raise InputError(f"{self.path}: cannot be written: {e.strerror}") from None
        self.file = os.fdopen(handle, "wb")
        return self.file

    def __exit__(self, kind, error, trace) -> None:
        self.file.close()
        if kind is not None:
            os.unlink(self.name)
            return
        mode = 0o666 & ~_umask()
        os.chmod(self.name, mode)
        try:
            os.replace(self.name, self.path)
        except OSError as e:
            os.unlink(self.name)
            raise InputError(f"{self.path}: cannot be written: {e.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def replacing(path: str | os.PathLike) -> _Replacing:
    """A context manager: a binary file that becomes `path` once it is whole."""
    return _Replacing(path)


__all__ = ["Contents", "ZipWriter", "replacing", "root_of"]
