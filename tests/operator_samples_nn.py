"""Samples of the operators of networks: products, convolutions, norms, pooling, padding, losses.

The first part translates PyTorch's OpInfo samples of torch.nn.functional into arguments of the ATen
operators, the second makes samples where there is no OpInfo.
"""

from __future__ import annotations

from typing import Callable, Iterator

import torch

from tests.opinfo_harness import Sample
from tests.operator_samples import BORROWED, COMPILE_TIME, own, tensor

COMPILE_TIME.update({("aten::multi_margin_loss", a) for a in ("p", "margin")})

REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
HALVES = (torch.float16, torch.bfloat16)


# From torch.nn.functional


def _loss(**defaults) -> Callable[[Sample], Sample | None]:
    """Reductions as numbers; arguments that the operator requires, with the function's defaults."""
    def adapt(s: Sample) -> Sample:
        kwargs = {**defaults, **s.kwargs}
        if "reduction" in kwargs:
            kwargs["reduction"] = REDUCTIONS.get(kwargs["reduction"], kwargs["reduction"])
        return Sample(s.args, kwargs)

    return adapt


def _pool(s: Sample) -> Sample | None:
    k = s.kwargs
    if not k:
        return s
    stride = k.get("stride")
    return Sample([*s.args, k["kernel_size"], [] if stride is None else stride,
                   k.get("padding", 0), k.get("dilation", 1), k.get("ceil_mode", False)])


def _unpool(s: Sample) -> Sample | None:
    size = s.kwargs.get("output_size")
    return None if size is None else Sample([*s.args[:2], list(size)[-2:]])


def _dropout(s: Sample) -> Sample:
    p, train = s.kwargs.get("p", 0.5), s.kwargs.get("training", True)
    return Sample([s.args[0], p, train])


def _batch_norm(s: Sample) -> Sample:
    x, mean, var, weight, bias = [*s.args, None, None, None, None][:5]
    k = {"weight": weight, "bias": bias, "training": False, "momentum": 0.1, "eps": 1e-5}
    k.update(s.kwargs)
    return Sample([x, k["weight"], k["bias"], mean, var, k["training"], k["momentum"], k["eps"],
                   True])


def _instance_norm(s: Sample) -> Sample:
    k = {"use_input_stats": True, "momentum": 0.1, "eps": 1e-5, **s.kwargs}
    own_statistics = k["use_input_stats"]
    stats = [None if own_statistics else k.get(n) for n in ("running_mean", "running_var")]
    return Sample([s.args[0], k.get("weight"), k.get("bias"), *stats, own_statistics, k["momentum"],
                   k["eps"], True])


def _known_sizes(s: Sample) -> Sample | None:
    """Adaptive pooling: the sizes alone, if all are given."""
    size = s.args[1]
    sizes = [size] if isinstance(size, int) else size
    return None if None in sizes else Sample(s.args[:2])


BORROWED.update({
    "aten::einsum": ("aten::einsum", lambda s: Sample([s.args[1], s.args[0]])),
    "aten::cdist": ("aten::cdist", lambda s: Sample(s.args[:3])),
    "aten::batch_norm": ("aten::batch_norm", _batch_norm),
    "aten::instance_norm": ("aten::instance_norm", _instance_norm),
    "aten::max_unpool2d": ("aten::max_unpool2d", _unpool),
    "aten::cross_entropy_loss": ("aten::cross_entropy", _loss()),
    "aten::poisson_nll_loss": ("aten::poisson_nll_loss", _loss(
        log_input=True, full=False, eps=1e-8, reduction="mean")),
    **{f"aten::{n}": (f"aten::{n}", _pool) for n in ("max_pool1d", "max_pool2d", "max_pool3d")},
    **{f"aten::{n}": (f"aten::{n}", _dropout)
       for n in ("dropout", "alpha_dropout", "feature_alpha_dropout")},
    **{f"aten::adaptive_max_pool{d}d": (f"aten::adaptive_max_pool{d}d", _known_sizes)
       for d in (1, 2, 3)},
    **{f"aten::{n}": (f"aten::{n}", _loss()) for n in (
        "huber_loss", "kl_div", "cosine_embedding_loss", "margin_ranking_loss",
        "hinge_embedding_loss")},
    # These call the operator in other ways than archives do: own samples only.
    **{f"aten::{n}": ("", None) for n in ("embedding_bag", "tensordot", "max_unpool3d")},
})


# Own samples


def own_floats(*names: str):
    """Declares samples for floating dtypes: the generator gets a maker of tensors."""
    def declare(function):
        def samples(dtype: torch.dtype) -> Iterator[Sample]:
            if not dtype.is_floating_point:
                return
            count = 0

            def make(*shape: int, low: float = -4, high: float = 5) -> torch.Tensor:
                nonlocal count
                count += 1
                return tensor(*shape, dtype=dtype, low=low, high=high, seed=count)

            for args in function(make):
                yield args if isinstance(args, Sample) else Sample(args)

        return own(*names)(samples)

    return declare


@own_floats("aten::chain_matmul")
def _chain(t):
    yield [[t(2, 3), t(3, 4), t(4, 5)]]


@own("aten::_grouped_mm")
def _grouped(dtype):
    if dtype is torch.bfloat16:
        for ends in ([2, 5, 8], [0, 8, 8]):
            yield Sample([tensor(8, 16, dtype=dtype), tensor(3, 16, 8, dtype=dtype, seed=1),
                          torch.tensor(ends, dtype=torch.int32)])


@own_floats("aten::tensordot")
def _tensordot(t):
    yield [t(2, 3, 4), t(4, 3, 5), [1, 2], [1, 0]]
    yield [t(2, 3), t(3, 2), [], []]
    yield [t(2, 3, 1), t(4, 5), [-1], [0]]


@own_floats("aten::_cdist_forward")
def _cdist(t):
    for p in (2.0, 1.0, 0.0, float("inf")):
        yield [t(2, 3, 4), t(2, 5, 4), p, None]


@own_floats("aten::conv2d", "aten::conv1d", "aten::conv3d")
def _conv_same(t):
    yield [t(2, 4, 5, 6), t(6, 2, 2, 3), t(6), [1, 1], "same", [1, 2], 2]
    yield [t(4, 5, 6), t(6, 4, 3, 3), None, [2, 1], "valid"]


@own_floats("aten::convolution", "aten::_convolution")
def _convolution(t):
    for flags in ([], [False, False, True], [False, False, True, True]):
        yield [t(2, 4, 5, 6), t(6, 2, 3, 2), t(6), [2, 1], [1, 0], [1, 2], False, [0, 0], 2, *flags]
        yield [t(2, 4, 5, 6), t(4, 3, 3, 2), None, [2, 3], [1, 0], [1, 1], True, [1, 2], 2, *flags]
        yield [t(2, 3, 7), t(3, 1, 3), None, [1], [1], [1], False, [0], 3, *flags]


@own_floats("aten::_convolution_mode")
def _convolution_mode(t):
    yield [t(2, 4, 5, 6), t(6, 2, 2, 3), t(6), [1, 1], "same", [1, 2], 2]


@own_floats("aten::reflection_pad1d", "aten::replication_pad1d", "aten::_pad_circular")
def _pad1(t):
    yield [t(2, 3, 5), [1, 2]]


@own_floats("aten::reflection_pad2d", "aten::replication_pad2d", "aten::_pad_circular")
def _pad2(t):
    yield [t(2, 3, 5, 4), [1, 2, 0, 3]]
    yield [t(3, 5, 4), [1, 1, 2, 2]]


@own_floats("aten::reflection_pad3d", "aten::replication_pad3d")
def _pad3(t):
    yield [t(1, 2, 3, 5, 4), [1, 2, 0, 3, 2, 1]]


@own_floats("aten::norm_except_dim")
def _norm_except(t):
    for dim in (0, 2, -1):
        yield [t(3, 4, 5), 2, dim]


@own_floats("aten::_weight_norm", "aten::_weight_norm_interface")
def _weight_norm(t):
    yield [t(3, 4, 5), t(3, 1, 1), 0]
    yield [t(3, 4, 5), t(1, 1, 5), 2]


@own_floats("aten::_native_batch_norm_legit_no_training")
def _batch_norm_eval(t):
    yield [t(2, 3, 4), t(3), t(3), t(3), t(3, low=1), 0.1, 1e-5]


@own_floats("aten::max_pool1d_with_indices", "aten::max_pool1d")
def _max_pool1(t):
    yield [t(2, 3, 9), [3], [2], [1], [2], True]


@own_floats("aten::max_pool2d_with_indices")
def _max_pool2(t):
    yield [t(2, 3, 7, 8), [3, 2], [2, 2], [1, 1], [1, 1], False]
    yield [t(3, 7, 8), [2, 2], [], [0, 0], [2, 1], True]


@own_floats("aten::max_pool3d_with_indices")
def _max_pool3(t):
    yield [t(1, 2, 5, 6, 4), [2, 3, 2], [2, 2, 1], [1, 1, 0], [1, 1, 1], False]


@own_floats("aten::max_unpool2d")
def _max_unpool2(t):
    values, indices = torch.ops.aten.max_pool2d_with_indices(t(2, 3, 6, 4), [2, 2])
    yield [values, indices, [6, 4]]


@own_floats("aten::max_unpool3d")
def _max_unpool3(t):
    values, indices = torch.ops.aten.max_pool3d_with_indices(t(1, 2, 4, 6, 4), [2, 2, 2])
    yield [values, indices, [4, 6, 4], [2, 2, 2], [0, 0, 0]]


@own_floats("aten::_adaptive_avg_pool2d")
def _adaptive2(t):
    for size in ([2, 3], [3, 4], [1, 1]):
        yield [t(2, 3, 6, 8), size]


@own_floats("aten::_adaptive_avg_pool3d")
def _adaptive3(t):
    yield [t(1, 2, 6, 4, 5), [2, 3, 5]]


@own("aten::embedding_bag")
def _embedding_bag(dtype):
    if not dtype.is_floating_point:
        return
    table, indices = tensor(6, 3, dtype=dtype), torch.tensor([1, 2, 4, 5, 4, 3, 2, 0])
    scales = tensor(8, dtype=dtype, seed=1)
    for mode in (0, 1, 2):
        for offsets, last in (([0, 3, 3, 6], False), ([0, 3, 3, 8], True)):
            for weights in (None, scales) if mode == 0 else (None,):
                args = [table, indices, torch.tensor(offsets), False, mode, False, weights, last]
                yield Sample(args)
                yield Sample([*args, 2])


@own_floats("aten::grid_sampler")
def _grid(t):
    yield [t(2, 3, 4, 5), t(2, 6, 3, 2, low=-1, high=1), 0, 0, False]
    yield [t(2, 3, 4, 5), t(2, 6, 3, 2, low=-2, high=2), 1, 1, True]
    yield [t(2, 3, 4, 5, 3), t(2, 6, 3, 2, 3, low=-2, high=2), 0, 2, True]


@own("aten::affine_grid_generator")
def _affine_grid(dtype):
    if dtype.is_floating_point and dtype not in HALVES:
        for align in (True, False):
            yield Sample([tensor(2, 2, 3, dtype=dtype), [2, 3, 4, 5], align])
            yield Sample([tensor(2, 3, 4, dtype=dtype), [2, 3, 4, 5, 2], align])


@own_floats("aten::native_channel_shuffle")
def _shuffle(t):
    yield [t(2, 6, 3, 4), 3]


@own_floats("aten::col2im")
def _col2im(t):
    yield [t(2, 18, 20), [6, 7], [2, 3], [1, 1], [0, 0], [1, 1]]
    yield [t(2, 18, 12), [6, 7], [2, 3], [2, 1], [1, 1], [2, 2]]
    yield [t(12, 9), [6, 6], [2, 2], [1, 1], [0, 0], [2, 2]]


@own_floats("aten::conv_tbc")
def _conv_tbc(t):
    yield [t(6, 2, 3), t(3, 3, 4), t(4), 1]
