"""Recurrent layers over packed sequences, step by step: lstm, gru and rnn with `batch_sizes`"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aot.dispatch import SPECIAL, call, new_tensor
from aot.tensor_core import Tensor
from runtime import dtypes

Step = Callable[[Tensor, list[Tensor], Sequence[Tensor]], list[Tensor]]


def _lstm_step(x: Tensor, state: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The next (h, c)."""
    if len(weights) in (3, 5):
        return _projected_step(x, state, weights)
    return list(call("aten::lstm_cell", (x, state, *weights)))  # type: ignore[call-overload]


def _projected_step(x: Tensor, state: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The next (h, c) where the last weight projects h to fewer elements (Sak et al. 2014)."""
    (h, c), (w_ih, w_hh, *biases, w_hr) = state, weights
    b_ih, b_hh = biases or (None, None)
    gates = call("aten::linear", (x, w_ih, b_ih)) + call("aten::linear", (h, w_hh, b_hh))
    i, f, g, o = call("aten::chunk", (gates, 4, 1))  # type: ignore[misc]
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return [call("aten::linear", (o.sigmoid() * c.tanh(), w_hr)), c]  # type: ignore[list-item]


def _simple_step(name: str) -> Step:
    def step(x: Tensor, state: list[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
        return [call(f"aten::{name}", (x, state[0], *weights))]  # type: ignore[list-item]

    return step


def _rows(t: Tensor, begin: int, end: int) -> Tensor:
    return call("aten::slice", (t, 0, begin, end))  # type: ignore[return-value]


def _joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    return parts[0] if len(parts) == 1 else call("aten::cat", (list(parts), dim))  # type: ignore


def _forwards(step: Step, data: Tensor, sizes: list[int], state: list[Tensor],
              weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One direction; sequences that end leave the state, which is put together at the end."""
    outputs, ended, begin = [], [], 0
    for count in sizes:
        if count < state[0]._data.sizes[0]:
            ended.append([_rows(s, count, s._data.sizes[0]) for s in state])
            state = [_rows(s, 0, count) for s in state]
        state = step(_rows(data, begin, begin + count), state, weights)
        outputs.append(state[0])
        begin += count
    return _joined(outputs), [_joined(parts) for parts in zip(state, *reversed(ended))]


def _backwards(step: Step, data: Tensor, sizes: list[int], start: list[Tensor],
               weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The other direction; sequences that begin join the state."""
    outputs, end = [], sum(sizes)
    state = [_rows(s, 0, sizes[-1]) for s in start]
    for count in reversed(sizes):
        known = state[0]._data.sizes[0]
        if count > known:
            state = [_joined([s, _rows(first, known, count)]) for s, first in zip(state, start)]
        state = step(_rows(data, end - count, end), state, weights)
        outputs.append(state[0])
        end -= count
    return _joined(outputs[::-1]), state


def _packed(step: Step, data: Tensor, batch_sizes: Tensor, start: Sequence[Tensor],
            params: Sequence[Tensor], num_layers: int, dropout: float, train: bool,
            bidirectional: bool) -> tuple[Tensor, ...]:
    """(output, *final states) of layers over packed data; each of `start` is [layers * directions,
    batch, width]."""
    sizes = [int(n) for n in batch_sizes.tolist()]
    directions = 2 if bidirectional else 1
    count = len(params) // (num_layers * directions)
    finals: list[list[Tensor]] = []
    for layer in range(num_layers):
        outputs = []
        for k in range(layer * directions, (layer + 1) * directions):
            state = [call("aten::select", (s, 0, k)) for s in start]
            run = _backwards if k % directions else _forwards
            out, final = run(step, data, sizes, state, params[k * count:(k + 1) * count])
            outputs.append(out)
            finals.append(final)
        data = _joined(outputs, 1)
        if dropout and train and layer + 1 < num_layers:
            data = call("aten::dropout", (data, dropout, True))  # type: ignore[assignment]
    stacked = [call("aten::stack", (list(parts), 0)) for parts in zip(*finals)]
    return (data, *stacked)  # type: ignore[return-value]


def _overload(step: Step) -> Callable:
    """The operator over packed data; NotImplemented for padded data, which the table does."""

    def operator(data: Tensor, batch_sizes: object, *rest: object) -> object:
        if len(rest) != 7 or not isinstance(batch_sizes, Tensor) or batch_sizes.row.is_float:
            return NotImplemented
        hx, params, _, num_layers, dropout, train, bidirectional = rest
        start = [hx] if isinstance(hx, Tensor) else list(hx)  # type: ignore[call-overload]
        return _packed(step, data, batch_sizes, start, params, num_layers, dropout, train,
                       bidirectional)  # type: ignore[arg-type]

    return operator


def _pack(padded: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """Padded sequences, longest first, as (data, batch_sizes)."""
    counts = [int(n) for n in lengths.tolist()]
    if any(n <= 0 for n in counts):
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element "
                           "in 'lengths' that is <= 0")
    if any(a < b for a, b in zip(counts, counts[1:])):
        raise RuntimeError("`lengths` array must be sorted in decreasing order when "
                           "`enforce_sorted` is True. You can pass `enforce_sorted=False` to "
                           "pack_padded_sequence and/or pack_sequence to sidestep this requirement "
                           "if you do not need ONNX exportability.")
    if batch_first:
        padded = call("aten::transpose", (padded, 0, 1))  # type: ignore[assignment]
    if len(counts) != padded._data.sizes[1]:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got "
                           f"{len(counts)} (batch_size={padded._data.sizes[1]})")
    sizes = [sum(n > t for n in counts) for t in range(counts[0])]
    steps = [_rows(call("aten::select", (padded, 0, t)), 0, n)  # type: ignore[arg-type]
             for t, n in enumerate(sizes)]
    return _joined(steps), new_tensor(np.array(sizes, np.int64), dtypes.i64)


def _pad(data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float,
         total_length: int) -> tuple[Tensor, Tensor]:
    """Packed sequences as (padded, lengths)."""
    sizes = [int(n) for n in batch_sizes.tolist()]
    most, rest, steps, begin = sizes[0], list(data._data.sizes[1:]), [], 0
    for count in [*sizes, *[0] * (total_length - len(sizes))]:
        parts = [_rows(data, begin, begin + count)] if count else []
        if count < most:
            empty = np.full([most - count, *rest], padding_value, data.row.compute)
            parts.append(new_tensor(empty, data.row))
        steps.append(_joined(parts))
        begin += count
    padded = call("aten::stack", (steps, 1 if batch_first else 0))
    lengths = [sum(n > k for n in sizes) for k in range(most)]
    return padded, new_tensor(np.array(lengths, np.int64), dtypes.i64)  # type: ignore


SPECIAL.update({
    "aten::lstm": _overload(_lstm_step), "aten::gru": _overload(_simple_step("gru_cell")),
    "aten::rnn_tanh": _overload(_simple_step("rnn_tanh_cell")),
    "aten::rnn_relu": _overload(_simple_step("rnn_relu_cell")),
    "aten::_pack_padded_sequence": _pack, "aten::_pad_packed_sequence": _pad,
})
