"""Variables that loops and branches change. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
def fa(x, n: int):
    i = 0
    while i < n:
        i += 1
    return i
def fb(x, n: int):
    i = 0
    while i < n:
        x = x * 2
        i = i + 1
    return x
def fc(x):
    i = 0
    x = x * 2
    i += 1
    return i
def fd(x):
    x = x * 2
    i = x * 2
    return i
def fe(n: int):
    if n > 2:
        return n
    n = n + 1
    return n - 1
def ff(n: int, m: int):
    if n > 2:
        return n
    if m > 2:
        return m
    return n - 1
def fg(n: int, m: int):
    if n > 2:
        n = 3
        m = 4
    return n - m
def fh(n: int, m: int):
    if n > 2:
        n = 3
        m = 4
    else:
        m = 5
    return n - m
