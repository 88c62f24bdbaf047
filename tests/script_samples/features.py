"""One program a feature of the language, each with arguments: compiled and run by PyTorch and by
this project, and compared (test_script_features.py)."""
import enum
from typing import Any, Dict, Final, List, NamedTuple, Optional, Tuple, Union

import torch
from torch import nn


@torch.jit.ignore
def in_python(x: torch.Tensor, n: int) -> torch.Tensor:
    return x + n


def calls_an_ignored_function(x: torch.Tensor):
    return in_python(x, 3) * 2


class UnusedMethod(nn.Module):
    @torch.jit.unused
    def never(self, x: torch.Tensor) -> int:
        return 4

    def forward(self, x):
        if x.dim() > 2:
            self.never(x)
        return x * 2


class ParameterLists(nn.Module):
    def __init__(self):
        super().__init__()
        self.ps = nn.ParameterList([nn.Parameter(torch.ones(3)), nn.Parameter(torch.rand(3))])

    def forward(self, x):
        for p in self.ps:
            x = x + p
        return x * self.ps[1]


class ParameterDicts(nn.Module):
    def __init__(self):
        super().__init__()
        self.pd = nn.ParameterDict({"a": nn.Parameter(torch.rand(3)),
                                    "b": nn.Parameter(torch.rand(3))})

    def forward(self, x):
        return x * self.pd["a"] + self.pd["b"]


@torch.jit.interface
class Layer(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Doubles(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class ModuleInterfaces(nn.Module):
    layer: Layer

    def __init__(self):
        super().__init__()
        self.layer = Doubles()

    def forward(self, x):
        return self.layer(x) + self.layer.forward(x)


class InterfaceFromList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Doubles(), Doubles()])

    def forward(self, x):
        layer: Layer = self.layers[1]
        return layer.forward(x)


@torch.jit.interface
class Runs:
    def run(self, x: torch.Tensor) -> torch.Tensor:
        pass


@torch.jit.script
class Adds:
    def __init__(self, k: int):
        self.k = k

    def run(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.k


def uses_an_interface(thing: Runs, x: torch.Tensor):
    return thing.run(x)


def interfaces(x):
    return uses_an_interface(Adds(3), x)


@torch.jit._overload
def over(x: int) -> int:
    pass


@torch.jit._overload
def over(x: torch.Tensor) -> torch.Tensor:
    pass


def over(x):
    return x + 1


def overloads(x: torch.Tensor):
    return over(x), over(3)


class OverloadedMethods(nn.Module):
    @torch.jit._overload_method
    def m(self, x: int) -> int:
        pass

    @torch.jit._overload_method
    def m(self, x: torch.Tensor) -> torch.Tensor:
        pass

    def m(self, x):
        return x + 1

    def forward(self, x):
        return self.m(x) + self.m(3)


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.jit.Attribute(3, int)
        self.d = torch.jit.Attribute({}, Dict[str, int])

    def forward(self, x):
        return x + self.a + len(self.d)


class OldStyle(torch.jit.ScriptModule):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 3)
        self.k = torch.jit.Attribute(2, int)

    @torch.jit.script_method
    def forward(self, x):
        return self.lin(x) + self.h(x)

    @torch.jit.script_method
    def h(self, x):
        return x * self.k


def scaled(x, n: int):
    return x * n


def forks(x: torch.Tensor):
    task = torch.jit.fork(scaled, x, 2)
    y = x + 1
    return torch.jit.wait(task) + y


class NoGrad(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            y = x * 2
        return y


class Exported(nn.Module):
    @torch.jit.export
    def other(self, x: int) -> int:
        return x + 1

    def forward(self, x):
        return x


class Properties(nn.Module):
    @property
    def k(self) -> int:
        return 3

    def forward(self, x):
        return x * self.k


class Finals(nn.Module):
    k: Final[int]
    __constants__ = ["names"]

    def __init__(self):
        super().__init__()
        self.k = 3
        self.names = ("a", "b")

    def forward(self, x):
        out = ""
        for name in self.names:
            out += name
        return x * self.k, out


class Shade(enum.Enum):
    RED = 1
    BLUE = 2


def enums(x):
    c = Shade.RED
    return x * c.value, c.name, c == Shade.BLUE


class Point(NamedTuple):
    x: torch.Tensor
    n: int


def named_tuples(x):
    p = Point(x, n=4)
    return p.x * p.n, p[1], Point(x, 5)


def unions(x, v: Union[int, str, None] = 3):
    if isinstance(v, int):
        return x * v
    elif isinstance(v, str):
        return x * len(v)
    return x


def anything(x, v: Any = 3):
    if isinstance(v, int):
        return x * v
    return x


def annotated(x):
    a = torch.jit.annotate(List[int], [])
    d = torch.jit.annotate(Dict[str, Optional[int]], {"q": None})
    a.append(len(d))
    return x, a, d


def type_comments(x, n=3):
    # type: (Tensor, int) -> Tuple[Tensor, int]
    y = [n]
    return x + n, len(y)


def texts(x, n: int = 3):
    a = f"{n} of {x.size(0)}"
    b = "%d %s" % (n, a)
    return a, b, "{} {}".format(a, b).upper(), a[1:3], "of" in a, a.split(" "), len(b)


def raises_and_asserts(x, n: int = 3):
    assert n > 2, "small"
    if n > 100:
        raise ValueError(f"large: {n}")
    return x * n


def is_scripting(x):
    if torch.jit.is_scripting():
        return x + 1
    else:
        return open("nothing")


def slices(x):
    l = [1, 2, 3, 4, 5]
    t = (1, "a", 2.5)
    return l[1:], l[::2], l[-2:], t[1:], x[0, ..., None], x[:, 1], x[[0, 1]], x[x > 0.5]


def chains(x, n: int = 3):
    return 1 < n <= 3, n == 3 and n != 4 or n > 7, not n, 5 if n > 3 else 6


def comprehensions(x, n: int = 4):
    return [i * i for i in range(n)], {i: i + 1 for i in range(n)}, [y for y in x]


def unpacking(x):
    a, (b, c) = 1, (2, x)
    d, *e = (a, b, 5)
    a += 2
    a, b = b, a
    return a, b, c, d, e


def loops(x, n: int = 5):
    out: List[int] = []
    for i, (a, b) in enumerate(zip([1, 2, 3], [4, 5, 6])):
        if i == 2:
            break
        out.append(i * a * b)
    k = 0
    while k < n:
        k += 2
        if k == 4:
            continue
        x = x + k
    return x, out
