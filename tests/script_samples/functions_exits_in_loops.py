"""Jumps in counted loops. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
def f6(x, n: int):
    if n > 2:
        return x
    y = x + 1
    return y
def f7(x, n: int):
    if n > 2:
        return x
    x = x * 2
    return x
def f8(n: int):
    m = n
    for i in range(n):
        if i == 3:
            break
        if i == 1:
            continue
        m = m * 2
    return m
def f9(n: int):
    m = n
    for i in range(n):
        if i == 3:
            break
        if i == 1:
            break
        m = m * 2
    return m
def f10(n: int):
    m = n
    for i in range(n):
        if i == 3:
            continue
        m = m * 2
    return m
