"""Sizes of inputs that each call decides: one program for all of them, against PyTorch."""

from __future__ import annotations

import io

import numpy as np
import pytest

import aot
from aot.archive.reader import read_archive
from aot.inputs import parse_input
from aot.specs import as_specs
from lowering.evaluate import evaluate
from lowering.interpreter import run_program
from lowering.passes import winograd
from lowering.tensor_verify import verify_program
from runtime.dtypes import dtype_of_numpy, to_compute
from runtime.errors import InputError, RuntimeFailure
from tests.compiled_engines import optimised, run_compiled, unoptimised
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Types of the inputs; sizes of N, M, H, W that they are tried with.
INPUTS = {"x": "x:f32[N,6]", "y": "y:f32[N,M]", "z": "z:f32[N,4,H,W]", "i": "i:i64[M]"}
SIZES = [{"N": 3, "M": 5, "H": 8, "W": 12}, {"N": 1, "M": 9, "H": 17, "W": 7},
         {"N": 17, "M": 2, "H": 7, "W": 33}]

# What follows `return`; w: a parameter f32[6,8], k: f32[8,4,3,3].
RETURNS = """
x + 1, x.sum(), x.sum(0), x.mean(1), x.softmax(0), x.t(), x.reshape(-1), x.view(-1, 2, 3)
x @ self.w, torch.relu(x @ self.w).sum(1), x @ x.t(), (x @ x.t()).softmax(1) @ x
x.t() @ y, (x.t() @ y).softmax(-1), torch.cat([x, y], 1), torch.cat([x, x * 2]), y.flatten()
torch.max_pool2d(z, 2) / torch.max_pool2d(z, 2)[..., -1:], z[:, :, ::4][:, :, -1:], y[:, -1:] * y
torch.nn.functional.pad(z, (0, (4 - z.size(3) % 4) % 4)).view(-1, 4, z.size(2), (z.size(3) + 3) // 4, 4).sum(3)
torch.cat([x, y], 1)[:, 2:], torch.stack([y, y + 1], 1), y.unsqueeze(1).expand(-1, 3, -1) * 2
x.size(0), x.size(0) * 2 + y.shape[1], x.numel(), y.numel() // x.size(0)
torch.zeros(x.size(0), y.size(1)), torch.arange(y.size(1)), torch.ones(x.size(0) * 2, 3)
x[0], x[-1], x[:, 1:4], y[:, ::2], y.flip(1), x[1:], y[:, :-1]
torch.conv2d(z, self.k), torch.conv2d(z, self.k, padding=1), torch.conv2d(z, self.k, stride=2)
torch.conv2d(z, self.k, None, [2, 2], [1, 1]).relu()
torch.max_pool2d(z, 2), torch.max_pool2d(z, 3, 2, 1), torch.max_pool2d(z, [3, 3], [2, 2], [0, 0], [1, 1], True)
torch.nn.functional.avg_pool2d(z, 3, 2, 1, True), torch.nn.functional.avg_pool2d(z, 2)
torch.nn.functional.avg_pool2d(z, 3, 2, 1, False, False)
torch.nn.functional.adaptive_avg_pool2d(z, [2, 3]), torch.nn.functional.adaptive_avg_pool2d(z, 1)
torch.nn.functional.interpolate(z, scale_factor=2.0), z.sum([0, 2, 3])
torch.nn.functional.interpolate(z, size=[5, z.size(3)]), torch.nn.functional.interpolate(z, size=[int(z.size(2) * 0.5), 6])
torch.nn.functional.interpolate(z, size=[5, 6], mode="bilinear")
torch.nn.functional.scaled_dot_product_attention(z, z, z)
i.sort()[0], x.sort(0)[0], x.sort(1)[0], torch.topk(x, 2, 1)[0]
torch.adaptive_avg_pool1d(x, 1), torch.adaptive_avg_pool1d(y, 3), z.mean([2, 3])
z.flatten(1), z.flatten(2).transpose(1, 2), z.permute(0, 2, 3, 1), z.flatten(2).softmax(-1)
z.reshape(z.size(0), 2, -1)
z.sum([0, 2, 3])
torch.nn.functional.pad(z, [1, 2, 0, 1]), torch.nn.functional.pad(z, [2, 2, 2, 2], "reflect")
torch.layer_norm(x, [6]), torch.layer_norm(y, [y.size(1)]), torch.nn.functional.normalize(y, dim=1)
torch.embedding(self.w, i % 6), i.float().cumsum(0)
x.max(0)[0], x.argmax(1), y.argmax(1), y.max(1)[1], y.cumsum(1)
x[x.sum(1) > 0], (y > 0).nonzero(), torch.where(y > 0, y, -y), y.masked_fill(y > 0, 1.5)
x.std(0), y.var(1), x.norm(), y.amax(0), torch.einsum("nk,nm->km", x, y), y.t() @ y
z.roll(1, 3), torch.meshgrid(x[:, 0], y[0]), torch.tril(y), y.repeat(2, 3), y.repeat(1, 1, 2)
z.chunk(2, 1)[1], z.unbind(1)[2], y.index_select(1, i % y.size(1)), y.gather(1, i.expand(y.size(0), -1) % y.size(1))
torch.arange(2, y.size(1) + 2), torch.arange(1, z.size(3), 2), torch.arange(x.size(0), -1, -2), z.chunk(2, 2)[1]
torch.arange(0, z.size(3), z.size(2)), torch.tensor_split(z, 2, 3)[1], torch.pixel_unshuffle(z[:, :, :6, :6], 3)
z.cumsum(1), z.cumprod(2), (z > 0).long().cumsum(0), y.half().cumsum(0), z.permute(0, 2, 3, 1).cumsum(2)
torch.pixel_shuffle(z, 2), torch.nn.functional.unfold(z, [3, 3]), torch.group_norm(z, 2)
""".strip().splitlines()

BODIES = [
    "if x.size(0) > 2:\n  return x.sum(0)\nreturn x.mean(0)",
    "s = torch.zeros(6)\nfor k in range(x.size(0)):\n  s = s + x[k]\nreturn s",
    "out = torch.zeros(x.size(0), 6)\nout[:, 0] = 1.0\nout[0] = x[0]\nreturn out * 2",
    "n, c, h, w = z.shape\nreturn z.view(n, c * h, w).transpose(1, 2).reshape(n, w, c, h)",
    "n, w = z.size(0), self.w\nweights = [w[:, :4], w[:, :2], w[0, :6], w[1, :6]]\n"
    "weights = [x.contiguous() for x in weights]\n"
    "return torch.gru(z[:, :, 0].permute(2, 0, 1), torch.zeros(1, n, 2), weights, True, 1, 0.0, False, False, False)",
    "h, w = torch.ceil(z.size(2) / 4) * 4, torch.floor(z.size(3) / 3.0) * 3\n"
    "z = torch.nn.functional.interpolate(z, size=[h, w])\n"
    "return z.reshape(z.size(0) * 4 * (h // 4), 4, w // 3, 3).transpose(1, 2)",
    "h, w = z.shape[-2:]\nassert h > 2, 'too small'\nreturn z[:, :, :h // 2, w // 2:]",
]


def scripted(body: str):
    """The scripted module, its archive's function and its root."""
    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("w", torch.randn(6, 8))
            self.register_buffer("k", torch.randn(8, 4, 3, 3))

    module = torch.jit.script(Named())
    lines = "\n".join("    " + line for line in body.splitlines())
    given = ", ".join(f"{name}: Tensor" for name in INPUTS)
    module.define(f"def forward(self, {given}):\n{lines}\n")
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    archive = read_archive(buffer.getvalue())
    return module, archive.root.type.methods["forward"], archive.root, buffer.getvalue()


def arguments(sizes: dict[str, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    n, m, h, w = sizes.values()
    floats = [rng.standard_normal(s).astype(np.float32) for s in ((n, 6), (n, m), (n, 4, h, w))]
    return [*floats, rng.integers(0, 100, m)]


def flat(x) -> list[np.ndarray]:
    if isinstance(x, (tuple, list)):
        return [y for part in x for y in flat(part)]
    return [np.asarray(x)]


def interpreted(program, arrays):
    return run_program(program, [to_compute(a, dtype_of_numpy(a.dtype)) for a in arrays])


@pytest.mark.parametrize("body", [*(f"return {r}" for r in RETURNS), *BODIES])
def test_against_pytorch(body: str) -> None:
    module, function, root, _ = scripted(body)
    specs = as_specs(tuple(map(parse_input, INPUTS.values())))
    for run in (interpreted, unoptimised, optimised):
        for sizes in SIZES:
            program = evaluate(function, root, specs)
            verify_program(program)
            arrays = arguments(sizes)
            expected = flat(module(*map(torch.from_numpy, arrays)))
            found = flat(run(program, arrays))
            assert len(found) == len(expected)
            for a, b in zip(found, expected):
                assert a.shape == b.shape, (run, sizes)
                np.testing.assert_allclose(a, b, 1e-4, 1e-4, err_msg=f"{run} {sizes}")


def test_sequences_shorter_than_what_is_unrolled() -> None:
    module, function, root, _ = scripted(next(b for b in BODIES if "torch.gru" in b))
    specs = as_specs(tuple(map(parse_input, INPUTS.values())))
    for steps in (1, 3):
        arrays = arguments({"N": 2, "M": 3, "H": 2, "W": steps})
        expected = flat(module(*map(torch.from_numpy, arrays)))
        found = flat(optimised(evaluate(function, root, specs), arrays))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_one_artifact_for_all_sizes(tmp_path) -> None:
    module, _, _, archive = scripted("return x @ self.w, torch.cat([x, y], 1), z.mean([2, 3])")
    (tmp_path / "m.pt").write_bytes(archive)
    model = aot.compile(tmp_path / "m.pt", inputs=list(INPUTS.values()))
    model.save(tmp_path / "m.so")
    library = aot.load_library(tmp_path / "m.so")
    assert "(x: f32[N,6], y: f32[N,M], z: f32[N,4,H,W], i: i64[M])" in str(library)
    assert "f32[N,8], f32[?,?], f32[N,4]" in str(library)
    for run in (model, library):
        for sizes in SIZES * 2:
            arrays = arguments(sizes)
            expected = flat(module(*map(torch.from_numpy, arrays)))
            for a, b in zip(run(*arrays), expected):
                np.testing.assert_allclose(a, b, 1e-4, 1e-5)
        x, y, z, i = arguments(SIZES[0])
        with pytest.raises(InputError, match=r"'y'.*where N is 3, as in 'x', found 2"):
            run(x, y[:2], z, i)
        with pytest.raises(InputError, match="at least 1"):
            run(x[:0], y[:0], z[:0], i)


@pytest.mark.parametrize("spec, good, bad, message", [
    ("x:f32[N<=4,6]", 4, 5, "N is from 1 to 4"),
    ("x:f32[2<=N<=4,6]", 2, 1, "N is from 2 to 4"),
    ("x:f32[N%4==0,6]", 8, 6, "N is at least 1 and a multiple of 4"),
])
def test_rules_are_checked_at_the_entry(tmp_path, spec, good, bad, message) -> None:
    torch.jit.script(torch.nn.Linear(6, 2)).save(str(tmp_path / "m.pt"))
    model = aot.compile(tmp_path / "m.pt", inputs=[spec])
    assert model(np.ones((good, 6), np.float32)).shape == (good, 2)
    with pytest.raises(InputError, match=message):
        model(np.ones((bad, 6), np.float32))


@pytest.mark.parametrize("spec", ["x:f32[9<=N<=4,6]", "x:f32[N%0==0,6]", "x:f32[N+1,6]", "x:f32[-1]"])
def test_specs_that_say_nothing_are_refused(spec) -> None:
    with pytest.raises(InputError, match="--input"):
        parse_input(spec)


def test_relations_that_the_program_needs_are_checked_when_it_runs() -> None:
    module, function, root, _ = scripted("return x + y")
    specs = as_specs(tuple(map(parse_input, INPUTS.values())))
    for run in (interpreted, unoptimised, optimised):
        x, y, z, i = arguments({"N": 3, "M": 6, "H": 3, "W": 3})
        found, = run(evaluate(function, root, specs), [x, y, z, i])
        np.testing.assert_array_equal(found, x + y)
        with pytest.raises(RuntimeFailure):
            run(evaluate(function, root, specs), [x, y[:, :5].copy(), z, i[:5]])


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_convolutions_with_fewer_multiplications(monkeypatch, cpu) -> None:
    """Tiles that reach beyond the image, whose results are left behind."""
    monkeypatch.setattr(winograd, "_pays", lambda found, target: True)

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Conv2d(4, 19, 3, padding=1)
            self.b = torch.nn.Conv2d(19, 19, 3, padding=1)
            self.c = torch.nn.Conv2d(19, 7, 3)

        def forward(self, x):
            y = torch.relu(self.a(x))
            return self.c(torch.relu(self.b(y)) + y)

    block = Block()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(block.eval()), buffer)
    root = read_archive(buffer.getvalue()).root
    specs = as_specs((parse_input("x:f32[N,4,H,W%2==0]"),))
    for shape in ((2, 4, 9, 14), (1, 4, 16, 16), (3, 4, 7, 18), (1, 4, 3, 4)):
        program = evaluate(root.type.methods["forward"], root, specs)
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        expected = block(torch.from_numpy(x)).detach().numpy()
        found, = run_compiled(program, [x], True, cpu)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_a_part_as_long_as_a_named_dim_is_as_long_as_that() -> None:
    """Language models cut buffers of the longest sequence's size to the length of this one."""
    class Positions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("ids", torch.arange(64).unsqueeze(0))
            self.table = torch.nn.Embedding(64, 4)

        def forward(self, x):
            n, t = x.shape
            return self.table(self.ids[:, :t].expand(n, t)) + x.unsqueeze(-1)

    module = Positions().eval()
    traced = torch.jit.trace(module, torch.ones(2, 5), check_trace=False)
    compiled = aot.compile(traced, inputs=["x:f32[N,T<=64]"], cache=False)
    for shape in ((2, 5), (3, 64), (1, 1)):
        x = torch.randn(shape)
        np.testing.assert_allclose(compiled(x), module(x).detach(), rtol=1e-6)
