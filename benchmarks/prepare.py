"""Writes what the engines of one row read: `python -m benchmarks.prepare FOLDER ROW...`.

FOLDER/ROW/ gets model.pt (a traced archive), model.onnx, inputs.npz and expected.npz (eager
PyTorch's answer), onnx_inputs.npz, and row.json with the arithmetic and the bytes of weights. A row
that is there already is left alone; one whose package is not installed is left out.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.rows import Model, make


def flat(value: object) -> list:
    """Tensors (or arrays) of nested tuples, lists and dicts, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in flat(part)]
    return [] if value is None else [value]


def prepare(name: str, folder: Path) -> None:
    """Writes the row's files; the last one is row.json."""
    if (folder / "row.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    model = make(name)
    module, inputs = model.module, model.inputs
    if isinstance(module, torch.jit.ScriptModule):
        module.save(str(folder / "model.pt"))  # before a call changes what it keeps
    with FlopCounterMode(display=False) as counter:
        # Not under no_grad, where some layers are one opaque operator.
        expected = flat(module(*inputs))
    if not isinstance(module, torch.jit.ScriptModule):
        torch.jit.trace(module, inputs, check_trace=False).save(str(folder / "model.pt"))
    _export(model, folder / "model.onnx")
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    _save(folder / "inputs.npz", tensors)
    _save(folder / "expected.npz", expected)
    _save(folder / "onnx_inputs.npz", list(model.onnx_inputs) or tensors)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    flops = counter.get_total_flops()
    if name in ("lstm", "gru"):
        flops = _recurrent_flops(module, inputs[0])
    facts = {
        "flops": flops, "weight_bytes": weights,
        "io_bytes": sum(x.numel() * x.element_size() for x in (*tensors, *expected)),
        "constants": [None if isinstance(x, torch.Tensor) else x for x in inputs],
    }
    (folder / "row.json").write_text(json.dumps(facts))


def _recurrent_flops(module: torch.nn.Module, x: torch.Tensor) -> int:
    """Of one layer: its two matrices with every step's input and state."""
    return 2 * x.shape[0] * x.shape[1] * sum(p.numel() for p in module.parameters() if p.ndim == 2)


def _export(model: Model, path: Path) -> None:
    if model.onnx is not None:
        shutil.copy(model.onnx, path)
        return
    try:
        torch.onnx.export(model.module, model.inputs, str(path), dynamo=False, opset_version=17)
    except Exception as e:  # whatever an exporter raises: the row then lacks two peers, and says so
        path.unlink(missing_ok=True)
        path.with_suffix(".error").write_text(f"{type(e).__name__}: {str(e)[:300]}")


def _save(path: Path, tensors: list) -> None:
    np.savez(path, *[t.detach().numpy() for t in tensors])


def main() -> None:
    warnings.filterwarnings("ignore")
    folder, *names = sys.argv[1:]
    for name in names:
        try:
            prepare(name, Path(folder) / name)
        except ModuleNotFoundError as e:
            print(f"row {name} is left out: {e}", file=sys.stderr)


if __name__ == "__main__":
    main()
