"""Files kept by key in one folder, the least recently used ones given up for the new.

A file is written under a temporary name and renamed, so a reader sees all of it or none; a checksum
tells a damaged one, which counts as not there and is written again. Several processes may use one
folder at a time.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_HEAD = struct.Struct("<8sQQII")  # magic, bytes of the record, bytes of the data, their checksums
_MAGIC = b"aotkept1"
_SUFFIX = ".kept"
_PAGE = 4096  # the data begin at a multiple


class DiskCache:
    """A folder of at most `limit` bytes. What it holds is trusted: the folder is its user's own."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit

    def get(self, key: str) -> tuple[Any, memoryview] | None:
        """The record and the data of a key, or None. The data are the file's pages, read only."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            found = _read(content)
            if found is not None:
                os.utime(path)  # used last
            return found
        except (OSError, ValueError):  # ValueError: an empty file
            return None

    def put(self, key: str, record: Any, data: Iterable[bytes | memoryview]) -> None:
        """Keeps a record (anything that pickles) and data under a key, if they can be kept."""
        pieces = [memoryview(piece).cast("B") for piece in data]
        raw = pickle.dumps(record)
        size, checksum = 0, 0
        for piece in pieces:
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
        head = _HEAD.pack(_MAGIC, len(raw), size, zlib.crc32(raw), checksum) + raw
        head += bytes(-len(head) % _PAGE)
        if len(head) + size > self.limit:
            return
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                try:
                    file.writelines([head, *pieces])
                    file.close()
                    os.replace(file.name, self._path(key))
                except BaseException:
                    os.unlink(file.name)
                    raise
            self._make_room()
        except OSError:
            pass  # a full disk: what cannot be kept is compiled again

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    def _make_room(self) -> None:
        """Removes files, the least recently used first, until the rest is within the limit."""
        files = []
        for path in self.folder.glob("*" + _SUFFIX):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process was here
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= size


def _read(content: memoryview) -> tuple[Any, memoryview] | None:
    """The record and the data of a file's content, None if it is damaged."""
    if len(content) < _HEAD.size:
        return None
    magic, length, size, record_sum, data_sum = _HEAD.unpack_from(content)
    start = -(-(_HEAD.size + length) // _PAGE) * _PAGE
    if magic != _MAGIC or len(content) != start + size:
        return None
    raw, data = content[_HEAD.size:_HEAD.size + length], content[start:]
    if zlib.crc32(raw) != record_sum or zlib.crc32(data) != data_sum:
        return None
    return pickle.loads(raw), data
