"""Where the user's own source text says what an archive's code says.

PyTorch writes a table beside each code member (`code/X.py.debug_pkl`): for places in the code, in
order, the file, line and text they were compiled from. It only serves messages, so a table that is
missing, damaged or of another form is no error; the code's own lines take its place.
"""

from __future__ import annotations

import bisect

from aot.archive.container import Container
from aot.archive.pickle_reader import PickleError, read_pickle
from lowering.graph import SourceRange
from runtime.errors import ArchiveError

_FORMAT = "FORMAT_WITH_STRING_TABLE"


class SourceTable:
    """The table of one code member, read when first asked."""

    def __init__(self, container: Container, member: str) -> None:
        self._container = container
        self._member = f"{member}.debug_pkl"
        self._offsets: list[int] | None = None
        self._records: list[tuple] = []
        self._strings: tuple = ()

    def find(self, offset: int) -> SourceRange | None:
        """The user's place for a byte offset of the code text; None if it is not known."""
        if self._offsets is None:
            self._offsets = self._read()
        index = bisect.bisect_right(self._offsets, offset) - 1
        if index < 0:
            return None
        try:
            return self._range(*self._records[index][1])
        except (TypeError, ValueError, IndexError, AttributeError):
            return None

    def _read(self) -> list[int]:
        if self._member not in self._container:
            return []
        try:
            table = read_pickle(bytes(self._container.read(self._member)), _Plain())
            form, self._strings, records = table
            if form != _FORMAT:
                return []
            self._records = [record for record in records if isinstance(record[0], int)]
            return [record[0] for record in self._records]
        except (ArchiveError, PickleError, TypeError, ValueError, IndexError):
            return []

    def _range(self, source: tuple, start: int, end: int) -> SourceRange | None:
        lines, file_name, first_line = source
        text = "".join(self._strings[i] for i in lines).encode("utf-8", "surrogatepass")
        name = self._strings[file_name]
        if not text or not name or not 0 <= start < len(text):
            return None
        line_start = text.rfind(b"\n", 0, start) + 1
        line_end = text.find(b"\n", start)
        line = text[line_start : line_end if line_end >= 0 else len(text)]
        column = len(text[line_start:start].decode("utf-8", "replace"))
        number = first_line + text.count(b"\n", 0, start)
        return SourceRange(name, number, column, line.decode("utf-8", "replace"))


class _Plain:
    """The Meaning of a table: lists of integers, and nothing else."""

    def find_global(self, module: str, name: str) -> object:
        if (module, name) != ("torch.jit._pickle", "build_intlist"):
            raise PickleError(f"{module}.{name} has no place in a table of source ranges")
        return list

    def call(self, function: object, arguments: object) -> object:
        if function is not list or not isinstance(arguments, tuple) or len(arguments) != 1:
            raise PickleError("only lists of integers are made in a table of source ranges")
        return arguments[0]

    def load_persistent(self, key: object) -> object:
        raise PickleError("a table of source ranges has no storages")

    def new_object(self, cls: object, arguments: tuple) -> object:
        raise PickleError("a table of source ranges has no objects")

    def build(self, instance: object, state: object) -> None:
        raise PickleError("a table of source ranges has no objects")
