"""The schemas of TorchScript's operators, in the order in which overloads are tried.

`schemas.txt` lists them, one a line, in PyTorch's notation. The operator table (lowering/ops) says
what an operator does; this table says how a call in a program binds to one of its overloads, for
the scalar, string, list and dict operators too.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources

from lowering import types
from lowering.types import DictType, FutureType, ListType, OptionalType, SimpleType, TupleType, Type


class TypeVariable(SimpleType):
    """A type that a call's arguments fix: `t` in `append.t(t[](a!) self, t el)`."""


@dataclass(frozen=True)
class Formal:
    """A formal argument. `length` is N of `int[N]`, which also takes one number, repeated."""

    name: str
    type: Type
    keyword_only: bool
    default: object = ...
    length: int | None = None
    written: bool = False


@dataclass(frozen=True)
class OperatorSchema:
    """name, overload, formals and the result types with their names ('' where they have none)."""

    name: str
    overload: str
    formals: tuple[Formal, ...]
    returns: tuple[Type, ...]
    return_names: tuple[str, ...]
    fresh: bool = True  # no result shares memory with an argument


_BASES: dict[str, Type] = {
    "Tensor": types.Tensor, "int": types.Int, "SymInt": types.Int, "float": types.Float,
    "bool": types.Bool, "str": types.Str, "complex": types.Complex, "Scalar": types.Number,
    "ScalarType": types.Int, "Layout": types.Int, "MemoryFormat": types.Int,
    "Device": types.Device, "Generator": types.Generator, "Any": types.Any,
    "QScheme": types.QScheme, "Stream": types.Stream, "AnyClassType": types.AnyClass,
    "AnyEnumType": types.AnyEnum, "NoneType": types.NoneT, "list": types.AnyList,
}  # fmt: skip
_TOKENS = re.compile(r"\s*(\w+|\[\d*\]|\([a-z](?:|[^)]*)!?\)|[(),?*])")


class _TypeReader:
    """Reads one type at the start of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.length: int | None = None
        self.written = False

    def read(self) -> Type:
        self._space()
        if self.text[self.at] == "(":
            type_: Type = TupleType(tuple(self._list()))
        else:
            word = re.match(r"\w+", self.text[self.at :]).group()
            self.at += len(word)
            if word == "Dict":
                type_ = DictType(*self._list())
            elif word == "Future":
                type_ = FutureType(*self._list())
            elif word in ("RRef", "Await"):
                self._list()
                type_ = TypeVariable(word)
            else:
                type_ = _BASES.get(word) or TypeVariable(word)
        return self._suffixes(type_)

    def _suffixes(self, type_: Type) -> Type:
        while self.at < len(self.text):
            rest = self.text[self.at :]
            alias = re.match(r"\((?:[a-z](?:\|[a-z])*!?|\*)(?: -> (?:[a-z]|\*))?\)", rest)
            brackets = re.match(r"\[(\d*)\]", rest)
            if alias:
                self.written = self.written or "!" in alias.group()
                self.at += alias.end()
            elif brackets:
                if brackets.group(1):
                    self.length = int(brackets.group(1))
                type_ = ListType(type_)
                self.at += brackets.end()
            elif rest[0] == "?":
                type_ = OptionalType(type_)
                self.at += 1
            else:
                break
        return type_

    def _list(self) -> list[Type]:
        self.at += 1
        out: list[Type] = []
        while self.text[self.at] != ")":
            out.append(self.read())
            self._space()
            if self.text[self.at] == ",":
                self.at += 1
                self._space()
        self.at += 1
        return out

    def _space(self) -> None:
        while self.text[self.at] == " ":
            self.at += 1


def _split(text: str) -> list[str]:
    """Splits at commas outside brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([":
            depth += 1
        elif c in ")]":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return [p for p in parts if p]


def _default(text: str, type_: Type) -> object:
    named = {"None": None, "True": True, "False": False, "long": 4, "contiguous_format": 0,
             "Mean": 1, "strided": 0}
    if text in named:
        return named[text]
    if text.startswith("["):
        inner = text[1:-1]
        return [_default(p, types.Any) for p in _split(inner)]
    if text[0] in "'\"":
        return text[1:-1].encode().decode("unicode_escape")
    if text.startswith("Float"):
        return 6
    number = float(text) if re.search(r"[.e]|inf|nan", text) else int(text)
    return float(number) if type_ == types.Float else number


def read_schema(text: str) -> OperatorSchema:
    """Reads a schema in PyTorch's notation."""
    head, _, returns = text.rpartition(" -> ")
    name, _, rest = head.partition("(")
    name, _, overload = name.partition(".")
    formals, keyword_only = [], False
    for part in _split(rest[:-1]):
        if part == "*":
            keyword_only = True
            continue
        reader = _TypeReader(part)
        type_ = reader.read()
        left, equals, default = part[reader.at :].strip().partition("=")
        value = _default(default, type_) if equals else ...
        formals.append(
            Formal(left.strip(), type_, keyword_only, value, reader.length, reader.written)
        )
    results, names = [], []
    is_several = returns.startswith("(") and returns.endswith(")")
    for part in _split(returns[1:-1] if is_several else returns):
        reader = _TypeReader(part)
        results.append(reader.read())
        names.append(part[reader.at :].strip())
    fresh = re.search(r"\([a-z]!?\)|\(\*\)", returns) is None
    return OperatorSchema(name, overload, tuple(formals), tuple(results), tuple(names), fresh)


@functools.lru_cache(maxsize=None)
def _texts() -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = {}
    text = (resources.files("lowering") / "schemas.txt").read_text()
    for line in text.splitlines():
        by_name.setdefault(re.match(r"[\w:]+", line).group(), []).append(line)
    return by_name


@functools.lru_cache(maxsize=None)
def schemas_of(name: str) -> tuple[OperatorSchema, ...]:
    """The overloads of `aten::add`, in the order they are tried; () if there is no such
    operator."""
    return tuple(map(read_schema, _texts().get(name, ())))


def add(text: str) -> None:
    """Adds an overload, tried after those there are."""
    _texts().setdefault(re.match(r"[\w:]+", text).group(), []).append(text)
    schemas_of.cache_clear()


def find_schema(name: str, overload: str) -> OperatorSchema | None:
    """One overload of an operator, None if there is none."""
    return next((s for s in schemas_of(name) if s.overload == overload), None)
