"""The storages that the pickles of an archive refer to, numbered as they are met."""

from __future__ import annotations

import numpy as np

from lowering.objects import StorageData
from lowering.types import scalar_name

_NAMES = {
    "Float": "FloatStorage", "Double": "DoubleStorage", "Half": "HalfStorage",
    "BFloat16": "BFloat16Storage", "Long": "LongStorage", "Int": "IntStorage",
    "Short": "ShortStorage", "Char": "CharStorage", "Byte": "ByteStorage", "Bool": "BoolStorage",
}


class StorageTable:
    """Storages in the order in which they are first written; one memory is one storage, even if
    several StorageData lie on it."""

    def __init__(self) -> None:
        self.storages: list[StorageData] = []
        self._numbers: dict[tuple, int] = {}

    def add(self, storage: StorageData) -> tuple[int, str, int]:
        """The storage's number, its type's name in a pickle, and how many elements it has."""
        name = scalar_name(storage.dtype)
        address = storage.array.__array_interface__["data"][0]
        key = (address, len(storage), name) if len(storage) else (id(storage), 0, name)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.storages)
            self.storages.append(storage)
        return number, _NAMES.get(name, f"{name}Storage"), len(storage)

    def contents(self) -> list[memoryview]:
        """The bytes of each storage, little-endian."""
        out = []
        for storage in self.storages:
            array = np.ascontiguousarray(storage.array).reshape(-1)
            if array.dtype.byteorder == ">":
                array = array.astype(array.dtype.newbyteorder("<"))
            out.append(memoryview(array.view(np.uint8)))
        return out
