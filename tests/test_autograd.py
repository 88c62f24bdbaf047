"""Autograd's rules: leaves, accumulation, modes, changes in place, hooks, double backward."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()


def both(program):
    """What a program gives in both libraries, as arrays or texts."""
    ours, theirs = program(aot), program(torch)
    for a, b in zip(ours, theirs, strict=True):
        if hasattr(a, "detach"):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
        else:
            assert a == b


def leaf(m, *shape, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return m.from_numpy(x).requires_grad_()


PROGRAMS = {}


def program(function):
    PROGRAMS[function.__name__] = function
    return function


@program
def accumulates(m):
    x = leaf(m, 3)
    (x * x).sum().backward()
    first = x.grad.clone()
    (x * 3).sum().backward()
    return first, x.grad


@program
def shared_subexpressions(m):
    x, y = leaf(m, 3), leaf(m, 2, 3, seed=1)
    z = x.exp()
    (z * y + z / (1 + y * y)).sum().backward()
    return x.grad, y.grad


@program
def grad_names(m):
    x, w = leaf(m, 2, 3), leaf(m, 4, 3, seed=1)
    values = [x + 1, 1 - x, x * x, x / 2, x @ w.t(), m.nn.functional.linear(x, w), x.sum(),
              x.sum(0), x.mean(), x.mean(1), x.max(), x.max(1).values, x ** 2, x.view(3, 2), x.t(),
              x[0], x[:, 1:], x.reshape(-1), m.relu(x), m.tanh(x), x.softmax(1), m.cat([x, x]),
              m.stack([x, x]), x.exp(), x.transpose(0, 1), x.squeeze(0), x.unsqueeze(0),
              x.expand(2, 2, 3), x.clone(), x.double(), x[x > 0], x.norm(), x.var(), x.clamp(0, 1),
              m.where(x > 0, x, w[:2]), x.permute(1, 0), x.abs(), x.prod(), x.cumsum(0)]
    return [str(v.grad_fn.name()) for v in values]


@program
def slices_changed_in_place(m):
    x = leaf(m, 4)
    y = x * 2
    y[1:3].mul_(x[:2])
    y[0] = x[3] * 5
    (y * y).sum().backward()
    return (x.grad, y.grad_fn.name())


@program
def zeros_filled_by_parts(m):
    x = leaf(m, 3, 2)
    out = m.zeros(2, 3)
    out[:, 0] = x[0]
    out[1] += x[:, 1]
    out.exp().sum().backward()
    return x.grad, out.requires_grad


@program
def in_place_chain(m):
    x = leaf(m, 5)
    y = x.clone()
    y.add_(x).mul_(x.detach()).neg_()
    y.sum().backward()
    return (x.grad,)


@program
def view_of_a_changed_base(m):
    x = leaf(m, 2, 2)
    base = x * 1
    view = base[0]
    base.mul_(3)
    view.sum().backward()
    return x.grad, view.grad_fn.name()


@program
def masked_and_gathered(m):
    x = leaf(m, 3, 4)
    index = m.tensor([[0, 1], [1, 1], [3, 0]])
    y = x.gather(1, index) * 2 + x[m.tensor([0, 0, 2])][:, :2]
    y = y.masked_fill(y > 1, 0.5)
    z = x.clone()
    z[z < 0] = 0.25
    (y.sum() + (z * z).sum()).backward()
    return (x.grad,)


@program
def double_backward(m):
    x = leaf(m, 3)
    y = (x ** 3 + x.tanh()).sum()
    (g,) = m.autograd.grad(y, x, create_graph=True)
    (h,) = m.autograd.grad((g * g).sum(), x)
    return g, h


@program
def grad_of_non_leaf(m):
    x = leaf(m, 3)
    y = x * 2
    y.retain_grad()
    (y * y).sum().backward()
    return x.grad, y.grad


@program
def hooks_change_gradients(m):
    x = leaf(m, 3)
    y = x * 2
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    first = x.grad.clone()
    handle.remove()
    x.grad = None
    y.sum().backward()
    return first, x.grad


@program
def a_function_with_its_own_backward(m):
    class Square(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * x * 20

    x = leaf(m, 3)
    y = Square.apply(x)
    y.sum().backward()
    return x.grad, y.grad_fn.name()


@program
def modes(m):
    x = leaf(m, 3)
    with m.no_grad():
        a = x * 2
        with m.enable_grad():
            b = x * 2
    with m.inference_mode():
        c = x * 2
    with m.set_grad_enabled(False):
        d = x * 2

    @m.no_grad()
    def function():
        return x * 2

    return [t.requires_grad for t in (a, b, c, d, function(), x.detach(), x)]


@program
def training_a_network(m):
    m.manual_seed(0)
    net = m.nn.Sequential(m.nn.Linear(4, 8), m.nn.BatchNorm1d(8), m.nn.ReLU(), m.nn.Linear(8, 3))
    x, target = m.rand(6, 4), m.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(5):
        loss = m.nn.functional.cross_entropy(net(x), target)
        net.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        with m.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
    return [*losses, *(p.grad for p in net.parameters())]


@program
def recurrent_and_convolutional(m):
    m.manual_seed(0)
    lstm, conv = m.nn.LSTM(3, 4, 2), m.nn.Conv2d(1, 2, 3, stride=2, padding=1)
    out, (h, c) = lstm(m.rand(5, 2, 3))
    y = m.nn.functional.max_pool2d(conv(m.rand(1, 1, 8, 8)).relu(), 2)
    (out.sum() + (h * c).sum() + (y * y).sum()).backward()
    return [p.grad for p in (*lstm.parameters(), *conv.parameters())]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    both(PROGRAMS[name])


ERRORS = {
    "leaf_in_place": lambda m, x: x.add_(1),
    "view_of_leaf_in_place": lambda m, x: x[0].add_(1),
    "not_scalar": lambda m, x: (x * 2).backward(),
    "no_grad_fn": lambda m, x: m.ones(1).backward(),
    "twice": lambda m, x: [y.backward() for y in [(x * x).sum()] * 2],
    "changed": lambda m, x: _changed(x),
    "integers": lambda m, x: m.tensor([1]).requires_grad_(),
    "numpy": lambda m, x: x.numpy(),
    "unused": lambda m, x: m.autograd.grad(x.sum(), m.ones(2, requires_grad=True)),
}


def _changed(x):
    y = x.exp()
    z = (y * y).sum()
    y.add_(1)
    z.backward()


@pytest.mark.parametrize("name", ERRORS)
def test_error(name):
    messages = []
    for m in (aot, torch):
        with pytest.raises(RuntimeError) as caught:
            ERRORS[name](m, leaf(m, 3))
        messages.append(str(caught.value))
    ours, theirs = messages
    assert ours[:40] == theirs[:40]


def test_finite_differences():
    """The gradient of a mixed expression is the limit of its differences."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(6)

    def f(x):
        y = aot.sigmoid(x.view(2, 3)) @ x[:3]
        return (y.logsumexp(0) + (x * x).cumsum(0).sqrt().sum() + x.sort().values[2] ** 3)

    x = aot.tensor(start, dtype=aot.float64, requires_grad=True)
    f(x).backward()
    step = 1e-6
    for k in range(6):
        moved = [aot.tensor(start + step * s * np.eye(6)[k], dtype=aot.float64) for s in (1, -1)]
        slope = (f(moved[0]).item() - f(moved[1]).item()) / (2 * step)
        assert abs(slope - x.grad[k].item()) < 1e-6
