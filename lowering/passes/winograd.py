"""3x3 convolutions of stride 1 with fewer multiplications.

    y[oh, ow] = sum of x[oh + kh, ow + kw] * w[kh, kw]   ~>   y = At [ (G w Gt) . (Bt x B) ] A

in tiles of m x m results, m = 4 or 2 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016, sections 4.1 and 4.3). The weights' transform is computed now; the others are sums
of products with small constant matrices, one dim after the other; between them stands a matrix
product for each of the (m + 2)^2 positions. What followed the convolution follows the last
transform. Sizes of run time that need be no multiples of m are rounded up: the input gets as many
zeros more, the results beyond the end are left behind.

float32 only: with m = 4 the error grows about tenfold, to 1e-5 of the largest result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.passes.rewriting import remove_dead, users
from lowering.schedule.fill import is_constant_fill
from lowering.schedule.product import factors
from lowering.sizes import Number, Size, divides, nominal
from lowering.tensor_ir import Constant, Generic, Region, TensorOp, Value
from llvm_backend.target import Target
from runtime.dtypes import f32

# m -> (Bt, G, At)
_MATRICES = {
    2: ([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]]),
    4: ([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
         [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
         [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]),
}
_BYTES_A_CYCLE = 16  # what the transforms' traffic through the caches is reckoned with
_GAIN = 0.85  # the transformed convolution must take at most this share of the direct one's time


@dataclass(frozen=True)
class _Convolution:
    """Dims by their place in the op's domain: rows and columns of the result, channels of both
    sides, the taps; `lead` are all other parallel dims. x is read at x.args, in x_dims by rows and
    columns; w is [oc, ic, kh, kw]."""

    op: Generic
    x: Expr
    weights: np.ndarray
    lead: tuple[int, ...]
    oc: int
    oh: int
    ow: int
    ic: int
    x_dims: tuple[int, int]
    m: tuple[int, int]

    def extent(self, d: int) -> Number:
        return self.op.domain[d]

    @property
    def tiles(self) -> tuple[Number, Number]:
        """How many, by rows and columns."""
        return tuple((self.extent(d) + m - 1) // m for d, m in zip((self.oh, self.ow), self.m))

    @property
    def grid(self) -> tuple[Number, Number]:
        """What the tiles cover."""
        return tuple(t * m for t, m in zip(self.tiles, self.m))


def winograd(region: Region, target: Target) -> None:
    """Rewrites in place, inner regions included, where the model of the target says it pays."""
    ops: list[TensorOp] = []
    readers: dict = {}
    for op in region.ops:
        found = _match(op)
        if found is not None and _pays(found, target.panels or target):
            readers = readers or users(region)
            with B.collect(Region()) as inner:
                last = _transformed(found, len(readers.get(found.x.attr, ())))
            last.results = op.results
            op.out.op = last
            ops += inner.ops
        else:
            ops.append(op)
        for r in op.regions():
            winograd(r, target)
    region.ops = ops
    if readers:
        remove_dead(region)  # inputs that were made again, larger


def _match(op: TensorOp) -> _Convolution | None:
    if not isinstance(op, Generic) or op.combiner != "add" or op.body.dtype is not f32:
        return None
    pair = factors(op.body)
    if pair is None or len(op.domain) - op.parallel != 3 or op.body.args != pair:
        return None
    for x, w in (pair, pair[::-1]):
        if isinstance(w.attr.op, Constant) and not isinstance(x.attr.op, Constant):
            return _roles(op, x, w)
    return None


def _roles(op: Generic, x: Expr, w: Expr) -> _Convolution | None:
    """Which dim plays which part: taps are the reduced dims that a parallel dim is added to."""
    algebra = IndexAlgebra(op.domain)
    forms = [algebra.affine(i) for i in x.args]
    spatial: list[tuple[int, int]] = []  # (result dim, tap) by x's dims
    x_dims: list[int] = []
    for x_dim, (terms, offset) in enumerate(forms):
        dims = sorted(a.attr for a in terms if a.op == "index")
        if len(dims) != len(terms):
            return None
        if len(dims) == 2:
            if dims[0] >= op.parallel or dims[1] < op.parallel or set(terms.values()) != {1}:
                return None
            if offset != 0:
                return None
            spatial.append((dims[0], dims[1]))
            x_dims.append(x_dim)
        elif len(dims) > 2:
            return None
    if len(spatial) != 2 or any(op.domain[k] != 3 for _, k in spatial):
        return None
    (oh, kh), (ow, kw) = spatial
    reduced = set(range(op.parallel, len(op.domain))) - {kh, kw}
    if len(reduced) != 1 or kh == kw:
        return None
    ic, = reduced
    of_x = {a.attr for terms, _ in forms for a in terms}
    of_w = {a.attr for i in w.args for a in algebra.affine(i)[0] if a.op == "index"}
    own = [d for d in of_w if d < op.parallel]
    if of_w != {*own, ic, kh, kw} or len(own) != 1 or own[0] in of_x or ic not in of_x:
        return None
    weights = _by_dims(w, algebra, (own[0], ic, kh, kw), op.domain)
    sizes = [_tile_size(op.domain[d]) for d in (oh, ow)]
    if weights is None or 0 in sizes:
        return None
    lead = tuple(d for d in range(op.parallel) if d not in (own[0], oh, ow))
    return _Convolution(op, x, weights, lead, own[0], oh, ow, ic, (x_dims[0], x_dims[1]),
                        (sizes[0], sizes[1]))


def _tile_size(n: Number) -> int:
    """Rows or columns of a tile; 0 where none fits. A size of run time is rounded up."""
    if isinstance(n, Size):
        return 2 if divides(2, n) and not divides(4, n) else 4
    return 4 if n % 4 == 0 else 2 if n % 2 == 0 else 0


def _by_dims(w: Expr, algebra: IndexAlgebra, dims: tuple[int, ...],
             domain: tuple[int, ...]) -> np.ndarray | None:
    """The constant with its dims in the order of these indices; None if it is read otherwise."""
    at: dict[int, int] = {}
    for k, i in enumerate(w.args):
        terms, offset = algebra.affine(i)
        if len(terms) > 1 or offset or set(terms.values()) - {1}:
            return None
        for a in terms:
            at[a.attr] = k
    data = w.attr.op.data
    order = [at[d] for d in dims]
    if any(data.shape[at[d]] != domain[d] for d in dims):
        return None
    rest = tuple(k for k in range(data.ndim) if k not in order)
    return data.transpose(*rest, *order).reshape([domain[d] for d in dims])


def _pays(c: _Convolution, target: Target) -> bool:
    # Of a batch whose size the run decides one is reckoned with: weights then count most.
    lead = math.prod(n for n in map(c.extent, c.lead) if isinstance(n, int))
    oc, ic = c.extent(c.oc), c.extent(c.ic)
    if isinstance(oc, Size) or isinstance(ic, Size):
        return False
    points = lead * nominal(c.extent(c.oh)) * nominal(c.extent(c.ow))
    (p, q), (mh, mw) = (c.m[0] + 2, c.m[1] + 2), c.m
    tiles = lead * nominal(c.tiles[0]) * nominal(c.tiles[1])
    a_cycle = target.fma_ports * target.lanes(4)
    product = tiles * p * q * ic * oc
    transforms = tiles * (ic * (p * q * p + p * q * q) + oc * (mh * q * p + mh * mw * q))
    traffic = 4 * tiles * (2 * p * q * (ic + oc) + 2 * p * q * max(ic, oc) * 0.5)
    weights = 4 * ic * oc * (p * q - 9)
    direct = points * ic * oc * 9 / a_cycle
    return (product + transforms) / a_cycle + (traffic + weights) / _BYTES_A_CYCLE < _GAIN * direct


def _transformed(c: _Convolution, readers: int) -> Generic:
    """The ops; the last one has the convolution's place. readers: how many the input has."""
    op, (mh, mw) = c.op, c.m
    (bt_h, g_h, at_h), (bt_w, g_w, at_w) = (
        [np.array(m, np.float64) for m in _MATRICES[size]] for size in c.m)
    p, q = mh + 2, mw + 2
    th, tw = c.tiles
    ragged = c.grid != (c.extent(c.oh), c.extent(c.ow))
    source = _enlarged(c, readers) if ragged else c.x.attr
    lead = tuple(c.extent(d) for d in c.lead)
    n, ic, oc = len(lead), c.extent(c.ic), c.extent(c.oc)
    width = c.grid[1] + 2
    u = np.einsum("ia,ocab,jb->ijco", g_h, c.weights.astype(np.float64), g_w)
    weights = B.constant(u.astype(np.float32))

    def of_x(leads: list[Expr], row: Expr, column: Expr, channel: Expr) -> Expr:
        at = {d: e for d, e in zip(c.lead, leads)}
        at |= {c.oh: row, c.ow: column, c.ic: channel}
        # The taps are added to rows and columns already: their own indices count as nothing.
        indices = tuple(at.get(d, E.const(0)) for d in range(len(op.domain)))
        return E.load(source, [E.substitute(i, indices) for i in c.x.args])

    def product(matrix: np.ndarray, i: Expr, k: Expr, x: Expr) -> Expr:
        return E.load(B.constant(matrix.astype(np.float32)), [i, k]) * x

    def dims(count: int) -> list[Expr]:
        return [E.index(k) for k in range(count)]

    # rows: [lead, ty, i, column, c], then columns: [i, j, lead, ty, tx, c]
    *l, ty, i, x, ch, a = dims(n + 5)
    rows = B.generic((*lead, th, p, width, ic, p), n + 4,
                     product(bt_h, i, a, of_x(l, ty * mh + a, x, ch)), "add")
    i, j, *l, ty, tx, ch, b = dims(n + 6)
    tiles = B.generic((p, q, *lead, th, tw, ic, q), n + 5,
                      product(bt_w, j, b, E.load(rows, [*l, ty, i, tx * mw + b, ch])), "add")
    i, j, *l, ty, tx, o, ch = dims(n + 6)
    sums = B.generic((p, q, *lead, th, tw, oc, ic), n + 5,
                     E.load(tiles, [i, j, *l, ty, tx, ch]) * E.load(weights, [i, j, ch, o]), "add")
    # rows of results: [r, j, lead, ty, tx, o], then the results themselves
    r, j, *l, ty, tx, o, a = dims(n + 6)
    halves = B.generic((mh, q, *lead, th, tw, oc, p), n + 5,
                       product(at_h, r, a, E.load(sums, [a, j, *l, ty, tx, o])), "add")
    *l, ty, r, tx, s, o, b = dims(n + 6)
    body = product(at_w, s, b, E.load(halves, [r, b, *l, ty, tx, o]))
    place = {d: e for d, e in zip(c.lead, l)} | {c.oh: ty * mh + r, c.ow: tx * mw + s, c.oc: o}
    indices = tuple(place[d] for d in range(op.parallel))
    domain = (*lead, th, mh, tw, mw, oc, q)
    algebra = IndexAlgebra(domain)
    if ragged:
        shape = [n if d not in (c.oh, c.ow) else c.grid[d == c.ow]
                 for d, n in enumerate(op.domain[:op.parallel])]
        grid = B.append(Generic(domain, n + 5, algebra.simplify(body), "add", None, None,
                                tuple(map(algebra.simplify, indices)), tuple(shape))).out
        return B.append(_read_from(op, grid))
    write = op.write if op.write is not None else E.identity(op.parallel)
    last = Generic(domain, n + 5, algebra.simplify(body), "add",
                   None if op.post is None else algebra.simplify(E.substitute(op.post, indices)),
                   op.base, tuple(algebra.simplify(E.substitute(w, indices)) for w in write),
                   op.out.shape)
    B.append(last)
    return last


def _read_from(op: Generic, sums: Value) -> Generic:
    """op with its sums read instead of summed up."""
    read = E.load(sums, E.identity(op.parallel))
    body = read if op.post is None else E.rewrite(
        op.post, lambda x: read if x.op == "acc" else None)
    return Generic(op.domain[:op.parallel], op.parallel, body, None, None, op.base, op.write,
                   op.out.shape)


def _enlarged(c: _Convolution, readers: int) -> Value:
    """The input with zeros after its rows and columns, as many as the tiles reach into. An input
    that was inserted into zeros for this convolution alone is inserted into more of them."""
    x = c.x.attr
    shape = [n if d not in c.x_dims else c.grid[d == c.x_dims[1]] + 2
             for d, n in enumerate(x.shape)]
    zeros = B.full(shape, 0, x.dtype)
    op = x.op
    if readers == 1 and isinstance(op, Generic) and op.base is not None and (
            is_constant_fill(op.base.op)) and op.base.op.body == zeros.op.body:
        return B.append(Generic(op.domain, op.parallel, op.body, op.combiner, op.post, zeros,
                                op.write)).out
    return B.insert(zeros, x, [0] * x.ndim)
