"""Every row of the target table: programs for it give the interpreter's results, and refuse a CPU
that lacks what they need. Levels that this CPU has run here; the others, and AArch64, in QEMU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import aot
from llvm_backend.heap_code import VERSION_AT
from llvm_backend.native import native_target
from llvm_backend.target import PRECISIONS, TARGETS
from runtime.errors import TargetError
from runtime.loader import CompiledModel
from tests.conftest import ROOT, require

ARM = [name for name, target in TARGETS.items() if target.triple.startswith("aarch64")]
X86 = [name for name in TARGETS if name not in ARM]
CROSS_COMPILER = "aarch64-linux-gnu-gcc"
# A CPU that QEMU knows which has a row's features, and one that lacks some; it has no AVX-512.
EMULATED = {"x86-64": ("core2duo", None), "x86-64-v2": ("Nehalem", "core2duo"),
            "x86-64-v3": ("Haswell", "Nehalem"), "x86-64-v4": (None, "Haswell"),
            "x86-64-v4-bf16": (None, "Haswell")}


class Model(aot.nn.Module):
    """Convolutions plain and depthwise, products, norms, vector math, sorting, a loop of run
    time: what is scheduled or emitted otherwise from CPU to CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = aot.nn.Conv2d(3, 10, 3, padding=1)
        self.deep = aot.nn.Conv2d(10, 10, 3, groups=10)
        self.norm = aot.nn.LayerNorm(37)
        self.last = aot.nn.Linear(37, 21)

    def forward(self, x: aot.Tensor, n: int) -> list[aot.Tensor]:
        y = aot.relu(self.first(x))
        y = aot.sigmoid(self.deep(y)).flatten(2)[:, :, :37]
        z = aot.softmax(self.last(self.norm(y)), -1)
        for i in range(n):
            z = z + aot.sin(z * i) * aot.erf(z)
        values, places = aot.sort(z, -1)
        half = z.to(aot.float16).exp().to(aot.float32)
        return [z, values, places, half, (z * 100).to(aot.int32), aot.cumsum(z, -1)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with its input in a file beside it."""
    folder = tmp_path_factory.mktemp("cpus")
    aot.manual_seed(0)
    aot.jit.save(aot.jit.script(Model()), folder / "m.pt")
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((2, 3, 12, 9), np.float32))
    return folder / "m.pt"


@pytest.fixture(scope="module")
def expected(archive: Path) -> list[np.ndarray]:
    return compiled(archive, "x86-64").interpret(np.load(archive.with_name("x.npy")), 3)


def compiled(archive: Path, cpu: str, name: str = "m"):
    return aot.compile(archive, inputs=("x:f32[2,3,12,9]", "n:int"), cpu=cpu, name=name)


def program(archive: Path, cpu: str) -> Path:
    path = archive.with_name(f"program-{cpu}")
    if not path.exists():
        compiled(archive, cpu).save(path)
    return path


def check(archive: Path, command: list[str | Path], expected: list[np.ndarray]) -> None:
    """Runs a program and compares what it writes."""
    out = archive.with_name("out")
    for k in range(len(expected)):
        out.with_name(f"out.{k}.npy").unlink(missing_ok=True)
    run = subprocess.run([*map(str, command), "-o", str(out), str(archive.with_name("x.npy")), "3"],
                         capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    same_values(expected, [np.load(out.with_name(f"out.{k}.npy")) for k in range(len(expected))])


def same_values(expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    for k, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        tolerance = 2e-3 if k == 3 else 2e-6  # one result was rounded to f16 on the way
        assert np.allclose(ours, theirs, atol=tolerance, rtol=tolerance), f"result {k}"


@pytest.mark.parametrize("cpu", X86)
def test_levels_of_this_cpu(archive: Path, expected: list[np.ndarray], cpu: str) -> None:
    missing = set(TARGETS[cpu].features) - set(native_target().features)
    if missing or native_target().triple.startswith("aarch64"):
        pytest.skip(f"this CPU lacks {', '.join(sorted(missing)) or 'x86-64'}")
    check(archive, [program(archive, cpu)], expected)
    same_values(expected, compiled(archive, cpu)(np.load(archive.with_name("x.npy")), 3))


@pytest.mark.parametrize("cpu", [cpu for cpu in X86 if EMULATED[cpu][0]])
def test_a_cpu_that_has_no_more(archive: Path, expected: list[np.ndarray], cpu: str) -> None:
    """Code for a level uses nothing beyond it."""
    require(shutil.which("qemu-x86_64") is not None, "qemu-user")
    check(archive, ["qemu-x86_64", "-cpu", EMULATED[cpu][0], program(archive, cpu)], expected)


@pytest.mark.parametrize("cpu", [cpu for cpu in X86 if EMULATED[cpu][1]])
def test_a_cpu_that_lacks_something_is_refused(archive: Path, cpu: str) -> None:
    require(shutil.which("qemu-x86_64") is not None, "qemu-user")
    command = ["qemu-x86_64", "-cpu", EMULATED[cpu][1], program(archive, cpu),
               archive.with_name("x.npy"), "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1, run.stderr
    assert f"which the object was compiled for (target {cpu})" in run.stderr


@pytest.mark.parametrize("cpu", ARM)
def test_aarch64(archive: Path, expected: list[np.ndarray], cpu: str,
                 monkeypatch: pytest.MonkeyPatch) -> None:
    require(shutil.which("qemu-aarch64") is not None, "qemu-user")
    require(shutil.which(CROSS_COMPILER) is not None, CROSS_COMPILER)
    monkeypatch.setenv("CC", f"{CROSS_COMPILER} -static")
    check(archive, ["qemu-aarch64", program(archive, cpu)], expected)


def test_the_example_in_c_on_aarch64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in C, with the typed entry and the generated header, on another architecture."""
    require(shutil.which("qemu-aarch64") is not None, "qemu-user")
    require(shutil.which(CROSS_COMPILER) is not None, CROSS_COMPILER)
    archive = ROOT / "examples" / "digits" / "digits.pt"
    aot.compile(archive, cpu="aarch64", name="digits").save(tmp_path / "digits.o")
    digits = ROOT / "examples" / "digits"
    command = [CROSS_COMPILER, "-static", "-std=c99", f"-I{tmp_path}",
               f"-I{ROOT / 'runtime' / 'include'}", digits / "digits.c", tmp_path / "digits.o",
               ROOT / "runtime" / "src" / "aot_npy.c", "-o", tmp_path / "digits"]
    subprocess.run(list(map(str, command)), check=True)
    run = subprocess.run(
        ["qemu-aarch64", str(tmp_path / "digits"), str(digits / "images.npy"),
         str(digits / "labels.npy")], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "right" in run.stdout, run.stdout


SEVERAL = "x86-64-v2,x86-64-v4,x86-64-v3"  # in any order: the most wanted one is asked first


def version(model: CompiledModel) -> int:
    """The number that init has written into an instance."""
    instance = model._instances.acquire()
    model._instances.release(instance)
    return ctypes.c_int64.from_address(instance.address + VERSION_AT).value


@pytest.mark.parametrize("cpu", ["Nehalem", "Haswell", None])
def test_several_rows_in_one_program(archive: Path, expected: list[np.ndarray],
                                     cpu: str | None) -> None:
    """None: this CPU, whatever it has."""
    require(cpu is None or shutil.which("qemu-x86_64") is not None, "qemu-user")
    run = [] if cpu is None else ["qemu-x86_64", "-cpu", cpu]
    check(archive, [*run, program(archive, SEVERAL)], expected)


def test_several_rows_need_the_least_of_them(archive: Path) -> None:
    require(shutil.which("qemu-x86_64") is not None, "qemu-user")
    command = ["qemu-x86_64", "-cpu", "core2duo", program(archive, SEVERAL),
               archive.with_name("x.npy"), "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "lacks sse4.2" in run.stderr, run.stderr


def test_several_rows_share_their_weights(archive: Path) -> None:
    for precision in PRECISIONS:
        sizes = [aot.compile(archive, inputs=("x:f32[2,3,12,9]", "n:int"), cpu=cpu,
                             precision=precision).stats.weight_bytes
                 for cpu in ("x86-64-v4-bf16,x86-64-v3", "x86-64-v4")]
        assert sizes[0] == sizes[1], precision
    several, widest = compiled(archive, SEVERAL), compiled(archive, "x86-64-v4")
    assert several.stats.weight_bytes == widest.stats.weight_bytes
    description = several.artifact.description
    assert description.target_cpu == "x86-64-v4, x86-64-v3, x86-64-v2"
    assert description.cpu_features == TARGETS["x86-64-v2"].features


def test_the_best_that_runs_is_picked(archive: Path, expected: list[np.ndarray]) -> None:
    model = compiled(archive, SEVERAL).model
    has = [set(TARGETS[f"x86-64-v{n}"].features) <= set(native_target().features)
           for n in (4, 3, 2)]
    if not any(has):
        pytest.skip("this CPU has none of them")
    assert version(model) == has.index(True)
    same_values(expected, model(np.load(archive.with_name("x.npy")), 3))


def test_every_version_gives_the_same(archive: Path, expected: list[np.ndarray]) -> None:
    """Also those that would not be picked here."""
    model = compiled(archive, SEVERAL).model
    for n, cpu in enumerate(("x86-64-v4", "x86-64-v3", "x86-64-v2")):
        if not set(TARGETS[cpu].features) <= set(native_target().features):
            continue
        instance = model._instances.acquire()
        ctypes.c_int64.from_address(instance.address + VERSION_AT).value = n
        model._instances.release(instance)
        same_values(expected, model(np.load(archive.with_name("x.npy")), 3))


class Remembers(aot.nn.Module):
    """State, whose beginning is a constant of the object."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = aot.nn.Linear(40, 40)
        self.register_buffer("h", aot.arange(40).to(aot.float32))

    def forward(self, x: aot.Tensor) -> aot.Tensor:
        h = aot.tanh(self.linear(x) + self.h)
        self.h.copy_(h[0])
        return h


@pytest.mark.parametrize("threads", [1, 2])
def test_several_rows_have_one_state(tmp_path: Path, threads: int) -> None:
    aot.jit.save(aot.jit.script(Remembers()), tmp_path / "m.pt")
    several, plain = (aot.compile(tmp_path / "m.pt", inputs=("x:f32[3,40]",), cpu=cpu,
                                  threads=threads) for cpu in (SEVERAL, "x86-64"))
    x = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    results = [several(x) for _ in range(3)]
    same_values([plain(x) for _ in range(3)], results)
    saved = several.save_state()
    plain.restore_state(saved)  # what is kept does not depend on the CPU
    same_values([plain(x)], [several(x)])
    several.reset()
    assert np.array_equal(several(x), results[0])


@pytest.mark.parametrize(
    ("cpus", "message"),
    [
        ("x86-64-v3,aarch64", "one object holds code of one architecture, not of aarch64 and x86"),
        ("aarch64,neoverse-n1", "several rows in one object are for x86-64 only"),
        ("x86-64-v3,x87", "unknown CPU 'x87'"),
        ("x86-64-v3,", "unknown CPU ''"),
    ],
)
def test_rows_that_do_not_go_together(archive: Path, cpus: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        compiled(archive, cpus)


def test_a_row_twice_is_one_version(archive: Path) -> None:
    twice, once = compiled(archive, "x86-64-v3,x86-64-v3"), compiled(archive, "x86-64-v3")
    assert twice.artifact.code == once.artifact.code
