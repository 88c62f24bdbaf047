"""What can run a model: this project and its peers, each as `load(folder, threads) -> call`.

`call()` takes nothing and returns the outputs. Peers get what they like best: f32 as we do, a hint
for latency, weights frozen, memory shared instead of copied.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]


def arrays(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[f"arr_{k}"] for k in range(len(stored.files))]


def arguments(folder: Path) -> list:
    """The row's arguments: arrays, and the values that are no tensors."""
    tensors = iter(arrays(folder / "inputs.npz"))
    constants = json.loads((folder / "row.json").read_text())["constants"]
    return [next(tensors) if c is None else c for c in constants]


def load_aot(folder: Path, threads: int) -> Call:
    aot = importlib.import_module("aot")
    given = arguments(folder)
    compiled = aot.compile(folder / "model.pt", example_inputs=given, threads=threads)
    tensors = [x for x in given if isinstance(x, np.ndarray)]
    return lambda: compiled(*tensors)


def _torch(threads: int) -> Any:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch


def _torch_arguments(torch: Any, folder: Path) -> list:
    return [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in arguments(folder)]


def load_eager(folder: Path, threads: int) -> Call:
    torch = _torch(threads)
    module = importlib.import_module("benchmarks.rows").make(folder.name).module
    given = _torch_arguments(torch, folder)
    return lambda: module(*given)


def load_frozen(folder: Path, threads: int) -> Call:
    torch = _torch(threads)
    module = torch.jit.freeze(torch.jit.load(str(folder / "model.pt")).eval())
    given = _torch_arguments(torch, folder)
    return lambda: module(*given)


def load_optimized(folder: Path, threads: int) -> Call:
    torch = _torch(threads)
    module = torch.jit.optimize_for_inference(torch.jit.load(str(folder / "model.pt")).eval())
    given = _torch_arguments(torch, folder)
    return lambda: module(*given)


def load_inductor(folder: Path, threads: int) -> Call:
    torch = _torch(threads)
    config = importlib.import_module("torch._inductor.config")
    config.freezing = True
    config.cpp.threads = threads
    module = importlib.import_module("benchmarks.rows").make(folder.name).module
    if isinstance(module, torch.jit.ScriptModule):
        raise RuntimeError("torch.compile takes no archive")
    module = torch.compile(module)
    given = _torch_arguments(torch, folder)
    return lambda: module(*given)


def load_onnxruntime(folder: Path, threads: int) -> Call:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(_onnx(folder), options, providers=["CPUExecutionProvider"])
    feeds = dict(zip([i.name for i in session.get_inputs()], arrays(folder / "onnx_inputs.npz")))
    return lambda: session.run(None, feeds)


def load_openvino(folder: Path, threads: int) -> Call:
    ov = importlib.import_module("openvino")
    model = ov.Core().compile_model(_onnx(folder), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    })
    request = model.create_infer_request()
    given = arrays(folder / "onnx_inputs.npz")

    def call() -> list:
        return list(request.infer(given, share_inputs=True, share_outputs=True).values())

    return call


def _onnx(folder: Path) -> str:
    if not (folder / "model.onnx").exists():
        error = folder / "model.error"
        raise RuntimeError(error.read_text() if error.exists() else "no ONNX file")
    return str(folder / "model.onnx")


def load_numpy(folder: Path, threads: int) -> Call:
    """Rows that are a few products: what numpy and its BLAS reach, one call after another."""
    aot = importlib.import_module("aot")
    values = dict(aot.jit.load(folder / "model.pt").named_parameters())
    w = {name: v.detach().numpy() for name, v in values.items()}
    x, *others = arguments(folder)
    if folder.name == "cell":
        weight, bias, h = w["linear.weight"].T, w["linear.bias"], others[0]

        def cell() -> list:
            y = np.tanh(x @ weight + bias + h)
            return [y, y]

        return cell
    if folder.name.startswith("mlp"):
        layers = [(w[f"{k}.weight"].T, w[f"{k}.bias"]) for k in (0, 2, 4)]

        def mlp() -> np.ndarray:
            y = x
            for k, (weight, bias) in enumerate(layers):
                y = y @ weight + bias
                y = np.maximum(y, 0) if k < 2 else y
            return y

        return mlp
    if folder.name.startswith("product"):
        weight = w["weight"].T
        return lambda: x @ weight
    raise RuntimeError("nothing of numpy's own")


ENGINES: dict[str, Callable[[Path, int], Call]] = {
    "aot": load_aot,
    "eager": load_eager,
    "frozen": load_frozen,
    "optimize_for_inference": load_optimized,
    "inductor": load_inductor,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
    "numpy": load_numpy,
}
