"""Builds TensorOps: what an operator's entry is written with.

Functions append to the current region (`with collect(region):`) and return Values. Operands may
be Values or Python numbers; broadcasting and dtype promotion follow PyTorch.
"""

from __future__ import annotations

import operator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Callable, Iterator, Sequence

import numpy as np

from lowering import expr as E
from lowering.broadcasting import common_size, may_stretch, position
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.sizes import (
    Number, Size, Unsupported, at_least, common_bounds, floordiv, forget, is_dynamic, maximum,
    minimum, of_symbol, size_values,
)
from lowering.texts import Text
from lowering.tensor_ir import (
    Check, Constant, Generic, If, Loop, Region, Scan, Scatter, Shape, Sort, TensorOp, Value,
    defined,
)
from runtime.dtypes import DType, bf16, bool_, dtype_of_numpy, f16, f32, f64, i64, promote

Operand = Value | int | float | bool

_region: ContextVar[Region] = ContextVar("region")


@contextmanager
def collect(region: Region) -> Iterator[Region]:
    """Ops built inside go to `region`."""
    token = _region.set(region)
    try:
        yield region
    finally:
        _region.reset(token)


def current_region() -> Region:
    """Where ops are built now."""
    return _region.get()


def append(op: TensorOp) -> TensorOp:
    _region.get().ops.append(op)
    return op


# Creation


def constant(data, dtype: DType | None = None) -> Value:
    """A compile-time tensor from an array (interface or interpreter form) or number."""
    array = np.asarray(data)
    dtype = dtype or dtype_of_numpy(array.dtype)
    if dtype is bf16 and array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return append(Constant(array.astype(dtype.compute, copy=False), dtype)).out


def full(shape: Sequence[int], value: Operand, dtype: DType) -> Value:
    """A tensor of one value (a number or a 0-d Value)."""
    body = E.const(value, dtype) if not isinstance(value, Value) else E.cast(E.load(value), dtype)
    return compute(shape, lambda *_: body)


def to_value(x: Operand) -> Value:
    """A Value as it is; a number as a 0-d Value that promotes like the number."""
    if isinstance(x, Value):
        return x
    dtype = f64 if isinstance(x, float) else number_dtype(x)
    value = full((), x, dtype)
    value.wrapped = True
    return value


def compute(shape: Sequence[int], fn: Callable[..., Expr]) -> Value:
    """out[i0, i1, ...] = fn(i0, i1, ...), the general pointwise op."""
    shape = tuple(shape)
    return generic(shape, len(shape), fn(*E.identity(len(shape))))


def generic(domain: Shape, parallel: int, body: Expr, combiner: str | None = None,
            post: Expr | None = None, base: Value | None = None,
            write: tuple[Expr, ...] | None = None) -> Value:
    """Appends a Generic with its index arithmetic simplified."""
    algebra = IndexAlgebra(tuple(domain))
    body = algebra.simplify(body)
    post = algebra.simplify(post) if post is not None else None
    write = tuple(algebra.simplify(w) for w in write) if write is not None else None
    return append(Generic(domain, parallel, body, combiner, post, base, write)).out


# Dtypes


def category(dtype: DType) -> int:
    return 0 if dtype is bool_ else 2 if dtype.is_float else 1


def number_dtype(x: int | float | bool) -> DType:
    return bool_ if isinstance(x, bool) else i64 if isinstance(x, (int, Size)) else f32


def result_type(*operands: Operand) -> DType:
    """PyTorch's promotion: tensors with dims before 0-d tensors before numbers, unless a later
    group has a higher category (bool < integer < float)."""
    groups: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Value):
            rank = 2 if x.wrapped else 0 if x.ndim else 1
            dtype = f32 if x.wrapped and x.dtype.is_float else x.dtype
        else:
            rank, dtype = 2, number_dtype(x)
        groups[rank] = dtype if groups[rank] is None else promote(groups[rank], dtype)
    result: DType | None = None
    for dtype in groups:
        if dtype is None:
            continue
        if result is None or category(dtype) > category(result):
            result = dtype
    assert result is not None, "no operand"
    return result


def compute_dtype(dtype: DType) -> DType:
    """The dtype that arithmetic on `dtype` is done in: f32 for f16 and bf16."""
    return f32 if dtype in (f16, bf16) else dtype


def float_result(dtype: DType) -> DType:
    """Integers and bool become the default float dtype, as in exp or mean of integers."""
    return dtype if dtype.is_float else f32


def cast(x: Value, dtype: DType) -> Value:
    """x in another dtype (x itself when it is that already)."""
    if x.dtype is dtype and not x.wrapped:
        return x
    if x.dtype is dtype:
        return compute(x.shape, lambda *i: E.load(x, i))
    return compute(x.shape, lambda *i: E.cast(E.load(x, i), dtype))


# Pointwise


def broadcast_shape(*shapes: Shape) -> Shape:
    """The common shape. ValueError names the shapes that do not fit; of sizes of run time that may
    fit the program checks it (lowering/broadcasting.py)."""
    ndim = max((len(s) for s in shapes), default=0)
    out = []
    for k in range(ndim):
        found = common_size([s[k - ndim + len(s)] for s in shapes if k - ndim + len(s) >= 0])
        if found is None:
            raise ValueError(f"shapes {', '.join(map(str, map(list, shapes)))} do not broadcast")
        out.append(found[0])
        for a, b in found[1]:
            _check_fits(a, b, may_stretch(a, b), may_stretch(b, a))
    return tuple(out)


def stretch_to(shape: Shape, to: Shape) -> bool:
    """Whether a tensor of the first shape may be read as one of the second; of sizes of run time
    the program checks it."""
    if len(shape) > len(to):
        return False
    for n, m in zip(reversed(shape), reversed(to)):
        if n == 1 or n == m:
            continue
        if not is_dynamic((n, m)) or not may_stretch(n, m) and (
                at_least(n, m + 1) or at_least(m, n + 1)):
            return False
        _check_fits(n, m, may_stretch(n, m), False)
    return True


def _check_fits(a: Number, b: Number, a_stretches: bool, b_stretches: bool) -> None:
    def fits() -> Expr:
        p, q = E.lift(a, i64), E.lift(b, i64)
        holds = E.eq(p, q)
        holds = E.binary("or", holds, E.eq(p, 1)) if a_stretches else holds
        return E.binary("or", holds, E.eq(q, 1)) if b_stretches else holds

    check(compute((), fits), "the sizes of tensors do not match")


def as_size(x: Value) -> Number:
    """The number in a 0-d i64 Value, which is not negative, as a size: what it is computed from,
    where that is sizes."""
    found = _number(E.load(x))
    return found if found is not None and at_least(found, 0) else Size(x)


def _number(e: Expr) -> Number | None:
    """The expression as a polynomial of sizes, None where something else is in it."""
    if e.op == "size":
        return of_symbol(e.attr)
    if e.is_const:
        return e.attr
    if e.op == "load":
        op = e.attr.op
        scalar = isinstance(op, Generic) and op.combiner is None and not op.domain
        return _number(op.body) if scalar and e.dtype is i64 else None
    if e.op in _ON_SIZES:
        a, b = (_number(x) for x in e.args)
        return None if a is None or b is None else _ON_SIZES[e.op](a, b)
    return None


def _quotient(a: Number, b: Number) -> Number | None:
    return floordiv(a, b) if at_least(b, 1) else None


_ON_SIZES: dict[str, Callable] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul,
                                  "min": minimum, "max": maximum, "floordiv": _quotient}


def read(x: Operand, shape: Shape, dtype: DType) -> Expr:
    """x at the loop indices of `shape`, broadcast, in `dtype`."""
    if not isinstance(x, Value):
        return E.const(x, dtype)
    skip = len(shape) - x.ndim
    i = [position(E.index(k + skip), n, shape[k + skip]) for k, n in enumerate(x.shape)]
    return E.cast(E.load(x, i), dtype)


def pointwise(fn: Callable[..., Expr], *operands: Operand, dtype: DType | None = None,
              out: DType | None = None) -> Value:
    """fn over broadcast operands. fn gets expressions of one dtype: `dtype`, else the promoted
    one, with f16 and bf16 computed in f32. The result is cast to `out`, else to the promoted dtype
    (comparisons and other bool results stay bool)."""
    promoted = dtype or result_type(*operands)
    working = compute_dtype(promoted)
    shape = broadcast_shape(*(x.shape for x in operands if isinstance(x, Value)))
    body = fn(*(read(x, shape, working) for x in operands))
    if out is None:
        out = bool_ if body.dtype is bool_ else promoted if body.dtype is working else body.dtype
    return generic(shape, len(shape), E.cast(body, out))


def unary(op: str, x: Value) -> Value:
    """A float function: integers and bool are computed in, and give, float32."""
    return pointwise(lambda a: E.unary(op, a), x, dtype=float_result(x.dtype))


# Views as values


def reindex(x: Value, shape: Sequence[int], fn: Callable[..., Sequence[Expr | int]]) -> Value:
    """out[i...] = x[fn(i...)]: any gather by index arithmetic."""
    return compute(shape, lambda *i: E.load(x, fn(*i)))


def gather(x: Value, shape: Sequence[int], fn: Callable[..., Sequence[Expr | int]],
           valid: Callable[..., Expr], fill: Operand) -> Value:
    """out[i...] = valid(i...) ? x[fn(i...)] : fill. fn may leave bounds where valid is false."""
    def body(*i: Expr) -> Expr:
        clamped = [
            E.minimum(E.maximum(E.as_index(p), 0), max(n - 1, 0)) for p, n in zip(fn(*i), x.shape)
        ]
        if x.numel == 0:
            return E.const(fill, x.dtype)
        return E.select(valid(*i), E.load(x, clamped), E.lift(fill, x.dtype))

    return compute(shape, body)


def squeeze(x: Value, dims: Sequence[int]) -> Value:
    """x without dims, all of size 1."""
    kept = [k for k in range(x.ndim) if k not in dims]
    place = {k: n for n, k in enumerate(kept)}
    return reindex(x, [x.shape[k] for k in kept],
                   lambda *i: [i[place[k]] if k in place else 0 for k in range(x.ndim)])


# Reductions


def dims_of(dims: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Non-negative sorted dims; None or [] mean all. IndexError as PyTorch words it."""
    if dims is None:
        return tuple(range(ndim))
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        return tuple(range(ndim))
    return tuple(sorted({dim_of(d, ndim) for d in dims}))


def dim_of(dim: int, ndim: int) -> int:
    """A non-negative dim."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim % n


def reduce(combiner: str, x: Value, dims: int | Sequence[int] | None, keepdim: bool,
           body: Callable[[Expr], Expr] | None = None, post: Callable[[Expr], Expr] | None = None,
           dtype: DType | None = None, out: DType | None = None) -> Value:
    """Combines body(x) over dims, then post. Works in `dtype` (default x's; f16, bf16 in f32);
    the result is cast to `out`, default `dtype`."""
    given = dtype or x.dtype
    working = compute_dtype(given)
    dims = dims_of(dims, x.ndim) if x.ndim else ()
    kept = [k for k in range(x.ndim) if k not in dims]
    domain = tuple(x.shape[k] for k in kept) + tuple(x.shape[k] for k in dims)
    position = {k: n for n, k in enumerate([*kept, *dims])}
    element = E.cast(E.load(x, [E.index(position[k]) for k in range(x.ndim)]), working)
    value = body(element) if body else element
    arg = combiner in ("argmin", "argmax")
    out = out or (i64 if arg else given if value.dtype is working else value.dtype)
    if not dims:
        domain = (*domain, 1)
    acc_dtype = i64 if arg else value.dtype
    result = post(E.acc(acc_dtype)) if post else E.acc(acc_dtype)
    result = E.cast(result, out)
    y = generic(domain, len(kept), value, combiner, None if result.op == "acc" else result)
    if keepdim:
        shape = tuple(1 if k in dims else n for k, n in enumerate(x.shape))
        y = reindex(y, shape, lambda *i: [i[k] for k in kept]) if dims else y
    return y


# Others


def sort(x: Value, dim: int, descending: bool) -> tuple[Value, Value]:
    op = append(Sort(x, dim, descending))
    return op.results[0], op.results[1]


def scan(x: Value, dim: int, combiner: str, indices: bool = False) -> list[Value]:
    return append(Scan(x, dim, combiner, indices)).results


def scatter(base: Value, domain: Sequence[int], write: Callable[..., Sequence[Expr]],
            body: Callable[..., Expr], mode: str = "set") -> Value:
    """See tensor_ir.Scatter."""
    i = E.identity(len(domain))
    algebra = IndexAlgebra(tuple(domain))
    at = tuple(algebra.simplify(E.as_index(w)) for w in write(*i))
    return append(Scatter(base, domain, at, algebra.simplify(body(*i)), mode)).out


def update(base: Value, shape: Sequence[int], write: Callable[..., Sequence[Expr | int]],
           body: Callable[..., Expr]) -> Value:
    """A copy of base with out[write(i)] = body(i) for i in shape; write affine and injective."""
    i = E.identity(len(shape))
    at = tuple(E.as_index(w) for w in write(*i))
    return generic(tuple(shape), len(shape), body(*i), None, None, base, at)


def insert(base: Value, x: Value, starts: Sequence[int],
           steps: Sequence[int] | None = None) -> Value:
    """A copy of base with x at starts + i * steps."""
    steps = steps or [1] * x.ndim
    return update(base, x.shape, lambda *i: [s + k * t for k, s, t in zip(i, starts, steps)],
                  lambda *i: E.load(x, i))


def loop(trip: Number | Value, inits: Sequence[Value],
         body: Callable[..., Sequence[Value]]) -> list[Value]:
    """carried = body(counter, *carried), `trip` times, kept as a loop."""
    if isinstance(trip, Size):
        trip = full((), trip, i64)
    region = Region([Value((), i64), *(Value(v.shape, v.dtype) for v in inits)])
    with collect(region):
        region.results = list(body(*region.params))
    forget(defined(region))
    for v, w in zip(region.results, inits):
        if v.shape != w.shape or v.dtype is not w.dtype:
            raise ValueError(f"a loop carries {w!r} but yields {v!r}")
    return append(Loop(trip, None, list(inits), region)).results


def cond(condition: Value, then: Callable[[], Sequence[Value]],
         otherwise: Callable[[], Sequence[Value]]) -> list[Value]:
    regions = []
    for fn in (then, otherwise):
        with collect(Region()) as r:
            r.results = list(fn())
        forget(defined(r))
        regions.append(r)
    count = len(regions[0].results)
    return branch(condition, *regions).results[:count]


def branch(condition: Value, then: Region, otherwise: Region) -> If:
    """Appends an If. Sizes that differ between the branches, or that only they know, become
    results of their own, after the others."""
    inside = {*defined(then), *defined(otherwise)}
    pairs: dict[tuple, int] = {}  # sizes in the two branches -> which result
    count = len(then.results)
    shapes = [[_merged(pair, inside, pairs, count) for pair in zip(x.shape, y.shape)]
              for x, y in zip(then.results, otherwise.results)]
    for region, which in ((then, 0), (otherwise, 1)):
        with collect(region):
            region.results += [full((), pair[which], i64) for pair in pairs]
    op = If(condition, then, otherwise)
    append(op)
    sizes = [Size(op.results[k], *common_bounds(pair)) for pair, k in pairs.items()]
    for v, shape in zip(op.results, shapes):
        v.shape = tuple(sizes[n[0]] if isinstance(n, tuple) else n for n in shape)
    return op


def _merged(pair: tuple, inside: set[Value], pairs: dict[tuple, int], count: int) -> object:
    """A dim of an If's result: a number, or (which of `pairs`,)."""
    if pair[0] == pair[1] and not inside.intersection(size_values(pair)):
        return pair[0]
    pairs.setdefault(pair, count + len(pairs))
    return (pairs[pair] - count,)


def check(condition: Value, message: str | Text, where: str = "") -> None:
    append(Check(condition, message, where=where))


def check_at_least(a: Number, b: Number, message: str) -> None:
    """RuntimeError unless a >= b; the program checks it where data decide."""
    try:
        if a < b:
            raise RuntimeError(message)
    except Unsupported:
        check(compute((), lambda: E.lift(a, i64) >= E.lift(b, i64)), message)


def tell(kind: str, message: str | Text) -> None:
    """Prints ('print') or warns ('warn')."""
    append(Check(constant(np.array(False), bool_), message, kind))

