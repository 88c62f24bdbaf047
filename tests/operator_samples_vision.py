"""Sample inputs for torchvision's operators. Only their reference needs torchvision; the tests that
do without are in test_detection_operators.py."""

from __future__ import annotations

import torch

from tests.operator_samples import own
from tests.opinfo_harness import Sample

FLOATS = (torch.float32, torch.float64)


def _boxes(n: int, dtype: torch.dtype) -> torch.Tensor:
    corner = torch.rand(n, 2, dtype=dtype) * 30
    return torch.cat([corner, corner + torch.rand(n, 2, dtype=dtype) * 20], 1)


def _rois(n: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.cat([torch.randint(0, 2, (n, 1)).to(dtype), _boxes(n, dtype)], 1)


@own("torchvision::nms")
def _nms(dtype):
    if dtype in FLOATS:
        for n in (0, 1, 12, 100):
            for most in (0.0, 0.3, 0.7):
                yield Sample([_boxes(n, dtype), torch.randint(0, 50, (n,)).to(dtype) / 50, most])


@own("torchvision::roi_align")
def _roi_align(dtype):
    shift = torch.tensor([0, 3, 3, 3, 3])  # some leave the image
    if dtype in FLOATS:
        for n, ratio, aligned in ((7, 2, False), (7, 2, True), (5, -1, True), (5, 0, False),
                                  (0, 2, True)):
            yield Sample([torch.rand(2, 5, 20, 24, dtype=dtype), _rois(n, dtype) - shift * (n == 5),
                          0.5, 3, 4, ratio, aligned])


@own("torchvision::ps_roi_align")
def _ps_roi_align(dtype):
    if dtype in FLOATS:
        for ratio in (2, -1):
            yield Sample([torch.rand(2, 24, 20, 24, dtype=dtype), _rois(7, dtype), 0.5, 3, 4,
                          ratio])


@own("torchvision::roi_pool")
def _roi_pool(dtype):
    shift = torch.tensor([0, 3, 3, 3, 3])  # some leave the image
    if dtype in FLOATS:
        for n, scale in ((7, 0.5), (5, 1.0), (0, 0.5)):
            yield Sample([torch.rand(2, 3, 20, 24, dtype=dtype), _rois(n, dtype) - shift * (n == 5),
                          scale, 3, 4])


@own("torchvision::ps_roi_pool")
def _ps_roi_pool(dtype):
    shift = torch.tensor([0, 3, 3, 3, 3])
    if dtype in FLOATS:
        for n, scale in ((7, 0.5), (5, 1.0)):
            boxes = _rois(n, dtype) - shift * (n == 5)
            yield Sample([torch.rand(2, 24, 20, 24, dtype=dtype), boxes, scale, 3, 4])


@own("torchvision::deform_conv2d")
def _deform_conv2d(dtype):
    if dtype not in FLOATS:
        return
    for stride, pad, dilation, groups, offset_groups, use_mask in (
            (1, 1, 1, 1, 1, True), (2, 0, 1, 2, 2, True), (1, 2, 2, 1, 3, False)):
        oh = (9 + 2 * pad - (dilation * 2 + 1)) // stride + 1
        ow = (11 + 2 * pad - (dilation + 1)) // stride + 1
        x, weight = torch.rand(2, 6, 9, 11), torch.rand(6, 6 // groups, 3, 2)
        offset = (torch.rand(2, 12 * offset_groups, oh, ow) - 0.5) * 4
        mask = torch.rand(2, 6 * offset_groups, oh, ow)
        tensors = [t.to(dtype) for t in (x, weight, offset, mask, torch.rand(6))]
        yield Sample([*tensors, stride, stride, pad, pad, dilation, dilation, groups,
                      offset_groups, use_mask])
