"""More models as people write them. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Out(NamedTuple):
    logits: Tensor
    aux: Optional[Tensor]


class Inception(nn.Module):
    __constants__ = ["aux_logits", "transform_input"]

    def __init__(self):
        super().__init__()
        self.aux_logits = True
        self.transform_input = True
        self.conv = nn.Conv2d(3, 4, 1)
        self.b1 = nn.Conv2d(4, 2, 1)
        self.b2 = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU())
        self.aux = nn.Linear(4, 5)
        self.fc = nn.Linear(4, 5)

    def _transform_input(self, x: Tensor) -> Tensor:
        if self.transform_input:
            x_ch0 = torch.unsqueeze(x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
            x_ch1 = torch.unsqueeze(x[:, 1], 1) * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
            x_ch2 = torch.unsqueeze(x[:, 2], 1) * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
            x = torch.cat((x_ch0, x_ch1, x_ch2), 1)
        return x

    def _forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        x = self.conv(x)
        aux: Optional[Tensor] = None
        if self.aux is not None:
            if self.training:
                aux = self.aux(x.mean([2, 3]))
        x = torch.cat([self.b1(x), self.b2(x)], 1)
        x = F.adaptive_avg_pool2d(x, (1, 1)).flatten(1)
        return self.fc(x), aux

    @torch.jit.unused
    def eager_outputs(self, x: Tensor, aux: Optional[Tensor]) -> Out:
        return Out(x, aux)

    def forward(self, x: Tensor) -> Out:
        x = self._transform_input(x)
        x, aux = self._forward(x)
        aux_defined = self.training and self.aux_logits
        if torch.jit.is_scripting():
            if not aux_defined:
                pass
            return Out(x, aux)
        else:
            return self.eager_outputs(x, aux)


class SqueezeExcite(nn.Module):
    def __init__(self, activation: Callable[..., nn.Module] = nn.ReLU):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(4, 2, 1)
        self.fc2 = nn.Conv2d(2, 4, 1)
        self.activation = activation()
        self.scale_activation = nn.Hardsigmoid()

    def _scale(self, input: Tensor) -> Tensor:
        scale = self.avgpool(input)
        scale = self.fc1(scale)
        scale = self.activation(scale)
        scale = self.fc2(scale)
        return self.scale_activation(scale)

    def forward(self, input: Tensor) -> Tensor:
        scale = self._scale(input)
        return scale * input


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batchsize, num_channels, height, width = x.size()
    channels_per_group = num_channels // groups
    x = x.view(batchsize, groups, channels_per_group, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    x = x.view(batchsize, num_channels, height, width)
    return x


class Shuffle(nn.Module):
    def __init__(self, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.branch1 = nn.Sequential()
        self.branch2 = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            out = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        out = channel_shuffle(out, 2)
        return out


class FeatureExtractor(nn.Module):
    return_layers: Dict[str, str]

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"l1": nn.Conv2d(3, 4, 1), "l2": nn.ReLU()})
        self.return_layers = {"l1": "out", "l2": "aux"}

    def forward(self, x: Tensor) -> Dict[str, Tensor]:
        out: Dict[str, Tensor] = {}
        for name, module in self.layers.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        result: Dict[str, Tensor] = {}
        for k in sorted(out.keys()):
            result[k] = F.interpolate(out[k], size=(8, 8), mode="bilinear", align_corners=False)
        return result


class Anchors(nn.Module):
    __annotations__ = {"cell_anchors": List[torch.Tensor]}

    def __init__(self):
        super().__init__()
        self.sizes = ((32, 64), (128, 256))
        self.aspect_ratios = ((0.5, 1.0), (0.5, 1.0))
        self.cell_anchors = [self.generate(s, a) for s, a in zip(self.sizes, self.aspect_ratios)]

    def generate(self, scales: List[int], aspect_ratios: List[float]) -> Tensor:
        s = torch.as_tensor(scales, dtype=torch.float32)
        r = torch.as_tensor(aspect_ratios, dtype=torch.float32)
        h = torch.sqrt(r)
        w = 1 / h
        ws = (w[:, None] * s[None, :]).view(-1)
        hs = (h[:, None] * s[None, :]).view(-1)
        return (torch.stack([-ws, -hs, ws, hs], dim=1) / 2).round()

    def num_anchors_per_location(self) -> List[int]:
        return [len(s) * len(a) for s, a in zip(self.sizes, self.aspect_ratios)]

    def grid(self, grid_sizes: List[List[int]], strides: List[List[Tensor]]) -> List[Tensor]:
        anchors = []
        cell = self.cell_anchors
        torch._assert(cell is not None, "cell_anchors should not be None")
        torch._assert(len(grid_sizes) == len(strides) == len(cell), "lengths differ")
        for size, stride, base in zip(grid_sizes, strides, cell):
            gh, gw = size
            sh, sw = stride
            sx = torch.arange(0, gw, dtype=torch.int32) * sw
            sy = torch.arange(0, gh, dtype=torch.int32) * sh
            yy, xx = torch.meshgrid(sy, sx, indexing="ij")
            xx = xx.reshape(-1)
            yy = yy.reshape(-1)
            shifts = torch.stack((xx, yy, xx, yy), dim=1)
            anchors.append((shifts.view(-1, 1, 4) + base.view(1, -1, 4)).reshape(-1, 4))
        return anchors

    def forward(self, images: Tensor, maps: List[Tensor]) -> List[Tensor]:
        grid_sizes = [m.shape[-2:] for m in maps]
        size = images.shape[-2:]
        dtype, device = maps[0].dtype, maps[0].device
        strides = [
            [torch.empty((), dtype=torch.int64, device=device).fill_(size[0] // g[0]),
             torch.empty((), dtype=torch.int64, device=device).fill_(size[1] // g[1])]
            for g in grid_sizes
        ]
        return self.grid(grid_sizes, strides)


MODULES = [Inception, SqueezeExcite, Shuffle, FeatureExtractor, Anchors]
