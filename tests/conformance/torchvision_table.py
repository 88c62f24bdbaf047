"""Every classification family of torchvision, traced, with random weights, at its usual input
size."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.conformance.case import Case


def build(name: str, size: int) -> Any:
    """The model with weights of no special value, and batch norms that have seen some data."""
    import torch
    import torchvision
    from torch import nn

    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = getattr(torchvision.models, name)(weights=None, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            # Zeros of a head, ones of a norm, 1e-6 of a layer scale: each would hide an error.
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.randn_like(parameter) * 0.1)
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 0.8  # variances stay above 0.2: no channel is blown up
        if norms:
            model.train()
            model(torch.randn(4, 3, size, size))
    return model.eval()


def images(size: int) -> tuple:
    import torch

    return (torch.randn(1, 3, size, size),)


SIZES = {
    "alexnet": 224,
    "vgg11": 224,
    "resnet18": 224,
    "squeezenet1_1": 224,
    "densenet121": 224,
    "googlenet": 224,
    "inception_v3": 299,
    "mobilenet_v2": 224,
    "mobilenet_v3_small": 224,
    "shufflenet_v2_x1_0": 224,
    "mnasnet1_0": 224,
    "efficientnet_b0": 224,
    "efficientnet_v2_s": 384,
    "regnet_y_400mf": 224,
    "convnext_tiny": 224,
    "vit_b_16": 224,
    "swin_t": 224,
    "swin_v2_t": 256,
    "maxvit_t": 224,
}
FASTER = ("resnet18", "mobilenet_v2")
LIMITS: dict[str, dict[str, float]] = {"resnet18": {"seconds": 15, "megabytes": 1536}}
CASES = [
    Case(
        name,
        partial(build, name, size),
        partial(images, size),
        faster=name in FASTER,
        **LIMITS.get(name, {}),
    )
    for name, size in SIZES.items()
]
