"""Arithmetic, in-place operators, unions, unpacking. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
def fa(x, c: bool, n: int):
    y = x if c else None
    return y, n * 7
def fb(x, c: bool, n: int):
    y: Optional[torch.Tensor] = None
    if c:
        y = x
    return y, n * 7
def fc(x: torch.Tensor, y: Optional[int] = None):
    z = y if y is not None else 3
    return x * z
def fd(x: torch.Tensor, y: Optional[int] = None) -> Optional[int]:
    if y is None:
        return None
    return y * 2
def fe(x: torch.Tensor, d: Dict[str, List[int]]):
    for k, v in d.items():
        for i, j in enumerate(v):
            x = x + i * j
    return x
def ff(x: torch.Tensor, y: int):
    x[y] += 1
    x[0, 1:] = y
    x.add_(1)
    x -= y
    x *= 2
    x /= 3
    return x, x[y, :, None], x[[0, 1]], x[..., y], x[y:, ...]
def fg(x: torch.Tensor):
    assert isinstance(x, torch.Tensor)
    if not isinstance(x, torch.Tensor):
        raise RuntimeError("no")
    return x
def fh(x: Union[int, str, None]):
    if x is None:
        return 0
    elif isinstance(x, str):
        return len(x)
    else:
        return x
def fi(x: torch.Tensor, *, k: int, l: float):
    return x * k * l
def fj(x: torch.Tensor, n: int):
    k = 0
    while k < n and n > 3:
        k += 1
        if k == 2:
            continue
        x = x + k
    return x
def fk(x: torch.Tensor, n: int):
    if n == 1:
        y = x
    elif n == 2:
        y = x * 2
    else:
        y = x * 3
    return y
def fl(n: int) -> List[int]:
    out: List[int] = []
    for i in range(n):
        if i % 2 == 0:
            out.append(i)
        else:
            out += [i, i]
    return out
def fm(a: List[int], b: List[float]):
    a[0] += 1
    b[-1] *= 2.0
    a, c = a[1:], a[::2]
    return [x + y for x, y in zip(a, c)], b
def fn(x: torch.Tensor):
    r = torch.jit.fork(helper2, x)
    return torch.jit.wait(r)
def helper2(x):
    return x * 2
def fo(x: torch.Tensor, s: str):
    print(f"{s} {x.size(0)}")
    y = "%s and %d" % (s, 3)
    z = "{} {}".format(s, 2)
    return y + z + str(x.size(0))
def fp(x: torch.Tensor, y: torch.Tensor):
    return x @ y, x ** 2, x & y, x == y, x != y, x < 2, 2 - x, 2 / x, -x, ~x, x // 2, x % 2, abs(x), x.T
def fq(x: List[Optional[torch.Tensor]]):
    out = []
    for t in x:
        if t is not None:
            out.append(t)
    return out
def fr(x: torch.Tensor, i: int):
    t = (1, 2, 3)
    a, *b = t
    (c, d), e = (1, 2), 3
    return a, b, c + d + e
def fs(x: float):
    return math.floor(x), math.exp(x), math.inf, -math.inf, float("inf"), round(x), int(x) // 2, x % 2.0
import math
def f90(x, n: int):
    y = x.double() + x.long().float()
    if n > 2:
        y = y + x.to(torch.float32)
    return y * x.float(), x.half().int(), x.byte() + x.char() + x.short()
