"""Random numbers, bit for bit PyTorch's: a Mersenne twister and how its words become values.

The fill algorithms (24-bit and 53-bit uniforms, Box-Muller for single values and for blocks of
sixteen, Fisher-Yates) are described with each function; they follow the CPU generator's output.
"""

from __future__ import annotations

import math
import os
from typing import Callable, Sequence

import numpy as np

from aot import dtypes as names
from aot import dispatch
from aot.dispatch import Event
from aot.tensor_core import Tensor
from aot.tensor_creation import _finish, _on_cpu, _sizes
from lowering.objects import contiguous_strides
from runtime import dtypes
from runtime.dtypes import DType


class Generator:
    """A stream of random numbers. `device` is the CPU."""

    def __init__(self, device: object = "cpu") -> None:
        _on_cpu(device)
        self.device = names.cpu
        self._bits = np.random.MT19937()
        self.manual_seed(default_seed)

    def manual_seed(self, seed: int) -> Generator:
        """Starts the stream anew. The twister takes the seed's low 32 bits."""
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError("Overflow when unpacking long")
        self._seed = seed % 2**64
        self._bits._legacy_seeding(self._seed & 0xFFFFFFFF)
        self._cached: float | None = None  # the second value of a Box-Muller pair
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
        state = self._bits.state["state"]
        words = np.concatenate([
            state["key"].astype(np.uint32), np.array([state["pos"]], np.uint32)])
        tail = np.array([self._seed], np.uint64).view(np.uint8)
        cached = np.array([math.nan if self._cached is None else self._cached]).view(np.uint8)
        array = np.concatenate([words.view(np.uint8), tail, cached])
        return Tensor._of_array(array, dtypes.u8)

    def set_state(self, state: Tensor) -> Generator:
        raw = np.array(state._values())
        if raw.shape != (625 * 4 + 16,):
            raise RuntimeError("Generator.set_state: not a state that get_state gave")
        words = raw[:2500].view(np.uint32)
        self._bits.state = {"bit_generator": "MT19937",
                            "state": {"key": words[:624].copy(), "pos": int(words[624])}}
        self._seed = int(raw[2500:2508].view(np.uint64)[0])
        cached = float(raw[2508:].view(np.float64)[0])
        self._cached = None if math.isnan(cached) else cached
        return self

    # Words

    def words32(self, count: int) -> np.ndarray:
        """uint64 array of 32-bit words."""
        return np.asarray(self._bits.random_raw(count), np.uint64).reshape(-1)

    def words64(self, count: int) -> np.ndarray:
        """uint64 array; the first of two words is the high one."""
        pairs = self.words32(2 * count).reshape(-1, 2)
        return (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]

    def uniform24(self, count: int) -> np.ndarray:
        """float32 in [0, 1), multiples of 2^-24."""
        low = self.words32(count) & np.uint64(0xFFFFFF)
        return low.astype(np.float32) * np.float32(2.0**-24)

    def uniform53(self, count: int) -> np.ndarray:
        """float64 in [0, 1), multiples of 2^-53."""
        return (self.words64(count) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53

    def normals(self, count: int) -> np.ndarray:
        """float64 standard normals, two a Box-Muller pair; the odd one waits for the next call."""
        out = np.empty(count)
        start = 0
        if self._cached is not None and count:
            out[0], self._cached, start = self._cached, None, 1
        pairs = (count - start + 1) // 2
        u = self.uniform53(2 * pairs).reshape(-1, 2)
        r = np.array([math.sqrt(-2.0 * math.log1p(-b)) for b in u[:, 1]])
        theta = 2.0 * math.pi * u[:, 0]
        both = np.empty(2 * pairs)
        both[0::2] = [a * math.cos(t) for a, t in zip(r, theta)]
        both[1::2] = [a * math.sin(t) for a, t in zip(r, theta)]
        out[start:] = both[:count - start]
        if len(both) > count - start:
            self._cached = float(both[-1])
        return out

    def normal_blocks(self, count: int, wide: bool) -> np.ndarray:
        """Standard normals for sixteen values or more: uniforms for all, then Box-Muller within
        blocks of sixteen, eight with eight; a rest gets sixteen uniforms of its own."""
        draw = self.uniform53 if wide else self.uniform24
        data = draw(count)
        whole = count // 16 * 16
        data[:whole] = _box_muller(data[:whole].reshape(-1, 16)).reshape(-1)
        if count % 16:
            data[-16:] = _box_muller(draw(16).reshape(1, 16)).reshape(-1)
        return data


def _box_muller(blocks: np.ndarray) -> np.ndarray:
    """r * cos(theta) of u1 = 1 - first half, u2 = second half; then r * sin(theta)."""
    kind = blocks.dtype.type
    u1, u2 = kind(1) - blocks[:, :8], blocks[:, 8:]
    radius = np.sqrt(kind(-2) * np.log(u1))
    theta = kind(2.0 * math.pi) * u2
    return np.concatenate([radius * np.cos(theta), radius * np.sin(theta)], 1)


default_seed = 67280421310721
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


# Values of a dtype. Each function draws `count` values in memory order, in the interpreter's form.


def uniform_values(g: Generator, count: int, row: DType, low: float, high: float) -> np.ndarray:
    """x * (high - low) + low, rounded once where the CPU has fused multiply-add."""
    if row is dtypes.f64:
        x = g.uniform53(count)
        return x if (low, high) == (0, 1) else _fused64(x, high - low, low)
    x = g.uniform24(count)
    if row is not dtypes.f32:
        return _round(x * np.float32(high - low) + np.float32(low), row)
    if (low, high) == (0, 1):
        return x
    scale, shift = np.float32(np.float32(high) - np.float32(low)), np.float32(low)
    return (x.astype(np.float64) * np.float64(scale) + np.float64(shift)).astype(np.float32)


def _fused64(x: np.ndarray, scale: float, shift: float) -> np.ndarray:
    wide = x.astype(np.longdouble) * np.longdouble(scale) + np.longdouble(shift)
    return wide.astype(np.float64)


def normal_values(g: Generator, count: int, row: DType, mean: float, std: float,
                  contiguous: bool) -> np.ndarray:
    if count >= 16 and contiguous:
        if row is dtypes.f64:
            return g.normal_blocks(count, True) * std + mean
        x = g.normal_blocks(count, False)
        scaled = x.astype(np.float64) * np.float32(std) + np.float32(mean)
        return _round(scaled.astype(np.float32), row)
    return _round(g.normals(count) * std + mean, row)


def _round(x: np.ndarray, row: DType) -> np.ndarray:
    return dtypes.to_compute(dtypes.to_storage(x.astype(
        np.float64 if row is dtypes.f64 else np.float32), row), row)


def integer_values(g: Generator, count: int, low: int, high: int) -> np.ndarray:
    """int64 in [low, high): a word modulo the range."""
    span = high - low
    words = g.words64(count) if span >= 2**28 else g.words32(count)
    return (words % np.uint64(span)).astype(np.int64) + low


def any_values(g: Generator, count: int, row: DType) -> np.ndarray:
    """random_() without bounds: all non-negative integers, or those a float holds exactly."""
    if row is dtypes.i64:
        return (g.words64(count) & np.uint64(2**63 - 1)).astype(np.int64)
    if row is dtypes.f64:
        return (g.words64(count) % np.uint64(2**53 + 1)).astype(np.float64)
    if row.is_float:
        digits = {"f32": 24, "f16": 11, "bf16": 8}[row.name]
        return (g.words32(count) % np.uint64(2**digits + 1)).astype(np.float32)
    if row is dtypes.bool_:
        return (g.words32(count) & np.uint64(1)).astype(np.bool_)
    top = np.iinfo(row.storage).max
    return (g.words32(count) % np.uint64(top + 1)).astype(row.compute)


def permutation(g: Generator, n: int) -> np.ndarray:
    """Fisher-Yates from the front: position i swaps with one of those from i on."""
    out = np.arange(n, dtype=np.int64)
    if n < 2:
        return out
    jumps = (g.words32(n - 1) % (np.uint64(n) - np.arange(n - 1, dtype=np.uint64))).astype(np.int64)
    for i, jump in enumerate(jumps.tolist()):
        out[i], out[i + jump] = out[i + jump], out[i]
    return out


# Functions


def _stream(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


def _made(name: str, args: tuple, kwargs: dict, array: np.ndarray, row: DType) -> Tensor:
    out = dispatch.new_tensor(array, row)
    if dispatch.is_recording():
        dispatch._recorders.stack[-1](Event(f"aten::{name}", None, args, kwargs, out))
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
        count = math.prod(shape)
        array = values(_stream(generator), count, row).reshape(shape)
        fresh = _made(name, (shape,), {"dtype": dtype}, array, row)
        return _finish(fresh if out is None else dispatch._write_out(out, fresh), requires_grad)

    sample.__name__ = sample.__qualname__ = name
    return sample


rand = _sampler("rand", lambda g, n, row: uniform_values(g, n, row, 0, 1))
randn = _sampler("randn", lambda g, n, row: normal_values(g, n, row, 0.0, 1.0, True))


def randint(low: int, high: object = None, size: Sequence[int] | None = None, *,
            generator: Generator | None = None, dtype: object = None, device: object = None,
            requires_grad: bool = False, **_: object) -> Tensor:
    """randint(high, size) or randint(low, high, size): int64 in [low, high)."""
    _on_cpu(device)
    if not isinstance(high, int):
        low, high, size = 0, low, high if size is None else size  # type: ignore[assignment]
    assert isinstance(high, int) and size is not None
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= "
                           f"to={high}")
    row = dtypes.i64 if dtype is None else names.as_row(dtype)
    array = integer_values(_stream(generator), math.prod(size), low, high)
    shaped = array.reshape(tuple(size)).astype(row.compute)
    return _made("randint", (low, high, list(size)), {"dtype": dtype}, shaped, row)


def randperm(n: int, *, generator: Generator | None = None, dtype: object = None,
             device: object = None, requires_grad: bool = False, **_: object) -> Tensor:
    """0 .. n - 1 in random order."""
    row = dtypes.i64 if dtype is None else names.as_row(dtype)
    array = permutation(_stream(generator), n).astype(row.compute)
    return _made("randperm", (n,), {"dtype": dtype}, array, row)


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
        array = normal_values(_stream(generator), math.prod(size), row, float(mean),  # type: ignore
                              float(std), True)  # type: ignore[arg-type]
        return _made("normal", (mean, std, list(size)), {}, array.reshape(tuple(size)), row)
    first = mean if isinstance(mean, Tensor) else std
    assert isinstance(first, Tensor)
    shape = np.broadcast_shapes(*(x._data.sizes for x in (mean, std) if isinstance(x, Tensor)))
    array = normal_values(_stream(generator), math.prod(shape), first.row, 0.0, 1.0, True)
    unit = dispatch.new_tensor(array.reshape(shape), first.row)
    spread = dispatch.call("aten::mul", (unit, std))
    return dispatch.call("aten::add", (spread, mean))  # type: ignore[return-value]


def fill(t: Tensor, draw: Callable[[Generator, int, bool], np.ndarray],
         generator: Generator | None) -> Tensor:
    """Writes draw(stream, count, is contiguous) into t, in the order of its memory."""
    count, data = t.numel(), t._data
    values = draw(_stream(generator), count, data.is_contiguous)
    order = sorted(range(t.ndim), key=lambda k: -data.strides[k])
    sizes = tuple(data.sizes[k] for k in order)
    if not data.is_contiguous and contiguous_strides(sizes) == tuple(
            data.strides[k] for k in order):
        back = [order.index(k) for k in range(t.ndim)]
        t._write(values.reshape(sizes).transpose(back))
    else:
        t._write(values.reshape(data.sizes))
    return t


