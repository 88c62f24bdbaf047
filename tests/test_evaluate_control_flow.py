"""Branches, loops and early exits under partial evaluation, against PyTorch, live."""

from __future__ import annotations

from typing import List

import pytest

from lowering.evaluate import run_method
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import import_torch
from tests.evaluated_functions import X, compare, kinds, load, program_of, run_compiled, to_ours

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Tensor = torch.Tensor


# Control flow


def test_branch_on_a_known_shape_disappears():
    def f(x: Tensor):
        if x.size(0) > 2:
            return x + 1
        else:
            return x - 1

    program = compare(f, X)
    assert "If" not in kinds(program)


def test_branch_on_data():
    def f(x: Tensor):
        if bool(x.sum() > 0):
            y = x + 1
        else:
            y = -x
        return y * 2

    for x in (X, -X - 10, X + 10):
        assert "If" in kinds(compare(f, x))


def test_branch_on_a_number_of_run_time():
    def f(x: Tensor, n: int, b: bool):
        k = 1
        if n > 2:
            k = n * 2
        elif b:
            k = 7
        return x * k, k

    for n, b in [(1, True), (1, False), (5, True)]:
        compare(f, X, n, b)


def test_in_place_writes_inside_a_branch():
    def f(x: Tensor, n: int):
        y = x.clone()
        if n > 0:
            y[0] = 9
            y[1].add_(x[0])
        else:
            y.mul_(2)
        z = y + 1
        return y, z, x

    compare(f, X, 1)
    compare(f, X, -1)


def test_lists_change_inside_a_branch():
    def f(x: Tensor, n: int):
        parts = [x, x + 1]
        if n > 0:
            parts[0] = x * n
        return torch.cat(parts)

    compare(f, X, 1)
    compare(f, X, -1)


def test_early_return_and_raise():
    def f(x: Tensor, n: int):
        if n == 0:
            return x
        if n < 0:
            raise ValueError("negative")
        y = x
        for i in range(3):
            if i == n:
                break
            y = y + i
        return y

    for n in (0, 1, 5):
        compare(f, X, n)
    _, function, root = load(f)
    with pytest.raises(RuntimeFailure, match="negative"):
        run_method(function, [root, to_ours(X), -1])
    program, arrays = program_of(function, root, (X, -1))
    assert "Check" in kinds(program)
    with pytest.raises(RuntimeFailure, match="negative"):
        run_compiled(program, arrays)
    with pytest.raises(CompileError, match="negative"):
        program_of(function, root, (X, -1), False)


def test_loop_over_known_sizes_unrolls():
    def f(x: Tensor):
        out = torch.zeros(4)
        for i in range(x.size(0)):
            out = out * 0.5 + x[i]
        return out

    assert "Loop" not in kinds(compare(f, X))


def test_long_loop_stays_a_loop():
    def f(x: Tensor):
        out = torch.zeros(4)
        n = 0
        for i in range(200):
            out = out * 0.5 + x[i % 3] * i
            n += i
        return out, n

    program = compare(f, X)
    assert "Loop" in kinds(program) and len(program.body.ops) < 30


def test_a_loop_over_rows_needs_no_bounds_checks():
    def f(x: Tensor):
        out = torch.zeros(4)
        for i in range(x.size(0)):
            out = out * 0.5 + x[i]
        return out

    program = compare(f, torch.randn(100, 4))
    assert "Loop" in kinds(program) and "Check" not in kinds(program)


def test_loop_with_a_trip_count_of_run_time():
    def f(x: Tensor, n: int):
        y = x
        total = 0
        for i in range(n):
            y = y + i
            total += i * 2
        return y, total

    for n in (0, 1, 5):
        assert "Loop" in kinds(compare(f, X, n))


def test_while_on_data():
    def f(x: Tensor):
        n = 0
        while bool(x.sum() < 100):
            x = x + 1.5
            n += 1
        return x, n

    assert "Loop" in kinds(compare(f, X))


def test_loop_with_break_and_continue_on_data():
    def f(x: Tensor, n: int):
        y = x
        for i in range(n):
            if i == 2:
                continue
            if bool(y.sum() > 30):
                break
            y = y + i
        return y

    for n in (0, 3, 20):
        compare(f, X, n)


def test_nested_loops_and_branches():
    def f(x: Tensor, n: int):
        y = x
        for i in range(n):
            for j in range(n):
                if bool(y.max() < 20):
                    y = y + j
                else:
                    y = y - i
        return y

    for n in (0, 2, 6):
        compare(f, X, n)


def test_in_place_writes_inside_a_loop():
    def f(x: Tensor, n: int):
        y = torch.zeros_like(x)
        for i in range(n):
            y[0].add_(x[1] * i)
            y.mul_(0.5)
        return y

    for n in (0, 4):
        compare(f, X, n)


def test_list_grows_in_an_unrolled_loop():
    def f(x: Tensor):
        outputs: List[Tensor] = []
        h = torch.zeros(4)
        for i in range(x.size(0)):
            h = torch.tanh(h + x[i])
            outputs.append(h)
        outputs.reverse()
        return torch.stack(outputs), outputs

    compare(f, X)


def test_list_growing_by_run_time_data_has_elements_of_one_shape():
    def f(x: Tensor, n: int):
        outputs = [x]
        for i in range(n):
            outputs.append(x[0] + i)
        return outputs

    compare(f, X, 3, run_time=False)
    _, function, root = load(f)
    with pytest.raises(CompileError, match="(?s)list.*f32.3, 4..*gets a Tensor.*at .*py:"):
        program_of(function, root, (X, 3))


def test_values_from_tensors():
    def f(x: Tensor):
        n = int(x[0, 0].item())
        v = float(x.max())
        b = bool(x[0, 0] > 0)
        return n, v, b, x * v, x.size(), x.dim(), x.numel(), x.tolist() if False else n

    compare(f, X)


def test_numbers_become_tensors():
    def f(x: Tensor, n: int, v: float):
        return (torch.tensor([n, 2]), torch.tensor(v), torch.tensor([1.0, v]), x + n, x * v,
                torch.full([2], v), torch.tensor([[1, 2], [3, 4]]))

    compare(f, X, 3, 1.5)


def test_a_path_that_leaves_a_variable_unset():
    def f(x: Tensor, n: int):
        if n > 0:
            y = x * 2
            k = n
        else:
            raise RuntimeError("n must be positive")
        return y, k

    compare(f, X, 2)


def test_positions_of_run_time():
    def f(x: Tensor, n: int):
        y = x.clone()
        y[n] = 7
        y[:, n + 1].add_(1)
        y.narrow(0, n, 2).mul_(2)
        return y, x[n], x[n : n + 2], x[:, n + 1 : n + 3], x.select(1, -n - 1)

    for n in (0, 1):
        compare(f, X, n)
    _, function, root = load(f)
    program, arrays = program_of(function, root, (X, 3))
    with pytest.raises(RuntimeFailure, match="out of range"):
        run_compiled(program, arrays)


def test_fork_and_wait():
    def g(x: Tensor):
        return x * 2

    def f(x: Tensor):
        future = torch.jit.fork(g, x)
        return torch.jit.wait(future) + 1

    compare(f, X)
