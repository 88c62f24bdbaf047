"""PyTorch in the same process: its modules and tensors are taken as they are."""

import subprocess
import sys

import numpy as np
import pytest

import aot
from tests.conftest import ROOT, import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore")  # each use of torch.jit warns that it is old


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(),
                                          torch.nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):
            return self.layers(x)
        else:
            return -self.layers(x)


@pytest.mark.parametrize("how", ["eager", "scripted", "traced"])
def test_modules_are_compiled(how: str) -> None:
    net, x = Net().eval(), torch.rand(3, 4)
    made = {"eager": lambda: net, "scripted": lambda: torch.jit.script(net),
            "traced": lambda: torch.jit.trace(net, x)}[how]()
    compiled = aot.compile(made, example_inputs=(x,))
    found = compiled(x)
    assert isinstance(found, torch.Tensor)
    assert torch.allclose(found, net(x), atol=1e-6)
    assert np.allclose(compiled(x.numpy()), net(x).detach().numpy(), atol=1e-6)


def test_modules_become_ours() -> None:
    net, x = Net().eval(), torch.rand(3, 4)
    scripted = aot.jit.script(net)
    traced = aot.jit.trace(net, (x,))
    for module in (scripted, traced):
        assert isinstance(module, aot.jit.ScriptModule)
        found = module(x)
        assert isinstance(found, torch.Tensor) and torch.allclose(found, net(x), atol=1e-6)
    assert torch.allclose(scripted(-x), net(-x), atol=1e-6)
    assert "prim::If" in str(scripted.graph) and "prim::If" not in str(traced.graph)
    function = aot.jit.script(torch.jit.script(lambda_free))
    assert torch.equal(function(x), x * 2 + 1)


def lambda_free(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


def test_tensors_change_hands_without_a_copy() -> None:
    from aot.torch_bridge import from_torch, to_torch

    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64,
                  torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        there = torch.arange(12).reshape(3, 4).to(dtype)
        for view in (there, there.t(), there[1:, ::2], there[0], there.reshape(-1)[3]):
            here = from_torch(view)
            assert here.data_ptr() == view.data_ptr()
            assert tuple(here.shape) == tuple(view.shape) and here.stride() == view.stride()
            assert str(here.dtype) == str(view.dtype)
            back = to_torch(here)
            assert back.data_ptr() == view.data_ptr() and torch.equal(back, view)
    assert from_torch(torch.empty(0, 3)).shape == (0, 3)
    assert from_torch(torch.ones(1, requires_grad=True)).requires_grad


def test_nothing_imports_pytorch() -> None:
    program = """
import sys, aot
f = aot.jit.trace(lambda x: x * 2, aot.ones(3))
g = aot.jit.script(aot.nn.Linear(3, 2))
g(f(aot.ones(2, 3)))
aot.jit.load(g.save_to_buffer())(aot.ones(1, 3))
aot.compile(g, example_inputs=(aot.ones(2, 3),))(aot.ones(2, 3))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)
