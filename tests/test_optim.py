"""Optimisers and their schedules do what PyTorch's do, step by step."""

from __future__ import annotations

import io

import numpy as np
import pytest

import aot
from tests.conftest import import_torch

torch = import_torch()

OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD momentum": {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    "SGD nesterov": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "maximize": True},
    "Adam": {},
    "Adam amsgrad": {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9)},
    "AdamW": {},
    "AdamW amsgrad": {"lr": 0.02, "amsgrad": True, "weight_decay": 0.1},
    "Adamax": {"lr": 0.01, "weight_decay": 0.1},
    "RMSprop": {},
    "RMSprop centered": {"lr": 0.02, "centered": True, "momentum": 0.9, "weight_decay": 0.1},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "Adadelta": {"weight_decay": 0.1, "rho": 0.8},
}


def network(t):
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(4, 8), t.nn.Tanh(), t.nn.Linear(8, 2))


def make(t, name: str, model):
    """With two groups: the last bias has half the rate."""
    kind, options = name.split()[0], OPTIMIZERS[name]
    last = model[2].bias
    rest = [p for p in model.parameters() if p is not last]
    groups = [{"params": rest}, {"params": [last], "lr": options.get("lr", 0.01) / 2}]
    return getattr(t.optim, kind)(groups, **options)


def train(t, model, optimizer, steps: int) -> list:
    for k in range(steps):
        x = t.tensor(np.random.default_rng(k).standard_normal((6, 4)).astype(np.float32))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps(name: str) -> None:
    models = [network(t) for t in (aot, torch)]
    optimizers = [make(t, name, m) for t, m in zip((aot, torch), models)]
    assert repr(optimizers[0]) == repr(optimizers[1])
    for steps in (1, 1, 10):
        found, expected = [train(t, m, o, steps)
                           for t, m, o in zip((aot, torch), models, optimizers)]
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    ours, theirs = (o.state_dict() for o in optimizers)
    assert ours["param_groups"] == theirs["param_groups"]
    assert list(ours["state"]) == list(theirs["state"])
    for k, state in theirs["state"].items():
        assert set(ours["state"][k]) == set(state)
        for key, value in state.items():
            np.testing.assert_allclose(ours["state"][k][key].numpy(), value.numpy(), rtol=1e-4,
                                       atol=1e-6)


@pytest.mark.parametrize("name", ["SGD momentum", "Adam amsgrad", "RMSprop centered"])
def test_states_are_files_of_both_libraries(name: str) -> None:
    """Training goes on in the other library where it ended in the first."""
    for here, there in ((aot, torch), (torch, aot)):
        model = network(here)
        optimizer = make(here, name, model)
        train(here, model, optimizer, 3)
        file = io.BytesIO()
        here.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        loaded = there.load(io.BytesIO(file.getvalue()))
        other = network(there)
        second = make(there, name, other)
        other.load_state_dict(loaded["model"])
        second.load_state_dict(loaded["optimizer"])
        for a, b in zip(train(here, model, optimizer, 4), train(there, other, second, 4)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


SCHEDULES = {
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 4, 4], "gamma": 0.5},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {},
    "CosineAnnealingLR": {"T_max": 10, "eta_min": 0.01},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.95**epoch},
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore")
def test_schedules(name: str) -> None:
    rates = []
    for t in (aot, torch):
        optimizer = t.optim.SGD([t.nn.Parameter(t.ones(2))], lr=0.5)
        schedule = getattr(t.optim.lr_scheduler, name)(optimizer, **SCHEDULES[name])
        rates.append([schedule.get_last_lr()])
        for _ in range(12):
            optimizer.step()
            schedule.step()
            rates[-1].append(schedule.get_last_lr())
    np.testing.assert_allclose(*rates, rtol=1e-9)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateaus(mode: str) -> None:
    watched = [5.0, 4.0, 4.0, 4.1, 3.9999, 4.0, 4.2, 4.2, 1.0, 1.0, 6.0, 6.0, 6.0, 6.0]
    rates = []
    for t in (aot, torch):
        optimizer = t.optim.SGD([t.nn.Parameter(t.ones(2))], lr=0.5)
        schedule = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, patience=1, cooldown=1)
        rates.append([])
        for value in watched:
            schedule.step(value)
            rates[-1].append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(*rates)


def test_what_cannot_be_optimised() -> None:
    p = [aot.nn.Parameter(aot.ones(2))]
    for params, options, error in (
            ([], {}, "optimizer got an empty parameter list"),
            (p, {"lr": -0.1}, "Invalid learning rate: -0.1"),
            ([3], {}, "can only optimize Tensors"), ([p[0] * 2], {}, "non-leaf Tensor"),
            (p, {"nesterov": True}, "Nesterov momentum requires")):
        with pytest.raises((ValueError, TypeError), match=error):
            aot.optim.SGD(params, **options)
    with pytest.raises(ValueError, match="more than one parameter group"):
        aot.optim.SGD([{"params": p}, {"params": p}])


def test_a_closure_is_run_with_gradients() -> None:
    p = aot.nn.Parameter(aot.ones(2))
    optimizer = aot.optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure)) == 2.0 and p.tolist() == [0.0, 0.0]
