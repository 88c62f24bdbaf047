"""Loops, lists and writes that nothing reads. Compiled by PyTorch and by this project,
and compared (test_script_against_torch.py)."""
from typing import Dict, List, Optional, Tuple, Union

import torch


def fa(x, n: int):
    for i in range(n):
        y = x + 1
    return x

def fb(x, n: int):
    y: List[int] = []
    for i in range(n):
        y.append(i)
    return x

def fc(x, n: int):
    y = [0]
    for i in range(n):
        y[0] = i
    return x * 2

def fd(x, n: int):
    y = torch.zeros(3)
    for i in range(n):
        y[0] = i
    return x * 2

def fe(x, n: int):
    y = torch.zeros(3)
    if n > 3:
        y[0] = 1
    return x * 2

def ff(x, n: int):
    y = [1]
    if n > 3:
        y.append(1)
    return x * 2

def fg(x, n: int):
    y = [1]
    while n > 3:
        y.append(1)
        n -= 1
    return x * 2

def fh(x, n: int):
    y = [1]
    if n > 3:
        y.append(1)
    z = y + y
    return x * 2

def fi(x, n: int):
    y = [1]
    k = 0
    for i in range(n):
        y.append(1)
        if n > 6:
            k = k + 4
            break
    return x * 2

def fj(x, n: int):
    y = {1: 2}
    for i in range(n):
        y[i] = i
    return x * 2

def fk(x, n: int):
    z = 0
    y = [1]
    for i in range(n):
        y.append(i)
        z += 4
    return x * 2

def fl(x, n: int):
    y = [1]
    for i in range(n):
        for j in range(7):
            y.append(j)
    return x * 2

def fm(x, n: int):
    y = [1]
    for i in range(0, n, 2):
        y.append(i)
    return x * 2

def fn(x, n: int):
    y = [1]
    for i in range(n):
        z = [2]
        z.append(i)
    return x * 2

def fo(x, n: int):
    y = [1]
    for i in range(n):
        z = [2]
        z.append(i)
        if i > 3:
            continue
        x = x * 3
    return x * 2

def fp(x, n: int):
    y = [i + 2 for i in range(n)]
    z = [i + 3 for i in y]
    return x * 5

def fq(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = k + 4
            break
    return x * k

def fr(x, n: int):
    k = 0
    j = 0
    for i in range(n):
        if n > 6:
            k = k + 4
            break
        j = j + k
    return x * 2

def fs(x, n: int):
    k = 0
    j = 0
    for i in range(n):
        if n > 6:
            k = k + 4
    return x * 2

def ft(x, n: int):
    k = 0
    for i in range(n):
        if n > 6:
            k = k + 4
        if n > 7:
            k = k + 5
    return x * 2

def fu(x, n: int):
    k = 0
    for i in range(n):
        k = k + 4
        if n > 7:
            k = k + 5
    return x * 2

def fv(x, n: int):
    k = 0
    m = 1
    while m < 5:
        m = m + 1
        if n > 7:
            k = k + 5
        j = k
    return x * 2

def fw(x, n: int):
    if n > 4:
        a, b = 3, 4
    else:
        a, b = 5, 6
    return x * a

def fx(x, n: int):
    if n > 4:
        a, b = x + 1, x + 2
        c = 5
    else:
        a, b = x + 3, x + 4
        c = 5
    d = a
    return x * b

def fy(x, n: int):
    if n > 4:
        a, b = x + 1, x + 2
        c = 5
    else:
        a, b = x + 3, x + 4
        c = 5
        while c < n:
            c = c + 1
            a = a + x
            d = c + 4
    d = a
    return x * b

def fz(x, n: int):
    (1, (2, 3))
    1, 2, 3
    n + 1, (2, 3)
    [(1, 2)]
    return x * n

def f1(x, n: int):
    a, b = (1, 2), 3
    (c, d), e = (n, 3), n
    return x * n + e

def f2(x, n: int):
    a = 2 * 3 + 4
    b = -(5 + 1)
    c = (a, b)
    return x * n + b, c, (c, 5)
