"""hasattr, getattr, inheritance, dicts, Optional state, static methods, exports. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from torch import nn
from typing import List, Optional, Dict, Tuple
class A(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = 3
    def forward(self, x):
        if hasattr(self, "x"):
            x = x + getattr(self, "x")
        if hasattr(self, "nope"):
            x = x + self.nope
        if not torch.jit.is_scripting():
            x = x.numpy()
        return x
class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(2, 2)
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.impl(x)
    def impl(self, x: torch.Tensor) -> torch.Tensor:
        return self.l(x)
class B(Base):
    def impl(self, x: torch.Tensor) -> torch.Tensor:
        y = self.l(x)
        y += x
        return y
class C(nn.Module):
    def __init__(self):
        super().__init__()
        self.d = {"a": 1, "b": 2}
        self.t = (1, "x")
        self.o: Optional[int] = None
        self.ls = ["a", "b"]
    def forward(self, x, k: str):
        o = self.o
        if o is not None:
            x = x + o
        return x * self.d[k] + self.t[0] + len(self.ls)
class D(nn.Module):
    o: Optional[torch.Tensor]
    names: List[str]
    cache: Dict[str, torch.Tensor]
    def __init__(self):
        super().__init__()
        self.o = None
        self.names = []
        self.cache = {}
    def forward(self, x):
        o = self.o
        if o is None:
            self.o = x
        else:
            self.o = o + x
        self.cache["k"] = x
        self.names.append("k")
        return x
    @torch.jit.export
    def reset(self):
        self.o = None
    @staticmethod
    def st(x: int) -> int:
        return x * 2
class E(nn.Module):
    def __init__(self, down):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.down = down
    def forward(self, x):
        identity = x
        out = self.conv(x)
        if self.down is not None:
            identity = self.down(x)
        out += identity
        return D.st(3) * out
class G(nn.Module):
    def forward(self, x: torch.Tensor, mask: Optional[torch.Tensor] = None) -> Tuple[torch.Tensor, Optional[torch.Tensor]]:
        if mask is not None and mask.dim() == 2:
            mask = mask.unsqueeze(0)
        for _ in range(2):
            x = x * 2
        return x, mask
    @torch.jit.ignore
    def host(self, x: torch.Tensor) -> int:
        return 3
class H(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = G()
    def forward(self, x):
        y, m = self.g(x, None)
        a = torch.jit.annotate(List[torch.Tensor], [])
        a += [y]
        return a, self.g(x)[0], self.g(x, mask=x)
def residual():
    return E(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)))
MODULES=[A,Base,B,C,D,lambda:E(None),residual,G,H]
