"""Classes, enumerations, NamedTuples, defaults, literals. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
import torch.nn.functional as F
from typing import *
from enum import Enum
import math
class P(NamedTuple):
    a: int
    b: torch.Tensor
class Color(Enum):
    RED = 1
    GREEN = 2
N = 5
EPS = 1e-5
class Acc:
    def __init__(self, n: int):
        self.n = n
        self.total = 0.0
    def add(self, x: float) -> float:
        self.total += x
        return self.total
    @property
    def twice(self) -> int:
        return self.n * 2
    @staticmethod
    def helper(x: int) -> int:
        return x + 1
    def __add__(self, other: int) -> int:
        return self.n + other
def helper(x, k: int = 2):
    return x * k
def fa(x):
    return helper(x) + helper(x, 3) + helper(x, k=4)
def fb(x):
    p = P(1, x)
    q = P(a=2, b=x)
    return p.b + q.a, p
def fc(c: Color):
    if c == Color.RED:
        return 1
    return c.value
def fd(n: int):
    a = Acc(n)
    a.add(2.0)
    return a.total, a.twice, Acc.helper(3), a + 2
def fe(x):
    return x * N + EPS + math.pi * math.sqrt(2.0)
def ff(x, n: int):
    return F.linear(x, x), F.softmax(x, dim=1), F.conv2d(x, x), F.gelu(x)
def fg(x):
    return torch.jit.annotate(List[int], [1, 2]), torch.jit.annotate(Optional[int], None)
def fh(d: Dict[str, torch.Tensor], k: str):
    if k in d:
        x = d[k]
    else:
        x = torch.ones(2)
    d["z"] = x
    return x, len(d), list(d.keys())
def fi(x, n: int):
    a = [1, 2, 3]
    a.append(n)
    a.extend([4])
    b = a.pop()
    a.sort()
    a.reverse()
    c = a[1:]
    return a, b, c, 3 in a, max(a), min(1, n), sum(a), sorted(a)
def fj(s: str):
    return s.upper() + "x", s.split(","), s.strip(), len(s), s[0], s[1:3], "a" in s, s == "b", int(s), float("3")
def fk(x, y: Optional[torch.Tensor] = None, z: float = 1.0, w: str = "a", l: Optional[List[int]] = None):
    if y is not None:
        x = x + y
    elif l is None:
        x = x * z
    return x
def fl(x):
    x: torch.Tensor = x * 2
    y: Optional[torch.Tensor] = None
    if x.size(0) > 2:
        y = x
    if y is None:
        y = x * 3
    return y
def fm(a: int, b: float):
    c = a + b
    d = a / 2
    e = int(b)
    f = float(a)
    g = bool(a)
    h = str(a)
    i = abs(a)
    j = round(b)
    return c, d, e, f, g, h, i, j, a & 3, a | 1, a ^ 1, a << 1, a >> 1, ~torch.tensor(a), not g
def fn(x):
    with torch.no_grad():
        y = x * 2
    return y
def fo(x):
    return torch.zeros_like(x, dtype=torch.int64), x.to(torch.float32), x.to("cpu"), torch.tensor([1, 2]), torch.tensor(3.0), torch.full([2], 1.5), torch.rand(2, 3), x.type_as(x)
def fp(x):
    a, (b, c) = x.size(0), (x.size(1), 3)
    a, b = b, a
    t = (a, b, c)
    return t[0], t[1:], t
def fq(x):
    if torch.jit.is_scripting():
        return x * 2
    else:
        return x.numpy()
def fr(xs: List[torch.Tensor]):
    return torch.cat([x.unsqueeze(0) for x in xs], 0), torch.stack(xs), [i for i in range(3)], {i: i * 2 for i in range(3)}
def fs(x):
    values, indices = x.topk(2)
    s = x.sort(dim=1)
    m = x.max(dim=1)
    return values, indices, s[0], m.values, m.indices
def ft(x, n: int):
    while True:
        x = x * 2
        if bool(x.sum() > 100):
            break
        n -= 1
        if n < 0:
            return x
    return x + 1
def fu(x: torch.Tensor) -> torch.Tensor:
    """doc"""
    # type: ignore
    for i in range(3):
        for j in range(i):
            if j == 1:
                continue
            x = x + j
    return x
def fv(x):
    # type: (Tensor) -> Tuple[Tensor, int]
    return x, 3
def fw(x: Tuple[int, torch.Tensor], y: List[List[int]]):
    a, b = x
    return b + a, y[0][1], [z[0] for z in y]
