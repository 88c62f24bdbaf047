"""ATen schema strings: `name.overload(Type name=default, *, ...) -> returns`, parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """One formal argument. type: 'Tensor', 'int[]', 'Scalar?', ...; alias: 'a', 'a!' or ''."""

    type: str
    name: str
    default: object = None
    has_default: bool = False
    keyword_only: bool = False
    alias: str = ""


@dataclass(frozen=True)
class Schema:
    """namespace::name.overload, its arguments and the types of its results with their aliases."""

    name: str
    overload: str
    arguments: tuple[Argument, ...]
    returns: tuple[tuple[str, str], ...]  # (type, alias)
    text: str

    @property
    def is_view(self) -> bool:
        """A result aliases an argument and nothing is written."""
        return any(a and "!" not in a for _, a in self.returns)

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the arguments written in place."""
        return tuple(a.name for a in self.arguments if "!" in a.alias)


_HEAD = re.compile(r"^\s*(?:(\w+)::)?([\w]+)(?:\.(\w+))?\((.*)\)\s*->\s*(.*)$", re.S)
_TYPE = re.compile(r"^([A-Za-z]\w*)(?:\(([^)]*)\))?((?:\[\d*\]|\?)*)$")


def parse_schema(text: str, namespace: str = "aten") -> Schema:
    """Parses a schema. ValueError on anything else."""
    m = _HEAD.match(text)
    if not m:
        raise ValueError(f"not a schema: {text}")
    given, name, overload, arguments, returns = m.groups()
    keyword_only, parsed = False, []
    for part in split(arguments):
        if part == "*":
            keyword_only = True
            continue
        parsed.append(_argument(part, keyword_only))
    returns = returns.strip()
    inner = returns[1:-1] if returns.startswith("(") and returns.endswith(")") else returns
    types = tuple(_type(part.split(" ")[0]) for part in split(inner))
    return Schema(f"{given or namespace}::{name}", overload or "", tuple(parsed), types, text)


def split(text: str) -> list[str]:
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


def _type(text: str) -> tuple[str, str]:
    m = _TYPE.match(text)
    if not m:
        raise ValueError(f"not a type: {text}")
    base, alias, suffix = m.groups()
    return base + re.sub(r"\[\d+\]", "[]", suffix), alias or ""


def _argument(text: str, keyword_only: bool) -> Argument:
    left, _, default = text.partition("=")
    type_text, _, name = left.strip().rpartition(" ")
    base, alias = _type(type_text)
    sized = re.search(r"\[(\d+)\]", type_text)
    if sized:  # int[2] also takes one int, repeated
        base = base.replace("[]", f"[{sized.group(1)}]", 1)
    value = _default(default.strip()) if default else None
    return Argument(base, name, value, bool(default), keyword_only, alias)


_NAMED = {"None": None, "True": True, "False": False, "Mean": 1, "long": 4, "contiguous_format": 0,
          "float": 6, "inf": float("inf")}


def _default(text: str) -> object:
    if text in _NAMED:
        return _NAMED[text]
    if text.startswith("["):
        return tuple(_default(p) for p in split(text[1:-1]))
    if text[0] in "'\"":
        return text[1:-1]
    return float(text) if re.search(r"[.e]", text) else int(text)
