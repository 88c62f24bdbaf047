"""Resizing of 8-bit images: weights are fixed-point integers, each pass rounds to 8 bits.

The weights of a dim are scaled by the largest power of two that keeps them under 2^15, as image
libraries do; the columns are resized before the rows."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from lowering import expr as E
from lowering.build import constant, generic, reindex
from lowering.tensor_ir import Value
from runtime.dtypes import i32, i64, u8

# (n, out, scale, real) -> positions and weights, both (out, taps)
Taps = Callable[[int, int, "float | None", type], tuple[np.ndarray, np.ndarray]]


def resize_u8(x: Value, out: Sequence[int], scales: Sequence[float | None], taps: Taps) -> Value:
    """x of shape (n, c, h, w), u8, resized to `out`; a dim that keeps its size is not touched."""
    y = x
    for k in (1, 0):
        n = x.shape[2 + k]
        if n != out[k]:
            y = _pass(y, 2 + k, *_merged(*taps(n, out[k], scales[k], np.float64)))
    return reindex(x, x.shape, lambda *i: i) if y is x else y


def _pass(x: Value, dim: int, positions: np.ndarray, weights: np.ndarray) -> Value:
    bits = _precision(weights)
    fixed = np.trunc(weights * (1 << bits) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    at_table, weight_table = constant(positions.astype(np.int64), i64), constant(fixed, i32)
    shape = tuple(len(positions) if k == dim else n for k, n in enumerate(x.shape))
    i, t = E.identity(len(shape)), E.index(len(shape))
    at = [E.load(at_table, (i[dim], t)) if k == dim else i[k] for k in range(x.ndim)]
    body = E.cast(E.load(x, at), i32) * E.load(weight_table, (i[dim], t))
    total = E.binary("shr", E.acc(i32) + (1 << (bits - 1)), bits)
    total = E.cast(E.minimum(E.maximum(total, 0), 255), u8)
    return generic((*shape, positions.shape[1]), len(shape), body, "add", total)


def _merged(positions: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Taps of one row at one position become one, which is then rounded once."""
    weights = weights.copy()
    for t in range(1, positions.shape[1]):
        for earlier in range(t):
            same = positions[:, t] == positions[:, earlier]
            weights[same, earlier] += weights[same, t]
            weights[same, t] = 0
    return positions, weights


def _precision(weights: np.ndarray) -> int:
    largest = float(weights.max())
    bits = 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return bits
