"""The rows by name: which model, and its size. Known without PyTorch."""

from __future__ import annotations

IMAGE_MODELS = ("mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "resnet18", "resnet50",
                "convnext_tiny", "vit_b_16")

# name -> (model, its number: batch, tokens, or size)
ROWS: dict[str, tuple[str, int]] = {
    "cell": ("cell", 3),
    "mlp_b1": ("mlp", 1),
    "mlp_b64": ("mlp", 64),
    "lstm": ("lstm", 1),
    "gru": ("gru", 1),
    "silero_vad": ("silero_vad", 1),
    "encoder_16": ("encoder", 16),
    "encoder_128": ("encoder", 128),
    "encoder_512": ("encoder", 512),
    "gpt2_decode": ("gpt2_decode", 128),
    **{f"{name}_b1": (name, 1) for name in IMAGE_MODELS},
    "unet_b1": ("unet", 1),
    **{f"{name}_b8": (name, 8) for name in IMAGE_MODELS},
    "unet_b8": ("unet", 8),
    **{f"product_{n}": ("product", n) for n in (128, 512, 1024, 2048, 4096)},
}

# What --quick leaves out: a second batch size, and the largest product.
SLOW = tuple(n for n in ROWS if n.endswith("_b8")) + ("product_4096",)
