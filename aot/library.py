"""Operators of one's own: usable from Python, in scripts, traces and archives, and compiled.

    @aot.library.operator("mylib::swish(Tensor x, float beta=1.0) -> Tensor")
    def swish(x: aot.Tensor, beta: float) -> aot.Tensor:
        return x * aot.sigmoid(beta * x)

    aot.ops.mylib.swish(x)

The definition is a function that the script compiler takes; wherever the operator is called, its
body is compiled in place. An archive that calls `ops.mylib.swish`, whoever wrote it, then loads,
runs and compiles.

    clip = aot.library.c_operator("mylib::clip2(Tensor x, float lo) -> Tensor", source="clip2.c")

This one is a C function; a compiled model refers to it, and its header declares it.
"""

from __future__ import annotations

import importlib
import linecache
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lowering.custom_operators import define, new_schema
from lowering.foreign_operators import ResultRule, declare_foreign
from lowering.graph import Function
from lowering.schema import Schema, split
from lowering.schema_table import read_schema
from runtime.errors import InputError
from runtime.foreign import Place, implement

_OPEN = -(1 << 62)  # no size that an argument could be: stands for "?" in a rule
PathLike = str | os.PathLike[str]


def operator(schema: str) -> Callable[[Callable], Callable]:
    """Declares an operator by its schema, in PyTorch's notation, and its definition in terms of
    other operators: a function with the same parameters. Gives the function that calls it.

    The definition writes none of its arguments. InputError where the schema is none, the operator
    exists, or the parameters differ."""
    def declare(definition: Callable) -> Callable:
        script = importlib.import_module("aot.jit").script(definition)
        return _caller(define(schema, script._script_function))

    return declare


def c_operator(schema: str, results: str | Sequence[str] | None = None, *,
               sizes: Callable | None = None, source: PathLike | Sequence[PathLike] = (),
               library: PathLike | Sequence[PathLike] = (), address: int | None = None) -> Callable:
    """Declares an operator by its schema, in PyTorch's notation, that is a C function: mylib::clip2
    is mylib_clip2, as the header of a compiled model declares it. Gives the function that calls it.

    results: what each result that is a tensor is like. "x": as the argument x, dtype and sizes.
    "f32[x.size(0), k]", "x[n, 2]": of this dtype, or x's, with sizes in terms of the arguments;
    a size "?" is one that the C function mylib_clip2_shape tells, which takes the same arguments.
    Left out: as the first tensor among the arguments.
    sizes: in place of sizes in `results`, a function of the operator's parameters that gives a list
    of lists of ints, the sizes of each result (-1: mylib_clip2_shape tells), for the script
    compiler.
    source, library, address: where the function is, a C file, a shared library, or where it lies in
    this process. Objects need none of them; what runs in this process, and libraries and programs
    that are linked, do.

    InputError where the schema is none, the operator exists, or a rule does not fit."""
    parsed = new_schema(schema)
    rules, function = _rules(parsed, schema, results, sizes)
    declared, symbols = declare_foreign(schema, rules, function, _OPEN if sizes is None else -1)
    places = [Place(source=p) for p in _paths(source)] + [Place(library=p) for p in _paths(library)]
    if address is not None:
        implement(symbols[:1], [Place(address=address)])
    elif places:
        implement(symbols, places)
    return _caller(declared)


def c_operator_of_text(text: str, source: Sequence[PathLike], library: Sequence[PathLike]) -> None:
    """An operator as the command line declares it: SCHEMA, or SCHEMA = RULE; RULE of its results,
    as c_operator takes them."""
    head, arrow, tail = text.partition("->")
    returns, equals, rules = tail.partition("=")
    words = [w.strip() for w in rules.split(";")] if equals else None
    c_operator((head + arrow + returns).strip(), words, source=source, library=library)


def _caller(schema: Schema) -> Callable:
    space, _, name = schema.name.partition("::")
    return getattr(getattr(importlib.import_module("aot.ops"), space), name)


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(p) for p in ([given] if isinstance(given, (str, os.PathLike)) else given)]


_RULE = re.compile(r"(\w+)\s*(?:\[(.*)\])?", re.S)


def _rules(schema: Schema, text: str, results: str | Sequence[str] | None,
           sizes: Callable | None) -> tuple[list[ResultRule], Function | None]:
    """The rules of all results, and the function that gives the sizes of those that have some."""
    first = next((a.name for a in schema.arguments if a.type == "Tensor"), "")
    given = [results] if isinstance(results, str) else list(results or [])
    rules, rows = [], []
    for kind, _ in schema.returns:
        if kind != "Tensor":
            rules.append(ResultRule("", False))
            continue
        word = given.pop(0).strip() if given else first or "x"
        match = _RULE.fullmatch(word)
        if match is None or sizes is not None and match[2] is not None:
            raise InputError(f"{schema.name}: not a rule of what a result is like: {word!r}; "
                             "expected one such as 'x', 'f32[x.size(0), 2]' or 'x[?]'"
                             + ", without sizes where a function gives them" * (sizes is not None))
        rules.append(ResultRule(match[1], sizes is not None or match[2] is not None))
        if match[2] is not None:
            rows.append([str(_OPEN) if d == "?" else d for d in split(match[2])])
    if given:
        raise InputError(f"{schema.name}: there are more rules than results: {', '.join(given)}")
    if sizes is None and not rows:
        return rules, None
    if sizes is None:
        sizes = _sizes_function(text, rows)
    return rules, importlib.import_module("aot.jit").script(sizes)._script_function


def _sizes_function(schema: str, rows: list[list[str]]) -> Callable:
    """A Python function that computes lists of sizes, for the script compiler, which reads its
    text."""
    aot = importlib.import_module("aot")
    formals = read_schema(schema).formals
    parameters = ", ".join(f"{f.name}: {f.type.annotation()}" for f in formals)
    body = ", ".join(f"[{', '.join(row)}]" if row else "torch.jit.annotate(List[int], [])"
                     for row in rows)
    text = f"def sizes({parameters}) -> List[List[int]]:\n    return [{body}]\n"
    file = f"<the sizes of {schema}>"
    typing = importlib.import_module("typing")
    scope = {"torch": aot, "aot": aot, "Tensor": aot.Tensor, "List": typing.List,
             "Optional": typing.Optional, "__name__": "sizes"}
    try:
        exec(compile(text, file, "exec"), scope)
    except SyntaxError as error:
        raise InputError(f"{schema}: the sizes of a result are no expressions: {body}") from error
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    return scope["sizes"]
