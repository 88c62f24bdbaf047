"""Random TorchScript programs, interpreted and compiled, against PyTorch.

More of them: python -m tests.conformance programs; a smaller one that still fails:
python -m tests.reduce_scripts SEED.
"""

from __future__ import annotations

import ast

import pytest

from tests.conftest import import_torch
from tests.random_script_engines import problem
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
