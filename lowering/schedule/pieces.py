"""Cuts nests at the places where their addresses bend: each piece reads memory at fixed distances.

    y[i] = x[min(abs(i - 1), 2 n - 2 - abs(i - 1))]     # padding by reflection
    ~>  y[0] = x[1];  y[1 + i] = x[i] for i < n;  y[n + 1] = x[n - 2]

An address that is no affine map of a loop's counter costs a gather; most of such a map is affine in
the middle, and this makes the middle a nest of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lowering import expr as E
from lowering.expr import Expr
from lowering.interpreter_expr import Block, IndexForms
from lowering.schedule.nest import Nest
from lowering.sizes import is_dynamic

_LONGEST = 1 << 14  # of a dim whose addresses are looked at one by one
_LEAST_PIECE = 8  # shorter middles are not worth code of their own


def affine_pieces(nest: Nest) -> list[Nest]:
    """Nests that together do what a pointwise nest does; the nest itself where nothing bends."""
    if nest.combiner is not None or is_dynamic(nest.domain) or 0 in nest.domain:
        return [nest]
    pieces = [nest]
    for d in range(nest.parallel):
        pieces = [part for piece in pieces for part in _cut(piece, d)]
    return pieces


def _cut(nest: Nest, d: int) -> list[Nest]:
    """Before, within and after the longest run of dim d in which all addresses are affine."""
    n = nest.domain[d]
    atoms = _bending(nest, d)
    if not atoms or n > _LONGEST:
        return [nest]
    at = tuple(n if k == d else 1 for k in range(len(nest.domain)))
    block = Block(IndexForms(nest.domain), (0,) * len(at), at, {})
    values = [np.broadcast_to(block.evaluate(atom), at).reshape(-1) for atom in atoms]
    start, end = _longest_run(values)
    if end - start < max(_LEAST_PIECE, n // 2):
        return [nest]
    straight = {}
    for atom, v in zip(atoms, values):
        slope = int(v[start + 1] - v[start])
        straight[atom] = E.index(d) * slope + (int(v[start]) - slope * start)
    memo: dict[Expr, Expr] = {}
    middle = replace(
        nest, body=E.rewrite(nest.body, straight.get, memo),
        post=None if nest.post is None else E.rewrite(nest.post, straight.get, memo))
    parts = [(nest, 0, start), (middle, start, end), (nest, end, n)]
    return [_part(piece, d, lo, hi) for piece, lo, hi in parts if lo < hi]


def _bending(nest: Nest, d: int) -> list[Expr]:
    """What addresses are made of, other than plain indices, that depends on dim d and nothing
    else."""
    found: dict[Expr, None] = {}
    for x in nest.accesses():
        for atom in nest.algebra.affine(x.args[0])[0]:
            used = {y.attr for y in E.walk(atom) if y.op == "index"}
            if atom.op != "index" and used == {d} and not E.loads(atom):
                found[atom] = None
    return list(found)


def _longest_run(values: list[np.ndarray]) -> tuple[int, int]:
    """[start, end) of the longest run in which every array changes by the same from each element to
    the next."""
    steps = np.diff(np.stack(values), axis=1)
    bends = np.flatnonzero((steps[:, 1:] != steps[:, :-1]).any(axis=0)) + 1
    edges = [0, *bends.tolist(), steps.shape[1]]
    start, end = max(zip(edges, edges[1:]), key=lambda run: run[1] - run[0])
    return start, end + 1


def _part(nest: Nest, d: int, start: int, end: int) -> Nest:
    """Those points of the nest where dim d is in [start, end)."""
    if (start, end) == (0, nest.domain[d]):
        return nest
    domain = tuple(end - start if k == d else n for k, n in enumerate(nest.domain))
    indices = list(E.identity(len(domain)))
    indices[d] = indices[d] + start
    return nest.map(domain, nest.parallel, tuple(indices))
