"""One method compiled for several signatures: who is picked, from Python, C, C++ and the shell."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import pytest

import aot
from aot.cli import main
from runtime.errors import AotError, InputError
from runtime.loader import load_library
from tests.conftest import import_torch
from tests.sample_model import WARNINGS, compile_c, run

torch = import_torch()
from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Filter(nn.Module):
    """Its context has the rate's length; a change of the rate begins anew."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0
        self.context = torch.zeros(0)
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor, rate: int, scale: Optional[Tensor] = None) -> Tensor:
        n = 4 if rate == 2 else 2
        if x.size(0) != n:
            raise ValueError(f"{n} samples are expected")
        if self.rate != rate:
            self.context = torch.zeros(n)
        self.rate = rate
        self.context = self.context * 0.5 + x.to(torch.float)
        y = self.context.repeat(4 // n)
        if scale is not None:
            y = y * scale
        return self.linear(y)


SIGNATURES = [["x:f32[4]", "rate:int=2"], ["x:f32[2]", "rate:i64=1"],
              ["x:f32[4]", "rate:int=2", "s:f32[4]"], ["x:i64[2]", "rate:int=1"]]


@pytest.fixture(scope="module")
def scripted() -> tuple[Any, Any]:
    module = torch.jit.script(Filter().eval())
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return module, buffer.getvalue()


def calls(count: int) -> list[tuple]:
    """Arguments of every signature by turns."""
    random = np.random.default_rng(3)
    found: list[tuple] = []
    for i in range(count):
        x = random.standard_normal(4).astype(np.float32)
        found += [(x, 2), (x[:2].copy(), 1), (x, 2, x + 1), (np.arange(2) + i, 1)]
    return found


def agree(model: Any, scripted: tuple[Any, Any], count: int) -> None:
    module = torch.jit.load(io.BytesIO(scripted[1]))
    for args in calls(count):
        given = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in args]
        expected = module(*given).detach().numpy()
        assert np.allclose(model(*args), expected, rtol=1e-5, atol=1e-6), args


@pytest.mark.parametrize("optimize", [True, False], ids=["fast", "plain"])
def test_calls_pick_by_their_arguments(scripted: tuple[Any, Any], optimize: bool) -> None:
    compiled = aot.compile(aot.jit.load(io.BytesIO(scripted[1])), inputs=SIGNATURES,
                           optimize=optimize)
    agree(compiled, scripted, 4)
    compiled.reset()
    agree(compiled, scripted, 1)


def test_the_library_picks_too(scripted: tuple[Any, Any], built: Path) -> None:
    model = load_library(built / "m.so")
    assert [m.takes for m in model.description.methods] == [
        "(x: f32[4], rate: int=2)", "(x: f32[2], rate: int=1)",
        "(x: f32[4], rate: int=2, s: f32[4])", "(x: i64[2], rate: int=1)"]
    agree(model, scripted, 3)
    saved = model.save_state()
    before = model(*calls(1)[1])
    model.restore_state(saved)
    assert np.array_equal(model(*calls(1)[1]), before)


@pytest.mark.parametrize("args, reason", [
    ((np.zeros(2, np.float32), 2), r"x: f32\[2\], rate: int=1.*'rate': expected 1, found 2"),
    ((np.zeros(3, np.float32), 2), r"expected f32\[4\], found an array f32\[3\]|found f32\[3\]"),
    ((np.zeros(4, np.float64), 2), r"found f64\[4\]"),
    ((np.zeros(4, np.float32), 2, 1, 1), r"2 arguments \(x, rate\), found 4"),
])
def test_what_fits_none_is_refused_with_all(scripted: tuple[Any, Any], built: Path, args: tuple,
                                            reason: str) -> None:
    with pytest.raises(InputError, match="compiled for 4 signatures, and none fits") as error:
        load_library(built / "m.so")(*args)
    assert str(error.value).count("\n") == 4, error.value
    assert re.search(reason, str(error.value)), error.value


def test_constants_that_all_share_stay_compiled_in(scripted: tuple[Any, Any]) -> None:
    compiled = aot.compile(aot.jit.load(io.BytesIO(scripted[1])),
                           inputs=[["x:f32[4]", "rate:int=2"], ["x:i64[4]", "rate:int=2"]])
    assert [len(m.inputs) for m in compiled.model.description.methods] == [1, 1]
    x = np.arange(4)
    assert np.array_equal(compiled(x, 2), compiled.instance()(x))
    with pytest.raises(InputError, match="2 was compiled in"):
        compiled(x, 1)


class Nests(nn.Module):
    def forward(self, xs: List[Tensor], pair: Tuple[Tensor, int], named: Dict[str, Tensor],
                word: str) -> Tensor:
        y = pair[0] * pair[1] + named["a"]
        for x in xs:
            y = y + x
        return -y if word == "minus" else y


def test_structures_and_words_pick() -> None:
    """The length of a list, a number inside a tuple, a string, which is compiled in."""
    one, two = np.ones(2, np.float32), np.full(2, 2, np.float32)
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Nests()), buffer)
    loaded = aot.jit.load(io.BytesIO(buffer.getvalue()))
    with pytest.raises(AotError, match="no KEY:TYPE"):
        aot.compile(loaded, inputs=[["xs:[f32[2]]", "pair:(f32[2],int=1)", "named:{a}"]])

    class Plain(nn.Module):
        def forward(self, xs: List[Tensor], pair: Tuple[Tensor, int], word: str) -> Tensor:
            y = pair[0] * pair[1]
            for x in xs:
                y = y + x
            return -y if word == "minus" else y

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Plain()), buffer)
    compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())), inputs=[
        ["xs:[f32[2]]", "pair:(f32[2],int=1)", "word:str=plus"],
        ["xs:[f32[2],f32[2]]", "pair:(f32[2],int=3)", "word:str=plus"],
        ["xs:[f32[2],f32[2]]", "pair:(f32[2],int=3)", "word:str=minus"]])
    assert compiled([one], (two, 1), "plus").tolist() == [3, 3]
    assert compiled([one, one], (two, 3), "plus").tolist() == [8, 8]
    assert compiled([one, one], (two, 3), "minus").tolist() == [-8, -8]
    for wrong in (([one], (two, 3), "plus"), ([one], (two, 1), "minus")):
        with pytest.raises(InputError, match="3 signatures, and none fits"):
            compiled(*wrong)


C_TEST = r"""
#include <stdio.h>
#include <string.h>
#include "m.h"

#define REQUIRE(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); return 1; } } while (0)

int main(void)
{
    float four[4] = {1, 2, 3, 4}, two[2] = {1, 2}, y[2], z[2], w[2];
    int64_t whole[2] = {1, 2}, rate = 2, shape4[1] = {4}, shape2[1] = {2};
    unsigned char saved[m_STATE_SIZE + 1];
    m_instance *a, *b;
    REQUIRE(m_create(&a, NULL) == AOT_OK && m_create(&b, NULL) == AOT_OK);

    /* The typed entries: numbers choose; what they do not tell apart has a name of its own. */
    REQUIRE(m_forward(a, four, 2, y) == AOT_OK && m_forward(a, four, 2, z) == AOT_OK);
    REQUIRE(memcmp(y, z, sizeof y) != 0);
    REQUIRE(m_forward(a, four, 3, y) == AOT_INVALID_ARGUMENT);
    REQUIRE(strcmp(m_message(a), "forward takes (x: f32[4], rate: int=2) or (x: f32[2], rate: "
                                 "int=1)") == 0);
    REQUIRE(m_forward(a, two, 1, y) == AOT_OK && m_forward_3(a, whole, 1, z) == AOT_OK);
    REQUIRE(m_forward_2(a, four, 2, four, z) == AOT_OK);
    REQUIRE(m_forward_2(a, four, 1, four, z) == AOT_INVALID_ARGUMENT);

    /* Copy, save, restore. */
    REQUIRE(m_model.state_size == m_STATE_SIZE && m_copy_state(b, a) == AOT_OK);
    REQUIRE(m_save_state(a, saved + 1) == AOT_OK); /* of any alignment */
    REQUIRE(m_forward(a, four, 2, y) == AOT_OK && m_forward(b, four, 2, z) == AOT_OK);
    REQUIRE(memcmp(y, z, sizeof y) == 0);
    REQUIRE(m_forward(a, four, 2, w) == AOT_OK && memcmp(w, y, sizeof y) != 0);
    REQUIRE(m_restore_state(a, saved + 1, m_STATE_SIZE - 1) == AOT_INVALID_ARGUMENT);
    REQUIRE(strstr(m_message(a), "bytes") != NULL);
    REQUIRE(m_restore_state(a, NULL, m_STATE_SIZE) == AOT_INVALID_ARGUMENT);
    REQUIRE(m_restore_state(a, saved + 1, m_STATE_SIZE) == AOT_OK);
    REQUIRE(m_forward(a, four, 2, w) == AOT_OK && memcmp(w, y, sizeof y) == 0);
    for (int at = 0; at < 24; at++) { /* every byte of the head counts */
        saved[1 + at] ^= 4;
        REQUIRE(m_restore_state(a, saved + 1, m_STATE_SIZE) == AOT_INVALID_ARGUMENT);
        REQUIRE(m_message(a)[0] != 0);
        saved[1 + at] ^= 4;
    }
    REQUIRE(m_reset(a) == AOT_OK && m_message(a)[0] == 0);
    REQUIRE(m_reset(NULL) == AOT_INVALID_ARGUMENT && m_copy_state(a, NULL) == AOT_INVALID_ARGUMENT);
    REQUIRE(m_copy_state(NULL, a) == AOT_INVALID_ARGUMENT);
    REQUIRE(m_save_state(NULL, saved) == AOT_INVALID_ARGUMENT);
    REQUIRE(m_save_state(a, NULL) == AOT_INVALID_ARGUMENT);
    REQUIRE(m_restore_state(NULL, saved, m_STATE_SIZE) == AOT_INVALID_ARGUMENT);

    /* The generic call. */
    aot_tensor in[3] = {aot_tensor_of(four, aot_dtype_of(AOT_FLOAT, 32), 1, shape4),
                        aot_tensor_of(&rate, aot_dtype_of(AOT_SIGNED, 64), 0, NULL),
                        aot_tensor_of(four, aot_dtype_of(AOT_FLOAT, 32), 1, shape4)};
    aot_tensor out = aot_tensor_of(y, aot_dtype_of(AOT_FLOAT, 32), 1, shape2);
    const aot_method *rows = m_model.methods;
    REQUIRE(aot_pick_method(&m_model, "forward", in, 2) == &rows[0]);
    REQUIRE(aot_pick_method(&m_model, "forward", in, 3) == &rows[2]);
    REQUIRE(aot_pick_method(&m_model, "forward", in, 1) == NULL);
    REQUIRE(aot_pick_method(&m_model, "forwar", in, 2) == NULL);
    REQUIRE(rows[0].run(a, in, &out) == AOT_OK);
    rate = 1;
    REQUIRE(aot_pick_method(&m_model, "forward", in, 2) == NULL);
    REQUIRE(rows[0].run(a, in, &out) == AOT_INVALID_ARGUMENT);
    REQUIRE(strstr(m_message(a), "input rate has another value; expected int=2; forward takes "
                                 "(x: f32[4], rate: int=2) or (x: f32[2], rate: int=1) or") != NULL);
    in[0] = aot_tensor_of(two, aot_dtype_of(AOT_FLOAT, 32), 1, shape2);
    REQUIRE(aot_pick_method(&m_model, "forward", in, 2) == &rows[1]);
    in[0] = aot_tensor_of(whole, aot_dtype_of(AOT_SIGNED, 64), 1, shape2);
    REQUIRE(aot_pick_method(&m_model, "forward", in, 2) == &rows[3]);
    m_destroy(a);
    m_destroy(b);
    puts("ok");
    return 0;
}
"""

CPP_TEST = r"""
#include "m.h"
#include "aot.hpp"

int main() {
    const aot::Instance model(m_model);
    std::vector<float> four{1, 2, 3, 4}, two{1, 2};
    std::int64_t rate = 2, other = 1;
    const auto call = [&](const aot::Instance &m) {
        return m.call("forward", {aot::Tensor(four, {4}), aot::Tensor(rate)})[0].values<float>()[0];
    };
    const float first = call(model);
    std::vector<unsigned char> saved = model.save();
    const aot::Instance copy = model.copy();
    const float second = call(model);
    if (first == second || call(copy) != second) return 1;
    if (!model.restore(saved) || call(model) != second) return 2;
    if (!model.reset() || call(model) != first) return 3;
    saved[20] ^= 1;
    if (model.restore(saved).code() != AOT_INVALID_ARGUMENT) return 4;
    saved.pop_back();
    if (model.restore(saved).message().find("bytes") == std::string::npos) return 5;
    if (model.call("forward", {aot::Tensor(two, {2}), aot::Tensor(other)}).size() != 1) return 6;
    std::vector<float> y(2);
    const aot::Status s = model.run("forward", {aot::Tensor(two, {2}), aot::Tensor(rate)},
                                    {aot::Tensor(y, {2})});
    if (s.message().find("forward takes (x: f32[4], rate: int=2) or") == std::string::npos) return 7;
    std::puts("ok");
    return 0;
}
"""


@pytest.fixture(scope="module")
def built(scripted: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.pt and what the command line makes of it: m.o, m.h, m.so, m."""
    folder = tmp_path_factory.mktemp("signatures")
    (folder / "m.pt").write_bytes(scripted[1])
    words = [w for s in SIGNATURES for w in ("--method", "forward", *(
        x for one in s for x in ("--input", one)))]
    for emit, out in (("obj", "m.o"), ("lib", "m.so"), ("exe", "m")):
        assert main([str(folder / "m.pt"), "-o", str(folder / out), "--name", "m", "--emit", emit,
                     "--verify", "--cpu", "x86-64-v3", *words]) == 0
    return folder


def test_from_c(built: Path) -> None:
    (built / "t.c").write_text(C_TEST)
    flags = ["-std=c99", "-g", *WARNINGS, "-fsanitize=address,undefined", f"-I{built}"]
    compile_c([*flags, built / "t.c", built / "m.o", "-o", built / "t"])
    result = run([built / "t"])
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stdout + result.stderr


def test_from_cpp(built: Path) -> None:
    (built / "t.cpp").write_text(CPP_TEST)
    flags = ["-std=c++17", "-g", *WARNINGS, "-fsanitize=address,undefined", f"-I{built}"]
    compile_c([*flags, built / "t.cpp", built / "m.o", "-ldl", "-o", built / "tpp"], cxx=True)
    result = run([built / "tpp"])
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_from_the_shell(built: Path) -> None:
    np.save(built / "four.npy", np.ones(4, np.float32))
    np.save(built / "two.npy", np.ones(2, np.float32))

    def program(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./m", *words], cwd=built, capture_output=True, text=True)

    for words in (["four.npy", "2"], ["two.npy", "1"], ["four.npy", "2", "four.npy"]):
        assert program(*words).stdout == "out0: f32[2] -> out.0.npy\n"
    refused = program("two.npy", "2")
    assert refused.returncode == 2 and "fit no signature of forward; it takes one of\n" in (
        refused.stderr) and "x: i64[2], rate: int=1\n" in refused.stderr
    assert "rate: int=2" in program("--help").stdout


def test_the_same_signature_twice_is_refused(built: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--method", "forward", "--input", "x:f32[4]", "--input", "rate:int=2"]
    assert main([str(built / "m.pt"), "--emit", "code", *words, *words]) == 2
    assert "is given 2 times with the same inputs" in capsys.readouterr().err
