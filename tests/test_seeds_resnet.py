"""The ResNet-18 of the C++ tutorial: traced, saved, loaded, compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import aot
from examples.resnet18.resnet18 import ResNet18
from tests.conftest import ROOT


def test_the_example_runs(tmp_path: Path) -> None:
    program = ROOT / "examples" / "resnet18" / "resnet18.py"
    done = subprocess.run([sys.executable, str(program), str(tmp_path)], capture_output=True,
                          text=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)},
                          timeout=300)
    assert done.returncode == 0, done.stderr
    assert "grad_fn=<SliceBackward0>)" in done.stdout
    assert {"traced_resnet_model.pt", "resnet18.so"} <= {p.name for p in tmp_path.iterdir()}


def test_it_is_the_same_network_everywhere() -> None:
    """In Python, traced, scripted, saved and loaded, and compiled."""
    aot.manual_seed(0)
    model = ResNet18(10).eval()
    x = aot.rand(1, 3, 64, 64)
    traced, scripted = aot.jit.trace(model, x), aot.jit.script(model)
    with aot.no_grad():
        expected = model(x)
        scale = float(expected.abs().max())
        loaded = aot.jit.load(traced.save_to_buffer())
        compiled = aot.compile(loaded, example_inputs=(x,))
        for found in (traced(x), scripted(x), loaded(x), compiled(x)):
            assert np.allclose(found.numpy(), expected.numpy(), atol=1e-5 * scale)
    assert "_convolution" in str(traced.inlined_graph) and "conv2d" in str(scripted.inlined_graph)
