"""Replaces math instructions by primitive ones: `expand_math(kernel, target) -> kernel`.

    y = exp x     ~>     t = fma x, log2 e, magic;  n = sub t, magic;  ...;  y = ldexp p, n

Everything else is shared with the old kernel, which stays as it
was. The last primitive instruction of an expansion defines the value that the math instruction did.

Neighbours of one kind that do not need each other are expanded side by side, instruction by
instruction: each alone is a long chain, whose latency would show.
"""

from __future__ import annotations

from itertools import chain
from typing import Callable, Iterator

from llvm_backend import math_exp, math_log, math_pow, math_special, math_trig
from llvm_backend.kernel import For, If, Instr, Kernel, Stmt
from llvm_backend.math_normal import around_erf
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
    body = _Expansion(kernel, target, ops).block(kernel.body)
    if body is kernel.body:
        return kernel
    return Kernel(kernel.name, kernel.buffers, body, kernel.flops)


class _Expansion:
    """One kernel's. `wholes`: what is expanded in an erf's place: the last instruction of a larger
    function around it, the rule for that, and its argument. `gone` are all that it replaces."""

    def __init__(self, kernel: Kernel, target: Target, ops: frozenset[str]):
        self.target, self.ops = target, ops
        self.wholes, self.gone = around_erf(kernel) if "erf" in ops else ({}, set())

    def block(self, statements: list[Stmt]) -> list[Stmt]:
        out: list[Stmt] = []
        changed = False
        at = 0
        while at < len(statements):
            s = statements[at]
            at += 1
            if isinstance(s, Instr):
                if s.op in self.ops:
                    side = [s, *_side_by_side(s, statements[at:])]
                    at += len(side) - 1
                    out += _interleaved([self._expanded(x) for x in side])
                    changed = True
                elif s not in self.gone:
                    out.append(s)
                continue
            new = self._with_parts(s)
            changed |= new is not s
            out.append(new)
        return out if changed else statements

    def _with_parts(self, s: For | If) -> For | If:
        if isinstance(s, For):
            body = self.block(s.body)
            return s if body is s.body else _with_body(s, body)
        then, otherwise = self.block(s.then), self.block(s.otherwise)
        if then is s.then and otherwise is s.otherwise:
            return s
        new = If(s.condition)
        new.then, new.otherwise = then, otherwise
        return new

    def _expanded(self, s: Instr) -> list[Stmt]:
        out: list[Stmt] = []
        e = MathEmitter(out, self.target)
        whole, rule, args = self.wholes.get(s, (s, MATH[s.op], s.args))
        result = rule(*[V(e, a) for a in args])
        last = out[-1]
        if not isinstance(last, Instr) or last.result is not result.k:
            raise AssertionError(f"the expansion of {s.op} does not end with its result")
        last.result = whole.result
        return out


def _side_by_side(first: Instr, rest: list[Stmt]) -> Iterator[Instr]:
    """The instructions behind `first` of its kind, as long as none needs another's result."""
    results = {first.result}
    for s in rest:
        if not isinstance(s, Instr) or s.op != first.op or results & set(s.args):
            return
        results.add(s.result)
        yield s


def _interleaved(parts: list[list[Stmt]]) -> list[Stmt]:
    """All first instructions, all second ones, ...; one part after the other where they differ."""
    if any(isinstance(s, For) for s in chain(*parts)) or len(set(map(len, parts))) > 1:
        return list(chain(*parts))
    return list(chain(*zip(*parts)))


def _with_body(f: For, body: list[Stmt]) -> For:
    """The same loop, its values included, around another body."""
    new = For.__new__(For)
    for name in For.__slots__:
        setattr(new, name, getattr(f, name))
    new.body = body
    return new
