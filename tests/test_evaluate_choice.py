"""Lists and dicts at positions of run time, searches among numbers of run time, beside PyTorch."""

from __future__ import annotations

import io
from typing import Dict, List

import pytest

import aot
from aot.jit import load
from runtime.errors import RuntimeFailure
from tests.conftest import import_torch
from tests.evaluated_functions import compare

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Tensor = torch.Tensor
X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("i", [-3, -1, 0, 2])
def test_elements(i: int) -> None:
    def f(x: Tensor, i: int):
        numbers = [4, 5, 6]
        tensors = [x, x + 1, x * 2]
        pairs = [(1, x), (2, -x), (3, x * 0)]
        numbers[i] = 9
        tensors[i] = tensors[i] - 7
        n, t = pairs[i]
        return numbers, tensors, n, t, numbers[i] + {0: 3, 2: 4, -3: 5, -1: 6}[i]

    compare(f, X, i)


@pytest.mark.parametrize("i", [-9, -3, 0, 1, 2, 7])
def test_insert(i: int) -> None:
    def f(i: int):
        numbers = [4, 5, 6]
        numbers.insert(i, 10)
        return numbers

    compare(f, i)


@pytest.mark.parametrize("i", [-3, -1, 0, 1])
def test_pop_and_delete(i: int) -> None:
    def f(x: Tensor, i: int):
        numbers = [4, 5, 6, 7]
        taken = numbers.pop(i)
        tensors = [x, x + 1, x + 2, x + 3]
        del tensors[i]
        return numbers, taken, tensors

    compare(f, X, i)


@pytest.mark.parametrize("i", [1, 4, 5])
def test_searches(i: int) -> None:
    def f(i: int):
        numbers = [i, 4, 2 * i, 4, 5]
        sorted_numbers = sorted(numbers)
        at = numbers.index(4)
        numbers.remove(4)
        backwards = [i, 3, -i]
        backwards.sort(reverse=True)
        names: Dict[int, str] = {1: "a", 4: "b"}
        return (i in [1, 2, 4], [3, i].count(4), numbers, at, sorted_numbers, backwards,
                [i, 1] == [4, 1], [i, 1] != [4, 1], i in names, sum([i, 2 * i, 1]))

    compare(f, i)


def test_a_written_element_is_the_element() -> None:
    def f(x: Tensor, i: int):
        tensors = [x + 1, x + 2]
        tensors[i].add_(5)
        return tensors

    compare(f, X, 0, run_time=False)


def test_out_of_range_is_a_status() -> None:
    @torch.jit.script
    def f(x: Tensor, xs: List[int], i: int):
        ys = [x, x + 1]
        ys[i] = x
        return ys[i], xs[i], ys.pop(i)

    buffer = io.BytesIO()
    torch.jit.save(f, buffer)
    buffer.seek(0)
    model = aot.compile(load(buffer), inputs=["x:f32[2]", "xs:[int,int]", "i:int"])
    x = torch.zeros(2).numpy()
    for i in (2, -3, 2**62):
        with pytest.raises(RuntimeFailure, match="index out of range"):
            model(x, [1, 2], i)
    assert model(x, [1, 2], -1)[1] == 2
