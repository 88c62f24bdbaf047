"""Samples of whole layers and of resizing: recurrent networks, attention, interpolation, losses
that PyTorch's OpInfo database does not reach under their ATen name."""

from __future__ import annotations

import torch

from tests.opinfo_harness import Sample
from tests.operator_samples import own, tensor
from tests.operator_samples_nn import own_floats


# Recurrent networks


def _recurrent(t, gates: int, layers: int, ways: int, biases: bool, projection: int = 0):
    """Input, states and parameters of a network with 3 inputs and 4 hidden units."""
    params = []
    for layer in range(layers):
        for _ in range(ways):
            width = 3 if layer == 0 else (projection or 4) * ways
            params += [t(4 * gates, width), t(4 * gates, projection or 4)]
            params += [t(4 * gates), t(4 * gates)] if biases else []
            params += [t(projection, 4)] if projection else []
    return params


def _sequences(gates: int):
    def samples(t):
        quarter = lambda *s: t(*s, low=-1, high=1)  # noqa: E731
        for steps, layers, ways, batch_first, biases in (
            (3, 1, 1, False, True), (6, 2, 2, True, True), (7, 1, 1, False, False),
        ):
            shape = (2, steps, 3) if batch_first else (steps, 2, 3)
            params = _recurrent(quarter, gates, layers, ways, biases)
            states = [quarter(layers * ways, 2, 4) for _ in range(2 if gates == 4 else 1)]
            hidden = states if gates == 4 else states[0]
            yield [quarter(*shape), hidden, params, biases, layers, 0.0, False, ways == 2,
                   batch_first]
        if gates == 4:
            params = _recurrent(quarter, 4, 1, 2, True, projection=2)
            yield [quarter(6, 2, 3), [quarter(2, 2, 2), quarter(2, 2, 4)], params, True, 1, 0.0,
                   False, True, False]

    return samples


own_floats("aten::lstm")(_sequences(4))
own_floats("aten::gru")(_sequences(3))
own_floats("aten::rnn_tanh", "aten::rnn_relu")(_sequences(1))


def _cells(gates: int):
    def samples(t):
        quarter = lambda *s: t(*s, low=-1, high=1)  # noqa: E731
        states = [quarter(2, 4) for _ in range(2)]
        weights = [quarter(4 * gates, 3), quarter(4 * gates, 4)]
        biases = [quarter(4 * gates), quarter(4 * gates)]
        for tail in (biases, []):
            yield [quarter(2, 3), states if gates == 4 else states[0], *weights, *tail]

    return samples


own_floats("aten::lstm_cell")(_cells(4))
own_floats("aten::gru_cell")(_cells(3))
own_floats("aten::rnn_tanh_cell", "aten::rnn_relu_cell")(_cells(1))


# Attention


def _attention_masks():
    generator = torch.Generator().manual_seed(0)
    for kind, shape in ((None, ()), (0, (5, 5)), (1, (2, 5)), (2, (2, 2, 5, 5))):
        mask = None
        if kind is not None:
            mask = torch.rand(shape, generator=generator) > 0.6
            mask[..., 0] = False
        yield kind, mask


@own("aten::_native_multi_head_attention")
def _multi_head(dtype):
    if dtype not in (torch.float32, torch.float64):
        return
    x = tensor(2, 5, 8, dtype=dtype, low=-1, high=1)
    y = tensor(2, 5, 8, dtype=dtype, low=-1, high=1, seed=5)
    weights = [tensor(*s, dtype=dtype, low=-1, high=1, seed=k)
               for k, s in enumerate(((24, 8), (24,), (8, 8), (8,)))]
    for kind, mask in _attention_masks():
        for average in (True, False):
            yield Sample([x, x, x, 8, 2, *weights, mask, True, average, kind])
        yield Sample([x, y, y, 8, 2, *weights, mask, True, True, kind])


@own("aten::_transformer_encoder_layer_fwd")
def _encoder_layer(dtype):
    if dtype not in (torch.float32, torch.float64):
        return
    shapes = (24, 8), (24,), (8, 8), (8,)
    later = (8,), (8,), (8,), (8,), (16, 8), (16,), (8, 16), (8,)
    make = lambda k, s: tensor(*s, dtype=dtype, low=-1, high=1, seed=k)  # noqa: E731
    for kind, mask in _attention_masks():
        for gelu, first in ((True, False), (False, True)):
            yield Sample([make(99, (2, 5, 8)), 8, 2, *map(make, range(4), shapes), gelu, first,
                          1e-5, *map(make, range(4, 12), later), mask, kind])


@own_floats("aten::_transform_bias_rescale_qkv")
def _rescale(t):
    yield [t(2, 5, 24), t(24), 2]


@own_floats("aten::scaled_dot_product_attention")
def _attention(t):
    make = lambda *s: t(*s, low=-1, high=1)  # noqa: E731
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) > 0.4
    mask[1] = False
    yield [make(2, 4, 3, 6), make(2, 4, 5, 6), make(2, 4, 5, 7), mask]
    yield [make(2, 4, 3, 6), make(2, 4, 5, 6), make(2, 4, 5, 6), make(2, 1, 3, 5), 0.0, False]
    yield Sample([make(2, 4, 3, 6), make(2, 2, 5, 6), make(2, 2, 5, 6), None, 0.0, True],
                 {"scale": 0.5, "enable_gqa": True})


# Resizing

_SIZES = {1: ([7], [3]), 2: ([7, 8], [3, 10]), 3: ([6, 3, 5], [2, 8, 4])}
_FACTORS = {1: [1.5], 2: [2.0, 0.7], 3: [2.0, 0.5, 1.3]}
_INPUTS = {1: (2, 3, 5), 2: (2, 3, 5, 4), 3: (2, 2, 4, 3, 5)}


def _resize(dims: int, aligned: bool):
    def samples(t):
        x = t(*_INPUTS[dims])
        for align in ([True], [False]) if aligned else ([],):
            for size in _SIZES[dims]:
                yield [x, size, *align]
                yield [x, size, *align, None]  # .vec
            factors = _FACTORS[dims]
            size = [int(n * f) for n, f in zip(x.shape[2:], factors)]
            yield [x, size, *align, *factors]
            yield [x, None, *align, factors]

    return samples


for _dims in (1, 2, 3):
    own_floats(f"aten::upsample_nearest{_dims}d", f"aten::_upsample_nearest_exact{_dims}d")(
        _resize(_dims, False))
for _name, _dims in (
    ("upsample_linear1d", 1), ("upsample_bilinear2d", 2), ("upsample_trilinear3d", 3),
    ("upsample_bicubic2d", 2), ("_upsample_bicubic2d_aa", 2), ("_upsample_lanczos2d_aa", 2),
):
    own_floats(f"aten::{_name}")(_resize(_dims, True))


@own("aten::upsample_bilinear2d", "aten::upsample_bicubic2d", "aten::_upsample_bicubic2d_aa")
def _resize_u8(dtype):
    if dtype is torch.uint8:
        x = torch.randint(0, 256, (2, 3, 9, 7), generator=torch.Generator().manual_seed(0))
        for size in ([5, 13], [4, 3]):
            yield Sample([x.to(torch.uint8), size, False])


# Losses


def _classes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 5, shape, generator=torch.Generator().manual_seed(0))


@own_floats("aten::nll_loss_nd", "aten::cross_entropy_loss")
def _nll_nd(t):
    for reduction in (0, 1, 2):
        yield [t(2, 5, 3), _classes(2, 3), t(5, low=1), reduction, 2]
        yield [t(4, 5), _classes(4), None, reduction]
        yield [t(5), _classes(), None, reduction]


@own_floats("aten::cross_entropy_loss")
def _smoothed(t):
    for reduction in (0, 1, 2):
        yield [t(2, 5, 3), _classes(2, 3), t(5, low=1), reduction, 2, 0.25]
        yield [t(2, 5, 3), t(2, 5, 3).softmax(1), t(5, low=1), reduction, -100, 0.25]


@own_floats("aten::nll_loss2d", "aten::nll_loss2d_forward")
def _nll_2d(t):
    for reduction in (0, 1, 2):
        yield [t(2, 5, 3, 2), _classes(2, 3, 2), t(5, low=1), reduction, 2]


@own_floats("aten::nll_loss_forward")
def _nll_forward(t):
    for reduction in (0, 1, 2):
        yield [t(4, 5), _classes(4), None, reduction, 2]


@own_floats("aten::dropout", "aten::feature_dropout", "aten::native_dropout", "aten::alpha_dropout",
            "aten::feature_alpha_dropout")
def _dropout(t):
    yield [t(2, 3, 4), 0.5, False]
    yield [t(2, 3, 4), 0.0, True]
