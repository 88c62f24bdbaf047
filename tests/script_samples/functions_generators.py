"""Generators in calls. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import List

import torch


def fa(xs: List[int]):
    return sum(x * 2 for x in xs), any(x > 2 for x in xs), [y for y in (x for x in xs)]


def fb(x):
    return torch.stack([y + 1 for y in x]), torch.cat(list(y for y in [x, x]))
