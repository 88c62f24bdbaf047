"""Operators that draw random numbers: x.normal_(), bernoulli, dropout, multinomial."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np

from aot import autograd_graph, random
from aot.dispatch import SPECIAL, call, new_tensor
from aot.random import Generator
from aot.tensor_core import Tensor
from lowering.ops import dropout, random_choice
from lowering.ops import random as operators
from lowering.tensor_ir import Value
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
    return random.fill(_target(t), generator, operators.uniform_values, low, high)


def _normal(t: Tensor, mean: float = 0.0, std: float = 1.0,
            generator: Generator | None = None) -> Tensor:
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return random.fill(_target(t), generator, operators.normal_values, float(mean), float(std),
                       t._data.is_contiguous)


def _bernoulli_fill(t: Tensor, p: object = 0.5, generator: Generator | None = None) -> Tensor:
    if isinstance(p, Tensor):
        t._write(random.drawn(random.stream_of(generator), operators.chances_of, t._data.sizes,
                              t.row, given=[(p._values(), p.row)]))
        return t
    if not 0 <= p <= 1:  # type: ignore[operator]
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return random.fill(_target(t), generator, operators.chances, p)


def _bernoulli(p: Tensor, chance: float | None = None, generator: Generator | None = None,
               **kwargs: float) -> Tensor:
    """1 with the probability that the element says."""
    chance = kwargs.get("p", chance)
    fresh = new_tensor(np.zeros(p._data.sizes, p.row.compute), p.row)
    return _bernoulli_fill(fresh, p.detach() if chance is None else chance, generator)


def _filled(values: Callable[..., Value]) -> Callable[..., Tensor]:
    """The in-place operator of a distribution of one or two numbers."""
    def change(t: Tensor, *parameters: float, generator: Generator | None = None,
               **named: float) -> Tensor:
        return random.fill(_target(t), generator, values, *parameters, *named.values())

    return change


def _random(t: Tensor, low: int | None = None, high: int | None = None,
            generator: Generator | None = None, **kwargs: int) -> Tensor:
    """random_(), random_(to), random_(from, to)."""
    low, high = kwargs.get("from", low), kwargs.get("to", high)
    if low is None and high is None:
        return random.fill(_target(t), generator, operators.any_values)
    low, high = (0, low) if high is None else (low or 0, high)
    return random.fill(_target(t), generator, operators.integer_values, low, high)


def _keep(x: Tensor, p: float, shape: tuple[int, ...]) -> Tensor:
    """1 / (1 - p) with probability 1 - p, else 0."""
    mask = new_tensor(np.zeros(shape, x.row.compute), x.row)
    random.fill(mask, None, operators.chances, 1 - p)
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
    random.fill(mask, None, operators.chances, 1 - p)
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
    return new_tensor(random.drawn(random.stream_of(generator), random_choice.multinomial,
                                   num_samples, replacement,
                                   given=[(input._values(), input.row)]), dtypes.i64)


def _rrelu(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
           generator: Generator | None = None) -> object:
    """Random slopes of negative elements in training; otherwise the table's operator."""
    if not training:
        return NotImplemented
    slopes = random.drawn(random.stream_of(generator), dropout.slopes, lower, upper,
                          given=[(input._values(), input.row)])
    return call("aten::mul", (input, new_tensor(slopes, input.row)))


def _in_place(function):
    def change(input: Tensor, *args: object) -> Tensor:
        return call("aten::copy_", (input, function(input, *args)))  # type: ignore[return-value]

    return change


SPECIAL.update({
    "aten::uniform_": _uniform, "aten::normal_": _normal, "aten::bernoulli_": _bernoulli_fill,
    "aten::bernoulli": _bernoulli, "aten::exponential_": _filled(operators.exponential_values),
    "aten::cauchy_": _filled(operators.cauchy_values),
    "aten::log_normal_": _filled(operators.log_normal_values),
    "aten::geometric_": _filled(operators.geometric_values), "aten::random_": _random,
    "aten::dropout": _dropout, "aten::feature_dropout": _feature_dropout,
    "aten::alpha_dropout": _alpha_dropout, "aten::feature_alpha_dropout": _feature_alpha_dropout,
    "aten::dropout_": _in_place(_dropout), "aten::feature_dropout_": _in_place(_feature_dropout),
    "aten::alpha_dropout_": _in_place(_alpha_dropout),
    "aten::feature_alpha_dropout_": _in_place(_feature_alpha_dropout),
    "aten::multinomial": _multinomial, "aten::rrelu": _rrelu,
})
