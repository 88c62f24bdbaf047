"""--verify: the artifact beside the numpy interpreter, on random inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aot.inputs import (
    ConstantInput, DictInput, Input, RowsInput, ScalarInput, SequenceInput, TensorInput,
    run_time_arguments,
)
from runtime.dtypes import DType, bf16, to_compute, to_storage
from runtime.errors import RuntimeFailure
from runtime.named_dims import NamedDim

# A correct float32 artifact is far below this; a wrong one far above. Relative to the largest
# magnitude of the output, by the precision of the output's dtype.
TOLERANCE = {"f64": 1e-6, "f32": 1e-3, "f16": 2e-2, "bf16": 1e-1}
# What rounded weights (--precision) may add to it; usual are a tenth of these.
ROUNDED = {"f32": 0.0, "bf16": 3e-2, "int8-weights": 1e-1}


@dataclass(frozen=True)
class Outcome:
    """The largest difference found, alone and over the output's largest magnitude."""

    absolute: float
    relative: float

    def __str__(self) -> str:
        return f"verify: largest error {self.absolute:.3g}, relative {self.relative:.3g}"


def random_value(given: Input, random: np.random.Generator,
                 sizes: dict[str, int] | None = None) -> Any:
    """A value that fits: normal floats; small integers, which are valid indices nearly always.
    `sizes` has those of named dims; what it lacks is chosen, and kept in it."""
    sizes = {} if sizes is None else sizes
    if isinstance(given, TensorInput):
        shape = tuple(n if isinstance(n, int) else sizes.setdefault(n.name, _trial_size(n, k))
                      for k, n in enumerate(given.shape))
        return _random_array(given.dtype, shape, random)
    if isinstance(given, ScalarInput):
        usual = {"int": 1, "float": 0.75, "bool": True, "str": "text"}[given.kind]
        return usual if given.value is None else given.value
    if isinstance(given, ConstantInput):
        return given.value
    if isinstance(given, RowsInput):
        return [random_value(given.item, random, sizes) for _ in range(3)]
    items = [random_value(item, random, sizes) for item in given.items]
    if isinstance(given, DictInput):
        return dict(zip(given.keys, items))
    assert isinstance(given, SequenceInput)
    return tuple(items) if given.kind == "tuple" else items


def compare(found: Any, expected: Any, where: str = "the result",
            precision: str = "f32") -> Outcome:
    """Both as nested tuples, lists, dicts, numpy arrays. RuntimeFailure where they do not agree."""
    worst = Outcome(0.0, 0.0)
    pairs = list(_pairs(found, expected, where))
    for place, ours, theirs, dtype in pairs:
        outcome = _compare_arrays(place, ours, theirs)
        limit = max(TOLERANCE[dtype], ROUNDED[precision]) if dtype in TOLERANCE else 0.0
        if not outcome.relative <= limit:
            raise RuntimeFailure(
                f"verify: {place} of the artifact differs from the interpreter's: largest error "
                f"{outcome.absolute:.3g}, relative {outcome.relative:.3g}, allowed {limit:g}"
            )
        if outcome.relative >= worst.relative:
            worst = outcome
    return worst


def verify(
    artifact: Callable[..., Any], interpreter: Callable[..., Any], inputs: tuple[Input, ...]
) -> Outcome:
    """Runs both on the same random inputs. RuntimeFailure if they do not agree."""
    random = np.random.default_rng(0)
    sizes: dict[str, int] = {}
    values = [random_value(given, random, sizes) for given in inputs]
    given = run_time_arguments(inputs, tuple(values))
    expected = interpreter(*values)  # first: artifacts may write into arguments
    return compare(artifact(*given), expected)


def verify_methods(artifact: Mapping[str, Callable[..., Any]], compiled: Mapping[str, Any],
                   rounds: int = 1, precision: str = "f32") -> Outcome:
    """Runs all methods in turn, `rounds` times, on the artifact and in the interpreter: what they
    remember from call to call must agree too. RuntimeFailure if something does not."""
    random = np.random.default_rng(0)
    worst = Outcome(0.0, 0.0)
    signatures = [(name, method, inputs) for name, method in compiled.items()
                  for inputs in method.signatures]
    for _ in range(rounds):
        for name, method, inputs in signatures:
            sizes: dict[str, int] = {}
            values = [random_value(given, random, sizes) for given in inputs]
            given = values
            if artifact[name] is not method:  # which takes the constants too
                given = run_time_arguments(inputs, tuple(values))
            where = f"the result of {name}" if len(signatures) > 1 else "the result"
            expected = method.interpret(*values)  # first: artifacts may write into arguments
            outcome = compare(artifact[name](*given), expected, where, precision)
            if outcome.relative >= worst.relative:
                worst = outcome
    return worst


def _trial_size(dim: NamedDim, position: int) -> int:
    """A small batch, and images that networks can halve a few times."""
    wanted = max(3 if position == 0 else 96, dim.low)
    n = -(-wanted // dim.multiple) * dim.multiple
    return n if dim.high is None else min(n, dim.high // dim.multiple * dim.multiple)


def _random_array(dtype: DType, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if dtype.is_float:
        values = random.standard_normal(shape).astype(np.float32)
        return to_storage(values, dtype) if dtype is bf16 else values.astype(dtype.storage)
    return random.integers(0, 2, shape).astype(dtype.storage)


def _pairs(found: Any, expected: Any, where: str) -> Any:
    """(place, array, array, dtype name) of all leaves that hold numbers."""
    if isinstance(expected, (tuple, list)):
        if not isinstance(found, (tuple, list)) or len(found) != len(expected):
            raise RuntimeFailure(f"verify: {where} has another structure than the interpreter's")
        for i, (ours, theirs) in enumerate(zip(found, expected)):
            yield from _pairs(ours, theirs, f"{where}[{i}]")
    elif isinstance(expected, dict):
        if not isinstance(found, dict) or list(found) != list(expected):
            raise RuntimeFailure(f"verify: {where} has other keys than the interpreter's")
        for key, theirs in expected.items():
            yield from _pairs(found[key], theirs, f"{where}[{key!r}]")
    elif expected is None or isinstance(expected, str):
        if found != expected:
            raise RuntimeFailure(f"verify: {where} is {found!r}, the interpreter's {expected!r}")
    else:
        ours, theirs = np.asarray(found), np.asarray(expected)
        if ours.dtype == np.uint16 or theirs.dtype == np.uint16:  # the bits of bfloat16
            yield where, _wide(ours), _wide(theirs), "bf16"
        else:
            name = {"float64": "f64", "float32": "f32", "float16": "f16"}.get(ours.dtype.name, "")
            yield where, ours, theirs, name


def _wide(array: np.ndarray) -> np.ndarray:
    return to_compute(array, bf16) if array.dtype == np.uint16 else array


def _compare_arrays(place: str, ours: np.ndarray, theirs: np.ndarray) -> Outcome:
    if ours.shape != theirs.shape:
        raise RuntimeFailure(
            f"verify: {place} has the shape {ours.shape}, the interpreter's has {theirs.shape}"
        )
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    odd = ~np.isfinite(a) | ~np.isfinite(b)
    if not np.array_equal(a[odd], b[odd], equal_nan=True):
        raise RuntimeFailure(f"verify: {place}: infinities or NaN differ from the interpreter's")
    difference = np.abs(a[~odd] - b[~odd])
    if difference.size == 0 or difference.max() == 0:
        return Outcome(0.0, 0.0)
    magnitude = np.abs(b[~odd]).max()
    return Outcome(
        float(difference.max()), float(difference.max() / magnitude) if magnitude else np.inf
    )
