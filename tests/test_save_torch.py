"""Archives written here, loaded by PyTorch; and PyTorch's, by way of us, back to PyTorch."""

import enum
import io
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import pytest

import aot
from tests.conftest import ROOT, import_torch
from tests.conformance.compare import TOLERANCE, relative_error
from tests.conformance.corpus_table import archives, plain, read_calls

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")  # each use of torch.jit warns that it is old

ARCHIVES = sorted({*archives(), *(ROOT / "tests" / "archives").glob("*.pt")})


class Point(NamedTuple):
    x: torch.Tensor
    n: int


class Color(enum.Enum):
    RED = 1
    GREEN = 2


@torch.jit.interface
class Layer(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


@torch.jit.script
class Counter:
    def __init__(self, start: int):
        self.count = start
        self.names = ["é", "b"]

    def add(self, n: int) -> int:
        self.count += n
        return self.count


class Attributes(torch.nn.Module):
    floats: List[float]
    flags: List[bool]
    tensors: List[torch.Tensor]
    table: Dict[str, torch.Tensor]
    nested: Dict[str, List[Tuple[int, str]]]
    maybe: Optional[float]
    nothing: Optional[torch.Tensor]
    point: Point
    empty: List[str]

    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("base", base)
        self.register_buffer("row", base[1])
        self.register_buffer("turned", base.t())
        self.register_buffer("spread", torch.ones(1, 1).expand(3, 4))
        self.register_buffer("short", torch.tensor([1.5], dtype=torch.bfloat16), persistent=False)
        self.weight = torch.nn.Parameter(base * 2)
        self.same = self.weight
        self.floats = [1.0, 2.5, float("inf")]
        self.flags = [True, False]
        self.tensors = [base, base[0], torch.tensor([True, False])]
        self.table = {"ä": base, "b": torch.tensor(3)}
        self.nested = {"k": [(1, "x"), (2, "y")]}
        self.maybe = None
        self.nothing = None
        self.point = Point(base, 7)
        self.empty = []
        self.color = Color.GREEN
        self.number = 1 << 40
        self.negative = -3
        self.text = "grüße \" ' \n"
        self.z = 1 + 2j
        self.device = torch.device("cpu")
        self.counter = Counter(4)

    def forward(self, x: torch.Tensor):
        self.row.add_(1)
        y = x + self.base + self.turned.t() + self.spread + self.weight + self.same
        if self.nothing is None and self.color == Color.GREEN:
            y = y * self.point.n + self.tensors[0] + self.table["ä"]
        return (y, self.floats, self.flags, self.nested, self.maybe, self.empty, self.number,
                self.negative, self.text, self.z, self.counter.add(2), self.color.value,
                self.short.float(), "ünï")


class Doubling(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class ByInterface(torch.nn.Module):
    layer: Layer

    def __init__(self) -> None:
        super().__init__()
        self.layer = Doubling()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + 1


class Hooked(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Doubling()
        self.inner.register_forward_pre_hook(before)
        self.inner.register_forward_hook(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def before(self, x: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:
    return (x[0] + 1,)


def after(self, x: Tuple[torch.Tensor], y: torch.Tensor) -> torch.Tensor:
    return y * 3


class Packed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(2, 3)
        self.training_steps = 5

    @torch.jit.export
    def __getstate__(self) -> Tuple[torch.Tensor, int, bool]:
        return self.weight * 4, self.training_steps, self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, int, bool]) -> None:
        self.weight = state[0] / 4
        self.training_steps = state[1] + 1
        self.training = state[2]

    def forward(self, x: torch.Tensor):
        return x @ self.weight.t(), self.training_steps


class Loops(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(3)])
        self.by_name = torch.nn.ModuleDict({"relu": torch.nn.ReLU(), "tanh": torch.nn.Tanh()})

    def forward(self, x: torch.Tensor, n: int = 3):
        parts: List[torch.Tensor] = []
        for layer in self.layers:
            x = layer(x)
            parts.append(x)
        for i in range(10):
            if i >= n:
                break
            x = x + i
        for name, f in self.by_name.items():
            x = f(x)
        future = torch.jit.fork(torch.sin, x)
        with torch.no_grad():
            y = x[..., None].sum(-1)
        assert len(parts) > 0, "none"
        return torch.stack(parts), y + torch.jit.wait(future), [p.shape for p in parts]


def returned(x: Any) -> Any:
    """Results of either side as plain values."""
    if hasattr(x, "detach"):
        return x.detach().float().numpy()
    if isinstance(x, (list, tuple)):
        return [returned(v) for v in x]
    if isinstance(x, dict):
        return {k: returned(v) for k, v in x.items()}
    return x


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b


def to_torch(module: Any) -> Any:
    return torch.jit.load(io.BytesIO(module.save_to_buffer()))


def saved_by_torch(module: Any) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


MODULES = [Attributes, ByInterface, Hooked, Packed, Loops]


@pytest.mark.parametrize("kind", MODULES, ids=lambda k: k.__name__)
def test_scripted_modules_come_back(kind: type) -> None:
    scripted = torch.jit.script(kind())
    x = torch.rand(3, 3 if kind is Packed else 4)
    theirs = torch.jit.load(io.BytesIO(saved_by_torch(scripted)))
    expected = [returned(theirs(x)) for _ in range(2)]
    ours = aot.jit.load(saved_by_torch(scripted))
    back = to_torch(ours)
    if kind is Packed:  # each load counts
        expected = [[v[0], v[1] + 1] for v in expected]
    for wanted in expected:
        same(returned(back(x)), wanted)


def test_attributes_keep_what_they_share() -> None:
    back = to_torch(aot.jit.load(saved_by_torch(torch.jit.script(Attributes()))))
    assert back.base.data_ptr() + 16 == back.row.data_ptr()
    assert back.turned.stride() == (1, 4) and back.turned.data_ptr() == back.base.data_ptr()
    assert back.spread.stride() == (0, 0) and back.spread.shape == (3, 4)
    assert back.weight.data_ptr() == back.same.data_ptr() and back.weight.requires_grad
    assert not back.base.requires_grad and back.short.dtype is torch.bfloat16
    assert [n for n, _ in back.named_buffers()] == ["base", "row", "turned", "spread", "short"]
    assert list(back.state_dict())[0] == "weight"


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_archives_come_back(path: Path) -> None:
    back = to_torch(aot.jit.load(str(path)))
    for i, (method, arguments, expected) in enumerate(read_calls(path)):
        if any(getattr(a, "dtype", None) == np.uint16 for a in arguments):
            continue
        given = [torch_of(a) for a in arguments]
        with torch.no_grad():
            found = getattr(back, method)(*given)
        if "bfloat16" not in str(found):
            found = plain(numpy_of(found))
            assert relative_error(found, expected, f"{method} #{i}") <= 10 * TOLERANCE


def torch_of(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return torch.from_numpy(np.array(x))
    if isinstance(x, (list, tuple)):
        return type(x)(map(torch_of, x))
    return x


def numpy_of(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    if isinstance(x, (list, tuple)):
        return tuple(numpy_of(v) for v in x)
    if isinstance(x, dict):
        return {k: numpy_of(v) for k, v in x.items()}
    return x


def test_frozen_modules_come_back() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    ours = aot.jit.freeze(aot.jit.load(saved_by_torch(torch.jit.script(model.eval()))))
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(to_torch(ours)(x), model(x), atol=1e-5)
    assert np.allclose(aot.jit.load(ours.save_to_buffer())(x.numpy()),
                       model(x).detach().numpy(), atol=1e-5)


def test_modules_made_here_load_there() -> None:
    """Traced, scripted, and one inside the other."""

    class Gate(aot.nn.Module):
        def forward(self, x):
            if x.sum() > 0:
                return x
            else:
                return -x

    class Cell(aot.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = aot.jit.script(Gate())
            self.linear = aot.nn.Linear(4, 4)
            self.norm = aot.nn.LayerNorm(4)

        def forward(self, x, h):
            y = aot.tanh(self.norm(self.gate(self.linear(x))) + h)
            return y, [y, x.view(x.size(0), -1)]

    traced = aot.jit.trace(Cell(), (aot.rand(3, 4), aot.rand(3, 4)))
    x, h = torch.rand(5, 4), torch.rand(5, 4)
    same(returned(to_torch(traced)(x, h)), returned(traced(x, h)))
    assert to_torch(traced).code == traced.code
