"""Kernels of one instruction each, over dtypes and lanes: what the back end's tests feed it."""

from __future__ import annotations

from llvm_backend.kernel import COMPARE, Kernel, KernelBuilder, Type
from runtime.dtypes import ALL, DType, bf16, bool_, f16

FLOAT_UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round")
FLOAT_BINARY = ("add", "sub", "mul", "div", "min", "max", "fmin", "fmax")
INT_UNARY = ("neg", "abs", "not")
INT_BINARY = ("add", "sub", "mul", "idiv", "irem", "floordiv", "mod", "min", "max", "and", "or",
              "xor", "shl", "shr")
MATH_UNARY = ("exp", "exp2", "log", "log2", "log10", "log1p", "expm1", "sin", "cos", "tan", "asin",
              "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc",
              "erfinv", "lgamma", "digamma", "rsqrt")
MATH_BINARY = ("pow", "atan2", "fmod")
COMPUTE = tuple(d for d in ALL if d not in (f16, bf16))


def op_kernel(op: str, dtype: DType, lanes: int, n: int, arity: int,
              result: DType | None = None) -> Kernel:
    """out[i] = op(in0[i], ...) for i < n (a multiple of lanes); cast and bitcast go to `result`."""
    result = result or (bool_ if op in COMPARE else dtype)
    b = KernelBuilder(f"{op}_{dtype}_{lanes}_{result}")
    buffers = [b.buffer(f"in{k}", dtype, n, False) for k in range(arity)]
    out = b.buffer("out", result, n, True)
    with b.loop(0, n, lanes) as f:
        values = [b.load(x, f.counter, lanes) for x in buffers]
        b.store(out, f.counter, b.emit(op, values, Type(result, lanes)))
    return b.kernel
