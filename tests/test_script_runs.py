"""Scripted functions and modules compute what PyTorch's do."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from tests.conftest import import_torch

torch = import_torch()

import aot  # noqa: E402

SOURCE = '''
from typing import Dict, List, NamedTuple, Optional, Tuple, Union
from enum import Enum
import LIBRARY as torch
from LIBRARY import nn


class Point(NamedTuple):
    x: torch.Tensor
    n: int


class Mode(Enum):
    ADD = 1
    MUL = 2


class Counter:
    def __init__(self, start: int):
        self.value = start
        self.seen: List[int] = [start]

    def step(self, by: int = 1) -> int:
        self.value += by
        self.seen.append(self.value)
        return self.value

    @property
    def twice(self) -> int:
        return self.value * 2


def loops(x: torch.Tensor, n: int):
    out: List[torch.Tensor] = []
    i = 0
    while i < n:
        i += 1
        if i == 2:
            continue
        if i > 4:
            break
        out.append(x * i)
    return torch.stack(out), i


def early(x: torch.Tensor, n: int):
    for i in range(n):
        for j in range(i):
            if i * j == 6:
                return x + i, j
        x = x * 2
    return x, -1


def optional(x: torch.Tensor, n: int, y: Optional[torch.Tensor] = None):
    if y is None:
        y = torch.ones_like(x)
    else:
        y = y * 2
    return x + y * n


def containers(x: torch.Tensor, n: int):
    d: Dict[str, int] = {"a": n}
    d["b"] = d["a"] + 1
    total = 0
    for k, v in d.items():
        total += v + len(k)
    squares = [i * i for i in range(n)]
    t = (x, n, "s")
    a, b, c = t
    return a * total, squares[1:], squares[::-1][0] if False else squares[-1], {i: i for i in squares}


def texts(x: torch.Tensor, n: int):
    return f"{n} of {x.size(0)}", "%d-%s" % (n, "z"), "a,b".split(","), "abc".upper(), "b" in "abc"


def classes(x: torch.Tensor, n: int):
    c = Counter(n)
    c.step()
    c.step(by=5)
    p = Point(x, c.value)
    return p.x * p.n, c.twice, c.seen


def enums(x: torch.Tensor, n: int):
    m = Mode.ADD if n > 2 else Mode.MUL
    if m == Mode.ADD:
        return x + m.value
    return x * m.value


def indexing(x: torch.Tensor, n: int):
    y = x.clone()
    y[0] = 5
    y[1:, 0] += 1
    y[y > 3] = 0
    return y, x[..., None].shape, x[:, -1], x[[0, 1]], x[0, 1].item() if n > 100 else 1.5


def unions(x: torch.Tensor, n: int):
    u: Union[int, float] = n
    if isinstance(u, int):
        v = u + 1
    else:
        v = 0
    assert v > n, "bad"
    return x * v, 2 - x, 1 / (x + 1), n // 2, n % 3, -n ** 2, not n


def chained(x: torch.Tensor, n: int):
    inside = 0 < n < 10 and n != 4
    return (x if inside else -x), inside or n > 100


def nested(x: torch.Tensor, n: int):
    def_value = 0
    if n > 1:
        if n > 2:
            def_value = 1
        elif n == 2:
            def_value = 2
        x = x + def_value
    return helper(x, k=n), def_value


def helper(x: torch.Tensor, k: int = 2) -> torch.Tensor:
    with torch.no_grad():
        return x * k


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.head = nn.Sequential(nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
        self.register_buffer("calls", torch.zeros(1))
        self.scale = 3

    def forward(self, x: torch.Tensor, n: int):
        self.calls += 1
        for i, layer in enumerate(self.layers):
            x = torch.tanh(layer(x)) + x
            if i + 1 == n:
                break_at = i
        return self.head(x) * self.scale, self.calls

    @torch.jit.export
    def doubled(self, x: torch.Tensor, n: int) -> torch.Tensor:
        return x * 2 + n
'''
FUNCTIONS = """loops early optional containers texts classes enums indexing unions chained nested""".split()


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    out = []
    for library in ("torch", "aot"):
        path = folder / f"{library}_program.py"
        path.write_text(SOURCE.replace("LIBRARY", library))
        spec = importlib.util.spec_from_file_location(f"{library}_program", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        out.append(module)
    return out


def equal(ours: object, theirs: object) -> None:
    if isinstance(theirs, torch.Tensor):
        ours = ours.detach().numpy() if hasattr(ours, "detach") else ours
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            equal(a, b)
    else:
        assert ours == theirs and type(ours) is type(theirs)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(modules, name: str, n: int) -> None:
    data = np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4)
    their_module, our_module = modules
    theirs, ours = torch.jit.script(getattr(their_module, name)), aot.jit.script(
        getattr(our_module, name))
    try:
        expected = theirs(torch.tensor(data), n)
    except Exception:
        expected = None
    if expected is None:
        with pytest.raises(Exception):
            ours(aot.tensor(data), n)
        return
    equal(ours(aot.tensor(data), n), expected)


def test_module(modules) -> None:
    theirs, ours = modules[0].Net().eval(), modules[1].Net().eval()
    with torch.no_grad():
        for a, b in zip(theirs.parameters(), ours.parameters()):
            a.copy_(torch.from_numpy(b.detach().numpy().copy()))
    data = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    first, second = torch.jit.script(theirs), aot.jit.script(ours)
    for n in (0, 2):
        equal(second(aot.tensor(data), n), first(torch.tensor(data), n))
    equal(second.doubled(aot.tensor(data), 3), first.doubled(torch.tensor(data), 3))


def test_saved_module_loads_in_pytorch(modules, tmp_path) -> None:
    ours = aot.jit.script(modules[1].Net().eval())
    ours.save(tmp_path / "net.pt")
    theirs = torch.jit.load(str(tmp_path / "net.pt"))
    data = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    equal(ours(aot.tensor(data), 1), theirs(torch.tensor(data), 1))


def plain_sum(a, b):
    return a + b


def test_examples_give_types() -> None:
    ours = aot.jit.script(plain_sum, example_inputs=[(1, 2), (3, 4)])
    assert ours(3, 4) == 7
    assert "a: int" in ours.code


def first_of(a, b):
    return a


def test_parameters_are_tensors_without_examples() -> None:
    assert "a: Tensor" in aot.jit.script(first_of).code


def test_lists_and_dicts_know_their_types() -> None:
    scripted = aot.jit.script([1, 2, 3])
    assert scripted == [1, 2, 3] and str(scripted.element) == "int"
    scripted = aot.jit.script({"a": 1.5})
    assert scripted == {"a": 1.5} and str(scripted.value) == "float"
    with pytest.raises(Exception, match="script"):
        aot.jit.script([1, "a"])
