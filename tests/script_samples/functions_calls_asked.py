"""Conditions that are calls. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
import torch
def f1(x):
    hit = x.any(dim=-1)
    if hit.any():
        x = x + 1
    return x
def f2(x):
    hit = (x == 1).any(dim=-1)
    return x, hit
def f3(x):
    hit = x.any(dim=1)
    return hit.any()
def f4(x):
    w, idx = x.topk(2, dim=-1)
    return idx
def f5(x):
    out = torch.zeros_like(x)
    out[x] += x * 2
    return out
def f6(x):
    if x.any():
        x = x + 1
    return x
def f7(x, n: int):
    hit = (x == n)
    return hit.any(-1)
def f8(x):
    a, b = x.sort()
    c, d = x.topk(2)
    return c, d
def f9(x):
    w, idx = x.topk(2, dim=-1)
    w = w.softmax(-1)
    return idx, w
