"""Silero's voice detector, a real archive with state, both of its rates in one artifact, run in C.

PyTorch runs the same stream of chunks in the same test: its answers are what the C program must
give, and its times are what the program's are compared with.
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aot
from aot.cli import main
from tests.conftest import import_torch, require
from tests.sample_model import C_DIR, WARNINGS, compile_c, run

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHUNKS = 2000
TOLERANCE = 1e-4
OTHER_BYTES = 600_000  # of a library, beside its weights
SAMPLES = {16000: 512, 8000: 256}
SIGNATURES = [["x:f32[1,512]", "sr:i64=16000"], ["x:f32[1,256]", "sr:i64=8000"]]


@pytest.fixture(scope="module")
def archive() -> Path:
    spec = importlib.util.find_spec("silero_vad")
    require(spec is not None and spec.origin is not None, "the package silero-vad")
    return Path(spec.origin).parent / "data" / "silero_vad.jit"


def stream(count: int) -> list[tuple[int, bool, np.ndarray]]:
    """(rate, whether a reset comes before, samples): voiced syllables, noise and silence in turns.
    The rate changes every 400 chunks, without a reset, which the model then does itself."""
    random = np.random.default_rng(11)
    chunks = []
    for i in range(count):
        rate = (16000, 8000)[i // 400 % 2]
        n = SAMPLES[rate]
        t = (np.arange(n) + i * n) / rate
        pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * t)
        voice = sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 12))
        loud = np.maximum(0, np.sin(2 * np.pi * 3 * t)) * (i // 60 % 3 != 2)
        x = 0.2 * voice * loud + 0.01 * random.standard_normal(n)
        chunks.append((rate, i % 150 == 149, x.astype(np.float32)))
    return chunks


@pytest.fixture(scope="module")
def built(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with silero.o, silero.h, silero.so and the C program."""
    folder = tmp_path_factory.mktemp("silero")
    words = [w for s in SIGNATURES for w in ("--method", "forward", *(
        x for one in s for x in ("--input", one)))]
    for emit, out in (("obj", "silero.o"), ("lib", "silero.so")):
        assert main([str(archive), "-o", str(folder / out), "--emit", emit, *words,
                     "--method", "reset_states"]) == 0
    compile_c(["-std=c99", "-O1", *WARNINGS, f"-I{folder}", C_DIR / "silero.c",
               folder / "silero.o", "-lm", "-o", folder / "silero"])
    return folder


def test_two_thousand_chunks_in_c(archive: Path, built: Path) -> None:
    """Answers within 1e-4; a chunk takes at most half of TorchScript's time."""
    module = torch.jit.load(str(archive))
    chunks = stream(CHUNKS)
    expected, theirs = [], {rate: [] for rate in SAMPLES}
    with torch.no_grad():
        for rate, reset, x in chunks:
            given = torch.from_numpy(x[None])
            if reset:
                module.reset_states()
            start = time.perf_counter()
            y = module(given, rate)
            theirs[rate].append((time.perf_counter() - start) * 1e6)
            expected.append(float(y))
    assert min(expected) < 0.1 and max(expected) > 0.5  # both silence and speech are heard
    with open(built / "signal.bin", "wb") as file:
        for rate, reset, x in chunks:
            file.write(np.array([rate, reset], np.int64).tobytes() + x.tobytes())
    np.array(expected, np.float32).tofile(built / "expected.bin")
    result = run([built / "silero", built / "signal.bin", built / "expected.bin"])
    assert result.returncode == 0, result.stderr
    worst, *figures = map(float, result.stdout.split())
    print(f"largest error {worst:.3g}")
    assert worst <= TOLERANCE
    for rate, (count, least, median) in zip(SAMPLES, (figures[:3], figures[3:])):
        print(f"{rate} Hz: {count:.0f} chunks, {median:.1f} us, least {least:.1f}; PyTorch "
              f"{np.median(theirs[rate]):.1f} us, least {min(theirs[rate]):.1f}")
        assert count == len(theirs[rate])
        assert least <= min(theirs[rate]) / 2  # the least of many: others use the machine


def test_the_library_is_hardly_larger_than_its_weights(archive: Path, built: Path) -> None:
    module = torch.jit.load(str(archive))
    parts = [*module.parameters(), *module.buffers()]
    weights = sum({t.data_ptr(): t.numel() * t.element_size() for t in parts}.values())
    size = (built / "silero.so").stat().st_size
    print(f"the library has {size} bytes, the weights {weights}")
    assert size <= weights + OTHER_BYTES


def test_from_python_with_saved_state(archive: Path) -> None:
    """The same artifact in Python; a saved state goes on where it was saved."""
    module = torch.jit.load(str(archive))
    methods: dict[str, Any] = {"forward": SIGNATURES, "reset_states": []}
    compiled = aot.compile(archive, methods=methods)
    saved, after = b"", []
    for i, (rate, _, x) in enumerate(stream(820)[::40]):
        with torch.no_grad():
            y = float(module(torch.from_numpy(x[None]), rate))
        found = float(compiled(x[None], rate)[0, 0])
        assert abs(found - y) <= TOLERANCE
        if i == 7:
            saved = compiled.save_state()
        elif saved:
            after.append((x, rate, found))
        if i == 12:
            module.reset_states()
            compiled.reset_states()
            break
    other = compiled.instance()
    other.restore_state(saved)
    assert [float(other(x[None], rate)[0, 0]) for x, rate, _ in after] == [y for *_, y in after]
