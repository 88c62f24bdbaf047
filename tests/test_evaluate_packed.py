"""Packed sequences and recurrent layers over them, against PyTorch, live."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from runtime.errors import RuntimeFailure
from tests.conftest import import_torch

torch = import_torch()
nn, Tensor = torch.nn, torch.Tensor
pack, pad = nn.utils.rnn.pack_padded_sequence, nn.utils.rnn.pad_packed_sequence
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Encoder(nn.Module):
    """As text and speech encoders have it: any order, both directions."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(5, 4, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor):
        packed = pack(x, lengths, batch_first=True, enforce_sorted=False)
        y, (h, c) = self.rnn(packed)
        return pad(y, batch_first=True)[0], h, c


class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.rnn = nn.GRU(5, 4), nn.RNN(4, 3)

    def forward(self, x: Tensor, lengths: Tensor):
        y, h = self.gru(pack(x, lengths))
        z, last = self.rnn(y, torch.ones(1, 3, 3))
        out, n = pad(z, padding_value=-2.0, total_length=9)
        return out, h, last, n, y.data.sum(), y.batch_sizes


@pytest.mark.parametrize("module, shape, lengths", [
    (Encoder(), (3, 7, 5), [[4, 7, 2], [1, 3, 3]]), (Sorted(), (7, 3, 5), [[7, 4, 1], [5, 5, 2]])])
@pytest.mark.parametrize("traced", [True, False])
def test_against_pytorch(module, shape, lengths, traced):
    x, module = torch.sin(torch.arange(105.0)).view(shape), module.eval()
    first = torch.tensor(lengths[0])
    if traced:
        scripted = torch.jit.trace(module, (x, first), check_trace=False)
    else:
        scripted = torch.jit.script(module)
    compiled = aot.compile(scripted, example_inputs=(x, first), cache=False)
    for n in lengths:
        given = x, torch.tensor(n)
        for ours, theirs in zip(compiled(*given), module(*given)):
            np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-5)


def test_lengths_are_checked():
    x = torch.zeros(7, 3, 5)
    scripted = torch.jit.script(Sorted().eval())
    compiled = aot.compile(scripted, example_inputs=(x, torch.tensor([7, 4, 1])), cache=False)
    for wrong in ([4, 7, 1], [7, 4, 0], [8, 4, 1]):
        with pytest.raises(RuntimeFailure, match="sorted in decreasing order"):
            compiled(x, torch.tensor(wrong))
