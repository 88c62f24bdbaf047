"""Convolution: zeros are inserted around the input first, then one contraction over channels and
kernel whose loads are all affine.

Shapes: input (n, c, s...) or (c, s...), weight (o, c / groups, k...), result (n, o, t...) with
t = (s + 2 * padding - dilation * (k - 1) - 1) // stride + 1. With groups a channel of the result is
(group, member of the group); in a depthwise convolution the group alone counts the channels of all
three tensors. f16 and bf16 accumulate in f32 and are rounded once, after the bias.

The transposed convolution is in convolution_transposed.py.
"""

from __future__ import annotations

from typing import Sequence

from lowering import expr as E
from lowering import views
from lowering.build import check_at_least, compute_dtype, generic
from lowering.ops.matmul import add_bias
from lowering.ops.message_names import tensor_name, times
from lowering.ops.padding import pad_constant
from lowering.ops.table import aten
from lowering.tensor_ir import Value


def per_dim(value: int | Sequence[int], dims: int, name: str) -> list[int]:
    """One number a spatial dim; a single one counts for all."""
    values = [value] * dims if isinstance(value, int) else list(value)
    if len(values) == 1:
        values = values * dims
    if len(values) != dims:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dims} values to match the "
            f"convolution dimensions, but got {name}={values}"
        )
    return values


def correlate(x: Value, weight: Value, stride: Sequence[int], dilation: Sequence[int],
              groups: int, phases: int = 0) -> Value:
    """The contraction alone, on an input that needs no padding, in the dtype it accumulates in.

    weight (o, p..., c / groups, k...) with `phases` dims p, which only count results:
    out[n, o, p..., t...] = sum over c, k of x[n, c, t * stride + k * dilation] * w[o, p..., c, k].
    """
    spatial = len(stride)
    lead = x.shape[:x.ndim - spatial - 1]
    members, depth = weight.shape[0] // groups, weight.shape[1 + phases]
    kernel = weight.shape[2 + phases:]
    size = [(n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(x.shape[len(lead) + 1:], kernel, stride, dilation)]
    extents: list[int] = []

    def dim(n: int) -> E.Expr:
        extents.append(n)
        return E.index(len(extents) - 1)

    batch = [dim(n) for n in lead]
    group = dim(groups) if groups > 1 else E.const(0)
    member = dim(members) if groups == 1 or members > 1 else E.const(0)
    phase = [dim(n) for n in weight.shape[1:1 + phases]]
    position = [dim(n) for n in size]
    parallel = len(extents)
    channel = dim(depth) if groups == 1 or depth > 1 else E.const(0)
    tap = [dim(n) for n in kernel]

    window = [t * s + k * d for t, s, k, d in zip(position, stride, tap, dilation)]
    working = compute_dtype(x.dtype)
    a = E.cast(E.load(x, [*batch, group * depth + channel, *window]), working)
    b = E.cast(E.load(weight, [group * members + member, *phase, channel, *tap]), working)
    y = generic(tuple(extents), parallel, a * b, "add")
    if groups > 1 and members > 1:
        y = views.reshape(y.shape, (*lead, groups * members, *y.shape[len(lead) + 2:])).get(y)
    return y


def convolve(x: Value, weight: Value, bias: Value | None, stride, padding, dilation,
             groups: int) -> Value:
    """padding: one number a dim, or a pair (before, after)."""
    spatial = weight.ndim - 2
    check(x, weight, bias, stride, padding, dilation, groups, spatial)
    lead = x.ndim - spatial
    before = [p[0] if isinstance(p, tuple) else p for p in padding]
    after = [p[1] if isinstance(p, tuple) else p for p in padding]
    x_dtype = x.dtype
    x = pad_constant(x, [0] * lead + before, [0] * lead + after)
    y = correlate(x, weight, stride, dilation, groups)
    return add_bias(y, bias, x_dtype, lead - 1)


def check(x: Value, weight: Value, bias: Value | None, stride, padding, dilation, groups: int,
          spatial: int, transposed: bool = False) -> None:
    """The checks that PyTorch makes, in its words."""
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any((p if isinstance(p, int) else min(p)) < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("non-positive dilation is not supported")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    shape = x.shape if x.ndim == spatial + 2 else (1, *x.shape)
    if len(shape) != spatial + 2:
        raise RuntimeError(
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight "
            f"{list(weight.shape)}, but got {x.ndim}-dimensional input of size {list(x.shape)} "
            "instead"
        )
    given = f"Given {'transposed=1' if transposed else f'groups={groups}'}"
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    if weight.shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {list(weight.shape)} instead"
        )
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {[list(weight.shape)]} instead"
        )
    if shape[1] != inputs:
        raise RuntimeError(
            f"{given}, weight of size {list(weight.shape)}, expected input{list(shape)} to have "
            f"{inputs} channels, but got {shape[1]} channels instead"
        )
    if bias is not None and bias.shape != (outputs,):
        given = f"{given}, weight" if transposed else "Given weight"
        raise RuntimeError(
            f"{given} of size {list(weight.shape)}, expected bias to be 1-dimensional with "
            f"{outputs} elements, but got bias of size {list(bias.shape)} instead"
        )
    if x.dtype is not weight.dtype:
        raise RuntimeError(
            f"Input type ({tensor_name(x)}) and weight type ({tensor_name(weight)}) should be the "
            "same or input should be a MKLDNN tensor and weight is a dense tensor"
        )
    if bias is not None and x.dtype is not bias.dtype:
        raise RuntimeError(
            f"Input type ({tensor_name(x)}) and bias type ({tensor_name(bias)}) should be the same "
            "or input should be a MKLDNN tensor and bias is a dense tensor"
        )
    if transposed:
        return
    padded = [n + (sum(p) if isinstance(p, tuple) else 2 * p) for n, p in zip(shape[2:], padding)]
    reach = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation)]
    for n, r in zip(padded, reach):
        check_at_least(n, r, f"Calculated padded input size per channel: ({times(padded)}). Kernel "
                       f"size: ({times(reach)}). Kernel size can't be greater than actual input "
                       "size")


def _check_rank(x: Value, spatial: int, name: str) -> None:
    if x.ndim not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"Expected {spatial + 1}D (unbatched) or {spatial + 2}D (batched) input to {name}, but "
            f"got input of size: {list(x.shape)}"
        )


def _convolve(x, weight, bias, stride, padding, dilation, groups, spatial: int) -> Value:
    """padding: numbers, or PyTorch's words 'valid' and 'same'."""
    _check_rank(x, spatial, f"conv{spatial}d")
    stride = per_dim(stride, spatial, "stride")
    dilation = per_dim(dilation, spatial, "dilation")
    if weight.ndim != spatial + 2:
        raise RuntimeError(
            f"weight should have at least three dimensions, but got {weight.ndim}-dimensional"
        )
    if isinstance(padding, str):
        padding = _padding_of_word(padding, weight, stride, dilation)
    else:
        padding = per_dim(padding, spatial, "padding")
    return convolve(x, weight, bias, stride, padding, dilation, groups)


def _padding_of_word(word: str, weight: Value, stride, dilation) -> list[tuple[int, int]]:
    """'same': the odd position of an odd total stands after."""
    if word == "valid":
        return [(0, 0)] * len(stride)
    if word != "same":
        raise RuntimeError(f"Invalid padding string: '{word}'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for k, d in zip(weight.shape[2:], dilation)]
    return [(t // 2, t - t // 2) for t in total]


@aten("conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=[1], int[1] "
      "padding=[0], int[1] dilation=[1], int groups=1) -> Tensor",
      "conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=[1], str "
      'padding="valid", int[1] dilation=[1], int groups=1) -> Tensor')
def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 1)


@aten("conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=[1, 1], int[2] "
      "padding=[0, 0], int[2] dilation=[1, 1], int groups=1) -> Tensor",
      "conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=[1, 1], str"
      ' padding="valid", int[2] dilation=[1, 1], int groups=1) -> Tensor')
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 2)


@aten("conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=[1, 1, 1], int[3] "
      "padding=[0, 0, 0], int[3] dilation=[1, 1, 1], int groups=1) -> Tensor",
      "conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=[1, 1, 1], "
      'str padding="valid", int[3] dilation=[1, 1, 1], int groups=1) -> Tensor')
def conv3d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve(x, weight, bias, stride, padding, dilation, groups, 3)


@aten("_convolution_mode(Tensor input, Tensor weight, Tensor? bias, int[] stride, str padding, "
      "int[] dilation, int groups) -> Tensor")
def convolution_mode(x, weight, bias, stride, padding, dilation, groups):
    return _convolve(x, weight, bias, stride, padding, dilation, groups, weight.ndim - 2)


@aten("conv_tbc(Tensor self, Tensor weight, Tensor bias, int pad=0) -> Tensor")
def conv_tbc(x, weight, bias, pad=0):
    """Time first: (t, b, c), weight (k, c, o), bias (o) -> (t + 2 * pad - k + 1, b, o)."""
    if x.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise RuntimeError("Input, weight and bias must have 3, 3 and 1 dims: time, batch, "
                           "in_channel; kernel_width, in_channels, out_channels; out_channels.")
    if x.shape[2] != weight.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if weight.shape[2] != bias.shape[0]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    dtype, taps = x.dtype, weight.shape[0]
    x = pad_constant(x, [pad, 0, 0], [pad, 0, 0])
    working = compute_dtype(dtype)
    t, b, o, k, c = (E.index(n) for n in range(5))
    body = E.cast(E.load(x, (t + k, b, c)), working) * E.cast(E.load(weight, (k, c, o)), working)
    domain = (x.shape[0] - taps + 1, x.shape[1], weight.shape[2], taps, x.shape[2])
    return add_bias(generic(domain, 3, body, "add"), bias, dtype)
