"""Complex tensors as pairs of real ones, against PyTorch, live."""

from __future__ import annotations

import io

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.evaluated_functions import compare

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = torch.linspace(-2, 2, 24).reshape(4, 6)


def test_making_and_taking_apart():
    def f(x: Tensor, y: Tensor):
        z = torch.complex(x, y)
        p = torch.polar(x.abs(), y)
        return (torch.abs(z), torch.angle(z), torch.real(p), torch.imag(p), torch.view_as_real(z),
                z.size(), z.dim(), z.is_complex(), z.numel())

    compare(f, X, X.flip(0))


def test_arithmetic():
    def f(x: Tensor, y: Tensor):
        a, b = torch.complex(x, y), torch.complex(y, x + 3)
        parts = [a + b, a - b, a * b, a / b, a * 2.0, a + y, a * y, -a, a.conj(), torch.exp(a),
                 a @ b.t()]
        return [torch.view_as_real(torch.resolve_conj(p)) for p in parts]

    compare(f, X, X.flip(0))


def test_views_and_sums():
    def f(x: Tensor, y: Tensor):
        a = torch.complex(x, y)
        return [torch.view_as_real(p) for p in (
            a[1], a[:, 2:4], a.t(), a.reshape(3, 8), a.unsqueeze(1), a.sum(0), torch.cat([a, a], 1),
            torch.stack([a, a]), a.flatten(), a.expand(2, 4, 6), a.mean(1))]

    compare(f, X, X.flip(0))


class Rotary(torch.nn.Module):
    """Rotary position embedding as language models write it."""

    def __init__(self):
        super().__init__()
        angles = torch.outer(torch.arange(5.0), 1.0 / 10 ** (torch.arange(0, 8, 2) / 8))
        self.register_buffer("rotation", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x: Tensor):
        pairs = torch.view_as_complex(x.float().reshape(2, 5, 3, 4, 2))
        turned = pairs * self.rotation.view(1, 5, 1, 4)
        return torch.view_as_real(turned).flatten(3).type_as(x)


def test_rotary_embedding_with_a_complex_buffer():
    compare(Rotary(), torch.randn(2, 5, 3, 8))


def test_made_of_one_number():
    def f(x: Tensor):
        z = torch.zeros(4, 6, dtype=torch.complex64)
        z[:, 1:3] = torch.complex(x, x)[:, 2:4]
        y = [z, torch.ones_like(z) * z, torch.full((2, 3), 1.5, dtype=torch.complex64),
             z.new_zeros([2]), torch.zeros_like(x, dtype=torch.cfloat) + 1j, z.new_full([3], 2)]
        return [torch.view_as_real(v) for v in y], torch.zeros_like(z, dtype=torch.float32)

    compare(f, X)


def test_products_powers_and_roots():
    def f(x: Tensor, y: Tensor):
        a, b = torch.complex(x, y), torch.complex(y, x + 3)
        parts = [torch.einsum("ij,kj->ik", a, b),
                 torch.einsum("ij->ji", a).clone(), a**2, torch.square(b), b.sqrt(), b.log(),
                 b.reciprocal(), 1 - a, torch.add(a, b, alpha=2), torch.sub(a, x, alpha=3)]
        a *= b
        a += 1
        return [torch.view_as_real(p) for p in parts], torch.view_as_real(a)

    compare(f, X, X.flip(0))


def test_results_are_complex():
    def f(x: Tensor):
        z = torch.complex(x, x * 2)
        return z, [z[0].conj(), z.to(torch.complex128)], z.abs()

    scripted = torch.jit.script(f)
    compiled = aot.compile(scripted, example_inputs=(X,), cache=False)
    loaded = aot.jit.load(_saved(scripted))
    for run in (compiled, loaded):
        for given in (X, X.numpy()):
            whole, (first, wide), size = run(given)
            assert type(whole) is type(given) and str(wide.dtype).endswith("complex128")
            np.testing.assert_array_equal(np.asarray(whole), X.numpy() * (1 + 2j))
            np.testing.assert_array_equal(np.asarray(first), X[0].numpy() * (1 - 2j))


def _saved(scripted) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    return buffer
