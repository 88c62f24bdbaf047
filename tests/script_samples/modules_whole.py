"""Interfaces, state, recurrent cells, many layers, hooks. Compiled by PyTorch and by this project, and compared (test_script_against_torch.py)."""
import torch
from torch import nn
import torch.nn.functional as F
from typing import List, Optional, Dict, Tuple
@torch.jit.interface
class OneOp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass
class Add1(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1
class Mul2(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2
class UsesInterface(nn.Module):
    op: OneOp
    def __init__(self):
        super().__init__()
        self.op = Add1()
    def forward(self, x):
        return self.op.forward(x)
class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))
        self.hist: List[int] = [1]
    def forward(self, x):
        self.count += 1
        self.hist.append(x.size(0))
        return x + self.count
class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 3)
        self.emb = nn.Embedding(5, 3)
    def forward(self, ids, h: Optional[torch.Tensor] = None):
        if h is None:
            h = torch.zeros(1, 3)
        outs: List[torch.Tensor] = []
        for i in range(ids.size(0)):
            h = self.cell(self.emb(ids[i]).unsqueeze(0), h)
            outs.append(h)
        return torch.stack(outs), h
class Many(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.p = nn.AdaptiveAvgPool2d((1, 1))
        self.f = nn.Flatten()
        self.l = nn.Linear(4, 2)
        self.ln = nn.LayerNorm(2)
        self.act = nn.GELU()
        self.s = nn.Softmax(dim=1)
        self.d = nn.Dropout()
        self.sg = nn.Sigmoid()
        self.t = nn.Tanh()
        self.i = nn.Identity()
        self.gn = nn.GroupNorm(2, 4)
        self.mp = nn.MaxPool2d(2, stride=1)
        self.ap = nn.AvgPool2d(2)
        self.lr = nn.LeakyReLU(0.1)
        self.hs = nn.Hardswish()
        self.si = nn.SiLU()
        self.el = nn.ELU()
        self.r6 = nn.ReLU6()
        self.up = nn.Upsample(scale_factor=2.0)
    def forward(self, x):
        x = self.gn(self.a(x))
        x = self.ap(self.mp(x))
        x = self.lr(self.hs(self.si(self.el(self.r6(x)))))
        x = self.l(self.f(self.p(x)))
        return self.s(self.act(self.ln(self.i(self.t(self.sg(self.d(x)))))))
class Fn(nn.Module):
    def __init__(self):
        super().__init__()
        self.fn = F.relu
        self.bn = torch.tanh
    def forward(self, x):
        return self.bn(self.fn(x)) + F.softmax(x, dim=-1) + F.dropout(x, 0.1, self.training)
class Opt(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.down = nn.Linear(3, 3) if p else None
        self.n = 2
    def forward(self, x):
        y = x
        if self.down is not None:
            y = self.down(x)
        return x + y * self.n
    @torch.jit.export
    def set_n(self, n: int):
        self.n = n
def hook(self, inp: Tuple[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
    return out * 2
def pre(self, inp: Tuple[torch.Tensor]) -> Tuple[torch.Tensor]:
    return inp
class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(3, 3)
        self.l.register_forward_hook(hook)
        self.l.register_forward_pre_hook(pre)
    def forward(self, x):
        return self.l(x)
class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.norms = nn.ModuleList([nn.LayerNorm(3) for _ in range(3)])
        self.w = nn.Parameter(torch.ones(3))
    def forward(self, x: torch.Tensor, flag: bool = False) -> Tuple[torch.Tensor, List[torch.Tensor]]:
        outs: List[torch.Tensor] = []
        for i, (l, n) in enumerate(zip(self.layers, self.norms)):
            x = n(l(x)) * self.w
            if flag and i == 1:
                x = F.relu(x)
            outs.append(x)
        return x, outs
MODULES=[UsesInterface,Stateful,Gru,Many,Fn,lambda:Opt(True),lambda:Opt(False),Hooked,Loop]
