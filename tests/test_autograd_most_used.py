"""Gradients of the 100 differentiable operators that most models use: PyTorch's, and differences.

The operators are those of a census of 338 models, traced and scripted, in order of use; in-place
forms count as their operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tests.conftest import import_torch

torch = import_torch(samples=True)

import aot  # noqa: E402
from aot.operator_functions import call  # noqa: E402
from tests.autograd_sweep import DTYPE, flat, leaf, sweep, to_ours  # noqa: E402
from tests.operator_sweep import samples  # noqa: E402
from tests.opinfo_harness import NotBound, bind, supported  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

MOST_USED = """
    add linear mul flatten reshape slice cat _convolution view adaptive_avg_pool2d transpose relu
    sub permute layer_norm unsqueeze conv2d gelu batch_norm contiguous max_pool2d dropout to div
    mean select softmax scaled_dot_product_attention expand sigmoid pad index unbind matmul stack
    remainder upsample_bilinear2d neg pow chunk embedding clamp upsample_nearest2d avg_pool2d where
    split meshgrid ceil max sum silu squeeze exp expand_as sqrt cos min tanh split_with_sizes sin
    hardsigmoid rsub fill floor group_norm repeat topk type_as clone clamp_min masked_fill
    upsample_nearest1d upsample_nearest3d reciprocal hardswish adaptive_avg_pool3d amax abs
    as_tensor cumsum einsum index_put instance_norm roll sort linalg_vector_norm gather
    upsample_bicubic2d log2 prelu round rsqrt log repeat_interleave conv1d conv3d lstm norm
    bernoulli bmm
""".split()
# Random results are no function of their inputs; rounding, to fewer digits too, has jumps.
NO_DIFFERENCES = {"dropout", "bernoulli", "round", "ceil", "floor", "remainder", "as_tensor",
                  "type_as"}
STEP = 1e-6


def test_there_are_a_hundred() -> None:
    assert len(set(MOST_USED)) == 100


@pytest.mark.parametrize("name", MOST_USED)
def test_gradients_are_pytorchs(name: str) -> None:
    report = sweep(f"aten::{name}", 12)
    assert report.checked and not report.failures, "\n".join(report.failures)


def functions(name: str, most: int) -> Iterator[tuple[list, Callable]]:
    """Leaves of a sample, and the function of them that the operator is: sums of its results."""
    found = 0
    for sample in samples(f"aten::{name}", DTYPE):
        if not supported(sample.args) or not supported(sample.kwargs):
            continue
        try:
            entry, bound = bind(f"aten::{name}", sample.args, sample.kwargs)
        except NotBound:
            continue
        names = [a.name for a in entry.schema.arguments if not a.keyword_only]
        count = max((names.index(n) + 1 for n in bound if n in names), default=0)
        if any(n not in bound for n in names[:count]):
            continue
        made: dict = {}
        values = {k: to_ours(leaf(v), made) for k, v in bound.items()}
        leaves = [t for v in values.values() for t in flat(v)
                  if isinstance(t, aot.Tensor) and t.requires_grad]
        if not 0 < sum(t.numel() for t in leaves) < 1000:
            continue
        if not all(bool(aot.isfinite(t).all()) for t in leaves):
            continue

        def run(entry=entry, values=values, names=names[:count]) -> list:
            keyword = {n: v for n, v in values.items() if n not in names}
            result = call(entry.name, tuple(values[n] for n in names), keyword)
            return [t for t in flat(result) if isinstance(t, aot.Tensor) and t.row.is_float]

        try:
            differentiable = any(t.requires_grad and t.numel() for t in run())
        except RuntimeError:  # a sample that is there to be refused
            continue
        if differentiable:
            yield leaves, run
            found += 1
        if found == most:
            return


@pytest.mark.parametrize("name", [n for n in MOST_USED if n not in NO_DIFFERENCES])
def test_gradients_are_slopes(name: str) -> None:
    """The gradient of a weighted sum of the results is what central differences say."""
    random = np.random.default_rng(0)
    checked = 0
    for leaves, run in functions(name, 2):
        outs = run()
        weights = [random.standard_normal(tuple(t.shape)) for t in outs]
        wanted = [(t, aot.from_numpy(w)) for t, w in zip(outs, weights) if t.requires_grad]
        found = aot.autograd.grad([t for t, _ in wanted], leaves, [w for _, w in wanted],
                                  allow_unused=True)

        def total() -> float:
            with aot.no_grad():
                return sum(float((t.detach().numpy() * w).sum()) for t, w in zip(run(), weights))

        for t, grad in zip(leaves, found):
            array = t._data.numpy()  # its memory
            positions = list(np.ndindex(array.shape))
            for k in random.permutation(len(positions))[:5]:
                index = positions[k]
                before = array[index]
                array[index] = before + STEP
                above = total()
                array[index] = before - STEP
                slope = (above - total()) / (2 * STEP)
                array[index] = before
                mine = 0.0 if grad is None else float(grad.numpy()[index])
                assert mine == pytest.approx(slope, rel=1e-4, abs=1e-6), (name, index)
                checked += 1
    assert checked


@pytest.mark.parametrize("name", ["maximum", "minimum", "hypot", "fmax", "logaddexp"])
def test_equal_operands_share_the_gradient(name: str) -> None:
    found = []
    for t in (aot, torch):
        x, y = (t.tensor(v, requires_grad=True) for v in ([1.0, 2.0, -1.0], [1.0, 1.0, -1.0]))
        getattr(t, name)(x, y).sum().backward()
        found.append((x.grad.tolist(), y.grad.tolist()))
    for ours, theirs in zip(*found):
        assert ours == pytest.approx(theirs)
