"""Makes a TorchScript program smaller while it still shows what is wrong with it.

    python -m tests.reduce_scripts SEED      the reduced program of tests/random_scripts.py

The program is Python's syntax tree: statements are left out, blocks put in place of what they stand
in, and expressions replaced by one of their operands. Whether the result is a program at all is
left to the question that is asked of it.
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.random_script_engines import FAILED, problem
from tests.random_scripts import Program, program

Question = Callable[[str], bool]


class _Late(Exception):
    """There is no time left."""


def reduced(source: str, fails: Question, seconds: float = 240) -> str:
    """A smaller source of which `fails` still holds; it must hold of `source`. After so many
    seconds what has been found is enough."""
    best, end = source, time.monotonic() + seconds

    def asked(text: str) -> bool:
        nonlocal best
        if time.monotonic() > end:
            raise _Late
        if not fails(text):
            return False
        best = text
        return True

    try:
        while True:
            before = best
            for smaller in (_with_fewer_statements, _with_smaller_expressions):
                smaller(best, asked)
            if best == before:
                return best
    except _Late:
        return best


def _with_fewer_statements(source: str, fails: Question) -> str:
    k = 0
    while True:
        for size in (8, 4, 2, 1):
            tree = ast.parse(source)
            places = list(_statements(tree))
            if k >= len(places):
                return source
            body, i = places[k]
            inner = [getattr(body[i], name, []) for name in ("body", "orelse")] if size == 1 else []
            for instead in ([], *inner):
                tried = ast.parse(source)
                block, at = list(_statements(tried))[k]
                if len(block) < at + size or (instead and isinstance(
                        block[at], (ast.ClassDef, ast.FunctionDef))):
                    continue
                block[at:at + size] = instead or ([] if len(block) > size else [ast.Pass()])
                text = ast.unparse(ast.fix_missing_locations(tried))
                if len(text) < len(source) and fails(text):
                    source = text
                    break
            else:
                continue
            break
        else:
            k += 1


def _statements(tree: ast.AST) -> Iterator[tuple[list, int]]:
    """Every statement as the list that it stands in and its place, the last ones first."""
    found = []
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                found += [(block, i) for i in range(len(block))]
    return reversed(found)


def _with_smaller_expressions(source: str, fails: Question) -> str:
    k = 0
    while True:
        count = len(list(_expressions(ast.parse(source))))
        if k >= count:
            return source
        choices = len(_operands(list(_expressions(ast.parse(source)))[k][3]))
        for choice in range(choices):
            tree = ast.parse(source)
            parent, name, at, node = list(_expressions(tree))[k]
            instead = _operands(node)[choice]
            if at is None:
                setattr(parent, name, instead)
            else:
                getattr(parent, name)[at] = instead
            text = ast.unparse(ast.fix_missing_locations(tree))
            if len(text) < len(source) and fails(text):
                source = text
                break
        else:
            k += 1


def _expressions(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Every expression: its parent, the parent's field, the place in it, and the node."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if isinstance(value, ast.expr):
                yield parent, name, None, value
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, ast.expr):
                        yield parent, name, i, item


def _operands(node: ast.expr) -> list[ast.expr]:
    """What the expression may be replaced by: the expressions in it, and constants."""
    inside = [v for v in ast.iter_child_nodes(node) if isinstance(v, ast.expr)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        inside = [node.func.value, *node.args]
    simple = isinstance(node, (ast.Constant, ast.Name, ast.Attribute))
    return inside if simple else [*inside, ast.Constant(0), ast.Constant(True)]


def kind_of(text: str) -> str:
    """A problem's first line without what differs between programs: names, places and numbers."""
    first = text.partition("\n")[0].partition(" is float")[0].partition(" is int")[0]
    return re.sub(r"\[[\d., -]*\]|%\w+|\d+", "#", first)[:120]


def reduced_program(made: Program, plain: bool = True) -> Program:
    """The smallest program found with the same kind of problem."""
    kind = kind_of(problem(made, plain))

    def fails(source: str) -> bool:
        found = problem(replace(made, source=source), plain)
        return bool(found) and not found.startswith(FAILED) and kind_of(found) == kind

    return replace(made, source=reduced(made.source, fails))


def main() -> int:
    made = program(int(sys.argv[1]))
    if not problem(made):
        print("nothing is wrong with this program")
        return 0
    small = reduced_program(made)
    print(small.source)
    print("\n".join(map(str, small.calls)))
    print(problem(small))
    return 1


if __name__ == "__main__":
    sys.exit(main())
