"""Reads types as TorchScript's graph text spells them; the inverse of `str(type)`."""

from __future__ import annotations

import re

from lowering import types
from lowering.types import (
    AwaitType, ClassType, DictType, EnumType, FutureType, InterfaceType, ListType,
    OptionalType, SCALAR_NAMES, OTHER_SCALAR_NAMES, TensorType, TupleType, Type, UnionType,
)
from runtime.errors import AotError


class GraphTextError(AotError):
    """A text that is no Graph; the message names the line."""


_TOKEN = re.compile(r"\s*(?:([A-Za-z_][\w.:]*|\d+|\*)|(\[\]|[?()\[\],:=<>\-]))")


class TypeReader:
    """Reads types from `text`, starting at `position`.

    Names that start with `__torch__` are looked up in `classes`; an unknown one becomes a class
    without attributes, the same for every mention.
    """

    def __init__(self, classes: dict[str, Type]) -> None:
        self.classes = classes
        self.text = ""
        self.position = 0

    def read(self, text: str, position: int = 0) -> tuple[Type, int]:
        """The type that starts at `position`, and where it ends; GraphTextError if none does."""
        self.text, self.position = text, position
        type_ = self._type()
        return type_, self.position

    # --- tokens -------------------------------------------------------------------------------

    def _peek(self) -> str:
        match = _TOKEN.match(self.text, self.position)
        return "" if match is None else match.group(1) or match.group(2)

    def _take(self, wanted: str | None = None) -> str:
        match = _TOKEN.match(self.text, self.position)
        token = "" if match is None else match.group(1) or match.group(2)
        if not token or (wanted is not None and token != wanted):
            rest = self.text[self.position : self.position + 30]
            raise GraphTextError(f"expected {wanted or 'a type'!r}, found {rest!r}")
        self.position = match.end()
        return token

    # --- types --------------------------------------------------------------------------------

    def _type(self) -> Type:
        type_ = self._plain()
        while self._peek() in ("[]", "?"):
            type_ = ListType(type_) if self._take() == "[]" else OptionalType(type_)
        return type_

    def _plain(self) -> Type:
        token = self._take()
        if token == "(":
            return TupleType(self._list(")"))
        if token in ("Dict", "Union"):
            self._take("(")
            inner = self._list(")")
            return DictType(*inner) if token == "Dict" else UnionType(inner)
        if token in ("Future", "Await"):
            self._take("[")
            (inner,) = self._list("]")
            return FutureType(inner) if token == "Future" else AwaitType(inner)
        if token == "NamedTuple":
            return self._named_tuple()
        if token == "Enum":
            self._take("<")
            name = self._take()
            if not name.startswith("__torch__"):
                raise GraphTextError(f"{name!r} is no enumeration")
            self._take(">")
            return self._class(name, EnumType(name, types.Int))
        if token == "Function":
            return types.SimpleType("Function")
        if token in SCALAR_NAMES or token in OTHER_SCALAR_NAMES:
            return self._tensor(token)
        if token.startswith("__torch__"):
            return self._class(token, ClassType(token))
        if token in types.NAMED_TYPES:
            return types.NAMED_TYPES[token]
        raise GraphTextError(f"the type {token!r} is not known")

    def _class(self, name: str, unknown: ClassType | EnumType) -> Type:
        found = self.classes.setdefault(name, unknown)
        if not isinstance(found, (ClassType, EnumType, InterfaceType)):
            raise GraphTextError(f"{name} is no class")
        return found

    def _list(self, end: str) -> tuple[Type, ...]:
        inner: list[Type] = []
        while self._peek() != end:
            if inner:
                self._take(",")
            inner.append(self._type())
        self._take(end)
        return tuple(inner)

    def _named_tuple(self) -> Type:
        self._take("(")
        fields, elements = [], []
        while self._peek() != ")":
            if fields:
                self._take(",")
            fields.append(self._take())
            self._take(":")
            elements.append(self._type())
        self._take(")")
        return TupleType(tuple(elements), None, tuple(fields))

    def _tensor(self, name: str) -> Type:
        dtype = SCALAR_NAMES.get(name, name)
        if self._peek() != "(":
            return TensorType(dtype)
        self._take("(")
        sizes: list[int | None] = []
        facts: dict[str, object] = {}
        while self._peek() != ")":
            if sizes or facts:
                self._take(",")
            token = self._take()
            if token == "*" or token.isdigit():
                sizes.append(None if token == "*" else int(token))
            elif token in ("strides", "requires_grad", "device"):
                self._take("=")
                facts[token] = self._fact(token)
            else:
                raise GraphTextError(f"{token!r} is no part of a tensor's type")
        self._take(")")
        return TensorType(dtype, tuple(sizes), **facts)

    def _fact(self, name: str) -> object:
        if name == "requires_grad":
            return self._take() == "1"
        if name == "device":
            device = self._take()
            return device
        self._take("[")
        strides: list[int | None] = []
        while self._peek() != "]":
            if strides:
                self._take(",")
            token = self._take()
            strides.append(None if token == "*" else int(token))
        self._take("]")
        return tuple(strides)


