"""Arguments and results of every type: from C, C++, Python and the program, beside PyTorch."""

from __future__ import annotations

import shutil
import subprocess
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import pytest

import aot
from aot.inputs import parse_input
from runtime.c_compiler import INCLUDE_DIR
from runtime.errors import CompileError, InputError
from tests.conftest import import_torch

torch = import_torch()
Tensor = torch.Tensor
X = np.array([1.0, -2.0, 3.0], np.float32)


class Pair(NamedTuple):
    a: Tensor
    b: int


def numbers(x, n: int, s: float, flag: bool):
    if flag:
        n = n + 1
    for i in range(n):
        x = x * s + i
    return x, n, s * 2, not flag, n > 3


def lists(xs: List[Tensor], n: List[int]):
    total = xs[0]
    for x in xs:
        total = total + x
    return total, [n[0] + 1, len(n)], sum(n), xs[n[1]]


def dicts(d: Dict[str, Tensor], k: Dict[int, float]):
    return {"sum": d["a"] + d["b"] * k[-1], "a": d["a"]}, {1: k[2]}


def named(p: Pair):
    return Pair(p.a * p.b, p.b + 1)


def nested(a: Tuple[Tensor, Tuple[int, float]], d: Dict[int, List[Tensor]],
           missing: Optional[Tensor]):
    if missing is not None:
        return (a[0], (a[1][1],)), d[1], missing, "given", {"x": [d[1][0]]}
    return (a[0] * a[1][0], (a[1][1],)), d[1], a[0], "none", {"x": [d[1][0]]}


def modes(x, mode: str, other: str):
    if mode == "neg":
        x = -x
    elif mode == "double" or mode == other:
        x = x * 2
    seen = "some"
    for i in range(int(x.sum())):
        if i > 2:
            seen = mode
    table = {"neg": 1, "double": 2}
    known = mode in table
    if known:
        x = x + table[mode]
    return x, mode, seen, known, mode != other


X2 = [X, X * 2]
ARGUMENTS = {
    "numbers": (["x:f32[3]", "n:int", "s:float", "flag:bool"],
                [(X, 3, 0.5, True), (X, 0, 2.0, False)]),
    "lists": (["xs:[f32[3],f32[3]]", "n:[int,int]"], [(X2, [3, 1]), (X2, [-1, 0])]),
    "dicts": (["d:{'a':f32[3],'b':f32[3]}", "k:{-1:float,2:float}"],
              [({"b": X, "a": X * 2}, {-1: 0.5, 2: 1.5})]),
    "named": (["p:(f32[3],int)"], [((X, 4),)]),
    "nested": (["a:(f32[3],(int,float))", "d:{1:[f32[3]]}", "none"],
               [((X, (2, 0.5)), {1: [X]}, None)]),
    "modes": (["x:f32[3]", "mode:str", "other:str"],
              [(X, "neg", "neg"), (X, "double", "é"), (X, "é", "é"), (X, "", "some")]),
}


def _torch(x):
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x.copy())
    if isinstance(x, (list, tuple)):
        return type(x)(map(_torch, x))
    return {k: _torch(v) for k, v in x.items()} if isinstance(x, dict) else x


def _same(found, expected):
    if isinstance(expected, Tensor):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            _same(a, b)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for k, v in expected.items():
            _same(found[k], v)
    else:
        assert type(found) is type(expected) and found == expected


def _archive(tmp_path, name):
    program = torch.jit.script(globals()[name])
    program.save(str(tmp_path / "m.pt"))
    return program


@pytest.mark.parametrize("name", ARGUMENTS)
def test_python(tmp_path, name):
    """In this process, from a library, and interpreted."""
    program = _archive(tmp_path, name)
    words, calls = ARGUMENTS[name]
    compiled = aot.compile(tmp_path / "m.pt", inputs=words, name="m")
    compiled.save(tmp_path / "m.so")
    library = aot.load_library(tmp_path / "m.so")
    for args in calls:
        given = _torch(args)
        if name == "named":
            given = (Pair(*given[0]),)
        expected = program(*given)
        _same(compiled(*args), expected)
        _same(library(*(a for a in args if a is not None)), expected)
        if name != "named":  # which the interpreter takes as a named tuple only
            _same(compiled.interpret(*args), expected)


def test_words_of_dicts():
    assert str(parse_input("d:{'a':f32[3],'b':(int,f32[])}")) == "d:{'a':f32[3],'b':(int,f32[])}"
    assert parse_input("d:{0:f32[3], -2:int}").keys == (0, -2)
    for word in ("d:{a:f32[3]}", "d:{'a':f32[3]", "d:{'a':int,'a':int}", "d:{'a'}"):
        with pytest.raises(InputError):
            parse_input(word)


def test_strings_that_do_not_fit(tmp_path):
    _archive(tmp_path, "modes")
    compiled = aot.compile(tmp_path / "m.pt", inputs=ARGUMENTS["modes"][0])
    with pytest.raises(InputError, match="argument 'mode': expected a str, found int"):
        compiled(X, 1, "a")
    with pytest.raises(InputError, match="zero character"):
        compiled(X, "a\0b", "a")

    def letters(x, s: str):
        return len(s)

    torch.jit.script(letters).save(str(tmp_path / "letters.pt"))
    with pytest.raises(CompileError, match="aten::len needs its letters"):
        aot.compile(tmp_path / "letters.pt", inputs=["x:f32[3]", "s:str"])


C_CALLS = r"""
#include "m.h"
#include <stdio.h>
#include <string.h>

static int call(m_instance *model, const char *mode, const char *other) {
    const float x[3] = {1, -2, 3};
    float y[3];
    const char *told = NULL, *seen = NULL;
    bool known, differ;
    if (m_forward(model, x, mode, other, y, &told, &seen, &known, &differ) != AOT_OK) return 1;
    printf("%g %g %g %s %s %d %d\n", y[0], y[1], y[2], told, seen, known, differ);
    return 0;
}

int main(void) {
    m_instance *model;
    char mine[] = "mine";
    aot_tensor in[3], out[5];
    float x[3] = {1, -2, 3}, y[3];
    int64_t three = 3;
    uint8_t known, differ;
    if (m_create(&model, NULL) != AOT_OK) return 1;
    if (call(model, "neg", "neg") || call(model, mine, "mine")) return 2;
    if (call(model, "some", "other")) return 3;
    if (m_forward(model, x, NULL, "a", y, NULL, NULL, NULL, NULL) != AOT_INVALID_ARGUMENT ||
        strstr(m_message(model), "input mode is NULL") == NULL)
        return 4;
    in[0] = aot_tensor_of(x, aot_dtype_of(AOT_FLOAT, 32), 1, &three);
    in[1] = in[2] = aot_tensor_of(mine, aot_dtype_of(AOT_UNSIGNED, 8), 0, NULL);
    out[0] = aot_tensor_of(y, aot_dtype_of(AOT_FLOAT, 32), 1, &three);
    out[1] = out[2] = aot_tensor_of(NULL, aot_dtype_of(AOT_UNSIGNED, 8), 0, NULL);
    out[3] = aot_tensor_of(&known, aot_dtype_of(AOT_BOOL, 8), 0, NULL);
    out[4] = aot_tensor_of(&differ, aot_dtype_of(AOT_BOOL, 8), 0, NULL);
    if (m_model.methods[0].run(model, in, out) != AOT_OK) return 5;
    if (out[1].data != mine || strcmp(out[2].data, "mine") != 0) return 6;
    in[1].data = NULL;
    if (m_model.methods[0].run(model, in, out) != AOT_INVALID_ARGUMENT) return 7;
    m_destroy(model);
    return 0;
}
"""

CPP_CALLS = r"""
#include "m.h"
#include "aot.hpp"
#include <iostream>
#include <vector>

int main() {
    aot::Instance model(m_model);
    std::vector<float> x{1, -2, 3};
    for (const char *mode : {"neg", "mine"}) {
        const auto results = model.call("forward", {aot::Tensor(x, {3}), aot::Tensor(mode),
                                                    aot::Tensor("neg")});
        for (float y : results[0].values<float>()) std::cout << y << " ";
        std::cout << results[1].string() << " " << results[2].string() << "\n";
    }
}
"""


class Modes(torch.nn.Module):
    def forward(self, x, mode: str, other: str):
        return modes(x, mode, other)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    where = tmp_path_factory.mktemp("modes")
    torch.jit.script(Modes()).save(str(where / "m.pt"))
    compiled = aot.compile(where / "m.pt", inputs=ARGUMENTS["modes"][0], name="m", cpu="x86-64")
    compiled.save(where / "m.o")
    compiled.save_program(where / "program")
    return where


def _run(where, source, name, compiler):
    (where / name).write_text(source)
    subprocess.run([*compiler, "-g", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE_DIR}", "-o",
                    "main", name, "m.o"], cwd=where, check=True)
    valgrind = shutil.which("valgrind")
    checked = [valgrind, "-q", "--error-exitcode=9", "--leak-check=full"] if valgrind else []
    return subprocess.run([*checked, where / "main"], capture_output=True, text=True, check=True)


def test_c(built):
    done = _run(built, C_CALLS, "main.c", ["cc", "-std=c99"])
    assert done.stdout.splitlines() == [
        "0 3 -2 neg some 1 0", "2 -4 6 mine mine 0 0", "1 -2 3 some some 0 1"]
    symbols = subprocess.run(["nm", "-u", built / "m.o"], capture_output=True, text=True).stdout
    assert not symbols.split()


def test_cpp(built):
    done = _run(built, CPP_CALLS, "main.cpp", ["c++", "-std=c++17"])
    assert done.stdout.splitlines() == ["0 3 -2 neg some", "1 -2 3 mine some"]


def test_program(built):
    np.save(built / "x.npy", X)
    done = subprocess.run([built / "program", "-o", "out", "x.npy", "neg", "neg"], cwd=built,
                          capture_output=True, text=True, check=True)
    assert "out1: neg" in done.stdout and "out2: some" in done.stdout
    np.testing.assert_array_equal(np.load(built / "out.0.npy"), [0, 3, -2])
