"""Replaces math instructions by primitive ones: `expand_math(kernel, target) -> kernel`.

    y = exp x     ~>     t = fma x, log2 e, magic;  n = sub t, magic;  ...;  y = ldexp p, n

Everything else is shared with the old kernel, which stays as it
was. The last primitive instruction of an expansion defines the value that the math instruction did.
"""

from __future__ import annotations

from typing import Callable

from llvm_backend import math_exp, math_log, math_pow, math_special, math_trig
from llvm_backend.kernel import For, If, Instr, Kernel, Stmt
from llvm_backend.math_values import MathEmitter, V
from llvm_backend.target import Target

MATH: dict[str, Callable[..., V]] = {
    **{name: getattr(math_exp, name) for name in ("exp", "exp2", "expm1", "tanh", "sinh", "cosh")},
    **{name: getattr(math_log, name)
       for name in ("log", "log2", "log10", "log1p", "asinh", "acosh", "atanh")},
    **{name: getattr(math_trig, name)
       for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")},
    **{name: getattr(math_special, name)
       for name in ("erf", "erfc", "erfinv", "lgamma", "digamma", "rsqrt")},
    "pow": math_pow.pow_,
    "fmod": math_pow.fmod,
}


def expand_math(kernel: Kernel, target: Target) -> Kernel:
    """The kernel without math instructions; itself if it has none."""
    return expand_only(kernel, target, frozenset(MATH))


def expand_only(kernel: Kernel, target: Target, ops: frozenset[str]) -> Kernel:
    """The kernel without the instructions named; itself if it has none of them."""
    body = _block(kernel.body, target, ops)
    if body is kernel.body:
        return kernel
    return Kernel(kernel.name, kernel.buffers, body, kernel.flops)


def _block(statements: list[Stmt], target: Target, ops: frozenset[str]) -> list[Stmt]:
    out: list[Stmt] = []
    changed = False
    for s in statements:
        if isinstance(s, Instr):
            if s.op not in ops:
                out.append(s)
                continue
            changed = True
            _expand(s, MATH[s.op], out, target)
        elif isinstance(s, For):
            body = _block(s.body, target, ops)
            if body is not s.body:
                changed = True
                s = _with_body(s, body)
            out.append(s)
        else:
            then = _block(s.then, target, ops)
            otherwise = _block(s.otherwise, target, ops)
            if then is not s.then or otherwise is not s.otherwise:
                changed = True
                new = If(s.condition)
                new.then, new.otherwise = then, otherwise
                s = new
            out.append(s)
    return out if changed else statements


def _expand(s: Instr, rule: Callable[..., V], out: list[Stmt], target: Target) -> None:
    e = MathEmitter(out, target)
    result = rule(*[V(e, a) for a in s.args])
    last = out[-1]
    if not isinstance(last, Instr) or last.result is not result.k:
        raise AssertionError(f"the expansion of {s.op} does not end with its result")
    last.result = s.result


def _with_body(f: For, body: list[Stmt]) -> For:
    """The same loop, its values included, around another body."""
    new = For.__new__(For)
    for name in For.__slots__:
        setattr(new, name, getattr(f, name))
    new.body = body
    return new
