"""Algorithms on tensors and lists. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
from typing import List, Tuple

import torch
from torch import Tensor


def fa(boxes1: Tensor, boxes2: Tensor) -> Tuple[Tensor, Tensor]:
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    lt = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    rb = torch.min(boxes1[:, None, 2:], boxes2[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[:, :, 0] * wh[:, :, 1]
    union = area1[:, None] + area2 - inter
    return inter / union, union


def fb(boxes: Tensor, scores: Tensor, threshold: float = 0.5) -> Tensor:
    order = scores.argsort(descending=True)
    keep: List[int] = []
    while order.numel() > 0:
        i = int(order[0])
        keep.append(i)
        if order.numel() == 1:
            break
        iou, _ = fa(boxes[i].unsqueeze(0), boxes[order[1:]])
        mask = iou[0] <= threshold
        order = order[1:][mask]
    return torch.tensor(keep)


def fc(emissions: Tensor, trans: Tensor) -> Tuple[Tensor, List[int]]:
    T, K = emissions.shape[0], emissions.shape[1]
    score = emissions[0]
    back: List[Tensor] = []
    for t in range(1, T):
        m, best = (score.unsqueeze(1) + trans).max(0)
        score = m + emissions[t]
        back.append(best)
    last = int(score.argmax())
    path = [last]
    for b in back[::-1]:
        last = int(b[last])
        path.append(last)
    path.reverse()
    assert len(path) == T, f"{len(path)} != {T}"
    return score.max(), path


def fd(logp: Tensor, width: int = 3) -> List[Tuple[List[int], float]]:
    beams: List[Tuple[List[int], float]] = [([0], 0.0)]
    for t in range(logp.size(0)):
        candidates: List[Tuple[List[int], float]] = []
        for seq, score in beams:
            for k in range(logp.size(1)):
                candidates.append((seq + [k], score + float(logp[t][k])))
        best: List[Tuple[List[int], float]] = []
        while len(best) < width and len(candidates) > 0:
            j = 0
            for i in range(len(candidates)):
                if candidates[i][1] > candidates[j][1]:
                    j = i
            best.append(candidates.pop(j))
        beams = best
    return beams
