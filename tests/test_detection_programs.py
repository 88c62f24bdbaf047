"""What detectors do with boxes, in scripts: interpreted, compiled, and compared with plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

import aot
from tests.test_detection_operators import boxes, overlap, plain_nms, plain_roi

RANDOM = np.random.RandomState(1)


def by_class(x: aot.Tensor, scores: aot.Tensor, labels: aot.Tensor, most: float):
    """Suppression class by class, best score first."""
    keep = aot.zeros_like(scores, dtype=aot.bool)
    for label in aot.ops.aten._unique2(labels)[0]:
        mine = aot.where(labels == label)[0]
        kept = aot.ops.torchvision.nms(x[mine], scores[mine], most)
        keep[mine[kept]] = True
    found = aot.where(keep)[0]
    return found[scores[found].sort(descending=True)[1]]


class Detector(aot.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = aot.nn.Linear(3 * 4, 6)

    def forward(self, image: aot.Tensor, x: aot.Tensor, scores: aot.Tensor, labels: aot.Tensor):
        likely = aot.where(scores > 0.3)[0]
        x, scores, labels = x[likely], scores[likely], labels[likely]
        if x.numel() == 0:
            keep = aot.empty([0], dtype=aot.int64)
        else:
            keep = by_class(x, scores, labels, 0.4)
        keep = keep[:5]
        best = x[keep]
        where = aot.cat([aot.zeros_like(best[:, :1]), best], dim=1)
        pooled = aot.ops.torchvision.roi_align(image, where, 0.5, 2, 2, 2, False)
        count = len(best)
        parts = [best[k] * float(k) for k in range(count)]
        total = aot.stack(parts).sum(0) if count > 0 else aot.zeros(4)
        return best, labels[keep], pooled, self.head(pooled.flatten(1)), total


def expected(image, x, scores, labels):
    likely = np.flatnonzero(scores > 0.3)
    x, scores, labels = x[likely], scores[likely], labels[likely]
    kept = [mine[k] for c in np.unique(labels) for mine in [np.flatnonzero(labels == c)]
            for k in plain_nms(x[mine], scores[mine], 0.4)]
    kept = sorted(kept, key=lambda k: -scores[k])[:5]
    best = x[kept].reshape(-1, 4)
    where = np.hstack([np.zeros((len(best), 1), np.float32), best])
    pooled = plain_roi(image, where, 0.5, (2, 2), 2, 0.0, 1.0, False)
    return best, labels[kept], pooled, (best * np.arange(len(best))[:, None]).sum(0)


def overlapping(n: int) -> np.ndarray:
    x = boxes(n, 16)
    assert n < 2 or max(overlap(x[0], b) for b in x[1:]) < 1
    return x


def test_a_detector_of_its_own() -> None:
    aot.manual_seed(0)
    module = Detector()
    weight, bias = module.head.weight.detach().numpy(), module.head.bias.detach().numpy()
    scripted = aot.jit.script(module)
    image = RANDOM.rand(1, 3, 12, 15).astype(np.float32)
    x = overlapping(30)
    labels = RANDOM.randint(0, 3, 30)
    compiled = {optimize: aot.compile(scripted, (image, x, np.zeros(30, np.float32), labels),
                                      optimize=optimize) for optimize in (False, True)}
    for low in (0.0, -0.69, -1.0):  # most boxes are likely, few are, none is
        scores = (np.random.RandomState(2).permutation(30) / 30 + low).astype(np.float32)
        best, classes, pooled, total = expected(image, x, scores, labels)
        runs = {**compiled, "interpreted": scripted.method("forward").interpret}
        for name, run in runs.items():
            found = [np.asarray(t) for t in run(image, x, scores, labels)]
            np.testing.assert_array_equal(found[0], best, err_msg=str(name))
            np.testing.assert_array_equal(found[1], classes)
            np.testing.assert_allclose(found[2], pooled, atol=1e-5)
            flat = pooled.reshape(len(best), 12)
            np.testing.assert_allclose(found[3], flat @ weight.T + bias, atol=1e-5)
            np.testing.assert_allclose(found[4], total, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_suppression_among_boxes_that_data_choose(count: int) -> None:
    @aot.jit.script
    def program(x: aot.Tensor, scores: aot.Tensor):
        likely = aot.where(scores >= 0)[0]
        return likely[aot.ops.torchvision.nms(x[likely], scores[likely], 0.3)]

    x, scores = overlapping(40), RANDOM.permutation(40).astype(np.float32) + count - 40
    likely = np.flatnonzero(scores >= 0)
    assert len(likely) == count
    found = aot.compile(program, (x, scores))(x, scores)
    wanted = likely[plain_nms(x[likely], scores[likely], 0.3)] if count else likely
    np.testing.assert_array_equal(np.asarray(found), wanted)
