"""Filling what insertions leave: padding and concatenation write only the part that is theirs.

A constant tensor that is only a base for insertions is not written as a whole: the boxes that the
insertions cover are left out.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.schedule.nest import Nest
from lowering.sizes import Number, at_least, maximum, minimum
from lowering.tensor_ir import Generic, Scatter, Shape, TensorOp, Value

Box = tuple[tuple[Number, Number], ...]  # [start, end) of every dim


def is_constant_fill(op: TensorOp | None) -> bool:
    """A Generic that writes one value everywhere, known or read from a 0-d tensor."""
    return (isinstance(op, Generic) and op.combiner is None and op.write is None
            and _uniform(op.body))


def _uniform(e) -> bool:
    if e.op == "load":
        return not e.args
    return e.op != "index" and all(_uniform(a) for a in e.args)


def covered_box(op: Generic) -> Box | None:
    """The box that op writes into its base, None if it is not one whole box."""
    assert op.write is not None
    algebra = IndexAlgebra(op.domain)
    box, seen = [], set()
    for w in op.write:
        terms, start = algebra.affine(w)
        if not terms:
            box.append((start, start + 1))
            continue
        if len(terms) != 1:
            return None
        (atom, k), = terms.items()
        if atom.op != "index" or k != 1 or atom.attr in seen:
            return None
        seen.add(atom.attr)
        box.append((start, start + op.domain[atom.attr]))
    return tuple(box)


def insertions(fill: Value, only_reader: dict[Value, TensorOp | None]) -> list[Generic]:
    """The chain of ops that insert into `fill`, each into the result of the one before, and read
    nothing of it: what none of them covers is all that has to be filled first."""
    chain: list[Generic] = []
    at = fill
    while True:
        op = only_reader.get(at)
        if not isinstance(op, Generic) or op.base is not at or loads_of(op, at):
            return chain
        chain.append(op)
        at = op.out


def loads_of(op: Generic | Scatter, v: Value) -> list[Expr]:
    """Where op's expressions read v (its base is no such place)."""
    return [x for e in op.expressions() for x in E.loads(e) if x.attr is v]


def uncovered(shape: Shape, boxes: list[Box]) -> list[Box]:
    """Disjoint boxes of what none of `boxes` covers; some may turn out to be empty."""
    left: list[Box] = [tuple((0, n) for n in shape)]
    for box in boxes:
        left = [piece for b in left for piece in _minus(b, box)]
    return left


def around(whole: Nest, shape: Shape, chain: list[Generic]) -> list[Nest]:
    """The nest of a fill, cut into those parts of it that no insertion of the chain covers."""
    boxes = [covered_box(op) for op in chain]
    pieces = []
    for piece in uncovered(shape, [b for b in boxes if b is not None]):
        sizes = tuple(e - s for s, e in piece)
        pieces.append(whole.map(
            sizes, len(sizes), tuple(E.index(d) + s for d, (s, _) in enumerate(piece))))
    return pieces


def _minus(b: Box, hole: Box) -> list[Box]:
    """b without hole, as boxes."""
    if any(at_least(s, h1) or at_least(h0, e) for (s, e), (h0, h1) in zip(b, hole)):
        return [b]
    pieces: list[Box] = []
    rest = list(b)
    for d, ((s, e), (h0, h1)) in enumerate(zip(b, hole)):
        if not at_least(s, h0):
            pieces.append((*rest[:d], (s, h0), *rest[d + 1:]))
        if not at_least(h1, e):
            pieces.append((*rest[:d], (h1, e), *rest[d + 1:]))
        rest[d] = (maximum(s, h0), minimum(e, h1))
    return [p for p in pieces if not any(at_least(s, e) for s, e in p)]
