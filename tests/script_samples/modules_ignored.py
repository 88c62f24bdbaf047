"""Methods that are not compiled. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
import torch
from torch import nn
class A(nn.Module):
    @torch.jit.ignore
    def kept(self, x: torch.Tensor) -> int:
        return 4
    def forward(self, x):
        return x * self.kept(x)
class B(nn.Module):
    @torch.jit.unused
    def never(self, x: torch.Tensor) -> int:
        return 4
    def forward(self, x):
        return x * self.never(x)
class C(A):
    def forward(self, x):
        if x.dim() > 2:
            self.kept(x)
        return x * 2 * self.kept(x=x)
class D(B):
    def forward(self, x):
        if x.sum() > 100:
            y = self.never(x)
        else:
            y = 3
        return x * y
MODULES=[A,B,C,D]
