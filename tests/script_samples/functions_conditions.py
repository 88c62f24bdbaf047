"""and, or, not, chained comparisons, Optional. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
# naming of extra load in nested assignment
def fa(x, n: int):
    for i in range(n):
        x = x + i
        x = x * i
    x = x - 1
    return x
# if with new var in both
def fb(x, n: int):
    if n > 2:
        z = x + 1
    else:
        z = x - 1
    z = z * 2
    return z
def fc(x, n: int):
    if n > 2:
        x = x + 1
    x = x * 2
    return x
def fd(x, n: int):
    if n > 2:
        x = x + 1
    else:
        x = x - 1
    x = x * 2
    return x
def fe(x, n: int):
    if n > 2:
        if n > 3:
            x = x + 1
            y = x
        x = x + n
    x = x * 2
    return x
def ff(x, n: int):
    if n > 2:
        y = x + 1
    x = x * 2
    return x
def fg(x, n: int):
    y = x if n > 2 else x + 1
    x = x * y
    return x
def fh(x, n: int, m: int):
    if n > 2 and m > 3:
        x = x * n
    return x * 3
def fi(x, n: int, m: int):
    b = n > 2 or not m > 3
    return b, x * 3
def fj(x, n: int, m: int):
    b = 2 < n < m
    return b, x * 3
def fk(x):
    if x.sum() > 0:
        return x
    else:
        return -x
def fl(x):
    if bool(x.sum() > 0):
        y = x
    else:
        y = -x
    return y
def fm(x: Optional[int], n: int):
    if x is None:
        x = 3
    return x + n
def fn(x: Optional[int], n: int):
    y = n
    if x is not None and x > 2:
        y = x * n
    return y + n
def fo(x: Optional[int], n: int):
    assert x is not None
    return x + n
def fp(x: Optional[int], n: int):
    if x is None:
        return n
    return x + n
