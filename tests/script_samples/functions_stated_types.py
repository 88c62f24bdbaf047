"""What values are converted to where a type is stated, what variables are on the paths that
meet, and dicts of pairs. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
from torch import Tensor

def fa(x: Tensor):
    t = 0.0
    t += x.item()
    return t

def fb(x: Tensor):
    t: float = 0.0
    t = x.item()
    return t

def fc(x: Tensor) -> float:
    return x.item()

def fd(x: Tensor) -> int:
    t = 0
    for i in range(3):
        t = x.item()
    return t

def fe(x: Tensor) -> int:
    t = 0
    if bool(x.sum() > 1):
        t = x
    return t

def ff(x: Tensor):
    l: List[float] = []
    l.append(x.item())
    l[0] = x.item()
    return l

def fg(x: Tensor, k: Optional[int], m: Optional[Tensor], a: Optional[float]):
    if x is not None and m is not None and k is not None and a is not None:
        return m.size(0) + k + a
    return 0.0

def fh(m: Optional[Tensor], k: Optional[int]):
    if k is not None and m is not None:
        return m.size(0) + k
    return 0

def fi(zz: Optional[Tensor], k: Optional[int]):
    if zz is None or k is None:
        return 0
    return zz.size(0) + k

def fj(a: Optional[Tensor], b: Optional[Tensor], c: Optional[Tensor]):
    if (b is not None and a is not None) and c is not None:
        return a + b + c
    return torch.zeros(1)

def fk(a: Optional[Tensor], b: Optional[Tensor], c: Optional[Tensor]):
    if c is not None and (b is not None and a is not None):
        return a + b + c
    return torch.zeros(1)

def fl(a: List[int], b: List[Tensor], n: int):
    a *= 2
    b *= n
    a += [1]
    return a * 2, b, 3 * a

def fm(d: Dict[str, int]):
    return dict(d)

def fo(l: List[Tuple[str, int]]):
    return dict(l)

def fn(x: Tensor):
    i: int = x.size(0)
    i = int(x.sum())
    f = float(x.sum())
    b = bool(x.sum())
    c = str(x.size(0))
    return i // 2, f // 2., -i // 3, i / 2, c + str(b), f"{i} {f}", \
        "{} {}".format(i, c), i ** 2, 2 ** i, f ** i


def fp(x: Tensor):
    t: float = 0.0
    t = 'a'
    return t

def fq(x: Tensor):
    t: float = 0.0
    if bool(x):
        t = x.item()
    return t

def fr(x: Tensor) -> List[int]:
    return [int(v) for v in x]

def fs(x: Tensor) -> Optional[float]:
    return x.item()

def ft(x: Tensor) -> Tuple[float, int]:
    return x.item(), x.size(0)

def fu(x: Tensor) -> int:
    return x

def fv(x: Tensor) -> float:
    y = x.item()
    if y > 0:
        return y
    return 0.0

def fw(x: Tensor):
    d: Dict[str, float] = {}
    d['a'] = x.item()
    k = {'a': x.item()}
    return d, k

def fx(x: Tensor):
    return [x.item() for _ in range(3)], torch.arange(x.item()), range(x.item()) if False else 1

def fy(x: Tensor):
    t = x.item()
    t = 2.0
    u = 1
    u = 'a'
    return t, u

def fz(x: Optional[int]) -> int:
    x = x if x is not None else 3
    y: Optional[int] = None
    if y is None:
        y = x
    return y + x

def ga(x: Tensor):
    y: Optional[Tensor] = None
    for i in range(3):
        if y is None:
            y = x
        else:
            y = y + x
    if y is None:
        raise RuntimeError('no')
    return y

def gb(x: Tensor, f: float):
    return max(f, 1), min(x.item(), f), sum([1, 2]), abs(-f), round(f), pow(f, 2), f ** 2, \
        2 ** f, int(f) / 2, f // 1, f % 2, -f

def gc(b: Optional[Tensor], a: Optional[Tensor]):
    if b is None or a is None:
        z = 1
    else:
        z = 2
    if not (b is None) and not (a is None):
        return b + a
    if b is None and a is None:
        return torch.zeros(z)
    assert b is not None and a is not None
    return b - a

def gd(b: Optional[Tensor], a: Optional[Tensor]):
    while b is not None and a is not None:
        b = None
    return b if b is not None and a is not None and a.dim() == 1 else a

def ge(n: int):
    x: List[int] = [1]
    x = []
    return x

def gf(n: int):
    x: Optional[int] = None
    x = None
    return x

def gg(n: int):
    x: Optional[int] = 3
    if n > 2:
        x = None
    return x

def gh(n: int):
    x: Union[int, str] = 3
    if n > 2:
        x = 'a'
    return x

def gi(n: int):
    x: Dict[str, int] = {'a': 1}
    x = {}
    return x

def gj(n: int):
    x: List[float] = [1., 2.]
    x = [i for i in range(n)]
    return x

def gk(x: Tensor):
    y: Optional[float] = None
    if x.dim() > 1:
        y = x.item()
    return y

def gl(x: Tensor):
    y: Tuple[float, int] = (1.0, 2)
    if x.dim() > 1:
        y = (x.item(), 3)
    return y

def gm(x: Optional[Tensor]):
    if x is None:
        x = torch.ones(2)
    for i in range(3):
        x = x * 2
    return x

def gn(x: Tensor, flag: bool):
    y: Optional[int] = None
    while flag:
        if y is not None:
            flag = y < 3
            y += 1
        else:
            y = 0
    return y

def go(xs: List[Tensor]):
    best: Optional[Tensor] = None
    ix = -1
    for i, x in enumerate(xs):
        if best is None or x.sum() > best.sum():
            best = x
            ix = i
    if best is not None:
        return best, ix
    return torch.zeros(1), ix

def gp(xs: List[Optional[Tensor]]):
    out: List[Tensor] = []
    for x in xs:
        if x is not None:
            out.append(x)
    return out

def gq(x: Tensor, h: Optional[Tuple[Tensor, Tensor]] = None):
    if h is None:
        z = torch.zeros_like(x)
        h = (z, z)
    a, b = h
    return a + b + x

def gr(x: Tensor, d: Optional[Dict[str, List[Optional[Tensor]]]] = None):
    if d is not None:
        k = d['a']
        if k[0] is not None:
            v = k[0]
            assert v is not None
            x = x + v
    return x

def gs(x: Tensor):
    d: Dict[int, float] = {}
    d[x.item()] = 1.0
    return d

def gt(x: Tensor):
    d: Dict[int, float] = {}
    return d.get(3, x.item())

def gu(x: Tensor, i: int):
    return x[i, [0, 1]], x[:, i, None, ..., 1:], x[[0, 1], i], x[None, [1], 2:, i]

def gv(x: Tensor, m: Tensor):
    x[m, 0] = 1
    x[:, [0, 1]] = 2.0
    x[0][1] = 3
    x[..., 0] += 1
    x[m] *= 2
    x[1:, 0], x[0, 1:] = x[0, 0], x[1, 1]
    return x

def gw(x: Tensor):
    return dict([(i, x * i) for i in range(3)])

def gx(x: Tensor):
    return {i: x * i for i in range(3)}, {str(i): j for i, j in enumerate([x, x])}

def gy(x: Tensor, ks: List[str]):
    return {k: len(k) for k in ks}

def gz(ks: List[str], vs: List[int]):
    return dict(zip(ks, vs))

def ha(ks: Dict[str, int]):
    return dict(ks.items()), list(ks.items())

def hb():
    return dict(a=1, b=2), dict([('a', 1)], b=2)

def hc(c: bool, x: Tensor):
    y = x if c else None
    z: Optional[float] = 1.0 if c else None
    return y, z

def hd(x: Tensor, y: Optional[Tensor]):
    return [x.item(), 1.0], {'a': y}, {'a': x.item()}, [y], {1: [x.item()]}

def he(c: bool, d: bool):
    x: Union[int, str] = 1
    y: Union[float, List[int]] = 1.5
    if c:
        x = 'a'
        y = [1]
    if d:
        y = 2.5
    for i in range(3):
        x = i
    return x, y

def hf(c: bool):
    x: Union[int, str, float] = 1.0
    if c:
        x = 2
    else:
        x = 'a'
    return x

def hg(c: bool):
    x: Union[int, str] = 1
    if c:
        x = 2
    else:
        x = 'a'
    return x

def hh(c: bool):
    x: Any = 1
    if c:
        x = 'a'
    else:
        x = 'b'
    return x

def hi(c: bool, x: Tensor):
    if c:
        y = x
    else:
        y = None
    return y

def hj(c: bool, x: Tensor):
    if c:
        return x
    return None

def hk(c: bool) -> Union[int, str]:
    if c:
        return 1
    return 'a'
