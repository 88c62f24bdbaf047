"""What each scalar operation of an expression means, as numpy functions on whole arrays.

The meanings are those of llvm_backend/kernel.py. float32 transcendentals are computed in float64
and rounded once, so that the interpreter is the more accurate side of every comparison.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from lowering import special_functions as special
from runtime.dtypes import DType, bf16, bool_, f16, f32, i64, round_bf16

Array = np.ndarray


def cast(x: Array, source: DType, target: DType) -> Array:
    """x in another dtype: saturating from floats to integers, wrapping between integers."""
    if source is target:
        return x
    if target is bool_:
        return x != 0
    if target is bf16:
        return round_bf16(x.astype(np.float32)).reshape(np.shape(x))
    if target is f16:
        return x.astype(np.float32).astype(np.float16)
    if target.is_float or not source.is_float:
        return x.astype(target.compute)
    return _saturate(x, target)


def _saturate(x: Array, target: DType) -> Array:
    limits = np.iinfo(target.compute)
    wide = np.trunc(np.asarray(x, np.float64))
    # 2^63 is a double, 2^63 - 1 is not: compare with the first value out of range
    above, below = wide >= float(limits.max) + (target is not i64), wide < float(limits.min)
    safe = np.where(above | below | np.isnan(wide), 0, wide).astype(target.compute)
    return np.where(above, limits.max, np.where(below, limits.min, safe)).astype(target.compute)


def _idiv(a: Array, b: Array) -> Array:
    """Towards zero; x idiv 0 is 0, MIN idiv -1 is MIN."""
    q = np.floor_divide(a, b)
    inexact = (q * b != a) & (b != 0)
    return q + (inexact & ((a < 0) != (b < 0))).astype(q.dtype)


def _irem(a: Array, b: Array) -> Array:
    """Sign of the dividend; x irem 0 is 0."""
    return np.where(b == 0, 0, a - _idiv(a, b) * b).astype(a.dtype, copy=False)


def _in_float64(fn: Callable) -> Callable:
    def apply(*xs: Array) -> Array:
        dtype = xs[0].dtype
        return fn(*(np.asarray(x, np.float64) for x in xs)).astype(dtype)

    return apply


UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "rsqrt": _in_float64(lambda x: 1 / np.sqrt(x)),
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "not": lambda x: ~x,
    **{
        name: _in_float64(fn)
        for name, fn in {
            "exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2, "log10": np.log10,
            "log1p": np.log1p, "expm1": np.expm1, "sin": np.sin, "cos": np.cos, "tan": np.tan,
            "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
            "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
            "atanh": np.arctanh, "erf": special.erf, "erfc": special.erfc,
            "erfinv": special.erfinv, "lgamma": special.lgamma, "digamma": special.digamma,
        }.items()
    },
}

BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "idiv": _idiv,
    "irem": _irem,
    "floordiv": np.floor_divide,
    "mod": np.mod,
    "min": np.minimum,
    "max": np.maximum,
    "fmin": np.fmin,
    "fmax": np.fmax,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "pow": _in_float64(np.power),
    "atan2": _in_float64(np.arctan2),
    "fmod": np.fmod,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


def bitcast(x: Array, source: DType, target: DType) -> Array:
    """The same bits; bf16 arrays hold float32 values and are converted at the border."""
    if source is bf16:
        x = (np.asarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    bits = np.ascontiguousarray(x).reshape(np.shape(x))
    if target is bf16:
        return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return bits.view(target.compute)


def neutral(combiner: str, dtype: DType) -> object:
    """What a reduction of nothing gives."""
    if combiner in ("add", "mul", "or"):
        return dtype.compute.type(1 if combiner == "mul" else 0)
    if dtype is bool_:
        return np.bool_(combiner in ("and", "min"))
    if combiner == "and":
        return dtype.compute.type(-1) if dtype.kind == "i" else np.iinfo(dtype.compute).max
    if dtype.is_float:
        return dtype.compute.type(np.inf if combiner == "min" else -np.inf)
    limits = np.iinfo(dtype.compute)
    return dtype.compute.type(limits.max if combiner == "min" else limits.min)


REDUCE = {
    "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip


def accumulator(dtype: DType, combiner: str) -> np.dtype:
    """The numpy type a reduction runs in: sums and products of floats in float64."""
    if combiner in ("add", "mul") and dtype.is_float:
        return np.dtype(np.float64)
    return dtype.compute


def narrow(x: Array, dtype: DType) -> Array:
    """An accumulator's value rounded to its dtype."""
    if x.dtype == np.float64 and dtype is not f32 and dtype.is_float and dtype.bits < 64:
        return cast(x.astype(np.float32), f32, dtype)
    return x.astype(dtype.compute, copy=False)
