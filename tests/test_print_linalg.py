"""The MLIR text of tensor programs is accepted by mlir-opt 22: one call for all operators."""

from __future__ import annotations

import itertools
import re
import subprocess

import numpy as np
import pytest

from lowering import build as B
from lowering import expr as E
from lowering.ops import TABLE
from lowering.print_linalg import print_tensor_program
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import ALL, bf16, bool_, f16, f32, f64, i64
from tests.conftest import import_torch, mlir_opt, needs_mlir_opt

torch = import_torch()

from lowering.known import Unsupported  # noqa: E402
from tests.operator_sweep import samples  # noqa: E402
from tests.opinfo_harness import NotBound, bind, build, reference, supported  # noqa: E402

DTYPES = (torch.float32, torch.int64, torch.bfloat16)


def texts(name: str, dtype: torch.dtype, most: int):
    """MLIR of the operator's first samples, one an overload."""
    torch.manual_seed(0)
    seen: dict[str, int] = {}
    for sample in itertools.islice(samples(name, dtype), 40):
        if not supported(sample.args) or not supported(sample.kwargs):
            continue
        try:
            entry, bound = bind(name, sample.args, sample.kwargs)
            overload = entry.schema.overload
            if seen.get(overload, 0) >= most:
                continue
            if name.startswith("aten::") and not supported(reference(entry, bound)):
                continue  # torchvision's operators give f32 and i64; it need not be installed here
            program, _ = build(entry, bound)
        except (NotBound, Unsupported, RuntimeError, IndexError, ValueError, TypeError):
            continue
        seen[overload] = seen.get(overload, 0) + 1
        yield print_tensor_program(program)


def rejected(chunks: list[tuple[str, str]]) -> list[str]:
    """What mlir-opt says about each chunk (label, text) that it does not accept."""
    joined = "\n// -----\n".join(text for _, text in chunks)
    run = subprocess.run([mlir_opt(), "--split-input-file", "--verify-each", "-o", "/dev/null"],
                         input=joined, capture_output=True, text=True, check=False)
    if run.returncode == 0:
        return []
    starts = list(itertools.accumulate(
        (text.count("\n") + 2 for _, text in chunks), initial=1))
    found = []
    for line, message in re.findall(r"^<stdin>:(\d+):\d+: error: (.*)$", run.stderr, re.M):
        k = max(n for n, s in enumerate(starts) if s <= int(line))
        text = joined.splitlines()[int(line) - 1].strip()
        found.append(f"{chunks[k][0]}: {message}: {text[:200]}")
    return found or [run.stderr[:2000]]


@needs_mlir_opt
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_operators_text_is_accepted(dtype) -> None:
    chunks = [(name, text) for name in sorted(TABLE) for text in texts(name, dtype, 1)]
    assert len(chunks) > 100
    wrong = rejected(chunks)
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:40])


@needs_mlir_opt
def test_a_wrong_text_is_rejected() -> None:
    assert rejected([("wrong", "func.func @f() -> i64 { return }")])


def control_flow():
    """A program with a branch, a loop that may end early, and a strided assignment."""
    x, n = Value((4,), f32), Value((), i64)
    region = Region([x, n])
    with B.collect(region):
        positive = B.reduce("add", x, None, False, post=lambda s: s > 0,
                            out=bool_)
        y, = B.cond(positive, lambda: [B.pointwise(lambda a: a * 2, x)],
                    lambda: [B.pointwise(lambda a: -a, x)])
        z, = B.loop(n, [y], lambda i, v: [B.pointwise(lambda a, b: a + b, v, i)])
        B.check(B.pointwise(lambda a: a > 0, n), 'n must be "positive"')
        region.results = [B.update(B.full((2, 9), 0, f32), (4,), lambda i: [1, i * 2 + 1],
                                   lambda i: E.load(z, [i])),
                          B.update(B.full((4, 4), 0, f32), (4,), lambda i: [i, i],
                                   lambda i: E.load(z, [i]))]
    return TensorProgram("control flow", region, ["x", "n"], "", "")


@needs_mlir_opt
def test_control_flow_is_accepted() -> None:
    text = print_tensor_program(control_flow())
    assert "scf.if" in text and "scf.while" in text and "tensor.insert_slice" in text
    assert not rejected([("control flow", text)])


@needs_mlir_opt
def test_constants_of_every_dtype_are_accepted() -> None:
    region = Region()
    with B.collect(region):
        for dtype in ALL:
            numbers = [0, 1, 1] if dtype is bool_ else [0, 1, 200]
            region.results += [B.constant(np.array(numbers).astype(dtype.compute), dtype),
                               B.constant(np.ones((20, 30)).astype(dtype.compute), dtype),
                               B.constant(np.zeros((0, 2)).astype(dtype.compute), dtype)]
        odd = np.array([np.inf, -np.inf, np.nan, -0.0, 1e-45, 0.1])
        region.results += [B.constant(odd.astype(d.compute), d) for d in (f16, bf16, f32, f64)]
        region.results.append(B.constant(np.arange(1000), i64))
    assert not rejected([("constants", print_tensor_program(
        TensorProgram("constants", region, [], "", "")))])
