"""Operators that draw random numbers: x.normal_(), bernoulli, dropout, multinomial."""

from __future__ import annotations

import math

import numpy as np

from aot import autograd_graph, random
from aot.dispatch import SPECIAL, call, new_tensor
from aot.random import Generator
from aot.tensor_core import Tensor
from runtime import dtypes


def _target(t: Tensor) -> Tensor:
    autograd_graph.check_in_place(t)
    return t


def _uniform(t: Tensor, from_: float = 0.0, to: float = 1.0, generator: Generator | None = None,
             **kwargs: float) -> Tensor:
    low, high = kwargs.get("from", from_), to
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > "
                           f"to={high}")
    return random.fill(_target(t), lambda g, n, _: random.uniform_values(g, n, t.row, low, high),
                       generator)


def _normal(t: Tensor, mean: float = 0.0, std: float = 1.0,
            generator: Generator | None = None) -> Tensor:
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return random.fill(_target(t), lambda g, n, dense: random.normal_values(
        g, n, t.row, float(mean), float(std), dense), generator)


def _bernoulli_fill(t: Tensor, p: object = 0.5, generator: Generator | None = None) -> Tensor:
    if isinstance(p, Tensor):
        chances = np.broadcast_to(p._values(), t._data.sizes).reshape(-1)
        return random.fill(_target(t), lambda g, n, _: _below(g, chances, p.row), generator)
    if not 0 <= p <= 1:  # type: ignore[operator]
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return random.fill(_target(t), lambda g, n, _: _truth(g.uniform53(n) < p, t.row), generator)


def _below(g: Generator, chances: np.ndarray, row: dtypes.DType) -> np.ndarray:
    draws = g.uniform53(len(chances)) if row is dtypes.f64 else g.uniform24(len(chances))
    return (draws < chances).astype(np.float32)


def _truth(x: np.ndarray, row: dtypes.DType) -> np.ndarray:
    return x.astype(row.compute)


def _bernoulli(p: Tensor, chance: float | None = None, generator: Generator | None = None,
               **kwargs: float) -> Tensor:
    """1 with the probability that the element says."""
    chance = kwargs.get("p", chance)
    fresh = new_tensor(np.zeros(p._data.sizes, p.row.compute), p.row)
    return _bernoulli_fill(fresh, p.detach() if chance is None else chance, generator)


def _exponential(t: Tensor, lambd: float = 1.0, generator: Generator | None = None) -> Tensor:
    return random.fill(_target(t), lambda g, n, _: -np.log1p(-g.uniform53(n)) / lambd, generator)


def _cauchy(t: Tensor, median: float = 0.0, sigma: float = 1.0,
            generator: Generator | None = None) -> Tensor:
    return random.fill(_target(t), lambda g, n, _: median + sigma * np.tan(
        math.pi * (g.uniform53(n) - 0.5)), generator)


def _log_normal(t: Tensor, mean: float = 1.0, std: float = 2.0,
                generator: Generator | None = None) -> Tensor:
    return random.fill(_target(t), lambda g, n, _: np.exp(g.normals(n) * std + mean), generator)


def _geometric(t: Tensor, p: float, generator: Generator | None = None) -> Tensor:
    return random.fill(_target(t), lambda g, n, _: np.ceil(
        np.log(g.uniform53(n)) / math.log1p(-p)), generator)


def _random(t: Tensor, low: int | None = None, high: int | None = None,
            generator: Generator | None = None, **kwargs: int) -> Tensor:
    """random_(), random_(to), random_(from, to)."""
    low, high = kwargs.get("from", low), kwargs.get("to", high)
    if low is None and high is None:
        return random.fill(_target(t), lambda g, n, _: random.any_values(g, n, t.row), generator)
    low, high = (0, low) if high is None else (low or 0, high)
    return random.fill(_target(t), lambda g, n, _: random.integer_values(g, n, low, high),
                       generator)


def _keep(x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """1 / (1 - p) with probability 1 - p, else 0."""
    mask = new_tensor(np.zeros(shape, x.row.compute), x.row)
    _bernoulli_fill(mask, 1 - p)
    if p < 1:
        mask._write(mask._values() / x.row.compute.type(1 - p))
    return mask


def _dropped(x: Tensor, p: float, train: bool, shape: tuple[int, ...]) -> Tensor:
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not train or p == 0 or x.numel() == 0:
        return x
    if p == 1:
        return call("aten::mul", (x, call("aten::zeros_like", (x,))))  # type: ignore
    return call("aten::mul", (x, _keep(x, p, shape)))  # type: ignore[return-value]


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return _dropped(input, p, train, input._data.sizes)


def _feature_shape(x: Tensor) -> tuple[int, ...]:
    if x.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (*x._data.sizes[:2], *[1] * (x.ndim - 2))


def _feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return _dropped(input, p, train, _feature_shape(input))


_ALPHA = 1.7580993408473766


def _alpha(x: Tensor, p: float, train: bool, shape: tuple[int, ...]) -> Tensor:
    """Dropped values become SELU's saturation value; mean and variance stay (Klambauer 2017)."""
    if not train or p == 0 or x.numel() == 0:
        return x
    if p == 1:
        return call("aten::mul", (x, call("aten::zeros_like", (x,))))  # type: ignore
    mask = new_tensor(np.zeros(shape, x.row.compute), x.row)
    _bernoulli_fill(mask, 1 - p)
    a = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = (mask - 1) * (_ALPHA * a) + _ALPHA * a * p
    return x * (mask * a) + shift


def _alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return _alpha(input, p, train, input._data.sizes)


def _feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return _alpha(input, p, train, _feature_shape(input))


def _multinomial(input: Tensor, num_samples: int, replacement: bool = False,
                 generator: Generator | None = None) -> Tensor:
    """Positions drawn with probabilities in proportion to the rows' values."""
    g = random._stream(generator)
    rows = np.atleast_2d(input._values())
    if not replacement:
        # the fewest of exponential / probability: PyTorch's draw without replacement
        q = -np.log1p(-g.uniform53(rows.size)).reshape(rows.shape)
        ratio = rows / q.astype(rows.dtype)
        picked = np.argsort(-ratio, axis=1, kind="stable")[:, :num_samples]
    else:
        cumulative = np.cumsum(rows.astype(np.float64), axis=1)
        cumulative /= cumulative[:, -1:]
        draws = g.uniform53(len(rows) * num_samples).reshape(len(rows), num_samples)
        picked = np.stack([np.searchsorted(c, d, "left") for c, d in zip(cumulative, draws)])
    out = picked.astype(np.int64)
    return new_tensor(out if input.ndim == 2 else out[0], dtypes.i64)


def _rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
           generator: Generator | None = None) -> object:
    """Random slopes of negative elements in training; otherwise the table's operator."""
    if not training:
        return NotImplemented
    x = input
    slopes = np.ones(x._data.sizes, x.row.compute).reshape(-1)
    below = (x._values() <= 0).reshape(-1)
    g = random._stream(generator)
    slopes[below] = g.uniform53(int(below.sum())) * (upper - lower) + lower
    return call("aten::mul", (x, new_tensor(slopes.reshape(x._data.sizes), x.row)))


def _in_place(function):
    def change(input: Tensor, *args: object) -> Tensor:
        return call("aten::copy_", (input, function(input, *args)))  # type: ignore[return-value]

    return change


SPECIAL.update({
    "aten::uniform_": _uniform, "aten::normal_": _normal, "aten::bernoulli_": _bernoulli_fill,
    "aten::bernoulli": _bernoulli, "aten::exponential_": _exponential, "aten::cauchy_": _cauchy,
    "aten::log_normal_": _log_normal, "aten::geometric_": _geometric, "aten::random_": _random,
    "aten::dropout": _dropout, "aten::feature_dropout": _feature_dropout,
    "aten::alpha_dropout": _alpha_dropout, "aten::feature_alpha_dropout": _feature_alpha_dropout,
    "aten::dropout_": _in_place(_dropout), "aten::feature_dropout_": _in_place(_feature_dropout),
    "aten::alpha_dropout_": _in_place(_alpha_dropout),
    "aten::feature_alpha_dropout_": _in_place(_feature_alpha_dropout),
    "aten::multinomial": _multinomial, "aten::rrelu": _rrelu,
})
