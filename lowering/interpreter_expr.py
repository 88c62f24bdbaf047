"""Evaluates scalar expressions at all points of a block of loop indices, with numpy.

Every array has one axis a loop dim, of extent 1 where it does not depend on that dim, so that numpy
broadcasting forms the block. A load whose indices are affine is a strided window on the tensor; an
index that is not is taken by numpy's gather, one tensor dim at a time where the dims do not share
loop indices.
"""

from __future__ import annotations

import numpy as np

from lowering import interpreter_scalar as scalar
from lowering.expr import Expr, walk
from lowering.index_algebra import IndexAlgebra
from lowering.sizes import is_dynamic
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bf16
from runtime.errors import RuntimeFailure

Array = np.ndarray
Env = dict[Value, Array]
Form = tuple[dict[int, int], int]  # sum of coefficient * local index, plus a constant


class IndexForms:
    """The affine forms of index expressions over one op's domain, shared by all its blocks."""

    def __init__(self, domain: tuple[int, ...]):
        self._algebra = IndexAlgebra(tuple(domain))
        self._forms: dict[Expr, Form | None] = {}

    def affine(self, e: Expr) -> Form | None:
        """Coefficients a loop dim and the constant; None if e is no affine map of loop indices."""
        if e not in self._forms:
            terms, c = self._algebra.affine(e)
            known = all(atom.op == "index" for atom in terms)
            self._forms[e] = ({a.attr: k for a, k in terms.items()}, c) if known else None
        return self._forms[e]


class Block:
    """One block of a domain: lo[k] <= index(k) < lo[k] + extents[k]."""

    def __init__(self, forms: IndexForms, lo: tuple[int, ...], extents: tuple[int, ...], env: Env,
                 acc: Array | None = None):
        self.forms, self.lo, self.extents, self.env, self.acc = forms, lo, extents, env, acc
        self.rank = len(extents)
        self._memo: dict[Expr, Array] = {}

    def evaluate(self, e: Expr) -> Array:
        """e as an array of rank `rank`, extent 1 in dims it does not depend on."""
        found = self._memo.get(e)
        if found is None:
            found = self._memo[e] = self._evaluate(e)
        return found

    def full(self, e: Expr) -> Array:
        """e broadcast to the whole block."""
        return np.broadcast_to(self.evaluate(e), self.extents)

    def _evaluate(self, e: Expr) -> Array:
        if e.op == "const":
            return self._number(e.attr, e.dtype)
        if e.op == "index":
            return self._affine({e.attr: 1}, self.lo[e.attr])
        if e.op == "load":
            return self._load(e)
        if e.op == "acc":
            assert self.acc is not None, "acc outside of post"
            return self.acc
        args = [self.evaluate(a) for a in e.args]
        if e.op == "select":
            return np.where(*args)
        if e.op == "cast":
            return scalar.cast(args[0], e.args[0].dtype, e.dtype)
        if e.op == "bitcast":
            return scalar.bitcast(args[0], e.args[0].dtype, e.dtype)
        if len(args) == 1:
            return scalar.UNARY[e.op](args[0])
        return scalar.BINARY[e.op](*args)

    def _number(self, value, dtype: DType) -> Array:
        if dtype is bf16:
            number = scalar.cast(np.array(value, np.float64), None, bf16)
        elif dtype.is_integer:
            bits = dtype.bits
            value &= (1 << bits) - 1
            if dtype.kind == "i" and value >> (bits - 1):
                value -= 1 << bits
            number = np.array(value, dtype.compute)
        else:
            number = np.array(value, dtype.compute)
        return number.reshape((1,) * self.rank)

    def _affine(self, terms: dict[int, int], start: int) -> Array:
        """start + sum of coefficient * local index."""
        out = np.full((1,) * self.rank, start, np.int64)
        for k, c in terms.items():
            steps = np.arange(self.extents[k], dtype=np.int64) * c
            out = out + steps.reshape([-1 if d == k else 1 for d in range(self.rank)])
        return out

    def local_form(self, e: Expr) -> Form | None:
        """The affine form over indices that count from the block's first point."""
        form = self.forms.affine(e)
        if form is None:
            return None
        return form[0], form[1] + sum(c * self.lo[k] for k, c in form[0].items())

    def _load(self, e: Expr) -> Array:
        x = self.env[e.attr]
        if not e.args:
            return x.reshape((1,) * self.rank)
        if x.size == 0 and is_dynamic(e.attr.shape):  # a position held within bounds, not used
            return np.zeros((1,) * self.rank, x.dtype)
        if 0 in self.extents:
            depends = _indices(e)
            shape = [n if k in depends else 1 for k, n in enumerate(self.extents)]
            return np.zeros(shape, x.dtype)
        forms = [self.local_form(a) for a in e.args]
        if None not in forms:
            return self.window(x, forms, e)
        x, forms = self._take_separable(x, e, forms)
        if None not in forms:
            return self.window(x, forms, e)
        at = []
        for n, form, a in zip(x.shape, forms, e.args):
            indices = self.evaluate(a) if form is None else self._affine(*form)
            _check_bounds(indices, n, e)
            at.append(indices)
        return x[tuple(at)]

    def _take_separable(self, x: Array, e: Expr, forms: list[Form | None]):
        """Gathers along each dim whose index shares no loop index with another dim's."""
        depends = [_indices(a) for a in e.args]
        shared: list[set[int]] = [
            set().union(*(depends[j] for j in range(len(depends)) if j != d))
            for d in range(len(depends))
        ]
        if any(f is None and depends[d] & shared[d] for d, f in enumerate(forms)):
            return x, forms
        axis, out = 0, []
        for d, form in enumerate(forms):
            if form is not None:
                out.append(form)
                axis += 1
                continue
            indices = self.evaluate(e.args[d])
            _check_bounds(indices, x.shape[axis], e)
            loops = [k for k, n in enumerate(indices.shape) if n != 1]
            compact = indices.reshape([indices.shape[k] for k in loops] or [1])
            x = np.take(x, compact, axis=axis, mode="clip")
            out += [({k: 1}, 0) for k in loops] or [({}, 0)]
            axis += max(len(loops), 1)
        return x, out

    def window(self, x: Array, forms: list[Form], what: object, writeable: bool = False) -> Array:
        """x at affine indices, without a copy."""
        strides, offset = [0] * self.rank, [0] * x.ndim
        used: set[int] = set()
        for d, (terms, c) in enumerate(forms):
            low = high = c
            for k, coefficient in terms.items():
                reach = coefficient * (self.extents[k] - 1)
                low, high = low + min(reach, 0), high + max(reach, 0)
                strides[k] += coefficient * x.strides[d]
                used.add(k)
            if low < 0 or high >= x.shape[d]:
                raise RuntimeFailure(
                    f"index out of bounds: {what!r} reads {low} to {high} of a dim of size "
                    f"{x.shape[d]}"
                )
            offset[d] = c
        shape = [n if k in used else 1 for k, n in enumerate(self.extents)]
        start = x[tuple(slice(c, None) for c in offset)]
        return np.lib.stride_tricks.as_strided(start, shape, strides, writeable=writeable)


def _indices(e: Expr) -> set[int]:
    return {x.attr for x in walk(e) if x.op == "index"}


def _check_bounds(indices: Array, size: int, what: Expr) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise RuntimeFailure(
            f"index out of bounds: an index from {indices.min()} to {indices.max()} into a dim of "
            f"size {size} ({what.attr!r})"
        )
