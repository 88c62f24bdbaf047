"""Views and in-place operators under partial evaluation, against PyTorch, live."""

from __future__ import annotations

from typing import List, NamedTuple, Optional

import numpy as np
import pytest

import aot
from lowering.evaluate import run_method
from lowering.interpreter import run_program
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import import_torch
from tests.evaluated_functions import agree, compare, load, program_of, run_compiled

torch = import_torch()
Tensor = torch.Tensor
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

X = torch.arange(24.0).reshape(4, 6) - 9


def test_writes_through_chains_of_views_reach_the_base():
    def f(x: Tensor):
        y = x.clone()
        y[1].add_(100)
        y[:, 2:5].mul_(-1)
        y.t()[3][1:] = 7
        y.view(2, 12)[1, ::3] += 0.5
        y.unsqueeze(0).transpose(0, 1)[2].zero_()
        return y

    compare(f, X)


def test_views_see_later_writes():
    def f(x: Tensor):
        y = x.clone()
        row, column, flat = y[1], y[:, 1], y.view(-1)
        before = row + 0
        y.add_(1)
        flat[0] = 50
        return before, row, column, flat, y

    compare(f, X)


def test_parts_of_a_split_are_views():
    def f(x: Tensor):
        y = x.clone()
        a, b = y.chunk(2, dim=1)
        a.add_(b)
        c = y.unbind(0)
        c[0].zero_()
        d = y.split([1, 3])
        d[1].sub_(1)
        return y, a, b

    compare(f, X)


def test_reshape_of_a_transposed_tensor_copies():
    def f(x: Tensor):
        y = x.clone()
        z = y.t().reshape(24)
        z.zero_()
        w = y.reshape(24)
        w[0] = 77
        v = y.t().contiguous()
        v.zero_()
        u = y.contiguous()
        u[0, 1] = 78
        return y

    compare(f, X)


def test_view_of_a_transposed_tensor_is_refused_as_pytorch_refuses_it():
    def f(x: Tensor):
        return x.t().view(24)

    scripted, function, root = load(f)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        scripted(X)
    with pytest.raises(CompileError, match="(?s)view size is not compatible.*at .*py:"):
        program_of(function, root, (X,))


def test_writing_to_an_expanded_tensor_is_refused():
    def f(x: Tensor):
        y = x.expand(3, 4, 6)
        y.add_(1)
        return y

    _, function, root = load(f)
    with pytest.raises(CompileError, match="single memory location"):
        program_of(function, root, (X,))


def test_strides_and_contiguity():
    def f(x: Tensor):
        y = x.t()
        return (x.stride(), y.stride(), y.is_contiguous(), x[:, 0].is_contiguous(), x[0].stride(),
                x.view(2, 2, 6).stride(), x[::2].stride(0), y.contiguous().stride(),
                x[1:].is_contiguous(), x.unsqueeze(1).stride(), x.expand(2, 4, 6).stride())

    compare(f, X)


def test_assignment_forms():
    def f(x: Tensor, n: int):
        y = torch.empty(4, 6)
        y.copy_(x)
        y[0] = n
        y[1, 2] = 1.5
        y[2:, :2] = x[:2, :2]
        y[:, 5] = torch.tensor([1, 2, 3, 4])
        y[3].fill_(2)
        y.narrow(0, 0, 1).fill_(0.25)
        return y

    compare(f, X, 3)


def test_in_place_operators_keep_the_dtype():
    def f(x: Tensor):
        a = torch.ones(4, 6, dtype=torch.int64)
        a += 2
        a *= 3
        b = x.to(torch.float64)
        b.add_(x).div_(2).clamp_(-1, 1).neg_()
        c = x > 0
        c &= x > 5
        d = torch.relu_(x.clone())
        return a, b, c, d

    compare(f, X)


def test_in_place_to_a_lesser_dtype_is_refused():
    def f(x: Tensor):
        a = torch.ones(4, 6, dtype=torch.int64)
        a += x
        return a

    _, function, root = load(f)
    with pytest.raises(CompileError, match="can't be cast to the desired output type"):
        program_of(function, root, (X,))


def test_in_place_result_must_fit():
    def f(x: Tensor):
        y = x[0].clone()
        y.add_(x)
        return y

    _, function, root = load(f)
    with pytest.raises(CompileError, match="doesn't match the broadcast shape"):
        program_of(function, root, (X,))


def test_shape_changing_in_place_operators():
    def f(x: Tensor):
        z = x.clone()
        y = z.unsqueeze(0)
        y.squeeze_(0)
        y.t_()
        y.add_(1)
        return y, z

    compare(f, X)


def test_out_variants():
    def f(x: Tensor):
        y = torch.zeros(4, 6)
        z = torch.add(x, x, out=y)
        w = torch.empty(0)
        torch.mul(x, 2, out=w)
        return y, z, w

    compare(f, X)


def test_detach_and_aliases_share_memory():
    def f(x: Tensor):
        y = x.clone()
        a = y.detach()
        a[0] = 5
        b = y.to(torch.float32)
        b[1] = 6
        c = y.to(torch.float32, copy=True)
        c[2] = 7
        return y

    compare(f, X)


def test_writing_one_of_two_tensors_when_data_decides_which():
    def f(x: Tensor, n: int):
        a, b = x.clone(), x + 1
        c = a if n > 0 else b
        c.add_(1)
        return c * 2

    compare(f, X, 1)
    compare(f, X, -1)

    def g(x: Tensor, n: int):
        a, b = x.clone(), x + 1
        c = a if n > 0 else b
        c.add_(1)
        return a, b, c

    compare(g, X, 1)
    compare(g, X, -1)


def test_writing_a_tensor_that_another_may_be_when_data_decides():
    def f(x: Tensor, n: int):
        a, b = x.clone(), x + 1
        c = a if n > 0 else b
        a.add_(1)
        return a, c

    compare(f, X, 1)
    compare(f, X, -1)


def test_views_that_data_chooses_are_written_both_ways():
    def f(x: Tensor, n: int, m: int):
        a, b = x.clone(), x + 1
        row = a[0]
        other = row
        if n > 0:
            row = b[1]
            if m > 0:
                row = a[2]
            fresh = row + 1
            other = fresh[1:]
            row2 = fresh
        else:
            row2 = a[1]
            other = row2[1:]
        row.mul_(3)
        a[0].add_(1)
        a[:, 0].sub_(5)
        b.add_(row.clone())
        row2.neg_()
        other.add_(7)
        return a, b, row, other, row2

    for n in (-1, 1):
        for m in (-1, 1):
            compare(f, X, n, m)
    both = [list(t) for t in ((True, False), (False, True), (True, True), (False, False))]

    def g(x: Tensor, flags: List[bool]):
        a, b, c = x.clone(), x + 1, x + 2
        p = a if flags[0] else b
        q = p if flags[1] else c
        r = q if flags[0] else a
        r.add_(1)
        p.mul_(2)
        c.sub_(3)
        q[0] = 5
        return a, b, c, p, q, r

    for flags in both:
        compare(g, X, flags)


def test_an_element_is_written_on_one_path_and_replaced_on_the_other():
    def f(x: Tensor, n: int):
        tensors = [x + 1, x + 2]
        named = {"a": tensors[0]}
        if n > 0:
            tensors[0] = x
        else:
            tensors[0].add_(1)
        return tensors, named

    compare(f, X, 1)
    compare(f, X, -1)


def test_a_view_leaves_a_loop_early():
    def f(x: Tensor, n: int):
        y = x.clone()
        if bool(y.sum() > -1000):
            for k in range(n):
                y[0:] = (y[k % 4] + k).clone()
                if k == 2:
                    return y[..., k]
            y.sub_(1)
        return y[:, 0]

    for n in (0, 2, 3, 5):
        compare(f, X, n)


class Pair(NamedTuple):
    a: Tensor
    n: int


def test_what_leaves_a_loop_early_may_be_anything():
    def f(x: Tensor, n: int):
        grown = [x[0]]
        for k in range(n):
            grown.append(x[k % 4] * 2)
            found: Optional[Tensor] = None
            if k == 1:
                found = x[k]
            if k == 2:
                return grown, {"a": x[k], "b": x[0] + k}, Pair(x[k] + 1, k), found
        nothing: Optional[Tensor] = None
        return grown, {"a": x[0], "b": x[1]}, Pair(x[3], n), nothing

    for n in (0, 1, 5):
        compare(f, X, n)


def test_a_dict_is_changed_and_made_in_a_loop():
    def f(x: Tensor, n: int):
        named = {"a": x, "b": x + 1}
        for k in range(n):
            named["a"] = named["b"] * 2
            other = {"k": k, "m": named["a"].numel()}
            if other["k"] == 3:
                return named, other["m"]
        return named, n

    for n in (0, 1, 6):
        compare(f, X, n)


def test_a_loop_whose_first_turn_raises_takes_none():
    def f(x: Tensor, n: int):
        y = x.clone()
        for k in range(n):
            y = y + y[7]
        return y

    compare(f, X, 0)
    _, function, root = load(f)
    program, arrays = program_of(function, root, (X, 1))
    with pytest.raises(RuntimeFailure, match="index 7 out of range"):
        run_program(program, arrays)


def test_tensors_that_trade_places_in_a_loop_keep_their_memory_apart():
    def f(x: Tensor, n: int):
        a, b = x.clone(), x + 1
        for _ in range(n):
            a, b = b, a
        a.add_(1)
        return a

    for n in (0, 1, 2):
        compare(f, X, n)


def test_a_tensor_that_becomes_another_in_a_loop_is_refused_when_written_and_read():
    def f(x: Tensor, n: int):
        a, b = x.clone(), x + 1
        for _ in range(n):
            a.add_(1)
            a = b
        return a, b

    _, function, root = load(f)
    with pytest.raises(CompileError, match="written in place through another one, or not"):
        program_of(function, root, (X, 2))


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.n = 0
        self.register_buffer("total", torch.zeros(3))
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor):
        self.n += 1
        self.total += x * self.weight
        return self.total * self.n


def test_state_lives_in_the_module():
    module = Counter().eval()
    scripted, function, root = load(module)
    x = torch.tensor([1.0, 2.0, 3.0])
    with torch.no_grad():
        for _ in range(3):
            agree(run_method(function, [root, x.numpy()]), scripted(x))
    assert root.attributes["n"] == 3
    program, arrays = program_of(function, root, (x,))
    assert sorted(s.name for s in program.state) == ["n", "total"]
    found, *after = run_program(program, [*arrays, *(s.initial for s in program.state)])
    assert torch.equal(torch.from_numpy(found), scripted(x).detach())
    ends = dict(zip((s.name for s in program.state), after))
    assert ends["n"] == 4 and np.array_equal(ends["total"], 4 * x.numpy())



def test_an_unwritten_buffer_is_a_constant_of_the_program():
    class M(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("b", torch.arange(6.0).reshape(2, 3).t())

        def forward(self, x):
            return x + self.b, self.b.is_contiguous(), self.b.stride()

    scripted, function, root = load(M())
    x = torch.ones(3, 2)
    program, arrays = program_of(function, root, (x,))
    agree(run_compiled(program, arrays), scripted(x))


@pytest.mark.parametrize("optimize", [True, False])
def test_a_copied_broadcast_has_memory_for_each_element(tmp_path, optimize):
    def f(x: Tensor):
        y = torch.zeros(4)
        y.copy_(x + 1)
        y[2] = 0
        return y

    torch.jit.script(f).save(str(tmp_path / "f.pt"))
    compiled = aot.compile(tmp_path / "f.pt", inputs=["x:f32[1]"], optimize=optimize)
    assert compiled(np.ones(1, np.float32)).tolist() == [2, 2, 0, 2]


def test_as_strided_looks_into_the_memory_that_a_view_lies_in():
    def f(x: Tensor):
        y = x.clone().view(4, 3, 2).transpose(0, 1)
        part = y[1:, 1:].select(2, 1)
        windows = part.as_strided([2, 3], [6, 2])
        part.as_strided([2, 2], [2, 6], 1).mul_(-1)
        return windows, y, y.as_strided([5], [3]), part.storage_offset()

    compare(f, X)


def test_diagonals_are_filled():
    def f(x: Tensor):
        tall, cube = x.clone().view(12, 2), torch.arange(27.0).view(3, 3, 3)
        return (tall.clone().fill_diagonal_(7), tall.fill_diagonal_(8.5, wrap=True),
                cube.fill_diagonal_(1), x.clone().t().fill_diagonal_(2))

    compare(f, X)


def test_a_constant_of_a_trace_is_a_number_in_arithmetic():
    class Masks(torch.nn.Module):
        def forward(self, x, y):
            return (1 - x) * -3.5 + 0.25, y + 1.5, (y - 3) / 2.0, 2.5 * y

    for dtype in (torch.int64, torch.int32, torch.float16):
        args = torch.arange(6).to(dtype).view(2, 3), torch.arange(3).to(torch.int32)
        compare(torch.jit.trace(Masks(), args, check_trace=False), *args)


def _ramp(n: int, device: torch.device = torch.device("cpu")):
    return torch.arange(n, device=device)


def test_a_device_is_the_default_of_a_parameter():
    def f(x: Tensor):
        return _ramp(6) + x

    compare(f, X)
