"""nn.utils: packed sequences, limits for gradients, vectors of parameters, weight norm, fusion."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")


def both(make) -> list:
    """What a function of the library gives with each, from the same random numbers."""
    out = []
    for t in (aot, torch):
        t.manual_seed(0)
        out.append(make(t))
    return out


def same(a: Any, b: Any) -> None:
    if hasattr(b, "detach"):
        assert str(a.dtype) == str(b.dtype)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)
    elif isinstance(b, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b


LENGTHS = {"sorted": ([4, 3, 3, 1], True), "unsorted": ([1, 4, 2, 3], False)}


@pytest.mark.parametrize("order", LENGTHS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packing(order: str, batch_first: bool) -> None:
    lengths, enforce = LENGTHS[order]

    def run(t):
        rnn = t.nn.utils.rnn
        x = t.rand(4, 4, 2)
        packed = rnn.pack_padded_sequence(x, t.tensor(lengths), batch_first, enforce)
        texts = repr(packed), type(packed).__name__, packed._fields
        return (texts, list(packed), rnn.pad_packed_sequence(packed, batch_first, -1.0, 6),
                rnn.unpack_sequence(packed), packed.to(t.float64).data)

    same(*both(run))


def test_sequences() -> None:
    def run(t):
        rnn = t.nn.utils.rnn
        listed = [t.rand(n, 2) for n in (3, 1, 2)]
        padded = rnn.pad_sequence(listed, True, 0.5)
        return (padded, rnn.pad_sequence(listed, padding_side="left"),
                rnn.unpad_sequence(padded, t.tensor([3, 1, 2]), True),
                list(rnn.pack_sequence(listed, enforce_sorted=False)))

    same(*both(run))
    rnn = aot.nn.utils.rnn
    with pytest.raises(RuntimeError, match="must be sorted in decreasing order"):
        rnn.pack_padded_sequence(aot.rand(3, 2), [1, 3])
    with pytest.raises(RuntimeError, match="has to be greater than 0"):
        rnn.pack_padded_sequence(aot.rand(3, 2), [3, 0])
    packed = rnn.pack_padded_sequence(aot.rand(3, 2), [3, 2])
    with pytest.raises(ValueError, match="total_length=2 and max sequence length being 3"):
        rnn.pad_packed_sequence(packed, total_length=2)


LAYERS = {
    "RNN": lambda nn: nn.RNN(3, 4, 2, nonlinearity="relu", bidirectional=True),
    "GRU": lambda nn: nn.GRU(3, 4, 2, bidirectional=True, bias=False),
    "LSTM": lambda nn: nn.LSTM(3, 4, 2, bidirectional=True),
    "LSTM proj": lambda nn: nn.LSTM(3, 4, proj_size=2, batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_over_packed_sequences(name: str) -> None:
    """Results and gradients, without and with a state to begin with."""

    def run(t):
        layer = LAYERS[name](t.nn)
        x = t.rand(4, 5, 3).requires_grad_()
        rnn = t.nn.utils.rnn
        packed = rnn.pack_padded_sequence(x, [2, 4, 1, 3] + [4] * (not layer.batch_first),
                                          layer.batch_first, False)
        out, state = layer(packed)
        again, _ = layer(packed, state)
        (out.data.sum() + again.data.square().sum()).backward()
        return (list(out), state, again.data, x.grad, [p.grad for p in layer.parameters()],
                rnn.pad_packed_sequence(out))

    same(*both(run))


@pytest.mark.parametrize("name", LAYERS)
def test_scripted_layers_take_both(name: str) -> None:
    """Both signatures are compiled, as PyTorch's text has them; archives hold them."""
    texts = []
    for t in (aot, torch):
        t.manual_seed(0)
        scripted = t.jit.script(LAYERS[name](t.nn))
        if t is aot:
            texts.append({n: scripted.method(n).code for n in scripted.method_names()})
            ours = scripted
        else:
            names = scripted._c._method_names()
            texts.append({n: scripted._c._get_method(n).code for n in names})
            theirs = scripted
    assert texts[0] == texts[1]
    x = np.random.default_rng(0).random((4, 4, 3), np.float32)
    lengths = [4, 3, 2, 1]
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.from_numpy(x), lengths,
                                                     "proj" in name)
    mine = aot.nn.utils.rnn.pack_padded_sequence(aot.tensor(x), lengths, "proj" in name)
    loaded = torch.jit.load(io.BytesIO(ours.save_to_buffer()))
    for given, own in ((packed, mine), (torch.from_numpy(x), aot.tensor(x))):
        kind = "forward__1" if isinstance(given, tuple) else "forward__0"
        expected = getattr(theirs, kind)(given)
        same(ours(own), expected)
        same(getattr(loaded, kind)(given), expected)


def test_limits_for_gradients() -> None:
    def run(t):
        def layer():
            made = t.nn.Linear(3, 2)
            (made(t.ones(4, 3)) * 3).sum().backward()
            return made

        out = []
        for limit, kind in ((1.0, 2.0), (100.0, 2.0), (0.5, float("inf")), (0.5, 1.0)):
            made = layer()
            out += [t.nn.utils.clip_grad_norm_(made.parameters(), limit, kind),
                    [p.grad for p in made.parameters()]]
        made = layer()
        t.nn.utils.clip_grad_value_(made.parameters(), 5.0)
        return out + [[p.grad for p in made.parameters()]]

    same(*both(run))
    p = aot.nn.Parameter(aot.ones(2))
    p.grad = aot.tensor([1.0, float("inf")])
    with pytest.raises(RuntimeError, match="is non-finite"):
        aot.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)


def test_vectors_of_parameters() -> None:
    def run(t):
        layer = t.nn.Linear(3, 2)
        vector = t.nn.utils.parameters_to_vector(layer.parameters())
        t.nn.utils.vector_to_parameters(vector * 2, layer.parameters())
        return vector, layer.weight, layer.bias, layer(t.ones(1, 3)), layer.weight.requires_grad

    same(*both(run))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim) -> None:
    def run(t):
        layer = t.nn.utils.weight_norm(t.nn.Linear(3, 2), dim=dim)
        y = layer(t.ones(1, 3))
        y.sum().backward()
        names = sorted(n for n, _ in layer.named_parameters())
        grads = [dict(layer.named_parameters())[n].grad for n in names]
        out = (y, names, grads, repr(layer))
        t.nn.utils.remove_weight_norm(layer)
        return (*out, sorted(n for n, _ in layer.named_parameters()), layer.weight,
                layer(t.ones(1, 3)))

    same(*both(run))
    with pytest.raises(ValueError, match="weight_norm of 'weight' not found"):
        aot.nn.utils.remove_weight_norm(aot.nn.Linear(2, 2))


def test_fused_batch_norms() -> None:
    def run(t):
        utils, nn = t.nn.utils, t.nn
        norm, conv = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 2)
        norm.running_mean.copy_(t.rand(4))
        norm.running_var.copy_(t.rand(4))
        linear, flat = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4)
        flat.running_mean.copy_(t.rand(4))
        for layer in (norm, conv, linear, flat):
            layer.eval()
        x, y = t.rand(2, 3, 5, 5), t.rand(2, 3)
        fused, folded = utils.fuse_conv_bn_eval(conv, norm), utils.fuse_linear_bn_eval(linear, flat)
        assert t.allclose(fused(x), norm(conv(x)), atol=1e-5)
        assert t.allclose(folded(y), flat(linear(y)), atol=1e-5)
        return fused(x), folded(y), fused.weight, folded.bias

    same(*both(run))
