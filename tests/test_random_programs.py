"""Optimised code, on several CPUs, against the interpreter on random tensor programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lowering.interpreter import run_program
from lowering.optimize import optimize
from lowering.schedule import loops
from llvm_backend.target import TARGETS
from lowering.tensor_verify import verify_program
from runtime.dtypes import to_compute
from tests import compiled_engines
from tests.compiled_engines import run_compiled
from tests.random_programs import Recipe, inputs, program, recipe, reduced

PROGRAMS = 60


def difference(made_of: Recipe, optimized: bool, cpu: str, threads: int = 1) -> str:
    """What differs between the interpreter and compiled code; empty if nothing does."""
    arrays = inputs(made_of)
    reference = program(made_of)
    verify_program(reference, "building")
    wanted = run_program(reference, [to_compute(a, made_of.dtype) for a in arrays])
    try:
        found = run_compiled(program(made_of), arrays, optimized, cpu, threads)
    except Exception as error:  # a crash of the compiler counts as a difference
        return f"{type(error).__name__}: {error}"
    for k, (f, w) in enumerate(zip(found, wanted)):
        if f.dtype.kind == "i":  # positions of extremes that rounding may decide are left out
            continue
        tolerance = 2e-5 if f.dtype == np.float32 else 1e-11
        scale = max(1.0, float(np.abs(w).max(initial=0)))
        if f.shape != w.shape or not np.allclose(f, w, rtol=0, atol=tolerance * scale,
                                                 equal_nan=True):
            return f"result {k} differs by {np.abs(f - w).max()} of {scale}"
    return ""


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("optimized", [True, False])
def test_compiled_code_equals_the_interpreter(cpu: str, optimized: bool) -> None:
    for seed in range(PROGRAMS if optimized else PROGRAMS // 4):
        made_of = recipe(seed)
        problem = difference(made_of, optimized, cpu)
        if problem:
            small = reduced(made_of, lambda r: bool(difference(r, optimized, cpu)))
            pytest.fail(f"seed {seed}: {problem}\nreduced: {small}\n"
                        f"{difference(small, optimized, cpu)}")


def test_products_on_another_rows_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several rows in one object read the weights that the widest has packed."""
    narrow = replace(TARGETS["x86-64-v3"], panels=TARGETS["x86-64-v4"])
    monkeypatch.setattr(compiled_engines, "resolve_target", lambda name: narrow)
    for seed in range(PROGRAMS):
        problem = difference(recipe(seed), True, "")
        assert not problem, f"seed {seed}: {problem}"


def test_passes_keep_programs_valid() -> None:
    for seed in range(PROGRAMS):
        made = program(recipe(seed))
        optimize(made, TARGETS["x86-64-v4"], after=lambda name, p: verify_program(p, name))


def test_loops_divided_among_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "PARALLEL_POINTS", 1)  # every loop that can be divided is
    for seed in range(PROGRAMS):
        problem = difference(recipe(seed), True, "native", 3)
        assert not problem, f"seed {seed}: {problem}"
