"""Comprehensions, indexing, formats, iteration, raise, assert. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
def fa(x, n: int):
    y = [i * 2 for i in range(n)]
    return x * n
def fb(xs: List[torch.Tensor], n: int):
    y = [x * 2 for x in xs]
    return xs[0] * n
def fc(x, n: int):
    a = x[0]
    b = x[1:3]
    c = x[:, n]
    d = x[..., 1:, None]
    e = x[x > 0]
    f = x[0:n:2, x]
    return x * n
def fd(x, n: int):
    x[0] = 1
    x[1:2] = x
    x[x > 1] = 0
    return x * n
def fe(x, n: int):
    s = f"a {n} b"
    t = "a %d %s" % (n, "x")
    u = "a {}".format(n)
    return s, t, u, x * n
def ff(xs: List[torch.Tensor], n: int):
    for i, x in enumerate(xs):
        n = n * i
    return n * n
def fg(xs: List[torch.Tensor], ys: List[int], n: int):
    for x, y in zip(xs, ys):
        n = n * y
    return n * n
def fh(d: Dict[str, int], n: int):
    for k, v in d.items():
        n = n * v
    for k in d:
        n = n * 2
    return n * n
def fi(n: int):
    for i in range(1, n, 2):
        n = n * 3
    return n * n
def fj(n: int):
    t = (1, n, 3)
    for i in t:
        n = n * i
    return n * n
def fk(x, n: int):
    a, b = torch.max(x, 0)
    c = torch.max(x, 0)
    d = c[0]
    return a * n
def fl(xs: List[int], n: int):
    a = xs[1:]
    b = xs[:-1]
    xs[0] = n
    c = xs + a
    del xs[0]
    return len(xs) * n
def fm(x, n: int):
    if n > 2:
        raise ValueError("bad")
    return x * n
def fn(x, n: int):
    if n > 2:
        raise ValueError(f"bad {n}")
    else:
        y = x
    return y * n
def fo(x, n: int):
    assert n > 2
    assert n > 3, f"bad {n}"
    return x * n
def fp(x: Union[int, str], n: int):
    if isinstance(x, int):
        n = x
    return n * n
def fq(x: Any, n: int):
    if torch.jit.isinstance(x, List[int]):
        n = x[0]
    return n * n
def fr(x, n: int):
    y = x.shape
    z = x.dtype
    w = x.T
    v = x.device
    u = float(n) * n
    t = int(x.item())
    return x.size(-1) * n
def fs(x, n: int):
    y = torch.jit.annotate(List[int], [])
    y.append(n)
    z: List[torch.Tensor] = []
    z += [x]
    d: Dict[str, int] = {}
    d["a"] = n
    o: Optional[int] = None
    return x * n
def ft(x, n: int):
    y = torch.zeros(2, n, dtype=torch.float)
    y = y.to(torch.int64)
    z = torch.cat([x, y], dim=1)
    w = x.reshape(n, -1)
    v = torch.ones_like(x)
    u = torch.arange(n, device=x.device)
    return x.sum(dim=1, keepdim=True) * n
