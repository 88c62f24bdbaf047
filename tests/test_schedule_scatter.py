"""Scatter as machine code against its definition, point by point."""

from __future__ import annotations

import numpy as np
import pytest

from lowering import expr as E
from lowering.schedule.scatter import schedule_scatter
from lowering.tensor_ir import Scatter, Value
from runtime.dtypes import DType, bf16, f16, f32, i8, i64, to_compute, to_storage
from tests.kernel_memory import WIDEST, Memory, dtypes, same, sample, targets


def evaluate(e: E.Expr, point: tuple[int, ...], arrays: dict[Value, np.ndarray]):
    """A scalar expression with numpy, as far as these tests need."""
    if e.op == "const":
        return e.attr
    if e.op == "index":
        return point[e.attr]
    args = [evaluate(a, point, arrays) for a in e.args]
    if e.op == "load":
        return arrays[e.attr][tuple(int(a) for a in args)]
    return {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
            "mod": lambda a, b: a % b}[e.op](*args)


def scatter_reference(op: Scatter, arrays: dict[Value, np.ndarray]) -> np.ndarray:
    """The definition, point by point; every step rounds in the dtype."""
    out = np.array(arrays[op.base])
    dtype = op.out.dtype
    step = {"set": lambda a, x: x, "add": np.add, "mul": np.multiply, "min": np.minimum,
            "max": np.maximum}[op.mode]
    with np.errstate(all="ignore"):
        for point in np.ndindex(*op.domain):
            at = tuple(int(evaluate(w, point, arrays)) for w in op.write)
            if all(0 <= k < n for k, n in zip(at, out.shape)):
                x = out.dtype.type(evaluate(op.body, point, arrays))
                out[at] = to_compute(to_storage(np.asarray(
                    step(out[at], x), dtype.compute), dtype), dtype)
    return out


def check_scatter(op: Scatter, arrays: dict[Value, np.ndarray], target,
                  layout: tuple[int, ...] = (0, 0, 0, 0), in_place: bool = False) -> None:
    memory = Memory()
    for k, (v, data) in enumerate(arrays.items()):
        memory.place(v, data, layout[k])
    if in_place:
        memory.storages[op.out] = memory.storages[op.base]
    else:
        memory.place(op.out, None, layout[len(arrays)])
    kernels = schedule_scatter(op, memory.storages, target, "scatter")
    assert len(kernels) == 2 - in_place
    memory.run(kernels, target, [op.out])
    got, expected = memory.get(op.out), scatter_reference(op, arrays)
    if op.out.dtype.is_float and op.mode in ("min", "max"):
        got, expected = got + 0, expected + 0
    assert same(got, expected)


def rows_case(mode: str, dtype: DType, d: int = 21):
    """out[index[i], j] = mode(.., x[i, j]), some indices out of bounds and many equal."""
    base, index, x = Value((6, d), dtype), Value((11,), i64), Value((11, d), dtype)
    i, j = E.index(0), E.index(1)
    op = Scatter(base, (11, d), (E.load(index, (i,)), j), E.load(x, (i, j)), mode)
    arrays = {base: sample((6, d), dtype), x: sample((11, d), dtype, 1),
              index: np.random.default_rng(2).integers(-2, 8, 11)}
    return op, arrays


def elements_case(mode: str, dtype: DType, dim: int):
    """torch.scatter_reduce along a dim: the place's coordinate comes from a tensor of indices."""
    base, index, x = Value((6, 21), dtype), Value((5, 19), i64), Value((5, 19), dtype)
    i = (E.index(0), E.index(1))
    at = E.load(index, i)
    op = Scatter(base, (5, 19), (at, i[1]) if dim == 0 else (i[0], at), E.load(x, i), mode)
    arrays = {base: sample((6, 21), dtype), x: sample((5, 19), dtype, 1),
              index: np.random.default_rng(3).integers(-1, 7, (5, 19))}
    return op, arrays


MODES = ["set", "add", "mul", "min", "max"]


@dtypes
@pytest.mark.parametrize("mode", MODES)
def test_scatter_every_dtype(dtype, mode):
    check_scatter(*rows_case(mode, dtype), WIDEST)


@targets
@pytest.mark.parametrize("mode", ["set", "add", "max"])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("layout", [(0, 0, 0, 0), (1, 1, 2, 1), (2, 1, 0, 1)])
def test_scatter_along_a_dim(target, mode, dim, layout):
    check_scatter(*elements_case(mode, f32, dim), target, layout)


@targets
@pytest.mark.parametrize("mode", MODES)
def test_scatter_with_equal_places_in_order(target, mode):
    """One dim, everything collides: the order of the writes is all there is."""
    base, index, x = Value((4,), f32), Value((50,), i64), Value((50,), f32)
    i = E.index(0)
    op = Scatter(base, (50,), (E.load(index, (i,)),), E.load(x, (i,)), mode)
    rng = np.random.default_rng(5)
    arrays = {base: rng.normal(size=4).astype(np.float32),
              index: rng.integers(-1, 5, 50), x: rng.normal(size=50).astype(np.float32)}
    check_scatter(op, arrays, target)
    check_scatter(op, arrays, target, in_place=True)


@targets
@pytest.mark.parametrize("dtype", [f16, bf16])
def test_scatter_rounds_every_step(target, dtype):
    """300 times 0.1 onto one place, in the dtype: not what a wide accumulator gives."""
    base, x = Value((1,), dtype), Value((300,), dtype)
    op = Scatter(base, (300,), (E.const(0),), E.load(x, (E.index(0),)), "add")
    tenth = to_compute(to_storage(np.full(300, 0.1, dtype.compute), dtype), dtype)
    check_scatter(op, {base: np.zeros(1, dtype.compute), x: tenth}, target)
    assert scatter_reference(op, {base: np.zeros(1, dtype.compute), x: tenth})[0] != 30


@targets
def test_scatter_whose_places_shift_into_each_other(target):
    """out[i + j] = x[i, j]: neither dim decides the place alone, the last write in order stays."""
    base, x = Value((12,), f32), Value((5, 9), f32)
    i, j = E.index(0), E.index(1)
    for mode in ("set", "add"):
        for at in (i + j, i * 2 + j - 3, E.const(6) - j + i):
            op = Scatter(base, (5, 9), (at,), E.load(x, (i, j)), mode)
            check_scatter(op, {base: np.zeros(12, np.float32),
                               x: np.arange(45, dtype=np.float32).reshape(5, 9)}, target)


@targets
def test_scatter_of_a_constant_by_a_strided_window(target):
    base = Value((7, 40), f32)
    i, j = E.index(0), E.index(1)
    op = Scatter(base, (9, 18), (i - 1, j * 3 - 4), E.const(2.0, f32), "add")
    check_scatter(op, {base: sample((7, 40), f32)}, target, (1, 2, 0, 0))


def test_scatter_of_nothing():
    base, x = Value((3,), f32), Value((0,), f32)
    op = Scatter(base, (0,), (E.index(0),), E.load(x, (E.index(0),)), "add")
    memory = Memory()
    memory.place(base, [1, 2, 3])
    memory.place(x)
    memory.place(op.out)
    kernels = schedule_scatter(op, memory.storages, WIDEST, "scatter")
    assert len(kernels) == 1
    memory.run(kernels, WIDEST, [op.out])
    assert memory.get(op.out).tolist() == [1, 2, 3]
    empty = Value((0, 3), f32)
    op = Scatter(empty, (2,), (E.const(0), E.index(0)), E.const(1.0, f32), "set")
    memory.place(empty)
    memory.place(op.out)
    assert schedule_scatter(op, memory.storages, WIDEST, "scatter") == []


def test_scatter_on_a_scalar():
    base, x = Value((), i8), Value((5,), i8)
    op = Scatter(base, (5,), (), E.load(x, (E.index(0),)), "add")
    check_scatter(op, {base: np.int8(100).reshape(()), x: np.arange(5, dtype=np.int8) + 20}, WIDEST)
