"""Overloads that fail before one fits. Compiled by PyTorch and by this project,
and compared (test_script_against_torch.py)."""
from typing import Dict, List, Optional, Tuple, Union

import torch


def fa(x):
    return x.to("cpu")

def fb(x):
    return x.to("cpu", torch.float32)

def fc(x):
    return x.to(device="cpu")

def fd(x):
    return torch.zeros(2, device="cpu")

def fe(x, s: str):
    return x.to(s)

def ff(x, n: int):
    return torch.full([2], x.sum()), torch.add(x, 2, alpha=x.sum())

def fg(x, n: int):
    return x.view(x.sum())

def fh(x, n: int):
    return torch.clamp(x, x.sum(), 3)

def fi(x, n: int):
    return x[x.sum():]

def fj(x, n: int):
    return torch.narrow(x, 0, x.sum(), 2)

def fk(x, n: int):
    return x.pow(2, ), x.sum(0), x.sum([0, 1]), x.sum((0, 1)), x.mean(1, True), x.max(0), x.max(), x.to(x), x.to(torch.float64, True)

def fl(x, d: torch.device):
    return x.to(d), x.to("cpu", non_blocking=True), x.to("cuda", torch.float32, True)

def fm(x, d: torch.device):
    return torch.tensor(3, device="cpu"), torch.arange(5, device="cpu"), torch.randn(2, 3, device="cpu")

def fn(x):
    return torch.randn((2, 3), device="cpu")

def fo(x):
    return torch.zeros((2, 3), device="cpu")

def fp(x):
    return torch.randn((2, 3), dtype=torch.float32, device="cpu")

def fq(x):
    return torch.full((2, 3), 1.0, device="cpu")

def fr(x):
    return torch.empty([2, 3], device="cpu")

def fs(x):
    return x.new_empty([2, 3], device="cpu")

def ft(x):
    return torch.eye(3, device="cpu")

def fu(x):
    return torch.ones([2, 3], device="cpu")

def fv(x):
    return torch.rand([2, 3], device="cpu")

def fw(x):
    return torch.arange(1, 4, device="cpu")

def fx(x):
    return torch.randint(0, 4, (2,), device="cpu")

def fy(x):
    return x.mean((0, 1)), x.sum((0, 1), keepdim=True), x.permute((0, 1)), torch.cat((x, x)), torch.stack((x, x), 0), x.amax((0, 1)), torch.randperm(4, device="cpu")

def fz(x):
    return x.view(torch.int32)

def f1(x):
    return x.view(3)

def f2(x):
    return x.view(dtype=torch.int32)

def f3(x, n: int):
    return x.view(n), x.permute(n), x.expand(n), x.repeat(n), x.tile(n), torch.rand(n, device="cpu"), x.reshape(n), x.flip(n), x.new_zeros(n, device="cpu"), torch.zeros(n, device="cpu")
