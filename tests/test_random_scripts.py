"""Random TorchScript programs, interpreted and compiled, against PyTorch.

More of them: python -m tests.conformance programs; a smaller one that still fails:
python -m tests.reduce_scripts SEED.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

import aot
from runtime.c_compiler import INCLUDE_DIR
from tests.conftest import ROOT, import_torch, require
from tests.random_script_engines import archive, problem, script, words
from tests.random_scripts import program
from tests.reduce_scripts import reduced

torch = import_torch()
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"),
              pytest.mark.filterwarnings("ignore::UserWarning")]
PROGRAMS, GROUPS = 60, 6


@pytest.mark.parametrize("group", range(GROUPS))
def test_engines_agree_with_pytorch(group: int) -> None:
    for seed in range(group, PROGRAMS, GROUPS):
        found = problem(program(seed), plain=seed % 4 == 0)
        assert not found, f"seed {seed}: {found}"


@pytest.mark.parametrize("seed", [3, 8, 19])
def test_nothing_is_read_or_written_out_of_bounds(seed: int, tmp_path: Path) -> None:
    require(shutil.which("valgrind") is not None, "valgrind")
    made = program(seed)
    model = aot.compile(archive(script(made)), inputs=words(made.calls[0]), cpu="x86-64-v3")
    model.save(tmp_path / "m.so")
    subprocess.run(["cc", "-std=c99", f"-I{INCLUDE_DIR}", str(ROOT / "tests" / "c" / "endure.c"),
                    "-ldl", "-o", "endure"], cwd=tmp_path, check=True)
    found = subprocess.run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full",
                            "./endure", "./m.so", "100"],
                           cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0 and not found.stderr, found.stderr


def test_programs_are_functions_of_their_seeds() -> None:
    assert program(7) == program(7)
    assert program(7).source != program(8).source


def test_programs_use_the_language() -> None:
    """What the sweep is about is in the programs: a generator that stops writing it would pass."""
    found: set[type] = set()
    text = ""
    for seed in range(PROGRAMS):
        made = program(seed)
        found |= {type(node) for node in ast.walk(ast.parse(made.source))}
        text += made.source
    assert {ast.If, ast.For, ast.While, ast.Break, ast.Continue, ast.Raise, ast.Assert,
            ast.AugAssign, ast.ListComp, ast.IfExp, ast.Tuple, ast.Dict, ast.JoinedStr,
            ast.Slice} <= found
    for word in ("Optional[", "is not None", ".append(", ".pop(", ".items()", "enumerate(", "zip(",
                 "self.count", "self.buffer", ".transpose(", "[...", ".add_(", ".format("):
        assert word in text, word


def test_reducing() -> None:
    source = "\n".join(["def unused(x):", "    for k in x:", "        print(k)", "", "",
                        "def kept(x):", "    if x:", "        y = [1, torch.exp(x + 2)]",
                        "        return y", "    return x"])
    small = reduced(source, lambda text: "torch.exp(" in text)
    assert "unused" not in small and "if" not in small and "torch.exp(" in small
