"""Models as people write them. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
import math
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Attention(nn.Module):
    scale: float

    def __init__(self, dim: int = 8, heads: int = 2, dropout: float = 0.1):
        super().__init__()
        self.heads = heads
        self.dim = dim
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, dim * 3, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attn = (q @ k.transpose(-2, -1)) * self.scale
        if mask is not None:
            attn = attn.masked_fill(mask == 0, float("-inf"))
        attn = attn.softmax(dim=-1)
        attn = self.drop(attn)
        x = (attn @ v).transpose(1, 2).reshape(B, N, C)
        return self.proj(x)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = Attention()
        self.norm1 = nn.LayerNorm(8)
        self.norm2 = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))

    def forward(self, x: Tensor, mask: Optional[Tensor] = None):
        x = x + self.attn(self.norm1(x), mask)
        x = x + self.mlp(self.norm2(x))
        return x


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int = 8, max_len: int = 16):
        super().__init__()
        self.dropout = nn.Dropout(p=0.1)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pe[:x.size(0)]
        return self.dropout(x)


class Positional(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos = PositionalEncoding()
        self.emb = nn.Embedding(10, 8)
        self.d = 8

    def forward(self, src: Tensor) -> Tensor:
        return self.pos(self.emb(src) * math.sqrt(self.d))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1,
                 downsample: Optional[nn.Module] = None):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        out = self.relu(out)
        return out


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make(4, 4, 2, 1)
        self.layer2 = self._make(4, 8, 2, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, 10)

    def _make(self, inp: int, out: int, n: int, stride: int) -> nn.Sequential:
        down = None
        if stride != 1 or inp != out:
            down = nn.Sequential(nn.Conv2d(inp, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        layers = [BasicBlock(inp, out, stride, down)]
        for _ in range(1, n):
            layers.append(BasicBlock(out, out))
        return nn.Sequential(*layers)

    def _forward_impl(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.relu(x)
        x = self.maxpool(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict()
        for i in range(3):
            self.layers["denselayer%d" % (i + 1)] = nn.Conv2d(2 + i * 2, 2, 1)

    def forward(self, init: Tensor) -> Tensor:
        features = [init]
        for name, layer in self.layers.items():
            new = layer(torch.cat(features, 1))
            features.append(new)
        return torch.cat(features, 1)


class Greedy(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(7, 4)
        self.cell = nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 7)

    def forward(self, hidden: Tensor, max_len: int = 5) -> Tuple[Tensor, List[int]]:
        tokens: List[int] = []
        token = torch.zeros([1], dtype=torch.long)
        logits = torch.jit.annotate(List[Tensor], [])
        for _i in range(max_len):
            hidden = self.cell(self.emb(token), hidden)
            y = self.out(hidden)
            token = y.argmax(1)
            logits.append(y)
            tokens.append(int(token.item()))
            if tokens[-1] == 3:
                break
        return torch.stack(logits), tokens


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 2, 2, stride=2)])
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x):
        skips = []
        for i, conv in enumerate(self.down):
            x = F.relu(conv(x))
            if i < len(self.down) - 1:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for up in self.up:
            x = up(x)
            skip = skips.pop()
            if x.shape[2:] != skip.shape[2:]:
                x = F.interpolate(x, size=skip.shape[2:], mode="nearest")
            x = torch.cat([skip, x], dim=1)
        return torch.sigmoid(self.last(x))


class Stateful(nn.Module):
    count: int
    history: List[Tensor]

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.count = 0
        self.history = []
        self.momentum = 0.9

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        if self.training:
            self.mean = self.mean * self.momentum + x.mean(0) * (1 - self.momentum)
            self.count += 1
            self.history.append(x)
        out = {"x": x - self.mean}
        if self.count > 3:
            out["n"] = torch.tensor(self.count)
        return out

    @torch.jit.export
    def reset(self) -> None:
        self.count = 0
        self.history = []


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Linear(4, 4)
        self.mu = nn.Linear(4, 2)
        self.logvar = nn.Linear(4, 2)
        self.dec = nn.Linear(2, 4)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def encode(self, x):
        h = F.relu(self.enc(x))
        return self.mu(h), self.logvar(h)

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 4))
        z = self.reparameterize(mu, logvar)
        return torch.sigmoid(self.dec(z)), mu, logvar


class MoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        weights = F.softmax(self.gate(x), dim=-1)
        top, idx = weights.topk(2, dim=-1)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            hit = (idx == i).any(dim=-1)
            if hit.any():
                out[hit] += expert(x[hit]) * weights[hit, i].unsqueeze(-1)
        return out


class Config(nn.Module):
    __constants__ = ["kinds", "size"]

    def __init__(self):
        super().__init__()
        self.kinds = ["a", "b"]
        self.size = (2, 3)
        self.table = {"a": 1.5, "b": 2.5}

    def forward(self, x: Tensor, kind: str = "a") -> Tensor:
        if kind not in self.table:
            raise KeyError("no such kind: " + kind)
        h, w = self.size
        y = x.new_zeros((h, w))
        y[0, :] = self.table[kind]
        y[1:, ::2] += 1
        for k, v in self.table.items():
            if k == kind:
                continue
            y = y + v
        return y.view(-1) @ torch.ones(h * w)


class LstmLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(3, 4), nn.LSTMCell(4, 4)])

    def forward(self, xs: Tensor, state: Optional[List[Tuple[Tensor, Tensor]]] = None):
        if state is None:
            state = [(torch.zeros(xs.size(1), 4), torch.zeros(xs.size(1), 4)) for _ in range(2)]
        outs = []
        for x in xs:
            new: List[Tuple[Tensor, Tensor]] = []
            for i, cell in enumerate(self.cells):
                h, c = cell(x, state[i])
                x = h
                new.append((h, c))
            state = new
            outs.append(x)
        return torch.stack(outs), state


MODULES = [Block, Positional, ResNet, Dense, Greedy, UNet, Stateful, Vae, MoE, Config, LstmLoop]
