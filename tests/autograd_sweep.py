"""Gradients of operators, ours and PyTorch's, on PyTorch's sample inputs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch

import aot
from aot.operator_functions import call
from tests.operator_sweep import describe, samples
from tests.opinfo_harness import NotBound, Sample, bind, supported, to_tensor

DTYPE = torch.float64


@dataclass
class Report:
    """The outcome of one operator's samples."""

    name: str
    checked: int = 0
    failures: list[str] = field(default_factory=list)


def to_ours(x: object, made: dict) -> object:
    """A PyTorch argument as ours; tensors that require gradients are noted in `made`."""
    if isinstance(x, torch.Tensor):
        ours = aot.from_numpy(np.array(x.detach().numpy()))
        if x.requires_grad:
            ours.requires_grad_()
            made[id(x)] = (x, ours)
        return ours
    if isinstance(x, torch.dtype):
        return getattr(aot, str(x).removeprefix("torch."))
    if isinstance(x, (list, tuple)):
        return [to_ours(v, made) for v in x]
    return None if isinstance(x, (torch.layout, torch.memory_format, torch.device)) else x


def leaf(x: object) -> object:
    if isinstance(x, torch.Tensor):
        return x.detach().clone().requires_grad_(x.is_floating_point())
    return [leaf(v) for v in x] if isinstance(x, (list, tuple)) else x


def flat(x: object) -> list:
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in flat(v)]
    return [x]


def sweep(name: str, most: int = 6) -> Report:
    """Checks at most `most` samples of each overload."""
    report = Report(name)
    torch.manual_seed(0)
    counts: dict[str, int] = {}
    for sample in itertools.islice(samples(name, DTYPE), 60):
        if not supported(sample.args) or not supported(sample.kwargs):
            continue
        if not all(torch.isfinite(t).all() for t in flat([*sample.args])
                   if isinstance(t, torch.Tensor)):
            continue  # at NaN and infinity PyTorch's gradients are what its formulas happen to give
        try:
            entry, bound = bind(name, sample.args, sample.kwargs)
        except NotBound:
            continue
        overload = entry.schema.overload
        if counts.get(overload, 0) >= most:
            continue
        outcome = check(entry, {k: leaf(v) for k, v in bound.items()})
        if outcome is None:
            continue
        counts[overload] = counts.get(overload, 0) + 1
        report.checked += 1
        if outcome:
            report.failures.append(
                f"{name}.{overload} {describe(Sample(list(bound.values())))}: {outcome}")
    return report


def check(entry, bound: dict) -> str | None:
    """'' if the gradients agree, what differs if not, None where PyTorch has no gradient."""
    overload = getattr(getattr(torch.ops.aten, entry.name.partition("::")[2]),
                       entry.schema.overload or "default")
    names = [a.name for a in entry.schema.arguments if not a.keyword_only]
    count = max((names.index(n) + 1 for n in bound if n in names), default=0)
    if any(n not in bound for n in names[:count]):
        return None
    keyword = {n: v for n, v in bound.items() if n not in names}
    torch.manual_seed(0), aot.manual_seed(0)  # the same random numbers
    try:
        theirs = overload(*[bound[n] for n in names[:count]], **keyword)
    except Exception:  # PyTorch does not take the sample through this overload
        return None
    outs = [t for t in flat(theirs) if isinstance(t, torch.Tensor) and t.requires_grad]
    leaves = [t for v in bound.values() for t in flat(v)
              if isinstance(t, torch.Tensor) and t.requires_grad]
    if not outs or not leaves:
        return None
    seeds = [torch.randn_like(t) for t in outs]
    try:
        expected = torch.autograd.grad(outs, leaves, seeds, allow_unused=True)
    except RuntimeError:
        return None
    made: dict = {}
    try:
        args = [to_ours(bound[n], made) for n in names[:count]]
        result = call(entry.name, tuple(args), {n: to_ours(v, made) for n, v in keyword.items()})
        ours = [t for t in flat(result) if isinstance(t, aot.Tensor) and t.row.is_float]
        ours = [t for t, _ in zip(ours, seeds)]
        ours_seeds = [aot.from_numpy(s.numpy()) for s in seeds]
        pairs = [(t, s) for t, s in zip(ours, ours_seeds) if t.requires_grad]
        if not pairs:
            found = [None] * len(leaves)
        else:
            found = aot.autograd.grad([t for t, _ in pairs], [made[id(t)][1] for t in leaves],
                                      [s for _, s in pairs], allow_unused=True)
    except Exception as e:  # a crash is this sample's difference
        return f"{type(e).__name__}: {e}"
    for k, (a, b) in enumerate(zip(found, expected)):
        wanted = torch.zeros_like(leaves[k]) if b is None else b
        mine = torch.zeros_like(leaves[k]) if a is None else to_tensor(a.numpy(), a.row)
        if mine.shape != wanted.shape:
            return f"gradient {k} has shape {list(mine.shape)}, not {list(wanted.shape)}"
        if not torch.allclose(mine, wanted, 1e-6, 1e-8, equal_nan=True):
            worst = (mine - wanted).abs().max().item()
            return f"gradient {k} differs by {worst:.3g}"
    return ""
