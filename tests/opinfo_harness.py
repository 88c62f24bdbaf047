"""Runs an operator's entry and PyTorch's operator on the same arguments and compares.

    call_operator("aten::softmax", [x, -1], {})         # arrays in, arrays out, through an engine
    check_sample("aten::softmax", Sample([x, -1], {}))  # against torch.ops.aten.softmax

Arguments are PyTorch values; `bind` finds the overload in the table as TorchScript would, and the
reference is that same overload of torch.ops. An engine is a function (TensorProgram, interface
arrays) -> interface arrays, so that the same samples run through the interpreter, unoptimised and
optimised code.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Callable, Sequence

import numpy as np
import torch

from lowering import build as B
from lowering.interpreter import run_program
from lowering.known import Unsupported
from lowering.ops import TABLE, Entry
from lowering.random_stream import Stream, drawing_from
from lowering.random_words import RandomState
from lowering.schema import Argument
from lowering.sizes import Size, is_dynamic
from lowering.tensor_ir import Region, TensorProgram, Value
from lowering.views import View
from tests.compiled_engines import optimised, unoptimised
from runtime.dtypes import (
    DType, bf16, bool_, dtype_of_code, dtype_of_name, f64, i64, to_compute, to_storage,
)

Engine = Callable[[TensorProgram, list[np.ndarray]], list[np.ndarray]]



def interpret(program: TensorProgram, arrays: list[np.ndarray]) -> list[np.ndarray]:
    inputs = [to_compute(a, v.dtype) for a, v in zip(arrays, program.body.params)]
    outputs = run_program(program, inputs)
    return [to_storage(o, v.dtype) for o, v in zip(outputs, program.body.results)]


ENGINES: dict[str, Engine] = {
    "interpreter": interpret, "unoptimised": unoptimised, "optimised": optimised,
}

# Compared with float64 arithmetic where the plain comparison fails.
WIDENED = (torch.float32, torch.float16, torch.bfloat16)

# The result is memory that nobody has written: only shape and dtype are compared.
UNDEFINED_VALUES = {f"aten::{n}" for n in ("empty", "empty_like", "new_empty", "empty_strided",
                                           "new_empty_strided", "empty_permuted")}


# Keyword arguments of PyTorch's Python functions that no schema has.
PYTHON_ONLY = {"inplace", "return_indices", "requires_grad", "_stacklevel"}

# Of equal elements any may be chosen: result 1 holds positions of elements equal to result 0.
ANY_OF_EQUALS = {f"aten::{n}" for n in ("kthvalue", "median", "nanmedian", "mode", "topk", "sort",
                                        "argsort")}


@dataclass
class Sample:
    """Arguments of one call. Tensors may stand inside lists and tuples."""

    args: Sequence
    kwargs: dict = field(default_factory=dict)


class NotBound(Exception):
    """No overload of the table takes these arguments."""


# Values


def dtype_of(torch_dtype: torch.dtype) -> DType:
    return dtype_of_name(str(torch_dtype).removeprefix("torch."))


def to_array(x: torch.Tensor) -> np.ndarray:
    """Interface array of a tensor; bfloat16 as its bits."""
    x = x.detach().contiguous()
    return x.view(torch.uint16).numpy() if x.dtype is torch.bfloat16 else x.numpy()


def to_tensor(x: np.ndarray, dtype: DType) -> torch.Tensor:
    x = np.array(x)
    if dtype is bf16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def supported(x: object) -> bool:
    """Dense tensors of dtypes that we have, all through."""
    if isinstance(x, (list, tuple)):
        return all(map(supported, x))
    if isinstance(x, dict):
        return all(map(supported, x.values()))
    if isinstance(x, complex):
        return False
    if isinstance(x, torch.Tensor):
        return x.layout is torch.strided and supported(x.dtype) and not x.is_quantized
    if isinstance(x, torch.dtype):
        try:
            dtype_of(x)
        except KeyError:
            return False
    return True


# Binding a call to an overload


def _is_tensor(x: object) -> bool:
    return isinstance(x, torch.Tensor)


def _is_int(x: object) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _fits(x: object, type_: str, lenient: bool) -> bool:
    if type_.endswith("?"):
        return x is None or _fits(x, type_[:-1], lenient)
    if type_.endswith("]"):
        element, _, size = type_[:-1].rpartition("[")
        if isinstance(x, (list, tuple, torch.Size)):
            return all(_fits(e, element, lenient) for e in x)
        return bool(size) and _fits(x, element, lenient)
    match type_:
        case "t":  # any type
            return True
        case "Tensor":
            return _is_tensor(x) or (lenient and isinstance(x, (bool, int, float)))
        case "int":
            return _is_int(x) or (lenient and isinstance(x, bool))
        case "float":
            return isinstance(x, float) or (lenient and _is_int(x))
        case "bool":
            return isinstance(x, bool)
        case "Scalar":
            return isinstance(x, (bool, int, float)) or (
                lenient and _is_tensor(x) and x.ndim == 0)
        case "ScalarType":
            return isinstance(x, torch.dtype)
        case "str":
            return isinstance(x, str)
        case "Device":
            return isinstance(x, (str, torch.device))
        case "Layout":
            return isinstance(x, torch.layout)
        case "MemoryFormat":
            return isinstance(x, torch.memory_format)
    return False


def _bind(entry: Entry, args: Sequence, kwargs: dict, lenient: bool) -> dict[str, object] | None:
    formals = entry.schema.arguments
    bound: dict[str, object] = {}
    if len(args) > sum(not a.keyword_only for a in formals):
        return None
    for formal, value in zip((a for a in formals if not a.keyword_only), args):
        bound[formal.name] = value
    for name, value in kwargs.items():
        name = "self" if name == "input" and formals[0].name == "self" else name
        if name in bound or all(a.name != name for a in formals):
            return None
        bound[name] = value
    for a in formals:
        if a.name in bound:
            if not _fits(bound[a.name], a.type, lenient):
                return None
        elif not a.has_default:
            return None
    return bound


def bind(name: str, args: Sequence, kwargs: dict,
         only: str | None = None) -> tuple[Entry, dict[str, object]]:
    """The first overload that takes the arguments without conversions, else with them. `only`
    names the overload to try."""
    variants = [(args, kwargs)]
    for k in (0, 1):  # x.view(2, 3) for x.view([2, 3])
        if len(args) > k + 1 and all(_is_int(a) for a in args[k:]):
            variants.append(([*args[:k], list(args[k:])], kwargs))
    if len(args) > 1 and all(map(_is_tensor, args)):  # cartesian_prod(a, b) for ([a, b])
        variants.append(([list(args)], kwargs))
    if PYTHON_ONLY & kwargs.keys():
        kept = {k: v for k, v in kwargs.items() if k not in PYTHON_ONLY}
        variants = [(a, kept) for a, _ in variants]
    for lenient in (False, True):
        for a, k in variants:
            for entry in TABLE[name]:
                bound = _bind(entry, a, k, lenient)
                if bound is not None and only in (None, entry.schema.overload):
                    return entry, bound
    raise NotBound(f"{name}{tuple(args)!r} {kwargs!r}")


# Building and running


@dataclass
class _Inputs:
    """The Values that stand for the arguments. With `constants` tensors are compile-time data."""

    constants: bool = False
    values: list[Value] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)

    def convert(self, x: object, type_: str, run_time_scalars: bool) -> object:
        """What the entry expects for a PyTorch argument."""
        base = type_.rstrip("?")
        if isinstance(x, torch.dtype):
            return dtype_of(x)
        if base == "ScalarType" and isinstance(x, int):
            return dtype_of_code(x)
        if base.endswith("]"):
            element, _, size = base[:-1].rpartition("[")
            if not isinstance(x, (list, tuple, torch.Size)):
                return x if x is None else [self.convert(x, element, False)] * int(size)
            return [self.convert(e, element, False) for e in x]
        if base == "Tensor" and isinstance(x, (bool, int, float)):
            return self.number(x)
        if base == "Scalar" and run_time_scalars and isinstance(x, (bool, int, float)):
            return self.number(x)
        if _is_tensor(x):
            value = Value(x.shape, dtype_of(x.dtype), wrapped=base != "Tensor")
            return self.add(value, to_array(x))
        return x

    def number(self, x: bool | int | float) -> Value:
        dtype = bool_ if isinstance(x, bool) else i64 if isinstance(x, int) else f64
        return self.add(Value((), dtype, wrapped=True), np.asarray(x, dtype.storage))

    def add(self, value: Value, array: np.ndarray) -> Value:
        if self.constants:
            known = B.constant(array, value.dtype)
            known.wrapped = value.wrapped
            return known
        self.values.append(value)
        self.arrays.append(array)
        return value


def build(entry: Entry, bound: dict[str, object], run_time_scalars: bool = False,
          constants: bool = False) -> tuple[TensorProgram, list[np.ndarray]]:
    """A program of one call, and its inputs. With run_time_scalars every Scalar is an input; with
    constants no tensor is."""
    inputs = _Inputs(constants)
    positional, keyword = [], {}
    region = Region()
    with B.collect(region), drawing_from(_seeded_stream()):
        for a in entry.schema.arguments:
            value = bound[a.name] if a.name in bound else _default(a)
            value = inputs.convert(value, a.type, run_time_scalars)
            if a.keyword_only:
                keyword[a.name] = value
            else:
                positional.append(value)
        region.params = inputs.values
        results = entry.function(*positional, **keyword)
        if not isinstance(results, (list, tuple)):
            results = [results]
        results = [r.get(positional[0]) if isinstance(r, View) else r for r in results]
    region.results = results
    names = [f"x{k}" for k in range(len(inputs.values))]
    return TensorProgram(entry.name, region, names, "", ""), inputs.arrays


def _seeded_stream() -> Stream:
    """The stream that the reference draws from, too."""
    start = RandomState(0)
    state = {part: B.constant(getattr(start, part).numpy()) for part in ("words", "normal")}
    return Stream(state.__getitem__, state.__setitem__)


def _default(a: Argument) -> object:
    return list(a.default) if isinstance(a.default, tuple) else a.default


def call_operator(name: str, args: Sequence, kwargs: dict | None = None,
                  engine: str = "interpreter") -> list[torch.Tensor]:
    """The results of one call through an engine."""
    program, arrays = build(*bind(name, args, kwargs or {}))
    outputs = ENGINES[engine](program, arrays)
    return [to_tensor(o, v.dtype) for o, v in zip(outputs, program.body.results)]


# The reference


def reference(entry: Entry, bound: dict[str, object]) -> list[torch.Tensor]:
    """What PyTorch's same overload gives; raises what PyTorch raises."""
    space, _, name = entry.name.partition("::")
    if space != "aten":
        importlib.import_module(space)  # torchvision registers its operators when it is imported
    packet = getattr(getattr(torch.ops, space), name)
    positional, keyword = [], {}
    formals = [a for a in entry.schema.arguments if not a.keyword_only]
    given = [k for k, a in enumerate(formals) if a.name in bound]
    for a in formals[:given[-1] + 1 if given else 0]:
        positional.append(_fresh(bound[a.name]) if a.name in bound else _torch_default(a))
    for a in entry.schema.arguments:
        if a.keyword_only and a.name in bound:
            keyword[a.name] = _fresh(bound[a.name])
    overload = getattr(packet, entry.schema.overload or "default", packet)
    torch.default_generator.manual_seed(0)
    if entry.schema.arguments[0].type == "t[]":  # torch.ops takes no lists of any type
        overload = getattr(torch, name)
    with torch.no_grad():
        result = overload(*positional, **keyword)
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    return [torch.tensor(r) if isinstance(r, bool) else r for r in results]


def _fresh(x: object) -> object:
    if isinstance(x, torch.Tensor):
        return x.detach().clone(memory_format=torch.preserve_format)
    return x


def _torch_default(a: Argument) -> object:
    if a.type == "MemoryFormat" and a.default is not None:
        return torch.contiguous_format
    return _default(a)


def check_sample(name: str, sample: Sample, engines: Sequence[str] = ("interpreter",),
                 run_time_scalars: bool = False, only: str | None = None) -> Entry:
    """AssertionError where an engine and PyTorch differ. NotBound if no overload fits; Unsupported
    if the entry says that it does not compile this, even with all tensors known."""
    entry, bound = bind(name, sample.args, sample.kwargs, only)
    expected = reference(entry, bound)
    for engine in engines:
        try:
            program, arrays = build(entry, bound, run_time_scalars)
            if any(is_dynamic(v.shape[1:]) for v in program.body.results):
                raise Unsupported("such a result is refused, see evaluate_results.py")
        except Unsupported:
            program, arrays = build(entry, bound, False, constants=True)
        values = list(program.body.results)
        outputs = ENGINES[engine](program, [a.copy() for a in arrays])
        actual = [to_tensor(o, v.dtype) for o, v in zip(outputs, values)]
        assert len(actual) == len(expected), f"{len(actual)} results, expected {len(expected)}"
        _compare_all(entry, bound, actual, expected, values, engine)
    return entry


def _compare_all(entry: Entry, bound: dict, actual: list[torch.Tensor],
                 expected: list[torch.Tensor], values: list[Value], engine: str) -> None:
    wide: list[torch.Tensor] | None = None
    for k, (a, e) in enumerate(zip(actual, expected)):
        where = f"{engine}, result {k}"
        if entry.name in ANY_OF_EQUALS and k == len(expected) - 1 and (
                k or entry.name == "aten::argsort"):
            e = _where_equal(bound, a, e)
        try:
            compare(a, e, values[k], where, entry.name)
        except AssertionError:
            if e.dtype not in WIDENED:
                raise
            # PyTorch rounds intermediate results of some half operators; we round once. And sums
            # that cancel differ by their order.
            wide = wide or reference(entry, _widened(bound))
            if not _as_exact(a, e, wide[k]):
                compare(a, wide[k].to(e.dtype), values[k], where, entry.name)


def _as_exact(actual: torch.Tensor, expected: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether the largest error against float64 arithmetic is at most twice PyTorch's own, or four
    units in the last place of the largest result: sums of cancelling terms in another order."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    finite = expected.isfinite() & exact.isfinite()
    a, e, x = (v[finite].double() for v in (actual, expected, exact))
    others = torch.equal(actual[~finite].nan_to_num(), expected[~finite].nan_to_num())
    if not a.numel():
        return others
    ulps = 4 * torch.finfo(actual.dtype).eps * x.abs().max()
    return others and bool((a - x).abs().max() <= max(2 * (e - x).abs().max(), ulps))


def _where_equal(bound: dict, actual: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The positions found, if equal elements stand there, else the expected ones."""
    x, dim = bound["self"], bound.get("dim", -1)
    if x.ndim == 0 or actual.shape != expected.shape or actual.dtype != expected.dtype:
        return expected
    ours, theirs = (x.gather(dim, i if i.ndim == x.ndim else i.unsqueeze(dim))
                    for i in (actual, expected))
    return actual if torch.equal(ours.nan_to_num(), theirs.nan_to_num()) else expected


def _widened(bound: dict) -> dict:
    """Narrower floating tensors and dtypes as float64."""
    def wide(x):
        if isinstance(x, (list, tuple)):
            return [wide(e) for e in x]
        if isinstance(x, torch.Tensor):
            return x.double() if x.dtype in WIDENED else x
        return torch.float64 if x in WIDENED else x

    return {k: wide(v) for k, v in bound.items()}


def compare(actual: torch.Tensor, expected: torch.Tensor, value: Value, where: str,
            name: str) -> None:
    """dtype, shape and values; the declared Value must tell the same as the array."""
    want = dtype_of(expected.dtype)
    assert value.dtype is want, f"{where}: dtype {value.dtype}, expected {want}"
    shape = [m if isinstance(n, Size) else n for n, m in zip(value.shape, expected.shape)]
    assert value.ndim == expected.ndim and shape == list(expected.shape), (
        f"{where}: shape {list(value.shape)}, expected {list(expected.shape)}")
    assert actual.shape == expected.shape and actual.dtype == expected.dtype, where
    if name not in UNDEFINED_VALUES:
        torch.testing.assert_close(actual, expected.detach().contiguous(), equal_nan=True,
                                   msg=lambda m: f"{where}: {m}")
