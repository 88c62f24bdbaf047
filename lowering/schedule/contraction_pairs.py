"""Products of bf16 pairs: two neighbours of the sum are multiplied and added by one instruction.

    acc += f32(a[k]) * f32(b[k])    ~>    acc += a16[2k] * b[2k] + a16[2k + 1] * b[2k + 1]

For --precision bf16 on CPUs that have the instruction (avx512bf16). The weights are packed with
both numbers of a pair side by side; what they are multiplied with is rounded to bf16 first, as a
whole. Sums stay in f32. Where several rows share the weights, none does this: they lie as all can
use them.
"""

from __future__ import annotations

from dataclasses import replace

from lowering import expr as E
from lowering.schedule.codegen import Coder
from lowering.schedule.contraction import Contraction, Part
from lowering.schedule.knobs import row_dims, tile_of
from lowering.schedule.loops import Scheduled, schedule_loops
from lowering.schedule.nest import Nest
from lowering.schedule.product import Operand, Product, k_dims, match, pack_constant
from lowering.schedule.storage import MemoryBuffer
from llvm_backend.kernel import KValue
from llvm_backend.target import Target
from runtime.dtypes import bf16, f32

_FEWEST_COLUMNS = 16  # for fewer, rounding the other factor takes longer than it saves


def schedule_pairs(nest: Nest, target: Target, name: str) -> list[Scheduled] | None:
    """The kernels of a product with weights in bf16; None for any other, or on another target."""
    if target.precision != "bf16" or "avx512bf16" not in target.features:
        return None
    product = match(nest)
    if product is None or not _fits(product) or target.panels is not None:
        return None
    rows, (tile, panel) = row_dims(product), tile_of(product, target)
    product = pack_constant(product, panel, bf16, pairs=True)
    before: list[Scheduled] = []
    if product.a.memory.dtype is not bf16:
        product, rounding = _rounded(product, target, f"{name}_round")
        before.append(rounding)
    coder = Coder(name, product.nest.domain)
    _Pairs(product, rows, tile, panel, target, coder, None).emit()
    coder.kernel.flops = 2 * product.nest.points
    return [*before, (coder.kernel, coder.memory)]


def _fits(product: Product) -> bool:
    """Weights in bf16, against numbers that lie side by side along the innermost dim of the sum."""
    a, b, v = product.a, product.b, product.vector
    if not b.is_constant or b.memory.dtype is not bf16 or a.is_constant or a.stride(v):
        return False
    if product.dtype is not f32 or a.memory.dtype not in (f32, bf16):
        return False
    dims, _ = k_dims(product)
    positive = all(a.stride(d) >= 0 for d in range(len(product.nest.domain)))
    return (positive and dims[-1].a == 1 and dims[-1].extent % 2 == 0
            and product.nest.domain[v] >= _FEWEST_COLUMNS)


def _rounded(product: Product, target: Target, name: str) -> tuple[Product, Scheduled]:
    """All that the product reads of a, from its first element to its last, as bf16."""
    a, domain = product.a, product.nest.domain
    size = 1 + sum((n - 1) * a.stride(d) for d, n in enumerate(domain))
    memory = MemoryBuffer(bf16, size, "arena")
    copy = Nest((size,), 1, E.cast(E.load(a.memory, [E.index(0) + a.offset]), bf16), None, None,
                memory, E.index(0))
    return (replace(product, a=Operand(memory, a.strides, 0)),
            schedule_loops([copy], target, name))


class _Pairs(Contraction):
    """Steps through the sum by two; vectors of b and rows of a are of pairs."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        *outer, last = self.k
        self.k = [*outer, replace(last, extent=last.extent // 2, a=2 * last.a, b=2 * last.b)]
        self.part = Part(self.k, 0, True, True)

    def _columns(self, at: KValue | int, offset: int, j: int, mask: KValue | None) -> KValue:
        lanes = 2 * self.tile.lanes
        return self._loaded(self.b_, at, offset + j * lanes, lanes)

    def _row(self, at: KValue | int, offset: int) -> KValue:
        pair = self._loaded(self.a, at, offset, 2)
        return self.b.shuffle(pair, pair, (0, 1) * self.tile.lanes)

    def _loaded(self, operand: Operand, at: KValue | int, offset: int, lanes: int) -> KValue:
        return self.b.load(self.coder.parameter(operand.memory), at, lanes, offset)

    def _multiply_add(self, x: KValue, y: KValue, acc: KValue) -> KValue:
        return self.b.dot2(x, y, acc)
