"""torchvision's operators against their definitions, written as loops over numpy arrays.

The conformance table `operators` compares them with torchvision itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lowering import build as B
from lowering.interpreter import run_program
from lowering.ops import TABLE
from lowering.tensor_ir import Region, TensorProgram, Value
from runtime.dtypes import dtype_of_numpy
from tests.compiled_engines import optimised, unoptimised

ENGINES: dict[str, Callable] = {
    "interpreter": run_program, "unoptimised": unoptimised, "optimised": optimised,
}
RANDOM = np.random.RandomState(0)


def run(engine: str, name: str, arrays: Sequence[np.ndarray], *rest: object) -> list[np.ndarray]:
    """The results of an operator whose first arguments are these arrays."""
    params = [Value(a.shape, dtype_of_numpy(a.dtype)) for a in arrays]
    region = Region(params)
    with B.collect(region):
        results = TABLE[name][0].function(*params, *rest)
    region.results = list(results) if isinstance(results, tuple) else [results]
    names = [f"x{k}" for k in range(len(params))]
    return ENGINES[engine](TensorProgram("f", region, names, "", ""), list(arrays))


def boxes(n: int, size: float) -> np.ndarray:
    corner = RANDOM.rand(n, 2) * size
    return np.hstack([corner, corner + RANDOM.rand(n, 2) * size * 0.6]).astype(np.float32)


def rois(n: int, images: int, size: float) -> np.ndarray:
    return np.hstack([RANDOM.randint(0, images, (n, 1)), boxes(n, size)]).astype(np.float32)


# The definitions


def overlap(a: np.ndarray, b: np.ndarray) -> np.float32:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    height = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    both = width * height
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return both / (area[0] + area[1] - both)


def plain_nms(x: np.ndarray, scores: np.ndarray, most: float) -> np.ndarray:
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable"):
        if all(not float(overlap(x[j], x[k])) > most for j in kept):
            kept.append(int(k))
    return np.array(kept, np.int64)


def held(plane: np.ndarray, y: float, x: float) -> float:
    """Between pixels, up to a pixel outside the image as at its edge, 0 further out."""
    h, w = plane.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return 0.0
    y, x = min(max(y, 0.0), h - 1.0), min(max(x, 0.0), w - 1.0)
    return mixed(lambda i, j: plane[min(i, h - 1), min(j, w - 1)], y, x)


def faded(plane: np.ndarray, y: float, x: float) -> float:
    """Between pixels, with zeros around the image."""
    h, w = plane.shape
    return mixed(lambda i, j: plane[i, j] if 0 <= i < h and 0 <= j < w else 0.0, y, x)


def mixed(pixel: Callable[[int, int], float], y: float, x: float) -> float:
    i, j = math.floor(y), math.floor(x)
    v, u = y - i, x - j
    return ((1 - v) * ((1 - u) * pixel(i, j) + u * pixel(i, j + 1))
            + v * ((1 - u) * pixel(i + 1, j) + u * pixel(i + 1, j + 1)))


def plain_roi(x: np.ndarray, where: np.ndarray, scale: float, bins: tuple[int, int], ratio: int,
              offset: float, shortest: float, own_channels: bool) -> np.ndarray:
    area = bins[0] * bins[1] if own_channels else 1
    out = np.zeros((len(where), x.shape[1] // area, *bins), np.float32)
    for k, c, p, q in np.ndindex(*out.shape):
        image, x1, y1, x2, y2 = where[k]
        start = (y1 * scale - offset, x1 * scale - offset)
        sides = [max(b * scale - offset - s, shortest) / n
                 for b, s, n in zip((y2, x2), start, bins)]
        many = [ratio if ratio > 0 else math.ceil(s) for s in sides]
        plane = x[int(image), (c * bins[0] + p) * bins[1] + q if own_channels else c]
        found = [held(plane, *(s + (b + (i + 0.5) / m) * side for s, b, i, m, side in zip(
            start, (p, q), at, many, sides))) for at in np.ndindex(*many)]
        out[k, c, p, q] = sum(found) / max(len(found), 1)
    return out


def plain_bins(x: np.ndarray, where: np.ndarray, scale: float, bins: tuple[int, int],
               last: int) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """(k, p, q) of all bins, and the pixels of the image in it, in all channels."""
    out = []
    for k, p, q in np.ndindex(len(where), *bins):
        image, x1, y1, x2, y2 = where[k]
        cuts = []
        for low, high, b, n, size in ((y1, y2, p, bins[0], x.shape[2]),
                                      (x1, x2, q, bins[1], x.shape[3])):
            start, end = (math.copysign(math.floor(abs(c * scale) + 0.5), c) for c in (low, high))
            length = max(end - start + last, 1) / n
            cuts.append([int(min(max(edge + start, 0), size - 1 + last)) for edge in (
                math.floor(b * length), math.ceil((b + 1) * length))])
        (top, bottom), (left, right) = cuts
        out.append(((k, p, q), x[int(image), :, top:bottom, left:right]))
    return out


def plain_deformable(x, weight, offset, mask, bias, stride, pad, dilation, groups, offset_groups):
    _, _, oh, ow = offset.shape
    n, channels = x.shape[:2]
    out_channels, each, kh, kw = weight.shape
    out = np.zeros((n, out_channels, oh, ow), np.float32)
    for b, o, p, q, c, i, j in np.ndindex(n, out_channels, oh, ow, each, kh, kw):
        channel = o // (out_channels // groups) * each + c
        tap = (channel // (channels // offset_groups) * kh + i) * kw + j
        y = p * stride - pad + i * dilation + offset[b, 2 * tap, p, q]
        z = q * stride - pad + j * dilation + offset[b, 2 * tap + 1, p, q]
        value = faded(x[b, channel], float(y), float(z)) * weight[o, c, i, j]
        out[b, o, p, q] += value * (1 if mask is None else mask[b, tap, p, q])
    return out + bias[:, None, None]


# The tests


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [1, 7, 90])
def test_boxes_that_overlap_too_much_go(engine: str, n: int) -> None:
    x, scores = boxes(n, 30), RANDOM.randint(0, 20, n).astype(np.float32)  # some scores are equal
    for most in (0.0, 0.3, 0.7):
        found = run(engine, "torchvision::nms", [x, scores], most)[0]
        assert found.tolist() == plain_nms(x, scores, most).tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_no_boxes(engine: str) -> None:
    nothing = [np.zeros((0, 4), np.float32), np.zeros(0, np.float32)]
    assert run(engine, "torchvision::nms", nothing, 0.5)[0].shape == (0,)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ratio", [2, 0])
@pytest.mark.parametrize("aligned", [False, True])
def test_regions_of_interest(engine: str, ratio: int, aligned: bool) -> None:
    x = RANDOM.rand(2, 3, 12, 15).astype(np.float32)
    where = rois(5, 2, 40)  # some leave the image
    found = run(engine, "torchvision::roi_align", [x, where], 0.5, 2, 3, ratio, aligned)[0]
    wanted = plain_roi(x, where, 0.5, (2, 3), ratio, 0.5 * aligned,
                       -math.inf if aligned else 1.0, False)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ratio", [2, 0])
def test_regions_whose_bins_have_channels_of_their_own(engine: str, ratio: int) -> None:
    x, where = RANDOM.rand(2, 12, 12, 15).astype(np.float32), rois(5, 2, 40)
    found, channels = run(engine, "torchvision::ps_roi_align", [x, where], 0.5, 2, 3, ratio)
    wanted = plain_roi(x, where, 0.5, (2, 3), ratio, 0.5, -math.inf, True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert channels[3].ravel().tolist() == list(range(12)) and channels.dtype == np.int32


@pytest.mark.parametrize("engine", ENGINES)
def test_the_largest_element_of_each_bin(engine: str) -> None:
    x, where = RANDOM.rand(2, 3, 12, 15).astype(np.float32), rois(5, 2, 40)
    found, places = run(engine, "torchvision::roi_pool", [x, where], 0.5, 2, 3)
    for (k, p, q), pixels in plain_bins(x, where, 0.5, (2, 3), 1):
        for c in range(3):
            wanted = pixels[c].max() if pixels[c].size else 0
            assert found[k, c, p, q] == wanted
            place = places[k, c, p, q]
            assert place == -1 if not pixels[c].size else (
                x[int(where[k, 0]), c].ravel()[place] == wanted)
    assert places.dtype == np.int32


@pytest.mark.parametrize("engine", ENGINES)
def test_the_mean_of_each_bin_in_channels_of_its_own(engine: str) -> None:
    x, where = RANDOM.rand(2, 12, 12, 15).astype(np.float32), rois(5, 2, 40)
    found, channels = run(engine, "torchvision::ps_roi_pool", [x, where], 0.5, 2, 3)
    for (k, p, q), pixels in plain_bins(x, where, 0.5, (2, 3), 0):
        for c in range(2):
            own = pixels[(c * 2 + p) * 3 + q]
            assert abs(found[k, c, p, q] - (own.mean() if own.size else 0)) < 1e-5
    assert channels[3].ravel().tolist() == list(range(12)) and channels.dtype == np.int32


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("groups, offset_groups, masked, stride", [
    (1, 1, True, 1), (2, 1, False, 2), (1, 2, True, 1), (4, 4, False, 1)])
def test_deformable_convolution(engine: str, groups: int, offset_groups: int, masked: bool,
                                stride: int) -> None:
    x = RANDOM.rand(2, 4, 6, 7).astype(np.float32)
    weight = RANDOM.rand(4, 4 // groups, 3, 2).astype(np.float32)
    oh, ow = (6 + 2 - 3) // stride + 1, (7 + 2 - 2) // stride + 1
    offset = (RANDOM.rand(2, 12 * offset_groups, oh, ow).astype(np.float32) - 0.5) * 4
    mask = RANDOM.rand(2, 6 * offset_groups, oh, ow).astype(np.float32)
    bias = RANDOM.rand(4).astype(np.float32)
    found = run(engine, "torchvision::deform_conv2d", [x, weight, offset, mask, bias], stride,
                stride, 1, 1, 1, 1, groups, offset_groups, masked)[0]
    wanted = plain_deformable(x, weight, offset, mask if masked else None, bias, stride, 1, 1,
                              groups, offset_groups)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name, arrays, rest", [
    ("nms", [np.zeros((3, 4), np.float32), np.zeros(2, np.float32)], [0.5]),
    ("roi_align", [np.zeros((1, 2, 4, 4), np.float32), np.zeros((3, 4), np.float32)],
     [1.0, 2, 2, 2, False]),
    ("ps_roi_align", [np.zeros((1, 3, 4, 4), np.float32), np.zeros((3, 5), np.float32)],
     [1.0, 2, 2, 2]),
])
def test_shapes_that_do_not_fit_are_refused(name: str, arrays: list, rest: list) -> None:
    with pytest.raises(RuntimeError):
        run("interpreter", f"torchvision::{name}", arrays, *rest)
