"""Numbers that are known only at run time: in tensors made of lists, as positions, as bounds."""

from __future__ import annotations

import numpy as np
import pytest

from lowering import build as B
from lowering.interpreter import run_program
from lowering.ops.creation import arange_step, full_tensor, tensor
from lowering.ops.indexing import index, index_put
from lowering.ops.masking import nonzero
from lowering.ops.slicing import select
from lowering.sizes import Size
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import bool_, f32, f64, i64
from tests.compiled_engines import optimised, unoptimised


def run(values: list[Value], arrays: list[np.ndarray], make) -> list[list[np.ndarray]]:
    """Results of the interpreter, of unoptimised and of optimised code."""
    found = []
    for engine in (run_program, unoptimised, optimised):
        params = [Value(v.shape, v.dtype, wrapped=v.wrapped) for v in values]
        region = Region(params)
        with B.collect(region):
            region.results = list(make(*params))
        names = [f"x{k}" for k in range(len(params))]
        found.append(engine(TensorProgram("f", region, names, "", ""), [a.copy() for a in arrays]))
    return found


def number(dtype) -> Value:
    return Value((), dtype, wrapped=True)


def test_tensor_of_numbers_of_run_time() -> None:
    for results in run([number(i64), number(f64)], [np.array(7), np.array(0.5)],
                       lambda n, x: [tensor([[n, 1], [2, 3]]), tensor([x, n]), tensor(n),
                                     full_tensor([2], x)]):
        assert results[0].tolist() == [[7, 1], [2, 3]] and results[0].dtype == np.int64
        assert results[1].tolist() == [0.5, 7.0] and results[1].dtype == np.float32
        assert results[2].shape == () and results[2] == 7 and results[2].dtype == np.int64
        assert results[3].tolist() == [0.5, 0.5] and results[3].dtype == np.float32


@pytest.mark.parametrize("at", [0, 2, -1])
def test_select_and_assign_at_a_position_of_run_time(at: int) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    row = np.array([9, 8, 7], np.float32)

    def make(x, row, n):
        view = select.__wrapped__(x, 0, n)
        return [view.get(x), view.put(x, row)]

    expected = x.copy()
    expected[at] = row
    for results in run([Value((4, 3), f32), Value((3,), f32), number(i64)],
                       [x, row, np.array(at)], make):
        assert results[0].tolist() == x[at].tolist()
        assert results[1].tolist() == expected.tolist()


def test_masks_of_run_time_assign_and_select() -> None:
    x, mask = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[1, 0, 1], [0, 1, 0]], bool)
    values = np.array([10, 20, 30], np.float32)
    for results in run([Value((2, 3), f32), Value((2, 3), bool_), Value((3,), f32)],
                       [x, mask, values],
                       lambda x, m, v: [index_put(x, [m], v),
                                        index_put(x, [m], B.full((), 5, f32), True)]):
        assert results[0].tolist() == [[10, 1, 20], [3, 30, 5]]
        assert results[1].tolist() == [[5, 1, 7], [3, 9, 5]]
    for results in run([Value((3,), f32), Value((3,), bool_)], [values, mask[0]],
                       lambda v, m: [index(v, [m])]):
        assert results[0].tolist() == [10, 30]


def test_sizes_of_run_time_are_made_and_those_of_constants_known() -> None:
    region = Region([Value((3,), f32)])
    with B.collect(region):
        found = nonzero(region.params[0])
        assert isinstance(found.shape[0], Size) and found.shape[1] == 1
        small = B.pointwise(lambda a: a > 1, arange_step(0, 4))
        assert nonzero(small).op.data.tolist() == [[2], [3]]
