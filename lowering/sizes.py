"""Sizes that are known only when the program runs.

One dim of a Value may be a `Size` instead of an int: how many rows a mask selects, how many numbers
are not zero. In memory it is the outermost dim, so strides stay numbers and only an extent varies.
Where a run has no rows, memory holds one of zeros, so that a position held within bounds can be
read; the value read must not matter.

A Size answers what is true whatever it turns out to be, takes the general path where code asks
whether there is anything at all, and refuses everything else (`Unsupported`): code that needs
a number fails while the program is built, never when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowering.tensor_ir import Value


class Unsupported(ValueError):
    """Right in PyTorch, but not something that we compile. The message says what would be."""


class Size:
    """`factor` (at least 1) times the number in `value`, a 0-d i64 Value that is never negative.

    Passes that replace the value by an equal one change `value` in place: the shapes that hold this
    object follow."""

    __slots__ = ("value", "factor")

    def __init__(self, value: Value, factor: int = 1):
        self.value, self.factor = value, factor

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Size):
            return self.factor == other.factor and _same(self.value, other.value, _DEPTH)
        return False

    def __hash__(self) -> int:
        return hash(("size", self.factor))  # not of the value, which may be replaced

    def __repr__(self) -> str:
        return self.value.name if self.factor == 1 else f"{self.factor}*{self.value.name}"

    def __bool__(self) -> bool:
        return True

    def __mul__(self, other: object) -> Size | int:
        if isinstance(other, Size):
            self._refuse("multiplied by another one")
        return Size(self.value, self.factor * other) if other else 0

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> Size | int:
        if isinstance(other, Size) and _same(self.value, other.value, _DEPTH):
            if self.factor % other.factor == 0:  # 0 // 0 rows of something are its rows
                return self.factor // other.factor
        elif isinstance(other, int) and other > 0 and self.factor % other == 0:
            return Size(self.value, self.factor // other)
        return self._refuse("divided")

    def __mod__(self, other: object) -> int:
        if isinstance(other, int) and other > 0 and self.factor % other == 0:
            return 0
        return self._refuse("divided")

    def __lt__(self, other: object) -> bool:
        return self._beside(other, other in (0, 1), False)

    def __le__(self, other: object) -> bool:
        return self == other or self._beside(other, other == 0, False)

    def __gt__(self, other: object) -> bool:
        return self._beside(other, other in (-1, 0), True)

    def __ge__(self, other: object) -> bool:
        return self == other or self._beside(other, other in (-1, 0, 1), True)

    def _beside(self, other: object, told: bool, answer: bool) -> bool:
        """The answer of a comparison with 0 or 1, where it means: is there anything?"""
        if told or self == other:
            return answer and self != other
        self._refuse(f"compared with {other}")
        return False

    def _refuse(self, done: str, *_: object) -> int:
        raise Unsupported(f"a size that is known only at run time cannot be {done} here: the "
                          "operator needs to know it when it is compiled")

    def __add__(self, other: object) -> Size | int:
        return self if isinstance(other, int) and other == 0 else self._refuse("added to")

    __radd__ = __add__

    def __sub__(self, other: object) -> Size | int:
        if isinstance(other, int) and other == 0:
            return self
        return 0 if self == other else self._refuse("subtracted from")

    def __rsub__(self, other: object) -> int:
        return self._refuse("subtracted")

    def __rfloordiv__(self, other: object) -> int:
        return self._refuse("divided by")

    def __truediv__(self, other: object) -> int:
        return self._refuse("divided")

    def __rtruediv__(self, other: object) -> int:
        return self._refuse("divided by")

    def __neg__(self) -> int:
        return self._refuse("negated")

    def __index__(self) -> int:
        return self._refuse("taken as a number")

    def __int__(self) -> int:
        return self._refuse("taken as a number")

    def __float__(self) -> float:
        return float(self._refuse("taken as a number"))


def is_dynamic(shape) -> bool:
    """Whether a dim is known only at run time."""
    return any(type(n) is Size for n in shape)


def dynamic_dim(shape) -> int:
    """The dim that is known only at run time."""
    return next(d for d, n in enumerate(shape) if type(n) is Size)


def size_values(shape) -> list[Value]:
    """The 0-d Values that a shape depends on."""
    return [n.value for n in shape if type(n) is Size]


def nominal(shape) -> int:
    """How many elements, where cost models ask: a Size is taken as _NOMINAL."""
    n = 1
    for extent in shape:
        n *= _NOMINAL * extent.factor if type(extent) is Size else extent
    return n


_NOMINAL = 64
_DEPTH = 8  # ops between a size and what it is computed from


def _same(a: Value, b: Value, depth: int) -> bool:
    """Whether two Values surely hold equal numbers: x[m] + x[m] counts m twice."""
    if a is b:
        return True
    p, q = a.op, b.op
    if depth == 0 or type(p) is not type(q) or a.shape != b.shape or a.dtype is not b.dtype:
        return False
    if getattr(p, "combiner", p) != getattr(q, "combiner", q) or not hasattr(p, "post"):
        return False
    return (p.domain == q.domain and p.parallel == q.parallel and p.write is q.write is None
            and _same_expr(p.body, q.body, depth) and _same_expr(p.post, q.post, depth))


def _same_expr(x, y, depth: int) -> bool:
    if x is None or y is None or x == y:
        return x == y
    if x.op != y.op or x.dtype is not y.dtype or len(x.args) != len(y.args):
        return False
    if x.op == "load":
        if not _same(x.attr, y.attr, depth - 1):
            return False
    elif x.attr != y.attr:
        return False
    return all(_same_expr(u, v, depth) for u, v in zip(x.args, y.args))
