"""State of compiled models: attributes and buffers that calls change, call by call as PyTorch."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
import pytest

import aot
from aot.cli import main
from runtime.c_compiler import INCLUDE_DIR
from runtime.errors import AotError, CompileError, InputError, RuntimeFailure
from runtime.loader import load_library
from tests.conformance.compare import TOLERANCE, relative_error
from tests.conformance.corpus_table import plain
from tests.conftest import import_torch

torch = import_torch()
from torch import Tensor, nn  # noqa: E402


class Recurrent(nn.Module):
    """Attributes of several types, a buffer written in place, three methods."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.odd = False
        self.scale = 1.5
        self.pair = (torch.ones(3), 2)
        self.linear = nn.Linear(3, 3)
        self.register_buffer("h", torch.zeros(3))
        self.register_buffer("cache", torch.full((4, 3), 0.25))

    def forward(self, x: Tensor) -> Tuple[Tensor, int, bool, Tuple[Tensor, int]]:
        self.steps += 1
        self.h = torch.tanh(self.linear(x).mean(0) + self.h)
        self.cache[self.steps % 4] = self.h
        if self.steps % 2 == 1:
            self.odd = not self.odd
            self.scale = self.scale * 0.5
        self.pair = (self.pair[0] + self.h, self.pair[1] * 3 % 17)
        return x * self.scale + self.cache.sum(0), self.steps, self.odd, self.pair

    @torch.jit.export
    def clear(self) -> int:
        self.h.zero_()
        self.cache.mul_(0.5)
        before = self.steps
        self.steps = 0
        return before

    @torch.jit.export
    def peek(self, k: int) -> Tuple[Tensor, Tensor]:
        return self.h + k, self.cache


class Chosen(nn.Module):
    """A buffer that is written under another name, if data says so; an attribute that is set to
    what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.level = 2, 0.5
        self.register_buffer("table", torch.zeros(3))

    def forward(self, x: Tensor) -> Tuple[Tensor, int]:
        if bool(x.sum() > 0):
            x = self.table
            self.count = 2
            self.level = 0.5
        else:
            self.table = self.table + 1
        x[0] += 1
        x.mul_(2)
        return x + self.table, self.count


def test_a_buffer_is_written_under_another_name() -> None:
    reference, loaded = archive(Chosen())
    compiled = aot.compile(loaded, inputs=["x:f32[3]"])
    for value in (1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0):
        x = np.full(3, value, np.float32)
        agree(compiled(x.copy()), reference(torch.from_numpy(x)), "call by call")


def test_copy_save_and_restore() -> None:
    _, loaded = archive(Recurrent())
    compiled = aot.compile(loaded, inputs=["x:f32[5,3]"])
    a, b = arrays(2, 5, 3)
    compiled(a)
    saved, other = compiled.save_state(), compiled.copy()
    second = plain(compiled(b))
    agree(other(b), second, "a copy goes on from where it was made")
    assert compiled(b)[1] == 3
    compiled.restore_state(saved)
    agree(compiled(b), second, "restored")
    fresh = compiled.instance()
    fresh.restore_state(saved)
    agree(fresh.copy()(b), second, "in another instance")
    state = compiled.save_state()
    for wrong in (b"", saved[:-1], saved + b"x", bytes(len(saved)), b"aotstate" + saved[8:16] +
                  bytes(8) + saved[24:]):
        with pytest.raises(InputError, match="saved state"):
            compiled.restore_state(wrong)
    assert compiled.save_state() == state
    again = aot.compile(archive(Recurrent())[1], inputs=["x:f32[5,3]"])
    again.restore_state(saved)  # the same module, compiled anew
    assert again(b)[1] == 2
    other_shape = aot.compile(archive(Raises())[1], inputs=["x:f32[2]"])
    with pytest.raises(InputError, match="saved state"):
        other_shape.restore_state(saved)
    stateless = aot.compile(archive(nn.ReLU())[1], inputs=["x:f32[2]"])
    assert stateless.save_state() == b"" and stateless.copy()(np.ones(2, np.float32))[0] == 1
    stateless.restore_state(b"")
    with pytest.raises(InputError, match="keeps nothing"):
        stateless.restore_state(saved)


class Forms(nn.Module):
    """A state that is None at first, a tensor whose shape is that of the last call, and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.jit.Attribute(None, Optional[Tensor])
        self.context = torch.zeros(0)
        self.seen = torch.jit.Attribute([], List[Tensor])
        self.mode = "first"

    def forward(self, x: Tensor) -> Tensor:
        if self.context.numel() == 0:
            self.context = torch.zeros(2, 3)
        last = self.last
        y = x + self.context.sum() if last is None else x - last
        if self.mode == "first":
            y = y * 2
            self.mode = "later"
        self.context = self.context + x
        self.last = x
        if len(self.seen) < 3:
            self.seen.append(x.sum())
        return y

    @torch.jit.export
    def total(self) -> float:
        total = 0.0
        for t in self.seen:
            total += float(t)
        return total

    @torch.jit.export
    def clear(self) -> None:
        self.last = None
        self.context = torch.zeros(0)
        self.seen.clear()


def archive(module: nn.Module) -> tuple[Any, Any]:
    """The scripted module and what `aot` loads of it."""
    scripted = torch.jit.script(module.eval())
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    return scripted, aot.jit.load(io.BytesIO(buffer.getvalue()))


def numbers(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().numpy().copy()
    return tuple(map(numbers, x)) if isinstance(x, (tuple, list)) else x


def agree(found: Any, expected: Any, name: str) -> None:
    assert relative_error(plain(found), numbers(expected), name) <= TOLERANCE, (found, expected)


def arrays(count: int, *shape: int) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


METHODS = {"forward": ["x:f32[5,3]"], "clear": [], "peek": ["k:int"]}


@pytest.mark.parametrize("optimize", [True, False], ids=["fast", "plain"])
def test_methods_share_a_state(optimize: bool) -> None:
    module, loaded = archive(Recurrent())
    compiled = aot.compile(loaded, methods=METHODS, optimize=optimize)
    for i, x in enumerate(arrays(7, 5, 3)):
        expected = numbers(module(torch.from_numpy(x)))
        agree(compiled(x), expected, f"call {i}")
        agree(compiled.interpret(x), expected, f"interpreted call {i}")
        agree(compiled.peek(i), module.peek(i), f"peek {i}")
        if i == 3:
            assert compiled.clear() == module.clear() == 4
            assert compiled.methods["clear"].interpret() == 4


def test_reset_and_two_instances() -> None:
    _, loaded = archive(Recurrent())
    compiled = aot.compile(loaded, inputs=["x:f32[5,3]"])
    a, b = arrays(2, 5, 3)
    first, second = plain(compiled(a)), plain(compiled(b))
    other = compiled.instance()
    agree(other(a), first, "another instance begins at the start")
    agree(compiled.instance()(a), first, "a third one")
    agree(other(b), second, "and goes on by itself")
    assert compiled(a)[1] == 3
    compiled.reset()
    agree(compiled(a), first, "after reset")
    agree(other(a)[1], 3, "a reset of one is none of the other")


def test_state_changes_its_form() -> None:
    """None, shapes, the length of a list and strings: a variant for each form that can be."""
    module, loaded = archive(Forms())
    compiled = aot.compile(loaded, methods={"forward": ["x:f32[2,3]"], "total": [], "clear": []})
    for i, x in enumerate(arrays(12, 2, 3)):
        agree(compiled(x), module(torch.from_numpy(x)), f"call {i}")
        assert abs(compiled.total() - module.total()) < 1e-4
        if i in (0, 5, 6, 8):
            compiled.clear()
            module.clear()
            assert compiled.total() == 0


class Trained(nn.Module):
    def __init__(self, momentum: Optional[float]) -> None:
        super().__init__()
        self.batch = nn.BatchNorm1d(3, momentum=momentum)
        self.instance = nn.InstanceNorm1d(3, track_running_stats=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.batch(x) + self.instance(x)

    @torch.jit.export
    def statistics(self) -> Tuple[Tensor, Tensor, Optional[Tensor], Optional[Tensor]]:
        return (self.batch.running_mean, self.batch.running_var, self.instance.running_mean,
                self.instance.running_var)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_move(momentum: Optional[float]) -> None:
    scripted = torch.jit.script(Trained(momentum).train())
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    compiled = aot.compile(aot.jit.load(io.BytesIO(buffer.getvalue())),
                           methods={"forward": ["x:f32[5,3,4]"], "statistics": []})
    for i, x in enumerate(arrays(3, 5, 3, 4)):
        agree(compiled(x), scripted(torch.from_numpy(x)), f"call {i}")
        agree(compiled.statistics(), scripted.statistics(), f"statistics {i}")


class Raises(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        if float(x.sum()) < 0:
            raise ValueError("a negative sum")
        return x * self.count


def test_a_call_that_raises_leaves_the_state() -> None:
    _, loaded = archive(Raises())
    compiled = aot.compile(loaded, inputs=["x:f32[2]"])
    x = np.ones(2, np.float32)
    assert compiled(x)[0] == 1
    for run in (compiled, compiled.interpret):
        with pytest.raises(RuntimeFailure, match="a negative sum"):
            run(-x)
    assert compiled(x)[0] == 2


class Grows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        self.cache = torch.cat([self.cache, x])
        return self.cache.sum()


def test_growth_without_end_fails_in_time() -> None:
    module, loaded = archive(Grows())
    with pytest.warns(UserWarning, match="'cache' may grow with every call"):
        compiled = aot.compile(loaded, inputs=["x:f32[2]"])
    x = np.ones(2, np.float32)
    for _ in range(15):
        agree(compiled(x), module(torch.from_numpy(x)), "a form that is known")
    for _ in range(2):
        with pytest.raises(RuntimeFailure, match="another form"):
            compiled(x)
    compiled.reset()
    assert compiled(x) == 2


class Aliases(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.zeros(2)
        self.b = torch.zeros(2)

    def forward(self, x: Tensor) -> Tensor:
        self.a.add_(x)
        y = self.a + self.b
        self.b = self.a
        return y


def test_aliases_that_outlive_a_call_are_refused() -> None:
    _, loaded = archive(Aliases())
    with pytest.raises(CompileError, match="'[ab]' is one tensor with '[ab]' from call to call"):
        aot.compile(loaded, inputs=["x:f32[2]"])


C_TEST = """
#include <stdio.h>
#include "m.h"

int main(void)
{
    float x[15], y[15], first[15], h[3], cache[12], sum[3];
    int64_t steps, three;
    bool odd;
    m_instance *a, *b;
    for (int i = 0; i < 15; i++) x[i] = 0.1f * (float)(i - 7);
    if (m_create(&a, NULL) != AOT_OK || m_create(&b, NULL) != AOT_OK) return 1;
    if (m_forward(a, x, first, &steps, &odd, sum, &three) != AOT_OK || steps != 1) return 2;
    if (m_forward(a, x, y, &steps, &odd, sum, &three) != AOT_OK || steps != 2) return 3;
    if (m_peek(a, 7, h, cache) != AOT_OK) return 4;
    printf("%.9g %.9g %lld\\n", y[0], h[0], (long long)three);
    if (m_forward(b, x, y, &steps, &odd, sum, &three) != AOT_OK || steps != 1) return 5;
    for (int i = 0; i < 15; i++) if (y[i] != first[i]) return 6;
    if (m_clear(a, &steps) != AOT_OK || steps != 2) return 7;
    if (m_reset(a) != AOT_OK) return 8;
    if (m_forward(a, x, y, &steps, &odd, sum, &three) != AOT_OK || steps != 1) return 9;
    for (int i = 0; i < 15; i++) if (y[i] != first[i]) return 10;
    if (m_reset(NULL) != AOT_INVALID_ARGUMENT) return 11;
    m_destroy(a);
    m_destroy(b);
    return 0;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with m.pt, m.o and m.h of the command line, and the module."""
    folder = tmp_path_factory.mktemp("state")
    module = torch.jit.script(Recurrent().eval())
    torch.jit.save(module, str(folder / "m.pt"))
    words = ["--method", "forward", "--input", "x:f32[5,3]", "--method", "clear",
             "--method", "peek", "--input", "k:int", "--verify", "--cpu", "x86-64-v3"]
    for emit, out in (("obj", "m.o"), ("lib", "m.so")):
        assert main([str(folder / "m.pt"), "-o", str(folder / out), "--name", "m",
                     "--emit", emit, *words]) == 0
    return folder, module


def test_from_c_and_clean_under_valgrind(built: tuple[Path, Any]) -> None:
    folder, module = built
    (folder / "t.c").write_text(C_TEST)
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Werror", "-g", "-I", str(INCLUDE_DIR), "-I",
                    str(folder), "t.c", "m.o", "-o", "t"], cwd=folder, check=True)
    done = subprocess.run(["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "./t"],
                          cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x = torch.tensor([0.1 * (i - 7) for i in range(15)]).reshape(5, 3)
    module(x)
    y, _, _, (_, three) = module(x)
    h, _ = module.peek(7)
    found = [float(word) for word in done.stdout.split()]
    assert np.allclose(found, [float(y[0, 0]), float(h[0]), three], rtol=1e-5)


def test_a_library_has_the_state(built: tuple[Path, Any]) -> None:
    model = load_library(built[0] / "m.so")
    assert model.description.stateful and list(model.methods) == ["forward", "clear", "peek"]
    x = arrays(1, 5, 3)[0]
    first = plain(model(x))
    assert model(x)[1] == 2 and load_library(built[0] / "m.so")(x)[1] == 1
    model.reset()
    agree(model(x), first, "after reset")


def test_inputs_follow_their_method(built: tuple[Path, Any],
                                    capsys: pytest.CaptureFixture[str]) -> None:
    path = str(built[0] / "m.pt")
    assert main([path, "--emit", "code", "--input", "k:int", "--method", "peek",
                 "--method", "clear"]) == 2
    assert "stands before the first --method" in capsys.readouterr().err
    assert main([path, "--emit", "code", "--method", "peek", "--method", "peek"]) == 2
    assert "is given 2 times" in capsys.readouterr().err


def test_wrong_methods_are_refused() -> None:
    _, loaded = archive(Recurrent())
    with pytest.raises(AotError, match="at least one method"):
        aot.compile(loaded, methods={})
    with pytest.raises(AotError, match="no method 'nothing'"):
        aot.compile(loaded, methods={"nothing": []})


class Shifts(nn.Module):
    """Buffers written in place, in part, after and before they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("k", torch.arange(12.0).view(4, 3))
        self.register_buffer("ring", torch.zeros(4, 3))
        self.register_buffer("old", torch.zeros(4, 3))

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        first = self.k[1].clone()
        self.old.copy_(self.k)
        self.ring[2:] = x
        self.k[1:3] = self.k[0:2] + x
        self.k[0] = first
        return self.k, self.k.t(), self.old, self.ring.sum(0)


@pytest.mark.parametrize("optimize", [True, False], ids=["fast", "plain"])
def test_parts_of_buffers_are_written(optimize: bool) -> None:
    module, loaded = archive(Shifts())
    compiled = aot.compile(loaded, inputs=["x:f32[3]"], optimize=optimize)
    for i, x in enumerate(arrays(4, 3)):
        agree(compiled(x), module(torch.from_numpy(x)), f"call {i}")


class Loops(nn.Module):
    """State that a loop of run time changes, and that a branch on it changes."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.sum = torch.zeros(3)
        self.register_buffer("most", torch.zeros(3))

    def forward(self, x: Tensor) -> Tuple[Tensor, int]:
        y = x
        while float(y.abs().sum()) > 0.5:
            y = y * 0.5
            self.turns += 1
            self.sum = self.sum + y
            if float(y.sum()) > 0:
                self.most += 1
        return self.sum + self.most, self.turns


def test_a_loop_of_run_time_changes_state() -> None:
    module, loaded = archive(Loops())
    compiled = aot.compile(loaded, inputs=["x:f32[3]"])
    for i, x in enumerate(arrays(5, 3)):
        agree(compiled(x), module(torch.from_numpy(x)), f"call {i}")
