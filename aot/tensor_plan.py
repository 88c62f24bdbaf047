"""What one call of an operator computes: its TensorOps for given shapes, dtypes and numbers.

A Plan is built once for a signature and kept. Running it feeds the tensors' arrays to the numpy
interpreter; views are no computation and come out as views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from aot.return_types import return_type
from lowering import build as B
from lowering.evaluate_operators import NUMBERS, Call, _default as default_of
from lowering.interpreter import run_region
from lowering.known import Unsupported as NeedsValues
from lowering.passes.rewriting import remove_dead
from lowering.tensor_ir import Constant, Region, Value
from lowering.views import View
from runtime import dtypes
from runtime.dtypes import DType
from runtime.errors import RuntimeFailure


@dataclass(frozen=True)
class Out:
    """Result number k of the region, a tensor or a Python number."""

    k: int
    number: bool = False


@dataclass(frozen=True)
class Same:
    """Parameter number k itself."""

    k: int


class Plan:
    """`region` computes `results`: a nest of lists and tuples of Out, Same, View (of parameter
    `viewed`) and Python numbers. `name` is the operator's, for grad_fn's."""

    __slots__ = ("name", "overload", "region", "results", "viewed", "derivatives", "keeps_order")

    def __init__(self, name: str, overload: str, region: Region, results: object,
                 viewed: int = 0) -> None:
        self.name, self.overload = name, overload
        self.region, self.results, self.viewed = region, results, viewed
        self.derivatives: dict = {}  # what aot.autograd has derived of it
        self.keeps_order = False  # a pointwise operator: results lie in memory as operands do

    @property
    def params(self) -> list[Value]:
        return self.region.params


class Converter:
    """Stands where the partial evaluator stands when an operator's arguments are converted."""

    def __init__(self) -> None:
        self.memory = self

    def number(self, x: int | float | bool) -> Value:
        dtype = (dtypes.bool_ if isinstance(x, bool) else dtypes.f64 if isinstance(x, float)
                 else dtypes.i64)
        value = B.constant(np.array(x, dtype.compute), dtype)
        value.wrapped = True
        return value


_CONVERTER = Converter()


def build(call: Call, values: Sequence[object], leaves: Sequence[tuple], is_leaf: Callable,
          known: dict[int, np.ndarray]) -> Plan:
    """The plan of a resolved call. `values` are the arguments in the schema's order, with
    placeholders where `is_leaf` holds: their attribute `k` counts `leaves`, (shape, dtype) each.
    The leaves in `known` are built in as constants."""
    region = Region()
    arguments = call.entry.schema.arguments
    with B.collect(region):
        params = [Value(shape, dtype) for shape, dtype in leaves]
        region.params = params
        given = {
            k: params[k] if k not in known else B.constant(known[k], params[k].dtype)
            for k in range(len(params))
        }

        def place(x: object) -> object:
            if is_leaf(x):
                return given[x.k]  # type: ignore[attr-defined]
            return [place(v) for v in x] if isinstance(x, list) else x

        ready = []
        for argument, source, convert, x in zip(arguments, call.sources, call.converters, values):
            if source is None:
                ready.append(default_of(argument))
                continue
            x = place(x)
            ready.append(convert(_CONVERTER, x) if convert is not None and x is not None else x)
        positional = [v for v, a in zip(ready, arguments) if not a.keyword_only]
        keywords = {a.name: v for v, a in zip(ready, arguments) if a.keyword_only}
        result = call.entry.function(*positional, **keywords)

        outs: list[Value] = []
        back = {v: k for k, v in given.items()}

        def leaf(x: object, kind: str = "") -> object:
            if isinstance(x, (list, tuple)):
                kinds = [kind for kind, _ in call.entry.schema.returns]
                kinds = kinds if len(kinds) == len(x) else [""] * len(x)
                return type(x)(map(leaf, x, kinds))
            if not isinstance(x, Value):
                return x
            if x in back and not x.wrapped:
                if call.entry.schema.is_view:
                    return Same(back[x])
                x = B.compute(x.shape, lambda *i, x=x: B.E.load(x, i))
            elif x.wrapped:
                x = B.cast(x, x.dtype)
            outs.append(x)
            return Out(len(outs) - 1, kind in NUMBERS)

        results = leaf(result, call.entry.schema.returns[0][0])
        named = return_type(call.entry.name, call.entry.schema.text)
        if named is not None and isinstance(results, tuple):
            results = named(results)
    region.results = outs
    if any(type(n) is not int for op in region.ops for v in op.results for n in v.shape):
        raise NeedsValues("a size depends on what tensors hold")
    remove_dead(region)
    return Plan(call.entry.name, call.entry.schema.overload, region, results)


def run(region: Region, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The region's results as contiguous arrays of their own, in the interpreter's form."""
    try:
        found = run_region(region, list(arrays), {})
    except RuntimeFailure as e:
        kind = IndexError if "index" in str(e) else RuntimeError
        raise kind(str(e)) from None
    out = []
    seen: set[int] = set()
    for value, x in zip(region.results, found):
        x = np.asarray(x)
        owned = x.base is None and x.flags.c_contiguous and x.flags.writeable
        if not owned or isinstance(value.op, Constant) or value.op is None or id(x) in seen:
            x = np.array(x, order="C")
        seen.add(id(x))
        out.append(x)
    return out


def view_geometry(view: View, strides: Sequence[int]) -> tuple[int, tuple[int, ...]] | None:
    """Offset and strides of a view of a tensor with these strides; None where no strides do."""
    from_base = view.strides(strides)
    if from_base is None:
        return None
    zero = tuple(B.E.const(0) for _ in view.shape)
    offset = 0
    if 0 not in view.shape:
        for e, s in zip(view.index, strides):
            at = B.E.substitute(e, zero)
            if not at.is_const:
                return None
            offset += at.attr * s  # type: ignore[operator]
    return offset, _of_single(view, from_base, strides)


def _of_single(view: View, found: Sequence[int], base: Sequence[int]) -> tuple[int, ...]:
    """The strides with those of dims of size 1 as PyTorch has them: that of the base's dim where
    there is one, else what the next dim spans."""
    out = list(found)
    whole = {e.attr: s for e, s in zip(view.index, base) if e.op == "index"}
    for k in reversed(range(len(out))):
        if view.shape[k] == 1:
            if k in whole:
                out[k] = whole[k]
            else:
                out[k] = view.shape[k + 1] * out[k + 1] if k + 1 < len(out) else 1
    return tuple(out)


def storage_array(x: np.ndarray, dtype: DType) -> np.ndarray:
    """An interpreter's result as a storage keeps it."""
    return np.asarray(dtypes.to_storage(x, dtype), order="C")
