"""Classes with magic methods, context managers, tensors' methods, defaults. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
class Tally:
    def __init__(self, n: int, xs: List[int]):
        self.n = n
        self.xs = xs
    def add(self, k: int) -> int:
        self.n += k
        self.xs.append(k)
        return self.n + self.helper(k)
    def helper(self, k: int) -> int:
        return k * self.n
    def __len__(self) -> int:
        return len(self.xs)
    def __getitem__(self, i: int) -> int:
        return self.xs[i]
    def __eq__(self, o: "Tally") -> bool:
        return self.n == o.n
class Ctx:
    def __init__(self, n: int):
        self.n = n
    def __enter__(self):
        self.n += 1
        return self.n
    def __exit__(self, t: Any, v: Any, tb: Any):
        self.n -= 1
def fa(n: int):
    a = Tally(n, [1])
    b = Tally(n, [])
    return a.add(2), len(a), a[0], a == b, a.n, a.xs
def fb(n: int):
    with Ctx(n) as c:
        m = c * 2
    return m
def fc(n: int):
    a = Tally(n, [1])
    a.n = 4
    a.n += 3
    if a.n > 3:
        a.xs = [3]
    return a
def fd(xs: List[Tally]):
    s = 0
    for x in xs:
        s += x.n
    return s
def fe(x: Optional[Tally], n: int):
    if x is None:
        return n
    return x.n
def ff(d: Dict[str, torch.Tensor], k: str):
    out: List[str] = []
    for key in d.keys():
        out.append(key)
    for v in d.values():
        print(v)
    return d.get(k, torch.zeros(1)), out, d.pop("a"), list(d.items())
def fg(x: torch.Tensor, n: int):
    y = x.new_zeros(2, n)
    z = torch.where(x > 0, x, y)
    w = torch.einsum("ij,jk->ik", [x, y])
    v = x.permute(1, 0).contiguous().view(-1)
    u = torch.nn.functional.pad(x, [1, 1])
    return z, w, v, u, x.expand(2, -1, n), x.split(2), x.chunk(2, dim=1), x.masked_fill(x > 1, 0.0)
def fh(x: torch.Tensor):
    return x.max(), x.max(1)[0], x.min(dim=0).indices, torch.topk(x, 2), x.mean(), x.std(0), x.numel()
def fi(x: torch.Tensor, shape: List[int]):
    n, c = x.shape
    b = x.shape[0]
    h = x.shape[-1] // 2
    return x.view(n, c), x.view(shape), x.reshape([n, -1]), b + h, x.size()
def fj(n: int) -> Optional[int]:
    if n > 3:
        return n
    elif n > 2:
        return None
    return n + 1
def fk(a: float, b: int) -> float:
    return a if a > b else float(b)
def fl(x: torch.Tensor, b: bool = True, s: str = "x", f: float = 1e-3, o: Optional[float] = None, d: torch.dtype = torch.float32, dev: torch.device = torch.device("cpu")):
    return x.to(dtype=d, device=dev) * f
def fm(x: torch.Tensor):
    for i, (a, b) in enumerate(zip([1, 2], [3, 4])):
        x = x + i * a * b
    return x
