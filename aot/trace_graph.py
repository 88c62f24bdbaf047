"""What a trace records: one flat run of nodes, nested by the calls of modules, numbered and named
as PyTorch numbers and names them.

Every value takes the next number when it is made. A value that gets a name that another one has
takes it over; the other becomes `name.1`, `name.3` ...
"""

from __future__ import annotations

import re

from lowering.graph import SourceRange
from lowering.types import Type

_NUMBERED = re.compile(r"\.\d+$")


class TracedValue:
    """A value: the output of a node or a call, a parameter, or (`path`) an attribute of the traced
    module, known by the names that lead to it."""

    __slots__ = ("number", "name", "type", "owner", "path")

    def __init__(self, number: int, type: Type, owner: TracedBlock | None,
                 path: tuple[str, ...] | None = None) -> None:
        self.number = number
        self.name: str | None = None
        self.type = type
        self.owner = owner
        self.path = path

    @property
    def text(self) -> str:
        return self.name or str(self.number)

    @property
    def variable(self) -> str | None:
        """The name without the number that tells it from others."""
        return None if self.name is None else _NUMBERED.sub("", self.name)


class TracedNode:
    """One operation."""

    __slots__ = ("kind", "inputs", "outputs", "attributes", "range", "overload", "keywords")

    def __init__(self, kind: str, inputs: list[TracedValue], attributes: dict[str, object],
                 range: SourceRange | None, overload: str | None = None,
                 keywords: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.inputs = inputs
        self.outputs: list[TracedValue] = []
        self.attributes = attributes
        self.range = range
        self.overload = overload
        self.keywords = keywords


class TracedBlock:
    """The nodes that one call of a module recorded, and the calls in it, in order. `path` leads
    to the module from the traced one, whose own block has no parent.

    Once the trace is over, `own` stands for the module, `module` is the caller's value of it,
    `extra` are attributes of other modules that the block uses (inside -> outside), `results` are
    what it returns, `outputs` the caller's values of them.
    """

    def __init__(self, path: tuple[str, ...], parent: TracedBlock | None) -> None:
        self.path = path
        self.parent = parent
        self.items: list[TracedNode | TracedBlock] = []
        self.own: TracedValue | None = None
        self.module: TracedValue | None = None
        self.extra: list[tuple[TracedValue, TracedValue]] = []
        self.results: list[TracedValue] = []
        self.outputs: list[TracedValue] = []

    def ancestors(self) -> list[TracedBlock]:
        """This block and those around it."""
        out: list[TracedBlock] = [self]
        while out[-1].parent is not None:
            out.append(out[-1].parent)
        return out

    @property
    def scope(self) -> str:
        """As in '__module.a/__module.a.b'."""
        blocks = self.ancestors()[-2::-1]
        return "/".join("__module." + ".".join(b.path) for b in blocks)


class TracedGraph:
    """The whole trace. `inputs` begin with the module itself where one is traced."""

    def __init__(self) -> None:
        self.root = TracedBlock((), None)
        self.inputs: list[TracedValue] = []
        self.outputs: list[TracedValue] = []
        self._next = 0
        self._owners: dict[str, TracedValue] = {}
        self._suffixes: dict[str, int] = {}

    def value(self, type: Type, owner: TracedBlock | None, name: str | None = None,
              path: tuple[str, ...] | None = None) -> TracedValue:
        """A new value with the next number."""
        value = TracedValue(self._next, type, owner, path)
        self._next += 1
        if name:
            self.give_name(value, name)
        return value

    def skip(self, count: int) -> None:
        """Use numbers up for values that nothing reads."""
        self._next += count

    def give_name(self, value: TracedValue, name: str) -> None:
        """Name a value; whoever has the name gets a numbered one."""
        owner = self._owners.get(name)
        if owner is value:
            return
        if owner is not None:
            suffix = self._suffixes.get(name, 1)
            self._suffixes[name] = suffix + 2
            owner.name = f"{name}.{suffix}"
        value.name = name
        self._owners[name] = value
