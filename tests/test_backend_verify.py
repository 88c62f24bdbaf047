"""The verifier accepts what is right and names what is wrong."""

from __future__ import annotations

import pytest

from llvm_backend.expand_math import expand_math
from llvm_backend.kernel import For, Instr, KernelBuilder, KValue, Type
from llvm_backend.target import TARGETS
from llvm_backend.verify_kernel import verify
from runtime.dtypes import bf16, bool_, f32, i32, i64
from tests.backend_kernels import MATH_BINARY, MATH_UNARY, op_kernel
from tests.test_backend_mlir import instructions, structures


def test_every_test_kernel_is_valid_before_and_after_expansion():
    for kernel in (*instructions(), *structures()):
        verify(kernel)
    for name in ("x86-64", "x86-64-v3", "x86-64-v4"):
        for op in (*MATH_UNARY, *MATH_BINARY):
            verify(expand_math(op_kernel(op, f32, 16, 32, 1 + (op in MATH_BINARY)), TARGETS[name]))


def broken(change) -> str:
    """The verifier's words on a small valid kernel after `change(builder, x, y, value)`."""
    b = KernelBuilder("k")
    x, y = b.buffer("x", f32, 64, False), b.buffer("y", f32, 64, True)
    change(b, x, y, b.load(x, 0, 8))
    with pytest.raises(ValueError) as caught:
        verify(b.kernel)
    return str(caught.value)


CASES = {
    "types differ": lambda b, x, y, v: b.binary("add", v, b.const(1.0, f32)),
    "integers only": lambda b, x, y, v: b.binary("idiv", v, v),
    "floats only": lambda b, x, y, v: b.unary("exp", b.const(1)),
    "no floats": lambda b, x, y, v: b.binary("xor", v, v),
    "no bools": lambda b, x, y, v: b.binary("add", b.const(True, bool_), b.const(True, bool_)),
    "cast to f32": lambda b, x, y, v: b.unary("neg", b.const(1.0, bf16)),
    "unknown instruction": lambda b, x, y, v: b.unary("gelu", v),
    "not defined here": lambda b, x, y, v: b.unary("neg", KValue(Type(f32))),
    "is not writable": lambda b, x, y, v: b.store(x, 0, v),
    "holds f32": lambda b, x, y, v: b.store(y, 0, b.const(1, i32)),
    "the index is i32": lambda b, x, y, v: b.store(y, b.const(1, i32), v),
    "the mask is i64x8": lambda b, x, y, v: b.store(y, 0, v, mask=b.iota(8)),
    "the mask is boolx4": lambda b, x, y, v: b.load(x, 0, 8, mask=b.const(True, bool_, 4)),
    "equal widths": lambda b, x, y, v: b.bitcast(v, i64),
    "lane or type": lambda b, x, y, v: b.extract(v, 8),
    "unknown combiner": lambda b, x, y, v: b.reduce("sub", v),
    "operands": lambda b, x, y, v: b.emit("fma", (v, v), v.type),
    "lanes (0, 16)": lambda b, x, y, v: b.emit("shuffle", (v, v), Type(f32, 2), lanes=(0, 16)),
}


@pytest.mark.parametrize("words", CASES)
def test_faults_are_named(words):
    message = broken(CASES[words])
    assert message.startswith("kernel k, ") and words in message


def test_scopes_loops_and_branches():
    def inner_value_outside(b, x, y, v):
        with b.loop(0, 4) as f:
            pass
        b.binary("add", f.counter, 1)

    def foreign_buffer(b, x, y, v):
        other = KernelBuilder("o").buffer("z", f32, 8, True)
        b.store(other, 0, v)

    def yields_another_type(b, x, y, v):
        with b.loop(0, 4, carried=[v]) as f:
            f.yields = [b.const(1.0, f32)]

    def parallel_inside(b, x, y, v):
        with b.loop(0, 4):
            with b.loop(0, 4, kind="parallel"):
                pass

    def parallel_first(b, x, y, v):
        with b.loop(0, 4, kind="parallel"):
            pass
        b.store(y, 0, v)

    def bound_of_another_type(b, x, y, v):
        b.kernel.body.append(For(b.const(0), b.const(4, i32), 1, "serial", []))

    def vector_condition(b, x, y, v):
        with b.if_(b.binary("lt", v, v)):
            pass

    def defined_twice(b, x, y, v):
        b.kernel.body.append(b.kernel.body[-1])

    def branch_value_outside(b, x, y, v):
        with b.if_(b.const(True, bool_)):
            w = b.unary("neg", v)
        b.store(y, 0, w)

    def no_result(b, x, y, v):
        b.kernel.body.append(Instr("neg", (v,), None))

    for change, words in ((inner_value_outside, "not defined here"),
                          (foreign_buffer, "not the kernel's"),
                          (yields_another_type, "carries f32x8, yields f32"),
                          (parallel_inside, "must be the last statement"),
                          (parallel_first, "must be the last statement"),
                          (bound_of_another_type, "a bound is i32"),
                          (vector_condition, "the condition is boolx8"),
                          (defined_twice, "defined twice"),
                          (branch_value_outside, "not defined here"),
                          (no_result, "no result")):
        assert words in broken(change), change.__name__
