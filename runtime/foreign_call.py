"""Operators that are C functions, found in this process and called from Python."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime import abi, c_compiler
from runtime.cache_folder import cache_folder
from runtime.dtypes import DType
from runtime.errors import CompileError, RuntimeFailure
from runtime.foreign import MOST_MESSAGE, ForeignFunction, Place, places_of

_NUMBERS = {"int": ctypes.c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool}
_libraries: dict[Path, ctypes.CDLL] = {}


def find(symbol: str) -> int | None:
    """The address of a function in this process; None where it is nowhere. CompileError where its
    source does not compile, or a library cannot be opened."""
    for place in places_of(symbol):
        if place.address is not None:
            return place.address
        address = _symbol(_opened(place), symbol)
        if address is not None:
            return address
    return _symbol(ctypes.CDLL(None), symbol)  # the host program's own


def address_of(symbol: str) -> int:
    """As `find`; RuntimeFailure where it is nowhere."""
    address = find(symbol)
    if address is None:
        where = ", ".join(str(p.linked) for p in places_of(symbol) if p.linked)
        raise RuntimeFailure(
            f"the C function {symbol} is not there: "
            + (f"{where} does not define it" if where else "say where it is, by source=, library= "
               "or address= of aot.library.c_operator, or --operator-source and "
               "--operator-library of aot-compile"))
    return address


def _symbol(library: ctypes.CDLL, symbol: str) -> int | None:
    function = getattr(library, symbol, None)
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


def _opened(place: Place) -> ctypes.CDLL:
    """The library, or the source as one. Kept: its code must stay."""
    path = place.linked
    assert path is not None
    if path not in _libraries:
        if place.library is not None:
            _libraries[path] = _load(path)
        else:
            _libraries[path] = _compiled(path)
    return _libraries[path]


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise CompileError(f"{path}: cannot be opened as a shared library: {error}") from None


def _compiled(source: Path) -> ctypes.CDLL:
    """A C file as a library; kept in the cache folder by what it says."""
    purpose = f"{source}: compiling an operator"
    try:
        text = source.read_bytes()
    except OSError as error:
        raise CompileError(f"{source}: {error.strerror or error}") from None
    with tempfile.TemporaryDirectory(dir=cache_folder()) as work:
        made = Path(work) / "operator.so"
        c_compiler.run_compiler([*c_compiler.C_FLAGS, "-shared", source, "-lm", "-o", made],
                                purpose)
        digest = hashlib.sha256(text + made.read_bytes()).hexdigest()[:16]
        folder = cache_folder()
        if folder is not None:
            kept = folder / f"operator-{digest}.so"
            os.replace(made, kept)
            return _load(kept)
        return _load(made)


def call(function: ForeignFunction, arguments: Sequence[object],
         outputs: Sequence[tuple[np.ndarray, DType]]) -> None:
    """Calls it. Arguments in the order of its parameters: (array, dtype) pairs for tensors,
    numbers, texts, None, and lists of those; arrays and `outputs`, which it fills, in their storage
    form and contiguous. RuntimeFailure where it gives another status than AOT_OK."""
    kept: list[object] = []  # what the call's pointers point to
    words: list[object] = []
    for (kind, _), x in zip(function.parameters, arguments):
        words += _words(kind, x, kept)
    for (kind, _), (array, dtype) in zip(function.results, outputs):
        if kind == "Tensor":
            words.append(ctypes.byref(_tensor(array, dtype, kept)))
        else:
            words.append(ctypes.c_void_p(array.ctypes.data))
    message = ctypes.c_char_p()
    run = ctypes.CFUNCTYPE(ctypes.c_int32, *(type(w) if isinstance(w, ctypes._SimpleCData)
                                             else ctypes.c_void_p for w in words),
                           ctypes.c_void_p)(address_of(function.symbol))
    pointers = [w if isinstance(w, ctypes._SimpleCData) else ctypes.cast(w, ctypes.c_void_p)
                for w in words]
    status = run(*pointers, ctypes.cast(ctypes.byref(message), ctypes.c_void_p))
    if status != abi.OK:
        said = (message.value or b"")[:MOST_MESSAGE].decode("utf-8", "replace")
        raise RuntimeFailure(f"{function.operator} gave status {status}" + f": {said}" * bool(said))


def _words(kind: str, x: object, kept: list[object]) -> list[object]:
    """An argument as C has it."""
    if kind in _NUMBERS:
        return [_NUMBERS[kind](x)]
    if kind == "str":
        return [ctypes.c_char_p(x.encode())]
    if kind.endswith("[]"):
        if kind == "Tensor[]":
            rows = (abi.Tensor * len(x))(*(_tensor(*pair, kept) for pair in x))
        else:
            rows = (_NUMBERS[kind[:-2]] * len(x))(*x)
        kept.append(rows)
        return [rows, ctypes.c_int64(len(x))]
    if x is None:
        return [ctypes.c_void_p(None)]
    if kind.startswith("Tensor"):
        return [ctypes.byref(_tensor(*x, kept))]
    number = _NUMBERS[kind[:-1]](x)
    kept.append(number)
    return [ctypes.byref(number)]


def _tensor(array: np.ndarray, dtype: DType, kept: list[object]) -> abi.Tensor:
    numbers = [*array.shape, *(s // max(array.itemsize, 1) for s in array.strides)]
    sizes = (ctypes.c_int64 * max(len(numbers), 1))(*numbers)
    at = ctypes.addressof(sizes)
    tensor = abi.Tensor(array.ctypes.data, abi.CPU_DEVICE, 0, array.ndim, dtype.dlpack, dtype.bits,
                        1, at, at + 8 * array.ndim, 0)
    kept += [sizes, array, tensor]
    return tensor
