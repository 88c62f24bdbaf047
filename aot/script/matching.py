"""Binds the arguments of a call to an operator's overloads, or to a function's parameters."""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass
from typing import Sequence

from aot.script.environment import (
    EMPTY_LIST, FROM_NUMBER, IMPLICIT, Environment, is_node_of, unpack_tuple,
)
from lowering import types
from lowering.graph import Function, Parameter, Value
from lowering.objects import TypedList
from lowering.schema_table import Formal, OperatorSchema, TypeVariable, schemas_of
from lowering.types import (
    DictType, FutureType, ListType, OptionalType, TensorType, TupleType, Type,
)


WARNINGS = itertools.count()  # each warning of a program has its number in the process


@dataclass(frozen=True)
class BroadcastParameter(Parameter):
    """A parameter that takes a list of `length` numbers, or one number for all."""

    length: int = 1

    @property
    def call_default(self) -> object:
        """The default as a call gives it: one number for all."""
        numbers = self.default if isinstance(self.default, list) else ()
        return Repeated(numbers[0], len(numbers)) if len(set(numbers)) == 1 else self.default


@dataclass(frozen=True)
class Repeated:
    """A list of equal numbers that is made where it is needed."""

    number: int | float
    count: int


# What functions that make tensors take, and their variants that write into `out` do not.
_NOT_OF_OUT = frozenset("dtype layout device pin_memory".split())
_WITHOUT_OUT = ("aten::to", "aten::tensor", "aten::as_tensor")


class Mismatch(Exception):
    """An overload does not take the arguments; the message says why, `written` how many values
    were made before that was found."""

    written = 0


@dataclass
class Bound:
    """How one formal argument gets its value."""

    value: object  # a Value, a list of Values, or a default
    how: str = "as is"  # as is, list, list of bound, repeat, tuple, implicit, number ...
    type: Type | None = None

    @property
    def values(self) -> int:
        """How many values are made for it."""
        if self.how == "tuple" and not is_node_of(self.value, "prim::TupleConstruct"):
            return 1 + len(self.value.type.elements)
        if self.how == "list of bound":
            return 1 + sum(part.values for part in self.value)
        if isinstance(self.value, Repeated):
            return 2
        return 0 if self.how == "as is" else 1


def bind_type(formal: Type, actual: Type, known: dict[str, Type]) -> Type | None:
    """The formal type with its variables replaced by what the actual type says; None if unlike."""
    if isinstance(formal, TypeVariable):
        found = known.get(formal.name)
        if found is None:
            known[formal.name] = actual
            return actual
        if types.is_subtype(actual, found):
            return found
        joined = types.unify(found, actual)
        if joined is not None and isinstance(joined, OptionalType) and found == types.NoneT:
            known[formal.name] = joined
            return joined
        return None
    if isinstance(formal, ListType) and has_variables(formal):
        if isinstance(actual, OptionalType) or not isinstance(actual, ListType):
            return None
        inner = bind_type(formal.element, actual.element, known)
        return None if inner is None else ListType(inner)
    if isinstance(formal, DictType) and has_variables(formal):
        if not isinstance(actual, DictType):
            return None
        key = bind_type(formal.key, actual.key, known)
        value = bind_type(formal.value, actual.value, known)
        return None if key is None or value is None or not types.is_subtype(actual.key, key) else \
            DictType(key, value)
    if isinstance(formal, OptionalType) and has_variables(formal):
        if actual == types.NoneT:
            return formal
        inner = actual.element if isinstance(actual, OptionalType) else actual
        bound = bind_type(formal.element, inner, known)
        return None if bound is None else OptionalType(bound)
    if isinstance(formal, FutureType) and has_variables(formal):
        if not isinstance(actual, FutureType):
            return None
        inner = bind_type(formal.element, actual.element, known)
        return None if inner is None else FutureType(inner)
    if isinstance(formal, TupleType) and has_variables(formal):
        if not isinstance(actual, TupleType) or len(actual.elements) != len(formal.elements):
            return None
        parts = [bind_type(f, a, known) for f, a in zip(formal.elements, actual.elements)]
        return None if None in parts else TupleType(tuple(parts))
    return formal


def has_variables(type_: Type) -> bool:
    return isinstance(type_, TypeVariable) or any(map(has_variables, types.contained(type_)))


def substitute(type_: Type, known: dict[str, Type]) -> Type:
    """A result type with the type variables the arguments fixed."""
    if isinstance(type_, TypeVariable):
        return known.get(type_.name, types.Any)
    if isinstance(type_, (ListType, OptionalType, FutureType)):
        inner = substitute(type_.element, known)
        if isinstance(type_, OptionalType) and isinstance(inner, OptionalType):
            return inner
        return type(type_)(inner)
    if isinstance(type_, DictType):
        return DictType(substitute(type_.key, known), substitute(type_.value, known))
    if isinstance(type_, TupleType):
        return TupleType(tuple(substitute(t, known) for t in type_.elements))
    return type_


class Matcher:
    """Calls operators and functions with values; `env` writes the nodes."""

    def __init__(self, env: Environment) -> None:
        self.env = env

    # --- operators ----------------------------------------------------------------------------

    def call(
        self, name: str, args: Sequence[Value], kwargs: dict[str, Value], node: ast.AST,
        receiver: Value | None = None,
    ) -> Value:
        """Call the first overload that takes the arguments, at first without conversions.

        PyTorch writes what an overload needs while it tries it: those that fail use up numbers.
        """
        given = ([] if receiver is None else [receiver]) + list(args)
        overloads = schemas_of(name)
        problems = []
        for convert in (False, True):
            for schema in overloads:
                known: dict[str, Type] = {}
                try:
                    bound = self.bind(schema.formals, given, kwargs, known, convert)
                except Mismatch as problem:
                    self.env.graph.skip_numbers(problem.written)
                    if convert:
                        problems.append(f"{schema_text(schema)}:\n  {problem}")
                    continue
                return self.emit(schema, bound, known, node)
            self._try_out_variants(overloads, given, kwargs, convert)
        if not overloads:
            raise self.env.error(f"Unknown builtin op: {name}", node)
        detail = "\n".join(problems[:6])
        raise self.env.error(f"Arguments for call are not valid. The following variants are "
                             f"available:\n{detail}\nThe original call is:", node)

    def _try_out_variants(self, overloads, given, kwargs, convert: bool) -> None:
        """The `out=` overloads, which PyTorch lists after these: without `out` they all fail."""
        for schema in overloads:
            has_one = schema.fresh and schema.name not in _WITHOUT_OUT
            if has_one and schema.returns == (types.Tensor,) and "out" not in kwargs:
                formals = [f for f in schema.formals if f.name not in _NOT_OF_OUT]
                formals.append(Formal("out", types.Tensor, True))
                try:
                    self.bind(formals, given, kwargs, {}, convert)
                except Mismatch as problem:
                    self.env.graph.skip_numbers(problem.written)

    def bind(
        self, formals: Sequence[Formal], args: Sequence[Value], kwargs: dict[str, Value],
        known: dict[str, Type], convert: bool,
    ) -> list[Bound]:
        """The value of every formal argument; Mismatch if they do not fit."""
        bound: list[Bound] = []
        try:
            self._bind_each(formals, args, kwargs, known, convert, bound)
        except Mismatch as problem:
            problem.written = sum(b.values for b in bound)
            raise
        return bound

    def _bind_each(
        self, formals: Sequence[Formal], args: Sequence[Value], kwargs: dict[str, Value],
        known: dict[str, Type], convert: bool, bound: list[Bound],
    ) -> None:
        used = 0
        taken: set[str] = set()
        for i, formal in enumerate(formals):
            if used < len(args) and not formal.keyword_only:
                if formal.name in kwargs:
                    raise Mismatch(f"argument {formal.name} specified twice in schema")
                rest = args[used:]
                if convert and self._takes_rest(formals, i, formal, rest):
                    element = formal.type.element
                    parts = [self._fit(formal, element, v, known, convert) for v in rest]
                    bound.append(Bound(parts, "list of bound", formal.type))
                    used = len(args)
                    continue
                bound.append(self._fit(formal, formal.type, args[used], known, convert))
                used += 1
            elif formal.name in kwargs:
                taken.add(formal.name)
                bound.append(self._fit(formal, formal.type, kwargs[formal.name], known, convert))
            elif formal.default is not ...:
                bound.append(Bound(formal.default, "default", formal.type))
            else:
                raise Mismatch(f"Argument {formal.name} not provided.")
        if used < len(args):
            raise Mismatch(f"Expected at most {used} arguments but found {len(args)} positional "
                           "arguments.")
        unknown = [k for k in kwargs if k not in taken]
        if unknown:
            raise Mismatch(f"Unknown keyword argument '{unknown[0]}'.")

    def _takes_rest(self, formals, i, formal: Formal, rest) -> bool:
        """Whether the remaining positional arguments are the elements of one list."""
        if not isinstance(formal.type, ListType) or isinstance(rest[0].type, (ListType, TupleType)):
            return False
        if i + 1 < len(formals) and not formals[i + 1].keyword_only:
            return False
        if i == 0 and all(isinstance(v.type, TensorType) for v in rest):
            return formal.type.element == types.Tensor  # broadcast_tensors(x, y)
        if formal.type.element != types.Int:
            return False
        return len(rest) > 1 or formal.length is None and (
            rest[0].type == types.Int or isinstance(rest[0].type, TensorType))

    def _fit(
        self, formal: Formal, wanted: Type, value: Value, known: dict[str, Type], convert: bool
    ) -> Bound:
        actual = value.type
        bare = wanted.element if isinstance(wanted, OptionalType) else wanted
        if isinstance(bare, ListType) and not isinstance(actual, ListType):
            if formal.length is not None and actual == bare.element and actual in (
                types.Int, types.Float
            ):
                return Bound([value] * formal.length, "repeat", ListType(actual))
            if isinstance(actual, TupleType):
                element = bare.element
                if isinstance(element, TypeVariable) and actual.elements:
                    element = bind_type(element, actual.elements[0], known) or element
                if all(types.is_subtype(e, element) for e in actual.elements):
                    return Bound(value, "tuple", ListType(element))
        if isinstance(bare, ListType) and isinstance(actual, ListType) and (
            is_node_of(value, EMPTY_LIST) and not value.uses and not has_variables(bare)
        ):
            return Bound([], "list", bare)  # an empty list of whatever is asked for
        concrete = bind_type(wanted, actual, known)
        if concrete is not None and (
            types.is_subtype(actual, concrete) or _has_number(actual, concrete)
        ):
            return Bound(value, "as is", concrete)
        target = known.get(bare.name) if isinstance(bare, TypeVariable) else bare
        if convert and isinstance(actual, TensorType) and bare in IMPLICIT:
            return Bound(value, "implicit", target)
        if convert and actual == types.Number and target in FROM_NUMBER:
            return Bound(value, "of number", target)
        if convert and actual == types.Bool and target == types.Number:
            return Bound(value, "number", types.Int)
        if convert and actual == types.Str and target == types.Device:
            return Bound(value, "device", target)
        raise Mismatch(
            f"Expected a value of type '{wanted.annotation()}' for argument '{formal.name}' but "
            f"instead found type '{actual.annotation()}'.")

    def emit(
        self, schema: OperatorSchema, bound: list[Bound], known: dict[str, Type], node: ast.AST
    ) -> Value:
        self.env.at(node)
        inputs = [self.realize(b) for b in bound]
        results = [substitute(t, known) for t in schema.returns]
        if len(results) == 1 and results[0] == types.NoneT:
            results = []
        keywords = tuple(f.name for f in schema.formals if f.keyword_only)
        made = self.env.builder.node(schema.name, inputs, results, kwarg_names=keywords)
        made.overload = schema.overload
        if schema.name == "aten::warn":
            made.attributes["warn_id"] = next(WARNINGS)
        if len(results) == 1:
            return made.output
        names = schema.return_names
        type_ = TupleType(tuple(results))
        if results and all(names):
            type_ = TupleType(tuple(results), None, tuple(names))
        elif not results:
            type_ = TupleType((), None, ())
        return self.env.op("prim::TupleConstruct", made.outputs, type_)

    def realize(self, bound: Bound) -> Value:
        """Write what makes an argument of what was given for it."""
        env = self.env
        if bound.how == "list of bound":
            parts = [self.realize(part) for part in bound.value]
            return env.op("prim::ListConstruct", parts, bound.type)
        if bound.how in ("list", "repeat"):
            return env.op("prim::ListConstruct", bound.value, bound.type)
        if bound.how == "tuple":
            parts = unpack_tuple(env, bound.value)
            return env.op("prim::ListConstruct", parts, bound.type)
        if bound.how == "implicit":
            return env.op(IMPLICIT[bound.type], [bound.value], bound.type)
        if bound.how == "of number":
            return env.op(FROM_NUMBER[bound.type], [bound.value], bound.type)
        if bound.how == "number":
            return env.op("aten::Int", [bound.value], types.Int)
        if bound.how == "device":
            return env.op("aten::device", [bound.value], types.Device)
        if bound.how == "default":
            return self.default(bound.value, bound.type)
        return bound.value

    def default(self, value: object, type_: Type) -> Value:
        """A parameter's default."""
        if isinstance(value, Repeated):
            parts = [self.env.constant(value.number)] * value.count
            return self.env.op("prim::ListConstruct", parts, type_)
        if isinstance(value, (list, tuple)) and not isinstance(type_, TupleType):
            element = type_.element.element if isinstance(type_, OptionalType) else type_.element
            return self.env.constant(TypedList(value, element), ListType(element))
        if value is None or isinstance(value, (bool, int, float, str, complex)):
            return self.env.constant(value)
        return self.env.constant(value, type_)

    # --- functions ----------------------------------------------------------------------------

    def arguments(
        self, function: Function, first: list[Value], args: Sequence[Value],
        kwargs: dict[str, Value], node: ast.AST,
    ) -> list[Value]:
        """The arguments of a call of a compiled function, in the order of its parameters."""
        formals = [
            Formal(p.name, p.type, False, getattr(p, "call_default", p.default),
                   getattr(p, "length", None))
            for p in function.parameters
        ]
        given = [*first, *args]
        try:
            bound = self.bind(formals, given, kwargs, {}, False)
        except Mismatch:
            try:
                bound = self.bind(formals, given, kwargs, {}, True)
            except Mismatch as problem:
                name = function.name.rpartition(".")[2]
                signature = ", ".join(
                    f"{p.type.annotation()} {p.name}" for p in function.parameters)
                raise self.env.error(
                    f"{name}({signature}) -> ({function.returns.annotation()}):\n{problem}",
                    node) from None
        self.env.at(node)
        return [self.realize(b) for b in bound]

    def fits(self, function: Function, given: list[Value], kwargs: dict[str, Value]) -> bool:
        formals = [Formal(p.name, p.type, False, p.default) for p in function.parameters]
        try:
            self.bind(formals, given, kwargs, {}, False)
        except Mismatch:
            return False
        return True


def schema_text(schema: OperatorSchema) -> str:
    parts = []
    for formal in schema.formals:
        text = f"{formal.type.annotation()} {formal.name}"
        parts.append(text if formal.default is ... else f"{text}={formal.default}")
    results = ", ".join(t.annotation() for t in schema.returns)
    name = f"{schema.name}.{schema.overload}" if schema.overload else schema.name
    return f"{name}({', '.join(parts)}) -> ({results})"


def _has_number(actual: Type, wanted: Type) -> bool:
    """Whether `wanted` is a Scalar, optional or not, that takes the number `actual`."""
    bare = wanted.element if isinstance(wanted, OptionalType) else wanted
    return bare == types.Number and actual in (types.Int, types.Float, types.Complex)
