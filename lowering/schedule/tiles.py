"""Chooses register tiles: how many rows and vectors of accumulators a product keeps.

A tile of R rows and V vectors does R*V multiply-adds a step and needs V loads of b, R of a (or R*V
when a runs along the vector dim too). The model takes the larger of the arithmetic, the loads and
the latency bound, and counts what the edges waste. Rows of a whose lines fall into few sets of the
first-level cache drive one another out of it: then all their loads come from the second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable

from llvm_backend.target import Target

_FMA_LATENCY = 4
_LOAD_PORTS = 2
_FAR_LOADS = 4  # loads that take as long as one from the second-level cache
_PERIOD, _WAYS = 4096, 12  # bytes after which addresses share a set of L1, lines that a set holds


@dataclass(frozen=True)
class Tile:
    """rows = outer * inner rows over the two row dims; `vectors` of `lanes` columns."""

    outer: int
    inner: int
    vectors: int
    lanes: int

    @property
    def rows(self) -> int:
        return self.outer * self.inner

    @property
    def width(self) -> int:
        return self.vectors * self.lanes


@lru_cache(maxsize=None)
def choose_tile(outer: int, inner: int, columns: int, lanes: int, a_runs: bool,
                target: Target, panel: int = 0, apart: int = 0) -> Tile:
    """The tile of least modelled time for outer x inner rows and `columns` columns; its width
    divides `panel`, if one is given. apart: bytes between rows of a, if each is read along."""
    return ranked_tiles(outer, inner, columns, lanes, a_runs, target, panel, apart)[0]


def ranked_tiles(outer: int, inner: int, columns: int, lanes: int, a_runs: bool,
                 target: Target, panel: int = 0, apart: int = 0) -> list[Tile]:
    """All tiles that registers hold, those of the least modelled time first."""
    near = _WAYS * _PERIOD // math.gcd(apart or 1, _PERIOD)
    found: list[tuple[float, Tile]] = []
    vectors_needed = -(-columns // lanes)
    for vectors in range(1, min(8, vectors_needed) + 1):
        if panel % (vectors * lanes):
            continue
        for rows in range(1, 33):
            if _registers(rows, vectors, a_runs) > target.vector_registers:
                break
            if rows <= inner:
                o, i = 1, rows
            elif rows % inner == 0 and rows // inner <= outer and not a_runs:
                o, i = rows // inner, inner
            else:
                continue
            tile = Tile(o, i, vectors, lanes)
            found.append((_cost(tile, outer, inner, vectors_needed, a_runs, target, near),
                          tile))
    return [tile for _, tile in sorted(found, key=lambda f: f[0])]


def _registers(rows: int, vectors: int, a_runs: bool) -> int:
    """Accumulators, b, and what there is of a at a time. Where a runs along the vector dim it is a
    window: neighbours read the same, which the compiler keeps in registers from tap to tap."""
    return 2 * rows * vectors + 4 if a_runs else rows * vectors + vectors + 1


def tile_and_panel(choose: Callable[[Target, int], Tile], packed: bool,
                   target: Target) -> tuple[Tile, int]:
    """A tile, and how many columns packed weights have side by side: those of the tile, but for a
    row that reads what was packed for another. choose: target, panel -> tile, as choose_tile."""
    panel = 0
    if packed and target.panels is not None:
        panel = choose(target.panels, 0).width
    tile = choose(target, panel)
    return tile, panel or tile.width


def _cost(tile: Tile, outer: int, inner: int, vectors: int, a_runs: bool,
          target: Target, near: int) -> float:
    """Cycles a step of the sum, over all tiles. near: rows of a that stay in L1 together."""
    total = 0.0
    panels = [(vectors // tile.vectors, tile.vectors), (1, vectors % tile.vectors)]
    for count_o, o in runs(outer, tile.outer):
        for count_i, i in runs(inner, tile.inner):
            for count_v, v in panels:
                if v and count_v:
                    total += count_o * count_i * count_v * _step(o * i, v, a_runs, target, near)
    return total


def _step(rows: int, vectors: int, a_runs: bool, target: Target, near: int) -> float:
    work = rows * vectors
    loads = vectors + (work if a_runs else rows if rows <= near else _FAR_LOADS * rows)
    return max(work / target.fma_ports, loads / _LOAD_PORTS, _FMA_LATENCY) + 0.25


def runs(extent: int, tile: int) -> list[tuple[int, int]]:
    """Covers `extent` with tiles of at most `tile`, as even as can be: [(count, size), ...]."""
    if extent == 0:
        return []
    count = -(-extent // tile)
    small, larger = divmod(extent, count)
    return [(n, s) for n, s in ((larger, small + 1), (count - larger, small)) if n]
