"""What values are converted to where a type is stated, what variables are on the paths that
meet, and dicts of pairs. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

class Pair(NamedTuple):
    h: Tensor
    n: int

def f0(s: Pair, x):
    if s.n > 2:
        s = Pair(s.h + x, s.n - 1)
    return s.h * s.n, s

def f1(x: Tensor):
    t = 0.0
    t += x.item()
    return t

def f2(x: Tensor):
    t: float = 0.0
    t = x.item()
    return t

def f3(x: Tensor) -> float:
    return x.item()

def f4(x: Tensor) -> int:
    t = 0
    for i in range(3):
        t = x.item()
    return t

def f5(x: Tensor) -> int:
    t = 0
    if bool(x.sum() > 1):
        t = x
    return t

def f6(x: Tensor):
    l: List[float] = []
    l.append(x.item())
    l[0] = x.item()
    return l

def f7(x: Tensor, k: Optional[int], m: Optional[Tensor], a: Optional[float]):
    if x is not None and m is not None and k is not None and a is not None:
        return m.size(0) + k + a
    return 0.0

def f8(m: Optional[Tensor], k: Optional[int]):
    if k is not None and m is not None:
        return m.size(0) + k
    return 0

def f9(zz: Optional[Tensor], k: Optional[int]):
    if zz is None or k is None:
        return 0
    return zz.size(0) + k

def f10(a: Optional[Tensor], b: Optional[Tensor], c: Optional[Tensor]):
    if (b is not None and a is not None) and c is not None:
        return a + b + c
    return torch.zeros(1)

def f11(a: Optional[Tensor], b: Optional[Tensor], c: Optional[Tensor]):
    if c is not None and (b is not None and a is not None):
        return a + b + c
    return torch.zeros(1)

def f12(a: List[int], b: List[Tensor], n: int):
    a *= 2
    b *= n
    a += [1]
    return a * 2, b, 3 * a

def f13(d: Dict[str, int]):
    return dict(d)

def f14(l: List[Tuple[str, int]]):
    return dict(l)

def f15(x: Tensor):
    i: int = x.size(0)
    i = int(x.sum())
    f = float(x.sum())
    b = bool(x.sum())
    c = str(x.size(0))
    return i // 2, f // 2., -i // 3, i / 2, c + str(b), f"{i} {f}", \
        "{} {}".format(i, c), i ** 2, 2 ** i, f ** i


def f16(x: Tensor):
    t: float = 0.0
    t = 'a'
    return t

def f17(x: Tensor):
    t: float = 0.0
    if bool(x):
        t = x.item()
    return t

def f18(x: Tensor) -> List[int]:
    return [int(v) for v in x]

def f19(x: Tensor) -> Optional[float]:
    return x.item()

def f20(x: Tensor) -> Tuple[float, int]:
    return x.item(), x.size(0)

def f21(x: Tensor) -> int:
    return x

def f22(x: Tensor) -> float:
    y = x.item()
    if y > 0:
        return y
    return 0.0

def f23(x: Tensor):
    d: Dict[str, float] = {}
    d['a'] = x.item()
    k = {'a': x.item()}
    return d, k

def f24(x: Tensor):
    return [x.item() for _ in range(3)], torch.arange(x.item()), range(x.item()) if False else 1

def f25(x: Tensor):
    t = x.item()
    t = 2.0
    u = 1
    u = 'a'
    return t, u

def f26(x: Optional[int]) -> int:
    x = x if x is not None else 3
    y: Optional[int] = None
    if y is None:
        y = x
    return y + x

def f27(x: Tensor):
    y: Optional[Tensor] = None
    for i in range(3):
        if y is None:
            y = x
        else:
            y = y + x
    if y is None:
        raise RuntimeError('no')
    return y

def f28(x: Tensor, f: float):
    return max(f, 1), min(x.item(), f), sum([1, 2]), abs(-f), round(f), pow(f, 2), f ** 2, \
        2 ** f, int(f) / 2, f // 1, f % 2, -f

def f31(n: int):
    x: List[int] = [1]
    x = []
    return x

def f32(n: int):
    x: Optional[int] = None
    x = None
    return x

def f33(n: int):
    x: Optional[int] = 3
    if n > 2:
        x = None
    return x

def f34(n: int):
    x: Union[int, str] = 3
    if n > 2:
        x = 'a'
    return x

def f35(n: int):
    x: Dict[str, int] = {'a': 1}
    x = {}
    return x

def f36(n: int):
    x: List[float] = [1., 2.]
    x = [i for i in range(n)]
    return x

def f37(x: Tensor):
    y: Optional[float] = None
    if x.dim() > 1:
        y = x.item()
    return y

def f38(x: Tensor):
    y: Tuple[float, int] = (1.0, 2)
    if x.dim() > 1:
        y = (x.item(), 3)
    return y

def f39(x: Optional[Tensor]):
    if x is None:
        x = torch.ones(2)
    for i in range(3):
        x = x * 2
    return x

def f40(x: Tensor, flag: bool):
    y: Optional[int] = None
    while flag:
        if y is not None:
            flag = y < 3
            y += 1
        else:
            y = 0
    return y

def f41(xs: List[Tensor]):
    best: Optional[Tensor] = None
    ix = -1
    for i, x in enumerate(xs):
        if best is None or x.sum() > best.sum():
            best = x
            ix = i
    if best is not None:
        return best, ix
    return torch.zeros(1), ix

def f42(xs: List[Optional[Tensor]]):
    out: List[Tensor] = []
    for x in xs:
        if x is not None:
            out.append(x)
    return out

def f43(x: Tensor, h: Optional[Tuple[Tensor, Tensor]] = None):
    if h is None:
        z = torch.zeros_like(x)
        h = (z, z)
    a, b = h
    return a + b + x

def f44(x: Tensor, d: Optional[Dict[str, List[Optional[Tensor]]]] = None):
    if d is not None:
        k = d['a']
        if k[0] is not None:
            v = k[0]
            assert v is not None
            x = x + v
    return x

def f45(x: Tensor):
    d: Dict[int, float] = {}
    d[x.item()] = 1.0
    return d

def f46(x: Tensor):
    d: Dict[int, float] = {}
    return d.get(3, x.item())

def f49(x: Tensor):
    return dict([(i, x * i) for i in range(3)])

def f50(x: Tensor):
    return {i: x * i for i in range(3)}, {str(i): j for i, j in enumerate([x, x])}

def f51(x: Tensor, ks: List[str]):
    return {k: len(k) for k in ks}

def f52(ks: List[str], vs: List[int]):
    return dict(zip(ks, vs))

def f55(c: bool, x: Tensor):
    y = x if c else None
    z: Optional[float] = 1.0 if c else None
    return y, z

def f56(x: Tensor, y: Optional[Tensor]):
    return [x.item(), 1.0], {'a': y}, {'a': x.item()}, [y], {1: [x.item()]}

def f57(c: bool, d: bool):
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

def f58(c: bool):
    x: Union[int, str, float] = 1.0
    if c:
        x = 2
    else:
        x = 'a'
    return x

def f59(c: bool):
    x: Union[int, str] = 1
    if c:
        x = 2
    else:
        x = 'a'
    return x

def f60(c: bool):
    x: Any = 1
    if c:
        x = 'a'
    else:
        x = 'b'
    return x

def f61(c: bool, x: Tensor):
    if c:
        y = x
    else:
        y = None
    return y

def f62(c: bool, x: Tensor):
    if c:
        return x
    return None

def f63(c: bool) -> Union[int, str]:
    if c:
        return 1
    return 'a'

def f200(x, n: int):
    for i in range(0, 3, 2):
        x = x + i
    for i in range(2, 2, 2):
        x = x * i
    for j in range(n):
        for i in range(5, 0, -2):
            x = x + i
    return x

def f201(x):
    return torch.jit.annotate(float, x.item()), torch.jit.annotate(int, x)
