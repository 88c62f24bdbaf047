"""Operators that a program brings along: entries of the operator table like all others.

    define("mylib::swish(Tensor x, float beta=1.0) -> Tensor", function)

The function's Graph is evaluated wherever the operator is called, so that what is known there is
known to the definition too, and its ops fuse with those around it.
"""

from __future__ import annotations

from typing import Callable

from lowering import build as B
from lowering import schema_table
from lowering.abstract import AbstractTensor, Raised, Storage, Unknown
from lowering.evaluator import Evaluator
from lowering.graph import Function
from lowering.graph_passes.inline import inline_calls
from lowering.ops.table import TABLE, aten
from lowering.schema import Schema, parse_schema
from lowering.sizes import Unsupported
from lowering.tensor_ir import Value
from runtime.dtypes import DType
from runtime.errors import InputError

_OURS = frozenset(("aten", "prim"))
DEFINITIONS: dict[str, str] = {}  # schema -> what the operator does, as text


def new_schema(text: str) -> Schema:
    """The schema of an operator that does not exist yet. InputError where it is none, its namespace
    is one of ours, or the operator exists."""
    try:
        schema = parse_schema(text, "")
        if not schema_table.read_schema(text).returns:
            raise ValueError("it gives nothing")
    except (ValueError, IndexError, AttributeError, KeyError) as e:
        raise InputError(f"not an operator's schema: {text!r}; expected one such as "
                         "'mylib::scale(Tensor x, float by=1.0) -> Tensor'") from e
    space = schema.name.partition("::")[0]
    if not space or space in _OURS:
        raise InputError(f"{text!r}: an operator of one's own has a namespace of its own, as in "
                         "'mylib::scale', other than aten and prim")
    if any(e.schema.overload == schema.overload for e in TABLE.get(schema.name, ())):
        raise InputError(f"the operator {schema.name} exists already")
    if schema.is_view or schema.written:
        raise InputError(f"{schema.name}: operators of one's own give new tensors and write none "
                         "of their arguments; the schema says otherwise")
    return schema


def declare(text: str, entry: Callable) -> Schema:
    """Adds an overload to the table: `entry` is as those in lowering/ops. InputError as new_schema
    says."""
    schema = new_schema(text)
    aten(text, namespace="")(entry)
    schema_table.add(text)
    return schema


def define(text: str, function: Function) -> Schema:
    """Adds an operator that is defined in terms of others. InputError where the parameters are not
    those of the schema."""
    schema = new_schema(text)
    wanted, found = [a.name for a in schema.arguments], [p.name for p in function.parameters]
    if wanted != found:
        raise InputError(f"{schema.name} takes {', '.join(wanted) or 'nothing'}, its definition "
                         f"{', '.join(found) or 'nothing'}")
    DEFINITIONS[text] = str(inline_calls(function.graph))
    return declare(text, lambda *args, **kwargs: evaluated(
        function, schema, [*args, *kwargs.values()]))


def evaluated(function: Function, schema: Schema, args: list, sizes: bool = False) -> object:
    """The results of a definition for an entry's arguments; its ops go to the current region.
    sizes: numbers of run time among them become Sizes."""
    ev = Evaluator()
    ev.memory.root = B.current_region()
    ev.memory.regions = [ev.memory.root]
    given = [_given(a.type, x) for a, x in zip(schema.arguments, args)]
    before = [(t, t.storage.current) for x in given for t in _tensors(x)]
    try:
        result = ev.call(function, given, {})
    except Raised as e:
        raise RuntimeError(e.message) from None
    if ev.problems:
        raise Unsupported(f"the definition of {schema.name}: {ev.problems_text()}")
    if any(t.storage.current is not v for t, v in before):
        raise Unsupported(f"the definition of {schema.name} writes one of its arguments")
    if any(s.written for s in ev.memory.constants()):
        raise Unsupported(f"the definition of {schema.name} draws random numbers")
    return _result(ev, result, sizes)


def _given(type_: str, x: object) -> object:
    """An argument as evaluation has it."""
    if isinstance(x, (list, tuple)):
        return [_given(type_.rstrip("?").removesuffix("[]"), v) for v in x]
    if isinstance(x, Value) and type_.startswith("Tensor"):
        return AbstractTensor(Storage(x))
    return x.torch_code if isinstance(x, DType) else x


def _tensors(x: object) -> list[AbstractTensor]:
    if isinstance(x, list):
        return [t for v in x for t in _tensors(v)]
    return [x] if isinstance(x, AbstractTensor) else []


def _result(ev: Evaluator, x: object, sizes: bool) -> object:
    """A result as entries give it."""
    ev.use(x)
    if isinstance(x, Unknown):
        raise Unsupported("the result cannot be told")
    if isinstance(x, AbstractTensor):
        return ev.memory.read(x)
    if sizes and isinstance(x, Value):
        return ev.memory.dim_of(x, True)
    return type(x)(_result(ev, v, sizes) for v in x) if type(x) in (list, tuple) else x
