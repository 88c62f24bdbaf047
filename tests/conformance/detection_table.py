"""Scripted detection, segmentation and optical flow models of torchvision, with random weights.

python -m tests.conformance detection [--only TEXT]

Results of detectors are compared as sets: each detection must have one of the other side's whose
label is the same and whose box, score, mask and keypoints are near. A model runs, with all its
sizes, in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-3  # of boxes, relative to the image; of scores, masks and flows as they are
HEADER = ("model", "image", "compile s", "code kB", "largest error", "detections", "ours ms",
          "TorchScript ms", "TorchScript / ours", "")  # fmt: skip
SMALL = {"min_size": 160, "max_size": 320}
# name -> (module of torchvision.models, options, sizes of images)
MODELS: dict[str, tuple[str, dict[str, Any], list[tuple[int, int]]]] = {
    "deeplabv3_mobilenet_v3_large": ("segmentation", {}, [(128, 128), (96, 160)]),
    "lraspp_mobilenet_v3_large": ("segmentation", {}, [(128, 128), (96, 160)]),
    "fcn_resnet50": ("segmentation", {}, [(96, 96), (64, 128)]),
    "raft_small": ("optical_flow", {}, [(128, 128), (136, 160)]),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("detection", {}, [(160, 160), (120, 200)]),
    "ssdlite320_mobilenet_v3_large": ("detection", {}, [(160, 160), (200, 120)]),
    "retinanet_resnet50_fpn": ("detection", SMALL, [(160, 160), (128, 192)]),
    "fcos_resnet50_fpn": ("detection", SMALL, [(160, 160), (128, 192)]),
    "keypointrcnn_resnet50_fpn": ("detection", SMALL, [(160, 160), (120, 200)]),
    "maskrcnn_resnet50_fpn": ("detection", SMALL, [(160, 160), (128, 192)]),
}


def build(name: str) -> Any:
    """The model in eval mode."""
    import torch
    import torchvision

    kind, options, _ = MODELS[name]
    none = {"weights": None} if kind == "optical_flow" else {
        "weights": None, "weights_backbone": None}
    torch.manual_seed(0)
    model = getattr(getattr(torchvision.models, kind), name)(**none, **options).eval()
    if kind == "detection":
        spread(model)
    else:
        settle(model)
    return model


def settle(model: Any) -> None:
    """Norms of batches know the scale of what they are given: without that, deep layers give next
    to nothing and every answer is right."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        image = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
        model(*([image] if hasattr(model, "classifier") else [image, image.flip(3)]))
    for norm in norms:
        norm.eval()


def spread(model: Any) -> None:
    """Weights whose layers keep the scale of what they are given, and heads whose scores differ from
    place to place, so that there is something to detect."""
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(1)
    done: set[nn.Module] = set()

    def hook(name: str) -> Callable:
        scores = re.search("cls|objectness|class|kps_score|mask_fcn_logits", name) is not None
        target = 2.0 if scores else 0.5 if re.search("bbox|regression", name) else 1.0

        def rescale(layer: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor | None:
            if layer in done:
                return None
            done.add(layer)
            if layer.bias is not None:
                layer.bias.data.zero_()
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
            out = layer(*args)
            scale = target / float(out.std()) if out.numel() > 1 else 1.0
            layer.weight.data *= scale
            return out * scale

        return rescale

    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
        elif isinstance(layer, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)) and not name.startswith(
                ("backbone.body", "backbone.features")):
            hooks.append(layer.register_forward_hook(hook(name)))
    with torch.no_grad():
        model.backbone.train()
        model.backbone(torch.rand(2, 3, 160, 160, generator=generator))
        model.eval()
        done.clear()
        model([torch.rand(3, 160, 160, generator=generator)])
    for h in hooks:
        h.remove()


def compare(found: dict, wanted: dict, size: tuple[int, int]) -> float:
    """The largest error over the detections of one image, each beside the nearest of the other
    side that has its label; infinite where one has none."""
    count = len(wanted["labels"])
    if len(found["labels"]) != count:
        return float("inf")
    free = list(range(count))
    worst = 0.0
    for k in range(count):
        errors = {j: _distance(found, j, wanted, k, size) for j in free}
        best = min(errors, key=errors.get, default=None)
        if best is None:
            return float("inf")
        worst = max(worst, errors[best])
        free.remove(best)
    return worst


def _distance(a: dict, j: int, b: dict, k: int, size: tuple[int, int]) -> float:
    if a["labels"][j] != b["labels"][k]:
        return float("inf")
    worst = 0.0
    for name in b:
        x, y = np.float64(a[name][j]), np.float64(b[name][k])
        scale = max(size) if name in ("boxes", "keypoints") else 1.0
        scale = max(scale, float(np.abs(y).max(initial=0)))
        worst = max(worst, float(np.abs(x - y).max(initial=0)) / scale)
    return worst


def measure(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a model, one a size."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        archive = Path(folder) / "model.pt"
        torch.jit.save(torch.jit.script(build(name)), str(archive))
        script = torch.jit.load(str(archive)).eval()
        for size in MODELS[name][2]:
            yield measure_size(name, archive, script, size)


def measure_size(name: str, archive: Path, script: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The row of an archive, which `script` is, for a size."""
    import torch

    import aot

    kind = MODELS[name][0]
    image = np.random.RandomState(0).rand(3, *size).astype(np.float32)
    if kind == "detection":
        args: tuple = ([image],)
    elif kind == "optical_flow":
        args = (image[None], image[None, :, :, ::-1].copy())
    else:
        args = (image[None],)
    tensors = _map(args, torch.from_numpy)
    wanted = _map(script(*tensors), lambda t: t.numpy())
    begun = time.perf_counter()
    compiled = aot.compile(str(archive), args)
    row: dict[str, Any] = {"seconds": time.perf_counter() - begun}
    library = archive.with_suffix(".so")
    compiled.save(str(library))
    sections = subprocess.run(["size", "-A", str(library)], capture_output=True, text=True,
                              check=True).stdout
    row["kilobytes"] = int(re.search(r"\.text\s+(\d+)", sections)[1]) / 1024
    found = compiled(*args)
    if kind == "detection":
        row["count"] = len(wanted[1][0]["labels"])
        row["error"] = compare(found[1][0], wanted[1][0], size)
    else:
        pairs = list(zip(_leaves(found), _leaves(wanted), strict=True))
        row["error"] = max(float(np.abs(x - y).max() / max(1.0, np.abs(y).max()))
                           for x, y in pairs)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(5):
        for run, times in ((lambda: compiled(*args), taken[0]),
                           (lambda: script(*tensors), taken[1])):
            begun = time.perf_counter()
            run()
            times.append((time.perf_counter() - begun) * 1e3)
    row["ours"], row["torchscript"] = (min(t[1:]) for t in taken)
    return row


def _map(x: Any, change: Callable) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_map(v, change) for v in x)
    if isinstance(x, dict):
        return {k: _map(v, change) for k, v in x.items()}
    return change(x)


def _leaves(x: Any) -> list[np.ndarray]:
    if isinstance(x, (list, tuple)):
        return [y for v in x for y in _leaves(v)]
    if isinstance(x, dict):
        return [y for k in sorted(x) for y in _leaves(x[k])]
    return [np.asarray(x)]


def print_table(only: str = "", seconds: float = 240.0) -> int:
    """Prints a line a model and size; returns how many do not hold."""
    print(f"\n## torchvision, scripted\n\n| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}",
          flush=True)
    failed = 0
    for name, (_, _, sizes) in MODELS.items():
        if only not in name:
            continue
        rows, problem = run_apart("tests.conformance.detection_table", [name], seconds)
        rows += [{"problem": problem}] * (len(sizes) - len(rows))
        for size, row in zip(sizes, rows):
            problem = row.get("problem") or (
                "" if row["error"] <= TOLERANCE else f"error above {TOLERANCE:g}")
            failed += bool(problem)
            cells = [name, f"{size[0]}x{size[1]}", *(
                format(row[key], form) if key in row else "" for key, form in (
                    ("seconds", ".1f"), ("kilobytes", ".0f"), ("error", ".1e"), ("count", "d"),
                    ("ours", ".1f"), ("torchscript", ".1f")))]
            cells.append(f"{row['torchscript'] / row['ours']:.2f}" if "ours" in row else "")
            print(f"| {' | '.join(cells)} | {problem} |", flush=True)
    return failed


def run_apart(module: str, words: list[str], seconds: float) -> tuple[list[dict], str]:
    """The rows that a module prints as JSON, a line each, in a process of its own, and why there
    are no more of them."""
    environment = {**os.environ, "AOT_CACHE": "0"}
    done = subprocess.Popen([sys.executable, "-W", "ignore", "-m", module, *words], cwd=ROOT,
                            env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    try:
        out, err = done.communicate(timeout=seconds)
        ended = f"ended with status {done.returncode}"
    except subprocess.TimeoutExpired:
        done.kill()
        out, err = done.communicate()
        ended = f"not done after {seconds:.0f} s"
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    errors = [line for line in err.splitlines() if re.match(r"[\w.]*(Error|Failure)\b", line)]
    return rows, " ".join((errors or [ended])[0].split())[:200].replace("|", "/")


if __name__ == "__main__":
    for row in measure(sys.argv[1]):
        print(json.dumps(row), flush=True)
