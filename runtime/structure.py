"""How a flat list of values makes up Python arguments and results; the grammar is in aot.h.

    structure = "T"                                  the next value of the list
              | "S"                                  the next value of the list, a string
              | "?" structure                        None unless the next value, a bool, is true
              | "L"                                  the next value, a tensor, as a list of numbers
              | "R"                                  the same as a list of tensors, its rows
              | "C"                                  the next value, a tensor of pairs, as complex
              | "N"                                  None
              | string                               this constant string
              | "(" [structure {"," structure}] ")"  tuple
              | "[" [structure {"," structure}] "]"  list
              | "{" [key ":" structure {"," ...}] "}"  dict
              | [name] "(" field "=" structure {"," ...} ")"  named tuple

`parse` reads such a text, `text_of` writes one; `flatten` takes a value apart, `build` puts one
together. A method's arguments are a named tuple without a name: "(x=T,state=(T,T))".
"""

from __future__ import annotations

import re
from collections import namedtuple
from dataclasses import dataclass
from typing import Any, Callable, Iterator

import numpy as np

from runtime.errors import InputError, RuntimeFailure


@dataclass(frozen=True)
class Leaf:
    """The next value of the flat list: "T" a tensor or number, "S" a string; a tensor whose first
    dim is a list, "L" of numbers, "R" of tensors; "C" one whose last dim has the real and the
    imaginary part of a complex number."""

    kind: str = "T"


@dataclass(frozen=True)
class Constant:
    """None or a string that the compiler knew: no value of the list."""

    value: str | None


@dataclass(frozen=True)
class Group:
    """A tuple, list, dict or named tuple, or what may be None, with a bool before its one item.
    keys: dict keys or field names, () for the others."""

    kind: str  # 'tuple', 'list', 'dict', 'named', 'optional'
    items: tuple[Structure, ...]
    keys: tuple[str | int, ...] = ()
    name: str = ""  # of a named tuple
    type: Any = None  # of a named tuple: its class


Structure = Leaf | Constant | Group

_TOKEN = re.compile(r"'((?:[^'\\]|\\['\\])*)'|(-?[0-9]+)|(\w+)|([()\[\]{}:,=?])")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def parse(text: str) -> Structure:
    """The structure of a text; RuntimeFailure if it does not follow the grammar."""
    tokens = [*_tokens(text), ("end", None), ("end", None), ("end", None)]  # to look two ahead
    structure, end = _parse(tokens, 0, text)
    if tokens[end][0] != "end":
        raise _malformed(text)
    return structure


def _malformed(text: str) -> RuntimeFailure:
    return RuntimeFailure(f"the compiled model has a malformed structure text: {text!r}")


def _tokens(text: str) -> Iterator[tuple[str, Any]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _malformed(text)
        at = match.end()
        string, number, word, mark = match.groups()
        if string is not None:
            yield "string", re.sub(r"\\(.)", r"\1", string)
        elif number is not None and not word:
            yield "number", int(number)
        elif word is not None:
            yield "word", word
        else:
            yield mark, mark


def _parse(tokens: list[tuple[str, Any]], at: int, text: str) -> tuple[Structure, int]:
    """One structure that starts at token `at`, and the place after it."""
    kind, value = tokens[at]
    if kind == "string":
        return Constant(value), at + 1
    if kind == "?":
        inner, end = _parse(tokens, at + 1, text)
        return Group("optional", (inner,)), end
    name = ""
    if kind == "word" and tokens[at + 1][0] != "(":
        if value not in ("T", "S", "L", "R", "C", "N"):
            raise _malformed(text)
        return (Constant(None) if value == "N" else Leaf(value)), at + 1
    if kind == "word":
        name, at = value, at + 1
        kind = "("
    if kind not in _CLOSERS:
        raise _malformed(text)
    named = kind == "(" and (bool(name) or tokens[at + 2][0] == "=")
    items, keys, end = _members(tokens, at + 1, kind, named, text)
    if kind == "[":
        return Group("list", items), end
    if kind == "{":
        return Group("dict", items, keys), end
    if named:
        return Group("named", items, keys, name, _named_type(name, keys)), end
    return Group("tuple", items), end


def _members(
    tokens: list[tuple[str, Any]], at: int, opener: str, named: bool, text: str
) -> tuple[tuple[Structure, ...], tuple[str | int, ...], int]:
    items: list[Structure] = []
    keys: list[str | int] = []
    close = _CLOSERS[opener]
    while tokens[at][0] != close:
        if items:
            if tokens[at][0] != ",":
                raise _malformed(text)
            at += 1
        if opener == "{" or named:
            wanted, separator = (("word",), "=") if named else (("string", "number"), ":")
            if tokens[at][0] not in wanted or tokens[at + 1][0] != separator:
                raise _malformed(text)
            keys.append(tokens[at][1])
            at += 2
        item, at = _parse(tokens, at, text)
        items.append(item)
    return tuple(items), tuple(keys), at + 1


def _named_type(name: str, fields: tuple[str | int, ...]) -> Any:
    """A namedtuple class; fields that Python forbids get their position as a name."""
    return namedtuple(name or "Arguments", [str(f) for f in fields], rename=True)


def text_of(value: Any, is_leaf: Callable[[Any], bool]) -> str:
    """The text of a Python value whose leaves are told by `is_leaf`; TypeError for other objects.

    text_of((x, [y]), is_leaf) is "(T,[T])"."""
    if is_leaf(value):
        return "T"
    if value is None:
        return "N"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, tuple):
        items = [text_of(v, is_leaf) for v in value]
        fields = getattr(value, "_fields", None)
        if fields:
            members = ",".join(f"{f}={t}" for f, t in zip(fields, items))
            return f"{type(value).__name__}({members})"
        return f"({','.join(items)})"
    if isinstance(value, list):
        return f"[{','.join(text_of(v, is_leaf) for v in value)}]"
    if isinstance(value, dict):
        if not all(isinstance(k, str) or type(k) is int for k in value):
            raise TypeError(f"a dict with keys other than str and int: {list(value)!r}")
        members = (f"{text_of(k, is_leaf) if isinstance(k, str) else k}:{text_of(v, is_leaf)}"
                   for k, v in value.items())
        return "{" + ",".join(members) + "}"
    raise TypeError(f"a value of type {type(value).__name__} has no structure")


def arguments_text(members: dict[str, str]) -> str:
    """The text of a method's arguments from the text of each: {'x': 'T'} is "(x=T)"."""
    return f"({','.join(f'{name}={text}' for name, text in members.items())})"


def leaf_count(structure: Structure) -> int:
    """How many values of the flat list a structure takes."""
    if isinstance(structure, Group):
        return sum(map(leaf_count, structure.items)) + (structure.kind == "optional")
    return 1 if isinstance(structure, Leaf) else 0


def leaf_kinds(text: str) -> list[str]:
    """The kinds of the values that a structure of this text takes, in order."""
    def kinds(structure: Structure) -> list[str]:
        if isinstance(structure, Group):
            inner = [kind for item in structure.items for kind in kinds(item)]
            return ["T", *inner] if structure.kind == "optional" else inner
        return [structure.kind] if isinstance(structure, Leaf) else []

    return kinds(parse(text))


def flatten(structure: Structure, value: Any, name: str, leaves: list[Any]) -> None:
    """Append the leaves of `value` to `leaves`; InputError that names what does not fit."""
    if isinstance(structure, Leaf):
        leaves.append(value)
    elif isinstance(structure, Constant):
        if type(value) is not type(structure.value) or value != structure.value:
            raise InputError(f"argument '{name}': expected {structure.value!r}, which the model "
                             f"was compiled for, found {value!r}")
    elif structure.kind == "dict":
        if not isinstance(value, dict) or set(value) != set(structure.keys):
            keys = list(value) if isinstance(value, dict) else type(value).__name__
            raise InputError(f"argument '{name}': expected a dict with keys "
                             f"{list(structure.keys)}, found {keys}")
        for key, item in zip(structure.keys, structure.items):
            flatten(item, value[key], f"{name}[{key!r}]", leaves)
    else:
        expected = "list" if structure.kind == "list" else "tuple"
        if not isinstance(value, (tuple, list)):
            raise InputError(f"argument '{name}': expected a {expected} of "
                             f"{len(structure.items)}, found {type(value).__name__}")
        if len(value) != len(structure.items):
            raise InputError(f"argument '{name}': expected a {expected} of "
                             f"{len(structure.items)}, found {len(value)} items")
        for i, item in enumerate(structure.items):
            flatten(item, value[i], f"{name}[{i}]", leaves)


def build(structure: Structure, leaves: Iterator[Any]) -> Any:
    """The Python value of a structure; takes the values it needs from `leaves`, in order."""
    if isinstance(structure, Leaf):
        value = next(leaves)
        return {"L": lambda: value.tolist(), "R": lambda: list(value),
                "C": lambda: complex_numbers(value)}.get(structure.kind, lambda: value)()
    if isinstance(structure, Constant):
        return structure.value
    there = structure.kind != "optional" or next(leaves)
    items = [build(item, leaves) for item in structure.items]
    if structure.kind == "optional":
        return items[0] if there else None
    if structure.kind == "list":
        return items
    if structure.kind == "dict":
        return dict(zip(structure.keys, items))
    if structure.kind == "named":
        return structure.type(*items)
    return tuple(items)


def complex_numbers(pairs: np.ndarray) -> np.ndarray:
    """Pairs (..., 2) of f32 or f64 as complex numbers (...), in the same memory if contiguous."""
    pairs = np.ascontiguousarray(pairs)
    return pairs.view(np.result_type(pairs.dtype, np.complex64))[..., 0]
