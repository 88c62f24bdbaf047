"""Sizes that the data decide: the interpreter, plain and optimised code against PyTorch.

Every function runs with masks of some, none and all true; where PyTorch raises, so must the others.
"""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest

import aot
from aot.archive.reader import read_archive
from lowering.evaluate import InputSpec, evaluate
from lowering.interpreter import run_program
from lowering.optimize import optimize
from lowering.print_linalg import print_tensor_program
from lowering.tensor_verify import verify_program
from llvm_backend.native import resolve_target
from runtime.dtypes import dtype_of_numpy, to_compute
from runtime.errors import CompileError, RuntimeFailure
from tests.compiled_engines import optimised, unoptimised
from tests.conftest import import_torch, mlir_opt, needs_mlir_opt

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What follows `return`, of x: f32[7,5], m: bool[7], i: i64[6] below 5, w: f32[5,6].
RETURNS = """
x.nonzero()
torch.argwhere(m)
torch.where(x > 0)
x[x > 0.5]
torch.masked_select(x, x > 0.5) * 2 + 1
x[m]
torch.relu(x[m] @ w)
torch.nn.functional.linear(x[m], w.t(), w[0])
x[m].sum(), x[m].sum(0), x[m].sum(1), x[m].mean(), x[m].mean(0), x[m].prod(0)
x[m].size(0), x[m].shape[0] + 1, x[m].numel(), len(x[m])
x[m].max(), x[m].argmin()
x[m].argmax(1), x[m].min(1), x[m].amax(1)
torch.cat([x[m], x, x[~m]]), torch.cat([x[m], x[m]], 1), torch.stack([x[m], x[m]], 1)
torch.bincount(i), torch.bincount(i, minlength=9), torch.bincount(i, i.float())
torch.bincount(i - 2)
torch.unique(i), torch.unique(x)
torch.unique(i, return_inverse=True, return_counts=True)
torch.unique_consecutive(i, return_inverse=True, return_counts=True)
torch.conv1d(torch.cat([x[m], x[:1]]).t().unsqueeze(0), w.t()[:3].reshape(3, 5, 1).repeat(1, 1, 3), None, 2)
(torch.arange(0, int((i * 0 + 6).max())) < i.unsqueeze(1)).view(6, 1, 1, 6)
x[m].view(2, 2, 5) + 1
torch.unique(m), torch.unique_consecutive(i, dim=0), torch.unique_consecutive(i[1:], dim=-1)
torch.repeat_interleave(i), torch.repeat_interleave(w, i[:5], 0), torch.repeat_interleave(i, i)
x[m].softmax(1), x[m].softmax(-1).argmax(-1), torch.layer_norm(x[m], [5])
x[m].reshape(-1), x[m].view(-1, 1, 5).transpose(1, 2), x[m].unsqueeze(1), x[m][:, 1:3]
x[m.nonzero().squeeze(1)], x.index_select(0, m.nonzero().flatten())
torch.zeros([x[m].size(0), 3]), x[m] / x[m].size(0), torch.full([int(i[0]), 2], 3.5)
torch.arange(int(i.max())).expand(3, int(i.max())), torch.arange(2, int(i.max()) + 3)
(torch.arange(0, int(i.max())) < i.unsqueeze(1)).view(6, int(i.max())), torch.ones_like(x[m]) + x[m]
x[m].std(0), x[m].var(1), x[m].norm()
x[m] + x[m], x[m] * x[m].sum(1, True), torch.where(x[m] > 0, x[m], -x[m])
x[m].t() @ x[m], x[m].t().sum(0), x[m].t().mean(1), x[m].t().softmax(1).t()
(x[m] @ x.t()).softmax(1) @ x
x[m][0], x[m][-1]
x[m][1:], x[m][-3:], x[m][::2], x[m][:-1], x[m][:2]
x[:int(i[0])], x[int(i[1]):] * 2, x[1:int(i[0])] + 1, x[:, :int(i[0])].sum(1)
x[m].cumsum(0), x[m].cumsum(1), x[m].cumprod(0), x[m].nonzero()
x[m][x[m][:, 0] > 0]
x[x[:, 0] > -9][i], torch.gather(x[x[:, 0] > -9], 0, i.unsqueeze(1))
x[m].t(), x[m] @ x[~m].t(), (x[m].unsqueeze(1) - x[~m]).pow(2).sum(2).sqrt()
torch.cat([x[m] @ x[~m].t(), x[m]], 1), (x[m] @ x[~m].t()).flatten().sum(), (x[m] @ x[~m].t()).t()
(x[m] > 1).any(), (x[m] > 0).all(), x[m].abs().sum().item()
x[m].sort(0)[0], x[m].sort(1, descending=True), x[m].t().argsort(1), x[m].double().flatten().sort()
torch.unique((x[m] * 2).long()), x[m].topk(2, 1), x[m].flatten().topk(min(3, x[m].numel()))
x[m].sum(1).topk(min(9, x[m].size(0))), torch.arange(x[m].size(0)), x[m][torch.arange(len(x[m]))]
x[m][:2], x[m][:100], x[:int(m.sum())] + x[m], torch.cat([x[m][:2], x[m][2:]])
torch.nn.functional.interpolate(x[None, None], size=[int(m.sum()) + 1, int(i[0]) + 2], mode="bilinear")
torch.nn.functional.interpolate(x[None, None], size=[int(m.sum()) + 1, int(i[0]) + 2], mode="bicubic")
torch.nn.functional.interpolate(x[None, None], size=[int(m.sum()) + 1, int(i[0]) + 2])
torch.embedding(w, i[i < 5]), torch.zeros(7).scatter(0, m.nonzero().flatten(), 1.0)
torch.zeros(7, 5).index_add(0, m.nonzero().flatten(), x[m])
""".strip().splitlines()

BODIES = [
    "y = torch.zeros(7, 5)\ny[m] = x[m] * 2\nreturn y",
    "y = x[m].clone()\ny[:, 0] = 1\ny += x[0]\nreturn y",
    "y = torch.zeros(7, 5)\ny[0] = 1.0\ny[1:int(i[0])] = 2.0\n"
    "y[:, int(i[1]):] += x[:, int(i[1]):]\nreturn y",
    "if x[m].size(0) > 2:\n  y = x[m].sum()\nelse:\n  y = x.mean()\nreturn y",
    "y = x[m]\nfor k in range(4):\n  y = torch.cat([y, x[x[:, k] > 0]])\nreturn y",
    "s = torch.zeros(5)\nfor k in range(int(i[0])):\n  s = s + x[x[:, k] > 0].sum(0)\nreturn s",
    "if bool(m[0]):\n  y = x[m].sort(0)[0]\nelse:\n  y = x\nreturn y, y.size(0), y.sum(0)",
    "if bool(m[0]):\n  y = x[m]\nelse:\n  y = x[~m]\nz = y * 2\nz[0:1] += 1\nreturn torch.cat([y, z])",
    "k = torch.where(m)[0]\nif k.numel() == 0:\n  return torch.empty([0], dtype=torch.int64)\n"
    "return k + 1",
    "y = x[m]\nz = x[~m]\nfor k in range(int(i[0])):\n  y, z = z, y\nreturn y, z",
    "y = x[:1]\nfor k in range(int(i[0])):\n  y = torch.cat([y, x[k:k + 1] * 2])\nreturn y",
    "y = x[:, 0]\nwhile y.size(0) > 2:\n  y = y[y > y.mean()]\nreturn y",
    "y = torch.zeros_like(x[m])\nfor k in range(len(y)):\n  y[k] = x[k] * k\nreturn y",
    "keep = torch.zeros([6], dtype=torch.bool)\nfor c in torch.unique(i):\n"
    "  k = torch.where(i == c)[0]\n  keep[k[:2]] = True\nreturn torch.where(keep)[0]",
    "parts = [x[:1]]\nfor k in range(70):\n  parts.append(x[x[:, k % 5] > 0.1 * k])\n"
    "return torch.cat(parts)",
    "n = len(x[m])\ny = x[m]\nif n > 0:\n  y = y.reshape(n, -1, 5)\nreturn y.sum()",
]

REFUSED = {
    "x[m] if bool(m[0]) else x[0]": "depends on a condition that is known only at run time",
}


def scripted(body: str):
    """The scripted module, its archive's function and its root."""
    module = torch.jit.script(type("Sized", (torch.nn.Module,), {})())
    lines = "\n".join("    " + line for line in body.splitlines())
    module.define(f"def forward(self, x: Tensor, m: Tensor, i: Tensor, w: Tensor):\n{lines}\n")
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    archive = read_archive(buffer.getvalue())
    return module, archive.root.type.methods["forward"], archive.root


def arguments(seed: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    w = rng.standard_normal((5, 6)).astype(np.float32)
    some = np.array([1, 0, 0, 1, 1, 0, 1], bool)
    masks = [some, np.zeros(7, bool), np.ones(7, bool)]
    return [[x, m, rng.integers(0, 5, 6), w] for m in masks]


def flat(x) -> list[np.ndarray]:
    if isinstance(x, (tuple, list)):
        return [y for part in x for y in flat(part)]
    return [np.asarray(x)]


def program_of(function, root, arrays):
    specs = [InputSpec("", "tensor", dtype_of_numpy(a.dtype), a.shape) for a in arrays]
    program = evaluate(function, root, specs)
    verify_program(program)
    return program


def interpreted(program, arrays):
    return run_program(program, [to_compute(a, dtype_of_numpy(a.dtype)) for a in arrays])


@pytest.mark.parametrize("body", [*(f"return {r}" for r in RETURNS), *BODIES])
def test_against_pytorch(body: str) -> None:
    module, function, root = scripted(body)
    engines = {"interpreter": interpreted, "plain": unoptimised, "optimised": optimised}
    for arrays in arguments(1):
        try:
            expected = flat(module(*(torch.from_numpy(a.copy()) for a in arrays)))
        except Exception:  # noqa: BLE001 -- whatever PyTorch raises
            expected = None
        for name, run in engines.items():
            program = program_of(function, root, arrays)
            if expected is None:
                with pytest.raises(RuntimeFailure):
                    run(program, arrays)
                continue
            found = flat(run(program, arrays))
            assert len(found) == len(expected)
            for a, b in zip(found, expected):
                assert a.shape == b.shape, name
                np.testing.assert_allclose(a, b, 1e-5, 1e-5, err_msg=name)


@pytest.mark.parametrize("result", REFUSED)
def test_refused_with_a_reason(result: str) -> None:
    _, function, root = scripted(f"return {result}")
    with pytest.raises(CompileError, match=REFUSED[result]):
        program_of(function, root, arguments(1)[0])


def test_results_are_copies_of_many_sizes(tmp_path) -> None:
    """The instance's memory is used again; what Python has been given is not touched."""
    module, _, _ = scripted("return x[m], m.nonzero(), x.sum()")
    module.save(str(tmp_path / "m.pt"))
    model = aot.compile(tmp_path / "m.pt", inputs=["x:f32[7,5]", "m:bool[7]", "i:i64[6]",
                                                   "w:f32[5,6]"])
    model.save(tmp_path / "m.so")
    library = aot.load_library(tmp_path / "m.so")
    assert library.description.allocates and not library.description.stateful
    assert "f32[?,5], i64[?,1], f32[]" in str(library)
    rng = np.random.default_rng(3)
    kept = []
    for turn in range(200):
        x, m, i, w = arguments(turn)[0]
        m = rng.random(7) < turn % 8 / 7
        y, at, _ = (library if turn % 2 else model)(x, m, i, w)
        kept.append((y, at, x, m))
    for y, at, x, m in kept:
        np.testing.assert_array_equal(y, x[m])
        np.testing.assert_array_equal(at, np.argwhere(m))


@needs_mlir_opt
def test_text_is_upstream_mlir() -> None:
    """Before and after the passes."""
    chunks = []
    for body in (*(f"return {r}" for r in RETURNS), *BODIES):
        _, function, root = scripted(body)
        program = program_of(function, root, arguments(1)[0])
        chunks.append(print_tensor_program(program))
        optimize(program, resolve_target("x86-64-v3"))
        verify_program(program)
        chunks.append(print_tensor_program(program))
    run = subprocess.run([mlir_opt(), "--split-input-file", "-o", "/dev/null"],
                         input="\n// -----\n".join(chunks), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[:2000]
