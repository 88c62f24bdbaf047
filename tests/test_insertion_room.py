"""Values that are made where a later copy would put them."""

from __future__ import annotations

import numpy as np
import pytest

from llvm_backend.native import native_target
from llvm_backend.program import Call
from lowering import build as B
from lowering import expr as E
from lowering.interpreter import run_program
from lowering.lower import lower_program
from lowering.ops.joining import cat, stack
from lowering.optimize import optimize
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import f32
from tests.compiled_engines import run_compiled, with_structures

SHAPES = ((3, 20, 16), (3, 1, 16))


def program(overwrites: bool = False) -> TensorProgram:
    """A grown cache: kept in a larger tensor, and read. overwrites: a later insertion writes over
    a part of what the cache's place would be."""
    region = Region([Value(s, f32) for s in SHAPES])
    with B.collect(region):
        past, new = region.params
        keys = cat([past, new], 1)
        values = B.pointwise(lambda k: k * 2 + 1, keys)
        kept = stack([keys, values], 0)
        if overwrites:
            kept = B.update(kept, (3, 16), lambda h, d: (E.const(0), h, E.const(5), d),
                            lambda h, d: E.const(7.0, f32))
        read = B.reduce("add", B.pointwise(lambda k: k * k, keys), [1], False)
        region.results = [read, kept]
    return with_structures(TensorProgram("forward", region, [], "", ""))


def kernels(made: TensorProgram) -> list[str]:
    """The texts of what a call runs: the spaces of the memories of each kernel."""
    optimize(made, native_target())
    body = lower_program(made, native_target(), "m").methods[0].body
    return [" ".join(s.space for s in c.slots) for c in body if isinstance(c, Call)]


def test_a_cache_grows_where_it_is_kept() -> None:
    assert not [k for k in kernels(program()) if "arena" in k]


@pytest.mark.parametrize("overwrites", [False, True])
def test_values_stay(overwrites: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    expected = run_program(program(overwrites), arrays)
    for e, f in zip(expected, run_compiled(program(overwrites), arrays, True)):
        np.testing.assert_allclose(f, e, rtol=1e-6, atol=1e-5)
