"""Slices of module lists. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
import torch
from torch import nn
class A(nn.Module):
    def __init__(self):
        super().__init__()
        self.ml = nn.ModuleList([nn.Identity(), nn.ReLU(), nn.Tanh()])
    def forward(self, x):
        for l in self.ml[1:]:
            x = l.forward(x)
        return x
class B(A):
    def forward(self, x):
        for l in self.ml:
            x = l(x)
        y = self.ml[0:2]
        return x * 3
class C(A):
    def forward(self, x):
        for l in self.ml[::-1]:
            x = l.forward(x + 4)
        return x
class D(A):
    def forward(self, x):
        for i, l in enumerate(self.ml[:2]):
            x = l.forward(x + 4) + i
        return x
class E(A):
    def forward(self, x):
        for l, m in zip(self.ml[:2], self.ml[1:]):
            x = l.forward(x + 4) + m.forward(x)
        return x
MODULES=[A,B,C,D,E]
