"""Values that are copied into a larger one later on: they are made where the copy would put them.

    k = cat(past, new); y = attention(q, k); kept[3] = k   ~>   k lies in kept from the beginning

The larger Value is a chain of insertions into a constant that nobody reads before it is complete
and whose insertions write apart from each other; so it can be placed, and filled around them,
before the first of them is met.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.index_algebra import IndexAlgebra
from lowering.region_state import RegionState
from lowering.schedule.fill import Box, covered_box, insertions, is_constant_fill
from lowering.schedule.storage import Storage
from lowering.sizes import Number, is_dynamic
from lowering.tensor_ir import Generic, Value


def room_of(v: Value, state: RegionState) -> Generic | None:
    """The copy of v into a larger Value that is not needed if v is made there; None if there is no
    such."""
    for op in state.readers.get(v, ()):
        if not isinstance(op, Generic) or op.base is None or is_dynamic(op.out.shape):
            continue
        if op.combiner is not None or op.post is not None or op.out.dtype is not v.dtype:
            continue
        if not _copies_whole(op, v):
            continue
        root = root_of(op, state)
        if root is not None and _apart(op, insertions(root, state.only_reader)):
            return op
    return None


def _copies_whole(op: Generic, v: Value) -> bool:
    """Whether op reads v element for element, its dims in any order."""
    if op.body.op != "load" or op.body.attr is not v:
        return False
    dims = [i.attr for i in op.body.args if i.op == "index"]
    return len(dims) == len(set(dims)) and all(
        i.op == "index" and op.domain[i.attr] == n or i.is_const and n == 1
        for i, n in zip(op.body.args, v.shape)) and all(
        n == 1 for d, n in enumerate(op.domain) if d not in dims)


def root_of(op: Generic, state: RegionState) -> Value | None:
    """The constant of this region that the chain of insertions with op begins with."""
    base = op.base
    while base is not None and id(base.op) in state.index and isinstance(base.op, Generic):
        if is_constant_fill(base.op) and base.op.base is None and not E.loads(base.op.body):
            return base if op in insertions(base, state.only_reader) else None
        base = base.op.base
    return None


def _apart(op: Generic, chain: list[Generic]) -> bool:
    """Whether op writes a box of its own."""
    own = covered_box(op)
    others = [covered_box(x) for x in chain if x is not op]
    return own is not None and all(b is not None and _disjoint(own, b) for b in others)


def _disjoint(a: Box, b: Box) -> bool:
    return any(e <= h0 or h1 <= s for (s, e), (h0, h1) in zip(a, b))


def order_around(op: Generic, order: tuple[int, ...]) -> tuple[int, ...]:
    """Dims of what op inserts v into from outermost to innermost, v's being in this order."""
    rank = {op.body.args[d].attr: k for k, d in enumerate(order) if op.body.args[d].op == "index"}
    keys = []
    for k, (terms, _) in enumerate(_written(op)):
        keys.append((max((rank.get(a.attr, -1) for a in terms), default=-1), k))
    return tuple(k for _, k in sorted(keys))


def inside(op: Generic, whole: Storage) -> Storage:
    """Where what op inserts lies, if it is made in what it is inserted into."""
    steps: dict[int, Number] = {}
    offset = whole.offset
    for (terms, start), step in zip(_written(op), whole.strides):
        offset += start * step
        for atom, k in terms.items():
            steps[atom.attr] = steps.get(atom.attr, 0) + k * step
    return Storage(whole.buffer, tuple(
        steps.get(i.attr, 0) if i.op == "index" else 0 for i in op.body.args), offset)


def _written(op: Generic) -> list[tuple[dict, Number]]:
    """(terms, constant) of each index that op writes."""
    algebra = IndexAlgebra(op.domain)
    assert op.write is not None
    return [algebra.affine(w) for w in op.write]
