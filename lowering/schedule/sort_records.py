"""What a sort moves about: records of i64 that no two elements share.

A record is the element's key, an integer that orders as the values do (NaN greatest, -0.0 equal
to 0.0), and its position. Keys of up to 32 bits share one i64 with it (key * 2^32 + position);
64-bit keys have the position in an i64 of their own. Since positions differ, no two records are
equal, and any way of sorting them is stable. The values themselves are read again at the end.
"""

from __future__ import annotations

from typing import Sequence

from llvm_backend.kernel import Buffer, KernelBuilder, KValue
from runtime.dtypes import DType, bf16, f16, f32, i32, i64

Record = list[KValue]
_LAST = (1 << 63) - 1


class Records:
    """Builds, compares, loads and stores the records of one dtype."""

    def __init__(self, b: KernelBuilder, dtype: DType, descending: bool):
        self.b, self.dtype, self.descending = b, dtype, descending
        self.words = 1 if dtype.bits <= 32 else 2

    def make(self, x: KValue, position: KValue) -> Record:
        """The records of elements x at those positions."""
        key = self._key(x)
        if self.descending:
            key = self.b.unary("not", key)
        if self.words == 2:
            return [key, position]
        key = self.b.binary("shl", self.b.cast(key, i64), self.b.const(32, i64, x.lanes))
        return [self.b.binary("or", key, position)]

    def _key(self, x: KValue) -> KValue:
        """A signed integer that orders as x does. The bits of a float order as an integer once
        those below the sign are flipped in negative numbers."""
        b = self.b
        if not x.dtype.is_float:
            return b.cast(x, i64)
        if x.dtype in (f16, bf16):
            x = b.cast(x, f32)
        word = i32 if x.dtype is f32 else i64
        largest = (1 << (word.bits - 1)) - 1
        x = b.binary("add", x, b.const(0.0, x.dtype, x.lanes))  # -0.0 + 0.0 is 0.0
        bits = b.bitcast(x, word)
        sign = b.binary("shr", bits, b.const(word.bits - 1, word, x.lanes))
        flip = b.binary("and", sign, b.const(largest, word, x.lanes))
        key = b.binary("xor", bits, flip)
        return b.select(b.binary("ne", x, x), b.const(largest, word, x.lanes), key)

    def last(self, lanes: int) -> Record:
        """What sorts after every record; fills the places behind the last element."""
        return [self.b.const(_LAST, i64, lanes)] * self.words

    def position(self, record: Record) -> KValue:
        word = record[-1]
        if self.words == 2:
            return word
        return self.b.binary("and", word, self.b.const((1 << 32) - 1, i64, word.lanes))

    def less(self, a: Record, c: Record) -> KValue:
        b = self.b
        if self.words == 1:
            return b.binary("lt", a[0], c[0])
        tie = b.binary("and", b.binary("eq", a[0], c[0]), b.binary("lt", a[1], c[1]))
        return b.binary("or", b.binary("lt", a[0], c[0]), tie)

    def select(self, condition: KValue, a: Record, c: Record) -> Record:
        return [self.b.select(condition, x, y) for x, y in zip(a, c)]

    def ordered(self, a: Record, c: Record) -> tuple[Record, Record]:
        """(the lesser, the greater), lane by lane."""
        if self.words == 1:
            return [self.b.binary("min", a[0], c[0])], [self.b.binary("max", a[0], c[0])]
        less = self.less(a, c)
        return self.select(less, a, c), self.select(less, c, a)

    def load(self, scratch: Sequence[Buffer], i: KValue | int, lanes: int = 1,
             mask: KValue | None = None) -> Record:
        return [self.b.load(s, i, lanes, 0, mask) for s in scratch]

    def store(self, scratch: Sequence[Buffer], i: KValue | int, record: Record) -> None:
        for s, word in zip(scratch, record):
            self.b.store(s, i, word)

    def scatter(self, scratch: Sequence[Buffer], i: KValue, record: Record) -> None:
        for s, word in zip(scratch, record):
            if i.lanes == 1:
                self.b.store(s, i, word)
            else:
                self.b.scatter(s, i, word)

    def sort_registers(self, records: list[Record]) -> list[Record]:
        """Sorts a list of registers, each lane for itself."""
        records = list(records)
        for low, high in network(len(records)):
            records[low], records[high] = self.ordered(records[low], records[high])
        return records


def network(n: int) -> list[tuple[int, int]]:
    """Comparators (low, high) that sort n inputs: Batcher's merge exchange (Knuth, The Art of
    Computer Programming 3, 5.2.2, algorithm M), for any n."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    p = top if n > 1 else 0
    while p:
        q, r, d = top, 0, p
        while True:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return pairs

