"""--verify's comparison: it must notice what is wrong, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from aot.inputs import parse_input
from aot.verify import compare, random_value, verify
from runtime.errors import RuntimeFailure

A = np.array([[1.0, -2.0], [0.5, np.nan]], np.float32)


def test_what_agrees() -> None:
    close = A * np.float32(1 + 1e-6)
    outcome = compare(((close, {"k": [A]}), None, "s"), ((A, {"k": [A]}), None, "s"))
    assert 0 < outcome.relative < 1e-5 and "largest error" in str(outcome)


@pytest.mark.parametrize(
    "found, expected, problem",
    [
        (A * 1.01, A, "largest error"),
        (A[0], A, "shape"),
        (np.nan_to_num(A), A, "NaN"),
        ((A,), (A, A), "structure"),
        ({"a": A}, {"b": A}, "keys"),
        (np.array([1, 2]), np.array([1, 3]), "largest error"),
        (None, "x", "interpreter's 'x'"),
        (np.array([0x3F80], np.uint16), np.array([2.0], np.float32), "largest error"),
    ],
)
def test_what_does_not(found: object, expected: object, problem: str) -> None:
    with pytest.raises(RuntimeFailure, match=problem):
        compare(found, expected)


@pytest.mark.parametrize(
    "spec", ["x:f32[2,3]", "x:bf16[4]", "x:i64[3]", "x:bool[2]", "h:(f32[1],[int])", "n:float"]
)
def test_random_values_fit_their_spec(spec: str) -> None:
    value = random_value(parse_input(spec), np.random.default_rng(0))
    if spec.startswith("x:"):
        assert isinstance(value, np.ndarray)
        assert list(value.shape) == eval(spec[spec.index("[") :])


def test_constants_go_to_the_interpreter_only() -> None:
    inputs = tuple(map(parse_input, ("x:f32[4]", "n:int=3", "f:float")))
    assert verify(lambda x, f: x * 3 + f, lambda x, n, f: x * n + f, inputs).relative == 0


def test_named_dims_have_one_size_a_name() -> None:
    sizes: dict[str, int] = {}
    random = np.random.default_rng(0)
    x = random_value(parse_input("x:f32[N,3,H%32==0,W<=20]"), random, sizes)
    y = random_value(parse_input("y:f32[H,N]"), random, sizes)
    assert x.shape == (3, 3, 96, 20) and y.shape == (96, 3)
