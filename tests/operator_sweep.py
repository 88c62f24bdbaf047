"""Sample inputs of every operator in the table, and the sweep that runs them.

Samples come from PyTorch's OpInfo database (its public list of sample inputs for each operator)
and, where it has none for an overload, from tests/operator_samples.py.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.testing._internal import common_utils
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo import core as opinfo_core

from lowering.known import Unsupported
from lowering.ops import TABLE
from tests import (  # noqa: F401
    operator_samples, operator_samples_layers, operator_samples_nn, operator_samples_random,
    operator_samples_vision,
)
from tests.opinfo_harness import NotBound, Sample, bind, check_sample, reference, supported

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
          torch.int16, torch.int8, torch.uint8, torch.bool)



def seed(_: int | None = None) -> None:
    """Before every sample. torch.manual_seed would also note the call's traceback for each kind of
    device that is not there, which took half of the time."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)


common_utils.set_rng_seed = seed

# What entries raise for wrong arguments (lowering/ops/table.py).
ENTRY_ERRORS = (ValueError, IndexError, TypeError, RuntimeError)


@functools.cache
def opinfos() -> dict[str, list]:
    """OpInfos by the ATen name they are likely to call."""
    found: dict[str, list] = defaultdict(list)
    for info in op_db:
        names = {info.aten_name, _plain(info.name), *(_plain(a.name) for a in info.aliases)}
        for name in names:
            found[f"aten::{name}"].append(info)
    return found


def _plain(name: str) -> str:
    return name.removeprefix("nn.functional.").removeprefix("torch.ops.aten.").replace(".", "_")


def samples(name: str, dtype: torch.dtype) -> Iterator[Sample]:
    """All samples of one operator for one dtype, those of the database first."""
    pairs: list[Sample] = []
    source, adapt = operator_samples.BORROWED.get(name, (name, None))
    for info in opinfos().get(source, []):
        if dtype in info.supported_dtypes("cpu"):
            yield from _odd_numbers(info, dtype)
            for s in info.sample_inputs("cpu", dtype):
                sample = Sample([s.input, *s.args], dict(s.kwargs))
                sample = adapt(sample) if adapt else sample
                if sample is not None:
                    yield sample
                    pairs.append(sample)
    for make in operator_samples.OWN.get(name, []):
        yield from make(dtype)
    yield from _with_numbers(pairs)


def _odd_numbers(info, dtype: torch.dtype) -> Iterator[Sample]:
    """Infinities, NaN, zeros of both signs and the extremes, in pairs for operators of two."""
    if dtype.is_floating_point:
        # PyTorch's vectorised fmod gives NaN for quotients that overflow.
        big = 1e4 if info.name in ("fmod", "remainder") else torch.finfo(dtype).max
        numbers = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, big, -big]
    elif dtype is torch.bool:
        numbers = [True, False]
    else:
        numbers = [1, 2, 7, 100] + [-1, -2, -7, -100] * dtype.is_signed
    x = torch.tensor(numbers, dtype=dtype)
    if isinstance(info, opinfo_core.UnaryUfuncInfo):
        yield Sample([x])
        yield Sample([x.reshape(2, -1).t()])
    if isinstance(info, opinfo_core.BinaryUfuncInfo):
        yield Sample([x.repeat_interleave(len(x)), x.repeat(len(x))])
    if isinstance(info, opinfo_core.ReductionOpInfo) and dtype.is_floating_point:
        yield Sample([x])
        yield Sample([torch.stack([x[3:8], x[:5], x[1:6]]), 1])


def _with_numbers(pairs: list[Sample]) -> Iterator[Sample]:
    """Samples of two tensors with a number in place of one: they reach the Scalar overloads."""
    for sample in pairs[:4]:
        args = list(sample.args)
        if len(args) < 2 or not all(isinstance(a, torch.Tensor) for a in args[:2]):
            continue
        for number in (2, 1.5, True):
            yield Sample([args[0], number, *args[2:]], sample.kwargs)
            yield Sample([number, *args[1:]], sample.kwargs)


@dataclass
class Report:
    """Outcome of one operator's sweep. `checked` counts compared samples by overload."""

    name: str
    checked: Counter = field(default_factory=Counter)
    passed: int = 0
    skipped: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def unchecked(self) -> list[str]:
        """Overloads that no sample reached."""
        return [f"{self.name}.{e.schema.overload}" for e in TABLE[self.name]
                if not self.checked[e.schema.overload]]


def sweep(name: str, limit: Callable[[torch.dtype], int | None],
          engines: Sequence[str] = ("interpreter",)) -> Report:
    """Runs samples of an operator, at most limit(dtype) of each overload (None: all)."""
    report = Report(name)
    for dtype in DTYPES:
        seed()
        counts: Counter = Counter()
        most = limit(dtype)
        overloads = {e.schema.overload for e in TABLE[name]}
        for sample in samples(name, dtype):
            if most is not None and all(counts[o] >= most for o in overloads):
                break
            overload = _check(report, sample, dtype, counts, most, engines)
            if overload is not None:
                counts[overload] += 1
    for overload in [o.rpartition(".")[2] for o in report.unchecked()]:
        _reach(report, overload, engines)
    return report


def _reach(report: Report, overload: str, engines: Sequence[str]) -> None:
    """Two samples for an overload that others of the operator shadow."""
    for dtype in (torch.float32, torch.int64, torch.bfloat16):
        seed()
        for sample in itertools.islice(samples(report.name, dtype), 100):
            _check(report, sample, dtype, report.checked, 2, engines, overload)
            if report.checked[overload] >= 2:
                return


def _check(report: Report, sample: Sample, dtype: torch.dtype, counts: Counter, most: int | None,
           engines: Sequence[str], only: str | None = None) -> str | None:
    """Checks one sample; the overload it reached, None if it was left out."""
    if not supported(sample.args) or not supported(sample.kwargs):
        report.skipped["a dtype or layout that we do not have"] += 1
        return None
    try:
        entry, bound = bind(report.name, sample.args, sample.kwargs, only)
    except NotBound:
        report.skipped["binds to no overload of the table"] += 1
        return None
    overload = entry.schema.overload
    if most is not None and counts[overload] >= most:
        return None
    try:
        expected = reference(entry, bound)
    except Exception:  # whatever PyTorch raises: it does not take the sample either
        report.skipped["PyTorch raises"] += 1
        return None
    if not supported(expected):
        report.skipped["a dtype or layout that we do not have"] += 1
        return None
    try:
        for run_time_scalars in (False, True):
            if run_time_scalars and not _has_scalar(entry, bound):
                continue
            check_sample(report.name, sample, engines, run_time_scalars, only)
        report.passed += 1
    except Unsupported as error:
        report.skipped[f"not compiled: {error}"] += 1
        return None
    except Exception as error:  # any difference or crash is this sample's failure
        text = str(error).strip().replace("\n", " ")
        report.failures.append(
            f"{report.name}.{overload} {dtype} {describe(sample)}: {type(error).__name__}: {text}")
    report.checked[overload] += 1
    return overload


def _has_scalar(entry, bound: dict) -> bool:
    return any(a.type == "Scalar" and isinstance(bound.get(a.name), (bool, int, float))
               and (entry.name, a.name) not in operator_samples.COMPILE_TIME
               for a in entry.schema.arguments)


def describe(x: object) -> str:
    """Short text of a sample: tensors as dtype and shape."""
    if isinstance(x, Sample):
        keyword = "".join(f", {k}={describe(v)}" for k, v in x.kwargs.items())
        return "(" + ", ".join(map(describe, x.args)) + keyword + ")"
    if isinstance(x, torch.Tensor):
        return f"{str(x.dtype).removeprefix('torch.')}{list(x.shape)}"
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(map(describe, x)) + "]"
    return repr(x)
