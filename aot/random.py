"""Random numbers, bit for bit PyTorch's: generators, and the functions that make random tensors.

What is drawn is what compiled programs draw: the operators' own definition (lowering/ops/random.py)
runs in the interpreter, on the state of a Generator.
"""

from __future__ import annotations

import functools
import os
from typing import Callable, Sequence

import numpy as np

from aot import dtypes as names
from aot import dispatch, trace_state
from aot.dispatch import Event
from aot.tensor_core import Tensor
from aot.tensor_creation import _finish, _on_cpu, _sizes
from lowering import build as B
from lowering.interpreter import run_region
from lowering.objects import contiguous_strides
from lowering.ops import random as operators
from lowering.ops.random_choice import swaps
from lowering.passes.rewriting import remove_dead
from lowering.random_stream import Stream, drawing_from
from lowering.random_words import DEFAULT_SEED, WINDOW, RandomState
from lowering.tensor_ir import Region, Value
from runtime import dtypes
from runtime.dtypes import DType, f64, i32


class Generator:
    """A stream of random numbers. `device` is the CPU; `stream` is where it stands."""

    def __init__(self, device: object = "cpu") -> None:
        _on_cpu(device)
        self.device = names.cpu
        self.manual_seed(default_seed)

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream anew. The twister takes the seed's low 32 bits."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError("Overflow when unpacking long")
        self._seed = seed % 2**64
        self.stream = RandomState(self._seed)
        return self

    def initial_seed(self) -> int:
        return self._seed

    def seed(self) -> int:
        """Starts the stream at a seed of the system's entropy, and returns it."""
        fresh = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(fresh)
        return fresh

    def get_state(self) -> Tensor:
        """The stream's state as bytes, for set_state."""
        parts = (self.stream.words.numpy(), self.stream.normal.numpy(),
                 np.array(self._seed, np.uint64))
        raw = np.concatenate([x.reshape(-1).view(np.uint8) for x in parts])
        return Tensor._of_array(raw, dtypes.u8)

    def set_state(self, state: Tensor) -> Generator:
        raw = np.array(state._values())
        words, normal = self.stream.words.numpy(), self.stream.normal.numpy()
        ends = np.cumsum([words.nbytes, normal.nbytes, 8]).tolist()
        if raw.shape != (ends[-1],):
            raise RuntimeError("Generator.set_state: not a state that get_state gave")
        self.stream.set("words", raw[:ends[0]].view(np.int32))
        self.stream.set("normal", raw[ends[0]:ends[1]].view(np.float64).reshape(()))
        self._seed = int(raw[ends[1]:].view(np.uint64)[0])
        return self


default_seed = DEFAULT_SEED
default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Starts the default stream anew."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    default_generator.set_state(state)


# What operators draw


def drawn(generator: Generator, build: Callable[..., Value], *args: object,
          given: Sequence[tuple[np.ndarray, DType]] = ()) -> np.ndarray:
    """The result of build(*given, *args), a function of lowering/ops that draws random numbers, as
    an array in the interpreter's form. `given`: arrays of that form, which it gets as Values."""
    kinds = tuple((x.shape, row) for x, row in given)
    region = _region(build, kinds, args)
    stream = generator.stream
    state = [dtypes.to_compute(part.numpy(), part.dtype) for part in (stream.words, stream.normal)]
    out, words, normal = run_region(region, [*state, *(x for x, _ in given)], {})
    stream.set("words", words)
    stream.set("normal", normal)
    return np.array(out)


@functools.lru_cache(maxsize=256)
def _region(build: Callable[..., Value], kinds: tuple[tuple, ...], args: tuple) -> Region:
    """Parameters: the generator's state and what is given; results: what is drawn, the state."""
    state = {"words": Value((WINDOW,), i32), "normal": Value((), f64)}
    given = [Value(shape, row) for shape, row in kinds]
    region = Region([*state.values(), *given])
    with B.collect(region), drawing_from(Stream(state.__getitem__, state.__setitem__)):
        out = build(*given, *args)
    region.results = [out, state["words"], state["normal"]]
    remove_dead(region)
    return region


# Functions


def stream_of(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


def _made(name: str, args: tuple, kwargs: dict, array: np.ndarray, row: DType) -> Tensor:
    out = dispatch.new_tensor(array, row)
    if trace_state.is_recording():
        trace_state.tell(Event(f"aten::{name}", None, args, kwargs, out))
    return out


def _row(dtype: object) -> DType:
    return names._default.row if dtype is None else names.as_row(dtype)


def _sampler(name: str, values: Callable) -> Callable[..., Tensor]:
    def sample(*size: object, generator: Generator | None = None, dtype: object = None,
               device: object = None, requires_grad: bool = False, layout: object = None,
               pin_memory: bool = False, out: Tensor | None = None, **kwargs: object) -> Tensor:
        _on_cpu(device)
        shape = _sizes((kwargs["size"],) if "size" in kwargs else size)
        row = _row(dtype) if out is None else out.row
        array = drawn(stream_of(generator), values, tuple(shape), row)
        fresh = _made(name, (shape,), {"dtype": dtype}, array, row)
        return _finish(fresh if out is None else dispatch._write_out(out, fresh), requires_grad)

    sample.__name__ = sample.__qualname__ = name
    return sample


rand = _sampler("rand", operators.uniform_values)
randn = _sampler("randn", operators.normal_values)


def randint(low: int, high: object = None, size: Sequence[int] | None = None, *,
            generator: Generator | None = None, dtype: object = None, device: object = None,
            requires_grad: bool = False, **_: object) -> Tensor:
    """randint(high, size) or randint(low, high, size): int64 in [low, high)."""
    _on_cpu(device)
    if not isinstance(high, int):
        low, high, size = 0, low, high if size is None else size  # type: ignore[assignment]
    assert isinstance(high, int) and size is not None
    row = dtypes.i64 if dtype is None else names.as_row(dtype)
    array = drawn(stream_of(generator), operators.integer_values, tuple(size), row, low, high)
    return _made("randint", (low, high, list(size)), {"dtype": dtype}, array, row)


def randperm(n: int, *, generator: Generator | None = None, dtype: object = None,
             device: object = None, requires_grad: bool = False, **_: object) -> Tensor:
    """0 .. n - 1 in random order."""
    row = dtypes.i64 if dtype is None else names.as_row(dtype)
    order = np.arange(n)
    if n > 1:  # the swaps one by one: what randperm's loop does
        for i, j in enumerate(drawn(stream_of(generator), swaps, n).tolist()):
            order[i], order[j] = order[j], order[i]
    return _made("randperm", (n,), {"dtype": dtype}, order.astype(row.compute), row)


def rand_like(input: Tensor, *, dtype: object = None, requires_grad: bool = False,
              **_: object) -> Tensor:
    return rand(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: object = None, requires_grad: bool = False,
               **_: object) -> Tensor:
    return randn(input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randint_like(input: Tensor, low: int, high: int | None = None, *, dtype: object = None,
                 **_: object) -> Tensor:
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype=dtype or input.dtype)


def normal(mean: object, std: object = 1.0, size: Sequence[int] | None = None, *,
           generator: Generator | None = None, dtype: object = None) -> Tensor:
    """Normals of a mean and a standard deviation, numbers with a size or tensors."""
    if size is not None:
        row = _row(dtype)
        array = drawn(stream_of(generator), operators.normal_values, tuple(size), row,
                      float(mean), float(std))  # type: ignore[arg-type]
        return _made("normal", (mean, std, list(size)), {}, array, row)
    first = mean if isinstance(mean, Tensor) else std
    assert isinstance(first, Tensor)
    shape = np.broadcast_shapes(*(x._data.sizes for x in (mean, std) if isinstance(x, Tensor)))
    array = drawn(stream_of(generator), operators.normal_values, shape, first.row)
    unit = dispatch.new_tensor(array, first.row)
    spread = dispatch.call("aten::mul", (unit, std))
    return dispatch.call("aten::add", (spread, mean))  # type: ignore[return-value]


def fill(t: Tensor, generator: Generator | None, values: Callable[..., Value],
         *args: object) -> Tensor:
    """Writes what values(shape, dtype, *args) draws into t, in the order of its memory."""
    data = t._data
    order = sorted(range(t.ndim), key=lambda k: -data.strides[k])
    sizes = tuple(data.sizes[k] for k in order)
    if contiguous_strides(sizes) != tuple(data.strides[k] for k in order):
        order, sizes = list(range(t.ndim)), data.sizes
    array = drawn(stream_of(generator), values, sizes, t.row, *args)
    t._write(array.transpose([order.index(k) for k in range(t.ndim)]))
    return t


