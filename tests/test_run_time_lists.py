"""Lists whose length only the run tells: built in loops, changed, given and returned."""

from __future__ import annotations

import shutil
import subprocess
from typing import List, NamedTuple, Optional

import numpy as np
import pytest

import aot
from runtime.errors import CompileError, InputError, RuntimeFailure
from tests.conftest import import_torch

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
X = np.array([0.5, -1.0, 2.0], np.float32)


def floats(x, n: int):
    out: List[float] = []
    for i in range(n):
        out.append(float(x[0]) * i)
    return out


def tensors(x, n: int):
    out: List[Tensor] = []
    for i in range(n):
        out.append(x * i)
    if len(out) == 0:
        return out, x
    return out, torch.stack(out).sum(0)


def recurrent(x, n: int):
    outs: List[Tensor] = []
    h = x
    for i in range(n):
        h = torch.tanh(h + i)
        outs.append(h)
    return torch.cat(outs), torch.stack(outs, 1), h, outs[-1]


def counted(x, n: int):
    some = [1, 2]
    while n > 0:
        some.append(n * some[-1])
        n = n - 1
    total = 0
    for v in some:
        total += v
    if total > 10:
        some.append(total)
    some[0] = 7
    return some, total, some[len(some) - 1], sum(some), max(some), min(some)


def filtered(x, n: int):
    even: List[int] = []
    for i in range(n):
        if i % 2 == 0:
            even.append(i)
    large: List[int] = []
    for v in even:
        if v > 2:
            large.append(v)
    return even, large


def shortened(x, n: int):
    squares: List[int] = []
    for i in range(n):
        squares.append(i * i)
    last = -1
    while len(squares) > 3:
        last = squares.pop()
    if n > 5:
        last = squares.pop(0)
    if n > 6:
        squares.clear()
    return squares, last


def reordered(x, n: int):
    some: List[int] = []
    for i in range(n):
        some.append(n - i)
    some.sort()
    part = some[1:3]
    some.reverse()
    copy = some.copy()
    copy.extend([5])
    return some, part, 2 in some, some + [1], copy, torch.tensor(some)


def searched(x, n: int):
    some: List[int] = []
    for i in range(n):
        some.insert(i // 2, i)
    other = some.copy()
    some.insert(-1, 7)
    some.insert(100, 7)
    same = other == some
    differ = other != some
    first, often = some.index(7), some.count(7)
    some.remove(7)
    other.append(7)
    return some, same, differ, first, often, sorted(other) == sorted(some), other == [7]


def nested(x, n: int):
    a: List[int] = []
    b: List[int] = []
    for i in range(n):
        for j in range(i):
            a.append(i * j)
        b.append(len(a))
    return a, b


def either(x, n: int):
    if bool(x[0] > 0):
        picked = [n, n + 1, n + 2]
    else:
        picked = [n]
    for i in range(n):
        picked.append(i)
    return picked


PROGRAMS = [floats, tensors, recurrent, counted, filtered, shortened, reordered, searched,
            nested, either]


def _same(found, expected):
    if isinstance(expected, Tensor):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
    elif isinstance(expected, (list, tuple)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for a, b in zip(found, expected):
            _same(a, b)
    else:
        assert type(found) is type(expected) and found == pytest.approx(expected)


def _compiled(tmp_path, function, *words, **named):
    program = torch.jit.script(function)
    program.save(str(tmp_path / "m.pt"))
    return program, aot.compile(tmp_path / "m.pt", inputs=list(words), **named)


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_programs(tmp_path, function):
    program, compiled = _compiled(tmp_path, function, "x:f32[3]", "n:int")
    for n in ((1, 5, 2) if function in (recurrent, reordered) else (3, 0, 9, 1)):
        for x in (X, -X):
            _same(compiled(x, n), program(torch.from_numpy(x), n))
    _same(compiled.interpret(X, 2), program(torch.from_numpy(X), 2))


def given(some: List[int], xs: List[Tensor], scale: List[float], flags: List[bool]):
    total = torch.zeros(3)
    for x in xs:
        total = total + x * scale[0]
    if len(some) > 2:
        some = some + [len(xs)]
    return total, some, scale, [not f for f in flags], len(flags)


def test_arguments(tmp_path):
    words = ["some:[int...]", "xs:[f32[3]...]", "scale:[float...]", "flags:[bool...]"]
    program, compiled = _compiled(tmp_path, given, *words, name="m")
    compiled.save(tmp_path / "m.so")
    library = aot.load_library(tmp_path / "m.so")
    for args in (([1, 2, 3], [X, X * 2], [0.5], [True, False]), ([], [], [2.0, 1.0], [])):
        lists = [args[0], [torch.from_numpy(x) for x in args[1]], *args[2:]]
        expected = program(*lists)
        for model in (compiled, library, compiled.interpret):
            _same(model(*args), expected)
    with pytest.raises(InputError, match="argument 'some': expected a list, found int"):
        compiled(1, [], [1.0], [])
    with pytest.raises(InputError, match="expected an int, found float"):
        compiled([1.5], [], [1.0], [])
    with pytest.raises(RuntimeFailure, match="list index out of range"):
        compiled([], [X], [], [])


def beyond(x, n: int):
    some: List[int] = []
    for i in range(n):
        some.append(i)
    return some[n - 5]


def changed(x, n: int):
    some: List[Tensor] = []
    for i in range(n):
        some.append(x * i)
    some[0].add_(1)
    return some[0]


def grown(x, n: int):
    some: List[Tensor] = []
    for i in range(n):
        some.append(x)
        x = torch.cat([x, x])
    return some[0]


def test_errors(tmp_path):
    _, compiled = _compiled(tmp_path, beyond, "x:f32[3]", "n:int")
    assert compiled(X, 7) == 2 and compiled(X, 4) == 3
    with pytest.raises(RuntimeFailure, match="list index out of range"):
        compiled(X, 2)
    assert compiled(X, 5) == 0
    for function in (changed, grown):
        with pytest.raises(CompileError):
            _compiled(tmp_path, function, "x:f32[3]", "n:int")


class Both(torch.nn.Module):
    def forward(self, x, n: int, given: List[int]):
        return tensors(x, n)[0], counted(x, n)[0], given + [n]


C_PROGRAM = r"""
#include "m.h"
#include <stdio.h>

int main(void) {
    m_instance *model;
    const float x[3] = {1, 2, 4}, *rows;
    const int64_t given[2] = {5, 6}, *numbers, *longer;
    int64_t rows_shape[2], numbers_shape[1], longer_shape[1];
    if (m_create(&model, NULL) != AOT_OK) return 1;
    for (int64_t n = 0; n < 15; n++) {
        if (m_forward(model, x, n, given, &rows, rows_shape, &numbers, numbers_shape, &longer,
                      longer_shape, n % 3) != AOT_OK)
            return 2;
        if (rows_shape[0] != n || rows_shape[1] != 3) return 3;
        for (int64_t i = 0; i < 3 * n; i++)
            if (rows[i] != x[i % 3] * (float)(i / 3)) return 4;
        if (longer_shape[0] != n % 3 + 1 || longer[n % 3] != n) return 5;
        printf("%lld ", (long long)numbers_shape[0]);
    }
    m_destroy(model);
    return 0;
}
"""


def test_c(tmp_path):
    torch.jit.script(Both()).save(str(tmp_path / "m.pt"))
    words = ["x:f32[3]", "n:int", "given:[int...]"]
    aot.compile(tmp_path / "m.pt", inputs=words, name="m", cpu="x86-64").save(tmp_path / "m.o")
    (tmp_path / "main.c").write_text(C_PROGRAM)
    subprocess.run(["cc", "-std=c99", "-Wall", "-Werror", "-o", "main", "main.c", "m.o"],
                   cwd=tmp_path, check=True)
    valgrind = shutil.which("valgrind")
    checked = [valgrind, "-q", "--error-exitcode=9", "--leak-check=full"] if valgrind else []
    done = subprocess.run([*checked, tmp_path / "main"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lengths = [len(counted(torch.ones(3), n)[0]) for n in range(15)]
    assert [int(w) for w in done.stdout.split()] == lengths


class Found(NamedTuple):
    at: int
    some: List[int]


def early(x, n: int):
    """A value of every kind that only some turns of a loop set, in a return out of it."""
    some: List[int] = []
    last: Optional[Tensor] = None
    for i in range(n):
        some.append(i)
        if i > 1:
            last = x * i
        if i > 2:
            return {"x": x[i - 3], "y": torch.full([], 1.0)}, Found(i, some), last
    return {"x": x.sum(), "y": x[0]}, Found(-1, some), last


def test_what_a_return_out_of_a_loop_gives(tmp_path):
    program, compiled = _compiled(tmp_path, early, "x:f32[3]", "n:int")
    for n in (0, 2, 3, 9):
        _same_fields(compiled(X, n), program(torch.from_numpy(X), n))


def _same_fields(found, expected):
    assert list(found[0]) == list(expected[0])
    _same(list(found[0].values()), list(expected[0].values()))
    _same(tuple(found[1]), tuple(expected[1]))
    _same(found[2], expected[2])


def pushed(x, n: int):
    """A stack: two on, one off, now and then; and a list that is written in the middle."""
    stack: List[int] = []
    total = 0
    for i in range(n):
        stack.append(i)
        if i % 3 != 0:
            stack.append(2 * i)
        if len(stack) > 5:
            total += stack.pop()
            stack[2] = total
    return stack, total


def kept_as_it_was(x, n: int):
    """The list before, after it has grown; a part of it; two names for one list."""
    some: List[float] = []
    for i in range(n):
        before = some.copy()
        some.append(float(x[i % 3]) + i)
        part = some[: len(before)]
        if len(part) > 3:
            some.append(sum(before) - 2 * sum(part) + before[-1])
    return some


def rows_within(x, n: int):
    all: List[Tensor] = []
    for i in range(n):
        for j in range(i):
            all.append(x * j + i)
        if i % 2 == 0:
            all.append(x)
        all[0] = all[-1] + 1
    return torch.stack(all)


@pytest.mark.parametrize("program", [pushed, kept_as_it_was, rows_within],
                         ids=lambda f: f.__name__)
def test_lists_grow_where_they_lie(program) -> None:
    scripted = torch.jit.script(program)
    compiled = aot.compile(scripted, inputs=["x:f32[3]", "n:int"])
    for n in (1, 2, 7, 40):
        expected = scripted(torch.from_numpy(X), n)
        for call in (compiled, compiled.interpret):
            _same(call(X, n), expected)


def test_an_append_costs_the_same_however_long_the_list_is() -> None:
    """A million of them: a list that was copied each time would take hours."""
    compiled = aot.compile(torch.jit.script(pushed), inputs=["x:f32[3]", "n:int"])
    assert "@.extend(" in compiled.text("llvm")
    found, total = compiled(X, 600_000)
    expected, expected_total = pushed(torch.from_numpy(X), 600_000)
    assert total == expected_total and list(found) == expected
