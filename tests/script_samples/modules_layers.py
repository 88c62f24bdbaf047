"""Attributes, methods, exports, layers. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from torch import nn
import torch.nn.functional as F
from typing import *
from typing_extensions import Final
class Lin(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(3, 4)
        self.w = nn.Parameter(torch.zeros(3))
        self.register_buffer("b", torch.ones(3))
        self.k = 3
        self.s = "hi"
    def forward(self, x):
        return self.l(x) * self.k + self.helper(x)
    def helper(self, x):
        if self.training:
            x = x + self.b
        return x * self.w.sum()
class Seq(nn.Module):
    k: Final[int]
    __constants__ = ["m"]
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
        self.ml = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.md = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.ReLU()})
        self.k = 2
        self.m = 4
        self.lst = [1, 2]
        self.none = None
    def forward(self, x):
        x = self.seq(x)
        for l in self.ml:
            x = l(x)
        for i, l in enumerate(self.ml):
            x = l(x) + i
        for k, v in self.md.items():
            x = v(x)
        x = self.ml[0](x)
        x = self.md["a"](x)
        if self.none is not None:
            x = x * self.none
        return x * self.k + self.m + len(self.ml) + self.lst[0]
class Exp(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = 0
    def forward(self, x):
        self.n += 1
        return x
    @torch.jit.export
    def other(self, y: int) -> int:
        return y + self.n
    @torch.jit.ignore
    def ign(self, x):
        return x.numpy()
    @torch.jit.unused
    def unu(self, x):
        return x.numpy()
    @property
    def prop(self) -> int:
        return self.n
class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.pool = nn.MaxPool2d(2)
    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x)
        x = F.relu(x)
        x = self.pool(x)
        return self.drop(x)
MODULES = [lambda: Lin(), lambda: Seq(), lambda: Exp(), lambda: Cnn()]
