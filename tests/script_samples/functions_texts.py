"""Texts, tuples and assertions. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import Dict, List, Optional

import torch


def f1(s: str):
    return s[-1] == "!", s[0], s[1:]

def f2(s: str):
    a = [1 if c == "a" else -1 for c in s]
    return a, len(s)

def f3(s: str):
    a = [1 if c == "a" else 2 for c in s]
    return a, len(s)

def f4(s: List[str]):
    a = [c + "b" for c in s]
    return a, len(s)

def f5(x):
    w: Optional[torch.Tensor] = None
    if x.size(0) > 1:
        w = x + 1
    return w

def f6(x):
    w: Optional[torch.Tensor] = None
    if x.size(0) > 1:
        w = torch.full((x.size(0),), 1.0)
    return x, w

def f7(x, n: int):
    return (n,) + (1,) * 3, (1, 2) + (3,)

def f8(x):
    torch._assert(x.dim() == 2, "no")
    torch._assert(x.dim() == 2, f"no {x.dim()}")
    return x

def f9(s: str, t: List[int]):
    b = s[-2]
    return t[-1], b, s[-1], len(s)

def f10(s: str):
    if s.startswith("#") or s[-1] == "!":
        return 1
    return 2

def f11(s: str):
    if s[-1] == "!":
        return 1
    return 2

def f12(s: str):
    return s.startswith("#") or s == "!"

def f13(s: str, n: int):
    k = 0
    if n > 3:
        k = 1
    elif s.startswith("##"):
        k = 4
    else:
        k = 3
    return k

def f14(w: str, v: Dict[str, int]):
    ids: List[int] = []
    ids += [v[c] if c in v else -1 for c in w]
    return ids

def f15(w: str, v: Dict[str, int]):
    ids: List[int] = []
    ids.append(v.get(w, 0))
    return ids

def f16(w: str, v: Dict[str, int]):
    ids = [v[c] if c in v else 4 for c in w]
    return ids

def f17(w: str, v: Dict[str, int]):
    for c in w.split(" "):
        if c in v:
            continue
        elif c[-1] == "!":
            w = w + c
    return w

def f18(w: str):
    if w == "a" or w[0] == "!":
        w = w + "c"
    return w
