"""The Mersenne twister (mt19937, Matsumoto and Nishimura 1998), in numpy, and a generator's state.

The state is a window: the last 624 words of the sequence, before tempering. The next words are
    x[k] = x[k - 227] ^ f(x[k - 624], x[k - 623])
so a state needs no position, and drawing n words moves the window by n.
"""

from __future__ import annotations

import numpy as np

from lowering.objects import StorageData, TensorData, contiguous_strides
from runtime.dtypes import DType, f64, i32

WINDOW = 624
DEFAULT_SEED = 67280421310721


class RandomState:
    """What a generator remembers: `words`, i32 [624], the window; `normal`, f64 [], the second
    value of a Box-Muller pair that waits for the next draw of normals, NaN if there is none."""

    def __init__(self, seed: int) -> None:
        self.words = _data("generator", seeded(seed), i32)
        self.normal = _data("generator.normal", np.array(np.nan), f64)

    def set(self, part: str, array: np.ndarray) -> None:
        """Puts the state's part of that name to the array."""
        data: TensorData = getattr(self, part)
        data.storage = StorageData(data.dtype, np.array(array).reshape(-1), data.storage.name)


def _data(name: str, array: np.ndarray, dtype: DType) -> TensorData:
    storage = StorageData(dtype, array.reshape(-1), name)
    return TensorData(storage, 0, array.shape, contiguous_strides(array.shape))


def seeded(seed: int) -> np.ndarray:
    """The window that a stream begins with; the twister takes the seed's low 32 bits. i32 [624]."""
    bits = np.random.MT19937()
    bits._legacy_seeding(seed & 0xFFFFFFFF)
    return bits.state["state"]["key"].astype(np.uint32).view(np.int32).copy()


def draw(window: np.ndarray, count: int) -> np.ndarray:
    """The `count` words after the window, tempered. uint32 [count]."""
    bits = np.random.MT19937()
    key = np.ascontiguousarray(window).view(np.uint32)
    bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": WINDOW}}
    return np.asarray(bits.random_raw(count), np.uint64).reshape(-1).astype(np.uint32)


def moved(window: np.ndarray, tempered: np.ndarray) -> np.ndarray:
    """The window after these words were drawn."""
    fresh = untemper(tempered[-WINDOW:]).view(np.int32)
    return np.concatenate([window[len(fresh):], fresh])


def untemper(y: np.ndarray) -> np.ndarray:
    """The words before tempering. uint32."""
    y = y ^ (y >> np.uint32(18))
    y = y ^ ((y << np.uint32(15)) & np.uint32(0xEFC60000))
    x = y
    for _ in range(4):  # each turn makes seven more bits right
        x = y ^ ((x << np.uint32(7)) & np.uint32(0x9D2C5680))
    y = x
    x = y ^ (y >> np.uint32(11))
    return y ^ (x >> np.uint32(11))


INITIAL = RandomState(DEFAULT_SEED)
