"""Gradients of every differentiable operator match PyTorch's, on its OpInfo samples."""

from __future__ import annotations

import pytest

from lowering.ops import TABLE
from tests.conftest import import_torch

torch = import_torch(samples=True)

from tests.autograd_sweep import sweep  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

# Operators with unwritten results, and forms of drawing that only compiled programs have; what is
# drawn has no gradient.
LEFT_OUT = ("empty", "cauchy", "exponential", "geometric", "log_normal", "native_dropout",
            "normal", "random", "uniform")
# Where PyTorch and this project differ, and why.
DIFFERENT = {
    "aten::index_fill": "PyTorch counts the value's gradient once for equal positions",
    "aten::as_strided_scatter": "the scattered positions of a storage are not the table's",
    "aten::linalg_norm": "ord='nuc' needs singular values, which the table does not have",
    "aten::special_entr": "at 0 the derivative is infinite in PyTorch and not a number here",
}
NAMES = [n for n in sorted(TABLE)
         if n.startswith("aten::") and not any(part in n for part in LEFT_OUT)]


@pytest.fixture(scope="module")
def reports():
    return {name: sweep(name, 3) for name in NAMES}


def test_every_gradient(reports):
    failures = [f for r in reports.values() if r.name not in DIFFERENT for f in r.failures]
    assert not failures, "\n".join(failures)


def test_enough_operators_were_compared(reports):
    assert sum(r.checked > 0 for r in reports.values()) >= 400
    assert sum(r.checked for r in reports.values()) >= 1200


@pytest.mark.parametrize("name", DIFFERENT)
def test_known_differences_are_still_there(reports, name):
    assert reports[name].failures, f"{name} agrees now: take it from the list"
