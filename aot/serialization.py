"""aot.save and aot.load: tensors, state dicts and plain values in PyTorch's file format.

A file is a zip of one pickle and one member a storage. The reader knows a closed list of names and
executes nothing; the writer uses the opcodes that PyTorch's restricted reader takes.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import nullcontext
from typing import Any, BinaryIO

from aot import dtypes as names
from aot.archive.container import open_container
from aot.archive.pickle_reader import PickleError, read_pickle
from aot.archive.pickle_writer import PickleWriter
from aot.archive.values import _Token, _Values
from aot.archive.writer import _identity
from aot.archive.writer_storage import StorageTable
from aot.archive.writer_zip import ZipWriter, replacing, root_of
from aot.nn.parameter import Parameter
from aot.tensor_core import Tensor
from lowering.objects import DeviceValue, TensorData
from runtime.errors import InputError

_DTYPES = {d.name: d for d in names.dtype._by_code.values()}


class _Writer(PickleWriter):
    """Writes plain lists and dicts, and what tensors are in Python."""

    def value(self, x: object, declared: object = None) -> None:
        if isinstance(x, Parameter):
            self._parameter(x)
        elif isinstance(x, Tensor):
            self._tensor(x)
        elif isinstance(x, names.Size):
            self.name("torch", "Size")
            super().value(tuple(x), None)
            self.out += b"\x85R"
        elif isinstance(x, names.dtype):
            self.name("torch", x.name)
        elif isinstance(x, names.device):
            self.device(DeviceValue(x.type, x.index))
        else:
            super().value(x, None)

    def _tensor(self, x: Tensor) -> None:
        key = ("python", id(x))
        if self.known(key):
            return
        self.keep.append(x)
        here = x._data
        self.tensor(TensorData(here.storage, here.offset, here.sizes, here.strides,
                               x.requires_grad))
        self.remember(key, x)

    def _parameter(self, x: Parameter) -> None:
        key = ("parameter", id(x))
        if self.known(key):
            return
        self.name("torch._utils", "_rebuild_parameter")
        here = x._data
        self.tensor(TensorData(here.storage, here.offset, here.sizes, here.strides))
        self.out += b"\x88" if x.requires_grad else b"\x89"
        self.name("collections", "OrderedDict")
        self.out += b")R\x87R"
        self.remember(key, x)

    def container(self, x: list | dict, declared: object) -> None:
        key = ("container", id(x))
        if self.known(key):
            return
        if id(x) in self.open:
            raise InputError("save: a list or dict that contains itself cannot be saved")
        self.open.add(id(x))
        if isinstance(x, list):
            self.out += b"]"
            self.remember(key, x)
            self.out += b"("
            for item in x:
                self.value(item)
            self.out += b"e"
        else:
            if isinstance(x, OrderedDict):
                self.name("collections", "OrderedDict")
                self.out += b")R"
            else:
                self.out += b"}"
            self.remember(key, x)
            self.out += b"("
            for k, v in x.items():
                self.value(k)
                self.value(v)
            self.out += b"u"
            metadata = getattr(x, "_metadata", None)
            if metadata is not None:
                self.value({"_metadata": metadata})
                self.out += b"b"
        self.open.discard(id(x))


def save(obj: Any, f: str | os.PathLike | BinaryIO, **_: object) -> None:
    """Writes tensors, parameters and nests of dicts, lists, tuples, numbers and texts.

    InputError for anything else (save a module's state_dict, or the module with aot.jit.save)."""
    table = StorageTable()
    pickled = _Writer(table, lambda _: None).write(obj)
    is_path = isinstance(f, (str, os.PathLike))
    with replacing(f) if is_path else nullcontext(f) as file:  # type: ignore[arg-type]
        archive = ZipWriter(file, root_of(f) if is_path else "archive")  # type: ignore[arg-type]
        members = [("data.pkl", pickled), ("byteorder", b"little"),
                   *((f"data/{k}", data) for k, data in enumerate(table.contents())),
                   ("version", b"3\n")]
        for name, contents in members:
            archive.add(name, contents)
        archive.add(".data/serialization_id", _identity(members, archive.checksums))
        archive.finish()


class _StateDict(OrderedDict):
    """An OrderedDict that may carry a module's version numbers."""


class _Reader(_Values):
    """The closed list of names of torch.save's files."""

    def find_global(self, module: str, name: str) -> object:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        call = {
            ("collections", "OrderedDict"): _StateDict,
            ("torch", "Size"): lambda sizes: names.Size(sizes),
            ("torch._utils", "_rebuild_parameter"): self._parameter,
        }.get((module, name))
        return super().find_global(module, name) if call is None else _Token(name, call)

    def call(self, function: object, arguments: object) -> object:
        found = super().call(function, arguments)
        if isinstance(found, TensorData):
            return self._python(found)
        return found

    def build(self, instance: object, state: object) -> None:
        if not isinstance(instance, _StateDict) or not isinstance(state, dict):
            raise PickleError(f"expected a dict to complete, found a {type(instance).__name__}")
        if "_metadata" in state:
            instance._metadata = state["_metadata"]

    def _python(self, data: TensorData) -> Tensor:
        if data.problem is not None:
            raise PickleError(data.problem)
        out = Tensor._of_data(data)
        out._wants_grad = data.requires_grad
        return out

    def _parameter(self, data: object, requires_grad: object = True, hooks: object = None,
                   state: object = None) -> Parameter:
        if not isinstance(data, Tensor):
            raise PickleError("a parameter without a tensor")
        return Parameter(data, bool(requires_grad))


def load(f: str | os.PathLike | bytes | BinaryIO, map_location: object = None,
         **_: object) -> Any:
    """What save wrote, here or in PyTorch (2017's format before the zip is not read).

    Tensors come to the CPU wherever they were. ArchiveError names what is wrong with a file."""
    container = open_container(f, script=False)
    if "constants.pkl" in container:
        raise container.error("a TorchScript archive: load it with aot.jit.load")

    def no_class(name: str) -> object:
        raise PickleError(f"the pickle asks for {name}, which is no tensor; nothing was executed")

    data = bytes(container.read("data.pkl"))
    reader = _Reader(container, "data", no_class, no_class, 64 * (len(data) + 1024))  # type: ignore
    try:
        return read_pickle(data, reader)
    except PickleError as error:
        raise container.error(str(error), "data.pkl") from None
    except RecursionError:
        raise container.error("a value is nested too deep", "data.pkl") from None
