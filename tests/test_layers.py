"""The law of the house: imports look right, `aot -> lowering -> llvm_backend -> runtime`.

The imports are read from the source text, so that one inside a function counts like any other.
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("aot", "lowering", "llvm_backend", "runtime")
# What a room may import from outside, beside the standard library.
OUTSIDE = {
    "aot": {"numpy"},
    "lowering": {"numpy"},
    "llvm_backend": {"numpy", "llvmlite"},
    "runtime": {"numpy"},
}
# Kernel and Target live in the backend without llvmlite, so that lowering can build kernels.
LLVM_FREE = ("llvm_backend.kernel", "llvm_backend.target")
MAX_LINES = 500
PUBLIC = "aot.nn.utils"  # a name that programs write, PyTorch's
MAX_COLUMNS = 100
TOP_FOLDERS = {*ROOMS, "tests", "examples", "benchmarks"}


def module_files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ALL_MODULES = {module_name(path): path for room in ROOMS for path in module_files(room)}


def imported_names(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every module that the tree imports."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in ALL_MODULES else base


def without_type_checking(tree: ast.AST) -> ast.AST:
    """The tree without the bodies of `if TYPE_CHECKING:`, which never run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = [ast.Pass()]
    return tree


def broken_imports(path: Path, text: str) -> list[str]:
    """One message for each import of `path` that the law forbids."""
    room = path.relative_to(ROOT).parts[0]
    allowed = set(ROOMS[ROOMS.index(room) :]) | OUTSIDE[room] | set(sys.stdlib_module_names)
    found = []
    for line, name in imported_names(ast.parse(text, str(path)), path):
        top = name.split(".")[0]
        if top not in allowed:
            found.append(f"{path.relative_to(ROOT)}:{line}: {room} may not import {name}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_look_right(room: str) -> None:
    problems = []
    for path in module_files(room):
        problems += broken_imports(path, path.read_text("utf-8"))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    "where, text",
    [
        ("runtime/loader.py", "def f():\n    import llvmlite\n"),
        ("runtime/loader.py", "from lowering import graph\n"),
        ("lowering/evaluate.py", "from aot.jit import load\n"),
        ("llvm_backend/emit.py", "import lowering.expr\n"),
        ("lowering/graph.py", "from ..aot import jit\n"),
        ("aot/jit.py", "import torch\n"),
        ("aot/jit.py", "import llvmlite.binding\n"),
    ],
)
def test_the_law_notices_a_breach(where: str, text: str) -> None:
    assert broken_imports(ROOT / where, text)


def test_no_circle_of_imports() -> None:
    """An import inside a function is a circle broken by hand, and counts too."""
    graph: dict[str, set[str]] = {}
    for name, path in ALL_MODULES.items():
        imports = imported_names(without_type_checking(ast.parse(path.read_text("utf-8"))), path)
        graph[name] = {needed for _, needed in imports if needed in ALL_MODULES} - {name}
    done: set[str] = set()
    circles: list[str] = []

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            circles.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for needed in sorted(graph[name]):
                visit(needed, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    assert not circles, "\n".join(circles)


def loaded_by(statement: str) -> set[str]:
    """Top-level names of all modules in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_lowering_needs_no_llvm() -> None:
    names = [n for n in ALL_MODULES if n.split(".")[0] == "lowering"]
    names += [n for n in LLVM_FREE if n in ALL_MODULES]
    loaded = loaded_by("import " + ", ".join(names))
    assert "llvmlite" not in loaded and "torch" not in loaded


def test_runtime_needs_numpy_only() -> None:
    names = [n for n in ALL_MODULES if n.split(".")[0] == "runtime"]
    loaded = loaded_by("import " + ", ".join(names))
    assert not loaded & {"llvmlite", "torch", "aot", "lowering", "llvm_backend"}


def test_every_package_is_listed() -> None:
    """One missing in setup.cfg would be missing once installed."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    listed = config["options"]["packages"].split()
    there = {module_name(path.parent / "__init__.py") for path in ALL_MODULES.values()}
    assert sorted(listed) == sorted(there)
    missing = [n for n in listed if not (ROOT.joinpath(*n.split(".")) / "__init__.py").exists()]
    assert not missing, f"packages without __init__.py: {missing}"


def test_package_data_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    for room in ROOMS:
        patterns = config["options.package_data"].get(room, "").split()
        covered = {p for pattern in patterns for p in (ROOT / room).glob(pattern)}
        others = {
            p
            for p in (ROOT / room).rglob("*")
            if p.is_file() and p.suffix not in (".py", ".pyc") and "__pycache__" not in p.parts
        }
        assert others <= covered, f"not installed: {sorted(map(str, others - covered))}"


def test_only_the_rooms_stand_at_the_top() -> None:
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if out.returncode != 0:
        pytest.skip("not a git checkout")
    folders = {f.split("/")[0] for f in out.stdout.splitlines() if "/" in f}
    assert {f for f in folders if not f.startswith(".")} <= TOP_FOLDERS


def test_files_fit_on_their_page() -> None:
    """Files of at most 500 lines, lines of at most 100 columns, no file called utils."""
    problems = []
    for name, path in ALL_MODULES.items():
        lines = path.read_text("utf-8").splitlines()
        if len(lines) > MAX_LINES:
            problems.append(f"{name}: {len(lines)} lines")
        if name.rpartition(".")[2] in ("utils", "util", "helpers", "misc") and name != PUBLIC:
            problems.append(f"{name}: the name does not say what is in the room")
        wide = [i for i, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]
        problems += [f"{name}:{i}: over {MAX_COLUMNS} columns" for i in wide]
    assert not problems, "\n".join(problems)


def test_the_map_names_every_file() -> None:
    """ARCHITECTURE.md has one line for each file of the rooms, and none for a file that is gone."""
    named: set[str] = set()
    folder = ""
    for line in (ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines():
        if line.startswith("**"):
            heading = re.match(r"\*\*([a-z_/]+)/\*\*", line)
            folder = heading[1] if heading else ""
        elif line.startswith("| `"):
            named.update(
                f"{folder}/{name}" for name in re.findall(r"`([^`]+)`", line.split("|")[1])
            )
    out = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if out.returncode != 0:
        pytest.skip("not a git checkout")
    there = {f for f in out.stdout.split() if (ROOT / f).exists() and (ROOT / f).stat().st_size}
    missing = {f for f in there if f not in named and not f.endswith("/__init__.py")}
    gone = {f for f in named if f.split("/")[0] in ROOMS and not (ROOT / f).exists()}
    assert not missing and not gone, f"not on the map: {sorted(missing)}; gone: {sorted(gone)}"
