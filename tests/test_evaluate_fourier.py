"""Fourier transforms against PyTorch, live: by one matrix, by two, and by convolution."""

from __future__ import annotations

from typing import Optional

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.evaluated_functions import compare

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
WAVE = torch.sin(torch.arange(96.0) ** 1.3).reshape(2, 48)


def test_one_dim():
    def f(x: Tensor):
        z = torch.fft.fft(x)
        y = [z, torch.fft.fft(z, dim=0), torch.fft.fft(x, 50, norm="ortho"), torch.fft.ifft(z),
             torch.fft.ifft(z, 30, norm="forward"), torch.fft.rfft(x), torch.fft.rfft(x, 7, 0),
             torch.fft.ihfft(x).resolve_conj(), torch.fft.fft(x.to(torch.float64)), torch.fft.fft(x > 0)]
        w = torch.fft.rfft(x)
        return [torch.view_as_real(v) for v in y], [
            torch.fft.irfft(w), torch.fft.irfft(w, 47), torch.fft.irfft(w, 60, norm="ortho"),
            torch.fft.irfft(w, 10), torch.fft.hfft(w), torch.fft.irfft(z, dim=0)]

    compare(f, WAVE)


def test_several_dims():
    def f(x: Tensor):
        x = x.view(2, 6, 8)
        z, h = torch.fft.fftn(x), torch.fft.rfftn(x)
        y = [z, torch.fft.fft2(x), torch.fft.ifft2(z), torch.fft.ifftn(z, dim=[0, 2]), h,
             torch.fft.rfft2(x, s=[4, 5]), torch.fft.fftn(x, s=[3, 9], norm="ortho")]
        return [torch.view_as_real(v) for v in y], [
            torch.fft.irfftn(h), torch.fft.irfft2(torch.fft.rfft2(x)), torch.fft.fftn(x).real,
            torch.fft.irfftn(h, s=[6, 7], dim=[1, 2])]

    compare(f, WAVE)


@pytest.mark.parametrize("n", [1, 2, 121, 400, 509, 512, 521, 1021, 4096, 4 * 1031])
def test_any_length(n):
    def f(x: Tensor):
        w = torch.fft.rfft(x)
        return torch.view_as_real(torch.fft.fft(x)), torch.fft.irfft(w, x.size(-1))

    x = torch.sin(torch.arange(2.0 * n) ** 1.1).view(2, n)
    compiled = aot.compile(torch.jit.script(f), example_inputs=(x,), cache=False)
    for ours, theirs in zip(compiled(x), f(x)):
        largest = theirs.abs().max() + 1e-6
        np.testing.assert_allclose(ours / largest, theirs / largest, rtol=0, atol=3e-6)


def test_spectra_of_windows():
    def f(x: Tensor, window: Optional[Tensor], short: Tensor):
        a = torch.stft(x, 16, 5, window=torch.hann_window(16), return_complex=True)
        b = torch.stft(x[0], 15, 4, 15, torch.hamming_window(15), center=False, normalized=True,
                       return_complex=True)
        c = torch.stft(x, 16, window=window, pad_mode="constant", onesided=False,
                       return_complex=True)
        d = torch.stft(x, 16, 4, 8, short, return_complex=True)
        whole = torch.hann_window(16)
        return ([torch.view_as_real(v) for v in (a, b, c, d)],
                torch.istft(a, 16, 5, window=whole), torch.istft(a[0], 16, 5, length=40),
                torch.istft(b, 15, 4, 15, torch.hamming_window(15), center=False, normalized=True,
                            length=41),
                torch.istft(c, 16, window=whole, length=60),
                torch.istft(d, 16, 4, 8, short, length=30))

    compare(f, WAVE, None, torch.hann_window(8) + 0.1)


def test_views_of_complex_tensors_are_written_through():
    def f(x: Tensor):
        z = torch.fft.rfft(x.view(2, 6, 8))
        z[0] *= 2.0
        z[:, 1:3, 0] = z[:, 3:5, 1]
        z.transpose(1, 2)[1, -1].mul_(z[0, 0, 0])
        z.view(-1)[3].copy_(x[0, 0])
        part = z.unbind(1)[2].split([2, 3], -1)[1]
        part.add_(1.5)
        return [torch.view_as_real(v) for v in (
            z, z.permute(2, 0, 1), z.flatten(1), z.unsqueeze(-1).squeeze(-1), z.chunk(2, -1)[1],
            z.expand(3, 2, 6, 5), z.narrow(-1, 1, 2), z.select(-2, 0), z.movedim(-1, 0))]

    compare(f, WAVE)
