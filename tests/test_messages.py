"""What compiled programs raise, print and warn, with numbers of run time, beside TorchScript."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest

import aot
from aot.cli import main
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import import_torch, require
from tests.sample_model import WARNINGS, compile_c, run

torch = import_torch()
from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def loaded(module: nn.Module) -> tuple[Any, Any]:
    scripted = torch.jit.script(module.eval())
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    return scripted, aot.jit.load(io.BytesIO(buffer.getvalue()))


class Tells(nn.Module):
    def forward(self, n: int, f: float, b: bool) -> None:
        if n == 12345:
            return
        raise ValueError("{} {} {}|".format(n, f, b) + str(f) + "|%d %s %f %e %%|" % (n, f, f, f)
                         + f"{[n, 2]} {(f,)} {n * f}")


NUMBERS = [0.0, -0.0, 1.0, 0.1, -1 / 3, 1e10, 123456.789, 1.5e-7, 1e16, 1e17, 2.0**62, 2.0**63,
           -(2.0**63), 2.0**70, -1e300, 5e-324,
           float("inf"), float("-inf"), float("nan"), 3.4028234663852886e38]


@pytest.fixture(scope="module")
def tells() -> tuple[Any, Any]:
    module, archive = loaded(Tells())
    return module, aot.compile(archive, inputs=["n:int", "f:float", "b:bool"])


@pytest.mark.parametrize("f", NUMBERS)
def test_numbers_look_as_torchscript_prints_them(tells: tuple[Any, Any], f: float) -> None:
    module, compiled = tells
    for n in (0, -7, 2**63 - 1, -(2**63)):
        with pytest.raises(Exception) as expected:
            module(n, f, n > 0)
        theirs = str(expected.value).strip().splitlines()[-1].partition("ValueError: ")[2]
        theirs = theirs.replace("-nan", "nan")  # ours have no sign
        for call in (compiled, compiled.interpret):
            with pytest.raises(RuntimeFailure) as found:
                call(n, f, n > 0)
            first, where, *_ = str(found.value).splitlines()
            assert first == f"ValueError: {theirs}" and f"{Path(__file__).name}:" in where


class Checks(nn.Module):
    """A state, so that a call that fails is seen to leave it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor, n: int) -> Tensor:
        self.count += 1
        print("call", self.count, n, float(x.sum()), n > 1, x)
        if n > 3:
            k = n * 2
            print("deep", k)
            if k > 100:
                raise RuntimeError(f"{k} is more than 100 of {float(x[0])}")
            raise ValueError(f"twice {n} is {k}")
        for i in range(n):
            if i == 2:
                warnings.warn("turn {} of {}".format(i, n))
        assert n != -1, f"{n} is refused"
        return x * n + self.count


CALLS = [1, 4, 2, 60, -1, 3, 5, -1, 0]


def outcome(call: Any, x: Any, n: int) -> Any:
    try:
        return np.asarray(call(x, n)).tolist()
    except Exception as e:
        return str(e).strip().splitlines()


def test_calls_go_on_after_what_they_raise(capsys: pytest.CaptureFixture[str]) -> None:
    module, archive = loaded(Checks())
    compiled = aot.compile(archive, inputs=["x:f32[2]", "n:int"])
    x = np.array([0.5, 2], np.float32)
    for n in CALLS:
        before = module.count
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            theirs = outcome(lambda x, n: module(torch.from_numpy(x), n), x, n)
        printed = capsys.readouterr().out
        for call in (compiled, compiled.interpret):
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                ours = outcome(call, x, n)
            mine = capsys.readouterr().out.splitlines()
            # TorchScript prints the tensor on lines of its own, and ours is documented to look so.
            assert mine[0] == printed.splitlines()[0].rpartition(" 0.5")[0].rstrip() + (
                " [0.5, 2] f32[2]")
            assert mine[1:] == [s for s in printed.splitlines() if s.startswith("deep")]
            assert [str(w.message) for w in warned] == [str(w.message) for w in told]
            if isinstance(theirs[0], str):
                assert theirs[-1].endswith(ours[0])  # behind "builtins." or "RuntimeError: "
            else:
                assert ours == theirs
        if isinstance(theirs[0], str):
            module.count = before  # ours leave the state as it was, and TorchScript does not


C_TEST = r"""
#include <stdio.h>
#include <string.h>
#include "m.h"

#define REQUIRE(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); return 1; } } while (0)

struct log { char text[4096]; int calls[2]; };

static void note(void *context, int32_t kind, const char *text) {
    struct log *log = context;
    log->calls[kind]++;
    snprintf(log->text + strlen(log->text), sizeof log->text - strlen(log->text), "%d:%s;",
             (int)kind, text);
}

int main(int argc, char **argv) {
    static struct log log;
    float x[2] = {0.5f, 2}, y[2];
    aot_options options = {0};
    m_instance *m;
    (void)argv;
    if (argc == 1) options.report = note, options.report_context = &log;
    REQUIRE(m_create(&m, &options) == AOT_OK);
    REQUIRE(m_forward(m, x, 3, y) == AOT_OK && y[0] == 2.5f);
    if (argc > 1) { /* to standard output and error */
        m_destroy(m);
        return 0;
    }
    REQUIRE(strcmp(log.text, "0:call 1 3 2.5 True [0.5, 2] f32[2];1:turn 2 of 3;") == 0);
    REQUIRE(m_message(m)[0] == 0);
    log.text[0] = 0;
    REQUIRE(m_forward(m, x, 60, y) == AOT_FAILED);
    REQUIRE(strcmp(log.text, "0:call 2 60 2.5 True [0.5, 2] f32[2];0:deep 120;") == 0);
    REQUIRE(strncmp(m_message(m), "RuntimeError: 120 is more than 100 of 0.5\n  at ", 47) == 0);
    REQUIRE(strstr(m_message(m), "test_messages.py:") != NULL);
    REQUIRE(m_forward(m, x, 5, y) == AOT_FAILED);
    REQUIRE(strncmp(m_message(m), "ValueError: twice 5 is 10\n", 26) == 0);
    REQUIRE(m_forward(m, x, -1, y) == AOT_FAILED);
    REQUIRE(strncmp(m_message(m), "AssertionError: -1 is refused\n", 30) == 0);
    log.text[0] = 0;
    x[0] = -1e-30f, x[1] = 3e38f; /* the longest texts */
    REQUIRE(m_forward(m, x, INT64_MIN, y) == AOT_OK && m_message(m)[0] == 0);
    REQUIRE(strcmp(log.text, "0:call 2 -9223372036854775808 3.0000000054977558e+38 False "
                             "[-1e-30, 3e+38] f32[2];") == 0);
    m_destroy(m);
    puts("ok");
    return 0;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("messages")
    torch.jit.save(torch.jit.script(Checks()), str(folder / "m.pt"))
    assert main([str(folder / "m.pt"), "-o", str(folder / "m.o"), "--name", "m", "--cpu",
                 "x86-64-v3", "--input", "x:f32[2]", "--input", "n:int"]) == 0
    (folder / "t.c").write_text(C_TEST)
    compile_c(["-std=c99", "-g", *WARNINGS, f"-I{folder}", folder / "t.c", folder / "m.o", "-o",
               folder / "t"])
    return folder


def test_from_c_and_clean_under_valgrind(built: Path) -> None:
    require(shutil.which("valgrind") is not None, "valgrind")
    for command in ([built / "t"], ["valgrind", "-q", "--error-exitcode=9", built / "t"]):
        result = run(command)
        assert (result.returncode, result.stdout) == (0, "ok\n"), result.stdout + result.stderr


def test_without_a_callback_to_output_and_error(built: Path) -> None:
    result = run([built / "t", "plain"])
    assert (result.returncode, result.stdout, result.stderr) == (
        0, "call 1 3 2.5 True [0.5, 2] f32[2]\n", "turn 2 of 3\n")


def test_a_comma_of_the_locale_is_a_point(built: Path) -> None:
    """Where the machine has such a locale, which it need not."""
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.split()
    german = next((n for n in names if n.startswith("de_")), None)
    if german is None:
        pytest.skip("no locale with a comma is installed")
    text = C_TEST.replace("int main(int argc, char **argv) {",
                          f'int main(int argc, char **argv) {{ setlocale(LC_ALL, "{german}");')
    (built / "l.c").write_text("#include <locale.h>\n" + text)
    compile_c(["-std=c99", *WARNINGS, f"-I{built}", built / "l.c", built / "m.o", "-o",
               built / "l"])
    assert run([built / "l"]).stdout == "ok\n"


class Shows(nn.Module):
    def forward(self, x: Tensor, k: Tensor, m: Tensor, h: Tensor) -> Tensor:
        print(x.t(), k, m[0], h, [x[0, 0], 1], {"a": 2})
        return x


def test_tensors(capsys: pytest.CaptureFixture[str]) -> None:
    """Every dtype, views, none and many elements."""
    _, archive = loaded(Shows())
    compiled = aot.compile(archive, inputs=["x:f64[2,3]", "k:i32[1500]", "m:bool[1,2]", "h:f16[0]"])
    x = np.array([[1, np.nan, -np.inf], [1e-7, 123456789, 0.5]])
    args = (x, np.arange(1500, dtype=np.int32), np.array([[True, False]]), np.zeros(0, np.float16))
    many = ", ".join(map(str, range(1000)))
    expected = (f"[1, 1e-07, nan, 1.23457e+08, -inf, 0.5] f64[3,2] [{many}] ... i32[1500] "
                "[True, False] bool[2] [] f16[0] [[1] f64[], 1] {a: 2}\n")
    for call in (compiled, compiled.interpret):
        call(*args)
        assert capsys.readouterr().out == expected


X, TABLE = torch.arange(12.0).reshape(4, 3), torch.ones(5, 2)
F = nn.functional
OUT_OF_RANGE = {
    "embedding": (lambda i: F.embedding(i, TABLE), "index out of range in self"),
    "embedding_bag": (lambda i: F.embedding_bag(i[None], TABLE), "7 is not in the valid range"),
    "index": (lambda i: X[i], "index 7 is out of bounds for dimension 0 with size 4"),
    "index_put": (lambda i: X.clone().index_put_((i,), torch.tensor(1.0)), "index 7 is out of"),
    "gather": (lambda i: X.gather(0, i[:, None]), "index 7 is out of bounds for dimension 0"),
    "scatter_add": (lambda i: X.scatter_add(0, i[:, None], X), "index 7 is out of bounds"),
    "take": (lambda i: X.take(i * 5), "index 35 is out of bounds"),
    "one_hot": (lambda i: F.one_hot(i, 4), "Class values must be from 0 to 3, found 7"),
    "nll_loss": (lambda i: F.nll_loss(X, i), "Target 7 is out of bounds."),
    "cross_entropy": (lambda i: F.cross_entropy(X, i), "Target 7 is out of bounds."),
    "multi_margin_loss": (lambda i: F.multi_margin_loss(X, i), "target out of range"),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_indices_out_of_range_are_errors(name: str) -> None:
    """As in PyTorch, and the next call with good ones gives what PyTorch gives."""
    function, message = OUT_OF_RANGE[name]
    good, bad = torch.tensor([1, 0, 2, 1]), torch.tensor([1, 7, 0, 2])
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(function, (good,)), buffer)
    compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())), inputs=["i:i64[4]"])
    with pytest.raises((IndexError, RuntimeError)):
        function(bad)
    for call in (compiled, compiled.interpret):
        with pytest.raises(RuntimeFailure, match=message):
            call(bad.numpy())
        assert np.allclose(call(good.numpy()), function(good).numpy(), rtol=1e-5)


class Divides(nn.Module):
    def forward(self, x: Tensor, y: Tensor, n: int, m: int) -> Tuple[Tensor, int, int]:
        return torch.floor_divide(x, y) + x % y + torch.fmod(x, y), n // m, n % m


def test_integers_divided_by_zero_are_errors() -> None:
    """PyTorch's `%` of numbers ends the process there, and so does the least integer over -1."""
    module, archive = loaded(Divides())
    compiled = aot.compile(archive, inputs=["x:i64[3]", "y:i64[3]", "n:int", "m:int"])
    x, least = np.array([7, -7, 5]), -(2**63)
    for call in (compiled, compiled.interpret):
        for y, m in (([1, 0, 2], 3), ([1, 2, 3], 0)):
            with pytest.raises(RuntimeFailure, match="ZeroDivisionError"):
                call(x, np.array(y), 7, m)
        assert call(np.array([least] * 3), np.array([-1, -1, 3]), least, -1)[2] == 0
        found = call(x, np.array([2, 3, -4]), -7, 2)
        theirs = module(torch.from_numpy(x), torch.tensor([2, 3, -4]), -7, 2)
        assert np.array_equal(found[0], theirs[0].numpy()) and found[1:] == theirs[1:] == (-4, 1)


class Modes(nn.Module):
    def forward(self, x: Tensor, mode: str, fallback: str) -> Tensor:
        print("mode", mode, x.size(0))
        if mode == "plus":
            return x + 1
        name = mode if mode == "minus" else fallback
        if name != "minus":
            raise ValueError(f"unknown mode '{mode}', and " + name + " of %s" % mode)
        return x - 1


def test_strings_of_run_time(capsys: pytest.CaptureFixture[str]) -> None:
    module, archive = loaded(Modes())
    compiled = aot.compile(archive, inputs=["x:f32[N]", "mode:str", "fallback:str"])
    x = np.ones(2, np.float32)
    for mode, fallback in (("plus", "x"), ("größe", "minus"), ("a" * 1200, "b"), ("", "")):
        theirs = outcome(lambda x, n: module(torch.from_numpy(x), mode, fallback), x, 0)
        printed = capsys.readouterr().out
        ours = outcome(lambda x, n: compiled(x, mode, fallback), x, 0)
        if len(mode) > 1000:
            assert capsys.readouterr().out == f"mode {'a' * 1000} 2\n"
            assert ours[0] == f"ValueError: unknown mode '{'a' * 1000}', and b of {'a' * 1000}"
            continue
        assert capsys.readouterr().out == printed == f"mode {mode} 2\n"
        if isinstance(theirs[0], float):
            assert ours == theirs
        else:
            assert theirs[-1].endswith(ours[0].strip())


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, n: int) -> str:
        self.count += 1
        return "call " + str(self.count) + f" of {n} " + str(n / 2)


def test_texts_of_loaded_programs_with_state() -> None:
    """They run operator by operator, where all is known."""
    module, archive = loaded(Counts())
    for n in (3, 4):
        assert archive(n) == module(n) == f"call {n - 2} of {n} {'1.5' if n == 3 else '2.'}"


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text = "none"

    def forward(self, n: int) -> str:
        text = f"{n}"
        self.text = text
        return text


def test_texts_of_run_time_are_no_values_yet() -> None:
    """They can be told, not kept."""
    _, archive = loaded(Keeps())
    with pytest.raises(CompileError, match="run-time str"):
        aot.compile(archive, inputs=["n:int"])
