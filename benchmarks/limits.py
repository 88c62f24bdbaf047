"""What the project promises of costs, as data: `report.py` puts it beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

Record = dict[str, Any]


@dataclass(frozen=True)
class Limit:
    """`measured`: the figure in a run's record, None where its row has not been measured."""

    text: str
    most: float
    unit: str
    measured: Callable[[Record], float | None]


def _cost(row: str, field: str, scale: float) -> Callable[[Record], float | None]:
    def measured(record: Record) -> float | None:
        found = record["costs"].get(row, {}).get(field)
        return None if found is None else found * scale

    return measured


def _worst_again(record: Record) -> float | None:
    return max((c["again_seconds"] for c in record["costs"].values() if "again_seconds" in c),
               default=None)


def _worst_call(record: Record) -> float | None:
    return max((t - ways["C"] for ways in record["calls"].values() for t in ways.values()),
               default=None)


_COMPILE = (("resnet18_b1", 5.0), ("mlp_b1", 0.5), ("resnet50_b1", 12.0), ("vit_b_16_b1", 12.0))

LIMITS = (
    *(Limit(f"{row}: seconds to compile", most, "s", _cost(row, "compile_seconds", 1.0))
      for row, most in _COMPILE),
    *(Limit(f"{row}: code without weights", most, "kB", _cost(row, "code_bytes", 1e-3))
      for row, most in (("resnet18_b1", 400.0), ("mlp_b1", 100.0))),
    Limit("every model: again from the cache", 0.3, "s", _worst_again),
    Limit("resnet18_b1: C process from exec to its end", 60.0, "ms",
          _cost("resnet18_b1", "cold_start", 1e3)),
    Limit("resnet18_b1: memory beside weights and arena", 5.0, "MB",
          _cost("resnet18_b1", "beside", 1e-6)),
    Limit("every small model: what a call from Python adds", 2.0, "us", _worst_call),
)
