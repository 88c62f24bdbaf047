"""The Graph that the script compiler writes: it numbers and names values as TorchScript does.

Every value takes the next number when it is made. A value that gets a name that another value has
takes it over; the other becomes `name.N`. So a variable's last value bears its plain name.
"""

from __future__ import annotations

import re

from lowering.graph import Graph, Value

_NUMBERED = re.compile(r"\.\d+$")
_PLACEHOLDER = re.compile(r"_\d*")


class EmitGraph(Graph):
    """A Graph with TorchScript's numbering."""

    __slots__ = ("_counter", "_owners", "_suffixes", "_first_names", "_copied")

    def __init__(self) -> None:
        super().__init__()
        self._counter = 0
        self._owners: dict[str, Value] = {}
        self._suffixes: dict[str, int] = {}
        self._copied: set[str] = set()
        self._first_names: dict[Value, str] = {}  # the numbers of values that were named

    def unique_name(self, hint: str | None) -> str:
        """The next number; with a hint, which only passes over finished graphs give, as in
        Graph."""
        number = str(self._counter)
        self._counter += 1
        if hint and not hint.isdigit():
            return super().unique_name(hint)
        self._names.add(number)
        return number

    def skip_numbers(self, count: int) -> None:
        """Leave out numbers that PyTorch gives to values it makes and drops."""
        self._counter += count

    def take_number(self, value: Value, number: int) -> None:
        """Give a value another number than the one it got when it was made."""
        self._give(value, str(number))

    def set_name(self, value: Value, name: str) -> None:
        """Name a value; whoever has the name gets a numbered one."""
        if value.name == name:
            return
        if _NUMBERED.search(name) and name in self._names:
            self._give(value, self._numbered(_NUMBERED.sub("", name)))
            return
        if name in self._names:
            owner = self._owners[name]
            self._names.discard(name)
            self._give(owner, self._numbered(name))
        self._give(value, name)

    def name_variable(self, value: Value, name: str) -> None:
        """Name what a variable holds; `_` and `_1` are no names to show."""
        if not _PLACEHOLDER.fullmatch(name):
            self.set_name(value, name)

    def copy_name(self, source: Value, copy: Value) -> None:
        """Give a copy of a named value a name of the same variable."""
        if source.has_name:
            base = _NUMBERED.sub("", source.name)
            if base in self._copied:
                self._numbered(base)  # PyTorch uses one number up from the second copy on
            self._copied.add(base)
            self._give(copy, self._numbered(base))

    def _numbered(self, base: str) -> str:
        number = self._suffixes.get(base, 1)
        self._suffixes[base] = number + 2
        return f"{base}.{number}"

    def unname(self, value: Value) -> None:
        """Back to the number the value had."""
        if value in self._first_names:
            self._give(value, self._first_names[value])

    def _give(self, value: Value, name: str) -> None:
        self._first_names.setdefault(value, value.name)
        self._names.discard(value.name)
        value.name = name
        self._names.add(name)
        self._owners[name] = value
