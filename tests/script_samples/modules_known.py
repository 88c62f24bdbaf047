"""What is known while compiling: constants of modules, conditions of them, warnings. Compiled by
PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from torch import nn
from typing import List
import warnings
class A(nn.Module):
    __constants__ = ["p", "mode", "flag"]
    def __init__(s):
        super().__init__(); s.p = (1, 2); s.mode = "zeros"; s.flag = True; s.weight = None
    def forward(self, x):
        assert isinstance(self.p, tuple)
        return x * 3
class B(A):
    def forward(self, x):
        if self.mode != "zeros":
            raise ValueError("no")
        return x * 3
class C(A):
    def forward(self, x):
        """doc"""
        return x * 3
class D(A):
    def forward(self, x):
        if x.dim() == 2:
            warnings.warn(f"a {x}", stacklevel=2)
        return x * 3
class E(A):
    def forward(self, x):
        if x.dim() == 2:
            if self.flag:
                raise ValueError("no")
            else:
                warnings.warn(f"a {x}", stacklevel=2)
        return x * 3
class F(A):
    def forward(self, x):
        if x.dim() == 2:
            return x
        if self.training:
            a = True
        else:
            a = self.weight is None and self.weight is None
        return x * a
class G(A):
    def forward(self, x):
        return torch.relu(x) if not self.training or self.flag else x
class H(A):
    def forward(self, x, p: str = "a"):
        return x * 3
class I(A):
    def forward(self, x):
        return F_(x, self.training or not self.flag, 3)
class J(A):
    def forward(self, x):
        return F_(x, self.training or self.flag, 3)
class K(A):
    def forward(self, x):
        if self.training and self.flag:
            y = 1.0 / float(x.sum())
        else:
            y = 2.0
        return x * y * 4
class L(A):
    def forward(self, x):
        if self.flag and self.training:
            y = 1.0 / float(x.sum())
        else:
            y = 2.0
        return x * y * 4
class M(A):
    def forward(self, x):
        a = self.training and self.flag
        b = self.flag or self.training
        c = not self.flag or self.training
        d = self.training or not self.flag
        return x * 4, a, b, c, d
def F_(x, b: bool, n: int):
    return x * n
MODULES=[A,B,C,D,E,F,G,H,I,J,K,L,M]
