"""Reads a TorchScript archive: container, pickles, code; nothing in it is executed."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field

from aot.archive.attributes import fill_objects
from aot.archive.container import Container, open_container
from aot.archive.program import Program
from aot.archive.values import read_values
from lowering.graph import Function
from lowering.objects import ScriptObject
from lowering.types import ClassType
from runtime.errors import ArchiveError

_OLDEST_VERSION, _NEWEST_VERSION = 1, 10


@dataclass
class Archive:
    """A TorchScript archive as read: its root module and what stands beside it."""

    name: str
    version: int
    root: ScriptObject
    program: Program
    container: Container = field(repr=False)
    # Objects whose class restores them itself: __setstate__ is still to be called with the state.
    unrestored: list[tuple[ScriptObject, object]] = field(default_factory=list)

    @property
    def methods(self) -> dict[str, Function]:
        return self.root.type.methods

    def extra_file(self, name: str) -> bytes | None:
        """The contents of a file that was given as `_extra_files` when saving; None if missing."""
        member = f"extra/{name}"
        return bytes(self.container.read(member)) if member in self.container else None

    def traced_inputs(self) -> dict[str, list[object]]:
        """The example inputs of each traced method; empty for a scripted module."""
        if "traced_inputs.pkl" not in self.container:
            return {}
        program = self.program
        value, states = read_values(
            self.container, "traced_inputs.pkl", program.find_class, program.parse_type
        )
        fill_objects(self.container, "traced_inputs.pkl", states)
        return dict(value) if isinstance(value, dict) else {}


def read_archive(source: str | os.PathLike | bytes | io.IOBase) -> Archive:
    """Read an archive from a path, bytes or an open binary file.

    ArchiveError says in one line what is wrong with an archive that cannot be read, and where.
    """
    container = open_container(source)
    try:
        return _read(container)
    except RecursionError:
        raise container.error("the archive's classes or values are nested too deep") from None


def _read(container: Container) -> Archive:
    version = _version(container)
    program = Program(container, version)
    find_class, parse_type = program.find_class, program.parse_type
    constants, states = read_values(container, "constants.pkl", find_class, parse_type)
    if not isinstance(constants, tuple):
        raise container.error(
            f"expected a tuple of constants, found a {type(constants).__name__}", "constants.pkl"
        )
    fill_objects(container, "constants.pkl", states)
    program.constants = constants
    root, states = read_values(container, "data.pkl", find_class, parse_type)
    if not isinstance(root, ScriptObject) or not isinstance(root.type, ClassType):
        raise container.error(
            f"expected a module, found a {type(root).__name__}"
            " (torch.jit.save writes modules; is this a file of torch.save?)",
            "data.pkl",
        )
    unrestored = fill_objects(container, "data.pkl", states)
    return Archive(container.name, version, root, program, container, unrestored)


def _version(container: Container) -> int:
    member = "version" if "version" in container else ".data/version"
    text = bytes(container.read(member)[:20]).strip()
    if not text.isdigit():
        raise container.error(f"expected a number, found {text!r}", member)
    version = int(text)
    if not _OLDEST_VERSION <= version <= _NEWEST_VERSION:
        raise container.error(
            f"the archive has version {version}, this reader knows {_OLDEST_VERSION} to "
            f"{_NEWEST_VERSION}",
            member,
        )
    return version


__all__ = ["Archive", "ArchiveError", "read_archive"]
