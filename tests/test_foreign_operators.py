"""Operators that are C functions: in Python, in archives, and linked with an object in C."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import aot
from aot import cli, library
from aot.compile_cache import key_of
from aot.options import CompileOptions
from runtime.errors import CompileError, InputError, RuntimeFailure
from runtime.loader import load_library
from tests.conftest import require
from tests.sample_model import C_DIR, WARNINGS, compile_c, run

SOURCE = C_DIR / "foreign.c"
CLIP = "testc::clip(Tensor x, float lo) -> Tensor"
POSITIVE = "testc::positive(Tensor x, int n) -> (Tensor, int)"
ALL = ("testc::all(Tensor x, Tensor? y, Tensor[] zs, int n, float f, bool b, str s, int? i, "
       "float? g, int[] ns, float[] fs) -> (Tensor, int, float, bool)")
X = np.array([[1, -2, 3], [-4, 5, 0.25]], np.float32)


@pytest.fixture(scope="module", autouse=True)
def operators(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Declares the three, compiled for this process against aot.h alone."""
    source = tmp_path_factory.mktemp("foreign") / "foreign.c"
    source.write_text(f'#define FOREIGN_HEADER "aot.h"\n#include "{SOURCE}"\n')
    library.c_operator(CLIP, source=source)
    library.c_operator(POSITIVE, "x[?, n]", source=source)
    library.c_operator(ALL, "f32[n + 4]", source=[source])


def program() -> aot.jit.ScriptFunction:
    @aot.jit.script
    def clipped(x: aot.Tensor, lo: float, n: int):
        y = aot.ops.testc.clip(x.t() * 2 + 1, lo)
        rows, count = aot.ops.testc.positive(y - 1, n)
        return y, rows.sum(1) * 3, count + 1

    return clipped


def expected(x: np.ndarray, lo: float, n: int) -> tuple:
    y = np.maximum(x.T * 2 + 1, np.float32(lo))
    positive = (y - 1)[y - 1 > 0]
    return y, positive * n * 3, positive.size + 1


def agree(found: tuple, wanted: tuple) -> None:
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-6)
    assert found[2] == wanted[2]


def test_it_is_called_from_python() -> None:
    y = aot.ops.testc.clip(aot.tensor(X), 0.5)
    np.testing.assert_array_equal(y.numpy(), np.maximum(X, 0.5))
    rows, count = aot.ops.testc.positive(aot.tensor(X), 2)
    assert rows.shape == (4, 2) and rows[:, 1].tolist() == [1, 3, 5, 0.25] and count == 4
    assert type(count) is int


@pytest.mark.parametrize("inputs", [
    ["x:f32[2,3]", "lo:float", "n:int"], ["x:f32[N,3]", "lo:float", "n:int"],
    ["x:f32[N,M]", "lo:float=1.5", "n:int=2"],
])
def test_compiled_and_interpreted(inputs: list[str]) -> None:
    compiled = aot.compile(program(), inputs=inputs)
    for x in (X, X[:1], -X[:, :2]) if "N" in inputs[0] else (X, -X):
        if x.shape[1] != 3 and "M" not in inputs[0]:
            continue
        for call in (compiled, compiled.interpret):
            agree(call(x, 1.5, 2), expected(x, 1.5, 2))


def test_arguments_and_results_of_all_types() -> None:
    @aot.jit.script
    def told(x: aot.Tensor, n: int, f: float, b: bool, i: int):
        return (aot.ops.testc.all(x, None, [x, x[1:]], n, f, b, "abc", i, None, [1, n], [f, 0.5]),
                aot.ops.testc.all(x, x + 1, [], 9, 0.5, True, "", None, 2.5, [], []))

    args = (np.array([3, 4], np.float32), 7, 0.25, True, 5)
    words = ["x:f32[2]", "n:int", "f:float", "b:bool", "i:int"]
    compiled = aot.compile(told, inputs=words)
    for call in (compiled, compiled.interpret, lambda *a: told(aot.tensor(a[0]), *a[1:])):
        (first, *numbers), (second, *others) = call(*args)
        assert np.asarray(first).tolist() == [3, -1, 8, 7, 0.25, 1, 3, 5, -1, 17, 0.75]
        assert np.asarray(second).tolist() == [3, 4, 0, 9, 0.5, 1, 0, -1, 2.5, 0, 0, 0, 0]
        assert (numbers, others) == ([8, 0.5, False], [10, 1.0, False])


def test_loops_and_branches_call_it_again_and_again() -> None:
    @aot.jit.script
    def turns(x: aot.Tensor, n: int):
        for k in range(n):
            x = aot.ops.testc.clip(x - 1, -4.0 if k < 2 else -3.0)
        return x

    compiled = aot.compile(turns, inputs=["x:f32[2,3]", "n:int"])
    np.testing.assert_array_equal(compiled(X, 3), np.maximum(X - 3, -3))
    assert compiled(X, 100_000).tolist() == np.full_like(X, -3).tolist()  # no stack is used up


@pytest.mark.parametrize("args, message", [
    ((X, 101.0, 2), "testc::clip gave status 4: lo is too large\n  at .*test_foreign_operators.py"),
])
def test_a_status_ends_the_call(args: tuple, message: str) -> None:
    compiled = aot.compile(program(), inputs=["x:f32[2,3]", "lo:float", "n:int"])
    for call in (compiled, compiled.interpret):
        with pytest.raises(RuntimeFailure, match=message):
            call(*args)
        agree(call(X, 0.5, 3), expected(X, 0.5, 3))  # and the next one is as good as new


def test_a_size_that_is_none() -> None:
    @aot.jit.script
    def negative(x: aot.Tensor, n: int):
        return aot.ops.testc.positive(x, n)

    with pytest.raises(RuntimeError, match="a size is -1"):
        aot.ops.testc.positive(aot.tensor(X), -1)
    compiled = aot.compile(negative, inputs=["x:f32[2,3]", "n:int"])
    with pytest.raises(RuntimeFailure, match="negative dimension"):
        compiled(X, -1)
    rows = library.c_operator("testc::rows(Tensor x) -> Tensor", "x[?]",
                              source=SOURCE.parent / "nowhere.c")
    with pytest.raises(CompileError, match="nowhere.c: No such file"):
        rows(aot.tensor(X))


@pytest.mark.parametrize("schema, results, message", [
    ("testc::a(Tensor x, Device d) -> Tensor", None, "takes no Device"),
    ("testc::a(Tensor x) -> Tensor[]", None, r"gives no Tensor\[\]"),
    ("testc::a(int x) -> Tensor", None, "a result is like an argument"),
    ("testc::a(Tensor x) -> Tensor", "y", "a result is like an argument"),
    ("testc::a(Tensor x) -> Tensor", "f32", "a result is like an argument"),
    ("testc::a(Tensor x) -> Tensor", "f32[x.size(", "not a rule"),
    ("testc::a(Tensor x) -> Tensor", "f32[x.]", "no expressions"),
    ("testc::a(Tensor x) -> Tensor", ["x", "x"], "more rules than results"),
    (CLIP, None, "exists already"),
])
def test_wrong_declarations(schema: str, results: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        library.c_operator(schema, results)


def sizes_of_pairs(x: aot.Tensor, n: int) -> list[list[int]]:
    return [[n, x.size(0)], [-1]]


def test_sizes_by_a_function_and_a_function_that_is_nowhere() -> None:
    pairs = library.c_operator("testc::pairs(Tensor x, int n) -> (Tensor, Tensor)", ["x", "i64"],
                               sizes=sizes_of_pairs)

    @aot.jit.script
    def calls(x: aot.Tensor):
        return pairs(x, 3)[0] * 2

    compiled = aot.compile(calls, inputs=["x:f32[5]"])
    assert "f32[3,5]" in str(compiled.artifact.description)
    assert "testc_pairs_shape(const aot_tensor *x, int64_t n, int64_t *out0_sizes, int64_t " \
           "*out1_sizes, const char **message);" in compiled.header_text()
    lone = library.c_operator("testc::lone(Tensor x) -> Tensor")
    for call in (lambda: compiled(X[0, :1].repeat(5)), lambda: lone(aot.tensor(X))):
        with pytest.raises((RuntimeFailure, RuntimeError), match="the C function testc_.* is not"):
            call()
    with pytest.raises(CompileError, match="needs the C functions testc_pairs, testc_pairs_shape"):
        compiled.save("nowhere.so")


def test_what_is_kept_on_disk_is_of_the_rules() -> None:
    options = CompileOptions((), name="m")
    before = key_of(b"program", options)
    library.c_operator("testc::kept(Tensor x) -> Tensor", "x[?]")
    assert key_of(b"program", options) != before


MAIN = r"""
#include <stdio.h>
#include <string.h>
#include "clipped.h"

#define REQUIRE(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\n", __LINE__, #x); return 1; } } \
    while (0)

int main(void) {
    static const float x[6] = {1, -2, 3, -4, 5, 0.25f};
    float y[6];
    const float *sums;
    int64_t shape[1], count;
    clipped_instance *model;
    REQUIRE(clipped_create(&model, NULL) == AOT_OK);
    for (int turn = 0; turn < 100; turn++) {
        REQUIRE(clipped_forward(model, x, 0.5, 2, y, &sums, shape, &count) == AOT_OK);
        REQUIRE(shape[0] == 4 && count == 5 && sums[0] == 12 && y[1] == 0.5f && y[3] == 11);
        REQUIRE(clipped_forward(model, x, 101, 2, y, &sums, shape, &count) == AOT_FAILED);
        REQUIRE(strstr(clipped_message(model), "testc::clip gave status 4: lo is too large\n  at"));
    }
    clipped_destroy(model);
    printf("ok\n");
    return 0;
}
"""


def test_an_object_is_linked_with_the_function_in_c(tmp_path: Path) -> None:
    compiled = aot.compile(program(), inputs=["x:f32[2,3]", "lo:float", "n:int"],
                           cpu="x86-64-v3", name="clipped")
    compiled.save(tmp_path / "clipped.o")
    (tmp_path / "main.c").write_text(MAIN)
    listed = subprocess.run(["nm", "-u", tmp_path / "clipped.o"], capture_output=True, text=True)
    symbols = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert {s for s in symbols if s.startswith("testc")} == {
        "testc_clip", "testc_positive", "testc_positive_shape"}
    flags = ["-std=c99", "-pedantic", "-O1", "-g", *WARNINGS, f"-I{tmp_path}",
             '-DFOREIGN_HEADER="clipped.h"']
    compile_c([*flags, tmp_path / "main.c", SOURCE, tmp_path / "clipped.o",
               "-o", tmp_path / "main"])
    require(shutil.which("valgrind") is not None, "valgrind")
    result = run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", tmp_path / "main"])
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive whose operators are told on the command line, in a process of its own names."""
    half = "testc::half{n}(Tensor x) -> Tensor"
    source = tmp_path / "half.c"
    bodies = ["testc_half{n}(const aot_tensor *x, aot_tensor *out0, const char **message) {{",
              "    (void)message;",
              "    for (int k = 0; k < 4; k++)",
              "        ((float *)out0->data)[k] = ((const float *)x->data)[k] / 2;",
              "    return AOT_OK;", "}}", ""]
    source.write_text('#include "aot.h"\naot_status ' + "\n".join(bodies).format(n=2))
    library.c_operator(half.format(n=1))

    @aot.jit.script
    def halves(x: aot.Tensor):
        return aot.ops.testc.half1(x) + 1

    aot.jit.save(halves, tmp_path / "first.pt")
    data = (tmp_path / "first.pt").read_bytes()  # as an archive of one who has half2
    (tmp_path / "m.pt").write_bytes(_renamed(data))
    monkeypatch.chdir(tmp_path)
    words = ["m.pt", "--input", "x:f32[4]"]
    assert cli.main(words) == 2
    assert "--operator" in capsys.readouterr().err
    declared = ["--operator", half.format(n=2) + " = f32[4]", "--operator-source", "half.c"]
    assert cli.main([*words, *declared, "--emit", "lib", "--verify"]) == 0
    assert "largest error 0" in capsys.readouterr().out
    found = load_library(tmp_path / "m.so")(np.arange(4, dtype=np.float32))
    assert found.tolist() == [1, 1.5, 2, 2.5]


def _renamed(archive: bytes) -> bytes:
    """The archive with half2 for half1, checksums included."""
    import io
    import zipfile
    old, new = zipfile.ZipFile(io.BytesIO(archive)), io.BytesIO()
    with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as out:
        for info in old.infolist():
            out.writestr(info.filename, old.read(info).replace(b"half1", b"half2"))
    return new.getvalue()
