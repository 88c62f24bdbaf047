"""How far two results are apart. Needs numpy; PyTorch's tensors are recognised by their methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCE = 1e-4  # of the largest magnitude of the expected output, for float32


class Mismatch(Exception):
    """Two results differ in something that no tolerance is for: structure, shape, dtype, NaN."""


@dataclass(frozen=True)
class BFloat16:
    """The bits of a bfloat16 array: numpy has no such dtype."""

    bits: np.ndarray

    def values(self) -> np.ndarray:
        return (self.bits.astype(np.uint32) << 16).view(np.float32)


def to_numpy(value: Any) -> Any:
    """PyTorch tensors, at any depth of tuples, lists and dicts, as numpy arrays or BFloat16."""
    if hasattr(value, "detach"):
        tensor = value.detach().resolve_conj()
        if str(tensor.dtype) == "torch.bfloat16":
            return BFloat16((tensor.float().numpy().view(np.uint32) >> 16).astype(np.uint16))
        return tensor.numpy().copy()
    if isinstance(value, (tuple, list)):
        return (
            type(value)(to_numpy(v) for v in value)
            if type(value) in (tuple, list)
            else tuple(to_numpy(v) for v in value)
        )
    if isinstance(value, dict):
        return {k: to_numpy(v) for k, v in value.items()}
    return value


def argument(value: Any) -> Any:
    """A value of `to_numpy` as a compiled function takes it: bfloat16 as its bits."""
    if isinstance(value, BFloat16):
        return value.bits
    if isinstance(value, (tuple, list)):
        return type(value)(argument(v) for v in value)
    return {k: argument(v) for k, v in value.items()} if isinstance(value, dict) else value


def relative_error(found: Any, expected: Any, where: str = "result") -> float:
    """Largest |found - expected| over the largest |expected|, per array; 0 for what is equal.

    Raises Mismatch where structure, shape, dtype, NaN, infinities or discrete values differ.
    """
    if isinstance(expected, (tuple, list)):
        if not isinstance(found, (tuple, list)) or len(found) != len(expected):
            raise Mismatch(f"{where}: expected {len(expected)} values, found {_brief(found)}")
        pairs = enumerate(zip(found, expected))
        return max((relative_error(f, e, f"{where}[{i}]") for i, (f, e) in pairs), default=0.0)
    if isinstance(expected, dict):
        if not isinstance(found, dict) or list(found) != list(expected):
            raise Mismatch(f"{where}: expected keys {list(expected)}, found {_brief(found)}")
        return max(
            (relative_error(found[k], e, f"{where}[{k!r}]") for k, e in expected.items()),
            default=0.0,
        )
    if expected is None or isinstance(expected, str):
        if found != expected:
            raise Mismatch(f"{where}: expected {expected!r}, found {_brief(found)}")
        return 0.0
    if isinstance(expected, BFloat16):
        bits = found.bits if isinstance(found, BFloat16) else np.asarray(found)
        if bits.dtype != np.uint16:
            raise Mismatch(f"{where}: expected the bits of bfloat16, found {bits.dtype}")
        return _array_error(BFloat16(bits).values(), expected.values(), where)
    if isinstance(expected, (bool, int, float)):
        return _array_error(np.asarray(found), np.asarray(expected), where, same_dtype=False)
    return _array_error(np.asarray(found), np.asarray(expected), where)


def _array_error(
    found: np.ndarray, expected: np.ndarray, where: str, same_dtype: bool = True
) -> float:
    if found.shape != expected.shape:
        raise Mismatch(f"{where}: expected shape {expected.shape}, found {found.shape}")
    if same_dtype and found.dtype != expected.dtype:
        raise Mismatch(f"{where}: expected {expected.dtype}, found {found.dtype}")
    if expected.size == 0:
        return 0.0
    if expected.dtype.kind not in "fc":
        wrong = int(np.count_nonzero(found != expected))
        if wrong:
            raise Mismatch(f"{where}: {wrong} of {expected.size} values differ")
        return 0.0
    odd = ~np.isfinite(expected) | ~np.isfinite(found)
    if not np.array_equal(found[odd], expected[odd], equal_nan=True):
        raise Mismatch(f"{where}: infinities or NaN differ at {int(odd.sum())} places")
    wide = np.float64 if expected.dtype.kind == "f" else np.complex128
    difference = np.abs(found[~odd].astype(wide) - expected[~odd].astype(wide))
    if difference.size == 0 or difference.max() == 0:
        return 0.0
    magnitude = np.abs(expected[~odd]).max()
    return float(difference.max() / magnitude) if magnitude else float("inf")


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{value.shape} {value.dtype}"
    return repr(value)[:80]
