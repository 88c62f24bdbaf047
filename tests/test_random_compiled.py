"""Random numbers in compiled code: PyTorch's stream, in the artifact and in the interpreter.

Every operator is compared in tests/test_operators.py; here are programs, state and seeds.
"""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest

import aot
from lowering.random_words import DEFAULT_SEED, draw, moved, seeded, untemper
from runtime.c_compiler import INCLUDE_DIR
from tests.conftest import import_torch

torch = import_torch()


def test_the_window_moves_as_the_twister_does():
    window = seeded(5)
    words = draw(window, 2000)
    assert (words == np.random.RandomState(5).randint(0, 2**32, 2000, np.uint64)).all()
    for count in (0, 1, 623, 624, 625, 1500):
        assert (draw(moved(window, words[:count]), 50) == words[count:count + 50]).all()
    raw = untemper(words)
    assert (untemper(words[7:]) == raw[7:]).all()


class Dropouts(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            x = torch.nn.functional.dropout(torch.relu(layer(x)), 0.25, self.training)
        return x + torch.rand_like(x)


def branches(x):
    for _ in range(int(x.sum())):
        x = x + torch.rand(2, 2)
    if bool(x[0, 0] > 3):
        x = x + torch.randn(3)[0]
    else:
        x = x - torch.rand(2, 2)
    return x + torch.rand(2, 2)


def odd_normals(x):
    y = torch.randn(5) + torch.randn(3)[0]
    if bool(x[0, 0] > 1):
        y = y + torch.randn(1)
    return y, torch.randn(2)


def written(x):
    x = x.clone()
    x[:1].uniform_(-1.0, 1.0)
    x[:, 1].normal_(2.0, 0.5)
    return x.bernoulli_(), x.t().contiguous().exponential_(), torch.empty(4).random_(3, 9)


def transposed(x):
    y = torch.empty(6, 4)
    y.t().uniform_(-1.0, 2.0)
    z = torch.zeros(4, 8, 5)
    z.permute(2, 0, 1).normal_()
    z[:, ::2].bernoulli_(0.5)
    return y, z, torch.zeros(4, 5).t().exponential_()


def permuted(x):
    order = torch.randperm(40)
    return order, torch.randperm(700)[:10], torch.multinomial(x.abs() + 0.1, 2)


def many(x):
    return torch.rand(1300), torch.randn(700), torch.randint(0, 9, (624,)), x * torch.rand(1)


@pytest.mark.parametrize("function, x", [
    (branches, np.full((2, 2), 2, np.float32)), (branches, np.zeros((2, 2), np.float32)),
    (odd_normals, np.full((2, 2), 2, np.float32)), (odd_normals, np.zeros((2, 2), np.float32)),
    (written, np.ones((3, 4), np.float32)), (transposed, np.ones((2,), np.float32)),
    (permuted, np.ones((3, 4), np.float32)),
    (many, np.ones((2,), np.float32)),
], ids=lambda v: getattr(v, "__name__", ""))
def test_programs(tmp_path, function, x):
    _agree(tmp_path, torch.jit.script(function), x)


def test_dropout_in_training(tmp_path):
    _agree(tmp_path, torch.jit.script(Dropouts().train()), np.ones((4, 8), np.float32))


def test_recurrent_dropout(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self, batch_first):
            super().__init__()
            self.lstm = torch.nn.LSTM(4, 5, 3, dropout=0.4, batch_first=batch_first)

        def forward(self, x):
            return self.lstm(x)[0]

    for batch_first in (False, True):
        _agree(tmp_path, torch.jit.script(Net(batch_first).train()),
               np.ones((3, 6, 4), np.float32))


def _agree(tmp_path, program, x):
    """Three calls in a row give what PyTorch gives, compiled and interpreted."""
    path = tmp_path / "model.pt"
    program.save(str(path))
    compiled = aot.compile(path, example_inputs=[x])
    torch.manual_seed(DEFAULT_SEED)
    for _ in range(3):
        expected = program(torch.from_numpy(x.copy()))
        for found in (compiled(x), compiled.interpret(x)):
            _close(found, expected)


def _close(found, expected):
    if isinstance(expected, torch.Tensor):
        found, expected = [found], [expected]
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs.detach().numpy()
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=3e-6, atol=5e-7)


def test_reset_begins_the_stream_anew(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.script(branches).save(str(path))
    x = np.ones((2, 2), np.float32)
    compiled = aot.compile(path, example_inputs=[x])
    first, second = compiled(x), compiled(x)
    assert not np.array_equal(first, second)
    compiled.reset()
    np.testing.assert_array_equal(compiled(x), first)
    np.testing.assert_array_equal(compiled.instance()(x), first)


C_SEEDS = r"""
#include "m.h"
#include <stdio.h>

static float out[5];
static int32_t status;

static void show(m_instance *model) {
    status |= m_forward(model, out);
    for (int k = 0; k < 5; k++) printf("%.9g ", out[k]);
    puts("");
}

int main(void) {
    m_instance *model, *other;
    aot_options options = {0};
    status = m_create(&model, NULL);
    show(model);
    status |= m_seed(model, 7);
    show(model);
    show(model);
    status |= m_model.seed(model, ((uint64_t)1 << 32) + 7);
    show(model);
    options.seed = 123456789;
    status |= m_create(&other, &options);
    show(other);
    show(other);
    status |= m_reset(other);
    show(other);
    status |= m_copy_state(model, other);
    show(model);
    status |= m_seed(model, 0);
    show(model);
    if (m_seed(NULL, 1) != AOT_INVALID_ARGUMENT) return 2;
    m_destroy(model);
    m_destroy(other);
    return status;
}
"""


def three_normals():
    return torch.cat([torch.randn(3), torch.rand(2)])


def test_seeds_in_c(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(three_normals).save(str(path))
    aot.compile(path, inputs=[], name="m").save(tmp_path / "m.o")
    (tmp_path / "main.c").write_text(C_SEEDS)
    lines = _built_and_run(tmp_path, "cc", "-std=c99")
    expected = []
    for seed, calls in ((DEFAULT_SEED, 1), (7, 2), (2**32 + 7, 1), (123456789, 2)):
        torch.manual_seed(seed)
        expected += [three_normals() for _ in range(calls)]
    torch.manual_seed(123456789)
    expected += [three_normals(), three_normals()]
    torch.manual_seed(0)
    expected.append(three_normals())
    assert len(lines) == len(expected)
    for line, numbers in zip(lines, expected):
        np.testing.assert_array_equal(np.array(line.split(), np.float32), numbers.numpy())


CPP_SEEDS = r"""
#include "m.h"
#include "aot.hpp"
#include <cstdio>

int main() {
    aot::Instance model(m_model);
    model.seed(7).or_throw();
    const auto results = model.call("forward", {});
    for (float x : results[0].values<float>()) std::printf("%.9g ", static_cast<double>(x));
}
"""


class Normals(torch.nn.Module):
    def forward(self):
        return three_normals()


def test_seeds_in_cpp(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(Normals()).save(str(path))
    aot.compile(path, inputs=[], name="m").save(tmp_path / "m.o")
    (tmp_path / "main.cpp").write_text(CPP_SEEDS)
    (line,) = _built_and_run(tmp_path, "c++", "-std=c++17", f"-I{INCLUDE_DIR}", source="main.cpp")
    torch.manual_seed(7)
    np.testing.assert_array_equal(np.array(line.split(), np.float32), three_normals().numpy())


def _built_and_run(where, *compiler, source="main.c"):
    command = [*compiler, "-Wall", "-Werror", "-o", "main", source, "m.o"]
    subprocess.run(command, cwd=where, check=True)
    done = subprocess.run([where / "main"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_seeds_in_python(tmp_path):
    path = tmp_path / "m.pt"
    torch.jit.script(three_normals).save(str(path))
    compiled = aot.compile(path, inputs=[], name="m")
    compiled.save(tmp_path / "m.so")
    for model in (compiled.model, aot.load_library(tmp_path / "m.so")):
        for seed in (7, -3):
            model.manual_seed(seed)
            torch.manual_seed(seed)
            for _ in range(2):
                np.testing.assert_array_equal(model(), three_normals().numpy())
    model = aot.load_library(tmp_path / "m.so", seed=11)
    torch.manual_seed(11)
    np.testing.assert_array_equal(model(), three_normals().numpy())
    saved = model.save_state()
    first = model()
    model.restore_state(saved)
    np.testing.assert_array_equal(model(), first)


def test_the_session_and_compiled_programs_share_a_stream():
    """Scripted functions run as machine code, between draws of the session."""

    @aot.jit.script
    def noisy(x: aot.Tensor):
        return aot.dropout(x, 0.5, True) + aot.randn(3)

    x = aot.ones(3)
    for seed in (1, 2):
        aot.manual_seed(seed)
        found = [aot.randn(1), noisy(x), aot.rand(2), noisy(x), aot.randn(2)]
        torch.manual_seed(seed)
        t = torch.ones(3)
        expected = [torch.randn(1)]
        expected += [torch.dropout(t, 0.5, True) + torch.randn(3), torch.rand(2)]
        expected += [torch.dropout(t, 0.5, True) + torch.randn(3), torch.randn(2)]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)


def test_what_a_loop_rewrites_after_it_was_read_stays_in_place(tmp_path):
    """randperm's swaps: time that grows with the square of the size would take seconds here."""
    def shuffled(x):
        return torch.randperm(200000)

    program = torch.jit.script(shuffled)
    program.save(str(tmp_path / "m.pt"))
    compiled = aot.compile(tmp_path / "m.pt", example_inputs=[np.ones(1, np.float32)])
    torch.manual_seed(DEFAULT_SEED)
    expected = program(torch.ones(1)).numpy()
    begin = time.perf_counter()
    np.testing.assert_array_equal(compiled(np.ones(1, np.float32)), expected)
    assert time.perf_counter() - begin < 2


def sized_dropout(x):
    return torch.dropout(x, 0.4, True), torch.rand(x.size(0)), torch.randint(5, (x.size(0), 2))


def sized_normals(x):
    y = torch.zeros(x.size(0), 4, 4)
    return torch.randn_like(y), torch.rand(2), torch.empty(x.size(0), 3).log_normal_(0.0, 0.5)


def sized_permutation(x):
    return torch.randperm(x.size(0)), torch.bernoulli(x * 0.5), torch.randn(3)


@pytest.mark.parametrize("function", [sized_dropout, sized_normals, sized_permutation],
                         ids=lambda f: f.__name__)
def test_sizes_of_run_time(tmp_path, function):
    """One artifact draws as many as each call needs, and leaves the stream where PyTorch does."""
    program = torch.jit.script(function)
    program.save(str(tmp_path / "m.pt"))
    compiled = aot.compile(tmp_path / "m.pt", inputs=["x:f32[N,3]"])
    torch.manual_seed(DEFAULT_SEED)
    for n in (1, 2, 5, 300, 7, 1, 1000, 3):
        x = np.ones((n, 3), np.float32)
        expected = program(torch.from_numpy(x))
        _close(compiled(x), expected)
        _close(compiled.interpret(x), expected)


def test_a_count_of_run_time(tmp_path):
    def drawn(x, n: int):
        return torch.randperm(n), torch.rand(n, 2)

    program = torch.jit.script(drawn)
    program.save(str(tmp_path / "m.pt"))
    compiled = aot.compile(tmp_path / "m.pt", inputs=["x:f32[3]", "n:int"])
    torch.manual_seed(DEFAULT_SEED)
    x = np.ones(3, np.float32)
    for n in (0, 1, 2, 50, 3, 800):
        _close(compiled(x, n), program(torch.from_numpy(x), n))
