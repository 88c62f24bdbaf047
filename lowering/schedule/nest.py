"""Nest: a Generic over memory, its loads and its store being flat addresses.

Between a Generic and a Kernel stands this form: dims are reordered, dropped and merged by
substitution, and the index algebra keeps the addresses affine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from lowering import expr as E
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra
from lowering.schedule.storage import MemoryBuffer, Storage
from lowering.sizes import Number, numel, symbols
from lowering.tensor_ir import Generic, Value


@dataclass(frozen=True)
class Nest:
    """store[address] = post(combine of body over the reduced dims), for all parallel dims.

    Loads in body, post and address are of MemoryBuffers, with one flat index. kept: a memory and an
    address in it, where each value of body is stored, too. turn: where the number of the turn of
    the loop around lies, for those that read much in each turn and may begin at either end."""

    domain: tuple[Number, ...]
    parallel: int
    body: Expr
    combiner: str | None
    post: Expr | None
    store: MemoryBuffer
    address: Expr
    kept: tuple[MemoryBuffer, Expr] | None = None
    turn: MemoryBuffer | None = None

    @cached_property
    def algebra(self) -> IndexAlgebra:
        return IndexAlgebra(self.domain)

    @property
    def points(self) -> Number:
        return numel(self.domain)

    def sizes(self) -> list[Value]:
        """The Values that sizes of run time are in, domain and addresses included."""
        found = [s for n in self.domain for s in symbols(n)]
        for e in (self.body, self.post, self.address):
            if e is not None:
                found += [s for x in E.sizes(e) for s in symbols(x.attr)]
        return list(dict.fromkeys(s.value for s in found))

    def accesses(self) -> list[Expr]:
        """Loads of body and post."""
        found = E.loads(self.body)
        if self.post is not None:
            found += [x for x in E.loads(self.post) if x not in found]
        return found

    def map(self, domain: tuple[int, ...], parallel: int, indices: tuple[Expr, ...]) -> Nest:
        """The same nest over other dims: old index k is indices[k] of the new ones."""
        algebra = IndexAlgebra(domain)

        def change(e: Expr | None) -> Expr | None:
            return None if e is None else algebra.simplify(E.substitute(e, indices))

        kept = None if self.kept is None else (self.kept[0], change(self.kept[1]))
        return replace(self, domain=domain, parallel=parallel, body=change(self.body),
                       post=change(self.post), address=change(self.address), kept=kept)

    def summed_by(self, reader: Nest) -> Nest | None:
        """This pointwise nest and a reduction of what it stores as one; None if the reduction does
        not read that element for element."""
        if self.combiner is not None or reader.combiner is None or self.domain != reader.domain:
            return None
        place = self.algebra.affine(self.address)

        def is_stored(x: Expr) -> bool:
            return x.op == "load" and x.attr is self.store and (
                self.algebra.affine(x.args[0]) == place)

        if not is_stored(reader.body) or self.body.dtype is not self.store.dtype:
            return None
        if any(x.attr is reader.store or x.attr is self.store and not is_stored(x)
               for x in self.accesses()):
            return None
        if reader.post is not None and any(x.attr is self.store for x in E.loads(reader.post)):
            return None
        return replace(reader, body=self.body, kept=(self.store, self.address))

    def permuted(self, order: tuple[int, ...], parallel: int | None = None) -> Nest:
        """Dims in another order (parallel ones must stay before reduced ones)."""
        at = {d: k for k, d in enumerate(order)}
        return self.map(tuple(self.domain[d] for d in order),
                        self.parallel if parallel is None else parallel,
                        tuple(E.index(at[d]) for d in range(len(self.domain))))

    def without_unit_dims(self) -> Nest:
        kept = [k for k, n in enumerate(self.domain) if n != 1]
        if len(kept) == len(self.domain):
            return self
        reduced = [k for k in kept if k >= self.parallel]
        if self.combiner is not None and not reduced:
            kept.append(len(self.domain) - 1)  # a reduction keeps a reduced dim
        at = {k: n for n, k in enumerate(kept)}
        return self.map(tuple(self.domain[k] for k in kept),
                        sum(k < self.parallel for k in kept),
                        tuple(E.index(at[k]) if k in at else E.const(0)
                              for k in range(len(self.domain))))

    def merged(self, d: int) -> Nest:
        """Mergeable dims d and d + 1 as one: it steps as the inner one does, and further."""
        domain = (*self.domain[:d], self.domain[d] * self.domain[d + 1], *self.domain[d + 2:])
        indices = tuple(
            E.index(k) if k < d else E.const(0) if k == d else E.index(k - 1)
            for k in range(len(self.domain))
        )
        return self.map(domain, self.parallel - (d + 1 < self.parallel), indices)

    def mergeable(self, d: int) -> bool:
        """All addresses step through dims d and d + 1 as through one, and no value depends on
        either index otherwise."""
        if d + 1 == self.parallel or d + 1 >= len(self.domain):
            return False
        algebra, n = self.algebra, self.domain[d + 1]
        stored = [self.address] if self.kept is None else [self.address, self.kept[1]]
        for e in [x.args[0] for x in self.accesses()] + stored:
            terms, _ = algebra.affine(e)
            if any(a.op != "index" and _uses(a, (d, d + 1)) for a in terms):
                return False
            if terms.get(E.index(d), 0) != n * terms.get(E.index(d + 1), 0):
                return False
        for e in (self.body, self.post):
            if e is not None and _uses_outside_loads(e, (d, d + 1)):
                return False
        return True

    def collapsed(self) -> Nest:
        """Unit dims dropped and every mergeable pair merged."""
        nest = self.without_unit_dims()
        d = 0
        while d + 1 < len(nest.domain):
            if nest.mergeable(d):
                nest = nest.merged(d)
            else:
                d += 1
        return nest


def nest_of(op: Generic, storages: dict[Value, Storage]) -> Nest:
    """The op with its Values replaced by where they live."""
    algebra = IndexAlgebra(op.domain)
    memo: dict[Expr, Expr] = {}

    def flat(x: Expr) -> Expr | None:
        if x.op != "load" or isinstance(x.attr, MemoryBuffer):
            return None
        where = storages[x.attr]
        return E.load(where.buffer, [algebra.simplify(where.address(x.args))])

    def change(e: Expr | None) -> Expr | None:
        return None if e is None else E.rewrite(e, flat, memo)

    out = storages[op.out]
    at = op.write if op.write is not None else E.identity(op.parallel)
    write = tuple(change(w) for w in at)
    return Nest(op.domain, op.parallel, change(op.body), op.combiner, change(op.post),
                out.buffer, algebra.simplify(out.address(write)))


def _uses(e: Expr, dims: tuple[int, ...]) -> bool:
    return any(x.op == "index" and x.attr in dims for x in E.walk(e))


def _uses_outside_loads(e: Expr, dims: tuple[int, ...]) -> bool:
    if e.op == "load":
        return False
    if e.op == "index":
        return e.attr in dims
    return any(_uses_outside_loads(a, dims) for a in e.args)
