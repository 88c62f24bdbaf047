"""Discrete Fourier transforms, as products with constant matrices.

A long one is two short ones (Cooley and Tukey 1965); one of a length with no suitable divisors is a
convolution, computed by transforms of another length (Bluestein 1970). A product's register tiles
are so fast that a transform of up to some hundred points is best done by one matrix.

Complex Values have a last dim of 2: real and imaginary part.
"""

from __future__ import annotations

import math

import numpy as np

from lowering import build as B
from lowering import expr as E
from lowering import views
from lowering.ops.matmul import contract
from lowering.ops.padding import constant_pad_nd
from lowering.tensor_ir import Value
from runtime.dtypes import DType

# A matrix does four times the multiply-adds of two smaller ones in the same time.
_MATRIX_IS_FASTER = 4
_MOST_ELEMENTS = 1 << 20  # of a matrix
_MOST_POINTS = 64  # of the first of two transforms


def transform(x: Value, n: int, count: int, sign: int, *, real: bool = False,
              real_result: bool = False, weights: np.ndarray | None = None) -> Value:
    """out[..., f] = sum over t of weights[t] x[..., t] e^(sign 2 pi i t f / n), for f < count.

    x is (..., t, 2), or (..., t) if `real`, of at most n points; the result (..., count, 2), or its
    real part alone (..., count) if `real_result`. The weights (t) are real, by default 1."""
    length = x.shape[-1 if real else -2]
    weights = np.ones(length) if weights is None else np.asarray(weights, np.float64)
    parts, result_parts = (1 if real else 2), (1 if real_result else 2)
    matrix = length * count * parts * result_parts
    first = _divisor(n)
    if first is not None:
        rest = n // first
        rows, columns = -(-length // rest), -(-count // first)
        split = 2 * n * (rows * parts + columns * result_parts)
        if n > _MOST_POINTS and matrix > _MATRIX_IS_FASTER * split:
            return _two_steps(x, first, rest, count, sign, real, real_result, weights)
    if matrix > _MOST_ELEMENTS:
        return _by_convolution(x, n, count, sign, real, real_result, weights)
    t, f = np.arange(length), np.arange(count)
    turns = _turns(np.multiply.outer(t, f), n, sign) * weights[:, None]
    batch = list(range(x.ndim - (1 if real else 2)))
    return contract(x, [*batch, "t", *([] if real else ["c"])],
                    _matrix(turns, real, real_result, x.dtype),
                    ["t", *([] if real else ["c"]), "f", *([] if real_result else ["d"])],
                    [*batch, "f", *([] if real_result else ["d"])])


def _two_steps(x: Value, first: int, rest: int, count: int, sign: int, real: bool,
               real_result: bool, weights: np.ndarray) -> Value:
    """With t = rest * a + b and f = g + first * h, t f / n is t g / n + b h / rest but for whole
    turns: a sum over a for each b, then a sum over b."""
    n, length = first * rest, len(weights)
    rows = -(-length // rest)
    if rows * rest > length:
        pad = [0, rows * rest - length]
        x = constant_pad_nd(x, pad if real else [0, 0, *pad], 0)
        weights = np.concatenate((weights, np.zeros(pad[1])))
    *batch_shape, _ = x.shape[:x.ndim if real else -1]
    part, end = ([] if real else ["c"]), ([] if real else [2])
    batch = list(range(len(batch_shape)))
    x = views.reshape(x.shape, [*batch_shape, rows, rest, *end]).get(x)
    a, b, g = np.ogrid[:rows, :rest, :first]
    if 2 * (1 if real else 2) * rows * rest * first <= _MOST_ELEMENTS:
        turns = _turns((rest * a + b) * g, n, sign) * weights.reshape(rows, rest, 1)
        y = contract(x, [*batch, "a", "b", *part], _matrix(turns, real, False, x.dtype, 2),
                     ["a", "b", *part, "g", "d"], [*batch, "g", "b", "d"])
    else:
        if not (weights == 1).all():
            by = _constant(weights.reshape(rows, rest, *([1] * len(end))), x.dtype)
            x = B.pointwise(lambda u, v: u * v, x, by)
        y = contract(x, [*batch, "a", "b", *part],
                     _matrix(_turns(a * g, first, sign)[:, 0], real, False, x.dtype),
                     ["a", *part, "g", "d"], [*batch, "g", "b", "d"])
        y = _times(y, _turns((b * g)[0].T, n, sign))
    last = -(-count // first)
    y = transform(y, rest, last, sign, real_result=real_result)
    end = [] if real_result else [2]
    k = len(batch)
    y = views.permute(y.shape, [*batch, k + 1, k, *range(k + 2, y.ndim)]).get(y)
    y = views.reshape(y.shape, [*batch_shape, last * first, *end]).get(y)
    return y if last * first == count else views.narrow(y.shape, k, 0, count).get(y)


def _by_convolution(x: Value, n: int, count: int, sign: int, real: bool, real_result: bool,
                    weights: np.ndarray) -> Value:
    """2 t f = t^2 + f^2 - (f - t)^2: the input times a chirp, convolved with its conjugate, times
    the chirp."""
    length = len(weights)
    points = 1 << (length + count - 2).bit_length()
    chirp = _turns(np.arange(max(length, count), dtype=np.int64) ** 2, 2 * n, sign)
    around = np.zeros(points, complex)
    around[:count] = chirp[:count].conj()
    around[points - length + 1:] = chirp[1:length][::-1].conj()
    if real:
        x = B.reindex(x, (*x.shape, 2), lambda *i: i[:-1])
        by = np.stack((chirp[:length].real, chirp[:length].imag), -1) * weights[:, None]
        y = B.pointwise(lambda u, v: u * v, x, _constant(by, x.dtype))
    else:
        y = _times(x, chirp[:length] * weights)
    y = transform(y, points, points, -1)
    y = _times(y, np.fft.fft(around) / points)
    y = _times(transform(y, points, count, 1), chirp[:count])
    return views.select(y.shape, y.ndim - 1, 0).get(y) if real_result else y


def _divisor(n: int) -> int | None:
    """The divisor of n nearest to its root among the small ones, None if it has none."""
    found = [d for d in range(2, min(math.isqrt(n), _MOST_POINTS) + 1) if n % d == 0]
    return found[-1] if found else None


def _turns(k: np.ndarray, n: int, sign: int) -> np.ndarray:
    """e^(sign 2 pi i k / n)."""
    return np.exp(sign * 2j * np.pi * (k % n) / n)


def _matrix(turns: np.ndarray, real: bool, real_result: bool, dtype: DType,
            inputs: int = 1) -> Value:
    """Complex factors as a real matrix: after the `inputs` first dims one for the part that is
    read, at the end one for the part that is written."""
    re, im = turns.real, turns.imag
    columns = re if real_result else np.stack((re, im), -1)
    if real:
        return _constant(columns, dtype)
    turned = -im if real_result else np.stack((-im, re), -1)
    return _constant(np.stack((columns, turned), inputs), dtype)


def _times(x: Value, by: np.ndarray) -> Value:
    """Complex x (..., *by.shape, 2) times complex constants."""
    real = _constant(by.real, x.dtype)
    imaginary = _constant(np.stack((-by.imag, by.imag), -1), x.dtype)
    skip = x.ndim - 1 - by.ndim
    return B.compute(x.shape, lambda *i: (
        E.load(x, i) * E.load(real, i[skip:-1])
        + E.load(x, (*i[:-1], 1 - i[-1])) * E.load(imaginary, i[skip:])))


def _constant(array: np.ndarray, dtype: DType) -> Value:
    return B.constant(np.ascontiguousarray(array).astype(dtype.compute), dtype)
