"""One step of the recurrent networks, and the cell operators.

Gates come in PyTorch's order along one dim of size gates * hidden: input, forget, cell, output for
the LSTM; reset, update, new for the GRU. Each step is given the gates' inputs as an expression, so
that a sequence can compute its input products for all steps at once.
"""

from __future__ import annotations

from typing import Callable

from lowering import expr as E
from lowering.build import compute, compute_dtype
from lowering.expr import Expr
from lowering.ops.matmul import add_bias, contract
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType

# (gate, batch index, hidden index) -> a part of that gate's input, in the dtype computed in
Gate = Callable[[int, Expr, Expr], Expr]


def sigmoid(a: Expr) -> Expr:
    return 1 / (1 + E.unary("exp", -a))


def product(x: Value, weight: Value, bias: Value | None = None) -> Value:
    """x weight^T + bias, (b, in), (out, in) -> (b, out), not rounded to the dtype of x."""
    dtype = compute_dtype(x.dtype)
    return add_bias(contract(x, "bk", weight, "nk", "bn", dtype), bias, dtype)


def gates_of(x: Value, hidden: int) -> Gate:
    """The gates in a product of shape (b, gates * hidden)."""
    return lambda gate, b, h: E.load(x, (b, h + gate * hidden))


def _state(x: Value, b: Expr, h: Expr, dtype: DType) -> Expr:
    return E.cast(E.load(x, (b, h)), dtype)


def lstm_step(x: Gate, y: Gate, cell: Value, hidden: Value) -> tuple[Value, Value]:
    """The next hidden and cell state of shape (b, cell size): c' = f * c + i * g,
    h' = o * tanh(c')."""
    dtype = cell.dtype
    working = compute_dtype(dtype)

    def gate(k: int, b: Expr, h: Expr) -> Expr:
        return x(k, b, h) + y(k, b, h)

    def next_cell(b: Expr, h: Expr) -> Expr:
        kept = sigmoid(gate(1, b, h)) * _state(cell, b, h, working)
        return E.cast(kept + sigmoid(gate(0, b, h)) * E.unary("tanh", gate(2, b, h)), dtype)

    c = compute(cell.shape, next_cell)
    h = compute(cell.shape, lambda b, k: E.cast(
        sigmoid(gate(3, b, k)) * E.unary("tanh", _state(c, b, k, working)), hidden.dtype))
    return h, c


def gru_step(x: Gate, y: Gate, hidden: Value) -> Value:
    """The next state: n = tanh(x_n + r * y_n), h' = n + z * (h - n); y is the hidden product."""
    working = compute_dtype(hidden.dtype)

    def body(b: Expr, h: Expr) -> Expr:
        reset = sigmoid(x(0, b, h) + y(0, b, h))
        update = sigmoid(x(1, b, h) + y(1, b, h))
        new = E.unary("tanh", x(2, b, h) + reset * y(2, b, h))
        return E.cast(new + update * (_state(hidden, b, h, working) - new), hidden.dtype)

    return compute(hidden.shape, body)


def simple_step(x: Gate, y: Gate, hidden: Value, relu: bool) -> Value:
    """h' = tanh(x + y), or its positive part."""
    def body(b: Expr, h: Expr) -> Expr:
        a = x(0, b, h) + y(0, b, h)
        return E.cast(E.maximum(a, 0) if relu else E.unary("tanh", a), hidden.dtype)

    return compute(hidden.shape, body)


# Cells


def _products(x: Value, hidden: Value, w_ih: Value, w_hh: Value, b_ih: Value | None,
              b_hh: Value | None, gates: int) -> tuple[Gate, Gate]:
    size = hidden.shape[1]
    _check(x, hidden, w_ih, gates)
    return gates_of(product(x, w_ih, b_ih), size), gates_of(product(hidden, w_hh, b_hh), size)


def _check(x: Value, hidden: Value, w_ih: Value, gates: int) -> None:
    if x.shape[1] != w_ih.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {x.shape[1]} expected "
                           f"{w_ih.shape[1]}")
    if x.shape[0] != hidden.shape[0]:
        raise RuntimeError(f"Input batch size {x.shape[0]} doesn't match hidden0 batch size "
                           f"{hidden.shape[0]}")
    if hidden.shape[1] * gates != w_ih.shape[0]:
        raise RuntimeError(f"hidden0 has inconsistent hidden_size: got {hidden.shape[1]}, expected "
                           f"{w_ih.shape[0] // gates}")


@aten("lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
      "Tensor? b_hh=None) -> (Tensor, Tensor)")
def lstm_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """Shapes: input (b, in), hx two of (b, hidden), w_ih (4 * hidden, in)."""
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    a, b = _products(x, hx[0], w_ih, w_hh, b_ih, b_hh, 4)
    return lstm_step(a, b, hx[1], hx[0])


@aten("gru_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? "
      "b_hh=None) -> Tensor")
def gru_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return gru_step(*_products(x, hx, w_ih, w_hh, b_ih, b_hh, 3), hx)


@aten("rnn_tanh_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
      "Tensor? b_hh=None) -> Tensor")
def rnn_tanh_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return simple_step(*_products(x, hx, w_ih, w_hh, b_ih, b_hh, 1), hx, False)


@aten("rnn_relu_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
      "Tensor? b_hh=None) -> Tensor")
def rnn_relu_cell(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    return simple_step(*_products(x, hx, w_ih, w_hh, b_ih, b_hh, 1), hx, True)
