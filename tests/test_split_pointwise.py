"""Functions of concatenations, split over the parts."""

from __future__ import annotations

import numpy as np

from llvm_backend.target import TARGETS
from lowering import build as B
from lowering import expr as E
from lowering.interpreter import run_program
from lowering.ops.joining import cat
from lowering.ops.matmul import matmul
from lowering.optimize import optimize
from lowering.tensor_ir import Generic, Region, TensorProgram, Value
from lowering.tensor_verify import verify_program
from runtime.dtypes import f32
from tests.compiled_engines import run_compiled

WEIGHT = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)


def program(read_twice: bool = False) -> TensorProgram:
    region = Region([Value((4, 5), f32), Value((4, 3), f32)])
    with B.collect(region):
        x, y = region.params
        joined = cat([matmul(x, B.constant(WEIGHT)), y, x], 1)
        scale = B.constant(np.linspace(1, 2, 14, dtype=np.float32))
        result = B.pointwise(lambda p, s: E.maximum(p * s, 0), joined, scale)
        region.results = [result, joined] if read_twice else [result]
    return TensorProgram("forward", region, ["x", "y"], "", "")


def whole_passes(made: TensorProgram) -> int:
    """Ops over the whole concatenation that are no fill."""
    optimize(made, TARGETS["x86-64-v3"], after=lambda name, p: verify_program(p, name))
    return sum(1 for op in made.body.ops if isinstance(op, Generic) and op.operands()
               and op.domain[: op.parallel] == (4, 14))


def test_split_over_the_parts() -> None:
    assert whole_passes(program()) == 0


def test_left_whole_where_the_concatenation_is_needed() -> None:
    assert whole_passes(program(read_twice=True)) == 1


def test_values_stay() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 5), (4, 3))]
    for read_twice in (False, True):
        expected = run_program(program(read_twice), arrays)
        for e, f in zip(expected, run_compiled(program(read_twice), arrays, True)):
            np.testing.assert_allclose(f, e, rtol=0, atol=1e-5)
