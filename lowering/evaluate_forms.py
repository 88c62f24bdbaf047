"""Methods of a program whose state changes its form: one variant a form, chosen when a call begins.

    forward, with the attribute `last` None at first and a tensor then  ~>
    forward(x, last, form) = If(form == 0, {... form = 1, last = x}, {... uses last ...})

The forms are those that calls can reach from the archive's state, in any order of the methods.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering.program_state import Entered, Key, read_values
from lowering.tensor_ir import Constant, If, Region, State, TensorProgram, Value
from runtime.dtypes import bool_, i64
from runtime.errors import CompileError
from runtime.named_dims import NamedDim

# A state that takes more is one that grows; each form is a copy of all methods.
MOST_FORMS = 16


@dataclass(eq=False)
class Variant:
    """A method evaluated for one form of the state. The region's params are the inputs and its
    results the outputs; `following` is the number of the form that the state has afterwards, None
    where that is none of those compiled. `raised`: what it raises in any case."""

    region: Region
    names: list[str] = field(default_factory=list)  # of the inputs
    numbers: dict[int, int | float | bool] = field(default_factory=dict)  # that they must be
    written: dict[int, Value] = field(default_factory=dict)  # what is left in inputs, by position
    arguments: str = ""  # structures
    result: str = ""
    state: dict[Key, Entered] = field(default_factory=dict)
    dims: list[NamedDim] = field(default_factory=list)  # the region's last params
    raised: str = ""
    following: int | None = 0
    growing: list[str] = field(default_factory=list)  # what then differs
    failing: Region | None = None  # what it does until it raises, and the failure

    def changes(self, live: set[Key]) -> dict[State, tuple[Value | None, Value | None]]:
        """What the variant reads or changes of the state, with the values before and after."""
        found = {}
        reads = read_values(self.region)
        for key, e in self.state.items():
            for state in {**e.begins, **e.ends} if key in live else ():
                before = e.begins.get(state)
                after = before if self.raised else e.ends.get(state, before)
                if after is not before or before in reads:
                    found[state] = before, after
        return found


def assemble(name: str, variants: list[Variant], live: set[Key], values: dict[State, Value],
             form: State) -> TensorProgram:
    """The program of a method; `values` are the parameters of the state, `form` its number."""
    good = [v for v in variants if not v.raised]
    if not good:  # it does what it does before it raises
        good = variants = [replace(variants[0], raised="", region=variants[0].failing)]
    first, written = good[0], sorted({k for v in good for k in v.written})
    for v in good:
        v.region.results += [v.written.get(k, v.region.params[k]) for k in written]
    outputs = list(first.region.results)
    for v in good[1:]:
        if v.result != first.result or list(map(_type, v.region.results)) != list(
                map(_type, outputs)):
            raise CompileError(f"{name}: the type or shape of its result depends on what earlier "
                               "calls left in the module, which compiled models cannot tell")
    changes = [v.changes(live) for v in variants]
    states = list(dict.fromkeys(s for c in changes for s in c))
    params = [values.get(s) or Value(s.initial.shape, s.dtype) for s in states]
    for v, c in zip(variants, changes):
        if v.raised:
            with B.collect(v.region):
                v.region.results = [B.full(o.shape, 0, o.dtype) for o in outputs]
        for state, param in zip(states, params):  # what it does not touch stays as it is
            v.region.results.append(c.get(state, (None, None))[1] or param)
    body = first.region
    if len(variants) > 1:
        body = _chosen(name, variants, outputs)
        states = [*states, form]
        params = [*params, body.params[0]]
    body.params = [*first.region.params, *params]
    return TensorProgram(name, body, first.names, first.arguments, first.result, states,
                         first.dims, first.numbers, written)


def _chosen(name: str, variants: list[Variant], outputs: list[Value]) -> Region:
    """The region that runs the variant of the form's number, its only parameter; a last result is
    the number afterwards."""
    number = Value((), i64, name="form", wrapped=True)
    body = Region([number])
    for v in variants:
        with B.collect(v.region):
            if v.raised or v.following is None:
                B.check(B.constant(np.array(False), bool_), v.raised or _too_many(name))
            v.region.results.append(B.constant(np.array(v.following or 0, np.int64), i64))
        body.ops += [op for op in v.region.ops if isinstance(op, Constant)]
        v.region.ops = [op for op in v.region.ops if not isinstance(op, Constant)]
    with B.collect(body):
        conditions = [B.compute((), lambda k=k: E.eq(E.load(number, ()), k))
                      for k in range(len(variants) - 1)]
    chosen = Region([], variants[-1].region.ops, variants[-1].region.results)
    for condition, v in zip(conditions[::-1], variants[-2::-1]):
        op = If(condition, Region([], v.region.ops, v.region.results), chosen)
        chosen = Region([], [op], op.results)
    body.ops += chosen.ops
    body.results = list(chosen.results)
    for result, output in zip(body.results, outputs):
        result.wrapped = output.wrapped
    return body


def _type(v: Value) -> tuple:
    return v.shape, v.dtype, v.wrapped


def _too_many(name: str) -> str:
    return (f"{name}: the module's state would take another form than the {MOST_FORMS} that were "
            "compiled (something in it grows with the calls): reset it")


def warn_of_growth(cells: list[str]) -> None:
    """Tells whoever compiles that calls may fail some day."""
    warnings.warn(f"{', '.join(cells)} may grow with every call; the compiled model knows the "
                  f"first {MOST_FORMS} forms of its state, and a call that would go on from there "
                  "fails", stacklevel=5)
