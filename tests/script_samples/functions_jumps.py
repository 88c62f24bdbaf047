"""Variables on the paths that break, continue and return. Compiled by PyTorch and by this project,
and compared (test_script_against_torch.py)."""
from typing import Dict, List, Optional, Tuple, Union

import torch


def fa(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = k + 4
            break
    return x * k

def fb(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
            break
    return x * k

def fc(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
            break
        k = 5
    return x * k

def fd(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
            continue
    return x * k

def fe(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
            continue
        else:
            k = 5
    return x * k

def ff(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
        else:
            break
    return x * k

def fg(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = 4
        else:
            if n > 8:
                break
    return x * k

def fh(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            if n > 8:
                k = 4
                break
    return x * k

def fi(x, n: int):
    k = 0
    if n > 6:
        k = 4
        return x
    return x * k

def fj(x, n: int):
    k = 0
    for i in range(n):
        k = 5
        if n > 6:
            k = 4
            break
    return x * k

def fk(x, n: int):
    k = 0
    for i in range(n):
        k = k + 2
        if n > 6:
            k = 4
            break
    return x * k

def fl(x, n: int):
    k = 0
    while k < n:
        if n > 6:
            k = k + 1
            break
    return x * k

def fm(x, n: int):
    k = 0
    while k < n:
        if n > 6:
            k = k + 1
            return x
    return x * k

def fn(x, n: int):
    k = 0
    while k < n:
        if n > 6:
            k = k + 1
        else:
            return x
    return x * k

def fo(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            break
        else:
            y = i
        k = k + y
    return x * k

def fp(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            continue
        else:
            y = i
        k = k + y
    return x * k

def fq(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            return x
        else:
            y = i
        k = k + y
    return x * k

def fr(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            y = 4
            break
        else:
            y = i
        k = k + y
    return x * k

def fs(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            y = 4
            break
        else:
            z = i
        k = k + 1
    return x * k

def ft(x, n: int):
    k = 0
    for i in range(n):
        if i > 3:
            y = 4
            break
        else:
            y = 'a'
        k = k + 1
    return x * k

def fu(x, n: int, o: Optional[int]):
    k = 0
    for i in range(n):
        if o is None:
            break
        k = k + o
    return x * k

def fv(x, n: int):
    k = 0
    for i in range(n):
        break
        x = x + 6
    for i in range(n):
        k = k + 4
        continue
        x = x + 6
    return x * k

def fw(x, n: int):
    k = 0
    for i in range(n):
        if i > 4:
            k = k + 4
            break
        else:
            k = k + 5
            continue
        x = x + 6
    return x * k

def fx(x, n: int):
    k = 0
    for i in range(n):
        if i > 4:
            k = k + 4
            break
        else:
            return x
        x = x + 6
    return x * k

def fy(x, n: int):
    k = 0
    for i in range(n):
        if i > 4:
            k = k
        x = x + 6
    y = x
    while k < n:
        y = y
        k = k + 1
    return x * k + y
