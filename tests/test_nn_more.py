"""CTC, pooling undone, pooling in random windows, triplets: results and gradients are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.test_nn_utils import both, same

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("joined", [False, True])
def test_ctc(reduction: str, joined: bool) -> None:
    """Repeated labels, an empty target, inputs of different lengths, one that is too short."""

    def run(t, zero_infinity=True):
        logits = t.randn(8, 5, 4).requires_grad_()
        targets = t.tensor([[1, 2, 1], [1, 1, 1], [3, 0, 0], [0, 0, 0], [2, 2, 2]])
        lengths, inputs = [3, 3, 1, 0, 3], [8, 7, 5, 3, 4]
        if joined:
            targets = t.cat([row[:n] for row, n in zip(targets, lengths)])
        loss = t.nn.CTCLoss(reduction=reduction, zero_infinity=zero_infinity)(
            logits.log_softmax(-1), targets, t.tensor(inputs), t.tensor(lengths))
        loss.sum().backward()
        return loss, logits.grad

    same(*both(run))
    found, expected = both(lambda t: run(t, False)[0])
    assert np.array_equal(np.isinf(found.detach().numpy()), np.isinf(expected.detach().numpy()))


def test_ctc_of_one_sequence() -> None:
    def run(t):
        log_probs = t.randn(6, 4).log_softmax(-1)
        return (t.nn.functional.ctc_loss(log_probs, t.tensor([1, 3]), t.tensor(6), t.tensor(2)),
                t.nn.functional.ctc_loss(log_probs, t.tensor([1, 0]), t.tensor(6), t.tensor(2),
                                         blank=2))

    same(*both(run))
    with pytest.raises(RuntimeError, match="blank must be in label range"):
        aot.nn.functional.ctc_loss(aot.zeros(3, 1, 2), aot.ones(1, 1).long(), [3], [1], blank=5)


@pytest.mark.parametrize("dims", [1, 3])
def test_unpooling(dims: int) -> None:
    def run(t):
        nn = t.nn
        pool = getattr(nn, f"MaxPool{dims}d")(2, 2, return_indices=True)
        undo = getattr(nn, f"MaxUnpool{dims}d")(2, 2)
        x = t.rand(2, 3, *[4, 6, 4][:dims]).requires_grad_()
        y, indices = pool(x)
        out = undo(y, indices)
        larger = undo(y, indices, [n + 1 for n in x.shape[2:]])
        (out.square().sum() + larger.sum()).backward()
        return out, larger, x.grad, repr(undo)

    same(*both(run))
    with pytest.raises(ValueError, match="invalid output_size"):
        aot.nn.MaxUnpool1d(2)(aot.rand(1, 2), aot.zeros(1, 2).long(), [9])


@pytest.mark.parametrize("dims", [2, 3])
def test_fractional_pooling(dims: int) -> None:
    def run(t):
        make = getattr(t.nn, f"FractionalMaxPool{dims}d")
        function = getattr(t.nn.functional, f"fractional_max_pool{dims}d")
        x = t.rand(2, 3, *[9, 8, 7][:dims]).requires_grad_()
        samples = t.rand(2, 3, dims)
        y, indices = make(2, output_size=[4, 3, 5][:dims], return_indices=True,
                          _random_samples=samples)(x)
        z = function(x, (3, 2, 2)[:dims], output_ratio=(0.5,) * dims, _random_samples=samples)
        (y.square().sum() + z.sum()).backward()
        t.manual_seed(5)
        drawn = make(2, output_ratio=0.6)(x)
        return y, indices, z, x.grad, drawn, repr(make(2, 3))

    same(*both(run))


def test_other_layers() -> None:
    def run(t):
        nn = t.nn
        a, b, c = t.randn(4, 3), t.randn(4, 3), t.randn(4, 3)
        plain = nn.TripletMarginWithDistanceLoss()
        own = nn.TripletMarginWithDistanceLoss(
            distance_function=lambda x, y: 1 - t.nn.functional.cosine_similarity(x, y),
            margin=0.5, swap=True, reduction="none")
        return (plain(a, b, c), own(a, b, c), nn.LPPool3d(2, 2)(t.rand(1, 1, 4, 4, 4)),
                repr(nn.LPPool3d(2, 2)), repr(nn.CTCLoss()), repr(plain))

    same(*both(run))
