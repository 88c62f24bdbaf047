"""The random stream is PyTorch's, bit for bit where its algorithm does not depend on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()

SEEDS = [0, 1, 191009, 2**32 + 7, 123456789]


def streams(make, seed: int):
    """What one function of the module draws from both streams."""
    aot.manual_seed(seed)
    torch.manual_seed(seed)
    return make(aot).numpy(), make(torch).numpy()


EXACT = {
    "rand": lambda m: m.rand(5, 7),
    "rand64": lambda m: m.rand(5, dtype=m.float64),
    "rand16": lambda m: m.rand(40, dtype=m.float16),
    "uniform_": lambda m: m.empty(4, 4).uniform_(-0.5, 0.5),
    "uniform_transposed": lambda m: m.empty(3, 4).t().uniform_(-1, 3),
    "randint": lambda m: m.randint(-3, 17, (10,)),
    "randint_high": lambda m: m.randint(2**40, (10,)),
    "randint_one": lambda m: m.randint(10, (3, 3), dtype=m.int32),
    "random_": lambda m: m.empty(10, dtype=m.int64).random_(),
    "random_float": lambda m: m.empty(10).random_(),
    "random_to": lambda m: m.empty(10).random_(7),
    "randperm": lambda m: m.randperm(33),
    "randn_small": lambda m: m.cat([m.randn(3), m.randn(4), m.randn(5)]),
    "normal_small": lambda m: m.empty(3, 3).normal_(1.0, 2.0),
    "normal_strided": lambda m: m.empty(6, 4).t().normal_(),
    "bernoulli_": lambda m: m.empty(20).bernoulli_(0.3),
    "bernoulli": lambda m: m.bernoulli(m.rand(20)),
    "dropout": lambda m: m.nn.functional.dropout(m.ones(50), 0.3, True),
    "multinomial": lambda m: m.multinomial(m.tensor([0.1, 0.5, 0.4]), 20, True),
    "rand_like": lambda m: m.rand_like(m.zeros(3, 2)),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", EXACT)
def test_exact(name, seed):
    ours, theirs = streams(EXACT[name], seed)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    np.testing.assert_array_equal(ours, theirs)


NEAR = {
    "randn": lambda m: m.randn(100),
    "randn_odd": lambda m: m.randn(37),
    "randn64": lambda m: m.randn(50, dtype=m.float64),
    "normal_": lambda m: m.empty(5, 5).normal_(3.0, 0.5),
    "exponential_": lambda m: m.empty(20).exponential_(),
    "normal": lambda m: m.normal(2.0, 3.0, (4, 5)),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NEAR)
def test_near(name, seed):
    """Logarithms and sines of PyTorch's vector code differ from libm's in the last bit."""
    ours, theirs = streams(NEAR[name], seed)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


def test_the_stream_goes_on_after_each_call():
    def several(m):
        return m.cat([m.rand(3), m.randn(5), m.rand(2), m.randn(20) * 0, m.rand(3)])

    ours, theirs = streams(several, 7)
    np.testing.assert_array_equal(ours, theirs)


def test_generators_and_state():
    for m in (aot, torch):
        g = m.Generator().manual_seed(3)
        a = m.rand(4, generator=g)
        state = g.get_state()
        b, c = m.rand(4, generator=g), m.randn(3, generator=g)
        g.set_state(state)
        assert m.equal(m.rand(4, generator=g), b) and m.equal(m.randn(3, generator=g), c)
        assert not m.equal(a, b) and g.initial_seed() == 3
    assert aot.Generator().initial_seed() == torch.Generator().initial_seed()


def test_the_tutorial_block():
    """The first listing's numbers come after one pair of draws that its page does not show."""
    aot.manual_seed(191009)
    aot.rand(3, 4), aot.rand(3, 4)
    x, h = aot.rand(3, 4), aot.rand(3, 4)
    assert repr(aot.tanh(x + h)) == (
        "tensor([[0.8951, 0.9477, 0.8354, 0.7361],\n"
        "        [0.8297, 0.7231, 0.8003, 0.8989],\n"
        "        [0.7820, 0.6564, 0.7702, 0.2425]])")
