"""--precision: weights of products in fewer bits, and how far the results are from the program's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aot
from aot.cli import main
from llvm_backend.fingerprint import fingerprint
from llvm_backend.native import native_target
from llvm_backend.target import PRECISIONS, TARGETS
from lowering import build as B
from lowering import expr as E
from lowering.interpreter import run_program
from lowering.passes import narrow_weights as narrow_weights_module
from lowering.passes.narrow_weights import narrow_weights
from lowering.tensor_ir import Constant, Generic, Region
from runtime.dtypes import bf16, f32, i8, round_bf16
from runtime.errors import CompileError
from tests import compiled_engines
from tests.random_programs import inputs, program, recipe

X86 = [name for name, target in TARGETS.items() if target.triple.startswith("x86")]
LIMIT = {"f32": 1e-6, "bf16": 2e-2, "int8-weights": 5e-2}
SHARE = {"bf16": 0.6, "int8-weights": 0.45}  # of the bytes; biases and scales stay f32


def module(kind: str) -> tuple[aot.nn.Module, np.ndarray]:
    """A module with weights worth narrowing, and an input."""
    aot.manual_seed(1)
    x = np.random.default_rng(1).standard_normal
    images = x((2, 16, 9, 9)).astype(np.float32)
    nn = aot.nn
    made = {
        "linear": (nn.Linear(130, 37), x((5, 130))),
        "one row": (nn.Linear(130, 37), x((1, 130))),
        "two layers": (nn.Sequential(nn.Linear(64, 70), nn.ReLU(), nn.Linear(70, 9)), x((3, 64))),
        "conv": (nn.Conv2d(16, 24, 3, padding=1), images),
        "pointwise conv": (nn.Conv2d(16, 24, 1, bias=False), images),
        "strided conv": (nn.Conv2d(16, 24, 3, stride=2), images),
        "grouped conv": (nn.Conv2d(16, 24, 3, groups=4), images),
        "depthwise conv": (nn.Conv2d(16, 32, 5, groups=16), images),
        "transposed conv": (nn.ConvTranspose2d(16, 11, 3, stride=2), images),
        "conv1d": (nn.Conv1d(16, 20, 5, dilation=2), images[:, :, 0]),
        "conv and norm": (nn.Sequential(nn.Conv2d(16, 24, 3), nn.BatchNorm2d(24),
                                        nn.GELU()).eval(), images),
        "gru": (nn.GRU(40, 32), x((4, 2, 40))),
        "from the left": (FromTheLeft(), x((30, 40))),
    }[kind]
    return made[0], made[1].astype(np.float32)


class FromTheLeft(aot.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = aot.nn.Parameter(aot.randn(25, 30))

    def forward(self, x: aot.Tensor) -> aot.Tensor:
        return aot.relu(self.weight @ x) + 1


KINDS = ["linear", "one row", "two layers", "conv", "pointwise conv", "strided conv",
         "grouped conv", "depthwise conv", "transposed conv", "conv1d", "conv and norm", "gru",
         "from the left"]


def first(x: object) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x[0]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bf16", "int8-weights"])
def test_products_of_every_kind(kind: str, precision: str) -> None:
    made, x = module(kind)
    with aot.no_grad():
        plain, narrow = (aot.compile(made, (x,), precision=p) for p in ("f32", precision))
    error = distance(first(narrow(x)), first(plain(x)))
    assert 0 < error < LIMIT[precision], error  # zero: nothing was rounded
    assert narrow.stats.weight_bytes < SHARE[precision] * plain.stats.weight_bytes


@pytest.mark.parametrize("cpu", [cpu for cpu in X86 if set(TARGETS[cpu].features)
                                 <= set(native_target().features)])
@pytest.mark.parametrize("precision", ["bf16", "int8-weights"])
def test_every_level_computes_what_the_rounded_program_says(cpu: str, precision: str) -> None:
    """Against the interpreter on the rewritten program: only the sums' order differs, and where
    bf16 is multiplied the other factor, whose rounding it does not say, is rounded by hand."""
    for kind in ("linear", "one row", "conv", "depthwise conv", "strided conv", "conv1d"):
        made, x = module(kind)
        x = round_bf16(x)
        with aot.no_grad():
            compiled = aot.compile(made, (x,), precision=precision, cpu=cpu)
        (expected,) = run_program(compiled.lowered.programs[0], [x])
        assert distance(compiled(x), expected) < 1e-5


def pair_products(precision: str, cpu: str, made: aot.nn.Module, x: np.ndarray) -> int:
    """How many products multiply pairs."""
    with aot.no_grad():
        kernels = aot.compile(made, (x,), precision=precision, cpu=cpu).lowered.program.kernels()
    return sum("dot2" in repr(fingerprint(kernel)) for kernel in kernels)


def test_pairs_are_multiplied_where_the_cpu_can() -> None:
    made, x = module("linear")
    wide, thin = aot.nn.Linear(131, 40), aot.nn.Linear(130, 8)
    for precision, cpu, layer, columns, expected in (
            ("bf16", "x86-64-v4-bf16", made, 130, 1), ("bf16", "x86-64-v4", made, 130, 0),
            ("int8-weights", "x86-64-v4-bf16", made, 130, 0), ("f32", "x86-64-v4-bf16", made, 130, 0),
            ("bf16", "x86-64-v4-bf16", wide, 131, 0),  # an odd number is left over
            ("bf16", "x86-64-v4-bf16", thin, 130, 0)):  # not worth rounding the input
        x = np.zeros((5, columns), np.float32)
        assert pair_products(precision, cpu, layer, x) == expected


def test_a_long_sum_of_pairs() -> None:
    """Sums as long stay exact in f32: ones add up to their number."""
    needs = set(TARGETS["x86-64-v4-bf16"].features)
    if not needs <= set(native_target().features):
        pytest.skip("this CPU has no avx512bf16")
    layer = aot.nn.Linear(6000, 48, bias=False)
    with aot.no_grad():
        layer.weight.fill_(1)
        for rows in (1, 7, 130):
            x = np.ones((rows, 6000), np.float32)
            compiled = aot.compile(layer, (x,), precision="bf16", cpu="x86-64-v4-bf16")
            assert np.array_equal(compiled(x), np.full((rows, 48), 6000, np.float32))


def test_bytes_of_an_artifact() -> None:
    made, x = aot.nn.Linear(512, 512), np.zeros((1, 512), np.float32)
    with aot.no_grad():
        sizes = [aot.compile(made, (x,), precision=p).stats.weight_bytes for p in PRECISIONS]
    weights, bias = 512 * 512, 4 * 512
    assert sizes == [4 * weights + bias, 2 * weights + bias, weights + 2 * bias]


def product(weights: np.ndarray) -> Region:
    """x[3, k] times the weights [k, n]."""
    k, n = weights.shape
    with B.collect(Region()) as region:
        x = B.generic((3, k), 2, E.const(1.0, f32))
        w = B.constant(weights)
        i, j, r = E.index(0), E.index(1), E.index(2)
        region.results = [B.generic((3, n, k), 2, E.load(x, [i, r]) * E.load(w, [r, j]), "add")]
    return region


def narrowed(region: Region, precision: str) -> list[Constant]:
    narrow_weights(region, replace(TARGETS["x86-64-v3"], precision=precision))
    return [op for op in region.ops if isinstance(op, Constant)]


def test_each_channel_has_its_scale() -> None:
    weights = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    weights *= 10.0 ** np.arange(-4, 4, dtype=np.float32)
    weights[:, 3] = 0
    steps, scale = narrowed(product(weights), "int8-weights")
    assert steps.out.dtype is i8 and steps.data.shape == (40, 8) and scale.data.shape == (8,)
    largest = np.abs(steps.data.astype(int)).max(0)
    assert largest.tolist() == [127, 127, 127, 0, 127, 127, 127, 127]
    error = np.abs(steps.data * scale.data - weights).max(0)
    assert (error <= 0.5001 * scale.data).all() and error[3] == 0


def test_bf16_is_the_nearest() -> None:
    weights = np.linspace(0.5, 3, 400, dtype=np.float32).reshape(40, 10)
    (rounded,) = narrowed(product(weights), "bf16")
    assert rounded.out.dtype is bf16
    assert np.abs(rounded.data / weights - 1).max() <= 2.0**-8 + 1e-7


@pytest.mark.parametrize("what", ["few", "infinite", "nan", "f32"])
def test_what_is_left_alone(what: str) -> None:
    weights = np.ones((4, 3) if what == "few" else (40, 10), np.float32)
    if what in ("infinite", "nan"):
        weights[1, 2] = np.inf if what == "infinite" else np.nan
    for precision in ["f32"] if what == "f32" else ["bf16", "int8-weights"]:
        region = product(weights)
        before = [op for op in region.ops]
        body = next(op.body for op in before if isinstance(op, Generic) and op.combiner)
        narrowed(region, precision)
        assert region.ops == before
        assert next(op.body for op in before if isinstance(op, Generic) and op.combiner) is body


def test_weights_of_two_products_are_kept_once() -> None:
    class Tied(aot.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = aot.nn.Parameter(aot.randn(64, 64))

        def forward(self, x: aot.Tensor) -> aot.Tensor:
            for _ in range(3):
                x = aot.tanh(x @ self.weight)
            return x

    x = np.zeros((2, 64), np.float32)
    with aot.no_grad():
        sizes = [aot.compile(Tied(), (x,), precision=p).stats.weight_bytes for p in PRECISIONS]
    assert sizes == [4 * 64 * 64, 2 * 64 * 64, 64 * 64 + 4 * 64]


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, x = module("two layers")
    with aot.no_grad():
        aot.jit.save(aot.jit.trace(made, aot.tensor(x)), tmp_path / "m.pt")
    command = [str(tmp_path / "m.pt"), "--input", "x:f32[3,64]", "-o", str(tmp_path / "m.o"),
               "--verify"]
    errors, sizes = [], []
    for precision in PRECISIONS:
        assert main([*command, "--precision", precision]) == 0
        errors.append(float(capsys.readouterr().out.split()[-1]))
        sizes.append((tmp_path / "m.o").stat().st_size)
    assert errors[0] < 1e-6 < errors[1] < errors[2] < 0.05, errors
    assert sizes[0] > sizes[1] > sizes[2]
    assert main([*command, "--precision", "f8"]) == 2
    assert "invalid choice: 'f8'" in capsys.readouterr().err
    with pytest.raises(CompileError, match="--precision f8: expected f32 or bf16 or int8-weights"):
        aot.compile(tmp_path / "m.pt", (x,), precision="f8")


@pytest.mark.parametrize(
    ("cpu", "precision", "tolerance"),
    [("x86-64-v3", "int8-weights", 2e-5), ("x86-64-v3", "bf16", 2e-5),
     ("x86-64-v4-bf16", "bf16", 3e-2)],  # the last rounds the other factor, too
)
def test_random_programs(cpu: str, precision: str, tolerance: float,
                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code against the interpreter on what the passes have left."""
    if not set(TARGETS[cpu].features) <= set(native_target().features):
        pytest.skip(f"this CPU is no {cpu}")
    row = replace(TARGETS[cpu], precision=precision)
    monkeypatch.setattr(compiled_engines, "resolve_target", lambda name: row)
    monkeypatch.setattr(narrow_weights_module, "_FEWEST", 4)
    rounded = 0
    for seed in range(50):
        made_of = recipe(seed)
        if made_of.dtype is not f32:
            continue
        made, arrays = program(made_of), inputs(made_of)
        found = compiled_engines.run_compiled(made, arrays, True)
        wanted = run_program(made, arrays)
        rounded += any(op.results and op.out.dtype in (i8, bf16) for op in made.body.ops)
        for f, w in zip(found, wanted, strict=True):
            if f.dtype == np.float32:
                scale = max(1.0, float(np.abs(w).max(initial=0)))
                assert np.allclose(f, w, rtol=0, atol=tolerance * scale, equal_nan=True), seed
    assert rounded > 1
