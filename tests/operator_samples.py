"""Sample inputs for overloads that PyTorch's OpInfo database does not reach.

`@own("aten::name")` declares a generator: given a dtype it yields Samples. BORROWED names another
operator's OpInfo and a function from its Sample to this operator's (None leaves it out).
"""

from __future__ import annotations

from typing import Callable, Iterator

import torch

from tests.opinfo_harness import Sample

OWN: dict[str, list[Callable[[torch.dtype], Iterator[Sample]]]] = {}

# Scalars that decide a shape or dtype, and so must be known at compile time.
COMPILE_TIME: set[tuple[str, str]] = {
    *((f"aten::{n}", a) for n in ("arange", "range", "linspace", "logspace")
      for a in ("start", "end", "step", "base")),
}


def own(*names: str):
    def declare(function):
        for name in names:
            OWN.setdefault(name, []).append(function)
        return function

    return declare


def tensor(*shape: int, dtype: torch.dtype = torch.float32, low: float = -4, high: float = 5,
           seed: int = 0) -> torch.Tensor:
    """Values from low to high in steps of a quarter (floats) or one, bool half and half."""
    generator = torch.Generator().manual_seed(seed)
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if dtype.is_floating_point:
        quarters = torch.randint(int(4 * low), int(4 * high), shape, generator=generator)
        return (quarters / 4).to(dtype)
    if dtype is torch.uint8:
        low = max(low, 0)
    return torch.randint(int(low), int(high), shape, generator=generator).to(dtype)


BORROWED: dict[str, tuple[str, Callable[[Sample], Sample | None] | None]] = {
    "aten::where": ("aten::where", lambda s: Sample([s.args[1], s.args[0], *s.args[2:]])),
    "aten::einsum": ("aten::einsum", lambda s: Sample([s.args[1], s.args[0]])),
    "aten::index": ("aten::index_put", lambda s: Sample(s.args[:2])),
    "aten::_unsafe_index": ("aten::index_put", lambda s: Sample(s.args[:2])),
    "aten::_unsafe_index_put": ("aten::index_put", None),
    "aten::_index_put_impl": ("aten::index_put", None),
    "aten::nonzero": ("aten::nonzero", lambda s: Sample(s.args[:1])),
    "aten::nonzero_numpy": ("aten::nonzero", lambda s: Sample(s.args[:1])),
    "aten::__and__": ("aten::bitwise_and", None),
    "aten::__or__": ("aten::bitwise_or", None),
    "aten::__xor__": ("aten::bitwise_xor", None),
    "aten::__lshift__": ("aten::bitwise_left_shift", None),
    "aten::__rshift__": ("aten::bitwise_right_shift", None),
    "aten::_reshape_alias": ("aten::reshape", lambda s: _with_strides(s)),
    "aten::_unsafe_view": ("aten::view", None),
    "aten::unsafe_split_with_sizes": ("aten::split_with_sizes", None),
    "aten::numpy_T": ("aten::T", None),
    "aten::matrix_H": ("aten::mH", None),
    "aten::_prelu_kernel": (
        "aten::prelu", lambda s: s if len(s.args) > 1 and not s.args[1].ndim else None),
    "aten::frobenius_norm": ("aten::linalg_vector_norm",
                             lambda s: Sample([s.args[0], list(range(s.args[0].ndim))])),
}


def _with_strides(s: Sample) -> Sample:
    """reshape's sizes and the row-major strides that go with them."""
    shape = torch.empty(s.args[0].shape).reshape(s.args[1]).shape
    return Sample([s.args[0], list(shape), list(torch.empty(shape).stride())])


@own(*(f"aten::{n}" for n in (
    "alias", "detach", "cpu", "data", "lift", "lift_fresh", "zero", "_to_copy", "_shape_as_tensor",
    *(f"_cast_{d}" for d in ("Byte", "Char", "Short", "Int", "Long", "Half", "Float", "Double")))))
def _one_tensor(dtype):
    for shape in ((2, 3), (), (0, 2)):
        yield Sample([tensor(*shape, dtype=dtype)])


@own("aten::_to_copy")
def _to_copy(dtype):
    for other in (torch.float32, torch.int64, torch.bool, torch.bfloat16):
        yield Sample([tensor(2, 3, dtype=dtype)], {"dtype": other})


@own("aten::type_as", "aten::to")
def _like_another(dtype):
    for other in (torch.float64, torch.int32, torch.bool, torch.float16):
        yield Sample([tensor(2, 3, dtype=dtype), tensor(1, dtype=other)])


@own("aten::to")
def _to(dtype):
    x = tensor(2, 3, dtype=dtype)
    yield Sample([x], {"dtype": torch.float32, "device": torch.device("cpu")})
    yield Sample([x, torch.device("cpu")], {"dtype": 6})
    yield Sample([x, 7, False, True])
    yield Sample([x])


@own("aten::copy")
def _copy(dtype):
    for other in (dtype, torch.float32, torch.int64):
        yield Sample([tensor(2, 3, dtype=dtype), tensor(3, dtype=other)])


@own("aten::fill")
def _fill(dtype):
    yield Sample([tensor(2, 3, dtype=dtype), tensor(dtype=torch.int64)])


@own("aten::as_tensor")
def _as_tensor(dtype):
    yield Sample([tensor(2, 3, dtype=dtype)])
    yield Sample([tensor(2, 3, dtype=dtype)], {"dtype": torch.float64})


@own("aten::tensor", "aten::as_tensor")
def _numbers(dtype):
    if dtype in (torch.float32, torch.int64, torch.bool):
        for number in (3, 2.5, True):
            yield Sample([number])
            yield Sample([number], {"dtype": torch.float64})
        for data in ([1, 2, 3], [1.5, 2.0], [True, False], [[1, 2], [3, 4], [5, 6]], [[]], []):
            yield Sample([data])
            yield Sample([data], {"dtype": torch.int32})
            yield Sample([data], {"dtype": torch.float16})


@own("aten::range")
def _range(dtype):
    if dtype is torch.float32:
        for bounds in ((0, 4), (1, 2.5), (0, 1, 0.25), (5, 1, -2)):
            yield Sample(list(bounds))
            yield Sample(list(bounds), {"dtype": torch.float64})


@own("aten::scalar_tensor")
def _scalar_tensor(dtype):
    for number in (3, 0.0, 1.0):
        yield Sample([number], {"dtype": dtype})


@own("aten::div", "aten::divide")
def _div_by_number(dtype):
    for mode in (None, "trunc", "floor"):
        yield Sample([tensor(3, 4, dtype=dtype), 2], {"rounding_mode": mode})
        yield Sample([tensor(3, 4, dtype=dtype), -0.75], {"rounding_mode": mode})


@own("aten::norm")
def _norm_dtype(dtype):
    if dtype in (torch.float32, torch.float16, torch.bfloat16):
        yield Sample([tensor(3, 4, dtype=dtype), 2], {"dtype": torch.float64})
        yield Sample([tensor(3, 4, dtype=dtype), 1, [0], True], {"dtype": torch.float64})


@own("aten::where")
def _where_numbers(dtype):
    mask, x = tensor(2, 3, dtype=torch.bool), tensor(2, 3, dtype=dtype)
    for number in (2, 1.5, True):
        yield Sample([mask, x, number])
        yield Sample([mask, number, x])
        yield Sample([mask, number, 3])


@own(*(f"aten::{n}_window" for n in ("hann", "hamming", "blackman", "bartlett")))
def _windows(dtype):
    if dtype.is_floating_point:
        for n in (0, 1, 2, 7, 16):
            yield Sample([n], {"dtype": dtype})
            yield Sample([n, False], {"dtype": dtype})


@own("aten::hamming_window")
def _hamming(dtype):
    yield Sample([9, True, 0.6])
    yield Sample([9, True, 0.6, 0.3])


@own("aten::_unique2", "aten::unique_consecutive")
def _distinct(dtype):
    x = tensor(3, 5, dtype=dtype)
    yield Sample([x, True, True, True])
    yield Sample([x, True, True])
    yield Sample([x])


@own("aten::unique_dim")
def _distinct_slices(dtype):
    yield Sample([tensor(6, 1, dtype=dtype), 0, True, True, True])
    yield Sample([tensor(2, 6, dtype=dtype), 1])


@own("aten::split_copy")
def _split_copy(dtype):
    yield Sample([tensor(5, 2, dtype=dtype), 2])


@own("aten::detach_copy")
def _detach_copy(dtype):
    yield Sample([tensor(5, 2, dtype=dtype)])


@own("aten::squeeze_copy")
def _squeeze_copy(dtype):
    yield Sample([tensor(1, 2, 1, dtype=dtype), [0, 1, 2]])


@own("aten::select_copy")
def _select_copy(dtype):
    yield Sample([tensor(5, 2, dtype=dtype), 1, -1])


@own("aten::slice_copy")
def _slice_copy(dtype):
    yield Sample([tensor(5, 2, dtype=dtype), 0, 1, 9, 2])


@own("aten::trapz")
def _trapz(dtype):
    yield Sample([tensor(3, 4, dtype=dtype)], {"dx": 0.5})


@own("aten::where")
def _where_positions(dtype):
    yield Sample([tensor(3, 4, dtype=torch.bool)])


@own("aten::_softmax", "aten::_log_softmax")
def _softmax(dtype):
    if dtype.is_floating_point:
        for dim in (0, -1):
            yield Sample([tensor(3, 4, dtype=dtype), dim, False])


@own("aten::numpy_T", "aten::matrix_H")
def _matrix(dtype):
    yield Sample([tensor(2, 3, dtype=dtype)])


@own("aten::split")
def _split_sizes(dtype):
    yield Sample([tensor(5, 2, dtype=dtype), [1, 4]])


@own("aten::movedim", "aten::moveaxis")
def _movedim(dtype):
    for source, destination in ((0, 2), (-1, 0), (1, 1)):
        yield Sample([tensor(2, 3, 4, dtype=dtype), source, destination])


@own("aten::repeat_interleave")
def _repeat_interleave(dtype):
    yield Sample([torch.tensor([2, 0, 3])])


@own("aten::meshgrid")
def _meshgrid(dtype):
    yield Sample([[tensor(2, dtype=dtype), tensor(3, dtype=dtype, seed=1)]])


@own("aten::index", "aten::index_put", "aten::_unsafe_index", "aten::_unsafe_index_put")
def _many_indices(dtype):
    """Masks, gaps, broadcast and negative indices; with the values where they are assigned."""
    x = tensor(4, 5, 6, dtype=dtype)
    i, j, mask = torch.tensor([0, -1, 2]), torch.tensor([[1], [-4]]), tensor(4, 5, dtype=torch.bool)
    for indices in ([i], [None, i], [i, j], [i, None, i], [None, j, i], [mask],
                    [None, None, mask[0]], [mask[:, 0], None, i[:1]], [i.int()], [torch.tensor(2)]):
        if all(v is None or v.dtype is not torch.bool or v.shape == x.shape[k:k + v.ndim]
               for k, v in enumerate(indices)):
            yield Sample([x, indices])
            yield Sample([x, indices, tensor(dtype=dtype, seed=3)])
            yield Sample([x, indices, tensor(dtype=dtype, seed=3), True])
            if None not in indices:
                yield Sample([x, list(indices)])
