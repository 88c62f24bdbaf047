"""Functions of models. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def fa(x, drop_prob: float = 0., training: bool = False, scale_by_keep: bool = True):
    if drop_prob == 0. or not training:
        return x
    keep_prob = 1 - drop_prob
    shape = (x.shape[0],) + (1,) * 3
    random_tensor = x.new_empty([x.shape[0], 1, 1, 1]).bernoulli_(keep_prob)
    if keep_prob > 0.0 and scale_by_keep:
        random_tensor.div_(keep_prob)
    return x * random_tensor


def fb(x: Tensor, window_size: List[int]) -> Tensor:
    B, H, W, C = x.shape
    pad_r = (window_size[1] - W % window_size[1]) % window_size[1]
    pad_b = (window_size[0] - H % window_size[0]) % window_size[0]
    x = F.pad(x, (0, 0, 0, pad_r, 0, pad_b))
    _, pad_H, pad_W, _ = x.shape
    shift = window_size.copy()
    if window_size[0] >= pad_H:
        shift[0] = 0
    if sum(shift) > 0:
        x = torch.roll(x, shifts=(-shift[0], -shift[1]), dims=(1, 2))
    num_windows = (pad_H // window_size[0]) * (pad_W // window_size[1])
    x = x.view(B, pad_H // window_size[0], window_size[0], pad_W // window_size[1], window_size[1],
               C)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(B * num_windows, window_size[0] * window_size[1], C)
    attn_mask = x.new_zeros((pad_H, pad_W))
    h_slices = ((0, -window_size[0]), (-window_size[0], -shift[0]), (-shift[0], None))
    count = 0
    for h in h_slices:
        attn_mask[h[0]:h[1]] = count
        count += 1
    return x


def fc(reference: List[Tensor],
       weights: Tuple[float, float, float, float] = (1.0, 1.0, 2.0, 2.0)) -> List[Tensor]:
    per_image = [len(b) for b in reference]
    ref = torch.cat(reference, dim=0)
    wx, wy, ww, wh = weights
    ex = ref[:, 0].unsqueeze(1)
    dx = wx * (ex - 1) / 2
    dw = ww * torch.log(ex / ww + 1)
    targets = torch.cat((dx, dw), dim=1)
    return list(targets.split(per_image, 0))
