"""Operators that PyTorch records as the operators they are made of: recurrent cells."""

from __future__ import annotations

from collections.abc import Callable

import aot as torch
from aot.tensor_core import Tensor


def lstm_cell(input: Tensor, hx: list[Tensor], w_ih: Tensor, w_hh: Tensor,
              b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> list[Tensor]:
    """The next output and cell state (Hochreiter and Schmidhuber 1997)."""
    hidden, cell = hx
    gates = torch.linear(hidden, w_hh, b_hh).add_(torch.linear(input, w_ih, b_ih))
    i, f, g, o = torch.unsafe_chunk(gates, 4, 1)
    i, f, g, o = i.sigmoid_(), f.sigmoid_(), g.tanh_(), o.sigmoid_()
    new_cell = (f * cell).add_(i * g)
    return [o * new_cell.tanh(), new_cell]


def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
             b_hh: Tensor | None = None) -> list[Tensor]:
    """The next hidden state (Cho et al. 2014)."""
    reset_i, update_i, new_i = torch.unsafe_chunk(torch.linear(input, w_ih, b_ih), 3, 1)
    reset_h, update_h, new_h = torch.unsafe_chunk(torch.linear(hx, w_hh, b_hh), 3, 1)
    reset = reset_h.add_(reset_i).sigmoid_()
    update = update_h.add_(update_i).sigmoid_()
    new = torch.add(new_i, new_h.mul_(reset)).tanh_()
    return [(hx - new).mul_(update).add_(new)]


def _simple(activation: str) -> Callable:
    def cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
             b_hh: Tensor | None = None) -> list[Tensor]:
        gates = torch.linear(hx, w_hh, b_hh).add_(torch.linear(input, w_ih, b_ih))
        return [getattr(gates, activation)()]

    return cell


# Each is called like the operator and gives a list of its results.
MADE_OF: dict[str, Callable[..., list[Tensor]]] = {
    "aten::lstm_cell": lstm_cell, "aten::gru_cell": gru_cell,
    "aten::rnn_tanh_cell": _simple("tanh"), "aten::rnn_relu_cell": _simple("relu"),
}
