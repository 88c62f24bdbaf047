"""The end of a register tile: `post` is applied to its sums, and they are stored.

    store post(acc) for all of the tile                             # a short post

    store acc for all of the tile                                   # a long one
    for rows of the tile, a few at a time:
        store post(what is stored there)

A long post (exp, erf) needs most registers for itself. Written out for a tile that fills them with
sums it would be code of many kilobytes between spills.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.expr import Expr
from lowering.schedule.codegen import Coder, Point
from lowering.schedule.nest import Nest
from lowering.schedule.tiles import runs
from llvm_backend.expand_math import MATH
from llvm_backend.kernel import KValue
from llvm_backend.target import Target

_LONG = frozenset(MATH) - {"rsqrt", "exp", "exp2"}
_MOST_EXP = 1  # so many exponentials are not long: with one, SiLU's, a detour through memory loses


def finish_tile(nest: Nest, coder: Coder, target: Target, rows: list[tuple[int, int]],
                columns: list[Point], accs: list[KValue], apply: bool) -> None:
    """rows: for each dim that tiles rows its number and the tile's extent; columns: the vectors of
    the first row; accs: the sums, row by row. apply: whether these are the whole sums."""
    whole = tile_points(columns, rows)
    if not apply or nest.post is None or not is_long(nest.post) or not _may_wait(nest, accs):
        _write(nest, coder, whole, accs, nest.post if apply else None)
        return
    _write(nest, coder, whole, accs, None)
    _over_rows(nest, coder, rows, columns, vectors_at_a_time(target))


def is_long(e: Expr) -> bool:
    """Whether code for an expression is long: it has functions that take dozens of instructions."""
    nodes = list(E.walk(e))
    return any(x.op in _LONG for x in nodes) or sum(
        x.op in ("exp", "exp2") for x in nodes) > _MOST_EXP


def vectors_at_a_time(target: Target) -> int:
    """So many vectors go through a long expression side by side: each is one chain of
    operations, that would be waited for, and has a few values that want registers."""
    return max(1, target.vector_registers // 16)


def _may_wait(nest: Nest, accs: list[KValue]) -> bool:
    """Whether sums can lie for a while where the results will: nobody reads what was there."""
    return nest.store.dtype is accs[0].dtype and all(
        x.attr is not nest.store for x in E.loads(nest.post))


def tile_points(columns: list[Point], rows: list[tuple[int, int]]) -> list[Point]:
    """All vectors of so many rows, row by row."""
    starts: list[dict[int, int]] = [{}]
    for d, size in rows:
        starts = [{**s, d: k} for s in starts for k in range(size)]
    points = []
    for s in starts:
        for q in columns:
            for d, k in s.items():
                q = q.shifted(d, k)
            points.append(q)
    return points


def _write(nest: Nest, coder: Coder, points: list[Point], values: list[KValue],
           post: Expr | None) -> None:
    if post is not None:
        values = [coder.value(post, q, v) for q, v in zip(points, values)]
    for q, v in zip(points, values):
        coder.store(nest.store, nest.address, v, q)


def _over_rows(nest: Nest, coder: Coder, rows: list[tuple[int, int]], columns: list[Point],
               few: int) -> None:
    """Loops over the rows; of the innermost ones several pass side by side."""
    if not rows:
        for start in range(0, len(columns), few):
            points = columns[start:start + few]
            sums = [coder.load(nest.store, nest.address, q) for q in points]
            values = coder.values(nest.post, points, sums)
            _write(nest, coder, points, values, None)
        return
    (d, extent), *inner = rows
    start = 0
    for count, size in runs(extent, 1 if inner else max(1, few // len(columns))):
        def beside(at: list[Point]) -> None:
            _over_rows(nest, coder, inner, tile_points(at, [(d, size)]), few)

        if count == 1:
            beside([q.shifted(d, start) for q in columns])
        else:
            with coder.b.loop(start, start + count * size, size) as f:
                base = columns[0].counters[d]
                counter = f.counter if base is None else coder.b.add(base, f.counter)
                beside([q.at(d, counter, q.offsets[d]) for q in columns])
        start += count * size
