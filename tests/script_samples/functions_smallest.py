"""The smallest functions: what each construct numbers. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
def f0(x): return x
def f1(x: int):
    x += 1
    return x
def f2(x):
    x += 1
    return x
def f3(n: int):
    for i in range(n):
        print(i)
    return n
def f4(n: int):
    while n < 3:
        n = n + 1
    return n
def f5(n: int):
    if n > 2:
        n = 3
    return n
def f6(n: int):
    if n > 2:
        return 5
    return n
