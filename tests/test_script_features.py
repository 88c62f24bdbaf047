"""Each feature of the language: the same program, compiled by PyTorch and by this project, has the
same texts and gives the same results."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import threading

import numpy as np
import pytest

from tests.conftest import import_torch

torch = import_torch()

import aot  # noqa: E402
from runtime.errors import InputError  # noqa: E402
from tests.test_script_against_torch import (  # noqa: E402
    MODULE, SAMPLES, compiled, load, methods, methods_of_torch,
)

PATH = SAMPLES / "features.py"
HELPERS = "in_python over uses_an_interface scaled Layer Doubles Runs Adds Shade Point".split()
NAMES = [n for n in re.findall(r"^(?:def|class) (\w+)\(", PATH.read_text(), flags=re.M)
         if n not in HELPERS]
LIBRARIES = {"torch": torch, "aot": aot}


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder, loaded = tmp_path_factory.mktemp("features"), {}
    for name in LIBRARIES:
        sys.modules.pop(MODULE, None)
        loaded[name] = load(PATH, name, folder)
    return loaded


def plain(x: object) -> object:
    """A result as numpy arrays and Python values."""
    if hasattr(x, "detach"):
        return np.asarray(x.detach().numpy()).tolist()
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return {k: plain(v) for k, v in x.items()} if isinstance(x, dict) else x


def made(library: str, program: object) -> tuple[object, object]:
    """The texts of a compiled program, and what calling it gives."""
    t = LIBRARIES[library]
    t.manual_seed(0)
    x = t.rand(2, 3)
    if not inspect.isclass(program):
        return compiled(t.jit.script, program), plain(t.jit.script(program)(x))
    module = program()
    scripted = module if isinstance(module, t.jit.ScriptModule) else t.jit.script(module)
    texts = methods_of_torch(scripted) if library == "torch" else methods(scripted)
    return texts, plain(scripted(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_feature(programs, name: str) -> None:
    both = []
    for library, module in programs.items():
        sys.modules[MODULE] = module
        both.append(made(library, getattr(module, name)))
    assert both[1] == both[0]


def written(tmp_path, text: str):
    """The functions and classes of a program in a file of its own."""
    path = tmp_path / "written.py"
    path.write_text("import aot as torch\nfrom aot import nn\n" + text)
    spec = importlib.util.spec_from_file_location("written", path)
    module = sys.modules["written"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ignored_methods_run_in_python(tmp_path) -> None:
    module = written(tmp_path, """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = 5

    @torch.jit.ignore
    def kept(self, x: torch.Tensor) -> int:
        return self.k + int(x.sum())

    def forward(self, x):
        return x * self.kept(x)
""")
    scripted = aot.jit.script(module.M())
    assert scripted(aot.ones(2)).tolist() == [7.0, 7.0]
    with pytest.raises(InputError,
                       match="'kept', which is marked to be ignored"):
        scripted.save_to_buffer()


def test_unused_functions_raise(tmp_path) -> None:
    module = written(tmp_path, """
@torch.jit.unused
def never(x):
    return x

def f(x):
    if x.sum() > 3:
        return never(x)
    return x
""")
    f = aot.jit.script(module.f)
    assert f(aot.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(Exception, match="annotated to be ignored and cannot be run"):
        f(aot.ones(9))


def test_examples_give_types(tmp_path) -> None:
    module = written(tmp_path, """
def f(a, b):
    return a + b

class M(nn.Module):
    def forward(self, x, n):
        return x * n

    @torch.jit.export
    def first(self, d):
        return d["a"] + 1
""")
    assert "a: int,\n    b: int" in aot.jit.script(module.f, example_inputs=[(1, 2)]).code
    m = module.M()
    rows = {m.forward: [(aot.ones(2), 3)], m.first: [({"a": 1},)]}
    scripted = aot.jit.script(m, example_inputs=rows)
    assert "n: int" in scripted.code and "d: Dict[str, int]" in scripted.first.code
    assert scripted(aot.ones(2), 4).tolist() == [4.0, 4.0] and scripted.first({"a": 2}) == 3
    other = aot.jit.script(module.M(), example_inputs={
        "forward": [(aot.ones(2), 2.5)], "first": [({"a": 2},)]})
    assert "n: float" in other.code


def test_threads_compile_at_the_same_time(tmp_path) -> None:
    text = "\n".join(f"""
def f{i}(x, k: int):
    for j in range(k + {i}):
        x = x + j
    return x
""" for i in range(8))
    module, results = written(tmp_path, text), {}

    def work(i: int) -> None:
        results[i] = aot.jit.script(getattr(module, f"f{i}"))(aot.zeros(1), 2).item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: sum(range(i + 2)) for i in range(8)}


def test_script_if_tracing(tmp_path) -> None:
    module = written(tmp_path, """
@torch.jit.script_if_tracing
def times(x, n: torch.Tensor):
    for i in range(int(n)):
        x = x + 1
    return x

def f(x, n):
    return times(x, n) * 2
""")
    assert module.f(aot.ones(1), aot.tensor(3)).item() == 8.0
    traced = aot.jit.trace(module.f, (aot.ones(1), aot.tensor(3)))
    assert traced(aot.ones(1), aot.tensor(5)).item() == 12.0


def test_scripted_lists_and_dicts() -> None:
    numbers, table = aot.jit.script([1, 2]), aot.jit.script({"a": 1.5})
    numbers.append(3)
    assert list(numbers) == [1, 2, 3] and str(numbers.element) == "int"
    assert table["a"] == 1.5 and str(table.value) == "float"


def test_a_slice_of_modules_can_be_called(tmp_path) -> None:
    # PyTorch calls what the loop's variable was before; here it is what Python says it is.
    module = written(tmp_path, """
class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.ml = nn.ModuleList([nn.ReLU(), nn.Tanh()])

    def forward(self, x):
        for m in self.ml[1:]:
            x = m(x)
        return x
""")
    m = module.M()
    x = aot.ones(2) * -1
    assert aot.jit.script(m)(x).tolist() == m(x).tolist()
