"""A shared library's file: looked at before it is opened, so that a bad one is an error.

dlopen has two traps. It maps a truncated file without a word, and the first touch of a missing page
kills the process. And it knows libraries by their path: for a path whose file was replaced (a model
compiled again) it gives the old library.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import tempfile
import threading

from runtime.errors import InputError

_LOAD_SEGMENT = 1  # PT_LOAD
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr

_opened: dict[str, tuple[int, int]] = {}  # path -> device and inode of the file that was opened
_lock = threading.Lock()


def open_library(path: str) -> ctypes.CDLL:
    """The library of a file; InputError if there is none, it is damaged, or it cannot be loaded."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: not a file")
        _check_complete(path, status.st_size)
        identity = (status.st_dev, status.st_ino)
        with _lock:
            if _opened.setdefault(path, identity) == identity:
                return ctypes.CDLL(path)
            with tempfile.TemporaryDirectory(prefix="aot-") as folder:
                link = os.path.join(folder, os.path.basename(path))
                os.symlink(path, link)
                return ctypes.CDLL(link)
    except OSError as error:  # CDLL puts dlopen's words where strerror is not
        raise InputError(f"{path}: {error.strerror or f'cannot be loaded: {error}'}") from None


def _check_complete(path: str, size: int) -> None:
    """InputError if the file ends before what it says is mapped. Leaves what is not a 64-bit
    little-endian ELF file to dlopen, which says what is wrong with it."""
    with open(path, "rb") as file:
        raw = file.read(_HEADER.size)
        if len(raw) < _HEADER.size or raw[:6] != b"\x7fELF\x02\x01":
            return
        fields = _HEADER.unpack(raw)
        table, entry_size, count = fields[5], fields[9], fields[10]
        file.seek(min(table, size))
        raw = file.read(entry_size * count)
    end = table + entry_size * count
    if entry_size == _SEGMENT.size and len(raw) == entry_size * count:
        for kind, _, offset, _, _, bytes_in_file, _, _ in _SEGMENT.iter_unpack(raw):
            if kind == _LOAD_SEGMENT:
                end = max(end, offset + bytes_in_file)
    if end > size:
        raise InputError(f"{path}: truncated: expected at least {end} bytes, found {size}")
