"""What TorchScript rejects is rejected, with the reason, the place and the line."""

from __future__ import annotations

import importlib.util
import sys

import pytest

import aot
from aot.jit import ScriptError

HEAD = """import aot as torch
from typing import Dict, List, Optional, Tuple

"""

# (source of one function `f`, part of the message, line of `f`'s source, column)
REJECTED = [
    ("def f(x, *args):\n    return x", "variable number of arguments", 1, 10),
    ("def f(x, **kw):\n    return x", "variable number of arguments", 1, 11),
    ("def f(x, *, k: int = 3):\n    return x", "keyword-only arguments with defaults", 1, 0),
    ("def f(x, l: List[int] = []):\n    return x", "Mutable default parameters", 1, 9),
    ("def f(x: int):\n    return ~x", "Arguments for call are not valid", 2, 11),
    ("def f(xs: List[int]):\n    return [x for x in xs if x > 1]", "Comprehension ifs", 2, 11),
    ("def f(x):\n    return {1, 2}", "sets aren't supported", 2, 11),
    ("def f(x):\n    def g(y):\n        return y\n    return g(x)", "function definitions", 2, 4),
    ("def f(x):\n    try:\n        return x\n    except Exception:\n        return x",
     "try blocks aren't supported", 2, 4),
    ("def f(x):\n    if x.sum() > 0:\n        y = 1\n    return y",
     "y is not defined in the false branch", 4, 11),
    ("def f(x):\n    return foo(x)", "undefined value foo", 2, 11),
    ("def f(x):\n    return x.nonexistent()", "no attribute or method 'nonexistent'", 2, 11),
    ("def f(x):\n    return torch.relu(x, 1, 2)", "Expected at most 1 arguments", 2, 11),
    ("def f(x: Optional[torch.Tensor]):\n    return x + 1", "Optional[Tensor]", 2, 11),
    ("def f(x: Optional[torch.Tensor]):\n    return x.size(0)", "check for None", 2, 11),
    ("def f(x: List):\n    return x", "List without a contained type", 1, 9),
    ("def f(x):\n    yield x", "Yields aren't supported", 2, 4),
    ("def f(x):\n    return lambda y: y", "Lambdas aren't supported", 2, 11),
    ("def f(x):\n    global z\n    return x", "global variables aren't supported", 2, 4),
    ("def f(x):\n    import os\n    return x", "import statements aren't supported", 2, 4),
    ("def f(n: int):\n    if n > 1:\n        return 1\n    return 'a'",
     "Previous return statement returned a value of type int", 4, 4),
    ("def f(x):\n    a, b = x\n    return a", "cannot be used as a tuple", 2, 4),
    ("def f(x):\n    a, b = (1, 2, 3)\n    return a", "too many values to unpack", 2, 4),
    ("def f(x):\n    return f'{x:.2f}'", "Don't support formatting in JoinedStr", 2, 11),
    ("def f(x):\n    for i in range(3):\n        pass\n    else:\n        pass\n    return x",
     "else branches of for loops", 2, 4),
    ("def f(x: Dict[List[int], int]):\n    return x", "dict's key", 1, 9),
    ("def f(x):\n    return f(x)", "called recursively", 2, 11),
    ("def f(x: int):\n    x.foo = 3\n    return x", "attributes can be set on objects", 2, 4),
    ("def f(x: Tuple[int, str], i: int):\n    return x[i]", "non-integer literal", 2, 11),
    ("def f(x: int) -> str:\n    if x > 1:\n        return 'a'", "does not return along all", 1, 0),
    ("def f(x):\n    return [y for y in [1] for z in [3]]", "multi-generator", 2, 11),
    ("def f(x):\n    if (y := 3) > 2:\n        return y\n    return 1", "NamedExprs", 2, 8),
    ("def f(x: int):\n    return x[0]", "'int' object is not subscriptable", 2, 11),
    ("def f(x):\n    class A:\n        pass\n    return x", "class definitions", 2, 4),
    ("def f(x):\n    with x:\n        return x", "With item expression", 2, 4),
    ("def f(x):\n    y: int = 'a'\n    return y", "annotated with type int", 2, 4),
    ("def f(x):\n    return x if x.sum() > 0 else 1", "branches have different types", 2, 11),
    ("def f(n: int):\n    m = 'a'\n    if n > 1:\n        m = 1\n    return m",
     "previously had type str", 4, 8),
    ("def f(xs: List[int]):\n    xs.append('a')\n    return xs", "for argument 'el'", 2, 4),
    ("def f(x):\n    return torch.annotated(x)", "has no attribute 'annotated'", 2, 11),
]


def compile_text(source: str, folder) -> object:
    path = folder / "rejected.py"
    path.write_text(HEAD + source + "\n")
    spec = importlib.util.spec_from_file_location("rejected", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rejected"] = module
    spec.loader.exec_module(module)
    return aot.jit.script(module.f)


@pytest.mark.parametrize("source, reason, line, column", REJECTED)
def test_rejected(tmp_path, source: str, reason: str, line: int, column: int) -> None:
    with pytest.raises(ScriptError) as caught:
        compile_text(source, tmp_path)
    text = str(caught.value)
    assert reason in text
    shown = source.split("\n")[line - 1]
    place = f"{tmp_path / 'rejected.py'}:{line + HEAD.count(chr(10))}:{column}"
    assert text.endswith(f"\n  {place}\n    {shown}\n    {' ' * column}^")


def test_global_numbers_are_no_values(tmp_path) -> None:
    with pytest.raises(ScriptError, match="closed over global variable"):
        compile_text("N = 3\ndef f(x):\n    return x * N", tmp_path)


def test_module_errors_name_the_method(tmp_path) -> None:
    with pytest.raises(ScriptError, match="has no attribute or method 'missing'"):
        compile_text(
            "class M(torch.nn.Module):\n    def forward(self, x):\n        return self.missing(x)\n"
            "def f(x):\n    return x\ntorch.jit.script(M())", tmp_path)


# (source of a module class `M`, part of the message, the line that is shown, its column)
REJECTED_MODULES = [
    ("""class M(nn.Module):
    def forward(self, x):
        return super().forward(x)
""", "super() is not supported", "return super().forward(x)", 7),
    ("""class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.md = nn.ModuleDict({"a": nn.ReLU()})
    def forward(self, x, k: str):
        return self.md[k](x)
""", "Unable to extract string literal index", "return self.md[k](x)", 7),
    ("""class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.ml = nn.ModuleList([nn.ReLU()])
    def forward(self, x, k: int):
        return self.ml[k](x)
""", "Expected integer literal for index", "return self.ml[k](x)", 7),
    ("""class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.ml = nn.ModuleList([nn.ReLU()])
    def forward(self, x):
        return self.ml[3](x)
""", "Index 3 out of range of length 1", "return self.ml[3](x)", 7),
    ("""class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = []
    def forward(self, x):
        return x + len(self.l)
""", "failed to convert Python type: 'list' to a TorchScript type", "return x + len(self.l)", 15),
    ("""class M(nn.Module):
    def forward(self, x):
        self.y = x
        return x
""", "Tried to set nonexistent attribute: y", "self.y = x", 0),
    ("""class M(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = 3
    def forward(self, x):
        self.n = "a"
        return x
""", "Wrong type for attribute assignment. Expected int but got str", 'self.n = "a"', 0),
    ("""class M(nn.Module):
    def forward(self, x):
        return nn.Linear(3, 3)(x)
""", "'Linear' is currently not supported", "return nn.Linear(3, 3)(x)", 7),
    ("""class A(enum.Enum):
    X = 1
    Y = "a"
class M(nn.Module):
    def forward(self, x):
        return x * A.X.value
""", "Could not unify type list for the values of enum class 'A'", "return x * A.X.value", 11),
    ("""class B:
    def __init__(self, x: int):
        self.x = x
class C(B):
    pass
class M(nn.Module):
    def forward(self, x):
        return C(3)
""", "do not support inheritance", "return C(3)", 7),
    ("""class M(nn.Module):
    def forward(self, x):
        print(x, sep="")
        return x
""", "print doesn't accept any keyword arguments", 'print(x, sep="")', 0),
    ("""class M(nn.Module):
    def forward(self, x):
        return isinstance(x)
""", "isinstance expected exactly 2 arguments but found 1", "return isinstance(x)", 7),
    ("""class M(nn.Module):
    def forward(self, x):
        async def f():
            pass
        return x
""", "async function definitions aren't supported", "async def f():", 0),
    ("""class M(nn.Module):
    def forward(self, x):
        a = [1, 2]
        a[0:1] = [3]
        return x
""", "slices of lists cannot be assigned to", "a[0:1] = [3]", 0),
    ("""class M(nn.Module):
    def forward(self, x, y: 'Unknown'):
        return x
""", "Unknown type name 'Unknown'", "def forward(self, x, y: 'Unknown'):", 24),
]


@pytest.mark.parametrize("source, reason, shown, column", REJECTED_MODULES)
def test_rejected_module(tmp_path, source: str, reason: str, shown: str, column: int) -> None:
    path = tmp_path / "rejected.py"
    path.write_text("import enum\nimport aot as torch\nfrom aot import nn\n" + source)
    spec = importlib.util.spec_from_file_location("rejected", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["rejected"] = module
    spec.loader.exec_module(module)
    with pytest.raises(ScriptError) as caught:
        aot.jit.script(module.M())
    text = str(caught.value)
    assert reason in text
    lines = path.read_text().split("\n")
    line = next(i for i, found in enumerate(lines, 1) if found.strip() == shown)
    indent = lines[line - 1].index(shown[0])
    place = f"{path}:{line}:{indent + column}"
    assert text.endswith(f"\n  {place}\n    {lines[line - 1]}\n    {' ' * (indent + column)}^")


def test_modules_are_not_run_over_beside_what_has_no_known_length(tmp_path) -> None:
    with pytest.raises(ScriptError, match="statically determinable length"):
        compile_text("""
class M(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.ReLU()])
    def forward(self, xs: List[torch.Tensor]):
        return [layer(x) for layer, x in zip(self.layers, xs)]
def f(x):
    return x
torch.jit.script(M())""", tmp_path)


def test_a_module_that_is_not_what_its_interface_says(tmp_path) -> None:
    with pytest.raises(ScriptError, match="'P' object has no attribute 'run'"):
        compile_text("""
@torch.jit.interface
class I(torch.nn.Module):
    def run(self, x: torch.Tensor) -> torch.Tensor:
        pass
class P(torch.nn.Module):
    def forward(self, x):
        return x
class M(torch.nn.Module):
    p: I
    def __init__(self):
        super().__init__()
        self.p = P()
    def forward(self, x):
        return self.p.run(x)
def f(x):
    return x
torch.jit.script(M())""", tmp_path)
