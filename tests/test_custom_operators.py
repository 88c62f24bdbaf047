"""Operators of one's own: from Python, in scripts, traces and archives, compiled."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

import aot
from aot import library
from aot.compile_cache import key_of
from aot.options import CompileOptions
from lowering.ops import TABLE
from runtime.errors import CompileError, InputError, RuntimeFailure

_numbers = itertools.count()


def declared(signature: str, definition) -> object:
    """An operator with a name that no other test has."""
    return library.operator(f"testing::op{next(_numbers)}{signature}")(definition)


def swish(x: aot.Tensor, beta: float) -> aot.Tensor:
    return x * aot.sigmoid(beta * x)


def both_ways(x: aot.Tensor, n: int):
    y = aot.zeros_like(x)
    if bool(x.sum() > 0):
        y = y + x[0]
    for i in range(n):
        y = y + i
    return y, x[x > 0]


X = np.array([1.0, -2.0, 3.0], np.float32)


def expected(beta: float) -> np.ndarray:
    return X / (1 + np.exp(-beta * X))


def test_it_is_called_from_python() -> None:
    op = declared("(Tensor x, float beta=1.0) -> Tensor", swish)
    np.testing.assert_allclose(op(aot.tensor(X)).numpy(), expected(1), rtol=1e-5)
    again = getattr(aot.ops.testing, op.__name__)
    np.testing.assert_allclose(again(aot.tensor(X), beta=2.0).numpy(), expected(2), rtol=1e-5)


def test_it_stands_in_scripts_traces_and_archives() -> None:
    op = declared("(Tensor x, float beta=1.0) -> Tensor", swish)

    @aot.jit.script
    def scripted(x: aot.Tensor):
        return op(x, 0.5) + op(x)

    traced = aot.jit.trace(lambda x: op(x, 0.5) + op(x), (aot.tensor(X),))
    for program in (scripted, traced):
        buffer = io.BytesIO()
        aot.jit.save(program, buffer)
        loaded = aot.jit.load(io.BytesIO(buffer.getvalue()))
        assert f"ops.testing.{op.__name__}(x, 0.5)" in loaded.code
        for run in (loaded, aot.compile(loaded, (X,))):
            np.testing.assert_allclose(np.asarray(run(X)), expected(0.5) + expected(1), rtol=1e-5)


def test_it_may_branch_on_data_and_give_what_the_data_decide() -> None:
    op = declared("(Tensor x, int n) -> (Tensor, Tensor)", both_ways)

    @aot.jit.script
    def scripted(x: aot.Tensor):
        return op(x, 3)

    compiled = aot.compile(scripted, (X,))
    for x in (X, -X):
        for found in (op(aot.tensor(x), 3), compiled(x)):
            first, positive = map(np.asarray, found)
            np.testing.assert_array_equal(first, np.full(3, 3 + (x[0] if x.sum() > 0 else 0)))
            np.testing.assert_array_equal(positive, x[x > 0])


def test_what_is_kept_on_disk_is_of_the_definition() -> None:
    options = CompileOptions((), name="m")
    before = key_of(b"program", options)
    declared("(Tensor x, float beta=1.0) -> Tensor", swish)
    assert key_of(b"program", options) != before


def test_operators_of_torchvision_are_found() -> None:
    boxes = aot.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]])
    kept = aot.ops.torchvision.nms(boxes, aot.tensor([0.5, 0.9, 0.1]), 0.5)
    assert kept.tolist() == [1, 2]
    assert "roi_align" in dir(aot.ops.torchvision)


@pytest.mark.parametrize("schema, message", [
    ("swish", "not an operator's schema"),
    ("other::swish(Tensor x, float beta) -> ", "not an operator's schema"),
    ("aten::swish(Tensor x, float beta) -> Tensor", "a namespace of its own"),
    ("swish(Tensor x, float beta) -> Tensor", "a namespace of its own"),
    ("torchvision::nms(Tensor x, float beta) -> Tensor", "exists already"),
    ("other::swish(Tensor(a!) x, float beta) -> Tensor(a!)", "write none of their arguments"),
    ("other::swish(Tensor x, float alpha) -> Tensor", "takes x, alpha, its definition x, beta"),
])
def test_wrong_declarations(schema: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        library.operator(schema)(swish)
    assert "other::swish" not in TABLE


def test_writing_an_argument_is_refused() -> None:
    def bad(x: aot.Tensor):
        x.add_(1)
        return x * 2

    op = declared("(Tensor x) -> Tensor", bad)
    with pytest.raises((CompileError, RuntimeFailure, ValueError), match="writes one of its"):
        aot.compile(_calling(op), (X,))


def _calling(op):
    class Calls(aot.nn.Module):
        def forward(self, x):
            return op(x)

    return aot.jit.script(Calls())


def test_names_that_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="no operator testing::nothing"):
        declared("(Tensor x, float beta) -> Tensor", swish)
        aot.ops.testing.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="no operators nowhere"):
        aot.ops.nowhere  # noqa: B018
