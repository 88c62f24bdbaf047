"""What partial evaluation refuses: every problem named, with the line it stands on."""

from __future__ import annotations

from typing import List

import numpy as np
import pytest

import aot
from lowering.evaluate import InputSpec, evaluate, run_method
from runtime.dtypes import f32
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import import_torch
from tests.evaluated_functions import load, program_of, run_compiled, to_ours

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = torch.arange(12.0).reshape(3, 4)


def refused(fn, *args, run_time=True) -> str:
    _, function, root = load(fn)
    with pytest.raises(CompileError) as caught:
        program_of(function, root, args, run_time)
    return str(caught.value)


def test_all_unsupported_operators_are_listed_at_once():
    def f(x: Tensor):
        y = torch.cholesky_inverse(x)
        if bool(y.sum() > 0):
            z = torch.linalg.eigvalsh(x)
        else:
            z = torch.matrix_exp(y)
        for i in range(y.size(0)):
            z = z + torch.cholesky_inverse(z) + torch.geqrf(z)[0]
        return z

    message = refused(f, X)
    assert message.startswith("4 operators are not supported")
    for name in ("aten::cholesky_inverse", "aten::linalg_eigvalsh", "aten::linalg_matrix_exp",
                 "aten::geqrf"):
        assert message.count(name + "(") == 1, message
    assert ".py:" in message and "^" in message


def test_an_unsupported_operator_on_a_dead_path_does_no_harm():
    def f(x: Tensor, n: int):
        if n > 2:
            return torch.cholesky_inverse(x)
        return x + 1

    _, function, root = load(f)
    program, arrays = program_of(function, root, (X, 1), False)
    assert np.array_equal(run_compiled(program, arrays), (X + 1).numpy())
    assert "cholesky_inverse" in refused(f, X, 1)


def test_wrong_shapes_name_the_line_and_the_arguments():
    def f(x: Tensor):
        return x + torch.zeros(5)

    message = refused(f, X)
    assert "do not broadcast" in message
    assert "in aten::add(Tensor f32[3, 4], Tensor f32[5]" in message
    assert ".py:" in message


def test_an_assert_that_fails_for_these_inputs():
    def f(x: Tensor):
        assert x.size(0) == 5, "five rows"
        return x

    assert "the program raises for these inputs: AssertionError: five rows" in refused(f, X)
    _, function, root = load(f)
    with pytest.raises(RuntimeFailure, match="five rows"):
        run_method(function, [root, to_ours(X)])


def test_indices_out_of_range():
    def f(x: Tensor, l: List[int]):
        return x[l[4]]

    assert "list index out of range" in refused(f, X, [1, 2], run_time=False)

    def g(x: Tensor):
        return x.sum(7)

    assert "Dimension out of range" in refused(g, X)


def test_unknown_values_are_refused_only_where_they_are_used():
    def f(x: Tensor, n: int):
        if n > 0:
            y = x
        else:
            y = x[0]
        z = x + 1
        return z + y

    message = refused(f, X, 1)
    assert "on one path" in message and "known only at run time" in message


def test_shapes_that_depend_on_data_are_refused():
    def f(x: Tensor, n: int):
        return x.view(n, -1)

    assert "sizes and dims must be known" in refused(f, X, 3)

    def h(x: Tensor, n: int):
        return x.sum(n) + x.softmax(n)

    message = refused(h, X, 1)
    for name in ("sum", "softmax"):
        assert f"aten::{name}(" in message, message

    def g(x: Tensor, n: int):
        if n > 0:
            y = x
        else:
            y = x[0]
        return y + 1

    assert "the number of dims and dtypes must agree" in refused(g, X, 3)


def test_endless_and_deep_programs_end():
    def f(n: int):
        while True:
            n += 1
        return n

    import lowering.evaluate_loop as loops

    before, loops.MOST_TURNS = loops.MOST_TURNS, 1000
    try:
        assert "does not end" in refused(f, 1, run_time=False)
    finally:
        loops.MOST_TURNS = before


def test_too_many_or_missing_inputs():
    def f(x: Tensor, y: Tensor):
        return x

    _, function, root = load(f)
    spec = InputSpec("", "tensor", f32, (2,))
    with pytest.raises(CompileError, match="takes 2 arguments, found 3"):
        evaluate(function, root, [spec] * 3)
    with pytest.raises(CompileError, match="'y' is missing"):
        evaluate(function, root, [spec])


def test_calls_are_named():
    class Inner(torch.nn.Module):
        def forward(self, x):
            return torch.cholesky_inverse(x)

    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, x):
            return self.inner(x)

    assert "called from" in refused(Outer(), X)


def test_a_method_that_always_raises_stands_beside_others(capfd: pytest.CaptureFixture) -> None:
    class Moved(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(2))

        def forward(self, x: Tensor):
            self.seen.add_(1)
            return x + self.seen

        @torch.jit.export
        def old(self, x: Tensor, k: int) -> Tensor:
            print("old", k)
            raise RuntimeError(f"use forward, not {k}")

    compiled = aot.compile(torch.jit.script(Moved()), methods={
        "forward": ["x:f32[2]"], "old": ["x:f32[2]", "k:int"]})
    x = np.ones(2, np.float32)
    assert compiled(x).tolist() == [2, 2]
    with pytest.raises(RuntimeFailure, match="use forward, not 3"):
        compiled.old(x, 3)
    assert capfd.readouterr().out == "old 3\n"
    assert compiled(x).tolist() == [3, 3]
