"""Lists that are empty at first. Compiled by PyTorch and by this project,
and compared (test_script_against_torch.py)."""
from typing import Dict, List, Optional, Tuple, Union

import torch


def fa(x):
    out = []
    out.append(x)
    return out

def fb(x, n: int):
    out = []
    for i in range(n):
        out.append(x)
    return out

def fc(x: List[Optional[torch.Tensor]]):
    out = []
    for t in x:
        if t is not None:
            out.append(t)
    return out

def fd(x: List[torch.Tensor]):
    out = []
    for t in x:
        if t.sum() > 2:
            out.append(t)
    return out

def fe(x: List[torch.Tensor]):
    out = []
    for t in x:
        out.append(t)
    return out

def ff(x: Optional[torch.Tensor]):
    out = []
    if x is not None:
        out.append(x)
    return out

def fg(x: Optional[torch.Tensor]):
    if x is not None:
        out = []
        out.append(x)
        return out
    else:
        out = []
        return out

def fh(x: List[torch.Tensor]):
    out = []
    for t in x:
        out.append(t)
    return torch.cat(out)

def fi(x: List[torch.Tensor]):
    out = []
    k = []
    for t in x:
        out.append(t)
        k.append(t + 1)
    return torch.cat(out), k

def fj(x: List[torch.Tensor]):
    out = []
    for t in x:
        if t.sum() > 2:
            out.append(t)
        else:
            out.append(t + 1)
    return torch.cat(out)

def fk(x: List[torch.Tensor]):
    out = []
    y = out
    for t in x:
        if t.sum() > 2:
            out.append(t)
        else:
            out.append(t + 1)
    return torch.cat(y)

def fl(x: List[torch.Tensor]):
    out = []
    for t in x:
        out += [t]
    return torch.cat(out)

def fm(x: List[torch.Tensor]):
    out = []
    out = out + x
    return torch.cat(out), torch.cat([])

def fn(x, n: int):
    out = []
    for i in range(n):
        out.append(x)
    return out, len(out)

def fo(x, n: int) -> List[torch.Tensor]:
    out = []
    return out

def fp(x, n: int):
    out = []
    return out, []
