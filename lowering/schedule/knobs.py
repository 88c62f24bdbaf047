"""Knobs: what is chosen of a product's schedule, a row of numbers; by the cost model or measured.

The cost model (tiles.py, sum_blocks.py) chooses unless the target has choices that were measured.
`candidates` are other rows of knobs for the same product, those that the model likes best first.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Protocol

from lowering import expr as E
from lowering.schedule.product import Product
from lowering.schedule.sum_blocks import block_of_sum, can_be_divided, sum_dims
from lowering.schedule.tiles import Tile, choose_tile, ranked_tiles, tile_and_panel
from lowering.sizes import nominal
from llvm_backend.target import Target

_NUMBERS = 6  # of a row
_LINE = 64  # bytes of a cache line
_SUM_BLOCKS = (0, 256, 512, 1024)


@dataclass(frozen=True)
class Knobs:
    """The register tile; the columns that packed weights have side by side; the steps of a block
    of the sum, 0 where it is not divided."""

    tile: Tile
    panel: int
    sum_block: int

    def row(self) -> tuple[int, ...]:
        """As numbers: outer, inner, vectors, lanes, panel, sum_block."""
        return *astuple(self.tile), self.panel, self.sum_block

    @staticmethod
    def of_row(row: tuple[int, ...]) -> Knobs:
        return Knobs(Tile(*row[:4]), *row[4:])

    def __str__(self) -> str:
        t = self.tile
        rows = f"{t.outer}x{t.inner}" if t.outer > 1 else f"{t.inner}"
        return f"{rows} rows, {t.vectors}x{t.lanes} columns" + (
            f", sums of {self.sum_block}" if self.sum_block else "")


class Choices(Protocol):
    """Where measured knobs come from: Target.choices."""

    def find(self, product: Product) -> Knobs | None:
        """Those of the product, None where there are none."""


class Measured:
    """Choices by the text of the product."""

    def __init__(self, rows: dict[str, tuple[int, ...]]):
        self.rows = rows

    def find(self, product: Product) -> Knobs | None:
        row = self.rows.get(product_text(product))
        return Knobs.of_row(row) if row is not None and len(row) == _NUMBERS else None


class Seen:
    """No choices: keeps the products that it is asked for, by their texts."""

    def __init__(self) -> None:
        self.products: dict[str, Product] = {}

    def find(self, product: Product) -> None:
        self.products.setdefault(product_text(product), product)


def product_text(product: Product) -> str:
    """What of a product its best knobs depend on: sizes, element types, and how it lies in memory;
    not what is done to the sums."""
    nest, v = product.nest, product.vector

    def operand(memory, strides, constant: bool) -> str:
        if constant:
            return f"{memory.dtype} constant"
        return f"{memory.dtype} at {','.join(str(strides(d)) for d in range(len(nest.domain)))}"

    a, b = product.a, product.b
    sizes = [f"{n}{'v' * (d == v)}" for d, n in enumerate(nest.domain)]
    loads = len(E.loads(nest.post)) if nest.post is not None else 0
    return (f"{product.dtype} {'x'.join(sizes[:nest.parallel])} sum "
            f"{'x'.join(sizes[nest.parallel:])}; {operand(a.memory, a.stride, False)}; "
            f"{operand(b.memory, b.stride, b.is_constant)}; reads {loads} more")


def knobs_of(product: Product, target: Target) -> Knobs:
    """The measured knobs that fit how weights are packed, or the cost model's."""
    if target.choices is not None:
        found = target.choices.find(product)
        if found is not None and knobs_fit(found, product, target):
            return found
    tile, panel = tile_of(product, target)
    return Knobs(tile, panel, block_of_sum(product, row_dims(product), tile, target))


def candidates(product: Product, target: Target, most: int) -> list[Knobs]:
    """Rows of knobs around those of `knobs_of`: at most so many tiles, and each way to divide the
    sum for the first."""
    first = knobs_of(product, replace(target, choices=None))
    outer, inner, columns, runs = _extents(product)
    panel = _panel(product, target, 0)
    tiles = ranked_tiles(outer, inner, columns, first.tile.lanes, runs, target, panel,
                         _apart(product))
    found = [first]
    for tile in tiles:
        if len(found) == most:
            break
        if tile != first.tile:
            found.append(Knobs(tile, panel or tile.width, first.sum_block))
    if _divisible(product):
        steps = sum_dims(product)[0].extent
        found += [replace(first, sum_block=n) for n in _SUM_BLOCKS
                  if n != first.sum_block and n < steps]
    return found


def knobs_fit(knobs: Knobs, product: Product, target: Target) -> bool:
    """Whether a schedule can be made with them: a row may come from a file. A panel that another
    CPU's code packs is as that one has it."""
    tile, size, columns = knobs.tile, knobs.sum_block, product.nest.domain[product.vector]
    lanes = min(target.lanes(product.dtype.bytes), _power_of_two(columns))
    if min(tile.outer, tile.inner, tile.vectors) < 1 or tile.lanes != lanes:
        return False
    if tile.rows * tile.vectors > 2 * target.vector_registers or knobs.panel % tile.width:
        return False
    if knobs.panel != _panel(product, target, tile.width):
        return False
    return size == 0 or _divisible(product) and 4 <= size < sum_dims(product)[0].extent


def tile_of(product: Product, target: Target) -> tuple[Tile, int]:
    """The cost model's register tile, and the columns of a panel of packed weights."""
    outer, inner, columns, runs = _extents(product)

    def choose(row: Target, panel: int) -> Tile:
        lanes = min(row.lanes(product.dtype.bytes), _power_of_two(columns))
        return choose_tile(outer, inner, columns, lanes, runs, row, panel, _apart(product))

    return tile_and_panel(choose, product.b.is_constant, target)


def row_dims(product: Product) -> list[int]:
    """Up to two dims that tile rows: those of a only, by the store, innermost last."""
    rows = [d for d in range(product.nest.parallel)
            if d != product.vector and product.a.stride(d) and not product.b.stride(d)]
    return rows[-2:]


def _divisible(product: Product) -> bool:
    return bool(row_dims(product)) and can_be_divided(product)


def _panel(product: Product, target: Target, otherwise: int) -> int:
    """The columns of a panel where another row's packing is read."""
    if product.b.is_constant and target.panels is not None:
        return knobs_of(product, target.panels).tile.width
    return otherwise


def _extents(product: Product) -> tuple[int, int, int, bool]:
    """Outer and inner rows, columns, and whether a runs along them."""
    rows = [product.nest.domain[d] for d in row_dims(product)]
    v = product.vector
    return (rows[0] if len(rows) > 1 else 1, rows[-1] if rows else 1, product.nest.domain[v],
            product.a.stride(v) == 1)


def _apart(product: Product) -> int:
    """Bytes between rows of a that are read along, 0 where they are not."""
    a, rows = product.a, row_dims(product)
    distance = abs(nominal(a.stride(rows[-1]))) if rows else 0
    longest = max((nominal(product.nest.domain[d]) for d in product.reduced if a.stride(d) == 1),
                  default=0)
    return distance * a.memory.dtype.bytes if longest * a.memory.dtype.bytes > _LINE else 0


def _power_of_two(n: int) -> int:
    return 1 << max(nominal(n) - 1, 0).bit_length()
