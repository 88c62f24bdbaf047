"""Transposed convolution, as an ordinary one over the input as it is.

A result position o takes the inputs i with o + padding = i * stride + k. With r the remainder and q
the quotient of (o + padding) by the stride, only the taps k = r + stride * t count, at i = q - t:
each of the stride residues ("phases") is a small convolution with its own part of the kernel. All
phases read the same inputs, so they are one contraction that has the phase as a further dim of its
weight and result; a last index map interleaves them. Nothing is multiplied by inserted zeros, but
where the stride does not divide the kernel the last taps are padded.
"""

from __future__ import annotations

from lowering import expr as E
from lowering.build import full, insert, reindex
from lowering.ops.convolution import check, convolve, correlate, per_dim
from lowering.ops.matmul import add_bias
from lowering.ops.message_names import times
from lowering.ops.padding import pad_constant
from lowering.ops.table import aten
from lowering.tensor_ir import Value


def convolve_transposed(x: Value, weight: Value, bias: Value | None, stride, padding,
                        output_padding, dilation, groups: int) -> Value:
    """Shapes: input (n, c, s...), weight (c, o / groups, k...), result (n, o, t...) with
    t = (s - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1."""
    spatial = weight.ndim - 2
    check(x, weight, bias, stride, padding, dilation, groups, spatial, transposed=True)
    for p, s, d in zip(output_padding, stride, dilation):
        if p >= s and p >= d or p < 0:
            raise RuntimeError("output padding must be smaller than either stride or dilation, but "
                               f"got output_padding: {list(output_padding)}")
    lead = x.shape[:x.ndim - spatial - 1]
    sizes = x.shape[len(lead) + 1:]
    out = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, s, p, d, k, e in
           zip(sizes, stride, padding, dilation, weight.shape[2:], output_padding)]
    if any(n <= 0 for n in out):
        raise RuntimeError(
            f"Given input size per channel: ({times(sizes)}). Calculated output size per channel: "
            f"({times(out)}). Output size is too small"
        )
    weight, dilation = _spread(weight, stride, dilation)
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], stride)]
    phased = [k for k in range(spatial) if stride[k] > 1]
    w = _phase_weight(weight, stride, taps, phased, groups)
    first = [p // s for p, s in zip(padding, stride)]
    last = [(n - 1 + p) // s for n, p, s in zip(out, padding, stride)]
    before = [(t - 1) * d - q for t, d, q in zip(taps, dilation, first)]
    after = [q - (n - 1) for q, n in zip(last, sizes)]
    none = [0] * (len(lead) + 1)
    padded = pad_constant(x, [*none, *before], [*none, *after])
    y = correlate(padded, w, [1] * spatial, dilation, groups, len(phased))
    if phased:
        y = _interleave(y, (*lead, w.shape[0], *out), stride, padding, first, phased)
    return add_bias(y, bias, x.dtype, len(lead))


def _spread(weight: Value, stride, dilation) -> tuple[Value, list[int]]:
    """A kernel with zeros between its taps where both stride and dilation are over 1: there a phase
    would not be a regular part of it."""
    steps = [d if s > 1 else 1 for s, d in zip(stride, dilation)]
    if all(d == 1 for d in steps):
        return weight, list(dilation)
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], steps)]
    base = full((*weight.shape[:2], *kernel), 0, weight.dtype)
    spread = insert(base, weight, [0] * weight.ndim, [1, 1, *steps])
    return spread, [1 if s > 1 else d for s, d in zip(stride, dilation)]


def _phase_weight(weight: Value, stride, taps, phased, groups: int) -> Value:
    """(c, o / groups, k...) as (o, phase..., c / groups, tap...), taps in reading order."""
    spatial = len(taps)
    after = [t * s - k for t, s, k in zip(taps, stride, weight.shape[2:])]
    weight = pad_constant(weight, [0] * weight.ndim, [0, 0, *after])
    members, depth = weight.shape[1], weight.shape[0] // groups
    shape = (groups * members, *(stride[k] for k in phased), depth, *taps)

    def at(o: E.Expr, *i: E.Expr) -> list[E.Expr]:
        phase = dict(zip(phased, i))
        c, tap = i[len(phased)], i[len(phased) + 1:]
        k = [phase.get(n, E.const(0)) + (taps[n] - 1 - tap[n]) * stride[n] for n in range(spatial)]
        return [(o // members) * depth + c, o % members, *k]

    return reindex(weight, shape, at)


def _interleave(y: Value, shape, stride, padding, first, phased) -> Value:
    """out[n, o, t...] = y[n, o, phase..., quotient...]."""
    spatial = len(stride)
    channels = len(shape) - spatial

    def at(*i: E.Expr) -> list[E.Expr]:
        t = [k + p for k, p in zip(i[channels:], padding)]
        phase = [t[k] % stride[k] for k in phased]
        quotient = [k // s - q for k, s, q in zip(t, stride, first)]
        return [*i[:channels], *phase, *quotient]

    return reindex(y, shape, at)


def _transposed(x, weight, bias, stride, padding, output_padding, groups, dilation,
                spatial: int) -> Value:
    if x.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to "
            f"conv_transpose{spatial}d, but got input of size: {list(x.shape)}"
        )
    return convolve_transposed(
        x, weight, bias, per_dim(stride, spatial, "stride"), per_dim(padding, spatial, "padding"),
        per_dim(output_padding, spatial, "output_padding"), per_dim(dilation, spatial, "dilation"),
        groups,
    )


@aten("conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=[1], "
      "int[1] padding=[0], int[1] output_padding=[0], int groups=1, int[1] dilation=[1]) -> "
      "Tensor")
def conv_transpose1d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    return _transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 1)


@aten("conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=[1,"
      " 1], int[2] padding=[0, 0], int[2] output_padding=[0, 0], int groups=1, int[2] "
      "dilation=[1, 1]) -> Tensor")
def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    return _transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 2)


@aten("conv_transpose3d.input(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=[1,"
      " 1, 1], int[3] padding=[0, 0, 0], int[3] output_padding=[0, 0, 0], int groups=1, int[3] "
      "dilation=[1, 1, 1]) -> Tensor")
def conv_transpose3d(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1,
                     dilation=1):
    return _transposed(x, weight, bias, stride, padding, output_padding, groups, dilation, 3)


@aten("convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, "
      "int[] dilation, bool transposed, int[] output_padding, int groups) -> Tensor",
      "_convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, "
      "int[] dilation, bool transposed, int[] output_padding, int groups, bool benchmark, bool "
      "deterministic, bool cudnn_enabled, bool allow_tf32) -> Tensor",
      "_convolution.deprecated(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] "
      "padding, int[] dilation, bool transposed, int[] output_padding, int groups, bool "
      "benchmark, bool deterministic, bool cudnn_enabled) -> Tensor")
def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups,
                benchmark=False, deterministic=False, cudnn_enabled=False, allow_tf32=False):
    """The form that traces hold. The flags choose among PyTorch's libraries and mean nothing."""
    spatial = weight.ndim - 2
    if spatial < 1:
        raise RuntimeError("weight should have at least three dimensions")
    stride = per_dim(stride, spatial, "stride")
    padding = per_dim(padding, spatial, "padding")
    dilation = per_dim(dilation, spatial, "dilation")
    if not transposed:
        return convolve(x, weight, bias, stride, padding, dilation, groups)
    output_padding = per_dim(output_padding, spatial, "output_padding")
    return convolve_transposed(x, weight, bias, stride, padding, output_padding, dilation, groups)
