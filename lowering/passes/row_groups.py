"""Finds chains of ops that go row by row, and puts each chain's ops one behind the other.

    s = q k^T; m = max(s); p = exp(s - m); t = sum(p); y = p v / t

Every op reads, of what the chain made before, only its own row: a few rows can pass through all of
the chain while they stay in a cache, and the matrix s is never in memory as a whole. That is one
kernel (lowering/schedule/row_groups.py), which needs the ops together: nothing else may lie
between.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.passes.rewriting import users
from lowering.schedule.product import factors
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Constant, Generic, Region, TensorOp, Value
from llvm_backend.target import Target

_COMBINERS = (None, "add", "mul", "min", "max")


@dataclass
class RowGroup:
    """ops: the chain, in order. rows[v]: which dims of a Value of the chain are its rows; dims[k]:
    which parallel dims of ops[k] run over them; both in the same order of rows. inside: Values
    that nobody else reads. blocked: the row (a position in that order) that is cut into blocks."""

    ops: list[Generic]
    rows: dict[Value, tuple[int, ...]]
    dims: list[tuple[int, ...]]
    inside: set[Value]
    blocked: int


def gather_row_groups(region: Region, target: Target) -> None:
    """Moves the ops of each chain to its last one; inner regions included."""
    for op in region.ops:
        for r in op.regions():
            gather_row_groups(r, target)
    for group in find_row_groups(region, target):
        chain = set(map(id, group.ops))
        before = [op for op in region.ops if id(op) not in chain]
        last = region.ops.index(group.ops[-1])
        place = sum(id(op) not in chain for op in region.ops[:last])
        region.ops = before[:place] + group.ops + before[place:]


def find_row_groups(region: Region, target: Target) -> list[RowGroup]:
    """The chains of a region; no op is in two."""
    readers = users(region)
    found: list[RowGroup] = []
    taken: set[int] = set()
    for position, op in enumerate(region.ops):
        if id(op) in taken or not _is_plain(op) or not _is_large(op.out, target):
            continue
        group = _grown(op, region.ops[position + 1:], readers, taken)
        if group is not None:
            found.append(group)
            taken.update(map(id, group.ops))
    return found


def consecutive_row_groups(region: Region, target: Target) -> list[RowGroup]:
    """The chains whose ops stand one behind the other."""
    at = {id(op): k for k, op in enumerate(region.ops)}
    return [g for g in find_row_groups(region, target)
            if at[id(g.ops[-1])] - at[id(g.ops[0])] == len(g.ops) - 1]


def _is_large(v: Value, target: Target) -> bool:
    """Whether keeping a Value in a cache is worth anything: it would not stay there by itself."""
    return v.numel * v.dtype.bytes > target.l1


def _is_plain(op: TensorOp) -> bool:
    if _has_weights(op):
        return False
    return isinstance(op, Generic) and op.combiner in _COMBINERS and op.base is None and (
        op.write is None and not is_dynamic((*op.domain, *op.out.shape)) and 0 not in op.domain)


def _has_weights(op: TensorOp) -> bool:
    """A product with a constant: all its rows together read that once from far away, where every
    block would do so again."""
    return isinstance(op, Generic) and op.combiner == "add" and any(
        isinstance(x.attr.op, Constant) for x in factors(op.body) or ())


def _grown(seed: Generic, later: list[TensorOp], readers: dict[Value, list],
           taken: set[int]) -> RowGroup | None:
    """The chain that begins with seed, whose rows are what a reduction of its result keeps."""
    rows = _rows_of(seed, readers)
    if rows is None:
        return None
    group = RowGroup([seed], {seed.out: rows}, [rows], set(), 0)
    if not _rows_are_affine(seed, rows):
        return None
    left = [r for r in readers[seed.out]]
    for op in later:
        if not left:
            break
        if all(op is not r for r in left):
            continue
        dims = _joined(op, group) if id(op) not in taken else None
        if dims is None:
            break  # what comes behind may need what this op makes of the chain
        group.ops.append(op)
        group.dims.append(dims)
        group.rows[op.out] = dims
        left = [r for r in left if r is not op] + [r for r in readers.get(op.out, [])]
    members = set(map(id, group.ops))
    group.inside = {op.out for op in group.ops
                    if all(r is not None and id(r) in members for r in readers.get(op.out, [None]))}
    if seed.out not in group.inside or len(group.ops) < 3:
        return None
    blocked = _blocked(seed, rows)
    if blocked is None:
        return None
    group.blocked = blocked
    return group


def _rows_of(seed: Generic, readers: dict[Value, list]) -> tuple[int, ...] | None:
    """The dims of seed's result, but those that its first reader that reduces runs over."""
    for op in readers.get(seed.out, []):
        if not isinstance(op, Generic) or op.combiner is None or factors(op.body) is not None:
            continue
        for x in E.loads(op.body):
            if x.attr is seed.out and all(i.op in ("index", "const") for i in x.args):
                return tuple(d for d, (i, n) in enumerate(zip(x.args, seed.out.shape))
                             if n != 1 and i.op == "index" and i.attr < op.parallel) or None
        return None
    return None


def _joined(op: TensorOp | None, group: RowGroup) -> tuple[int, ...] | None:
    """op's dims that run over the rows, if it reads the chain's Values row by row."""
    if op is None or not _is_plain(op):
        return None
    dims: tuple[int, ...] | None = None
    for e in (op.body, op.post):
        for x in E.loads(e) if e is not None else []:
            rows = group.rows.get(x.attr)
            if rows is None:
                continue
            at = [x.args[d] for d in rows]
            if any(i.op != "index" or i.attr >= op.parallel for i in at):
                return None
            here = tuple(i.attr for i in at)
            if dims not in (None, here) or len(set(here)) != len(here):
                return None
            dims = here
            if any(op.domain[d] != x.attr.shape[r] for d, r in zip(here, rows)):
                return None
            if any(_uses(i, here) for d, i in enumerate(x.args) if d not in rows):
                return None
    return dims if dims is not None and _rows_are_affine(op, dims) else None


def _rows_are_affine(op: Generic, dims: tuple[int, ...]) -> bool:
    """Whether op reads all memory at constant distances from row to row, and computes nothing from
    a row's number."""
    algebra = IndexAlgebra(op.domain)
    for e in (op.body, op.post):
        if e is None:
            continue
        if _uses_outside_loads(e, dims):
            return False
        for x in E.loads(e):
            for i in x.args:
                if any(a.op != "index" and _uses(a, dims) for a in algebra.affine(i)[0]):
                    return False
    return True


def _uses(e: Expr, dims: tuple[int, ...]) -> bool:
    return any(x.op == "index" and x.attr in dims for x in E.walk(e))


def _uses_outside_loads(e: Expr, dims: tuple[int, ...]) -> bool:
    if e.op == "load":
        return False
    if e.op == "index":
        return e.attr in dims
    return any(_uses_outside_loads(a, dims) for a in e.args)


def _blocked(seed: Generic, rows: tuple[int, ...]) -> int | None:
    """The longest row; of a product, one that runs over one factor only, so that a block is a
    product too."""
    pair = factors(seed.body) if seed.combiner == "add" else None
    candidates = []
    for k, d in enumerate(rows):
        if pair is not None and sum(any(_uses(i, (d,)) for i in x.args) for x in pair) != 1:
            continue
        candidates.append((seed.domain[d], k))
    return max(candidates)[1] if candidates else None
