"""Sizes that each call decides, one of them 1: broadcast as PyTorch does, at every engine."""

from __future__ import annotations

import io

import numpy as np
import pytest

from aot.archive.reader import read_archive
from aot.inputs import parse_input
from aot.specs import as_specs
from lowering.evaluate import evaluate
from runtime.errors import RuntimeFailure
from tests.compiled_engines import optimised, run_compiled, unoptimised
from tests.conftest import import_torch
from tests.test_named_dims import flat, interpreted

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPECS = ("a:f32[N,5]", "b:f32[M,K]", "c:f32[K,3,H]")

# What follows `return`; a [N, 5], b [M, K], c [K, 3, H].
RETURNS = """
a + b, (a + b) * a, b - a, torch.maximum(a, b).sum(1), torch.where(a > 0, a, b), a + b + a[:1]
a.expand(b.size(0), 5) * 2, torch.broadcast_tensors(a, b)[1] + 1, torch.cat([a + b, a + b], 1)
c.unsqueeze(1) * a[:, :3].unsqueeze(0).unsqueeze(-1), a[:1] + a, a[:, :1] * b
torch.matmul(a.unsqueeze(1), b.unsqueeze(1).transpose(1, 2).expand(-1, 5, -1)), a.clone().copy_(b[:1, :1])
torch.matmul(c.transpose(1, 2), a.unsqueeze(-1)[:, :3]).relu()
""".strip().splitlines()
SIZES = [(4, 4, 5, 6), (1, 4, 5, 6), (4, 1, 1, 6), (1, 1, 5, 1), (5, 5, 1, 2), (1, 3, 1, 1), (5, 1, 5, 3)]


def scripted(body: str):
    """The scripted module, its archive's function and its root."""
    class Broadcasting(torch.nn.Module):
        pass

    module = torch.jit.script(Broadcasting())
    module.define(f"def forward(self, a: Tensor, b: Tensor, c: Tensor):\n    {body}\n")
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    archive = read_archive(buffer.getvalue())
    return module, archive.root.type.methods["forward"], archive.root


@pytest.mark.parametrize("result", RETURNS)
def test_against_pytorch(result: str) -> None:
    module, function, root = scripted(f"return {result}")
    specs = as_specs(tuple(map(parse_input, SPECS)))
    engines = (interpreted, unoptimised, optimised,
               lambda program, arrays: run_compiled(program, arrays, True, threads=2))
    ran = 0
    for n, m, k, h in SIZES:
        rng = np.random.default_rng(n + m)
        arrays = [rng.standard_normal(s).astype(np.float32) for s in ((n, 5), (m, k), (k, 3, h))]
        try:
            expected = flat(module(*map(torch.from_numpy, arrays)))
        except RuntimeError:
            with pytest.raises(RuntimeFailure):
                optimised(evaluate(function, root, specs), arrays)
            continue
        ran += 1
        for run in engines:
            found = flat(run(evaluate(function, root, specs), arrays))
            for x, y in zip(found, expected, strict=True):
                assert x.shape == y.shape, (n, m, k, h)
                np.testing.assert_allclose(x, y, 1e-5, 1e-5, err_msg=str((n, m, k, h)))
    assert ran > 1
