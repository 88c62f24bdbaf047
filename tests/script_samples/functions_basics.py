"""Straight lines, branches, loops, lists. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import List, Dict, Optional, Tuple
def f1(x): return x + x
def f2(x):
    x = x + 1
    x = x * 2
    y = x
    return y, x
def f3(x, y: int = 3):
    if y > 2:
        z = x + y
    else:
        z = x - y
    return z
def f4(x, n: int):
    for i in range(n):
        x = x + i
    return x
def f5(x, n: int):
    i = 0
    while i < n:
        x = x * 2
        i += 1
    return x, i
def f6(x, n: int):
    if n > 2:
        return x
    y = x + 1
    return y
def f7(xs: List[torch.Tensor]):
    s = torch.zeros(3)
    for x in xs:
        s += x
    return s
def f8(x: Optional[torch.Tensor], y):
    if x is not None:
        y = y + x
    return y
def f9(x, n: int):
    for i in range(n):
        if i == 3:
            break
        if i == 1:
            continue
        x = x + i
    return x
def f10(x, n: int):
    for i in range(n):
        if i == 3:
            return x
        x = x + 1
    return x - 1
def f11(x):
    assert x.size(0) == 3, "bad"
    a, b = x.size(0), x.shape[1]
    return a + b, a * 2.5, a / b, a // b, -a, a % b, a ** b
def f12(x):
    print("hi", x, 3)
    torch.nn.functional.relu(x)
    t = (x, 1, 2.0)
    a, b, c = t
    l = [1, 2, 3]
    d = {"a": 1}
    return x.view(-1, 3), x.relu(), torch.relu(x), l, d, a, t[1], l[0], d["a"], t[-1]
