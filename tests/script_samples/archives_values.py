"""Modules whose attributes are of every kind that archives hold. Saved by PyTorch and by this project, and loaded by the other (test_save_both_ways.py): MODULES has each with its inputs."""
import torch
from torch import nn
from enum import Enum
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union
from typing_extensions import Final


class Point(NamedTuple):
    x: torch.Tensor
    n: int


class Color(Enum):
    RED = 1
    GREEN = 2


class Name(Enum):
    FIRST = "a"
    SECOND = "b"


class Counter:
    def __init__(self, start: int):
        self.count = start
        self.names: List[str] = ["é", "b"]

    def add(self, n: int) -> int:
        self.count += n
        return self.count


class Scaled:
    def __init__(self, weight: torch.Tensor, by: float):
        self.weight = weight
        self.by = by

    def __mul__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * self.by


@torch.jit.interface
class Layer(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Doubling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Increasing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Numbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.large = 1 << 40
        self.negative = -3
        self.byte = 200
        self.scale = 0.1
        self.infinite = float("inf")
        self.flag = True

    def forward(self, x):
        y = x * self.scale + self.negative + self.byte
        return y, self.large, self.infinite, self.flag, -self.infinite


class Texts(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = "grüße \" ' \n \\ \t"
        self.empty = ""

    def forward(self, x):
        return x + len(self.empty), self.text + "ünï", self.empty, f"{self.text}!", "a%sb" % self.empty


class Lists(nn.Module):
    floats: List[float]
    flags: List[bool]
    tensors: List[torch.Tensor]
    empty: List[str]

    def __init__(self):
        super().__init__()
        base = torch.arange(12.0).reshape(3, 4)
        self.ints = [3, -1, 1 << 40]
        self.floats = [1.0, 2.5, float("inf")]
        self.flags = [True, False]
        self.tensors = [base, base[0], torch.tensor([True, False])]
        self.words = ["a", "ä"]
        self.empty = []
        self.nested = [[1, 2], [3]]
        self.pairs = [(1, "x"), (2, "y")]

    def forward(self, x):
        self.ints.append(x.size(0))
        y = x + self.tensors[0] + self.tensors[1]
        return (y, self.ints, self.floats, self.flags, self.words, self.empty, self.nested, self.pairs,
                self.tensors[2])


class Dicts(nn.Module):
    table: Dict[str, torch.Tensor]
    nested: Dict[str, List[Tuple[int, str]]]
    numbers: Dict[int, float]

    def __init__(self):
        super().__init__()
        self.table = {"ä": torch.ones(4), "b": torch.tensor(3)}
        self.nested = {"k": [(1, "x"), (2, "y")]}
        self.numbers = {3: 0.5, -1: 2.0}
        self.words = {"a": "b"}

    def forward(self, x, k: str):
        self.words["n"] = k
        total = 0.0
        for key, value in self.numbers.items():
            total += key * value
        return x * self.table["ä"] + self.table[k], self.nested, self.words, total


class Tuples(nn.Module):
    point: Point
    pair: Tuple[int, str]

    def __init__(self):
        super().__init__()
        self.pair = (3, "x")
        self.point = Point(torch.ones(4), 7)
        self.deep = ((1, 2.5), ("a", (True, torch.zeros(2))))

    def forward(self, x):
        (a, b), (c, (d, e)) = self.deep
        return Point(x * self.point.n + self.point.x, self.pair[0]), self.pair, (a, b, c, d, e)


class Maybe(nn.Module):
    number: Optional[float]
    tensor: Optional[torch.Tensor]
    names: Optional[List[str]]
    weight: Optional[torch.Tensor]

    def __init__(self, given: bool):
        super().__init__()
        self.number = 2.5 if given else None
        self.tensor = torch.full((4,), 2.0) if given else None
        self.names = ["a"] if given else None
        self.register_parameter("weight", nn.Parameter(torch.ones(4)) if given else None)
        self.register_buffer("shift", torch.ones(1) if given else None)

    def forward(self, x, more: Optional[torch.Tensor] = None):
        number, tensor, names, weight = self.number, self.tensor, self.names, self.weight
        if number is not None:
            x = x * number
        if tensor is not None:
            x = x + tensor
        if weight is not None:
            x = x * weight
        if more is not None:
            x = x - more
        return x, names, self.number


class Unions(nn.Module):
    either: Union[int, str]
    any: Any

    def __init__(self):
        super().__init__()
        self.either = "x"
        self.any = (1, "y")

    def forward(self, x):
        either = self.either
        if isinstance(either, str):
            return x, either
        else:
            return x + 1, "a number"


class Enums(nn.Module):
    def __init__(self):
        super().__init__()
        self.color = Color.GREEN
        self.name = Name.FIRST

    def forward(self, x):
        if self.color == Color.GREEN:
            x = x * self.color.value
        return x, self.name.value, self.name.name, self.color == Color.RED


class Objects(nn.Module):
    def __init__(self):
        super().__init__()
        self.counter = torch.jit.script(Counter)(4)
        self.same = self.counter

    def forward(self, x):
        self.counter.add(2)
        made = Scaled(x + 1, 0.5)
        return made * x, self.same.add(1), self.counter.names


class Memory(nn.Module):
    """Windows on one storage, a tensor under two names, memory of stride 0, buffers not kept."""

    def __init__(self):
        super().__init__()
        base = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("base", base)
        self.register_buffer("row", base[1])
        self.register_buffer("turned", base.t())
        self.register_buffer("spread", torch.ones(1, 1).expand(3, 4))
        self.register_buffer("short", torch.tensor([1.5]), persistent=False)
        self.weight = nn.Parameter(base * 2)
        self.same = self.weight

    def forward(self, x):
        self.row.add_(1)
        return x + self.base + self.turned.t() + self.spread + self.weight + self.same + self.short


class Types(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"):
            self.register_buffer("of_" + name, torch.arange(4).to(getattr(torch, name)))
        self.register_buffer("bools", torch.tensor([True, False, True, True]))
        self.register_buffer("scalar", torch.tensor(2.5))
        self.register_buffer("none", torch.zeros(0, 3))
        self.device = torch.device("cpu")
        self.dtype = torch.float64

    def forward(self, x):
        y = x + self.of_float64 + self.of_int64 + self.of_int32 + self.of_int16 + self.of_int8
        z = self.of_float16.float() + self.of_bfloat16.float() + self.bools
        w = torch.ones(4, dtype=self.dtype, device=self.device)
        return y, z * self.scalar, self.none, w, self.of_int8 // 2, self.of_uint8 - 5


class Constants(nn.Module):
    size: Final[int]
    words: Final[List[str]]
    __constants__ = ["rate", "pair", "nothing"]

    def __init__(self):
        super().__init__()
        self.size = 4
        self.words = ["a", "b"]
        self.rate = 0.25
        self.pair = (1, 2)
        self.nothing = None

    def forward(self, x):
        for word in self.words:
            x = x + len(word)
        if self.nothing is not None:
            x = x * 2
        return x.reshape(-1, self.size) * self.rate + self.pair[1]


class ByInterface(nn.Module):
    layer: Layer

    def __init__(self):
        super().__init__()
        self.layer = Doubling()
        self.layers = nn.ModuleList([Increasing(), Doubling()])

    def forward(self, x, i: int):
        chosen: Layer = self.layers[i]
        return self.layer.forward(x) + chosen.forward(x)


class Packed(nn.Module):
    """Writes and reads its own state."""

    def __init__(self):
        super().__init__()
        self.weight = torch.ones(4)
        self.loads = 5

    @torch.jit.export
    def __getstate__(self) -> Tuple[torch.Tensor, int, bool]:
        return self.weight * 4, self.loads, self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, int, bool]) -> None:
        self.weight = state[0] / 4
        self.loads = state[1]
        self.training = state[2]

    def forward(self, x):
        return x * self.weight, self.loads


class Methods(nn.Module):
    """Exported methods, overloads of defaults, a property, an ignored method."""

    def __init__(self):
        super().__init__()
        self.n = 2

    def forward(self, x, k: int = 3, flag: bool = True, rate: float = 0.5):
        return self.helper(x, k) * rate if flag else x

    def helper(self, x, k: int):
        return x * k + self.n

    @torch.jit.export
    def set_n(self, n: int) -> int:
        before = self.n
        self.n = n
        return before

    @property
    def doubled(self) -> int:
        return self.n * 2

    @torch.jit.ignore
    def host(self, x: int) -> int:
        return x

    @torch.jit.unused
    def never(self, x: int) -> int:
        return x


def sine(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x)


class Control(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.by_name = nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})

    def forward(self, x, n: int = 3):
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
        future = torch.jit.fork(sine, x)
        with torch.no_grad():
            y = x[..., None].sum(-1)
        assert len(parts) > 0, "none"
        if x.sum() > 100:
            raise ValueError("too large: {}".format(n))
        return torch.stack(parts), y + torch.jit.wait(future), [p.shape for p in parts]


class Shared(nn.Module):
    """One module under two names, and one weight in two modules."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = self.a
        self.c = nn.Linear(4, 4)
        self.c.weight = self.a.weight

    def forward(self, x):
        return self.c(self.b(self.a(x)))


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = torch.tanh
        self.g = nn.functional.relu

    def forward(self, x):
        return self.f(self.g(x)) + nn.functional.softmax(x, dim=-1)


def pre(self, x: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:
    return (x[0] + 1,)


def after(self, x: Tuple[torch.Tensor], y: torch.Tensor) -> torch.Tensor:
    return y * 3


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Doubling()
        self.inner.register_forward_pre_hook(pre)
        self.inner.register_forward_hook(after)

    def forward(self, x):
        return self.inner(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, 2, bidirectional=True)
        self.gru = nn.GRU(6, 3, batch_first=True)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        z, g = self.gru(y)
        return z, h, c, g


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        self.text = "ä"

    def forward(self, x):
        return self.layers(x), self.text


X = (3, 4)
MODULES = {
    "numbers": (Numbers, [X]), "texts": (Texts, [X]), "lists": (Lists, [X]),
    "dicts": (Dicts, [X, "b"]), "tuples": (Tuples, [X]), "all given": (lambda: Maybe(True), [X, X]),
    "nothing given": (lambda: Maybe(False), [X]), "unions": (Unions, [X]), "enums": (Enums, [X]),
    "objects": (Objects, [X]), "memory": (Memory, [X]), "types": (Types, [X]),
    "constants": (Constants, [X]), "interfaces": (ByInterface, [X, 0]), "packed": (Packed, [X]),
    "methods": (Methods, [X, 2, True]), "control": (Control, [X]), "shared": (Shared, [X]),
    "functions": (Functions, [X]), "hooks": (Hooked, [X]), "frozen": (Frozen, [X]),
    "recurrent": (Recurrent, [X]),
}
