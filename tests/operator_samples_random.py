"""Sample inputs of random operators. The harness seeds both streams alike before each call."""

from __future__ import annotations

from typing import Iterator

import torch

from tests.operator_samples import own
from tests.operator_samples_nn import own_floats, tensor
from tests.opinfo_harness import Sample

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def _sizes(name: str, *before: object, dtypes=_FLOATS):
    """Samples of a factory, for sizes below and above 16, with a generator and without."""
    @own(name)
    def samples(dtype: torch.dtype) -> Iterator[Sample]:
        if dtype in dtypes:
            for size in ([3], [2, 3, 4], [37], []):
                for given in ({}, {"generator": None}):
                    yield Sample([*before, size], {"dtype": dtype, **given})


_sizes("aten::rand")
_sizes("aten::randn")
_sizes("aten::normal", 1.5, 0.25)
_sizes("aten::randint", 7, dtypes=(*_FLOATS, torch.int64, torch.int32, torch.uint8))
_sizes("aten::randint", -5, 100, dtypes=(torch.int64, torch.int32, torch.int16))
_sizes("aten::randint", -2**40, 2**62, dtypes=(torch.int64,))


@own("aten::rand_like", "aten::randn_like")
def _like(dtype):
    if dtype in _FLOATS:
        for given in ({}, {"generator": None}, {"dtype": torch.float32}):
            yield Sample([torch.zeros(4, 5, dtype=dtype)], given)


@own("aten::randint_like")
def _integers_like(dtype):
    x = torch.zeros(4, 5, dtype=dtype)
    for args in ([3], [1, 3]) if dtype is torch.bool else ([9], [3, 90]):
        for given in ({}, {"generator": None}):
            yield Sample([x, *args], given)


@own_floats("aten::uniform")
def _uniform(t):
    yield [t(3, 7), 0.0, 1.0]
    yield [t(3, 7), -2.5, 4.0]


@own_floats("aten::normal_", "aten::normal_functional", "aten::log_normal")
def _normal(t):
    yield [t(3, 4), 0.5, 0.25]
    yield [t(7), 0.0, 1.0]


@own_floats("aten::normal_", "aten::normal_functional")
def _normal_blocks(t):
    yield [t(4, 8)]
    yield [t(5, 7), 1.0, 3.0]


@own_floats("aten::normal")
def _normal_of_tensors(t):
    yield [t(4, 1), t(5, low=1)]
    yield [t(20), 2.0]
    yield Sample([1.0, t(6, low=1)])


@own_floats("aten::exponential", "aten::cauchy")
def _one_parameter(t):
    yield [t(4, 5)]


@own_floats("aten::exponential")
def _rate(t):
    yield [t(4, 5), 2.5]


@own_floats("aten::geometric")
def _geometric(t):
    yield [t(4, 5), 0.3]


@own("aten::random")
def _random(dtype):
    x = torch.zeros(3, 5, dtype=dtype)
    yield Sample([x])
    yield Sample([x, 2])
    yield Sample([x, 0, 2])
    if dtype not in (torch.bool, torch.float64):
        yield Sample([x, 0, None])
    if dtype is torch.int64:
        yield Sample([x, -2**62, 2**61])
        yield Sample([x, -5, None])
        yield Sample([x, -2**63, None])
        yield Sample([x, 0, 2**28])


@own("aten::bernoulli", "aten::bernoulli_")
def _bernoulli(dtype):
    x = torch.zeros(4, 6, dtype=dtype)
    yield Sample([x, 0.3])
    for other in (torch.float32, torch.float64):
        yield Sample([x, tensor(4, 1, dtype=other, low=0, high=1)])


@own_floats("aten::bernoulli")
def _bernoulli_of(t):
    yield [t(4, 6, low=0, high=1)]


@own("aten::randperm")
def _permutation(dtype):
    if dtype in (torch.int64, torch.int32, torch.float32):
        for n in (0, 1, 2, 33):
            yield Sample([n], {"dtype": dtype})
            yield Sample([n], {"dtype": dtype, "generator": None})


@own("aten::multinomial")
def _multinomial(dtype):
    if dtype in (torch.float32, torch.float64):
        weights = torch.tensor([[0.1, 3.0, 0.5, 0.25], [1.0, 0.125, 2.0, 0.75]], dtype=dtype)
        for x in (weights, weights[0]):
            yield Sample([x, 3])
            yield Sample([x, 9, True])


@own_floats("aten::dropout", "aten::native_dropout", "aten::alpha_dropout", "aten::feature_dropout",
            "aten::feature_alpha_dropout")
def _dropout(t):
    yield [t(2, 3, 4), 0.3, True]


@own_floats("aten::rrelu")
def _rrelu(t):
    yield [t(5, 7), 0.1, 0.4, True]
