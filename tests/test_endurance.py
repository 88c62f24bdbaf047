"""A hundred thousand calls: no memory grows, whatever the model does. See tests/c/endure.c."""

from __future__ import annotations

import io
import platform
from pathlib import Path
from typing import Any, List, Tuple

import pytest

import aot
from tests.conftest import import_torch, require
from tests.sample_model import C_DIR, WARNINGS, compile_c, run

torch = import_torch()
from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CALLS = 100_000
RESIDENT = 512 * 1024  # bytes: the kernel maps 16 pages around a page of code that is used late


class Static(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tuple[Tensor, List[Tensor]]:
        y = self.layers(x)
        return y.softmax(-1), [y.sum(), y.sort().values]


class Sized(nn.Module):
    """Outputs and temporaries whose sizes the data decide."""

    def forward(self, x: Tensor, mask: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        rows = x[mask]
        return rows * 2, mask.nonzero(), (rows - rows.sum()).exp()


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.last = torch.zeros(0)
        self.register_buffer("ring", torch.zeros(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.ring[self.steps % 8] = x
        self.steps += 1
        if self.last.numel() == 0:
            self.last = x
        self.last = self.last * 0.5 + x
        return self.ring.sum(0) + self.last

    @torch.jit.export
    def forget(self) -> int:
        self.last = torch.zeros(0)
        return self.steps


class Raises(nn.Module):
    """Every fourth call or so raises, half of the calls print."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor, n: int, table: Tensor) -> Tensor:
        self.count += 1
        if n == 1:
            print("call", self.count, x)
        rows = x[x > 0.5]
        if float(x[0]) > 0.5:
            raise ValueError(f"call {self.count}: {float(x[0])} in {x.shape}")
        assert n < 50, f"{n} is too many"
        return x[table] + rows.sum()


MODELS: dict[str, tuple[Any, list[str]]] = {
    "static": (Static, ["x:f32[1,2,6]"]),
    "sized": (Sized, ["x:f32[5,2]", "mask:bool[5]"]),
    "stateful": (Stateful, ["x:f32[3]"]),
    "raising": (Raises, ["x:f32[4]", "n:int", "table:i64[3]"]),
}


@pytest.fixture(scope="module")
def endure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(platform.libc_ver()[0] == "glibc", "mallinfo2 of glibc")
    path = tmp_path_factory.mktemp("endurance") / "endure"
    compile_c(["-std=c99", "-O1", *WARNINGS, C_DIR / "endure.c", "-ldl", "-o", path])
    return path


@pytest.mark.parametrize("name", MODELS)
def test_memory_stays_what_it_is(name: str, endure: Path, tmp_path: Path) -> None:
    module, inputs = MODELS[name]
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module().eval()), buffer)
    methods: dict[str, Any] = {"forward": inputs}
    if name == "stateful":
        methods["forget"] = []
    compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())), methods=methods)
    compiled.save(tmp_path / "m.so")
    result = run([endure, tmp_path / "m.so", CALLS])
    assert result.returncode == 0, result.stderr
    good, refused, messages, heap, resident = map(int, result.stdout.split())
    assert good + refused == CALLS and heap == 0 and resident <= RESIDENT, result.stdout
    if name == "raising":
        assert refused > CALLS // 8 and good > CALLS // 8 and messages > CALLS // 4
    else:
        assert good == CALLS


def test_memory_of_calls_from_python_stays_too() -> None:
    """The loader's objects: 20,000 calls of a model that allocates, and of one that raises."""
    numpy = pytest.importorskip("numpy")
    statm = Path("/proc/self/statm")
    require(statm.exists(), "/proc")
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Sized()), buffer)
    sized = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())), inputs=MODELS["sized"][1])
    x, masks = numpy.ones((5, 2), numpy.float32), numpy.eye(5, dtype=bool)

    def calls(count: int) -> None:
        for i in range(count):
            sized(x, masks[i % 5])
            with pytest.raises(aot.compiler.InputError):
                sized(x, x)

    def resident() -> int:
        return int(statm.read_text().split()[1]) * 4096

    calls(2_000)
    before = resident()
    calls(10_000)
    assert resident() - before < 1 << 20
