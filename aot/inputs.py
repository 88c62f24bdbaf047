"""The language of --input: what one argument of the compiled method is.

    x:f32[1,3,224,224]   a tensor; dtypes f32 f64 f16 bf16 i8 i16 i32 i64 u8 bool (or float32 ...)
    x:f32[]              a tensor of rank 0
    x:f32[N,3,H%32==0,2<=W<=640]   sizes that each call decides; equal names are equal sizes
    n:int  f:float  flag:bool  s:str   a number or string that the caller gives at run time
    n:int=5  f:float=0.5  flag:bool=true  s:str=abc     a constant, compiled in (n:i64=5 too)
    none  mask:none      None
    state:(f32[1,8],f32[1,8])   a tuple, here of two tensors;  xs:[f32[3],f32[4]]   a list
    n:[int...]  xs:[f32[3]...]  a list of any length, of numbers or of tensors of one shape
    d:{'a':f32[3],'b':int}  d:{0:f32[3]}   a dict with these keys

One spec an argument, in the method's order; the name becomes the parameter's name in the header.
Arguments that are left out at the end take their defaults. A method may be given several times,
each with other inputs: a call picks by its arguments, numbers that differ (n:int=5) among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from collections.abc import Iterable
from typing import Any, Union

import numpy as np

from lowering.objects import TensorData
from runtime import dtypes
from runtime.dtypes import DType
from runtime.errors import InputError
from runtime.named_dims import NamedDim


@dataclass(frozen=True)
class TensorInput:
    """A tensor given at run time. An empty name stands for the method's own parameter's."""

    name: str
    dtype: DType
    shape: tuple[int | NamedDim, ...]

    def __str__(self) -> str:
        return f"{self.name or 'x'}:{self.dtype.name}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class ScalarInput:
    """An int, float, bool or str given at run time. `value`: the only one that may be given, which
    chooses among the signatures of a method."""

    name: str
    kind: str  # 'int', 'float', 'bool' or 'str'
    value: int | float | bool | None = None

    def __str__(self) -> str:
        if self.value is not None:
            return str(ConstantInput(self.name, self.value))
        return f"{self.name or 'x'}:{self.kind}"


@dataclass(frozen=True)
class ConstantInput:
    """A value known now: int, float, bool, str or None. It is no argument of the compiled
    method."""

    name: str
    value: int | float | bool | str | None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name}:none" if self.name else "none"
        text = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        return f"{self.name or 'x'}:{type(self.value).__name__}={text}"


@dataclass(frozen=True)
class SequenceInput:
    """A tuple or a list whose length is known now; its items' names are empty."""

    name: str
    kind: str  # 'tuple' or 'list'
    items: tuple[Input, ...]

    def __str__(self) -> str:
        inside = ",".join(str(item).partition(":")[2] or "none" for item in self.items)
        return f"{self.name or 'x'}:" + (f"({inside})" if self.kind == "tuple" else f"[{inside}]")


@dataclass(frozen=True)
class RowsInput:
    """A list of any length, of numbers or tensors like `item`, whose name is empty."""

    name: str
    item: TensorInput | ScalarInput

    def __str__(self) -> str:
        return f"{self.name or 'x'}:[{str(self.item).partition(':')[2]}...]"


@dataclass(frozen=True)
class DictInput:
    """A dict whose keys are known now."""

    name: str
    keys: tuple[int | float | bool | str, ...]
    items: tuple[Input, ...]

    def __str__(self) -> str:
        pairs = (f"{k!r}:{str(v).partition(':')[2]}" for k, v in zip(self.keys, self.items))
        return f"{self.name or 'x'}:{{{','.join(pairs)}}}"


Input = Union[TensorInput, ScalarInput, ConstantInput, SequenceInput, RowsInput, DictInput]

EXAMPLES = (
    "x:f32[1,3,224,224], ids:i64[1,128], n:int, n:int=5, flag:bool=true, f:float=0.5, "
    "s:str=abc, none"
)
SCALARS = ("int", "float", "bool")
C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_ELEMENTS = 1 << 40  # more is a typing error, and would overflow sizes further on
_TENSOR = re.compile(r"(?P<dtype>[A-Za-z0-9_]+)\[(?P<dims>[^\[\]]*)\]\Z")
_PAIR = re.compile(r"\s*(?:'(?P<text>[^']*)'|(?P<number>-?[0-9]+))\s*:(?P<type>.*)\Z", re.S)
_ALIASES = {"i64": "int", "f64": "float"}  # the element types that numbers of run time have
_NAMED_DIM = re.compile(
    r"(?:(?P<low>[0-9]{1,18})\s*<=\s*)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?:\s*<=\s*(?P<high>[0-9]{1,18})|\s*%\s*(?P<multiple>[0-9]{1,9})\s*==\s*0)?\Z")
_TRUTH = {"true": True, "false": False, "1": True, "0": False}


def parse_input(spec: str) -> Input:
    """One --input. Raises InputError that says what was expected and found."""
    text = spec.strip()
    if text.lower() == "none":
        return ConstantInput("", None)
    name, colon, rest = text.partition(":")
    name, rest = name.strip(), rest.strip()
    if not colon:
        raise _error(spec, "NAME:TYPE is expected, and there is no colon")
    if not C_IDENTIFIER.match(name):
        raise _error(
            spec, f"the name '{name}' is no identifier (letters, digits and _, no digit first)"
        )
    return _parse_type(spec, name, rest)


def parse_inputs(specs: Iterable[str]) -> tuple[Input, ...]:
    """All --input options, in order. Raises InputError for the first bad one, or for a name used
    twice."""
    inputs = tuple(parse_input(spec) for spec in specs)
    names = [given.name for given in inputs if given.name]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"--input: the name '{name}' is used {names.count(name)} times; "
                "each argument has its own"
            )
    return inputs


def _parse_type(spec: str, name: str, text: str) -> Input:
    text = text.strip()
    if text.startswith("[") and text.endswith("...]"):
        item = _parse_type(spec, "", text[1:-4])
        if not isinstance(item, (TensorInput, ScalarInput)) or str(item).endswith(":str"):
            raise _error(spec, "a list of any length has numbers or tensors for items")
        return RowsInput(name, item)
    for kind, opening, closing in (("tuple", "(", ")"), ("list", "[", "]")):
        if text.startswith(opening):
            if not text.endswith(closing):
                raise _error(spec, f"the {kind} is not closed with {closing}")
            items = tuple(_parse_type(spec, "", item) for item in _split(spec, text[1:-1]))
            return SequenceInput(name, kind, items)
    if text.startswith("{"):
        return _dict(spec, name, text)
    if "=" in text and "[" not in text.partition("=")[0]:
        kind, _, value = text.partition("=")
        kind = kind.strip().lower()
        return ConstantInput(name, _constant(spec, _ALIASES.get(kind, kind), value))
    if "[" in text or "]" in text:
        return _tensor(spec, name, text)
    if text.lower() == "none":
        return ConstantInput(name, None)
    if text.lower() in (*SCALARS, "str"):
        return ScalarInput(name, text.lower())
    called = name or "x"
    if _dtype(text) is not None:
        shaped = f"{called}:{text}[DIMS], or {called}:{text}[] for rank 0"
        raise _error(spec, f"a tensor needs its shape: write {shaped}")
    raise _error(spec, f"unknown type '{text}'; {_known_types()}")


def _dict(spec: str, name: str, text: str) -> DictInput:
    if not text.endswith("}"):
        raise _error(spec, "the dict is not closed with }")
    keys: list[int | str] = []
    items = []
    for pair in _split(spec, text[1:-1]):
        match = _PAIR.match(pair)
        if match is None:
            raise _error(spec, f"'{pair.strip()}' is no KEY:TYPE with a key such as 'a' or 0")
        keys.append(match["text"] if match["number"] is None else int(match["number"]))
        items.append(_parse_type(spec, "", match["type"]))
    if len(set(keys)) < len(keys):
        raise _error(spec, "a key is given twice")
    return DictInput(name, tuple(keys), tuple(items))


def _split(spec: str, text: str) -> list[str]:
    """The items between commas that stand in no bracket; one comma at the end adds none."""
    items, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            raise _error(spec, "a bracket is closed that was not opened")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    if depth:
        raise _error(spec, "a bracket is not closed")
    return items[:-1] if not items[-1].strip() else items


def input_of_value(value: object, name: str = "") -> Input:
    """The spec of an example argument: arrays become tensors, all else in it constants.

    The name may be empty. InputError for what no compiled method takes.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        try:
            dtype = dtypes.dtype_of_numpy(value.dtype)
        except KeyError:
            raise InputError(
                f"an example input has the numpy type {value.dtype}; {_known_types()}"
            ) from None
        return TensorInput(name, dtype, tuple(value.shape))
    if isinstance(value, TensorData):
        return TensorInput(name, value.dtype, value.sizes)
    if value is None or isinstance(value, (bool, int, float, str)):
        return ConstantInput(name, value)
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return SequenceInput(name, kind, tuple(input_of_value(item) for item in value))
    if isinstance(value, dict) and all(isinstance(k, (int, float, bool, str)) for k in value):
        items = tuple(input_of_value(item) for item in value.values())
        return DictInput(name, tuple(value), items)
    raise InputError(
        f"an example input is a {type(value).__name__}; "
        "expected a numpy array, int, float, bool, str, None, or a tuple, list or dict of these"
    )


def _tensor(spec: str, name: str, rest: str) -> TensorInput:
    match = _TENSOR.match(rest)
    if match is None:
        raise _error(spec, f"'{rest}' is no DTYPE[DIM,DIM,...]")
    dtype = _dtype(match["dtype"])
    if dtype is None:
        hint = {
            "int": " (i64 is PyTorch's int tensor)",
            "float": " (f32 is PyTorch's float tensor)",
        }
        raise _error(
            spec,
            f"unknown dtype '{match['dtype']}'{hint.get(match['dtype'], '')}; {_known_types()}",
        )
    dims = [dim.strip() for dim in match["dims"].split(",")] if match["dims"].strip() else []
    shape = tuple(_dim(spec, dim) for dim in dims)
    elements = 1
    for dim in shape:
        elements *= max(dim if isinstance(dim, int) else dim.low, 1)
    if elements > MAX_ELEMENTS:
        raise _error(
            spec, f"the shape has {elements} elements; at most {MAX_ELEMENTS} are possible"
        )
    return TensorInput(name, dtype, shape)


def _dim(spec: str, dim: str) -> int | NamedDim:
    if dim.isascii() and dim.isdigit() and len(dim) <= 18:
        return int(dim)
    match = _NAMED_DIM.match(dim)
    if match is None:
        raise _error(spec, "a dim is a number that is not negative, or a name with what is known "
                           f"of it (N, N<=64, 2<=N<=64, N%8==0), found '{dim}'")
    low, high, multiple = (int(match[k]) if match[k] else None
                           for k in ("low", "high", "multiple"))
    if multiple == 0 or high is not None and high < (low or 1):
        raise _error(spec, f"no number is as '{dim}' says")
    return NamedDim(match["name"], 1 if low is None else low, high, multiple or 1)


def _constant(spec: str, kind: str, value: str) -> int | float | bool | str:
    if kind == "str":
        return value
    value = value.strip()
    if kind == "bool":
        if value.lower() not in _TRUTH:
            raise _error(spec, f"a bool is true or false, found '{value}'")
        return _TRUTH[value.lower()]
    try:
        if kind == "int":
            number = int(value)
            if not -(1 << 63) <= number < 1 << 63:
                raise _error(spec, f"an int has 64 bits, found {value}")
            return number
        if kind == "float":
            return float(value)
    except ValueError:
        raise _error(
            spec, f"expected {'an int' if kind == 'int' else 'a float'}, found '{value}'"
        ) from None
    if _dtype(kind) is not None:
        raise _error(
            spec,
            f"a tensor cannot be given as a constant; constants are {', '.join(SCALARS)} and str",
        )
    raise _error(spec, f"unknown type '{kind}' for a constant; expected int, float, bool or str")


def _dtype(name: str) -> DType | None:
    try:
        return dtypes.dtype_of_name(name.lower())
    except KeyError:
        return None


def _known_types() -> str:
    tensors = " ".join(d.name for d in dtypes.ALL)
    return f"tensors are {tensors}, scalars {' '.join(SCALARS)} str, or none"


def _error(spec: str, problem: str) -> InputError:
    return InputError(f"--input '{spec}': {problem}\n  examples: {EXAMPLES}")


def has_constants(inputs: tuple[Input, ...]) -> bool:
    """True if a value of the arguments is compiled in."""
    return any(
        has_constants(given.items) if isinstance(given, (SequenceInput, DictInput))
        else isinstance(given, ConstantInput) for given in inputs)


def run_time_arguments(inputs: tuple[Input, ...], args: tuple[Any, ...]) -> list[Any]:
    """The arguments of a call as the compiled code takes them: without the constants.

    A call may give all arguments that the method has, or leave out the constant ones. InputError if
    a constant is given with another value than the one that is compiled in."""
    if len(args) != len(inputs):
        inputs = tuple(given for given in inputs if not isinstance(given, ConstantInput))
    if len(args) != len(inputs):
        return list(args)  # the model says what is wrong
    values = [_without_constants(given, value) for given, value in zip(inputs, args)]
    return [v for given, v in zip(inputs, values) if not isinstance(given, ConstantInput)]


def _without_constants(given: Input, value: Any) -> Any:
    """The value with None, which the compiled code knows it by, where it is a constant."""
    if isinstance(given, ConstantInput):
        same = value is None if given.value is None else value == given.value
        if not same:
            raise InputError(f"the argument '{given.name}' is {value!r}; {given.value!r} was "
                             "compiled in, another value needs another compilation")
        return value if isinstance(value, str) else None
    if isinstance(given, SequenceInput) and isinstance(value, (tuple, list)):
        if len(value) == len(given.items):
            return type(value)(_without_constants(g, v) for g, v in zip(given.items, value))
    if isinstance(given, DictInput) and isinstance(value, dict):
        if set(value) == set(given.keys):
            return {k: _without_constants(g, value[k]) for k, g in zip(given.keys, given.items)}
    return value
