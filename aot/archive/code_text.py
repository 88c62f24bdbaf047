"""From the bytes of a code member to a syntax tree, without trusting the text.

Python's parser is safe on ordinary text, but text that nests without end can exhaust its stack.
So the nesting is bounded first: brackets, and the operators and accesses one expression chains.
"""

from __future__ import annotations

import ast
import re
import warnings

_MAX_BRACKETS = 90
_MAX_CHAIN = 400  # tokens between two commas at one bracket level
_MAX_STATEMENT = 3000  # characters a statement may have without a closer look
_MAX_TEXT = 64 << 20

_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", re.S)
_TOKEN = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[\w.]+|[^\s\w]", re.S
)


class CodeError(Exception):
    """What is wrong with a text; `line` is 1-based, 0 if it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def parse_code(data: bytes) -> tuple[ast.Module, list[str]]:
    """The syntax tree and the lines of a code member; CodeError if it is not such a text."""
    if len(data) > _MAX_TEXT:
        raise CodeError(f"a code text of {len(data)} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CodeError(f"not UTF-8 text ({error.reason})") from None
    lines = text.split("\n")
    _bound_nesting(lines)
    return _parse(text, "exec"), lines


def parse_type_text(text: str) -> ast.expr:
    """The syntax tree of one type annotation; CodeError if it is none."""
    if len(text) > 10_000 or text.count("[") > 50:
        raise CodeError("a type annotation without end")
    return _parse(text, "eval").body


def _parse(text: str, mode: str) -> ast.AST:
    try:
        with warnings.catch_warnings():
            # An invalid escape or `1 is x` in a foreign text is no news to our user.
            warnings.simplefilter("ignore")
            return ast.parse(text, mode=mode)
    except SyntaxError as error:
        raise CodeError(f"not TorchScript: {error.msg}", error.lineno or 0) from None
    except (ValueError, OverflowError) as error:
        raise CodeError(f"not TorchScript: {error}") from None
    except (RecursionError, MemoryError):
        raise CodeError("not TorchScript: nested too deep") from None


def _bound_nesting(lines: list[str]) -> None:
    """Look at every statement that is long, or that spreads over lines, token by token."""
    start, balance, size = 0, 0, 0
    for number, line in enumerate(lines):
        size += len(line)
        bare = _STRING.sub("''", line) if '"' in line or "'" in line else line
        bare = bare.partition("#")[0] if "#" in bare else bare
        balance += bare.count("(") + bare.count("[") + bare.count("{")
        balance -= bare.count(")") + bare.count("]") + bare.count("}")
        if balance > 0 or line.endswith("\\"):
            continue
        if size > _MAX_STATEMENT:
            _bound_statement("\n".join(lines[start : number + 1]), start + 1)
        start, balance, size = number + 1, 0, 0
    if size > _MAX_STATEMENT:
        _bound_statement("\n".join(lines[start:]), start + 1)


def _bound_statement(text: str, line: int) -> None:
    chains = [0]
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "([{":
            chains[-1] += 1
            chains.append(0)
            if len(chains) > _MAX_BRACKETS:
                raise CodeError(f"more than {_MAX_BRACKETS} brackets inside each other", line)
        elif token in ")]}":
            if len(chains) > 1:
                chains.pop()
        elif token == ",":
            chains[-1] = 0
        else:
            chains[-1] += 1 + token.count(".")
        if chains[-1] > _MAX_CHAIN:
            raise CodeError("an expression without end", line)
