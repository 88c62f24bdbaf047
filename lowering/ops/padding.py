"""Padding: a constant around the tensor is written by one insertion into a filled tensor; the other
modes read the tensor at mirrored, clamped or wrapped positions."""

from __future__ import annotations

from typing import Callable, Sequence

from lowering import expr as E
from lowering import views
from lowering.build import Operand, full, generic, insert, reindex
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.sizes import maximum
from lowering.tensor_ir import Value


def pad_constant(x: Value, before: Sequence[int], after: Sequence[int], fill: Operand = 0) -> Value:
    """x with `before[k]` and `after[k]` positions of `fill` at the ends of dim k; negative: x loses
    that many. A tensor that needs nothing comes back itself."""
    if not any(before) and not any(after):
        return x
    x = crop(x, [maximum(-b, 0) for b in before], [maximum(-a, 0) for a in after])
    before, after = [maximum(b, 0) for b in before], [maximum(a, 0) for a in after]
    if not any(before) and not any(after):
        return x
    shape = [b + n + a for b, n, a in zip(before, x.shape, after)]
    return insert(full(shape, fill, x.dtype), x, before)


def crop(x: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    """x without its first before[k] and last after[k] positions of dim k."""
    if not any(before) and not any(after):
        return x
    sizes = [n - b - a for b, n, a in zip(before, x.shape, after)]
    return views.slice_(x.shape, before, sizes, [1] * x.ndim).get(x)


def _per_dim(pad: Sequence[int], ndim: int) -> tuple[list[int], list[int]]:
    """before and after, per dim, of PyTorch's list, which begins with the last dim."""
    rest = [0] * (ndim - len(pad) // 2)
    return rest + list(pad[::2])[::-1], rest + list(pad[1::2])[::-1]


@aten("constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor")
def constant_pad_nd(x, pad, value=0):
    """pad: pairs (before, after) from the last dim on; negative values crop."""
    if len(pad) % 2:
        raise RuntimeError("Length of pad must be even but instead it equals " + str(len(pad)))
    if len(pad) > 2 * x.ndim:
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad "
            f"length is {len(pad)} while the input has {x.ndim} dimensions."
        )
    before, after = _per_dim(pad, x.ndim)
    for k, (b, n, a) in enumerate(zip(before, x.shape, after)):
        if b + n + a < 0 or n + min(a, 0) + min(b, 0) < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {b} and {a} resulted in a negative "
                "output size, which is invalid. Check dimension "
                f"{k} of your input."
            )
    if not x.dtype.is_float and isinstance(value, float):
        value = int(value)
    y = pad_constant(x, before, after, value)
    return generic(x.shape, x.ndim, E.load(x, E.identity(x.ndim))) if y is x else y


def _border(x: Value, pad: Sequence[int], position: Callable[[Expr, int], Expr]) -> Value:
    """Every padded dim at once: out[i] = x[position(i - before, size)]."""
    before, after = _per_dim(pad, x.ndim)
    shape = [b + n + a for b, n, a in zip(before, x.shape, after)]

    def at(*i: Expr) -> list[Expr]:
        return [
            k if b == a == 0 else position(k - b, n)
            for k, b, n, a in zip(i, before, x.shape, after)
        ]

    return reindex(x, shape, at)


def _mirrored(i: Expr, n: int) -> Expr:
    """-1 -> 1, n -> n - 2: the border itself is not repeated. |i| folded at n - 1."""
    i = E.unary("abs", i)
    return E.minimum(i, 2 * (n - 1) - i)


def _clamped(i: Expr, n: int) -> Expr:
    return E.minimum(E.maximum(i, 0), n - 1)


def _wrapped(i: Expr, n: int) -> Expr:
    return i % n


def _check_border(x: Value, pad: Sequence[int], name: str, dims: int) -> None:
    """Ranks and sizes, as all border modes want them: dims padded, plus channel and maybe batch."""
    ranks = {dims + 1: "", dims + 2: ""}
    if len(pad) != 2 * dims:
        raise RuntimeError(f"padding size is expected to be {2 * dims}, but got: {len(pad)}")
    spatial = x.shape[x.ndim - dims:] if x.ndim >= dims else ()
    if x.ndim not in ranks or 0 in x.shape[-dims - 1:]:
        raise RuntimeError(
            f"Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with possibly 0 batch size "
            f"and other non-zero dimensions for input, but got: {list(x.shape)}"
        )
    for k in range(dims):
        size, (before, after) = spatial[dims - 1 - k], pad[2 * k:2 * k + 2]
        if name == "reflection" and max(before, after) >= size:
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({before}, {after}) at dimension {x.ndim - 1 - k} of input "
                f"{list(x.shape)}"
            )
        if before + size + after < 1:
            raise RuntimeError(f"input (W: {size}) is too small. Calculated output W: "
                               f"{before + size + after}")


def _reflection(x: Value, pad: Sequence[int], dims: int) -> Value:
    _check_border(x, pad, "reflection", dims)
    return _border(x, pad, _mirrored)


def _replication(x: Value, pad: Sequence[int], dims: int) -> Value:
    _check_border(x, pad, "replication", dims)
    return _border(x, pad, _clamped)


@aten("reflection_pad1d(Tensor self, int[2] padding) -> Tensor")
def reflection_pad1d(x, padding):
    return _reflection(x, padding, 1)


@aten("reflection_pad2d(Tensor self, int[4] padding) -> Tensor")
def reflection_pad2d(x, padding):
    return _reflection(x, padding, 2)


@aten("reflection_pad3d(Tensor self, int[6] padding) -> Tensor")
def reflection_pad3d(x, padding):
    return _reflection(x, padding, 3)


@aten("replication_pad1d(Tensor self, int[2] padding) -> Tensor")
def replication_pad1d(x, padding):
    return _replication(x, padding, 1)


@aten("replication_pad2d(Tensor self, int[4] padding) -> Tensor")
def replication_pad2d(x, padding):
    return _replication(x, padding, 2)


@aten("replication_pad3d(Tensor self, int[6] padding) -> Tensor")
def replication_pad3d(x, padding):
    return _replication(x, padding, 3)


@aten("_pad_circular(Tensor self, int[] pad) -> Tensor")
def pad_circular(x, pad):
    dims = len(pad) // 2
    if len(pad) % 2 or x.ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    before, after = _per_dim(pad, x.ndim)
    for k in range(x.ndim - dims, x.ndim):
        if before[k] > x.shape[k] or after[k] > x.shape[k]:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if before[k] + x.shape[k] + after[k] < 0:
            raise RuntimeError("Negative padding value is resulting in an empty dimension")
    # What negative padding takes away does not come back around.
    x = crop(x, [max(-b, 0) for b in before], [max(-a, 0) for a in after])
    return _border(x, [max(p, 0) for p in pad], _wrapped)


_MODES = ("constant", "reflect", "replicate", "circular")


@aten('pad(Tensor self, int[] pad, str mode="constant", float? value=None) -> Tensor')
def pad_mode(x, pad, mode="constant", value=None):
    """mode: constant, reflect, replicate, circular."""
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * x.ndim:
        raise RuntimeError("Padding length should be less than or equal to two times the input "
                           f"dimension but got padding length {len(pad)} and input of dimension "
                           f"{x.ndim}")
    if mode == "constant":
        return constant_pad_nd(x, pad, 0.0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    dims = len(pad) // 2
    if dims in (1, 2, 3) and x.ndim in (dims + 1, dims + 2):
        if mode == "reflect":
            return _reflection(x, pad, dims)
        if mode == "replicate":
            return _replication(x, pad, dims)
        if mode == "circular":
            return pad_circular(x, pad)
    if mode not in _MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    raise NotImplementedError(
        f"Padding size {len(pad)} is not supported for {x.ndim}D input tensor."
    )
