"""Values that are None or not, depending on data: chosen by branches, kept by loops, returned."""

from __future__ import annotations

import subprocess
from typing import List, Optional, Tuple

import numpy as np
import pytest

import aot
from tests.conftest import import_torch
from tests.test_run_time_lists import _compiled, _same

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = np.ones(3, np.float32)


def branch(x, n: int):
    if bool(x.sum() > n):
        found: Optional[Tensor] = x
    else:
        found = None
    return found, found is None


def best(x, n: int):
    found: Optional[Tensor] = None
    for i in range(n):
        c = x * i
        if found is None:
            found = c
        elif bool(c.sum() > found.sum()):
            found = c
    return found


def numbers(x, n: int):
    least: Optional[int] = None
    name: Optional[str] = None
    for i in range(n):
        if least is None or i * i - 5 * i < least:
            least = i * i - 5 * i
            if i > 1:
                name = "low"
    if least is not None:
        least = least + 1
    return least, name, [least]


def pair(x, n: int):
    found: Optional[Tuple[Tensor, int]] = None
    for i in range(n):
        if i == 3:
            found = (x * i, i)
    if found is None:
        return x, -1
    return found


def lost(x, n: int):
    kept: Optional[Tensor] = x
    while n > 0:
        if n == 2:
            kept = None
        n = n - 1
    if kept is None:
        return x * 0
    return kept


def listed(x, n: int):
    some: List[int] = []
    last: Optional[int] = None
    for i in range(n):
        if last is not None:
            some.append(last)
        last = i * 2
    return some, last


@pytest.mark.parametrize("function", [branch, best, numbers, pair, lost, listed],
                         ids=lambda f: f.__name__)
def test_programs(tmp_path, function):
    program, compiled = _compiled(tmp_path, function, "x:f32[3]", "n:int")
    for n in (0, 1, 2, 6):
        for x in (X, -X):
            expected = program(torch.from_numpy(x), n)
            _same(compiled(x, n), expected)
            _same(compiled.interpret(x, n), expected)


def test_a_value_that_may_be_none_is_no_operand(tmp_path):
    def unlooked(x, n: int):
        found: Optional[Tensor] = None
        if n > 3:
            found = x
        return torch.jit._unwrap_optional(found) + 1

    _, compiled = _compiled(tmp_path, unlooked, "x:f32[3]", "n:int")
    _same(compiled(X, 5), torch.from_numpy(X) + 1)
    with pytest.raises(Exception, match="Unwrapping null optional"):
        compiled(X, 2)


class Best(torch.nn.Module):
    def forward(self, x, n: int):
        return best(x, n)


C_PROGRAM = r"""
#include "m.h"
#include <stdio.h>

int main(void) {
    m_instance *model;
    const float x[3] = {1, 2, 3};
    float y[3];
    bool there;
    if (m_create(&model, NULL) != AOT_OK) return 1;
    for (int64_t n = 0; n < 3; n++) {
        if (m_forward(model, x, n, &there, y) != AOT_OK) return 2;
        if (there) printf("%g %g %g\n", y[0], y[1], y[2]);
        else puts("none");
    }
    m_destroy(model);
    return 0;
}
"""


def test_c(tmp_path):
    torch.jit.script(Best()).save(str(tmp_path / "m.pt"))
    compiled = aot.compile(tmp_path / "m.pt", inputs=["x:f32[3]", "n:int"], name="m")
    compiled.save(tmp_path / "m.o")
    (tmp_path / "main.c").write_text(C_PROGRAM)
    subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", "-o", "main", "main.c", "m.o"],
                   cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["none", "0 0 0", "1 2 3"]
