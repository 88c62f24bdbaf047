"""Deformable convolution (Dai et al. 2017; with a mask, Zhu et al. 2019).

What each tap of the kernel reads, somewhere between pixels, is gathered first; the rest is one
contraction, as an ordinary convolution's.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.build import cast, compute, compute_dtype, generic
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import i64


@aten("deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
      "int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, "
      "int groups, int offset_groups, bool use_mask) -> Tensor", namespace="torchvision")
def deform_conv2d(x, weight, offset, mask, bias, stride_h, stride_w, pad_h, pad_w, dilation_h,
                  dilation_w, groups, offset_groups, use_mask):
    """x (n, c, h, w), weight (o, c / groups, kh, kw), bias (o). offset (n, 2 * offset_groups * kh *
    kw, oh, ow) moves each tap by rows and columns, mask (n, offset_groups * kh * kw, oh, ow) scales
    it. Outside the image there are zeros."""
    n, channels, height, width = x.shape
    out, each, kh, kw = weight.shape
    oh = (height + 2 * pad_h - (dilation_h * (kh - 1) + 1)) // stride_h + 1
    ow = (width + 2 * pad_w - (dilation_w * (kw - 1) + 1)) // stride_w + 1
    _check(x, weight, offset, mask if use_mask else None, (oh, ow), groups, offset_groups)
    dtype = compute_dtype(x.dtype)
    share = channels // offset_groups

    def place(b: Expr, g: Expr, i: Expr, j: Expr, p: Expr, q: Expr, axis: int) -> Expr:
        moved = E.load(offset, [b, ((g * kh + i) * kw + j) * 2 + axis, p, q])
        start = (p * stride_h - pad_h + i * dilation_h) if axis == 0 else (
            q * stride_w - pad_w + j * dilation_w)
        return E.cast(start, dtype) + E.cast(moved, dtype)

    shape = (n, offset_groups, kh, kw, oh, ow)
    rows, columns = (compute(shape, lambda *i, a=a: place(*i, a)) for a in (0, 1))

    def tap(b: Expr, c: Expr, i: Expr, j: Expr, p: Expr, q: Expr) -> Expr:
        at = (b, c // share, i, j, p, q)
        value = _between(x, b, c, E.load(rows, at), E.load(columns, at))
        if not use_mask:
            return value
        return value * E.cast(E.load(mask, [b, ((c // share) * kh + i) * kw + j, p, q]), dtype)

    # Positions first: the contraction then reads rows of them.
    gathered = compute((n, oh, ow, channels, kh, kw), lambda b, p, q, c, i, j: tap(
        b, c, i, j, p, q))
    per = out // groups

    def product(b: Expr, o: Expr, p: Expr, q: Expr, c: Expr, i: Expr, j: Expr) -> Expr:
        channel = c if groups == 1 else (o // per) * each + c
        return E.load(gathered, [b, p, q, channel, i, j]) * E.cast(
            E.load(weight, [o, c, i, j]), dtype)

    index = E.identity(7)
    total = E.acc(dtype) + E.cast(E.load(bias, [index[1]]), dtype)
    result = generic((n, out, oh, ow, each, kh, kw), 4, product(*index), "add", total)
    return cast(result, x.dtype)


def _check(x: Value, weight: Value, offset: Value, mask: Value | None, size: tuple[int, int],
           groups: int, offset_groups: int) -> None:
    """RuntimeError where the shapes do not fit."""
    out, each, kh, kw = weight.shape
    channels, taps = x.shape[1], kh * kw
    if each * groups != channels:
        raise RuntimeError(f"input.shape[1] ({channels}) must be weight.shape[1] * groups "
                           f"({each} * {groups})")
    if out % groups or channels % offset_groups:
        raise RuntimeError("channels must be a multiple of the number of groups")
    for name, t, many in (("offset", offset, 2 * offset_groups * taps),
                          ("mask", mask, offset_groups * taps)):
        if t is not None and t.shape != (x.shape[0], many, *size):
            raise RuntimeError(f"{name} must have the shape {[x.shape[0], many, *size]}, got "
                               f"{list(t.shape)}")


def _between(x: Value, b: Expr, c: Expr, y: Expr, z: Expr) -> Expr:
    """x at the real position (y, z), linear between its pixels, zero outside the image."""
    height, width = x.shape[2:]
    y0, z0 = E.unary("floor", y), E.unary("floor", z)
    v, u = y - y0, z - z0

    def read(row: Expr, column: Expr) -> Expr:
        held = [E.minimum(E.maximum(E.cast(E.minimum(E.maximum(a, 0), m - 1), i64), 0), m - 1)
                for a, m in ((row, height), (column, width))]
        inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
        return E.select(inside, E.cast(E.load(x, [b, c, *held]), y.dtype), E.const(0, y.dtype))

    return ((1 - v) * (1 - u) * read(y0, z0) + (1 - v) * u * read(y0, z0 + 1)
            + v * (1 - u) * read(y0 + 1, z0) + v * u * read(y0 + 1, z0 + 1))
