"""fork and wait: side by side where the instance has threads, in order else, with equal bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import aot
from aot import Tensor
from lowering.tensor_ir import Tasks
from runtime.errors import RuntimeFailure
from runtime.loader import CompiledModel

SIZE = 96  # enough work for a task
X, W, V = (np.random.default_rng(k).standard_normal((SIZE, SIZE)).astype(np.float32) / 8
           for k in range(3))


def branch(x: Tensor, w: Tensor, n: int):
    for _ in range(n):
        x = aot.tanh(aot.matmul(x, w)) + 0.5
    return x, x.sum()


def picked(x: Tensor, w: Tensor):
    y = aot.matmul(x, w)
    return y[y > 0].sort()[0].sum()


def checked(x: Tensor, w: Tensor, limit: float):
    y = aot.matmul(x, w)
    total = float(y.abs().max())
    assert total < limit, f"{total} is not below {limit}"
    return y


def both_ways(call, *args: object) -> tuple[aot.compiled.Compiled, object, object]:
    """The code for two threads, its results on two and those on one."""
    compiled = aot.compile(call, args, threads=2)
    two = compiled(*args)
    serial = CompiledModel(compiled._jit.address, keepalive=compiled, threads=1)
    return compiled, two, serial(*args)


def side_by_side(compiled: aot.compiled.Compiled) -> list[int]:
    """How many tasks each of the program's ops has."""
    return [len(op.tasks) for p in compiled.lowered.programs for op in p.body.ops
            if isinstance(op, Tasks)]


def equal(a: object, b: object) -> bool:
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)


def close(a: object, b: object) -> bool:
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    return all(np.allclose(np.asarray(x), np.asarray(y), rtol=1e-4, atol=1e-4) for x, y in pairs)


@aot.jit.script
def two_forks(x: Tensor, w: Tensor, v: Tensor):
    a = aot.jit.fork(branch, x, w, 3)
    b = aot.jit.fork(branch, x + 1, v, 3)
    y, s = aot.jit.wait(a)
    z, t = aot.jit.wait(b)
    return y * z, s + t


@aot.jit.script
def beside_the_rest(x: Tensor, w: Tensor, v: Tensor):
    a = aot.jit.fork(branch, x, w, 3)
    z, t = branch(x, v, 3)
    y, s = aot.jit.wait(a)
    return y * z, s + t, z


@aot.jit.script
def many(x: Tensor, w: Tensor, v: Tensor):
    futures = [aot.jit.fork(branch, x + k, w, 2) for k in range(4)]
    total = aot.matmul(x, v)
    for f in futures:
        total = total + aot.jit.wait(f)[0]
    return total


@aot.jit.script
def nested(x: Tensor, w: Tensor, v: Tensor):
    def_ = aot.jit.fork(two_forks, x, w, v)
    a, b = two_forks(x - 1, v, w)
    c, d = aot.jit.wait(def_)
    return a + c, b + d


@aot.jit.script
def of_sizes_that_data_decide(x: Tensor, w: Tensor, v: Tensor):
    a = aot.jit.fork(picked, x, w)
    b = aot.jit.fork(picked, x, v)
    return aot.jit.wait(a) * 2 + aot.jit.wait(b)


@aot.jit.script
def views_of_one_memory(x: Tensor, w: Tensor, v: Tensor):
    a = aot.jit.fork(branch, x, w, 3)
    y, _ = branch(x, v, 3)
    z = aot.jit.wait(a)[0]
    z[0].add_(1)  # in place, after the wait
    y.t()[0] = z[0]
    return y, z, x


@aot.jit.script
def inside_a_branch(x: Tensor, w: Tensor, v: Tensor):
    y, total = x, x.sum()
    if bool(x.sum() > 1000) or bool(x[0, 0] < 100):
        a = aot.jit.fork(branch, x, w, 3)
        z, t = branch(x, v, 3)
        y, s = aot.jit.wait(a)
        total = s + t + z.sum()
    return y, total


@pytest.mark.parametrize("function, tasks", [
    (two_forks, [2]), (beside_the_rest, [2]), (many, [5]), (nested, [3]),
    (of_sizes_that_data_decide, [2]), (views_of_one_memory, [2]), (inside_a_branch, []),
], ids=lambda x: getattr(x, "name", str(x)))
def test_side_by_side(function: aot.jit.ScriptFunction, tasks: list[int]) -> None:
    compiled, two, one = both_ways(function, X, W, V)
    assert side_by_side(compiled) == tasks
    assert equal(two, one)
    assert close(two, compiled.interpret(X, W, V))
    assert close(two, aot.compile(function, (X, W, V))(X, W, V))  # for one thread: no tasks
    for _ in range(100):
        assert equal(compiled(X, W, V), one)


@aot.jit.script
def both_may_fail(x: Tensor, w: Tensor, v: Tensor, low: float, high: float):
    a = aot.jit.fork(checked, x, w, low)
    b = aot.jit.fork(checked, x, v, high)
    y = aot.matmul(x, x)
    return aot.jit.wait(a) + aot.jit.wait(b) + y


def test_what_a_fork_raises() -> None:
    """The first that fails tells, each in words of its own; the next call is as good as new."""
    words = [f"{n}:f32[{SIZE},{SIZE}]" for n in "xwv"] + ["low:float", "high:float"]
    compiled = aot.compile(both_may_fail, inputs=words, threads=2)
    assert side_by_side(compiled) == [3]
    good = compiled(X, W, V, 1e3, 1e3)
    for low, high, told in ((0.25, 1e3, "below 0.25"), (1e3, 0.5, "below 0.5"),
                            (0.25, 0.5, "below 0.25")):
        for call in (compiled, compiled.interpret):
            with pytest.raises(RuntimeFailure, match=f"[0-9.]+ is not {told}"):
                call(X, W, V, low, high)
    assert equal(compiled(X, W, V, 1e3, 1e3), good)


def raises(x: Tensor):
    if x.dim() == 2:
        raise ValueError("two dims")
    return x


@aot.jit.script
def never_awaited(x: Tensor):
    aot.jit.fork(raises, x)
    return x + 1


@aot.jit.script
def raised_at_the_wait(x: Tensor):
    a = aot.jit.fork(raises, x)
    print("before")
    return aot.jit.wait(a) + 1


def test_it_is_raised_at_the_wait(capfd: pytest.CaptureFixture) -> None:
    assert equal(aot.compile(never_awaited, (X,))(X), X + 1)
    with pytest.raises(Exception, match="two dims"):
        aot.compile(raised_at_the_wait, inputs=[f"x:f32[{SIZE},{SIZE}]"])(X)


def test_writes_and_prints_stay_in_order(capfd: pytest.CaptureFixture) -> None:
    class Counts(aot.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", aot.zeros(3))

        def step(self, x: Tensor, k: int):
            self.seen.add_(k)
            print("step", k)
            return aot.matmul(x, x) * self.seen[0]

        def forward(self, x: Tensor):
            a = aot.jit.fork(self.step, x, 1)
            b = aot.jit.fork(self.step, x, 2)
            return aot.jit.wait(b) - aot.jit.wait(a), self.seen

    module = aot.jit.script(Counts())
    compiled = aot.compile(module, inputs=[f"x:f32[{SIZE},{SIZE}]"], threads=2)
    assert side_by_side(compiled) == []
    for turn in range(3):
        found, seen = compiled(X)
        np.testing.assert_allclose(found, X @ X * 2, rtol=1e-4, atol=1e-4)
        assert seen.tolist() == [3 * turn + 3] * 3
    assert capfd.readouterr().out.split("\n") == ["step 1", "step 2"] * 3 + [""]


@aot.jit.script
def of_operators(x: Tensor):
    a = aot.jit.fork(aot.sin, x)
    b = aot.jit.fork(aot.add, x, other=2.0)
    return aot.jit.wait(a) * aot.jit.wait(b)


def test_operators_are_forked_too(tmp_path: Path) -> None:
    aot.jit.save(of_operators, tmp_path / "m.pt")
    for call in (of_operators, aot.jit.load(tmp_path / "m.pt"), aot.compile(of_operators, (X,))):
        np.testing.assert_allclose(np.asarray(call(X)), np.sin(X) * (X + 2), rtol=1e-5, atol=1e-6)
