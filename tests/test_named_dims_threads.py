"""Kernels whose sizes each call decides, divided among threads: bits as of one thread, and no thread
is woken for little work."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import aot
from aot.inputs import parse_input
from aot.specs import as_specs
from lowering.evaluate import evaluate
from lowering.schedule import loops
from tests.compiled_engines import run_compiled
from tests.conftest import import_torch
from tests.test_named_dims import INPUTS, SIZES, arguments, flat, scripted

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What follows `return`, in several dims orders: loops, row reductions, and products of all kinds.
RETURNS = """
x + 1, x.sum(0), x.mean(1), x.t() * 2, x.reshape(-1) - 1, y.softmax(1), y.cumsum(1), x @ self.w
x.t() @ y, (x @ x.t()).softmax(1) @ x, torch.cat([x, y], 1), y.t().contiguous(), z[:, 1:3] * 2
torch.conv2d(z, self.k, padding=1), z.permute(0, 2, 3, 1).contiguous(), z.mean([2, 3]), z.sum()
torch.conv2d(z, self.k[:4, :1], groups=4), torch.max_pool2d(z, 2), z.flatten(2).softmax(-1), i * 2
torch.nn.functional.linear(z.flatten(2).transpose(1, 2), self.w[:, :4].repeat(60, 1)), y.argmax(1)
torch.nn.functional.scaled_dot_product_attention(z, z, z), torch.group_norm(z, 2), torch.tril(y)
""".strip().splitlines()


@pytest.mark.parametrize("result", RETURNS)
def test_bits_of_one_thread(monkeypatch, result: str) -> None:
    monkeypatch.setattr(loops, "PARALLEL_POINTS", 1)  # every loop that can be divided is
    module, function, root, _ = scripted(f"return {result}")
    specs = as_specs(tuple(map(parse_input, INPUTS.values())))
    for sizes in SIZES:
        arrays = arguments(sizes)
        one, three = (run_compiled(evaluate(function, root, specs), arrays, True, threads=n)
                      for n in (1, 3))
        expected = flat(module(*map(torch.from_numpy, arrays)))
        for a, b, c in zip(flat(one), flat(three), expected, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=str(sizes))
            np.testing.assert_allclose(b, c, 1e-4, 1e-4, err_msg=str(sizes))


def test_little_work_wakes_nobody(tmp_path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(1))
    torch.jit.script(model).save(str(tmp_path / "m.pt"))
    aot.compile(tmp_path / "m.pt", inputs=["x:f32[N,3,H,W]"], threads=2).save(tmp_path / "m.so")
    library = aot.load_library(tmp_path / "m.so")
    counts: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    def parallel_for(_pool: int, task: int, args: int, count: int) -> None:
        counts.append(count)
        run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(task)
        for k in reversed(range(count)):
            run(args, k, k + 1)

    kept = library._instances
    kept.options.threads = 2
    kept.options.parallel_for = ctypes.cast(parallel_for, ctypes.c_void_p).value
    kept._free.clear()
    for shape, wakes in (((1, 3, 9, 9), False), ((1, 3, 70, 60), True), ((2, 3, 5, 7), False),
                         ((40, 3, 20, 21), True)):
        counts.clear()
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        found = library(x)
        with torch.no_grad():
            np.testing.assert_allclose(found, model(torch.from_numpy(x)).numpy(), 1e-4, 1e-5)
        assert bool(counts) == wakes and all(n > 1 for n in counts), (shape, counts)
