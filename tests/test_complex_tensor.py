"""Complex tensors: results, gradients and texts are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()

A = [[1 + 2j, 3 - 1j], [0.5j, -2 + 0.25j]]
B = [[2 - 1j, 1j], [1.5, -1 - 1j]]


def values(x) -> object:
    if hasattr(x, "detach"):
        return x.detach().resolve_conj().numpy()
    return [values(v) for v in x] if isinstance(x, (tuple, list)) else x


CASES = {
    "add": lambda t, a, b: a + b + 1 + 2j + t.ones(2), "sub": lambda t, a, b: 1j - a - b - 2,
    "mul": lambda t, a, b: a * b * 2 * 1j * t.ones(2), "div": lambda t, a, b: a / b + 1 / a + b / 2,
    "neg": lambda t, a, b: -a, "abs": lambda t, a, b: a.abs() + t.abs(b),
    "angle": lambda t, a, b: t.angle(a), "conj": lambda t, a, b: a.conj() * b,
    "parts": lambda t, a, b: a.real * b.imag, "exp": lambda t, a, b: t.exp(a),
    "log": lambda t, a, b: a.log(), "sqrt": lambda t, a, b: (a * b).sqrt(),
    "pow": lambda t, a, b: a**3 + b**0.5, "matmul": lambda t, a, b: a @ b + t.matmul(a, b),
    "sum": lambda t, a, b: a.sum(0) + b.mean(1) + a.sum(),
    "shapes": lambda t, a, b: a.reshape(4).unsqueeze(0).expand(3, 4).flip(1) * b.t().reshape(-1),
    "index": lambda t, a, b: a[0] * b[:, 1] + a[1, 0],
    "joined": lambda t, a, b: t.cat([a, b]) * t.stack([b, a], 1).reshape(4, 2),
    "chunks": lambda t, a, b: a.chunk(2)[0] * b.unbind(0)[1],
    "equal": lambda t, a, b: (a == a) & (a != b), "to": lambda t, a, b: a.to(t.complex128) * 2,
    "made": lambda t, a, b: t.complex(a.real, b.imag) + t.polar(a.abs(), b.angle()),
    "viewed": lambda t, a, b: t.view_as_complex(t.view_as_real(a) * 2) + b,
}


@pytest.mark.parametrize("name", CASES)
def test_results_and_gradients(name: str) -> None:
    found = []
    for t in (aot, torch):
        a, b = (t.tensor(x, requires_grad=True) for x in (A, B))
        out = CASES[name](t, a, b)
        grads = []
        if out.is_floating_point() or out.is_complex():
            real = (out.abs() ** 2).sum() if out.is_complex() else out.square().sum()
            real.backward()
            grads = [x.grad for x in (a, b) if x.grad is not None]
        found.append((str(out.dtype), values(out), values(grads)))
    (kind, ours, mine), (wanted, theirs, others) = found
    assert kind == wanted and len(mine) == len(others)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)
    for x, y in zip(mine, others):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


TEXTS = ["[1j, 2.]", "[1.5+2j, -1-3.25j]", "[10+200j, 1.25-3j]", "[1e6+1j, 1e-6+0j]",
         "[1+1e10j, 2]", "[complex('nan')+0j, complex(0, float('inf'))]", "[0j]", "1+2j",
         "[100.5+1j, -2+10.125j]", "[[1+2j, 3.25], [-0.5j, -2]]"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    for options in ({}, {"requires_grad": True}, {"dtype": "complex128"}):
        ours, theirs = [
            repr(t.tensor(eval(text), **{k: getattr(t, v) if isinstance(v, str) else v
                                         for k, v in options.items()})) for t in (aot, torch)]
        assert ours == theirs
    ours, theirs = [repr(t.tensor(eval(text), requires_grad=True) * 2) for t in (aot, torch)]
    assert ours == theirs


def test_numbers_and_writes() -> None:
    for t in (aot, torch):
        z = t.tensor(A)
        assert z.tolist() == A and z[0, 1].item() == 3 - 1j and t.is_complex(z)
        assert tuple(z.shape) == (2, 2) and z.numel() == 4 and len(z) == 2
        z[0] = 1j
        z[1, 1] = 5.0
        assert z.tolist() == [[1j, 1j], [0.5j, 5]]
        assert z.dtype is t.complex64 and not z.is_floating_point()
        with pytest.raises(NotImplementedError):
            z < z
        with pytest.raises(RuntimeError, match="only for real scalar outputs"):
            t.tensor(A, requires_grad=True).sum().backward()
    with pytest.raises(NotImplementedError, match="softmax"):
        aot.softmax(aot.tensor(A), 0)
    with pytest.raises(RuntimeError, match="last dimension of size 2"):
        aot.view_as_complex(aot.ones(3))
