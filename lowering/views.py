"""Views: index maps between a tensor and the one it looks into.

A View knows where each of its elements lies in the base. Reading through it is one Generic; writing
through it gives the base a new value, which is how in-place operators on views are settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from lowering import build as B
from lowering import expr as E
from lowering.broadcasting import may_stretch, position
from lowering.expr import Expr
from lowering.index_algebra import IndexAlgebra, contiguous_strides, delinearize, linearize
from lowering.tensor_ir import Shape, Value


@dataclass(frozen=True)
class View:
    """Element i of the view is base[index(i)]; `inverse`, where the view is a bijection, tells for
    base element j which view element it is. A view with neither inverse nor injectivity (expand)
    cannot be written through."""

    base_shape: Shape
    shape: Shape
    index: tuple[Expr, ...]
    inverse: tuple[Expr, ...] | None = None
    writable: bool = True

    def get(self, base: Value) -> Value:
        return B.reindex(base, self.shape, lambda *i: [E.substitute(e, i) for e in self.index])

    def put(self, base: Value, x: Value) -> Value:
        """The base's value after x was written through the view."""
        if self.inverse is not None:
            return B.reindex(x, self.base_shape,
                             lambda *i: [E.substitute(e, i) for e in self.inverse])
        if not self.writable:
            raise ValueError("more than one element of the written-to tensor refers to a single "
                             "memory location: clone() the tensor before the in-place operation")
        return B.update(base, self.shape, lambda *i: [E.substitute(e, i) for e in self.index],
                        lambda *i: E.load(x, i))

    def strides(self, base_strides: Sequence[int]) -> tuple[int, ...] | None:
        """Strides of the view in the base's storage, None where no strides can express it.
        Dims of size 1 get the stride they would have if contiguous."""
        algebra = IndexAlgebra(self.shape)
        terms, _ = algebra.affine(linearize(self.index, base_strides))
        if any(atom.op != "index" for atom in terms):
            return None
        found = {atom.attr: k for atom, k in terms.items()}
        dense = contiguous_strides(self.shape)
        return tuple(
            found.get(k, 0) if n != 1 else dense[k] for k, n in enumerate(self.shape)
        )


def reshape(base: Sequence[int], shape: Sequence[int]) -> View:
    """Same elements in row-major order. `shape` may hold one -1. ValueError if it does not fit."""
    base, shape = tuple(base), list(shape)
    total = _product(base)
    if -1 in shape:
        rest = _product(n for n in shape if n != -1)
        shape[shape.index(-1)] = total // rest if rest else 0
    shape = tuple(shape)
    if _product(shape) != total or any(n < 0 for n in shape):
        raise ValueError(f"shape '{list(shape)}' is invalid for input of size {total}")
    return View(base, shape, _flat_map(shape, base), _flat_map(base, shape))


def _flat_map(domain: Shape, target: Shape) -> tuple[Expr, ...]:
    """For each index of the domain the one of the target with the same row-major position."""
    if 0 in domain:
        return tuple(E.const(0) for _ in target)
    first, last = _common_ends(domain, target)  # dims that are the same need no arithmetic: what
    i = E.identity(len(domain))  # is known of a size of run time may not do for it
    inner, given = domain[first:len(domain) - last], i[first:len(domain) - last]
    flat = linearize(given, contiguous_strides(inner))
    algebra = IndexAlgebra(domain)
    found = (algebra.simplify(e) for e in delinearize(flat, target[first:len(target) - last]))
    return (*i[:first], *found, *i[len(domain) - last:])


def _common_ends(a: Shape, b: Shape) -> tuple[int, int]:
    """How many dims the shapes share at the front, and how many others at the back."""
    first = last = 0
    while first < min(len(a), len(b)) and a[first] == b[first]:
        first += 1
    while last < min(len(a), len(b)) - first and a[-1 - last] == b[-1 - last]:
        last += 1
    return first, last


def permute(base: Sequence[int], order: Sequence[int]) -> View:
    """Dim k of the view is dim order[k] of the base."""
    base = tuple(base)
    at = {d: k for k, d in enumerate(order)}
    return View(base, tuple(base[d] for d in order),
                tuple(E.index(at[d]) for d in range(len(base))),
                tuple(E.index(d) for d in order))


def slice_(base: Sequence[int], starts: Sequence[int], sizes: Sequence[int],
           steps: Sequence[int]) -> View:
    """Element i of the view is base[starts + i * steps]."""
    base = tuple(base)
    return View(base, tuple(sizes),
                tuple(E.index(k) * t + s for k, (s, t) in enumerate(zip(starts, steps))))


def narrow(base: Sequence[int], dim: int, start: int, size: int, step: int = 1) -> View:
    """A slice of one dim."""
    n = len(base)
    return slice_(base, [start if k == dim else 0 for k in range(n)],
                  [size if k == dim else base[k] for k in range(n)],
                  [step if k == dim else 1 for k in range(n)])


def select(base: Sequence[int], dim: int, position: int) -> View:
    """One position of a dim, which disappears."""
    base = tuple(base)
    kept = [k for k in range(len(base)) if k != dim]
    at = {k: n for n, k in enumerate(kept)}
    return View(base, tuple(base[k] for k in kept),
                tuple(E.const(position) if k == dim else E.index(at[k]) for k in range(len(base))))


def expand(base: Sequence[int], shape: Sequence[int]) -> View:
    """Broadcast to `shape` (-1 keeps a size). ValueError if it does not fit."""
    base, shape = tuple(base), list(shape)
    skip = len(shape) - len(base)
    for k, n in enumerate(base):
        if shape[k + skip] == -1:
            shape[k + skip] = n
        if n not in (1, shape[k + skip]) and not may_stretch(n, shape[k + skip]):
            raise ValueError(f"The expanded size of the tensor ({shape[k + skip]}) must match the "
                             f"existing size ({n}) at non-singleton dimension {k + skip}")
    index = tuple(position(E.index(k + skip), n, shape[k + skip]) for k, n in enumerate(base))
    return View(base, tuple(shape), index, None, tuple(shape) == (1,) * skip + base)


def diagonal(base: Sequence[int], offset: int, dim1: int, dim2: int) -> View:
    """The diagonal of two dims, as the last dim."""
    base = tuple(base)
    kept = [k for k in range(len(base)) if k not in (dim1, dim2)]
    row, column = max(-offset, 0), max(offset, 0)
    size = max(min(base[dim1] - row, base[dim2] - column), 0)
    last = E.index(len(kept))
    at = {k: n for n, k in enumerate(kept)}
    index = tuple(last + row if k == dim1 else last + column if k == dim2 else E.index(at[k])
                  for k in range(len(base)))
    return View(base, (*(base[k] for k in kept), size), index)


def unfold(base: Sequence[int], dim: int, size: int, step: int) -> View:
    """Windows of one dim, as a new last dim; overlapping windows cannot be written through."""
    base = tuple(base)
    count = (base[dim] - size) // step + 1
    n = len(base)
    index = tuple(E.index(k) * step + E.index(n) if k == dim else E.index(k) for k in range(n))
    return View(base, (*(count if k == dim else base[k] for k in range(n)), size), index, None,
                step >= size)


def _product(sizes) -> int:
    n = 1
    for s in sizes:
        n *= s
    return n
