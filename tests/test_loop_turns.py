"""Products in loops, which read their weights from either end by turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llvm_backend.kernel import For, Instr, Stmt
from llvm_backend.native import native_target
from llvm_backend.program import Call, HostLoop
from lowering import build as B
from lowering.interpreter import run_program
from lowering.lower import lower_program
from lowering.ops.recurrent import rnn_tanh
from lowering.optimize import optimize
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import f32
from tests import compiled_engines
from tests.compiled_engines import run_compiled, with_structures

STEPS, INPUT, HIDDEN = 7, 8, 320
SMALL = replace(native_target(), l2=HIDDEN * HIDDEN * 4)


def program() -> TensorProgram:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype(np.float32) / 20
               for s in ((HIDDEN, INPUT), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,))]
    region = Region([Value((STEPS, 1, INPUT), f32), Value((1, 1, HIDDEN), f32)])
    with B.collect(region):
        x, h = region.params
        region.results = list(rnn_tanh(x, h, [B.constant(w) for w in weights], True, 1, 0.0,
                                       False, False, False))
    return with_structures(TensorProgram("forward", region, [], "", ""))


def kernels_with_turns(target) -> int:
    """Kernels in the loop that ask whether the number of its turn is odd."""
    made = program()
    optimize(made, target)
    loop = next(s for s in lower_program(made, target, "m").methods[0].body
                if isinstance(s, HostLoop))
    return sum(1 for s in loop.body if isinstance(s, Call) and _has_mod(s.kernel.body))


def _has_mod(statements: list[Stmt]) -> bool:
    return any(s.op == "mod" if isinstance(s, Instr) else isinstance(s, For) and _has_mod(s.body)
               for s in statements)


@pytest.mark.parametrize("l2, kernels", [(SMALL.l2, 1), (SMALL.l2 * 8, 0)])
def test_where_the_weights_about_fill_a_cache(l2: int, kernels: int) -> None:
    assert kernels_with_turns(replace(SMALL, l2=l2)) == kernels


def test_values_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_engines, "resolve_target", lambda _: SMALL)
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(s).astype(np.float32)
              for s in ((STEPS, 1, INPUT), (1, 1, HIDDEN))]
    for e, f in zip(run_program(program(), arrays), run_compiled(program(), arrays, True)):
        np.testing.assert_allclose(f, e, rtol=1e-5, atol=1e-5)
