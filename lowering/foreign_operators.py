"""Operators that are C functions: entries of the operator table that call them.

    declare_foreign("mylib::clip2(Tensor x, float lo) -> Tensor", [ResultRule("x", None)], None)

What a result is like is a rule: as an argument, or a dtype with sizes that a function of the
program computes from the arguments, or that a second C function, SYMBOL_shape, tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from lowering import build as B
from lowering import expr as E
from lowering.custom_operators import DEFINITIONS, declare, evaluated, new_schema
from lowering.graph import Function
from lowering.graph_passes.inline import inline_calls
from lowering.known import known_or_none
from lowering.schema import Schema
from lowering.sizes import Number, Size, Unsupported
from lowering.tensor_ir import Foreign, Value
from runtime.dtypes import DType, bool_, dtype_of_name, f64, i64
from runtime.errors import InputError
from runtime.foreign import C_PARAMETERS, C_RESULTS, ForeignFunction

_NUMBERS = {"int": i64, "float": f64, "bool": bool_}


@dataclass(frozen=True)
class ResultRule:
    """What a result that is a tensor is like. dtype: a dtype's name, or an argument's, whose dtype
    it has. `sized`: its sizes are computed; else they are the argument's too."""

    dtype: str
    sized: bool


def symbol_of(schema: Schema) -> str:
    """The C function's name: mylib::clip2 is mylib_clip2, mylib::clip2.out2 mylib_clip2_out2."""
    parts = [*schema.name.split("::"), *([schema.overload] if schema.overload else [])]
    return "_".join(parts)


def declare_foreign(text: str, rules: Sequence[ResultRule],
                    sizes: Function | None, left_open: int = -1) -> tuple[Schema, list[str]]:
    """Adds an operator that is a C function; gives its schema, and the symbols that it refers to.

    rules: one a result; sizes: takes the operator's arguments and gives a list of sizes for each
    rule that is sized, in order, `left_open` for those that the C function SYMBOL_shape decides.
    InputError where the schema is none, or a rule does not fit it."""
    schema = new_schema(text)
    kinds = tuple(("int[]" if a.type.startswith("int[") else a.type, a.name)
                  for a in schema.arguments)
    for kind, name in kinds:
        if kind not in C_PARAMETERS:
            raise InputError(f"{schema.name}: a C function takes no {kind} ({name}); it takes "
                             f"{', '.join(C_PARAMETERS)}")
    results = tuple(kind for kind, _ in schema.returns)
    for kind in results:
        if kind not in C_RESULTS or kind == "sizes":
            raise InputError(f"{schema.name}: a C function gives no {kind}; it gives tensors, "
                             "ints, floats and bools")
    if len(rules) != len(results):
        raise InputError(f"{schema.name} gives {len(results)} results, and there are "
                         f"{len(rules)} rules of what they are like")
    tensors = {name for kind, name in kinds if kind == "Tensor"}
    for kind, rule in zip(results, rules):
        if kind == "Tensor" and rule.dtype not in tensors and (
                not rule.sized or not rule.dtype or _dtype_or_none(rule.dtype) is None):
            raise InputError(f"{schema.name}: a result is like an argument that is a tensor "
                             f"({', '.join(sorted(tensors)) or 'there are none'}) or of a dtype "
                             f"with sizes, as in f32[x.size(0), 2]; found {rule.dtype!r}")
    symbol = symbol_of(schema)
    function = ForeignFunction(schema.name, symbol, kinds, tuple(
        (kind, f"out{k}") for k, kind in enumerate(results)))
    asked = ForeignFunction(schema.name, f"{symbol}_shape", kinds, tuple(
        ("sizes", f"out{k}_sizes") for k, rule in enumerate(rules) if rule.sized))
    operator = _Operator(schema, function, asked, list(rules), sizes, left_open)
    DEFINITIONS[text] = repr(("C", rules, sizes and str(inline_calls(sizes.graph))))
    declare(text, operator.call)
    return schema, [symbol, asked.symbol]


def _dtype_or_none(name: str) -> DType | None:
    try:
        return dtype_of_name(name)
    except KeyError:
        return None


def _plain(x: object) -> object:
    """An argument as Foreign has it: sizes of run time as Values."""
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return B.full((), x, i64) if isinstance(x, Size) else x


@dataclass
class _Operator:
    """The entry of one operator."""

    schema: Schema
    function: ForeignFunction
    asked: ForeignFunction  # what tells sizes
    rules: list[ResultRule]
    sizes: Function | None
    left_open: int

    def call(self, *args: object, **kwargs: object) -> object:
        """The results: a Value, or a tuple of them."""
        given = [_plain(x) for x in (*args, *kwargs.values())]
        for a, x in zip(self.schema.arguments, given):
            if a.type == "str" and not isinstance(x, str):
                raise Unsupported(f"{self.schema.name}: the text {a.name} must be known when it "
                                  "is compiled")
        by_name = {a.name: x for a, x in zip(self.schema.arguments, given)}
        shapes = iter(self._shapes(given))
        types = []
        for (kind, _), rule in zip(self.function.results, self.rules):
            like = by_name.get(rule.dtype)
            dtype = like.dtype if isinstance(like, Value) else _dtype_or_none(rule.dtype)
            if kind != "Tensor":
                types.append(((), _NUMBERS[kind]))
            else:
                types.append((tuple(next(shapes)) if rule.sized else like.shape, dtype))
        results = B.append(Foreign(self.function, given, types)).results
        for (kind, _), v in zip(self.function.results, results):
            v.wrapped = kind != "Tensor"
        return results[0] if len(results) == 1 else tuple(results)

    def _shapes(self, given: list) -> list[list[Number]]:
        """The sizes of those results that have a rule for them."""
        if self.sizes is None:
            return []
        rows = evaluated(self.sizes, self.schema, given, sizes=True)
        wanted = sum(rule.sized for rule in self.rules)
        if not isinstance(rows, (list, tuple)) or len(rows) != wanted or any(
                not isinstance(row, (list, tuple)) for row in rows):
            raise Unsupported(f"{self.schema.name}: the sizes of {wanted} results are that many "
                              f"lists of numbers, found {rows}")
        rows = [[self._size(n) for n in row] for row in rows]
        counts = [sum(n is None for n in row) for row in rows]
        if not any(counts):
            return rows
        asked = B.append(Foreign(self.asked, given, [((n,), i64) for n in counts]))
        return [self._told(row, v) for row, v in zip(rows, asked.results)]

    def _size(self, n: object) -> Number | None:
        """A number of the function; None for what C decides."""
        if isinstance(n, Size):
            return n
        if n == self.left_open:
            return None
        if not isinstance(n, int) or n < 0:
            raise RuntimeError(f"{self.schema.name}: a size is {n}")
        return n

    def _told(self, row: list[Number | None], told: Value) -> list[Number]:
        """The sizes with those that C has decided."""
        known = known_or_none(told)
        out: list[Number] = []
        at = 0
        for n in row:
            if n is None:
                n = int(known[at]) if known is not None else self._checked(told, at)
                if isinstance(n, int) and n < 0:
                    raise RuntimeError(f"{self.schema.name}: a size is {n}")
                at += 1
            out.append(n)
        return out

    def _checked(self, told: Value, k: int) -> Number:
        n = B.compute((), lambda: E.load(told, [E.const(k)]))
        B.check(B.compute((), lambda: E.load(n) >= 0),
                f"{self.asked.symbol} gave a size that is negative")
        return B.as_size(n)
