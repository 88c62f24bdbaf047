"""Every layer: printing, initial parameters, state_dict and results as PyTorch's for one seed."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.nn_samples import LAYERS

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")


def to_ours(x):
    """A torch value as ours."""
    return aot.from_numpy(np.array(x.detach().numpy()))


def flat(x) -> list:
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in flat(v)]
    return [] if x is None else [x]


def close(ours, theirs) -> None:
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)


def pair(name: str, seed: int = 0):
    make, inputs = LAYERS[name]
    layers = []
    for library in (aot, torch):
        library.manual_seed(seed)
        layers.append(make(library.nn))
    torch.manual_seed(1)
    given = [shape(torch) if callable(shape) else torch.randn(shape) for shape in inputs]
    return layers, given


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    (ours, theirs), given = pair(name)
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for key in state:
        assert state[key].shape == expected[key].shape and str(state[key].dtype) == str(
            expected[key].dtype), key
        a, b = state[key].numpy(), expected[key].numpy()
        if "Embedding" in name or "Wide" in name:  # normals: PyTorch's vector code, to the last bit
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b, err_msg=key)
    for train in (True, False):
        ours.train(train), theirs.train(train)
        aot.manual_seed(3), torch.manual_seed(3)
        close(ours(*map(to_ours, given)), theirs(*[x.clone() for x in given]))
    for key, value in ours.state_dict().items():  # running statistics
        np.testing.assert_allclose(value.numpy(), theirs.state_dict()[key].numpy(), rtol=2e-5,
                                   atol=2e-6)
