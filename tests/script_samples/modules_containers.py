"""ModuleList, ModuleDict: loops, items, slices. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from torch import nn
class A(nn.Module):
    def __init__(self):
        super().__init__()
        self.ml = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.md = nn.ModuleDict({"a": nn.Identity(), "b": nn.ReLU()})
    def forward(self, x):
        for l in self.ml:
            x = l(x)
        return x * 7
class B(A):
    def forward(self, x):
        for i, l in enumerate(self.ml):
            x = l(x) + i
        return x * 7
class C(A):
    def forward(self, x):
        for k, l in self.md.items():
            x = l(x)
        return x * 7
class D(A):
    def forward(self, x):
        return self.md["a"](x * 6) * 7
class E(A):
    def forward(self, x):
        return self.ml[0](x * 6) * 7 + self.ml[-1](x)
class F(A):
    def forward(self, x):
        for l, m in zip(self.ml, self.ml):
            x = l(m(x))
        return x * 7
class G(A):
    def forward(self, x):
        for l in self.md.values():
            x = l(x)
        for m in self.ml[1:]:
            x = m.forward(x)
        for k in self.md:
            print(k)
        return x * 7
MODULES=[A,B,C,D,E,F,G]
