"""The language under partial evaluation: numbers, containers and strings, against PyTorch, live."""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional

import pytest

from lowering.evaluate import run_method
from tests.conftest import import_torch
from tests.evaluated_functions import X, agree, compare, load, to_ours

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Tensor = torch.Tensor


# Numbers


def test_integer_arithmetic():
    def f(n: int, m: int):
        return (n + m, n - m, n * m, n // m, n % m, n / m, -n, n << 2, n >> 1, n & 3,
                n | 3, n ^ 3, abs(m))

    for n, m in [(7, -2), (-7, 2), (-7, -2), (6, 3), (2**62, 4)]:
        compare(f, n, m)


def test_float_arithmetic():
    def f(x: float, y: float):
        return x + y, x - y, x * y, x / y, x // y, x % y, -x, abs(x), float(x), int(x), bool(y)

    for x, y in [(7.5, -2.0), (-3.7, 2.0), (0.25, 0.5)]:
        compare(f, x, y)


def test_mixed_arithmetic_and_comparisons():
    def f(n: int, x: float, b: bool):
        return (n + x, n * x, x - n, n / 2, n < x, n <= 3, n == 3, n != 3, x > 1, x >= n, not b,
                b and n > 0, b or n > 0, min(n, 3), max(x, 0.5), float(n), int(b), n if b else 2)

    compare(f, 3, 1.5, True)
    compare(f, -3, 0.5, False)


def test_math():
    def f(x: float):
        return (math.ceil(x), math.floor(x), math.sqrt(x), math.log(x), math.exp(x), math.sin(x),
                math.tanh(x), math.pow(x, 2.0), math.fmod(x, 2.0), math.isnan(x), round(x))

    for x in (2.4, 3.6, 9.0):
        compare(f, x)


def test_powers():
    def f(n: int, x: float):
        return n**2, x**2, 2**n, x**0.5, x**n

    compare(f, 3, 2.25, run_time=False)


def test_rounding_of_halves():
    def f(x: float):
        return round(x)

    for x in (0.5, 1.5, 2.5, -2.5):
        compare(f, x)


def test_divmod_and_bit_length():
    def f(n: int, m: int):
        return divmod(n, m)

    compare(f, 7, -2, run_time=False)


# Containers and strings


def test_lists():
    def f(l: List[int], s: str):
        second = l[1:]
        l.sort(reverse=True)
        copy = l.copy()
        copy.append(9)
        copy.insert(0, 7)
        copy.extend([1, 1])
        last = copy.pop()
        copy.remove(9)
        copy.reverse()
        return (l, second, copy, last, l.index(3), l.count(1), sorted(l), 3 in l, len(l), l * 2,
                [0] * 3, l + [5], l == second, l[-1], sum(l), [i * 2 for i in l], min(l), max(l))

    compare(f, [1, 3, 2], "x", run_time=False)


def test_slices_of_lists():
    def f(l: List[int]):
        return l[::-1], l[3:0:-1], l[::-2], l[-1:-4:-1], l[1:4:2], l[10:0:-3], l[:-2]

    compare(f, [0, 1, 2, 3, 4, 5])


def test_data_dependent_sizes_with_everything_known():
    def f(x: Tensor):
        kept = torch.where(x > 0)[0]
        order = x[kept].sort(descending=True)[1]
        n = min(2, kept.size(0))
        return kept[order], x[kept].topk(n)[0], kept[:n].reshape(n, -1)

    x = torch.tensor([0.5, -1.0, 2.0, 1.5, -0.25])
    scripted, function, root = load(f)
    agree(run_method(function, [root, to_ours(x)]), scripted(x), "run_method")


def test_dicts():
    def f(d: Dict[str, int]):
        d["new"] = 5
        keys = [k for k in d.keys()]
        values = [v for v in d.values()]
        popped = d.pop("a")
        inside = "a" in d
        total = 0
        for _, v in d.items():
            total += v
        return d, keys, values, popped, inside, total, len(d), d.get("b"), d.get("zzz", 4)

    compare(f, {"a": 3, "b": 4}, run_time=False)


def test_strings():
    def f(s: str, n: int, x: float):
        return ("{} and {}".format(n, x), str(n), str(x), str([n, 2]), "%s %d %f" % (s, n, x),
                s.upper(), s.split(","), s[1:3], s[-1], "a" in s, len(s), s.find("b"), s + "!",
                s.replace("a", "z"), s.startswith("a"), ",".join([s, s]), s.strip(), s == "q",
                "{:.2f} {} {{".format(x), str(True), str(1e-7))

    compare(f, "a,bc ", 3, 1.5, run_time=False)


class Point(NamedTuple):
    x: Tensor
    n: int


def test_tuples_and_named_tuples():
    def f(x: Tensor, n: int):
        p = Point(x + 1, n * 2)
        a, b = p.x, p.n
        t = (a, b, "s")
        return p, t[0] * t[1], t[1:]

    compare(f, X, 3)


def test_optional_and_isinstance():
    def f(x: Optional[Tensor], y: Tensor):
        if x is None:
            x = y * 2
        return x + y

    compare(f, None, X)
    compare(f, X + 1, X)
