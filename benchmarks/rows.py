"""The models that are measured: how each is made, and on what it is run.

Needs PyTorch; the image models come from torchvision, `silero_vad` from the package silero-vad.
Sizes and weights do not change from run to run: every row is made with the same seed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.row_names import IMAGE_MODELS, ROWS


@dataclass
class Model:
    """A module (or, for an archive that is shipped as such, a scripted one) and its arguments.
    `onnx`: a file to give to the peers that read ONNX instead of an export, and its inputs."""

    module: nn.Module
    inputs: tuple
    onnx: Path | None = None
    onnx_inputs: tuple = ()


class Cell(nn.Module):
    """The cell of PyTorch's TorchScript tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.linear(x) + h)
        return h, h


class Block(nn.Module):
    """GPT-2's block for one new token, with keys and values of the tokens before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        batch, new, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, new, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, new, width))
        x = x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return x, torch.stack([k, v])


class Decoder(nn.Module):
    """A stack of such blocks; the cache is [layer, key or value, batch, head, token, width]."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        grown = []
        for k, block in enumerate(self.blocks):
            x, kept = block(x, cache[k])
            grown.append(kept)
        return x, torch.stack(grown)


def _twice(inner: int, outer: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (inner, outer):
        layers += [nn.Conv2d(n, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Ronneberger et al. 2015, with padded convolutions, four levels, 32 channels at the top."""

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        sizes = [width << k for k in range(levels + 1)]
        self.first = _twice(3, width)
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip(sizes, sizes[1:]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(sizes, sizes[1:]))
        self.join = nn.ModuleList(_twice(2 * a, a) for a in sizes[:-1])
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.first(x)]
        for down in self.down:
            kept.append(down(F.max_pool2d(kept[-1], 2)))
        x = kept.pop()
        for up, join in zip(list(self.up)[::-1], list(self.join)[::-1]):
            x = join(torch.cat([kept.pop(), up(x)], 1))
        return self.last(x)


def _mlp(batch: int) -> Model:
    layers = (nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return Model(nn.Sequential(*layers), (torch.randn(batch, 64),))


def _recurrent(kind: type[nn.RNNBase]) -> Model:
    return Model(kind(128, 256), (torch.randn(64, 1, 128),))


def _encoder(tokens: int) -> Model:
    layer = nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", batch_first=True)
    return Model(nn.TransformerEncoder(layer, 6, enable_nested_tensor=False),
                 (torch.randn(1, tokens, 384),))


def _image(name: str, batch: int) -> Model:
    models = importlib.import_module("torchvision.models")
    module = getattr(models, name)(weights=None)
    for p in module.parameters():
        if p.ndim > 1 and not p.any():
            nn.init.normal_(p, std=0.02)  # a last layer that starts at zero would hide all errors
    return Model(module, (torch.randn(batch, 3, 224, 224),))


def _product(size: int) -> Model:
    return Model(nn.Linear(size, size, bias=False), (torch.randn(size, size),))


def _voice() -> Model:
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("silero_vad is not installed: pip install --no-deps silero-vad")
    folder = Path(spec.origin).parent / "data"
    x = torch.randn(1, 512) * 0.1
    # The exported graph takes what the archive keeps: 64 samples before these, and the state.
    onnx_inputs = (torch.cat([torch.zeros(1, 64), x], 1), torch.zeros(2, 1, 128))
    return Model(torch.jit.load(str(folder / "silero_vad.jit")), (x, 16000),
                 folder / "silero_vad_openvino_16k.onnx", onnx_inputs)


_MAKERS: dict[str, Callable[[int], Model]] = {
    "cell": lambda _: Model(Cell(), (torch.randn(3, 4), torch.randn(3, 4))),
    "mlp": _mlp,
    "lstm": lambda _: _recurrent(nn.LSTM),
    "gru": lambda _: _recurrent(nn.GRU),
    "encoder": _encoder,
    "gpt2_decode": lambda past: Model(
        Decoder(), (torch.randn(1, 1, 768), torch.randn(12, 2, 1, 12, past, 64))),
    "unet": lambda batch: Model(UNet(), (torch.randn(batch, 3, 256, 256),)),
    "silero_vad": lambda _: _voice(),
    "product": _product,
}


def make(name: str) -> Model:
    """The row's model, ready to run. ModuleNotFoundError where its package is missing."""
    kind, number = ROWS[name]
    torch.manual_seed(0)
    model = _image(kind, number) if kind in IMAGE_MODELS else _MAKERS[kind](number)
    model.module.eval()
    return model
