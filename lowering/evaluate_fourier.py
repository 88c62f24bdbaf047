"""Fourier transforms of real and complex tensors: fft_*, stft, istft."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from lowering import build as B
from lowering import views
from lowering.abstract import AbstractComplex, AbstractTensor, known_array
from lowering.evaluate_operators import Unsupported, apply
from lowering.ops.fourier import transform
from lowering.tensor_ir import Value
from runtime.dtypes import f32

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

Signal = AbstractTensor | AbstractComplex
_MOST_PARTS = 16  # of frames that overlap, added part by part


def _value(ev: Evaluator, x: object) -> tuple[Value, bool]:
    """The numbers of a tensor and whether they are real; integers become float32."""
    if isinstance(x, AbstractComplex):
        return ev.memory.read(x.pairs), False
    if not isinstance(x, AbstractTensor):
        raise Unsupported("a transform of no tensor")
    value = ev.memory.read(x)
    if value.dtype.is_float:
        return value, True
    return ev.memory.build(lambda: B.cast(value, f32)), True


def _result(ev: Evaluator, value: Value, real: bool) -> Signal:
    out = ev.memory.tensor(value)
    return out if real else AbstractComplex(out)


def _factor(norm: str | None, n: int, inverse: bool) -> float:
    """What a transform of n points is multiplied by, in PyTorch's words for it."""
    if norm == "ortho":
        return 1 / math.sqrt(n)
    if norm not in (None, "backward", "forward"):
        raise RuntimeError(f"Invalid normalization mode: \"{norm}\"")
    return 1 / n if inverse == (norm in (None, "backward")) else 1.0


def _along(ev: Evaluator, x: object, dim: int, n: int | None, norm: str | None, sign: int,
           half: bool = False, real_result: bool = False) -> Signal:
    """The transform of n points along dim, the input cut or filled with zeros to n. half: one half
    of a symmetric spectrum, of n // 2 + 1 points: what a real input gives; or what is given, where
    the result is real."""
    value, real = _value(ev, x)
    ndim = value.ndim - (0 if real else 1)
    dim = B.dim_of(dim, ndim)
    given = value.shape[dim]
    if n is None:
        n = 2 * (given - 1) if half and real_result else given
    if not isinstance(given, int) or not isinstance(n, int):
        raise Unsupported("a transform whose length is known only at run time")
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    length = min(given, n // 2 + 1 if half and real_result else n)
    count = n // 2 + 1 if half and not real_result else n
    weights = np.full(length, _factor(norm, n, sign > 0))
    if half and real_result:  # all but the ends stand for two points of the spectrum
        weights[1:(n + 1) // 2] *= 2

    def build() -> Value:
        others = [d for d in range(ndim) if d != dim]
        end = [] if real else [ndim]
        y = views.permute(value.shape, [*others, dim, *end]).get(value)
        if length < given:
            y = views.narrow(y.shape, ndim - 1, 0, length).get(y)
        y = transform(y, n, count, sign, real=real, real_result=real_result, weights=weights)
        back = sorted(range(ndim), key=[*others, dim].__getitem__)
        return views.permute(y.shape, [*back, *range(ndim, y.ndim)]).get(y)

    return _result(ev, ev.memory.build(build), real_result)


def _one_dim(sign: int, half: bool = False, real_result: bool = False) -> Callable:
    def fft(ev: Evaluator, x: object, n: int | None = None, dim: int = -1,
            norm: str | None = None) -> Signal:
        if half and not real_result and isinstance(x, AbstractComplex):
            raise RuntimeError("expects a real input tensor, but got a complex one")
        return _along(ev, x, dim, n, norm, sign, half, real_result)

    return fft


def _many_dims(sign: int, half: bool = False, real_result: bool = False,
               default: Sequence[int] | None = None) -> Callable:
    """A transform along each of several dims; the one along the last is of real numbers, if any."""
    def fft(ev: Evaluator, x: object, s: list | None = None, dim: list | int | None = default,
            norm: str | None = None) -> Signal:
        ndim = x.pairs.ndim - 1 if isinstance(x, AbstractComplex) else x.ndim  # type: ignore
        if dim is None:
            dim = list(range(ndim - len(s) if s else 0, ndim))
        dims = [dim] if isinstance(dim, int) else list(dim)
        sizes = [None if n in (None, -1) else n for n in s or [None] * len(dims)]
        *pairs, last = zip(dims, sizes)
        steps = [(d, n, False, False) for d, n in pairs]
        steps.insert(len(steps) if real_result else 0, (*last, half, real_result))
        for d, n, *how in steps:
            x = _along(ev, x, d, n, norm, sign, *how)
        return x  # type: ignore[return-value]

    return fft


# Spectra of windows


def _window(ev: Evaluator, window: object, n_fft: int, win_length: int | None) -> np.ndarray | None:
    """The window in the middle of n_fft points; None if it is known only at run time."""
    size = n_fft if win_length is None else win_length
    if not 0 < size <= n_fft:
        raise RuntimeError(f"expected 0 < win_length <= n_fft, but got win_length={size}")
    if window is None:
        array = np.ones(size)
    elif isinstance(window, AbstractTensor):
        if window.shape != (size,):
            raise RuntimeError(f"expected a 1D window tensor of size equal to win_length={size}, "
                               f"but got window with size {list(window.shape)}")
        found = known_array(ev.memory.read(window))
        if found is None:
            return None
        array = found.astype(np.float64)
    else:
        raise Unsupported("a complex window")
    left = (n_fft - size) // 2
    return np.pad(array, (left, n_fft - size - left))


def _windowed(ev: Evaluator, x: AbstractTensor, window: AbstractTensor,
              n_fft: int) -> AbstractTensor:
    left = (n_fft - window.shape[0]) // 2
    pad = [left, n_fft - window.shape[0] - left]
    padded = apply(ev, "aten::constant_pad_nd", [window, pad], {})
    return apply(ev, "aten::mul", [x, padded], {})  # type: ignore[return-value]


def _stft_centered(ev: Evaluator, x: object, n_fft: int, hop_length: int | None = None,
                   win_length: int | None = None, window: object = None, center: bool = True,
                   pad_mode: str = "reflect", normalized: bool = False,
                   onesided: bool | None = None, return_complex: bool | None = None,
                   align_to_window: bool | None = None) -> Signal:
    if not isinstance(x, AbstractTensor):
        raise Unsupported("stft of a complex signal")
    single = x.ndim == 1
    if x.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {x.ndim}D")
    if single:
        x = apply(ev, "aten::unsqueeze", [x, 0], {})  # type: ignore[assignment]
    if center:
        pad = [n_fft // 2, n_fft // 2]
        x = apply(ev, "aten::pad", [x, pad, pad_mode], {})  # type: ignore[assignment]
    n = x.shape[-1]
    hop = n_fft // 4 if hop_length is None else hop_length
    if not isinstance(n, int):
        raise Unsupported("stft of a signal whose length is known only at run time")
    if not 0 < n_fft <= n or hop < 1:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {n} and hop_length > 0, but got "
                           f"n_fft={n_fft}, hop_length={hop}")
    known = _window(ev, window, n_fft, win_length)
    frames = apply(ev, "aten::unfold", [x, -1, n_fft, hop], {})
    if known is None:
        frames = _windowed(ev, frames, window, n_fft)  # type: ignore[arg-type]
    weights = (np.ones(n_fft) if known is None else known) * (n_fft**-0.5 if normalized else 1)
    count = n_fft if onesided is False else n_fft // 2 + 1
    value, _ = _value(ev, frames)

    def build() -> Value:
        y = transform(value, n_fft, count, -1, real=True, weights=weights)
        return views.permute(y.shape, (0, 2, 1, 3)).get(y)

    pairs = ev.memory.tensor(ev.memory.build(build))
    if single:
        pairs = apply(ev, "aten::squeeze", [pairs, 0], {})  # type: ignore[assignment]
    return AbstractComplex(pairs) if return_complex else pairs


def _stft(ev: Evaluator, x: object, n_fft: int, hop_length: int | None = None,
          win_length: int | None = None, window: object = None, *rest: object,
          **named: object) -> Signal:
    """Both overloads: the second has center and pad_mode before what they share."""
    if "center" in named or "pad_mode" in named or len(rest) > 1 and isinstance(rest[1], str):
        return _stft_centered(ev, x, n_fft, hop_length, win_length, window, *rest, **named)
    return _stft_centered(ev, x, n_fft, hop_length, win_length, window, False, "constant",
                          *rest, **named)


def _istft(ev: Evaluator, x: object, n_fft: int, hop_length: int | None = None,
           win_length: int | None = None, window: object = None, center: bool = True,
           normalized: bool = False, onesided: bool | None = None, length: int | None = None,
           return_complex: bool = False) -> Signal:
    """The signals of all frames, added where they overlap, over the sum of squared windows."""
    if not isinstance(x, AbstractComplex):
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from "
                           "stft with return_complex=True.")
    if return_complex:
        raise Unsupported("istft with a complex result")
    single = x.pairs.ndim == 3
    pairs = apply(ev, "aten::unsqueeze", [x.pairs, 0], {}) if single else x.pairs
    spectrum, _ = _value(ev, AbstractComplex(pairs))  # type: ignore[arg-type]
    batch, points, frames, _ = spectrum.shape
    if not isinstance(frames, int):
        raise Unsupported("istft of frames whose number is known only at run time")
    if onesided is None:
        onesided = points != n_fft
    if points != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(f"istft: expected the frequency dimension (3rd to the last) of the "
                           f"input tensor to match n_fft={n_fft}, but got {points}")
    hop = n_fft // 4 if hop_length is None else hop_length
    weights = np.full(points, n_fft**-0.5 if normalized else 1 / n_fft)
    if onesided:
        weights[1:(n_fft + 1) // 2] *= 2

    def build() -> Value:
        y = views.permute(spectrum.shape, (0, 2, 1, 3)).get(spectrum)
        return transform(y, n_fft, n_fft, 1, real_result=True, weights=weights)

    signals = ev.memory.tensor(ev.memory.build(build))
    total = n_fft + hop * (frames - 1)
    known = _window(ev, window, n_fft, win_length)
    if known is not None:
        envelope = np.zeros(total)
        for k in range(frames):
            envelope[k * hop:k * hop + n_fft] += known**2
        by = ev.memory.tensor(ev.memory.build(lambda: B.constant(known, spectrum.dtype)))
        signals = apply(ev, "aten::mul", [signals, by], {})  # type: ignore[assignment]
        below = ev.memory.tensor(ev.memory.build(lambda: B.constant(envelope, spectrum.dtype)))
    else:
        signals = _windowed(ev, signals, window, n_fft)  # type: ignore[arg-type]
        square = apply(ev, "aten::mul", [window, window], {})
        ones = apply(ev, "aten::new_ones", [window, [1, frames, n_fft]], {})
        below = _overlap(ev, _windowed(ev, ones, square, n_fft), total, hop)  # type: ignore
    y = _overlap(ev, signals, total, hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - start
    y, below = (apply(ev, "aten::slice", [t, -1, start, end], {}) for t in (y, below))
    y = apply(ev, "aten::div", [y, below], {})
    if end > total:
        y = apply(ev, "aten::constant_pad_nd", [y, [0, end - total]], {})
    return apply(ev, "aten::squeeze", [y, 0], {}) if single else y  # type: ignore[return-value]


def _overlap(ev: Evaluator, signals: AbstractTensor, total: int, hop: int) -> AbstractTensor:
    """(batch, frames, n) to (batch, total): frame k begins at k * hop. Each is cut into parts as
    long as a hop; the parts of one number lie beside another, and only so many meet in a place."""
    batch, frames, n = signals.shape
    parts = -(-n // hop)

    def do(name: str, x: object, *args: object) -> AbstractTensor:
        return apply(ev, f"aten::{name}", [x, *args], {})  # type: ignore[return-value]

    if parts > _MOST_PARTS:
        columns = do("transpose", signals, 1, 2)
        y = do("col2im", columns, [1, total], [1, n], [1, 1], [0, 0], [1, hop])
        return do("view", y, [batch, total])
    if parts * hop > n:
        signals = do("constant_pad_nd", signals, [0, parts * hop - n])
    cut = do("view", signals, [batch, frames, parts, hop])
    sums = None
    for k in range(parts):
        part = do("constant_pad_nd", do("select", cut, 2, k), [0, 0, k, parts - 1 - k])
        sums = part if sums is None else do("add", sums, part)
    return do("slice", do("view", sums, [batch, -1]), 1, 0, total)


TABLE: dict[str, Callable] = {
    "aten::fft_fft": _one_dim(-1),
    "aten::fft_ifft": _one_dim(1),
    "aten::fft_rfft": _one_dim(-1, half=True),
    "aten::fft_irfft": _one_dim(1, half=True, real_result=True),
    "aten::fft_hfft": _one_dim(-1, half=True, real_result=True),
    "aten::fft_ihfft": _one_dim(1, half=True),
    "aten::fft_fftn": _many_dims(-1),
    "aten::fft_ifftn": _many_dims(1),
    "aten::fft_rfftn": _many_dims(-1, half=True),
    "aten::fft_irfftn": _many_dims(1, half=True, real_result=True),
    "aten::fft_fft2": _many_dims(-1, default=(-2, -1)),
    "aten::fft_ifft2": _many_dims(1, default=(-2, -1)),
    "aten::fft_rfft2": _many_dims(-1, half=True, default=(-2, -1)),
    "aten::fft_irfft2": _many_dims(1, half=True, real_result=True, default=(-2, -1)),
    "aten::stft": _stft,
    "aten::istft": _istft,
}
