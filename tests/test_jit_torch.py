"""Modules written, scripted and traced with PyTorch, saved, and loaded by both: what each says."""

import io
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import pytest

import aot
from lowering.graph_verify import verify_graph
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")  # each use of torch.jit warns that it is old


class Point(NamedTuple):
    x: torch.Tensor
    n: int


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.ReLU()])

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x))).mean([2, 3])
        for layer in self.layers:
            x = layer(x)
        return x


class Flow(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))
        self.limit = 3
        self.scale: Optional[float] = None

    def forward(self, x: torch.Tensor, n: int = 2, flag: bool = True) -> Tuple[torch.Tensor, int]:
        total = 0
        for i in range(n):
            if i > self.limit:
                break
            if flag and i % 2 == 0:
                x = x + self.weight * i
            else:
                x = x - 1.5
            total += i
        while total > 10:
            total -= 3
        if self.scale is not None:
            x = x * self.scale
        assert total < 100, "too much"
        return x, total

    @torch.jit.export
    def table(self, names: List[str]) -> Dict[str, int]:
        out: Dict[str, int] = {}
        for i, name in enumerate(names):
            if name not in out:
                out[name] = i
        return out


class Pieces(torch.nn.Module):
    def forward(self, x: torch.Tensor, k: Optional[int] = None):
        values, order = torch.max(x, 1)
        a, b = x.split(1)
        y = x[..., None, 1:2] if k is None else x.sum()
        point = Point(values, 3)
        text = "{} and {}".format(point.n, "é")
        future = torch.jit.fork(torch.sin, x)
        parts = [x[i] for i in range(2)]
        with torch.no_grad():
            z = torch.jit.wait(future) + 1e-30
        return point, order, a, b, y, text, parts, z, {"a": 1}, x[order > 0], float("inf")


MODULES = {
    "block": (Block, (torch.rand(2, 3, 5, 5),)),
    "flow": (Flow, (torch.rand(2, 3), 5)),
    "pieces": (Pieces, (torch.rand(2, 3),)),
    "lstm": (lambda: torch.nn.LSTM(3, 4, 2, bidirectional=True), (torch.rand(5, 2, 3),)),
    "encoder": (
        lambda: torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (torch.rand(2, 3, 8),),
    ),
}
CASES = [(name, how) for name in MODULES for how in ("script", "frozen", "trace")]
CASES.remove(("pieces", "trace"))
CASES.remove(("flow", "trace"))


def both(name: str, how: str):
    """The module as PyTorch and as we load it from the same bytes."""
    make, inputs = MODULES[name]
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        saved = torch.jit.trace(module, inputs) if how == "trace" else torch.jit.script(module)
    if how == "frozen":
        saved = torch.jit.freeze(saved)
    buffer = io.BytesIO()
    torch.jit.save(saved, buffer)
    return torch.jit.load(io.BytesIO(buffer.getvalue())), aot.jit.load(buffer.getvalue())


def pairs(theirs, ours):
    """(their method, our method) of the module and all below it."""
    for name in ours.method_names():
        yield theirs._c._get_method(name), ours.method(name)
    for name, child in ours.named_children():
        yield from pairs(getattr(theirs, name), child)


def shape_of(text: str) -> list[str]:
    """A graph's nodes in order, without constants, names, inputs and places: kinds and types."""
    out = []
    for line in text.split("\n"):
        line = re.sub(r" # .*|\[warn_id=\d+\]", "", line)
        if "prim::Constant" in line or "prim::Exit" in line:
            continue
        match = re.match(r"\s*(.*?) ?= (\w+::\w+(?:\[.*\])?)\(", line)
        if match:
            out.append(re.sub(r"%\S+ : ", "", match.group(1)) + " = " + match.group(2))
        elif "block" in line or "->" in line:
            out.append(re.sub(r"%\S+( : )?", "", line))
    return out


@pytest.mark.parametrize("name, how", CASES)
def test_code(name: str, how: str) -> None:
    theirs, ours = both(name, how)
    for their_method, our_method in pairs(theirs, ours):
        assert our_method.code == their_method.code


@pytest.mark.parametrize("name, how", CASES)
def test_graphs(name: str, how: str) -> None:
    theirs, ours = both(name, how)
    for their_method, our_method in pairs(theirs, ours):
        verify_graph(our_method.graph)
        assert shape_of(str(our_method.graph)) == shape_of(str(their_method.graph))


@pytest.mark.parametrize("name, how", CASES)
def test_attributes(name: str, how: str) -> None:
    theirs, ours = both(name, how)
    for listing in ("named_parameters", "named_buffers"):
        expected = dict(getattr(theirs, listing)())
        found = dict(getattr(ours, listing)())
        assert list(found) == list(expected)
        for key, tensor in found.items():
            assert np.array_equal(tensor.detach().numpy(), expected[key].detach().numpy())
            assert tensor.stride() == expected[key].stride()
            assert tensor.requires_grad == expected[key].requires_grad
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    assert ours.training is False if "training" in ours.object.attributes else True


def test_places_are_the_users_own() -> None:
    """The places in our graphs are those in PyTorch's: lines of this file among them."""
    for name in ("block", "flow", "pieces"):
        theirs, ours = both(name, "script")
        for their_method, our_method in pairs(theirs, ours):
            known = set(re.findall(r"# (\S+:\d+:\d+)$", str(their_method.graph), re.M))
            found = {str(n.range) for n in our_method.graph.nodes() if n.kind.startswith("aten::")}
            assert {place for place in found if "code/" not in place} <= known
            assert name == "block" or any("test_jit_torch.py" in place for place in found)


def test_extra_files_and_places() -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Flow()), buffer, _extra_files={"note": b"hello"})
    files = {"note": ""}
    module = aot.jit.load(io.BytesIO(buffer.getvalue()), map_location="cpu", _extra_files=files)
    assert files == {"note": b"hello"}
    assert module.limit == 3 and module.scale is None
    with pytest.raises(aot.jit.InputError, match="no extra file 'other'"):
        aot.jit.load(buffer.getvalue(), _extra_files={"other": ""})
    with pytest.raises(aot.jit.InputError, match="map_location"):
        aot.jit.load(buffer.getvalue(), map_location="cuda")


def test_calls() -> None:
    theirs, ours = both("flow", "script")
    x = torch.rand(2, 3)
    for arguments, named in (((5,), {}), ((), {"n": 40, "flag": False}), ((1, True), {})):
        expected, total = theirs(x, *arguments, **named)
        found, count = ours(x.numpy(), *arguments, **named)
        assert count == total
        array = found if isinstance(found, np.ndarray) else found.numpy()
        assert np.allclose(array, expected.detach().numpy(), rtol=1e-6)
    assert ours.table(["a", "b", "a"]) == theirs.table(["a", "b", "a"])
    for wrong, message in (((1, 2, 3, 4, 5), "takes 3 arguments"), ((), "needs the argument 'x'")):
        with pytest.raises(aot.jit.InputError, match=message):
            ours(*wrong)
    with pytest.raises(aot.jit.InputError, match="no argument 'm'"):
        ours(x.numpy(), m=3)


def test_forward_has_the_texts_and_runs_the_hooks() -> None:
    module = aot.jit.script(aot.nn.Sequential(aot.nn.Linear(2, 2)))
    assert module.forward.code == module.code
    assert str(module.forward.graph) == str(module.graph)
    x = aot.ones(1, 2)
    assert module.forward(x).tolist() == module(x).tolist()


def test_freeze() -> None:
    theirs, ours = both("block", "script")
    frozen = aot.jit.freeze(ours)
    verify_graph(frozen.graph)
    text = str(frozen.graph)
    assert "batch_norm" not in text and "GetAttr" not in text and not frozen.state_dict()
    x = torch.rand(2, 3, 5, 5)
    found = frozen(x.numpy())
    array = found if isinstance(found, np.ndarray) else found.numpy()
    assert np.allclose(array, theirs(x).detach().numpy(), rtol=1e-4, atol=1e-6)
    ours.train()
    with pytest.raises(aot.jit.InputError, match="training mode"):
        aot.jit.freeze(ours)


@torch.jit.interface
class Step(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Increase(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Double(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Chosen(torch.nn.Module):
    """Modules behind an interface, chosen by a number and by a name."""

    one: Step

    def __init__(self) -> None:
        super().__init__()
        self.one = Increase()
        self.steps = torch.nn.ModuleList([Increase(), Double()])
        self.named = torch.nn.ModuleDict({"a": Increase(), "b": Double()})

    def forward(self, x: torch.Tensor, i: int) -> torch.Tensor:
        step: Step = self.steps[i]
        for _, module in self.named.items():
            x = module(x)
        return step.forward(self.one.forward(x))


class Restored(torch.nn.Module):
    """A module that writes and reads its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.count = 3

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.count, self.training)

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, int, bool]) -> None:
        self.weight = state[0]
        self.count = state[1] + 1
        self.training = state[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.count


class Hooked(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Increase()
        self.register_forward_pre_hook(before)
        self.register_forward_hook(behind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * 3


def before(self, inputs: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:
    return (inputs[0] * 2,)


def behind(self, inputs: Tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return output + inputs[0]


@pytest.mark.parametrize("make, more", [(Chosen, (1,)), (Restored, ()), (Hooked, ())])
def test_modules_of_special_kinds(make, more: tuple) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(make()), buffer)
    theirs = torch.jit.load(io.BytesIO(buffer.getvalue()))
    ours = aot.jit.load(buffer.getvalue())
    x = torch.rand(3)
    found = ours(x.numpy(), *more)
    array = found if isinstance(found, np.ndarray) else found.numpy()
    assert np.allclose(array, theirs(x, *more).detach().numpy())
