"""The language under partial evaluation: TorchScript functions against PyTorch, live.

Each function runs three ways: with everything known (run_method), as a tensor program with the
numbers compiled in, and as one with the numbers given at run time.
"""

from __future__ import annotations

import io
import math
from typing import Dict, List, NamedTuple, Optional

import numpy as np
import pytest

from aot.archive.reader import read_archive
from lowering.evaluate import InputSpec, evaluate, run_method
from lowering.interpreter import run_program
from runtime import structure
from runtime.dtypes import dtype_of_numpy, to_compute, to_storage
from runtime.errors import CompileError, RuntimeFailure
from tests.conftest import import_torch

torch = import_torch()
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Tensor = torch.Tensor


def load(fn):
    """Our Function of a Python function or module, by way of an archive."""
    scripted = fn if isinstance(fn, torch.jit.ScriptFunction) else torch.jit.script(fn)
    buffer = io.BytesIO()
    torch.jit.save(scripted, buffer)
    archive = read_archive(buffer.getvalue())
    return scripted, archive.root.type.methods["forward"], archive.root


def to_ours(x):
    if isinstance(x, torch.Tensor):
        return x.detach().numpy().copy()
    if isinstance(x, (list, tuple)):
        return type(x)(map(to_ours, x))
    return {k: to_ours(v) for k, v in x.items()} if isinstance(x, dict) else x


def spec(x, arrays, numbers_at_run_time):
    if isinstance(x, torch.Tensor):
        array = x.detach().numpy()
        dtype = dtype_of_numpy(array.dtype)
        arrays.append(to_compute(array, dtype))
        return InputSpec("", "tensor", dtype, tuple(x.shape))
    if isinstance(x, (list, tuple)):
        kind = "list" if isinstance(x, list) else "tuple"
        return InputSpec("", kind, items=tuple(spec(v, arrays, numbers_at_run_time) for v in x))
    if isinstance(x, dict):
        items = tuple(spec(v, arrays, numbers_at_run_time) for v in x.values())
        return InputSpec("", "dict", items=items, keys=tuple(x))
    if numbers_at_run_time and isinstance(x, (bool, int, float)):
        kind = type(x).__name__
        arrays.append(np.array(x, {"int": np.int64, "float": np.float64, "bool": np.bool_}[kind]))
        return InputSpec("", kind)
    return InputSpec("", "constant", value=x)


def agree(ours, theirs, where="result", rel=1e-12):
    if isinstance(theirs, torch.Tensor):
        assert np.shape(ours) == tuple(theirs.shape), where
        assert str(np.asarray(ours).dtype) == str(theirs.dtype).removeprefix("torch."), where
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5,
                                   atol=1e-5, err_msg=where)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple)) and len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs)):
            agree(a, b, f"{where}[{i}]", rel)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for k in theirs:
            agree(ours[k], theirs[k], f"{where}[{k!r}]", rel)
    else:
        assert type(ours) is type(theirs), (where, ours, theirs)
        if isinstance(theirs, float):
            assert ours == pytest.approx(theirs, rel=rel, abs=rel, nan_ok=True), where
        else:
            assert ours == theirs, (where, ours, theirs)


def program_of(function, root, args, numbers_at_run_time=True):
    arrays: list = []
    specs = [spec(x, arrays, numbers_at_run_time) for x in args]
    return evaluate(function, root, specs), arrays


def run_compiled(program, arrays):
    values = []
    for value, array in zip(program.body.results, run_program(program, arrays)):
        values.append(array.item() if value.wrapped else to_storage(array, value.dtype))
    return structure.build(structure.parse(program.output_structure), iter(values))


def compare(fn, *args, run_time=True):
    scripted, function, root = load(fn)

    def copy(x):
        if isinstance(x, torch.Tensor):
            return x.clone()
        if isinstance(x, (list, tuple)):
            return type(x)(map(copy, x))
        return dict(x) if isinstance(x, dict) else x

    expected = scripted(*map(copy, args))
    agree(run_method(function, [root, *map(to_ours, args)]), expected, "run_method")
    agree(run_compiled(*program_of(function, root, args, False)), expected, "numbers known")
    if run_time:
        program, arrays = program_of(function, root, args, True)
        agree(run_compiled(program, arrays), expected, "numbers at run time")
        return program
    return None


def kinds(program):
    def walk(region):
        for op in region.ops:
            yield type(op).__name__
            for inner in op.regions():
                yield from walk(inner)

    return list(walk(program.body))


X = torch.arange(12.0).reshape(3, 4) - 5


# Numbers


def test_integer_arithmetic():
    def f(n: int, m: int):
        return (n + m, n - m, n * m, n // m, n % m, n / m, -n, n << 2, n >> 1, n & 3,
                n | 3, n ^ 3, abs(m))

    for n, m in [(7, -2), (-7, 2), (-7, -2), (6, 3), (2**62, 4)]:
        compare(f, n, m)


def test_float_arithmetic():
    def f(x: float, y: float):
        return x + y, x - y, x * y, x / y, x // y, x % y, -x, abs(x), float(x), int(x), bool(y)

    for x, y in [(7.5, -2.0), (-3.7, 2.0), (0.25, 0.5)]:
        compare(f, x, y)


def test_mixed_arithmetic_and_comparisons():
    def f(n: int, x: float, b: bool):
        return (n + x, n * x, x - n, n / 2, n < x, n <= 3, n == 3, n != 3, x > 1, x >= n, not b,
                b and n > 0, b or n > 0, min(n, 3), max(x, 0.5), float(n), int(b), n if b else 2)

    compare(f, 3, 1.5, True)
    compare(f, -3, 0.5, False)


def test_math():
    def f(x: float):
        return (math.ceil(x), math.floor(x), math.sqrt(x), math.log(x), math.exp(x), math.sin(x),
                math.tanh(x), math.pow(x, 2.0), math.fmod(x, 2.0), math.isnan(x), round(x))

    for x in (2.4, 3.6, 9.0):
        compare(f, x)


def test_powers():
    def f(n: int, x: float):
        return n**2, x**2, 2**n, x**0.5, x**n

    compare(f, 3, 2.25, run_time=False)


def test_rounding_of_halves():
    def f(x: float):
        return round(x)

    for x in (0.5, 1.5, 2.5, -2.5):
        compare(f, x)


def test_divmod_and_bit_length():
    def f(n: int, m: int):
        return divmod(n, m)

    compare(f, 7, -2, run_time=False)


# Containers and strings


def test_lists():
    def f(l: List[int], s: str):
        second = l[1:]
        l.sort(reverse=True)
        copy = l.copy()
        copy.append(9)
        copy.insert(0, 7)
        copy.extend([1, 1])
        last = copy.pop()
        copy.remove(9)
        copy.reverse()
        return (l, second, copy, last, l.index(3), l.count(1), sorted(l), 3 in l, len(l), l * 2,
                [0] * 3, l + [5], l == second, l[-1], sum(l), [i * 2 for i in l], min(l), max(l))

    compare(f, [1, 3, 2], "x", run_time=False)


def test_slices_of_lists():
    def f(l: List[int]):
        return l[::-1], l[3:0:-1], l[::-2], l[-1:-4:-1], l[1:4:2], l[10:0:-3], l[:-2]

    compare(f, [0, 1, 2, 3, 4, 5])


def test_data_dependent_sizes_with_everything_known():
    def f(x: Tensor):
        kept = torch.where(x > 0)[0]
        order = x[kept].sort(descending=True)[1]
        n = min(2, kept.size(0))
        return kept[order], x[kept].topk(n)[0], kept[:n].reshape(n, -1)

    x = torch.tensor([0.5, -1.0, 2.0, 1.5, -0.25])
    scripted, function, root = load(f)
    agree(run_method(function, [root, to_ours(x)]), scripted(x), "run_method")


def test_dicts():
    def f(d: Dict[str, int]):
        d["new"] = 5
        keys = [k for k in d.keys()]
        values = [v for v in d.values()]
        popped = d.pop("a")
        inside = "a" in d
        total = 0
        for _, v in d.items():
            total += v
        return d, keys, values, popped, inside, total, len(d), d.get("b"), d.get("zzz", 4)

    compare(f, {"a": 3, "b": 4}, run_time=False)


def test_strings():
    def f(s: str, n: int, x: float):
        return ("{} and {}".format(n, x), str(n), str(x), str([n, 2]), "%s %d %f" % (s, n, x),
                s.upper(), s.split(","), s[1:3], s[-1], "a" in s, len(s), s.find("b"), s + "!",
                s.replace("a", "z"), s.startswith("a"), ",".join([s, s]), s.strip(), s == "q",
                "{:.2f} {} {{".format(x), str(True), str(1e-7))

    compare(f, "a,bc ", 3, 1.5, run_time=False)


class Point(NamedTuple):
    x: Tensor
    n: int


def test_tuples_and_named_tuples():
    def f(x: Tensor, n: int):
        p = Point(x + 1, n * 2)
        a, b = p.x, p.n
        t = (a, b, "s")
        return p, t[0] * t[1], t[1:]

    compare(f, X, 3)


def test_optional_and_isinstance():
    def f(x: Optional[Tensor], y: Tensor):
        if x is None:
            x = y * 2
        return x + y

    compare(f, None, X)
    compare(f, X + 1, X)


# Control flow


def test_branch_on_a_known_shape_disappears():
    def f(x: Tensor):
        if x.size(0) > 2:
            return x + 1
        else:
            return x - 1

    program = compare(f, X)
    assert "If" not in kinds(program)


def test_branch_on_data():
    def f(x: Tensor):
        if bool(x.sum() > 0):
            y = x + 1
        else:
            y = -x
        return y * 2

    for x in (X, -X - 10, X + 10):
        assert "If" in kinds(compare(f, x))


def test_branch_on_a_number_of_run_time():
    def f(x: Tensor, n: int, b: bool):
        k = 1
        if n > 2:
            k = n * 2
        elif b:
            k = 7
        return x * k, k

    for n, b in [(1, True), (1, False), (5, True)]:
        compare(f, X, n, b)


def test_in_place_writes_inside_a_branch():
    def f(x: Tensor, n: int):
        y = x.clone()
        if n > 0:
            y[0] = 9
            y[1].add_(x[0])
        else:
            y.mul_(2)
        z = y + 1
        return y, z, x

    compare(f, X, 1)
    compare(f, X, -1)


def test_lists_change_inside_a_branch():
    def f(x: Tensor, n: int):
        parts = [x, x + 1]
        if n > 0:
            parts[0] = x * n
        return torch.cat(parts)

    compare(f, X, 1)
    compare(f, X, -1)


def test_early_return_and_raise():
    def f(x: Tensor, n: int):
        if n == 0:
            return x
        if n < 0:
            raise ValueError("negative")
        y = x
        for i in range(3):
            if i == n:
                break
            y = y + i
        return y

    for n in (0, 1, 5):
        compare(f, X, n)
    _, function, root = load(f)
    with pytest.raises(RuntimeFailure, match="negative"):
        run_method(function, [root, to_ours(X), -1])
    program, arrays = program_of(function, root, (X, -1))
    assert "Check" in kinds(program)
    with pytest.raises(RuntimeFailure, match="negative"):
        run_compiled(program, arrays)
    with pytest.raises(CompileError, match="negative"):
        program_of(function, root, (X, -1), False)


def test_loop_over_known_sizes_unrolls():
    def f(x: Tensor):
        out = torch.zeros(4)
        for i in range(x.size(0)):
            out = out * 0.5 + x[i]
        return out

    assert "Loop" not in kinds(compare(f, X))


def test_long_loop_stays_a_loop():
    def f(x: Tensor):
        out = torch.zeros(4)
        n = 0
        for i in range(200):
            out = out * 0.5 + x[i % 3] * i
            n += i
        return out, n

    program = compare(f, X)
    assert "Loop" in kinds(program) and len(program.body.ops) < 30


def test_a_loop_over_rows_needs_no_bounds_checks():
    def f(x: Tensor):
        out = torch.zeros(4)
        for i in range(x.size(0)):
            out = out * 0.5 + x[i]
        return out

    program = compare(f, torch.randn(100, 4))
    assert "Loop" in kinds(program) and "Check" not in kinds(program)


def test_loop_with_a_trip_count_of_run_time():
    def f(x: Tensor, n: int):
        y = x
        total = 0
        for i in range(n):
            y = y + i
            total += i * 2
        return y, total

    for n in (0, 1, 5):
        assert "Loop" in kinds(compare(f, X, n))


def test_while_on_data():
    def f(x: Tensor):
        n = 0
        while bool(x.sum() < 100):
            x = x + 1.5
            n += 1
        return x, n

    assert "Loop" in kinds(compare(f, X))


def test_loop_with_break_and_continue_on_data():
    def f(x: Tensor, n: int):
        y = x
        for i in range(n):
            if i == 2:
                continue
            if bool(y.sum() > 30):
                break
            y = y + i
        return y

    for n in (0, 3, 20):
        compare(f, X, n)


def test_nested_loops_and_branches():
    def f(x: Tensor, n: int):
        y = x
        for i in range(n):
            for j in range(n):
                if bool(y.max() < 20):
                    y = y + j
                else:
                    y = y - i
        return y

    for n in (0, 2, 6):
        compare(f, X, n)


def test_in_place_writes_inside_a_loop():
    def f(x: Tensor, n: int):
        y = torch.zeros_like(x)
        for i in range(n):
            y[0].add_(x[1] * i)
            y.mul_(0.5)
        return y

    for n in (0, 4):
        compare(f, X, n)


def test_list_grows_in_an_unrolled_loop():
    def f(x: Tensor):
        outputs: List[Tensor] = []
        h = torch.zeros(4)
        for i in range(x.size(0)):
            h = torch.tanh(h + x[i])
            outputs.append(h)
        outputs.reverse()
        return torch.stack(outputs), outputs

    compare(f, X)


def test_list_growing_by_run_time_data_has_elements_of_one_shape():
    def f(x: Tensor, n: int):
        outputs = [x]
        for i in range(n):
            outputs.append(x[0] + i)
        return outputs

    compare(f, X, 3, run_time=False)
    _, function, root = load(f)
    with pytest.raises(CompileError, match="(?s)list.*f32.3, 4..*gets a Tensor.*at .*py:"):
        program_of(function, root, (X, 3))


def test_values_from_tensors():
    def f(x: Tensor):
        n = int(x[0, 0].item())
        v = float(x.max())
        b = bool(x[0, 0] > 0)
        return n, v, b, x * v, x.size(), x.dim(), x.numel(), x.tolist() if False else n

    compare(f, X)


def test_numbers_become_tensors():
    def f(x: Tensor, n: int, v: float):
        return (torch.tensor([n, 2]), torch.tensor(v), torch.tensor([1.0, v]), x + n, x * v,
                torch.full([2], v), torch.tensor([[1, 2], [3, 4]]))

    compare(f, X, 3, 1.5)


def test_a_path_that_leaves_a_variable_unset():
    def f(x: Tensor, n: int):
        if n > 0:
            y = x * 2
            k = n
        else:
            raise RuntimeError("n must be positive")
        return y, k

    compare(f, X, 2)


def test_positions_of_run_time():
    def f(x: Tensor, n: int):
        y = x.clone()
        y[n] = 7
        y[:, n + 1].add_(1)
        y.narrow(0, n, 2).mul_(2)
        return y, x[n], x[n : n + 2], x[:, n + 1 : n + 3], x.select(1, -n - 1)

    for n in (0, 1):
        compare(f, X, n)
    _, function, root = load(f)
    program, arrays = program_of(function, root, (X, 3))
    with pytest.raises(RuntimeFailure, match="out of range"):
        run_compiled(program, arrays)


def test_fork_and_wait():
    def g(x: Tensor):
        return x * 2

    def f(x: Tensor):
        future = torch.jit.fork(g, x)
        return torch.jit.wait(future) + 1

    compare(f, X)
