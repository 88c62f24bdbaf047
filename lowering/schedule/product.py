"""Recognises sums of products (matrix product, convolution, attention's two products) in a Nest.

store[m, n] = post(sum over k of a[m, k] * b[k, n]), all addresses affine. Operand b runs along the
vector dim n; operand a is broadcast over it, or runs along it as well (depthwise convolution).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lowering.expr import Expr
from lowering.schedule.codegen import affine_in
from lowering.schedule.nest import Nest
from lowering.schedule.storage import MemoryBuffer, Packing
from lowering.sizes import Number, Size, nominal
from runtime.dtypes import DType

SHORT = 16  # a k of so many steps is written out


@dataclass(frozen=True)
class Operand:
    """A factor: element offset + sum of strides[d] * index(d) of memory, cast to the sum's
    dtype."""

    memory: MemoryBuffer
    strides: dict[int, Number]
    offset: Number

    @property
    def is_constant(self) -> bool:
        return self.memory.space == "constant"

    def stride(self, d: int) -> Number:
        return self.strides.get(d, 0)


@dataclass(frozen=True)
class Product:
    """A nest with its factors told apart; `vector` is the dim that runs over lanes."""

    nest: Nest
    a: Operand
    b: Operand
    vector: int

    @property
    def dtype(self) -> DType:
        return self.nest.body.dtype

    @property
    def reduced(self) -> range:
        return range(self.nest.parallel, len(self.nest.domain))


def factors(body: Expr) -> tuple[Expr, Expr] | None:
    """The two loads of `a * b`, under casts; None for any other body."""
    if body.op != "mul":
        return None
    found = []
    for x in body.args:
        while x.op == "cast":
            x = x.args[0]
        if x.op != "load":
            return None
        found.append(x)
    return found[0], found[1]


def match(nest: Nest) -> Product | None:
    """The product that a nest is, with unit dims dropped and neighbouring outer dims merged."""
    if nest.combiner != "add" or factors(nest.body) is None or 0 in nest.domain:
        return None
    nest = nest.without_unit_dims()
    return assigned(_arranged(nest)) if assigned(nest) else None


def _operand(load: Expr, nest: Nest) -> Operand | None:
    strides = affine_in(load.args[0], nest.algebra)
    if strides is None:
        return None
    return Operand(load.attr, strides, nest.algebra.affine(load.args[0])[1])


def assigned(nest: Nest) -> Product | None:
    """Chooses which factor is b and which dim is the vector."""
    pair = factors(nest.body)
    operands = [_operand(x, nest) for x in pair] if pair else [None]
    store = affine_in(nest.address, nest.algebra)
    if None in operands or store is None:
        return None
    best: tuple[tuple, Product] | None = None
    for a, b in (operands, operands[::-1]):
        for v in range(nest.parallel):
            if store.get(v, 0) != 1 or b.stride(v) == 0 or a.stride(v) not in (0, 1):
                continue
            if a.stride(v) == 1 and not (b.is_constant or b.stride(v) == 1):
                continue
            unit = b.stride(v) == 1
            wide = nominal(nest.domain[v]) >= 8 and (b.is_constant or unit)
            rank = (wide, b.is_constant, a.stride(v) == 0, unit, nominal(nest.domain[v]))
            if best is None or rank > best[0]:
                best = rank, Product(nest, a, b, v)
    return best[1] if best else None


def _arranged(nest: Nest) -> Nest:
    """Parallel dims by the store's strides, neighbours of one kind merged."""
    store = affine_in(nest.address, nest.algebra) or {}
    order = sorted(range(nest.parallel), key=lambda d: (-abs(nominal(store.get(d, 0))), d))
    nest = nest.permuted((*order, *range(nest.parallel, len(nest.domain))))
    d = 0
    while d + 1 < nest.parallel:
        product = assigned(nest)
        if product is not None and product.vector not in (d, d + 1) and (
                bool(product.b.stride(d)) == bool(product.b.stride(d + 1))) and nest.mergeable(d):
            nest = nest.merged(d)
        else:
            d += 1
    return nest


@dataclass(frozen=True)
class KDim:
    """A reduced dim after merging: its extent and the strides of both operands along it."""

    extent: Number
    a: Number
    b: Number


def k_dims(product: Product) -> tuple[list[KDim], list[int]]:
    """Reduced dims by a's strides, outermost first, merged where both operands allow it; the second
    list is the order of the original dims (outermost first)."""
    a, b, domain = product.a, product.b, product.nest.domain
    found: list[tuple[KDim, list[int]]] = []
    order = sorted(product.reduced, key=lambda d: (-abs(nominal(a.stride(d))),
                                                   -abs(nominal(b.stride(d)))))
    for d in order:
        k = KDim(domain[d], a.stride(d), b.stride(d))
        last, dims = found[-1] if found else (None, [])
        if last and last.a == k.a * k.extent and last.b == k.b * k.extent:
            found[-1] = KDim(last.extent * k.extent, k.a, k.b), [*dims, d]
        else:
            found.append((k, [d]))
    if len(found) > 1 and _overlaps(found[-1][0], product):
        found.insert(0, found.pop())
    return [k for k, _ in found], [d for _, dims in found for d in dims]


def _overlaps(k: KDim, product: Product) -> bool:
    """Whether steps along a short k read what the rows beside read too. Written out one after
    another they would be read but once, into more registers than there are. Not where steps of
    run-time sizes would come to stand inside: each takes an address of its own."""
    a, b = product.a, product.b
    if any(isinstance(a.stride(d), Size) for d in product.reduced):
        return False
    if isinstance(k.extent, Size) or k.extent > SHORT or a.stride(product.vector):
        return False
    steps = {n * k.a for n in range(1, k.extent)}
    return any(a.stride(d) * n in steps for d in range(product.nest.parallel)
               if product.nest.domain[d] != 1 and a.stride(d) and not b.stride(d)
               for n in range(1, k.extent + 1))


def pack_constant(product: Product, width: int, dtype: DType, pairs: bool = False) -> Product:
    """b rearranged at compile time as [other dims of b][panel][k][width], zeros beyond the vector
    dim's end, in a dtype that has its values. After it b's stride along the vector dim is 1 inside
    a panel, and panels are `k * width` apart. pairs: see Packing; k is counted as without."""
    nest, b, v = product.nest, product.b, product.vector
    domain = nest.domain
    outer = [d for d in range(nest.parallel) if b.stride(d) and d != v]
    _, used = k_dims(product)
    packing = Packing(dtype, b.offset, tuple((domain[d], b.stride(d)) for d in outer),
                      (domain[v], b.stride(v)), tuple((domain[d], b.stride(d)) for d in used),
                      width, pairs)
    memory = MemoryBuffer(dtype, packing.size, "constant", source=b.memory, packing=packing)
    strides: dict[int, int] = {v: 1}
    step = packing.panels * packing.steps * width
    for d in reversed(outer):
        strides[d] = step
        step *= domain[d]
    step = width
    for d in reversed(used):
        strides[d] = step
        step *= domain[d]
    return replace(product, b=Operand(memory, strides, 0))
