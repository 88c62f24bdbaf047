"""Partial evaluation: a Graph and the specs of its inputs become a tensor program.

`evaluate` is what the compiler calls; lowering/run_method.py runs a method with values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

import numpy as np

from lowering import build as B
from lowering.abstract import AbstractTensor, Choice, Rows, Raised, Storage
from lowering.evaluate_forms import MOST_FORMS, Variant, assemble, warn_of_growth
from lowering.evaluate_prims import abstract
from lowering.evaluate_results import arguments_text, flatten
from lowering.evaluator import Evaluator
from lowering.graph import Function
from lowering.objects import ScriptObject
from lowering.program_state import Forms, StateTable
from lowering.run_method import run_method
from lowering.evaluate_sizes import AssumedSizes
from lowering.sizes import Number, assumptions, of_dim
from lowering.tensor_ir import Region, State, TensorProgram, Value
from runtime.dtypes import DType, bool_, f64, i64
from runtime.errors import AlwaysRaises, CompileError
from runtime.named_dims import NamedDim
from runtime.structure import text_of

__all__ = ["InputSpec", "evaluate", "evaluate_methods", "run_method"]

_DTYPES = {"str": i64, "int": i64, "float": f64, "bool": bool_}


@dataclass(frozen=True)
class InputSpec:
    """One argument of the method.

    kind 'tensor' (dtype, and shape: ints and NamedDims); 'int', 'float', 'bool', 'str' (given at
    run time); 'constant'
    (`value`: int, float, bool, str, None, or a TensorData, known now); 'list', 'tuple' (items),
    'dict' (keys and items); 'numbers' and 'rows' (lists of any length, of numbers of the dtype, and
    of tensors of dtype and shape). A number given at run time may be known now all the same:
    `value` is then the only one that the caller may give. An empty name stands for the method's own
    parameter's.
    """

    name: str
    kind: str
    dtype: DType | None = None
    shape: tuple[int | NamedDim, ...] = ()
    value: object = None
    items: tuple[InputSpec, ...] = ()
    keys: tuple = ()


def evaluate(function: Function, module: ScriptObject | None,
             inputs: Sequence[InputSpec]) -> TensorProgram:
    """The tensor program of a method (module given) or function for the given inputs.

    Inputs left out at the end take their defaults. CompileError names the line of what is wrong,
    and lists all operators that are not supported.
    """
    return evaluate_methods([(function, inputs)], module)[0]


def evaluate_methods(methods: Sequence[tuple[Function, Sequence[InputSpec]]],
                     module: ScriptObject | None) -> list[TensorProgram]:
    """The tensor programs of several methods (or functions, without a module), which share the
    module's state."""
    table = StateTable(module)
    try:
        return _with_state(methods, table, module)
    except CompileError as e:
        if not table.cells:
            raise
        try:  # numbers that decide about shapes, such as a size that the last call had
            return _with_state(methods, StateTable(module, known_numbers=True), module)
        except CompileError:
            raise e from None


def _with_state(methods: Sequence[tuple[Function, Sequence[InputSpec]]], table: StateTable,
                module: ScriptObject | None) -> list[TensorProgram]:
    """The programs; numbers in the state are as the table has it."""
    all_forms = None
    while all_forms is None:  # all rounds but the last find state that was taken for constant
        values: list[dict] = [{} for _ in methods]
        all_forms = _all_forms(methods, module, table, values)
    found, forms = all_forms
    table.refuse_shared([v.state for variants in found for v in variants if not v.raised])
    form = State("form", i64, np.zeros((), np.int64), " or ".join(map(table.text, forms)))
    growing = {name for variants in found for v in variants for name in v.growing}
    if growing:
        warn_of_growth(sorted(growing))
    programs = []
    if all(v.raised for variants in found for v in variants):
        raise AlwaysRaises(f"the program raises for these inputs: {found[0][0].raised}")
    for (function, _), variants, given in zip(methods, found, values):
        name = function.name.rpartition(".")[2]  # 'forward' of '__torch__.Net.forward'
        programs.append(assemble(name, variants, table.live, given, form))
        programs[-1].changes = table.changes
        programs[-1].strings = table.strings
    return programs


def _all_forms(methods: Sequence[tuple[Function, Sequence[InputSpec]]],
               module: ScriptObject | None, table: StateTable,
               values: list[dict]) -> tuple[list[list[Variant]], list[Forms]] | None:
    """Each method for each form that the state can get, and these; None if the table has grown."""
    found: list[list[Variant]] = [[] for _ in methods]
    forms = [table.forms()]
    for begin in forms:  # which grows
        for (function, inputs), variants, given in zip(methods, found, values):
            variant = _evaluate(function, module, inputs, table, begin, given)
            if variant is None:
                return None
            variants.append(variant)
            if variant.raised:
                continue
            end = table.forms(variant.state)
            if table.widen([*forms, end]):
                return None
            if end not in forms and len(forms) < MOST_FORMS:
                forms.append(end)
            variant.following = forms.index(end) if end in forms else None
            if variant.following is None:
                variant.growing = table.differing(begin, end)
    return found, forms


def _evaluate(function: Function, module: ScriptObject | None, inputs: Sequence[InputSpec],
              table: StateTable, forms: Forms, values: dict) -> Variant | None:
    """A method for one form of the state; None if the table has grown. `values` has the parameters
    that the variants share, by State, by NamedDim, and inputs by number."""
    ev = Evaluator()
    ev.memory.names = table.names
    ev.memory.strings = table.strings
    table.enter(ev, forms, values)
    parameters = function.parameters[1:] if module is not None else function.parameters
    if len(inputs) > len(parameters):
        raise CompileError(f"{function.name} takes {len(parameters)} arguments, found "
                           f"{len(inputs)}")
    missing = [p.name for p in parameters[len(inputs):] if p.required]
    if missing:
        raise CompileError(f"{function.name}: the argument '{missing[0]}' is missing")
    given = _Inputs()
    texts: dict[str, str] = {}
    args: list[object] = [] if module is None else [module]
    with B.collect(ev.memory.root):
        for spec, parameter in zip(inputs, parameters):
            name = spec.name or parameter.name
            value, text = _argument(ev, spec, name, given, values)
            args.append(value)
            if text is not None:
                texts[name] = text
        dims = {k: v for k, v in values.items() if isinstance(k, NamedDim)}
        ev.memory.root.params += dims.values()
        try:
            with assumptions(AssumedSizes(ev)):
                result = ev.call(function, args, {})
            if ev.problems:
                raise CompileError(ev.problems_text())
            if table.note(ev):
                return None
            region = ev.memory.root
            output = flatten(ev, result, region.results)
            written = {k: ev.memory.read(t) for k, t in given.tensors.items()
                       if t.storage.current is not region.params[k]}
            if table.leave(ev):
                return None
        except (Raised, ValueError, CompileError) as e:
            if table.note(ev) or table.look(ev):  # it may come of state taken for constant
                return None
            if ev.problems:  # what else went wrong may be their consequence
                raise CompileError(ev.problems_text()) from None
            if isinstance(e, Raised):
                message = f"{e.message}\n{e.where}".rstrip()
                root = ev.memory.root
                ev.fail(e)
                return Variant(Region(root.params), given.names, given.numbers, {},
                               arguments_text(texts), "N", ev.state, list(dims), message,
                               failing=Region(root.params, root.ops))
            if isinstance(e, CompileError):
                raise
            raise CompileError(f"{function.name}: {e}") from None  # the result cannot be told
    return Variant(region, given.names, given.numbers, written, arguments_text(texts), output,
                   ev.state, list(dims))


@dataclass(eq=False)
class _Inputs:
    """The inputs of one evaluation: names, and by position the numbers that must be given and the
    tensors."""

    names: list[str] = field(default_factory=list)
    numbers: dict[int, int | float | bool] = field(default_factory=dict)
    tensors: dict[int, AbstractTensor] = field(default_factory=dict)


def _constant_text(spec: InputSpec) -> str:
    """What stands in an argument's structure for a constant in it: strings stand for themselves."""
    return text_of(spec.value if isinstance(spec.value, str) else None, lambda x: False)


def _argument(ev: Evaluator, spec: InputSpec, name: str, given: _Inputs,
              shared: dict) -> tuple[object, str | None]:
    """An argument's abstract value and the text of its structure (None: it is compiled in). Its
    parameters are those of `shared`, where they are in it, and entered in `given`."""
    if spec.kind == "constant":
        return abstract(ev, spec.value), None
    if spec.kind in ("list", "tuple", "dict"):
        keys = spec.keys if spec.kind == "dict" else range(len(spec.items))
        parts = [_argument(ev, s, f"{name}.{k}", given, shared)
                 for s, k in zip(spec.items, keys)]
        values = [v for v, _ in parts]
        texts = [t or _constant_text(s) for s, (_, t) in zip(spec.items, parts)]
        if spec.kind == "list":
            return values, f"[{','.join(texts)}]"
        if spec.kind == "tuple":
            return tuple(values), f"({','.join(texts)})"
        members = ",".join(f"{k if isinstance(k, int) else repr(k)}:{t}"
                           for k, t in zip(spec.keys, texts))
        return dict(zip(spec.keys, values)), "{" + members + "}"
    given.names.append(name)
    dtype = spec.dtype or _DTYPES[spec.kind]
    sizes = spec.shape
    if spec.kind in ("numbers", "rows"):
        sizes = (NamedDim(f"{name}_len".replace(".", "_"), 0), *sizes)
    shape = [_size(n, shared) for n in sizes]
    param = shared.setdefault(len(given.names), Value(shape, dtype, name=name,
                                                      wrapped=spec.kind in _DTYPES))
    ev.memory.root.params.append(param)
    if spec.kind in ("numbers", "rows"):
        number = spec.kind == "numbers"
        return [Rows(AbstractTensor(Storage(param)), number)], "L" if number else "R"
    if spec.kind == "tensor":
        tensor = given.tensors[len(given.names) - 1] = AbstractTensor(Storage(param))
        return tensor, "T"
    if spec.kind == "str":
        return Choice(param), "S"
    if isinstance(spec.value, (int, float)):
        given.numbers[len(given.names) - 1] = spec.value
        return spec.value, "T"
    return param, "T"


def _size(n: int | NamedDim, shared: dict) -> Number:
    """A dim of an input; a named one is read from its parameter."""
    if not isinstance(n, NamedDim):
        return n
    if n not in shared:
        other = next((d for d in shared if isinstance(d, NamedDim) and d.name == n.name), None)
        if other is not None:
            raise CompileError(f"the dim {n.name} is said to be {n} and {other}")
        shared[n] = Value((), i64, name=n.name)
    return of_dim(shared[n], n)
