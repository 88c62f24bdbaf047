"""Programs that write into the tensors they are given: the caller's change, as in PyTorch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
import pytest

import aot
from aot.cli import main
from runtime.errors import RuntimeFailure
from runtime.loader import load_library
from tests.conftest import import_torch
from tests.sample_model import WARNINGS, compile_c, run

torch = import_torch()
from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Writes(nn.Module):
    """Whole, in part, through views, under a condition of run time, and what it also returns."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.jit.Attribute(None, Optional[Tensor])

    def forward(self, x: Tensor, y: Tensor, pair: Tuple[Tensor, List[Tensor]], n: int,
                read: Tensor) -> Tuple[Tensor, Tensor]:
        x.add_(read).mul_(2)
        y.t()[1] = x[:2].sum()
        if n > 1:
            pair[0].zero_()
        pair[1][0][0] += n
        last = self.last
        if last is not None:
            y.sub_(last)
        self.last = y.clone()
        if n > 8:
            raise ValueError("too many")
        return x, read + y.sum()


WORDS = ["x:f32[3]", "y:f32[2,2]", "pair:(f32[2],[i64[2],f32[1]])", "n:int", "read:f32[3]"]


def arguments(seed: int, n: int) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    x, y, z, u, read = (random.standard_normal(s).astype(np.float32)
                        for s in ((3,), (2, 2), (2,), (1,), (3,)))
    return x, y, (z, [np.arange(2) + seed, u]), n, read


def as_torch(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return type(value)(map(as_torch, value))
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value


def leaves(value: Any) -> list[np.ndarray]:
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.asarray(value)]


def agree(found: Any, expected: Any) -> None:
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        assert a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5), (a, b)


@pytest.fixture(scope="module")
def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Writes().eval()), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("optimize", [True, False], ids=["fast", "plain"])
def test_the_callers_arrays_change(scripted: bytes, optimize: bool) -> None:
    module = torch.jit.load(io.BytesIO(scripted))
    compiled = aot.compile(aot.jit.load(io.BytesIO(scripted)), inputs=WORDS, optimize=optimize)
    for seed, n in enumerate((1, 2, 0, 5)):
        args = arguments(seed, n)
        theirs = as_torch(args)
        expected = module(*theirs)
        agree(compiled(*args), expected)
        agree(args, theirs)


def test_tensors_views_and_other_layouts(scripted: bytes) -> None:
    """What is not contiguous is copied for the call, and changes all the same."""
    module = torch.jit.load(io.BytesIO(scripted))
    compiled = aot.compile(aot.jit.load(io.BytesIO(scripted)), inputs=WORDS)
    ours, theirs = as_torch(arguments(1, 2)), as_torch(arguments(1, 2))
    module(*theirs)
    compiled(*ours)
    agree(ours, theirs)
    args = list(arguments(1, 2))
    wide = np.zeros((3, 4), np.float32)
    wide[:, 1] = args[0]
    args[0], args[1] = wide[:, 1], args[1].T.copy().T
    compiled.reset()
    compiled(*args)
    agree(args, theirs)
    assert not wide[:, [0, 2, 3]].any()


def test_a_call_that_fails_leaves_them(scripted: bytes) -> None:
    compiled = aot.compile(aot.jit.load(io.BytesIO(scripted)), inputs=WORDS)
    args = arguments(0, 9)
    with pytest.raises(RuntimeFailure, match="too many"):
        compiled(*args)
    agree(args, arguments(0, 9))


def test_what_is_only_read_is_no_output() -> None:
    module = nn.Sequential(nn.Flatten(0), nn.ReLU(inplace=True))
    for x, outputs in ((torch.ones(2, 2), 2), (torch.ones(2, 2).t()[:, :1], 2)):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.trace(module, (x.clone(),)), buffer)
        compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())))
        assert len(compiled.model.description.methods[0].outputs) == outputs
    clean = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(clean, (torch.ones(2),)), buffer)
    compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())))
    assert len(compiled.model.description.methods[0].outputs) == 1


C_TEST = r"""
#include <stdio.h>
#include <string.h>
#include "m.h"

int main(void) {
    float x[3] = {1, 2, 3}, y[4] = {1, 2, 3, 4}, z[2] = {1, 2}, u[1] = {5}, read[3] = {1, 1, 1};
    int64_t k[2] = {7, 8}, k_after[2];
    float out0[3], out1[3], x_after[3], y_after[4], z_after[2];
    m_instance *m;
    if (m_create(&m, NULL) != AOT_OK) return 1;
    if (m_forward(m, x, y, z, k, u, 4, read, out0, out1, x_after, y_after, z_after, k_after) !=
        AOT_OK)
        return 2;
    if (x[0] != 1 || x_after[0] != 4 || x_after[2] != 8 || memcmp(x_after, out0, 12)) return 3;
    if (y_after[0] != 1 || y_after[1] != 10 || y_after[3] != 10 || z_after[1] != 0) return 4;
    if (k_after[0] != 11 || k_after[1] != 8 || k[0] != 7) return 5;
    if (m_model.methods[0].num_outputs != 6) return 6;
    if (strcmp(m_model.methods[0].outputs[4].name, "pair.0") != 0) return 7;
    m_destroy(m);
    puts("ok");
    return 0;
}
"""


def test_from_c_and_from_a_library(scripted: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(scripted)
    words = [w for word in WORDS for w in ("--input", word)]
    for emit, out in (("obj", "m.o"), ("lib", "m.so")):
        assert main([str(tmp_path / "m.pt"), "-o", str(tmp_path / out), "--name", "m", "--emit",
                     emit, "--verify", *words]) == 0
    (tmp_path / "t.c").write_text(C_TEST)
    compile_c(["-std=c99", *WARNINGS, f"-I{tmp_path}", tmp_path / "t.c", tmp_path / "m.o", "-o",
               tmp_path / "t"])
    assert run([tmp_path / "t"]).stdout == "ok\n"
    header = (tmp_path / "m.h").read_text()
    assert "y_after      out f32[2,2], what the program leaves in y\n" in header
    model = load_library(tmp_path / "m.so")
    args, theirs = arguments(3, 2), as_torch(arguments(3, 2))
    torch.jit.load(io.BytesIO(scripted))(*theirs)
    model(*args)
    agree(args, theirs)
