"""Type annotations of the serialized language: `List[int]`, `Optional[Tensor]`, `__torch__.M`."""

from __future__ import annotations

import ast
from typing import Callable

from aot.archive.code_text import CodeError
from lowering import types
from lowering.types import (
    AwaitType, DictType, FutureType, ListType, OptionalType, TupleType, Type, UnionType,
)

_ONE_ARGUMENT = {
    "List": ListType, "list": ListType, "Optional": OptionalType, "Future": FutureType,
    "Await": AwaitType,
}


def dotted_name(node: ast.expr) -> str | None:
    """'a.b.c' of an attribute chain on a name; None if the expression is something else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(node.id)
    return ".".join(reversed(parts))


def annotation_type(node: ast.expr, find_class: Callable[[str], Type]) -> Type:
    """The type an annotation stands for; `find_class` knows names that start with `__torch__`.

    CodeError, with the line, if it is no type.
    """
    line = getattr(node, "lineno", 0)
    if isinstance(node, ast.Constant):
        if node.value is None:
            return types.NoneT
        raise CodeError(f"expected a type, found {node.value!r}", line)
    if isinstance(node, ast.Subscript):
        return _generic(node, find_class, line)
    name = dotted_name(node)
    if name is None:
        raise CodeError(f"expected a type, found {ast.dump(node)[:60]}", line)
    if name.startswith("__torch__."):
        return find_class(name)
    simple = types.NAMED_TYPES.get(name.removeprefix("torch."))
    if simple is None:
        raise CodeError(f"the type {name!r} is not known", line)
    return simple


def _generic(node: ast.Subscript, find_class: Callable[[str], Type], line: int) -> Type:
    name = dotted_name(node.value)
    arguments = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name in ("Tuple", "tuple"):
        if len(arguments) == 1 and isinstance(arguments[0], ast.Tuple):
            arguments = list(arguments[0].elts)  # Tuple[()]
        return TupleType(tuple(annotation_type(a, find_class) for a in arguments))
    inner = [annotation_type(a, find_class) for a in arguments]
    if name in _ONE_ARGUMENT and len(inner) == 1:
        if name == "Optional" and isinstance(inner[0], OptionalType):
            return inner[0]
        return _ONE_ARGUMENT[name](inner[0])
    if name in ("Dict", "dict") and len(inner) == 2:
        return DictType(inner[0], inner[1])
    if name == "Union" and inner:
        return union_of(inner)
    if name == "Final" and len(inner) == 1:
        return inner[0]
    raise CodeError(f"the type {name}[...] with {len(inner)} arguments is not known", line)


def union_of(members: list[Type]) -> Type:
    """Union[T, None] is Optional[T]; Union[T] is T."""
    flat: list[Type] = []
    for member in members:
        for part in member.elements if isinstance(member, UnionType) else (member,):
            if part not in flat:
                flat.append(part)
    if len(flat) == 1:
        return flat[0]
    if len(flat) == 2 and types.NoneT in flat:
        return OptionalType(flat[0] if flat[1] == types.NoneT else flat[1])
    return UnionType(tuple(flat))
