"""What is applied to a concatenation is applied to its parts.

    c = cat(a, b); y = relu(c * w)   ~>   y = cat(relu(a * w), relu(b * w))

One pass over memory less; a part that is computed for the concatenation alone takes the function
into its own loops.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.passes.rewriting import users
from lowering.schedule.fill import covered_box, is_constant_fill, loads_of, uncovered
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Generic, Region, TensorOp, Value

_MAX_NODES = 40  # of the function: it is written once a part


def split_pointwise(region: Region) -> None:
    """Rewrites in place, inner regions included."""
    readers = users(region)
    position = {id(op): k for k, op in enumerate(region.ops)}
    ops: list[list[TensorOp]] = [[op] for op in region.ops]
    for op in region.ops:
        for r in op.regions():
            split_pointwise(r)
        found = _concatenation(op, readers)
        if found is None:
            continue
        read, parts = found
        if any(id(part) not in position for part in parts):
            continue
        for part in parts:
            ops[position[id(part)]] = []
        ops[position[id(op)]] = list(_applied(op, read, parts))
        for v, ops_of in readers.items():  # an op that is gone reads nothing
            readers[v] = [op if r in parts else r for r in ops_of]
    region.ops = [op for group in ops for op in group]


def _concatenation(op: TensorOp, readers: dict[Value, list]) -> tuple[Expr, list[Generic]] | None:
    """Where op reads what a chain of insertions put together, and the insertions in order, if op
    is all that reads it."""
    if not isinstance(op, Generic) or op.combiner is not None or op.write is not None:
        return None
    if sum(1 for _ in E.walk(op.body)) > _MAX_NODES:
        return None
    reads: dict[Value, list[Expr]] = {}
    for x in E.loads(op.body):
        reads.setdefault(x.attr, []).append(x)
    for v, loads in reads.items():
        if len(loads) != 1 or v.shape != op.domain or not _element_for_element(loads[0], op):
            continue
        parts = _parts(v, readers)
        if parts and len(parts) > 1 and readers[v] == [op]:
            return loads[0], parts
    return None


def _element_for_element(load: Expr, op: Generic) -> bool:
    return all(i == E.index(k) or (i.is_const and op.domain[k] == 1)
               for k, i in enumerate(load.args))


def _parts(v: Value, readers: dict[Value, list]) -> list[Generic] | None:
    """The insertions that make up all of v from nothing, None if it is made otherwise."""
    parts: list[Generic] = []
    at = v
    while isinstance(at.op, Generic) and at.op.base is not None:
        part = at.op
        if loads_of(part, part.base) or readers.get(part.base) != [part]:
            return None
        parts.append(part)
        at = part.base
    if is_dynamic(v.shape):
        return None
    boxes = [covered_box(part) for part in parts]
    if not is_constant_fill(at.op) or None in boxes or uncovered(v.shape, boxes):
        return None
    return parts[::-1]


def _applied(op: Generic, read: Expr, parts: list[Generic]):
    """The insertions of op's function of each part; the last one has op's place."""
    zero = Generic(op.domain, len(op.domain), E.const(0, op.out.dtype))
    yield zero
    base = zero.out
    for part in parts:
        assert part.write is not None
        algebra = IndexAlgebra(part.domain)
        given = part.body if part.combiner is None else part.post or E.acc(part.acc_dtype)
        # The part's own indices must not be taken for op's: a stand-in holds their place.
        stand_in = E.acc(given.dtype)
        body = E.rewrite(op.body, lambda x: stand_in if x == read else None)
        body = E.substitute(body, part.write)
        body = algebra.simplify(E.rewrite(body, lambda x: given if x == stand_in else None))
        if part.combiner is None:
            made = Generic(part.domain, part.parallel, body, None, None, base, part.write)
        else:
            made = Generic(part.domain, part.parallel, part.body, part.combiner, body, base,
                           part.write)
        base = made.out
        if part is parts[-1]:
            made.results = op.results
            op.out.op = made
        yield made
