"""not, in every place. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
def fa(c: bool, d: bool, n: int):
    a = not c or d
    return a, n * 7
def fb(c: bool, n: int):
    if not c:
        n = n + 1
    return n * 7
def fc(c: bool, d: bool, n: int):
    if not c or d:
        n = n + 1
    return n * 7
def fd(c: bool, d: bool, n: int):
    if c or d:
        n = n + 1
    return n * 7
def fe(c: bool, d: bool, n: int):
    m = 3 if not c else n
    return m * 7
def ff(c: bool, d: bool, n: int):
    m = 3 if c or d else n
    return m * 7
def fg(c: bool, d: bool, n: int):
    m = 3 if not c or d else n
    return m * 7
def fh(n: int):
    out = []
    out.append(n)
    return out
def fi(c: bool, d: bool, n: int):
    while not c:
        n = n + 1
        c = n > 3
    while c or d:
        n = n + 1
        c = n > 3
    return n * 7
def fj(x: Optional[int], n: int):
    if x is None:
        return 0
    else:
        return x * 7
def fk(x: Optional[int], n: int):
    if x is not None:
        n = x
    else:
        n = 3
    return n * 7
