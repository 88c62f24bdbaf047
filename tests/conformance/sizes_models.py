"""Models of sequences, and a U-Net, whose sizes each call decides: what sizes_table.py measures beside
torchvision's convolution nets."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, WORDS = 256, 4, 1000


class Attention(nn.Module):
    """Self-attention, of the words so far where keys and values of earlier ones are given."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x, mask=None, past=None):
        n, t, _ = x.shape
        q, k, v = self.into(x).view(n, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v, mask)
        return self.out(y.transpose(1, 2).reshape(n, t, WIDTH)), torch.stack([k, v])


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.first, self.second = Attention(), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.wide = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x, mask=None, past=None):
        y, kept = self.attention(self.first(x), mask, past)
        x = x + y
        return x + self.wide(self.second(x)), kept


class Encoder(nn.Module):
    """Words to vectors, both ways (BERT's shape): ids [n, t]; 0 pads."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(512, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def forward(self, ids):
        x = self.words(ids) + self.places(torch.arange(ids.size(1)))
        mask = (ids != 0)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)[0]
        return x


class Decoder(nn.Module):
    """One word more (GPT's shape): ids [n, 1], keys and values of the words so far
    [layers, 2, n, heads, t, width / heads]; also those of all words now."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layers = nn.Embedding(WORDS, WIDTH), nn.ModuleList(Layer() for _ in range(3))

    def forward(self, ids, past):
        x, kept = self.words(ids), []
        for layer, before in zip(self.layers, past.unbind(0)):
            x, now = layer(x, None, before)
            kept.append(now)
        return x @ self.words.weight.t(), torch.stack(kept)


class Recurrent(nn.Module):
    def __init__(self, kind: type, **options: Any) -> None:
        super().__init__()
        self.layers = kind(128, 192, batch_first=True, **options)

    def forward(self, x):
        return self.layers(x)[0]


def _twice(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(made, made, 3, padding=1), nn.ReLU())


class UNet(nn.Module):
    """Images to images (Ronneberger et al. 2015)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip([3, *widths], widths))
        self.middle = _twice(4 * width, 8 * width)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in reversed(widths))
        self.join = nn.ModuleList(_twice(2 * n, n) for n in reversed(widths))
        self.out = nn.Conv2d(width, 5, 1)

    def forward(self, x):
        kept = []
        for layer in self.down:
            kept.append(layer(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.middle(x)
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([up(x), kept.pop()], 1))
        return self.out(x)


def words(n: int, t: int) -> torch.Tensor:
    ids = torch.randint(1, WORDS, (n, t))
    ids[:, t - t // 4:] = 0
    return ids


def _step(n: int, t: int) -> tuple[torch.Tensor, ...]:
    return torch.randint(0, WORDS, (n, 1)), torch.randn(3, 2, n, HEADS, t, WIDTH // HEADS)


# name -> the model, the inputs' text, what draws inputs of given sizes, sizes (those of the fixed
# artifact first), how much slower than that one it may be.
MODELS = {
    "encoder": (Encoder, ["ids:i64[N,T]"], lambda n, t: (words(n, t),),
                [(2, 100), (1, 1), (3, 17), (1, 128), (5, 33), (1, 300)], 1.3),
    "decoder": (Decoder, ["ids:i64[1,1]", f"past:f32[3,2,1,{HEADS},T,{WIDTH // HEADS}]"], _step,
                [(1, 200), (1, 1), (1, 17), (1, 128), (1, 33)], 2.0),
    "lstm": (lambda: Recurrent(nn.LSTM), ["x:f32[2,T,128]"], lambda t: (torch.randn(2, t, 128),),
             [(40,), (1,), (7,), (100,)], 1.3),
    "gru, two ways": (lambda: Recurrent(nn.GRU, bidirectional=True, num_layers=2),
                      ["x:f32[N,T,128]"], lambda n, t: (torch.randn(n, t, 128),),
                      [(1, 40), (2, 1), (3, 7), (1, 100)], 2.0),
    "unet": (UNet, ["x:f32[N,3,H%8==0,W%8==0]"], lambda n, h, w: (torch.randn(n, 3, h, w),),
             [(1, 128, 160), (2, 8, 16), (1, 64, 200), (3, 32, 32)], 1.5),
}
