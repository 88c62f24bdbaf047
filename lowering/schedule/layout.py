"""Chooses the order of a Value's dims in memory.

A sum of products wants its vector dim innermost; everything else follows the operand that it reads
most. So channels-last spreads from convolutions through pointwise ops, pooling and concatenation,
and permutations in the program cost nothing.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.index_algebra import IndexAlgebra, contiguous_strides
from lowering.schedule.product import factors
from lowering.schedule.storage import Storage
from lowering.sizes import Number, nominal
from lowering.tensor_ir import Constant, Generic, Value


def result_order(op: Generic, storages: dict[Value, Storage],
                 reader: object = None) -> tuple[int, ...]:
    """Dims of op's result from outermost to innermost. `reader`: the only op that reads it, if
    there is but one: where that is a copy to another shape, the result is laid out as the copy will
    be, which then costs nothing."""
    order = domain_order(op, storages)
    if op.write is None:
        wished = _copied_order(op.out, reader)
        inner = [d for d in order if op.out.shape[d] != 1][-1:]
        if wished is not None and inner == [d for d in wished if op.out.shape[d] != 1][-1:]:
            return wished
        return order
    rank = {d: k for k, d in enumerate(order)}
    algebra = IndexAlgebra(op.domain)
    keys = []
    for k, w in enumerate(op.write):
        dims = [a.attr for a in algebra.affine(w)[0] if a.op == "index"]
        keys.append((max((rank[d] for d in dims if d in rank), default=-1), k))
    return tuple(k for _, k in sorted(keys))


def domain_order(op: Generic, storages: dict[Value, Storage]) -> tuple[int, ...]:
    """op's parallel dims from outermost to innermost."""
    dims = tuple(range(op.parallel))
    pair = factors(op.body) if op.combiner == "add" else None
    if pair is not None and all(x.attr in storages for x in pair):
        found = _product_order(op, pair, storages)
        if found is not None:
            return found
    loads = [x for e in (op.body, op.post) if e is not None for x in E.walk(e)
             if x.op == "load" and x.attr in storages and not isinstance(x.attr.op, Constant)]
    if not loads:
        return dims
    main = max(loads, key=lambda x: nominal(x.attr.numel))
    steps = _steps(main, op, storages)
    if any(d not in steps for d in dims if op.domain[d] != 1):
        return dims
    return tuple(sorted(
        dims, key=lambda d: (-nominal(steps.get(d, 0)) if op.domain[d] != 1 else 0, d)))


def _steps(load: E.Expr, op: Generic, storages: dict[Value, Storage]) -> dict[int, Number]:
    """How far in memory each dim steps through a load; for a dim inside a division or modulo, the
    step of the operand's dim."""
    algebra = IndexAlgebra(op.domain)
    found: dict[int, Number] = {}
    for i, stride in zip(load.args, storages[load.attr].strides):
        for atom, k in algebra.affine(i)[0].items():
            for x in E.walk(atom):
                if x.op == "index":
                    step = stride * (-k if nominal(k) < 0 else k) if atom.op == "index" else stride
                    found[x.attr] = max(found.get(x.attr, 0), step, key=nominal)
    return found


def _product_order(op: Generic, pair: tuple[E.Expr, E.Expr],
                   storages: dict[Value, Storage]) -> tuple[int, ...] | None:
    """The vector dim innermost: of the constant factor if there is one, else of the factor that
    runs along it; other dims by the other factor's steps."""
    steps = [_steps(x, op, storages) for x in pair]
    constant = [isinstance(x.attr.op, Constant) for x in pair]
    best: tuple[tuple, int, int] | None = None
    for b in (0, 1):
        for v in range(op.parallel):
            if v not in steps[b] or op.domain[v] == 1:
                continue
            alone = v not in steps[1 - b]
            unit = steps[b][v] == 1
            if not alone and steps[1 - b][v] != 1:
                continue
            wide = nominal(op.domain[v]) >= 8 and (constant[b] or unit)
            rank = (wide, constant[b], alone, unit, nominal(op.domain[v]))
            if best is None or rank > best[0]:
                best = rank, v, b
    if best is None:
        return None
    _, v, b = best
    other = steps[1 - b]
    rest = [d for d in range(op.parallel) if d != v]
    rest.sort(key=lambda d: (
        -nominal(other[d]) if op.domain[d] != 1 and d in other else -(1 << 60), d))
    return (*rest, v)


def _copied_order(v: Value, reader: object) -> tuple[int, ...] | None:
    """The order of v's dims that `reader`, a copy of v into row-major memory, walks through."""
    if not isinstance(reader, Generic) or reader.combiner is not None or (
            reader.write is not None) or reader.body.op != "load" or reader.body.attr is not v:
        return None
    strides = contiguous_strides(reader.domain)
    algebra = IndexAlgebra(reader.domain)
    steps = []
    for i in reader.body.args:
        step = 0
        for atom, k in algebra.affine(i)[0].items():
            divisor = 1
            if atom.op in ("floordiv", "mod") and atom.args[1].is_const:
                divisor = atom.args[1].attr if atom.op == "floordiv" else 1
                atom = atom.args[0]
            if atom.op != "index":
                return None
            step = max(step, strides[atom.attr] * divisor, key=nominal)
        steps.append(step)
    return tuple(sorted(range(v.ndim), key=lambda d: (-nominal(steps[d]), d)))
