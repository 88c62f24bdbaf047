"""Numbers given at run time that lead out of bounds, overflow or divide by zero end in a status."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import aot
from runtime.c_compiler import INCLUDE_DIR
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import ROOT, require
from tests.random_script_engines import import_source

ENDURE = ROOT / "tests" / "c" / "endure.c"
X = np.arange(4, dtype=np.float32)
LEAST, MOST = -(2**63), 2**63 - 1
# An expression of a tensor x of four elements and an int n; numbers that it takes, and refuses.
EXPRESSIONS = [
    ("7 // n", [1, -3, LEAST], [0]),
    ("7 % n", [1, -3, MOST], [0]),
    ("(n - 7) // (n - n - 1)", [LEAST], []),
    ("int((x.to(torch.int64) // n).sum())", [2, LEAST], [0]),
    ("int((x.to(torch.int64) % n).sum())", [2, -1], [0]),
    ("int(x[n])", [0, 3, -4], [4, -5, LEAST, MOST, 2**62]),
    ("int(x.narrow(0, n, 2).sum())", [0, 2, -2, -4], [3, -1, -5, LEAST, MOST]),
    ("int(x.index_select(0, torch.tensor([n])).sum())", [0, 3], [4, -1, LEAST, MOST, 2**32]),
    ("int(x.gather(0, torch.tensor([n])).sum())", [0, 3], [4, -1, LEAST, MOST, 2**32]),
    ("int(x[torch.tensor([n])].sum())", [0, -4], [4, -5, LEAST, MOST, 2**32]),
    ("int(x.take(torch.tensor([n])).sum())", [0, -4], [4, -5, LEAST, MOST, 2**32]),
    ("int(x.scatter(0, torch.tensor([n]), 1.0).sum())", [0, 3], [4, -1, LEAST, MOST, 2**32]),
    ("int(torch.embedding(x.view(2, 2), torch.tensor([n])).sum())", [0, 1], [2, -1, LEAST, 2**32]),
    ("int(torch.zeros(n).sum())", [0, 9], [-1, LEAST, MOST, 2**62]),
    ("int(torch.ones(n, 2).sum())", [0, 9], [-1, LEAST, MOST, 2**62]),
    ("int(x.topk(n)[0].sum())", [0, 4], [5, -1, LEAST, MOST]),
    ("int(x[:n].sum())", [0, 4, -9, LEAST, MOST], []),
    ("int(x[n:].max())", [0, 3, -9, LEAST], [4, MOST]),
    ("[4, 5, 6][n]", [0, 2, -3], [3, -4, LEAST, MOST, 2**32]),
    ("{1: 4, 3: 5}[n]", [1, 3], [0, LEAST, MOST, 2**32 + 1]),
    ("[4, n, 6].index(5)", [5], [4, LEAST]),
    ("n << 3 >> 3", [1, 2**62, LEAST, MOST], []),
]


METHOD = """
    @torch.jit.export
    def m{k}(self, x: Tensor, n: int):
        return {expression}
"""
SOURCE = """import aot as torch
from aot import Tensor


class M(torch.nn.Module):
    def forward(self, x: Tensor, n: int):
        return x + n
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory):
    """A scripted module that has the expressions as methods m0, m1 ..."""
    folder = tmp_path_factory.mktemp("hostile")
    methods = (METHOD.format(k=k, expression=e) for k, (e, _, _) in enumerate(EXPRESSIONS))
    made = import_source(SOURCE + "".join(methods), folder, "hostile_numbers").M()
    return aot.jit.script(made)


@pytest.mark.parametrize("optimize", [True, False], ids=["fast", "plain"])
def test_numbers_that_do_not_fit_are_refused(module, optimize: bool) -> None:
    words = {f"m{k}": ["x:f32[4]", "n:int"] for k in range(len(EXPRESSIONS))}
    model = aot.compile(module, methods=words, optimize=optimize)
    for k, (expression, taken, refused) in enumerate(EXPRESSIONS):
        method = model.methods[f"m{k}"]
        for n in taken:
            assert method(X, n) == method.interpret(X, n), (expression, n)
        for n in refused:
            with pytest.raises(RuntimeFailure, match="."):
                found = method(X, n)
                pytest.fail(f"{expression} of {n} gives {found}")


def test_nothing_is_read_or_written_out_of_bounds(module, tmp_path: Path) -> None:
    require(shutil.which("valgrind") is not None, "valgrind")
    words = {f"m{k}": ["x:f32[4]", "n:int"] for k in range(len(EXPRESSIONS))}
    aot.compile(module, methods=words, cpu="x86-64-v3").save(tmp_path / "m.so")
    subprocess.run(["cc", "-std=c99", f"-I{INCLUDE_DIR}", str(ENDURE), "-ldl", "-o", "endure"],
                   cwd=tmp_path, check=True)
    found = subprocess.run(["valgrind", "-q", "--error-exitcode=9", "./endure", "./m.so", "6000"],
                           cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0 and not found.stderr, found.stderr
    went_well, were_refused = map(int, found.stdout.split()[:2])
    assert went_well > 1000 and were_refused > 100, found.stdout


@pytest.mark.parametrize("expression", ["7 // 0", "7 % 0", "[1, 2][5]", "int(x[9])"])
def test_known_numbers_that_do_not_fit_are_refused_at_once(expression: str,
                                                           tmp_path: Path) -> None:
    source = SOURCE + METHOD.format(k=0, expression=expression)
    made = import_source(source, tmp_path, f"known_{abs(hash(expression))}").M()
    with pytest.raises(CompileError, match="the program raises for these inputs: "):
        aot.compile(aot.jit.script(made), methods={"m0": ["x:f32[4]", "n:int"]})
