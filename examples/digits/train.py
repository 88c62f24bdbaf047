"""Trains the bundled digit classifier; writes digits.pt, images.npy, labels.npy beside this file.

Needs PyTorch and scikit-learn, which brings the data: 1797 handwritten digits of 43 people, 8x8
pixels, collected for the UCI "Optical Recognition of Handwritten Digits" set. A fifth is held out
before training and never used in it; the accuracy printed at the end, and the images written for
the examples, are of that fifth.

    python examples/digits/train.py
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

HERE = Path(__file__).resolve().parent
SEED = 1797
EPOCHS = 40
BATCH = 64
BUNDLED = 100  # held-out images written for the examples


def conv(channels_in: int, channels_out: int) -> list[nn.Module]:
    """3x3 convolution, batch norm, ReLU; keeps the size."""
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


def build() -> nn.Sequential:
    """[N, 1, 8, 8] float32 in 0..1 -> [N, 10] logits."""
    return nn.Sequential(
        *conv(1, 16),
        *conv(16, 32),
        nn.MaxPool2d(2),
        *conv(32, 48),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(48 * 4, 10),
    )


def split() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(training images, labels, held-out images, labels), shuffled; images [N, 1, 8, 8] in 0..1."""
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    images = torch.from_numpy((data.images[order] / 16.0).astype(np.float32)).unsqueeze(1)
    labels = torch.from_numpy(data.target[order].astype(np.int64))
    held = len(labels) // 5
    return images[held:], labels[held:], images[:held], labels[:held]


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Adam with a one-cycle rate; each image is shifted by up to one pixel."""
    steps = EPOCHS * ((len(labels) + BATCH - 1) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            down, right = (int(v) for v in torch.randint(-1, 2, (2,)))
            shifted = torch.roll(images[batch], (down, right), (2, 3))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(shifted), labels[batch]).backward()
            optimizer.step()
            rate.step()
    model.eval()


def save(module: torch.jit.ScriptModule, path: Path) -> None:
    """torch.jit.save without *.debug_pkl, which quotes source files of the machine that trained."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.infolist():
            if not member.filename.endswith(".debug_pkl"):
                name = zipfile.ZipInfo(path.stem + member.filename[member.filename.index("/") :])
                target.writestr(name, source.read(member), zipfile.ZIP_STORED)


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the sums' order, and so the weights, depend on it
    images, labels, held_images, held_labels = split()
    model = build()
    train(model, images, labels)
    classifier = nn.Sequential(model, nn.Softmax(1)).eval()  # [N, 10] probabilities
    with torch.no_grad():
        right = int((classifier(held_images).argmax(1) == held_labels).sum())
        traced = torch.jit.trace(classifier, held_images[:1].clone())
    print(
        f"trained on {len(labels)} images; right on {right} of {len(held_labels)} held-out images: "
        f"{100 * right / len(held_labels):.1f} %"
    )
    save(traced, HERE / "digits.pt")
    np.save(HERE / "images.npy", held_images[:BUNDLED].numpy())
    np.save(HERE / "labels.npy", held_labels[:BUNDLED].numpy())


if __name__ == "__main__":
    main()
