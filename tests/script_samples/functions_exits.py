"""return, break, continue in the middle. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from typing import *
def fa(x: int, n: int):
    for i in range(n):
        if i == 3:
            return x
        x = x + 1
    return x - 1
def fb(x: int, n: int):
    while x < n:
        if x == 3:
            break
        x = x + 1
    return x - 1
def fc(x: int, n: int):
    while x < n:
        if x == 3:
            if n == 3:
                return n
            else:
                continue
        x = x + 1
    return x - 1
def fd(x: int, n: int):
    if x == 3:
        if n == 3:
            return n
        x = x + 1
    return x - 1
def fe(x: int, n: int):
    if x == 3:
        y = 2
    elif n == 3:
        return 2
    else:
        raise RuntimeError("x")
    return x * y
