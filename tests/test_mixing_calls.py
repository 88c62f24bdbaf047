"""Calls of scripted and traced programs: compiled in process, from many threads, mixed."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from typing import List

import numpy as np
import pytest

import aot
from aot.jit_models import models_of
from runtime.errors import CompileError, RuntimeFailure


class Gate(aot.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x
        else:
            return -x


class Cell(aot.nn.Module):
    def __init__(self, gate) -> None:
        super().__init__()
        self.gate = gate
        self.linear = aot.nn.Linear(4, 4)

    def forward(self, x, h):
        new_h = aot.tanh(self.gate(self.linear(x)) + h)
        return new_h, new_h


class Loop(aot.nn.Module):
    def __init__(self, cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, xs):
        h, y = aot.zeros(3, 4), aot.zeros(3, 4)
        for i in range(xs.size(0)):
            y, h = self.cell(xs[i], h)
        return y, h


class Wrap(aot.nn.Module):
    def __init__(self, inner) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, xs):
        return aot.relu(self.inner(xs)[0])


def stack() -> tuple:
    """Scripted in traced in scripted in traced in scripted; and the same in Python."""
    aot.manual_seed(1)
    cell = Cell(Gate())
    python = Wrap(Wrap2(Loop(cell)))
    x, h = aot.rand(3, 4), aot.rand(3, 4)
    traced = aot.jit.trace(_with_gate(cell, aot.jit.script(Gate())), (x, h))
    loop = aot.jit.script(Loop(traced))
    outer = aot.jit.trace(Wrap2(loop), aot.rand(5, 3, 4))
    return aot.jit.script(Wrap(outer)), python


class Wrap2(Wrap):
    def forward(self, xs):
        y, h = self.inner(xs)
        return y + h, h


def _with_gate(cell: Cell, gate) -> Cell:
    other = Cell(gate)
    other.linear = cell.linear
    return other


def test_any_depth() -> None:
    mixed, python = stack()
    loaded = aot.jit.load(mixed.save_to_buffer())
    for length in (1, 5, 7):
        xs = aot.randn(length, 3, 4)
        expected = python(xs).detach()
        assert aot.allclose(mixed(xs).detach(), expected, atol=1e-6)
        with aot.no_grad():
            assert aot.allclose(mixed(xs), expected, atol=1e-6)
            assert aot.allclose(loaded(xs), expected, atol=1e-6)


def test_gradients_flow_through_programs() -> None:
    mixed, python = stack()
    xs = aot.randn(4, 3, 4)
    mixed(xs).sum().backward()
    found = [p.grad.clone() for p in mixed.parameters()]
    python.zero_grad()
    python(xs).sum().backward()
    expected = [p.grad for p in python.parameters()]
    assert len(found) == len(expected) == 2
    for a, b in zip(found, expected):
        assert aot.allclose(a, b, atol=1e-5)


def test_calls_are_compiled_once() -> None:
    @aot.jit.script
    def poly(x, n: int = 2):
        for _ in range(n):
            x = x * x + 1
        return x

    x = aot.rand(3, 4)
    for _ in range(3):
        assert aot.allclose(poly(x), (x * x + 1) * (x * x + 1) + 1)
    assert len(models_of(poly.function)) == 1
    assert poly(x, 3).shape == (3, 4) and poly(aot.rand(5)).shape == (5,)
    assert len(models_of(poly.function)) == 3 and None not in models_of(poly.function)
    assert np.allclose(poly(x.numpy()), poly(x).numpy())
    assert len(models_of(poly.function)) == 3


def test_eight_threads() -> None:
    module = aot.jit.script(aot.nn.Sequential(aot.nn.Linear(64, 64), aot.nn.ReLU(),
                                              aot.nn.Linear(64, 8)))
    inputs = [aot.randn(32, 64) for _ in range(8)]
    with aot.no_grad():
        expected = [module.forward(x) for x in inputs]
    found: list = [None] * 8

    def work(k: int) -> None:
        with aot.no_grad():
            for _ in range(50):
                found[k] = module(inputs[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected):
        assert bool((a == b).all())


def test_python_goes_on_while_a_call_runs() -> None:
    """Compiled calls release the GIL: another thread runs Python between a call's begin and end."""

    @aot.jit.script
    def heavy(x):
        for _ in range(200):
            x = aot.tanh(x @ x)
        return x

    x = aot.randn(256, 256)
    heavy(x)  # compiled now
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        for _ in range(3):
            heavy(x)
        ended.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody is asked to give the GIL away
    try:
        thread = threading.Thread(target=work)
        thread.start()
        began.wait()
        turns = 0
        while not ended.is_set():
            turns += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert turns > 100


def test_threads_of_new_shapes() -> None:
    """Eight threads, each with shapes of its own, compile and call one function at one time."""

    @aot.jit.script
    def scaled(x, n: int):
        return aot.softmax(x * n, dim=-1).cumsum(0)

    wrong: list = []

    def work(k: int) -> None:
        for turn in range(6):
            x = aot.arange(float(3 * (k + 1))).reshape(3, k + 1) / (turn + 1)
            if not aot.allclose(scaled(x, turn), aot.softmax(x * turn, dim=-1).cumsum(0)):
                wrong.append((k, turn))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_warning_names_what_is_not_compiled() -> None:
    @aot.jit.script
    def counted(x):
        return aot.bincount(x)

    x = aot.tensor([0, 1, 1, 4])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            result = counted(x)
    assert result.tolist() == [1, 2, 0, 0, 1]
    if None in models_of(counted.function):
        (message,) = [str(w.message) for w in seen]
        assert "bincount" in message and "runs in the interpreter" in message
        with pytest.raises(CompileError, match="bincount"), aot.jit.strict_fusion():
            counted(aot.tensor([0, 1, 1, 4, 4]))


def test_state_stays_in_the_module() -> None:
    class Counter(aot.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", aot.zeros(1))
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.total.add_(x.sum())
            return self.total * 1

    module = aot.jit.script(Counter())
    for k in range(1, 4):
        assert module(aot.ones(2)).tolist() == [2 * k]
    assert module.calls == 3 and module.total.tolist() == [6]
    loaded = aot.jit.load(module.save_to_buffer())
    assert loaded(aot.ones(2)).tolist() == [8]


def test_changed_weights_are_seen() -> None:
    module = aot.jit.script(aot.nn.Linear(3, 2))
    x = aot.ones(1, 3)
    with aot.no_grad():
        module(x)
        module.weight.zero_()
        assert aot.allclose(module(x)[0], module.bias)
        module.load_state_dict({"weight": aot.ones(2, 3), "bias": aot.zeros(2)})
        assert module(x).tolist() == [[3, 3]]
        module.eval()
        assert module.training is False


def test_random_numbers_are_the_sessions_own() -> None:
    @aot.jit.script
    def noise(x):
        return x + aot.rand(3)

    aot.manual_seed(5)
    first = noise(aot.zeros(3))
    aot.manual_seed(5)
    assert bool((aot.rand(3) == first).all())


def test_fusion_switches() -> None:
    @aot.jit.script
    def f(x):
        return aot.relu(x * 2 + 1)

    assert aot.jit.onednn_fusion_enabled()
    aot.jit.enable_onednn_fusion(False)
    try:
        assert not aot.jit.onednn_fusion_enabled()
        x = aot.rand(7)
        assert aot.allclose(f(x), aot.relu(x * 2 + 1))
    finally:
        aot.jit.enable_onednn_fusion(True)
    before = aot.jit.set_fusion_strategy([("STATIC", 1)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for n in range(1, 5):
                assert f(aot.rand(n)).shape == (n,)
        assert models_of(f.function).count(None) == 4
    finally:
        assert aot.jit.set_fusion_strategy(before) == [("STATIC", 1)]
    with pytest.raises(ValueError, match="expected"):
        aot.jit.set_fusion_strategy([("SOMETIMES", 1)])


def test_frozen_modules() -> None:
    layers = aot.nn.Sequential(aot.nn.Conv2d(3, 4, 3), aot.nn.BatchNorm2d(4), aot.nn.ReLU())
    module = aot.jit.script(layers.eval())
    x = aot.rand(1, 3, 8, 8)
    fast = aot.jit.optimize_for_inference(module)
    frozen = aot.jit.freeze(module, optimize_numerics=False)
    with aot.no_grad():
        expected = module(x)
        assert aot.allclose(fast(x), expected, atol=1e-5)
        assert aot.allclose(frozen(x), expected, atol=1e-5)
        assert aot.allclose(aot.jit.load(fast.save_to_buffer())(x), expected, atol=1e-5)
    assert "batch_norm" not in str(fast.graph) and "batch_norm" in str(frozen.graph)
    aot.jit.run_frozen_optimizations(frozen)
    assert "batch_norm" not in str(frozen.graph)


def test_what_a_call_writes_is_written() -> None:
    """Tensors given are written in place; Python's lists are copied, scripted ones are shared."""

    @aot.jit.script
    def write(x, numbers: List[int]):
        x[0].add_(1)
        numbers.append(x.size(0))
        return x

    x = aot.zeros(2, 2)
    python, scripted = [5], aot.jit.script([5])
    assert write(x, python) is x and x.tolist() == [[1, 1], [0, 0]]
    write(x, scripted)
    assert python == [5] and scripted == [5, 2] and x.tolist() == [[2, 2], [0, 0]]


def test_parameters_in_lists_get_their_gradients() -> None:
    module = aot.jit.script(aot.nn.LSTM(3, 4))  # its weights are read from a list
    module(aot.rand(5, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_lists_that_calls_change_stay_changed() -> None:
    class History(aot.nn.Module):
        seen: List[int]

        def __init__(self) -> None:
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x.size(0))
            return self.seen

    module = aot.jit.script(History())
    first = module(aot.ones(2))
    assert module(aot.ones(3)) == [2, 3] and first == [2] and module.seen == [2, 3]


def test_results_that_are_arguments_or_windows_on_them() -> None:
    @aot.jit.script
    def passed(x, y):
        return y * 2, [x, x + y], x

    @aot.jit.script
    def window(x):
        return x.t()[0]

    @aot.jit.script
    def chosen(x):
        if bool(x.sum() > 100):
            return -x
        return x

    x, y = aot.zeros(2, 3), aot.ones(2, 3)
    double, listed, same = passed(x, y)
    assert same is x and listed[0] is x and listed[1].tolist() == double.div(2).tolist()
    assert None not in models_of(passed.function) and chosen(x) is x
    window(x).add_(1)
    assert x.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_program_that_raises_is_no_news() -> None:
    @aot.jit.script
    def refuse(x):
        if x.dim() == 1:
            raise ValueError("too few dims")
        return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeFailure, match="too few dims"):
            refuse(aot.ones(2))
        assert refuse(aot.ones(1, 2)).tolist() == [[2, 2]]
