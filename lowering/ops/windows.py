"""Window functions of signal processing, as sequences of a length known at compile time."""

from __future__ import annotations

import math
from typing import Callable

from lowering import expr as E
from lowering.build import compute, full
from lowering.expr import Expr
from lowering.ops.table import aten
from lowering.tensor_ir import Value
from runtime.dtypes import DType, f32, f64

_MAKE = ("*, ScalarType? dtype=None, Layout? layout=None, Device? device=None, "
         "bool? pin_memory=None) -> Tensor")


def _window(name: str, length: int, periodic: bool, dtype: DType | None,
            fn: Callable[[Expr], Expr]) -> Value:
    """fn of x = i / (n - 1), computed in f64; a periodic window is one of n + 1 less its last."""
    out = dtype or f32
    if not out.is_float:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {out.torch_name}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length="
                           f"{length}")
    if length <= 1:
        return full((length,), 1, out)
    last = length if periodic else length - 1
    return compute((length,), lambda i: E.cast(fn(E.cast(i, f64) / last), out))


def _cosines(*factors: float) -> Callable[[Expr], Expr]:
    """factors[0] - factors[1] cos(2 pi x) + factors[2] cos(4 pi x) ..."""
    def fn(x: Expr) -> Expr:
        total = E.const(factors[0], f64)
        for k, factor in enumerate(factors[1:], 1):
            term = E.unary("cos", x * (2 * math.pi * k)) * factor
            total = total - term if k % 2 else total + term
        return total

    return fn


@aten(f"hann_window(int window_length, {_MAKE}",
      f"hann_window.periodic(int window_length, bool periodic, {_MAKE}")
def hann_window(window_length, periodic=True, *, dtype=None, **place):
    return _window("hann_window", window_length, periodic, dtype, _cosines(0.5, 0.5))


@aten(f"hamming_window(int window_length, {_MAKE}",
      f"hamming_window.periodic(int window_length, bool periodic, {_MAKE}",
      f"hamming_window.periodic_alpha(int window_length, bool periodic, float alpha, {_MAKE}",
      "hamming_window.periodic_alpha_beta(int window_length, bool periodic, float alpha, "
      f"float beta, {_MAKE}")
def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, **place):
    return _window("hamming_window", window_length, periodic, dtype, _cosines(alpha, beta))


@aten(f"blackman_window(int window_length, {_MAKE}",
      f"blackman_window.periodic(int window_length, bool periodic, {_MAKE}")
def blackman_window(window_length, periodic=True, *, dtype=None, **place):
    return _window("blackman_window", window_length, periodic, dtype, _cosines(0.42, 0.5, 0.08))


@aten(f"bartlett_window(int window_length, {_MAKE}",
      f"bartlett_window.periodic(int window_length, bool periodic, {_MAKE}")
def bartlett_window(window_length, periodic=True, *, dtype=None, **place):
    return _window("bartlett_window", window_length, periodic, dtype,
                   lambda x: 1 - E.unary("abs", 2 * x - 1))
