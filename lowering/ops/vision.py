"""Rearrangements of images: pixels to channels and back, shuffled channels, windows as columns."""

from __future__ import annotations

import math

from lowering import expr as E
from lowering import views
from lowering.build import check, compute, compute_dtype, generic, reindex
from lowering.expr import Expr
from lowering.ops.padding import pad_constant
from lowering.ops.table import aten
from lowering.sizes import Size
from runtime.dtypes import i64


@aten("pixel_shuffle(Tensor self, int upscale_factor) -> Tensor")
def pixel_shuffle(x, r):
    """(..., c * r * r, h, w) -> (..., c, h * r, w * r)."""
    if x.ndim < 3:
        raise RuntimeError("pixel_shuffle expects input to have at least 3 dimensions, but got "
                           f"input with {x.ndim} dimension(s)")
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = x.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of"
            f" upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    return reindex(x, (*lead, c // (r * r), h * r, w * r), lambda *i: [
        *i[:n], i[n] * (r * r) + (i[n + 1] % r) * r + i[n + 2] % r, i[n + 1] // r, i[n + 2] // r
    ])


@aten("pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor")
def pixel_unshuffle(x, r):
    """(..., c, h * r, w * r) -> (..., c * r * r, h, w)."""
    if x.ndim < 3:
        raise RuntimeError("pixel_unshuffle expects input to have at least 3 dimensions, but got "
                           f"input with {x.ndim} dimension(s)")
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = x.shape
    for size, name, dim in ((h, "height", -2), (w, "width", -1)):
        left = size % r
        if isinstance(left, Size):
            check(compute((), lambda left=left: E.eq(E.lift(left, i64), 0)),
                  f"pixel_unshuffle expects {name} to be divisible by downscale_factor {r}")
        elif left:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({dim})={size} is not divisible by {r}"
            )
    n = len(lead)
    return reindex(x, (*lead, c * r * r, h // r, w // r), lambda *i: [
        *i[:n], i[n] // (r * r), i[n + 1] * r + i[n] // r % r, i[n + 2] * r + i[n] % r
    ])


@aten("channel_shuffle(Tensor self, int groups) -> Tensor",
      "native_channel_shuffle(Tensor self, int groups) -> Tensor")
def channel_shuffle(x, groups):
    """Channel g * m + k (m channels a group) goes to k * groups + g. Shape: (n, c, ...)."""
    if x.ndim < 3:
        raise RuntimeError("channel_shuffle expects input with > 2 dims, but got input with sizes "
                           f"{list(x.shape)}")
    if groups <= 0:
        raise RuntimeError("Number of groups to divide channels in must be positive. Value of "
                           f"groups:{groups}")
    if x.shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {x.shape[1]} channels and "
            f"{groups} groups."
        )
    members = x.shape[1] // groups
    return reindex(x, x.shape, lambda n, c, *s: [n, (c % groups) * members + c // groups, *s])


def _counts(size, kernel, dilation, padding, stride) -> list[int]:
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)]


def _pairs(*values) -> list[list[int]]:
    return [[v, v] if isinstance(v, int) else list(v) * (2 if len(v) == 1 else 1) for v in values]


def _check_positive(kernel, dilation, padding, stride) -> None:
    for values, name in ((kernel, "kernel size"), (stride, "stride"), (dilation, "dilation")):
        if min(values) <= 0:
            letter = name.partition(" ")[0]
            raise RuntimeError(f"{name} should be greater than zero, but got {letter}_height: "
                               f"{values[0]} {letter}_width: {values[1]}")
    if min(padding) < 0:
        raise RuntimeError(f"padding should be non-negative, but got pad_height: {padding[0]} "
                           f"pad_width: {padding[1]}")


@aten("im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) "
      "-> Tensor")
def im2col(x, kernel, dilation, padding, stride):
    """Windows as columns: (n, c, h, w) -> (n, c * kh * kw, windows)."""
    kernel, dilation, padding, stride = _pairs(kernel, dilation, padding, stride)
    _check_positive(kernel, dilation, padding, stride)
    if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(x.shape)}"
        )
    lead, size = x.shape[:-2], x.shape[-2:]
    out = _counts(size, kernel, dilation, padding, stride)
    if any(n <= 0 for n in out):
        raise RuntimeError(
            f"Given input with spatial size ({size[0]}, {size[1]}), kernel_size=({kernel[0]}, "
            f"{kernel[1]}), dilation=({dilation[0]}, {dilation[1]}), padding=({padding[0]}, "
            f"{padding[1]}), calculated shape of the array of "
            f"sliding blocks as ({out[0]}, {out[1]}), but its components must be at least one."
        )
    none = [0] * len(lead)
    x = pad_constant(x, none + padding, none + padding)

    def body(*i: Expr) -> Expr:
        tap, at = i[-4:-2], i[-2:]
        window = [p * s + k * d for p, s, k, d in zip(at, stride, tap, dilation)]
        return E.load(x, [*i[:-4], *window])

    y = compute((*lead, *kernel, *out), body)
    shape = (*lead[:-1], lead[-1] * math.prod(kernel), math.prod(out))
    return views.reshape(y.shape, shape).get(y)


@aten("col2im(Tensor self, int[2] output_size, int[2] kernel_size, int[2] dilation, int[2] "
      "padding, int[2] stride) -> Tensor")
def col2im(x, output_size, kernel, dilation, padding, stride):
    """Sums columns back into the windows they came from: (n, c * kh * kw, windows) ->
    (n, c, h, w). Every pixel looks up the taps that cover it."""
    size, kernel, dilation, padding, stride = _pairs(output_size, kernel, dilation, padding, stride)
    _check_positive(kernel, dilation, padding, stride)
    out = _counts(size, kernel, dilation, padding, stride)
    if x.ndim not in (2, 3):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(x.shape)}"
        )
    if x.shape[-2] % math.prod(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={x.shape[-2]} and kernel_size=({kernel[0]}, {kernel[1]})."
        )
    if x.shape[-1] != math.prod(out):
        raise RuntimeError(
            f"Given output_size=({size[0]}, {size[1]}), kernel_size=({kernel[0]}, {kernel[1]}), "
            f"dilation=({dilation[0]}, {dilation[1]}), padding=({padding[0]}, {padding[1]}), "
            f"stride=({stride[0]}, {stride[1]}), expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {out[0]} * {out[1]} = {math.prod(out)}, but got "
            f"input.size(2)={x.shape[-1]}."
        )
    lead = (*x.shape[:-2], x.shape[-2] // math.prod(kernel))
    columns = views.reshape(x.shape, (*lead, *kernel, *out)).get(x)
    n = len(lead)
    covers: Expr | None = None
    at: list[Expr] = []
    for k in range(2):
        reach = E.index(n + k) + padding[k] - E.index(n + 2 + k) * dilation[k]
        inside = (reach >= 0) & (reach < out[k] * stride[k])
        if stride[k] > 1:
            inside = inside & E.eq(reach % stride[k], 0)
        covers = inside if covers is None else covers & inside
        at.append(E.minimum(E.maximum(reach // stride[k], 0), out[k] - 1))
    working = compute_dtype(x.dtype)
    element = E.load(columns, [*E.identity(n), E.index(n + 2), E.index(n + 3), *at])
    body = E.select(covers, E.cast(element, working), E.const(0, working))
    post = None if working is x.dtype else E.cast(E.acc(working), x.dtype)
    return generic((*lead, *size, *kernel), n + 2, body, "add", post)
