"""Recurrent networks over whole sequences: LSTM, GRU and the simple RNN of any depth and direction.

The products of the inputs of a layer with their weights, for all steps, are one contraction before
the loop. The loop carries the states and the layer's output, into which every step writes its row;
short sequences are unrolled. Both directions write into halves of one output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

from lowering import expr as E
from lowering.build import cast, compute, compute_dtype, full, loop, update
from lowering.expr import Expr
from lowering.ops.matmul import add_bias, contract
from lowering.ops.recurrent_cell import gates_of, gru_step, lstm_step, product, simple_step
from lowering.ops.dropout import drop
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from lowering.views import permute, select
from runtime.dtypes import i64

# Sequences of up to this many steps are written out.
UNROLLED = 4


@dataclass(frozen=True, eq=False)
class Direction:
    """The parameters of one layer and direction: weights (gates * hidden, ...), biases, and the
    projection of the hidden state (LSTM with proj_size)."""

    w_ih: Value
    w_hh: Value
    b_ih: Value | None = None
    b_hh: Value | None = None
    w_hr: Value | None = None


# (direction, input gates at the step, states) -> next states, hidden first
Step = Callable[[Direction, Callable, list[Value]], list[Value]]


def _lstm(d: Direction, x, states: list[Value]) -> list[Value]:
    hidden, cell = states
    h, c = lstm_step(x, gates_of(product(hidden, d.w_hh), cell.shape[1]), cell, hidden)
    if d.w_hr is not None:
        h = contract(h, "bk", d.w_hr, "nk", "bn")
    return [h, c]


def _gru(d: Direction, x, states: list[Value]) -> list[Value]:
    y = product(states[0], d.w_hh, d.b_hh)
    return [gru_step(x, gates_of(y, states[0].shape[1]), states[0])]


def _simple(relu: bool) -> Step:
    def step(d: Direction, x, states: list[Value]) -> list[Value]:
        y = product(states[0], d.w_hh)
        return [simple_step(x, gates_of(y, states[0].shape[1]), states[0], relu)]

    return step


def _inputs(x: Value, d: Direction, batch_first: bool, both_biases: bool) -> Value:
    """The gates' inputs of all steps, (t, b, gates * hidden), in the dtype computed in."""
    dtype = compute_dtype(x.dtype)
    y = contract(x, "btk" if batch_first else "tbk", d.w_ih, "nk", "tbn", dtype)
    y = add_bias(y, d.b_ih, dtype)
    return add_bias(y, d.b_hh, dtype) if both_biases else y


def _run(step: Step, d: Direction, x: Value, states: list[Value], out: Value, offset: int,
         reverse: bool, batch_first: bool, lengths: Value | None = None
         ) -> tuple[Value, list[Value]]:
    """One direction of a layer over gate inputs x (t, b, ...): writes the hidden states into `out`
    from `offset` of its last dim on; also the last states. lengths (b): from there on a sequence
    keeps its states."""
    steps, size = x.shape[0], states[-1].shape[1]

    def advance(t: Expr, out: Value, states: list[Value]) -> list[Value]:
        at = (steps - 1) - t if reverse else t
        before = states
        states = step(d, lambda gate, b, h: E.load(x, (at, b, h + gate * size)), states)
        if lengths is not None:
            states = [_where_inside(lengths, at, s, b) for s, b in zip(states, before)]
        row = states[0]
        written = update(
            out, row.shape,
            lambda b, h: (b, at, h + offset) if batch_first else (at, b, h + offset),
            lambda b, h: E.load(row, (b, h)),
        )
        return [written, *states]

    carried = [out, *states]
    if isinstance(steps, int) and steps <= UNROLLED:
        for t in range(steps):
            carried = advance(E.const(t), carried[0], carried[1:])
    else:
        carried = loop(steps, carried, lambda t, out, *s: advance(E.load(t), out, list(s)))
    return carried[0], list(carried[1:])


def _where_inside(lengths: Value, at: Expr, state: Value, before: Value) -> Value:
    return compute(state.shape, lambda b, h: E.select(
        E.cast(at, i64) < E.load(lengths, (b,)), E.load(state, (b, h)),
        E.cast(E.load(before, (b, h)), state.dtype)))


def _sequence(step: Step, x: Value, initial: Sequence[Value], params: Sequence[Value],
              has_biases: bool, layers: int, dropout: float, train: bool, bidirectional: bool,
              batch_first: bool, both_biases: bool, lengths: Value | None = None
              ) -> tuple[Value, list[Value]]:
    """All layers. initial: states of shape (layers * directions, b, size), hidden first. Returns
    the last layer's output and the final states, stacked as the initial ones. both_biases: the
    bias of the hidden product may be added with the input's."""
    if x.ndim != 3:
        raise RuntimeError(f"input must have 3 dimensions, got {x.ndim}")
    ways = 2 if bidirectional else 1
    directions = _directions(params, has_biases, layers * ways)
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
    if steps == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    for s in initial:
        if s.ndim != 3 or s.shape[:2] != (layers * ways, batch):
            wanted = [layers * ways, batch, s.shape[-1]]
            raise RuntimeError(f"Expected hidden size {wanted}, got {list(s.shape)}")
    size = initial[0].shape[2]
    final = [full(s.shape, 0, s.dtype) for s in initial]
    for layer in range(layers):
        shape = (batch, steps, ways * size) if batch_first else (steps, batch, ways * size)
        out = full(shape, 0, x.dtype)
        for way in range(ways):
            k = layer * ways + way
            d = directions[k]
            _check(x, d)
            hidden, *cell = (select(s.shape, 0, k).get(s) for s in initial)
            # A cell state adds up over the steps: halves would lose what is small.
            states = [hidden, *(cast(c, compute_dtype(c.dtype)) for c in cell)]
            gates = _inputs(x, d, batch_first, both_biases)
            out, states = _run(step, d, gates, states, out, way * size, way == 1, batch_first,
                               lengths)
            final = [_with_row(f, s, k) for f, s in zip(final, states)]
        x = out
        if train and layer < layers - 1:
            x = _drop(x, dropout, batch_first)
    return x, final


def _drop(x: Value, p: float, batch_first: bool) -> Value:
    """Dropout between layers, drawn step by step."""
    if not batch_first:
        return drop(x, p, True)
    dropped = drop(permute(x.shape, (1, 0, 2)).get(x), p, True)
    return permute(dropped.shape, (1, 0, 2)).get(dropped)


def _check(x: Value, d: Direction) -> None:
    if x.shape[2] != d.w_ih.shape[1]:
        raise RuntimeError("input.size(-1) must be equal to input_size. Expected "
                           f"{d.w_ih.shape[1]}, got {x.shape[2]}")
    if x.dtype is not d.w_ih.dtype:
        raise ValueError(f"RNN input dtype ({x.dtype.torch_name}) does not match weight dtype "
                         f"({d.w_ih.dtype.torch_name})")


def _with_row(base: Value, row: Value, k: int) -> Value:
    return update(base, row.shape, lambda b, h: (k, b, h),
                  lambda b, h: E.cast(E.load(row, (b, h)), base.dtype))


def _directions(params: Sequence[Value], has_biases: bool, count: int) -> list[Direction]:
    """Parameters by layer and direction; a fifth (third without biases) is a projection."""
    each, rest = divmod(len(params), count)
    plain = 4 if has_biases else 2
    if rest or each not in (plain, plain + 1):
        raise RuntimeError(f"{count} layers and directions need {plain} parameters each, got "
                           f"{len(params)} in all")
    found = []
    for k in range(count):
        p = list(params[k * each:(k + 1) * each])
        w_hr = p.pop() if each > plain else None
        found.append(Direction(*p, **({"w_hr": w_hr} if w_hr is not None else {})))
    return found


@aten("lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, "
      "float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor, "
      "Tensor)")
def lstm(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    """Results: output (t, b, directions * hidden), or (b, t, ...) with batch_first, and the last
    hidden and cell states (layers * directions, b, ...)."""
    if len(hx) != 2:
        raise RuntimeError("lstm expects two hidden states")
    out, (h, c) = _sequence(_lstm, x, hx, params, has_biases, num_layers, dropout, train,
                            bidirectional, batch_first, True)
    return out, h, c


@aten("gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, "
      "float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)")
def gru(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    out, (h,) = _sequence(_gru, x, [hx], params, has_biases, num_layers, dropout, train,
                          bidirectional, batch_first, False)
    return out, h


@aten("rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int "
      "num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor,"
      " Tensor)")
def rnn_tanh(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    out, (h,) = _sequence(_simple(False), x, [hx], params, has_biases, num_layers, dropout, train,
                          bidirectional, batch_first, True)
    return out, h


@aten("rnn_relu.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int "
      "num_layers, float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor,"
      " Tensor)")
def rnn_relu(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
    out, (h,) = _sequence(_simple(True), x, [hx], params, has_biases, num_layers, dropout, train,
                          bidirectional, batch_first, True)
    return out, h


# The step of a layer, and whether both biases may be added with the input's product.
KINDS: dict[str, tuple[Step, bool]] = {
    "lstm": (_lstm, True), "gru": (_gru, False),
    "rnn_tanh": (_simple(False), True), "rnn_relu": (_simple(True), True),
}


def over_sequences(kind: str, x: Value, initial: Sequence[Value], params: Sequence[Value],
                   has_biases: bool, layers: int, dropout: float, train: bool,
                   bidirectional: bool, lengths: Value) -> tuple[Value, list[Value]]:
    """A layer of KINDS over sequences (t, b, ...) of several lengths (b): what it gives beyond the
    end of one is not specified, its last states are those at its end."""
    step, both_biases = KINDS[kind]
    return _sequence(step, x, initial, params, has_biases, layers, dropout, train, bidirectional,
                     False, both_biases, lengths)
