"""Sample inputs for overloads that PyTorch's OpInfo database does not reach.

`@own("aten::name")` declares a generator: given a dtype it yields Samples. BORROWED names another
operator's OpInfo and a function from its Sample to this operator's (None leaves it out).
"""

from __future__ import annotations

from typing import Callable, Iterator

import torch

from tests.opinfo_harness import Sample

OWN: dict[str, list[Callable[[torch.dtype], Iterator[Sample]]]] = {}

# Scalars that decide a shape or dtype, and so must be known at compile time.
COMPILE_TIME: set[tuple[str, str]] = {
    *((f"aten::{n}", a) for n in ("arange", "range", "linspace", "logspace")
      for a in ("start", "end", "step", "base")),
}


def own(*names: str):
    def declare(function):
        for name in names:
            OWN.setdefault(name, []).append(function)
        return function

    return declare


def tensor(*shape: int, dtype: torch.dtype = torch.float32, low: float = -4, high: float = 5,
           seed: int = 0) -> torch.Tensor:
    """Values from low to high in steps of a quarter (floats) or whole numbers, bool half and half."""
    generator = torch.Generator().manual_seed(seed)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if dtype.is_floating_point:
        return (torch.randint(int(4 * low), int(4 * high), shape, generator=generator) / 4).to(dtype)
    if dtype is torch.uint8:
        low = max(low, 0)
    return torch.randint(int(low), int(high), shape, generator=generator).to(dtype)


BORROWED: dict[str, tuple[str, Callable[[Sample], Sample | None] | None]] = {
    "aten::where": ("aten::where", lambda s: Sample([s.args[1], s.args[0], *s.args[2:]])),
}
