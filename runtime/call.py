"""One method of a compiled model as a Python callable; the structs of a call are made once.

A call adds at most 2 microseconds to the C call, as benchmarks/call_overhead.py measures.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Callable, Sequence

import numpy as np

from runtime import abi
from runtime.arguments import fitter
from runtime.call_code import call_function
from runtime.description import MethodDescription, ValueInfo
from runtime.errors import InputError, RuntimeFailure
from runtime.instances import Instance, Instances
from runtime.structure import Group, Leaf, Structure, flatten, leaf_count, leaf_kinds, parse

_SCALARS = {"int": ctypes.c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool}


def _slow_address(array: np.ndarray) -> int:
    """Where an array's data is, as numpy tells; 2 microseconds."""
    return array.__array_interface__["data"][0]


def _quick_address(array: np.ndarray) -> int:
    """The same in 0.1 microseconds: the data pointer is what follows the object's header.

    PyArray_DATA, which reads it there, is inlined into every extension built against numpy's C
    API, so it cannot move; still, it is only used where an array at hand agrees."""
    return _words[(id(array) >> 3) + _HEADER]


# All memory as an array of words: an element of it takes less time than a pointer made for it.
_words = (ctypes.c_uint64 * (sys.maxsize // 8)).from_address(0)
_HEADER = object.__basicsize__ // 8  # words
_example = np.zeros(3)
_address = _slow_address
_CPYTHON = sys.implementation.name == "cpython"  # elsewhere id() is no address
if _CPYTHON and _quick_address(_example) == _slow_address(_example):
    _address = _quick_address


class Frame:
    """The aot_tensor structs of one method's calls on one instance.

    data fields that a call sets are kept as ctypes objects, because reaching a field through an
    array of structs costs more than the whole rest of a small call."""

    __slots__ = ("tensors", "cells", "shapes", "made", "addresses")

    def __init__(self, method: MethodDescription, c: abi.CMethod, instance: int):
        self.shapes: list[tuple[Any, ValueInfo]] = []  # sizes to fill in: infos with named dims
        self.made: dict[int, Any] = {}  # sizes of the outputs whose memory the model makes
        # For each input and then each output what to assign to: a scalar, or a data field.
        self.cells: list[Any] = []
        self.tensors = (self._tensors(method.inputs, c.inputs),
                        self._tensors(method.outputs, c.outputs))
        starts = (instance, *map(ctypes.addressof, self.tensors))
        self.addresses = [ctypes.c_void_p(start) for start in starts]

    def _tensors(self, infos: Sequence[ValueInfo], c: Any) -> Any:
        """The structs of the values, with all but the data filled in."""
        tensors = (abi.Tensor * max(1, len(infos)))()
        for i, info in enumerate(infos):
            tensor = tensors[i]
            tensor.device_type, tensor.ndim, tensor.lanes = abi.CPU_DEVICE, len(info.shape), 1
            tensor.code, tensor.bits = info.dtype.dlpack, info.dtype.bits
            tensor.shape = ctypes.cast(c[i].shape, ctypes.c_void_p).value
            if info.made:
                sizes = (ctypes.c_int64 * len(info.shape))()
                tensor.shape = ctypes.addressof(sizes)
                self.made[i] = sizes
            elif any(size < 0 for size in info.shape):
                sizes = (ctypes.c_int64 * len(info.shape))(*info.shape)
                tensor.shape = ctypes.addressof(sizes)
                self.shapes.append((sizes, info))
            where = ctypes.addressof(tensor) + abi.Tensor.data.offset
            if info.kind == "tensor":
                self.cells.append(ctypes.c_void_p.from_address(where))
            elif info.kind == "str":
                self.cells.append(ctypes.c_char_p.from_address(where))
            else:
                self.cells.append(_SCALARS[info.kind]())
                tensor.data = ctypes.addressof(self.cells[-1])
        return tensors


class Method:
    """A callable method. `description` has its types; positional and keyword arguments work.

    Raises InputError for arguments that do not fit, RuntimeFailure for what the model raises."""

    def __init__(self, instances: Instances, index: int):
        self.description = description = instances.description.methods[index]
        results = parse(description.results)
        arguments = parse(description.arguments)
        if not isinstance(arguments, Group) or (arguments.kind != "named" and arguments.items):
            raise RuntimeFailure(f"{description.name}: the compiled model has a malformed "
                                 f"structure of arguments: {description.arguments!r}")
        self._arguments = arguments
        # Outputs after the result's are what the program leaves in the inputs of their names.
        written = {v.name for v in description.outputs[leaf_count(results):]}
        if leaf_count(arguments) != len(description.inputs) or (
                leaf_count(results) > len(description.outputs)
                or not written <= {v.name for v in description.inputs}):
            raise RuntimeFailure(f"{description.name}: the compiled model's structures do not fit "
                                 "its inputs and outputs")
        flat = all(isinstance(item, Leaf) for item in arguments.items)
        # `direct` takes the inputs as a flat list of arguments; that is what a call gives where it
        # has no keywords and `direct_count` arguments.
        self.direct = self._function(instances, index, results)
        self.direct_count = len(arguments.items) if flat else -1

    def _function(self, instances: Instances, index: int, results: Structure) -> Callable[..., Any]:
        description, c = self.description, instances.c.methods[index]

        def make_frame(instance: Instance) -> Frame:
            frame = Frame(description, c, instance.address)
            instance.frames[index] = frame
            return frame

        def learn(values: tuple[Any, ...]) -> list[int]:
            return _learn_dims(description, values)

        def copied(frame: Frame, output: int) -> np.ndarray:
            return _copied(frame, output, description.outputs[output])

        names = {
            "acquire": instances.acquire, "release": instances.release,
            "failure": instances.failure, "make_frame": make_frame, "run": c.run, "index": index,
            "name": description.name, "learn": learn, "concrete": _concrete,
            "copied": copied, "put_back": _put_back,
            "address": _address, "words": _words, "header": _HEADER,
            **{f"fit{k}": fitter(description, v, leaf) for k, (v, leaf) in enumerate(
                zip(description.inputs, leaf_kinds(description.arguments)))},
        }
        quick = _address is _quick_address
        address = "words[(id({x}) >> 3) + header]" if quick else "address({x})"
        return call_function(description, results, address, names)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self.direct_count:
            args = self._bind(args, kwargs)
        return self.direct(*args)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The leaves of the arguments, in order."""
        names, method = self._arguments.keys, self.description.name
        if len(args) > len(names):
            raise InputError(f"{method}: expected {_count(names)}, found {len(args)}")
        given = dict(zip(names, args))
        for name, value in kwargs.items():
            if name not in names:
                raise InputError(f"{method}: unknown argument '{name}': expected {_count(names)}")
            if name in given:
                raise InputError(f"{method}: argument '{name}' is given twice")
            given[name] = value
        missing = [str(name) for name in names if name not in given]
        if missing:
            raise InputError(f"{method}: expected {_count(names)}, missing: {', '.join(missing)}")
        leaves: list[Any] = []
        for name, item in zip(names, self._arguments.items):
            flatten(item, given[name], str(name), leaves)
        return tuple(leaves)

    def __repr__(self) -> str:
        return f"<method {self.description}>"


def _put_back(given: Any, taken: np.ndarray, after: np.ndarray) -> None:
    """Writes what a program has left in an input to what was given, an array, or else to what was
    taken of it, which may be its memory. What cannot be written is left alone."""
    target = given if isinstance(given, np.ndarray) else taken
    if target.flags.writeable:
        native = target.dtype.newbyteorder("=") == after.dtype
        target[...] = after if native else after.view(target.dtype)  # a bfloat16 of another package


def _learn_dims(method: MethodDescription, values: tuple[Any, ...]) -> list[int]:
    """The sizes of the named dims from the arrays; InputError if two disagree."""
    sizes = [-1] * len(method.dim_names)
    source = [""] * len(sizes)
    for info, value in zip(method.inputs, values):
        for axis, size in enumerate(info.shape):
            if size >= 0:
                continue
            k, found = -1 - size, value.shape[axis]
            if sizes[k] < 0:
                sizes[k], source[k] = found, info.name
            elif sizes[k] != found:
                raise InputError(
                    f"{method.name}: argument '{info.name}': expected "
                    f"{info.text(method.dim_names)} where {method.dim_names[k]} is {sizes[k]}, "
                    f"as in '{source[k]}', found {found}"
                )
    return sizes


def _copied(frame: Frame, output: int, info: ValueInfo) -> np.ndarray:
    array = np.empty(tuple(frame.made[output]), info.dtype.storage)
    ctypes.memmove(_address(array), frame.tensors[1][output].data, array.nbytes)
    return array


def _concrete(shape: tuple[int, ...], sizes: list[int]) -> tuple[int, ...]:
    return tuple(size if size >= 0 else sizes[-1 - size] for size in shape)


def _count(names: Sequence[object]) -> str:
    if not names:
        return "no arguments"
    return f"{len(names)} argument{'s' * (len(names) > 1)} ({', '.join(map(str, names))})"
