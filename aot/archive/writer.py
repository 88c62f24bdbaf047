"""Writes a module as a TorchScript archive, which PyTorch loads and which loads here.

The same module gives the same bytes. There are no source lines in it and no example inputs, unless
they are given. A file appears under its name only when it is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from aot.archive.pickle_writer import PickleWriter
from aot.archive.writer_code import CodeWriter
from aot.archive.writer_storage import StorageTable
from aot.archive.writer_zip import Contents, ZipWriter, replacing, root_of
from lowering import types
from lowering.objects import ScriptObject, TensorData, TypedDict, TypedList, map_tensors
from lowering.types import DictType, ListType, Type

_FIRST_VERSION_IN_DATA = 6  # from this version on the number stands in .data/version
_ANYTHING = DictType(types.Str, ListType(types.Any))


def write_archive(
    root: ScriptObject,
    target: str | os.PathLike | BinaryIO,
    extra_files: Mapping[str, str | bytes] | None = None,
    example_inputs: Mapping[str, Sequence[object]] | None = None,
) -> None:
    """Write the module `root` to a path or an open binary file.

    `example_inputs` maps a method's name to arguments for it, which the archive then shows to
    whoever has it. InputError names what has no place in an archive.
    """
    if isinstance(target, (str, os.PathLike)):
        members = _members(root, extra_files, example_inputs)
        with replacing(target) as file:
            _write(file, root_of(target), members)
        return
    _write(target, "archive", _members(root, extra_files, example_inputs))


def archive_bytes(
    root: ScriptObject, extra_files: Mapping[str, str | bytes] | None = None,
    example_inputs: Mapping[str, Sequence[object]] | None = None,
) -> bytes:
    """The archive that `write_archive` would write, as bytes."""
    file = io.BytesIO()
    write_archive(root, file, extra_files, example_inputs)
    return file.getvalue()


def _write(file: BinaryIO, root: str, members: list[tuple[str, Contents]]) -> None:
    archive = ZipWriter(file, root)
    for name, contents in members:
        archive.add(name, contents, deflate=name.startswith("code/"))
    archive.add(".data/serialization_id", _identity(members, archive.checksums))
    archive.finish()


def _identity(members: list[tuple[str, Contents]], checksums: list[int]) -> bytes:
    """40 digits that follow from the names and the contents of the members."""
    names = "\0".join(name for name, _ in members).encode()
    sums = b"".join(c.to_bytes(4, "little") for c in checksums)
    halves = (int.from_bytes(hashlib.sha256(part).digest()[:8], "little") for part in (names, sums))
    return "".join(f"{half:020d}" for half in halves).encode()


def _members(
    root: ScriptObject, extra_files: Mapping[str, str | bytes] | None,
    example_inputs: Mapping[str, Sequence[object]] | None,
) -> list[tuple[str, Contents]]:
    """All members but the identity, in PyTorch's order."""
    code = CodeWriter([root])
    texts = code.members()
    out: list[tuple[str, Contents]] = []
    for name, contents in (extra_files or {}).items():
        data = contents.encode() if isinstance(contents, str) else contents
        out.append((f"extra/{name}", data))
    out += _pickled("data", root, root.type)
    out += [(member, text.encode()) for member, text in texts.items()]
    out += _pickled("constants", tuple(code.constants.values), None)
    if example_inputs:
        listed = {k: TypedList(v, types.Any) for k, v in example_inputs.items()}
        out += _pickled("traced_inputs", TypedDict(listed, types.Str, _ANYTHING.value), _ANYTHING)
    in_data = code.version >= _FIRST_VERSION_IN_DATA
    out.append((".data/version" if in_data else "version", f"{code.version}\n".encode()))
    out.append(("byteorder", b"little"))
    return out


def _pickled(name: str, value: object, declared: Type | None) -> list[tuple[str, Contents]]:
    """The members of one pickle: its storages, then itself."""
    table = StorageTable()
    data = PickleWriter(table, _own_state).write(value, declared)
    out: list[tuple[str, Contents]] = [
        (f"{name}/{i}", contents) for i, contents in enumerate(table.contents())
    ]
    return [*out, (f"{name}.pkl", data)]


def _own_state(instance: ScriptObject) -> tuple[object, Type] | None:
    """What an object's `__getstate__` gives, and its type; None if the class has none."""
    method = instance.type.methods.get("__getstate__")
    if method is None or "__setstate__" not in instance.type.methods:
        return None
    from lowering.run_method import run_method  # the operators: only such classes need them

    return _as_tensors(run_method(method, [instance])), method.returns


def _as_tensors(value: object) -> object:
    """A result of the interpreter with its arrays as tensors."""
    if isinstance(value, np.ndarray):
        return TensorData.from_numpy(value)
    if isinstance(value, list):
        return TypedList(map(_as_tensors, value), getattr(value, "element", None))
    if isinstance(value, dict):
        pairs = {k: _as_tensors(v) for k, v in value.items()}
        return TypedDict(pairs, getattr(value, "key", None), getattr(value, "value", None))
    if isinstance(value, tuple):
        return tuple(map(_as_tensors, value))
    return map_tensors(value, lambda t: t)
