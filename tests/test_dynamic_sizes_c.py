"""Outputs of run-time sizes at the C ABI: typed entry, generic call, C++; owner, reuse and release.

The model's archive is written by PyTorch; the object is for x86-64-v3, which valgrind knows.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import aot
from tests.conftest import import_torch, require
from tests.sample_model import WARNINGS, compile_c, run

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

C_PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include "picked.h"

#define REQUIRE(x) do { if (!(x)) { fprintf(stderr, "line %d: %s\n", __LINE__, #x); return 1; } } \
    while (0)

static int count_of(const bool *mask) {
    int n = 0;
    for (int k = 0; k < 4; k++) n += mask[k];
    return n;
}

int main(void) {
    static const float x[4][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
    picked_instance *model;
    const float *rows, *first = NULL;
    const int64_t *at;
    int64_t shape[2], at_shape[1];
    float total;
    REQUIRE(picked_create(&model, NULL) == AOT_OK);
    picked_release(NULL);
    picked_release(model); /* before the first call: nothing is there */
    for (int turn = 0; turn < 1000; turn++) {
        bool mask[4];
        int n = 0;
        for (int k = 0; k < 4; k++) mask[k] = (turn >> k) & 1;
        shape[0] = shape[1] = at_shape[0] = -7;
        REQUIRE(picked_forward(model, &x[0][0], mask, &rows, shape, &at, at_shape, &total) ==
                AOT_OK);
        REQUIRE(shape[0] == count_of(mask) && shape[1] == 3 && at_shape[0] == shape[0]);
        REQUIRE(rows != NULL && at != NULL);
        for (int k = 0; k < 4; k++) {
            if (!mask[k]) continue;
            REQUIRE(at[n] == k && memcmp(rows + 3 * n, x[k], sizeof x[k]) == 0);
            n++;
        }
        if (turn == 15) first = rows; /* all rows: no later call needs more */
        if (turn > 15) REQUIRE(rows == first);
    }
    picked_release(model); /* the instance can be called again */
    bool mask[4] = {true, false, true, true};
    REQUIRE(picked_forward(model, &x[0][0], mask, NULL, shape, &at, at_shape, &total) ==
            AOT_INVALID_ARGUMENT);
    REQUIRE(strstr(picked_message(model), "out0") != NULL);
    REQUIRE(picked_forward(model, &x[0][0], mask, &rows, NULL, &at, at_shape, &total) ==
            AOT_INVALID_ARGUMENT);

    const aot_method *m = &picked_model.methods[0];
    REQUIRE(m->outputs[0].shape[0] == AOT_RUN_TIME_SIZE && m->outputs[0].shape[1] == 3);
    REQUIRE(picked_model.release != NULL);
    int64_t in0[2] = {4, 3}, in1[1] = {4}, out0[2] = {99, 99}, out1[1] = {99};
    aot_tensor in[2] = {aot_tensor_of((void *)x, m->inputs[0].dtype, 2, in0),
                        aot_tensor_of(mask, m->inputs[1].dtype, 1, in1)};
    aot_tensor out[3] = {aot_tensor_of(NULL, m->outputs[0].dtype, 2, out0),
                         aot_tensor_of(NULL, m->outputs[1].dtype, 1, out1),
                         aot_tensor_of(&total, m->outputs[2].dtype, 0, NULL)};
    out[0].byte_offset = 64; /* set by the run, whatever it was */
    REQUIRE(m->run(model, in, out) == AOT_OK);
    REQUIRE(out0[0] == 3 && out0[1] == 3 && out1[0] == 3 && out[0].byte_offset == 0);
    REQUIRE(((const float *)out[0].data)[3] == 6.0f && ((const int64_t *)out[1].data)[2] == 3);
    REQUIRE(total == 54.0f);
    out[0].shape = NULL;
    REQUIRE(m->run(model, in, out) == AOT_INVALID_ARGUMENT);
    out[0].shape = out0;
    out[0].dtype = m->outputs[1].dtype;
    REQUIRE(m->run(model, in, out) == AOT_INVALID_ARGUMENT);
    picked_release(model); /* twice: the second finds nothing */
    picked_release(model);
    REQUIRE(picked_init(model, NULL) == AOT_OK);
    REQUIRE(picked_forward(model, &x[0][0], mask, &rows, shape, &at, at_shape, &total) == AOT_OK);
    picked_destroy(model);
    printf("ok\n");
    return 0;
}
"""

CPP_PROGRAM = r"""
#include <cstdio>
#include <vector>
#include "picked.h"
#include "aot.hpp"

int main() {
    std::vector<float> x(12);
    for (int k = 0; k < 12; k++) x[k] = float(k);
    aot::Instance model(picked_model);
    for (int turn = 0; turn < 16; turn++) {
        const bool mask[4] = {(turn & 1) != 0, (turn & 2) != 0, (turn & 4) != 0, (turn & 8) != 0};
        auto out = model.call("forward", {aot::Tensor(x, {4, 3}), aot::Tensor(mask, 4, {4})});
        const std::size_t n = std::size_t(mask[0]) + mask[1] + mask[2] + mask[3];
        if (out[0].shape()[0] != std::int64_t(n) || out[0].size() != 3 * n) return 1;
        if (mask[3] && out[0].values<float>()[3 * n - 1] != 11.0f) return 2;
        if (out[1].size() != n || out[2].size() != 1) return 3;
    }
    const bool mask[4] = {true, true, false, false};
    float space[12];
    if (model.run("forward", {aot::Tensor(x, {4, 3}), aot::Tensor(mask, 4, {4})},
                  {aot::Tensor(space, 12, {4, 3}), aot::Tensor(space, 1, {1}),
                   aot::Tensor(space[0])}))
        return 4; // such outputs are not the caller's to give
    std::printf("ok\n");
}
"""


class Picked(torch.nn.Module):
    def forward(self, x, m):
        rows = x[m]
        return rows, m.nonzero().flatten(), rows.sum()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picked")
    torch.jit.script(Picked()).save(str(path / "picked.pt"))
    model = aot.compile(path / "picked.pt", inputs=["x:f32[4,3]", "m:bool[4]"], cpu="x86-64-v3",
                        name="picked")
    model.save(path / "picked.o")
    (path / "main.c").write_text(C_PROGRAM)
    (path / "main.cpp").write_text(CPP_PROGRAM)
    return path


def test_symbols(folder: Path) -> None:
    """A dynamic object asks for malloc and free; a static one does not."""
    def undefined(name: str) -> set[str]:
        out = subprocess.run(["nm", "-u", folder / name], capture_output=True, text=True,
                             check=True).stdout
        return {line.split()[-1] for line in out.splitlines()}

    assert undefined("picked.o") <= {"memcpy", "memmove", "memset", "malloc", "free"}
    assert "malloc" in undefined("picked.o")
    fixed = torch.jit.trace(torch.nn.ReLU(), torch.zeros(3))
    fixed.save(str(folder / "fixed.pt"))
    aot.compile(folder / "fixed.pt", cpu="x86-64-v3").save(folder / "fixed.o")
    assert undefined("fixed.o") <= {"memcpy", "memmove", "memset"}


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_programs(folder: Path, tmp_path: Path, language: str) -> None:
    require(language == "c" or shutil.which("g++") is not None, "a C++ compiler")
    standard = "-std=c99" if language == "c" else "-std=c++17"
    for name, flags in (("plain", []), ("checked", ADDRESS)):
        compile_c([standard, "-pedantic", "-O1", "-g", *WARNINGS, *flags, f"-I{folder}",
                   folder / f"main.{language}", folder / "picked.o", "-o", tmp_path / name],
                  cxx=language == "cpp")
        result = run([tmp_path / name])
        assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")
    require(shutil.which("valgrind") is not None, "valgrind")
    result = run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", tmp_path / "plain"])
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")
