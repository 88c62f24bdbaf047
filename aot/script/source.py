"""Where a program's text is: the source of functions and classes, places in it, and errors."""

from __future__ import annotations

import ast
import inspect
import textwrap

from lowering.graph import SourceRange
from runtime.errors import CompileError


class ScriptError(CompileError):
    """The program is not TorchScript. The message ends with the place, its line and a caret."""

    def __init__(self, message: str, place: SourceRange | None = None) -> None:
        self.place = place
        text = message
        if place is not None:
            text += f"\n  {place.file}:{place.line}:{place.column}\n{place.excerpt()}"
        super().__init__(text.rstrip())


class Source:
    """A definition's text, parsed. Its places are those of the file it stands in."""

    def __init__(self, text: str, file: str, first_line: int) -> None:
        self.file = file
        lines = text.expandtabs().split("\n")
        head = next((line for line in lines if line.strip()), "")
        self.indent = len(head) - len(head.lstrip())
        self.first_line = first_line
        self.lines = lines
        dedented = textwrap.dedent("\n".join(lines))
        if dedented[:1].isspace():
            dedented = "\n".join(line[self.indent:] for line in lines)
        self.text = dedented
        try:
            self.tree = ast.parse(dedented, type_comments=True)
        except SyntaxError:
            self.tree = ast.parse(dedented)

    def range(self, node: ast.AST) -> SourceRange:
        line = getattr(node, "lineno", 1)
        column = getattr(node, "col_offset", 0) + self.indent
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return SourceRange(self.file, self.first_line + line - 1, column, text)

    def error(self, message: str, node: ast.AST) -> ScriptError:
        return ScriptError(message, self.range(node))


def source_of(obj: object) -> Source:
    """The source of a function or class; ScriptError if Python cannot find it."""
    try:
        lines, first = inspect.getsourcelines(obj)
        file = inspect.getsourcefile(obj) or "<unknown>"
    except (OSError, TypeError) as error:
        name = getattr(obj, "__qualname__", repr(obj))
        raise ScriptError(f"Can't get source for {name}: TorchScript requires source access to "
                          f"compile it ({error})") from None
    return Source("".join(lines), file, max(first, 1))
