"""The normal distribution in f32, found around an erf: 1 + erf(x), and k x (1 + erf(c x)), GELU.

With L(x) = log2(erfc(x)) for x >= 0, a polynomial up to 4, beyond which 1 + erf is 0 or 2 in f32:

    1 + erf(x)         = 2^L(-x) for x <= 0,   2 - 2^L(x) above
    k x (1 + erf(c x)) = 2 k max(x, 0) - |x| 2^(L(c |x|) + log2 k)

The absolute error of the sum is a unit in 1's last place, as an addition's would be.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from llvm_backend import math_tables as tables
from llvm_backend.kernel import For, Instr, Kernel, KValue, Stmt
from llvm_backend.math_exp import exp2_of_small
from llvm_backend.math_values import V, polynomial_in_halves, where
from runtime.dtypes import f32

_END = 4.0  # 1 - erf(4) is below 2^-25
Whole = tuple[Instr, Callable[..., V], tuple[KValue, ...]]


def one_plus_erf(x: V) -> V:
    size = abs(x)
    rest = exp2_of_small(polynomial_in_halves(size, tables.LOG2_ERFC_F32))
    rest = where(size > _END, 0.0, rest)
    return where(x > 0.0, 2.0 - rest, rest)


def times_one_plus_erf(c: float, k: float, x: V) -> V:
    """k x (1 + erf(c x)), c and k above 0; infinities have the limits, inf and 0."""
    size = abs(x)
    scaled = [a * c**n for n, a in enumerate(tables.LOG2_ERFC_F32)]
    scaled[0] += math.log2(k)
    rest = size * exp2_of_small(polynomial_in_halves(size, scaled))
    rest = where(size > _END / c, 0.0, rest)
    whole = x.maximum(0.0)
    return (whole if k == 0.5 else whole * (2 * k)) - rest


def around_erf(kernel: Kernel) -> tuple[dict[Instr, Whole], set[Instr]]:
    """What can be computed in the place of each erf, whose result only that needs; and all
    instructions that compute it now, but the erf."""
    readers: dict[KValue, list[Instr | None]] = defaultdict(list)
    erfs: list[Instr] = []
    _collect(kernel.body, readers, erfs)

    def only_reader(v: KValue, op: str) -> Instr | None:
        reader = readers[v][0] if len(readers[v]) == 1 else None
        return reader if reader is not None and reader.op == op else None

    wholes: dict[Instr, Whole] = {}
    gone: set[Instr] = set()
    for erf in erfs:
        total = only_reader(erf.result, "add")
        if total is None or _number(_other(total, erf.result)) != 1:
            continue
        gone.add(total)
        wholes[erf] = total, one_plus_erf, erf.args
        product = only_reader(total.result, "mul")
        argument = _times_number(erf.args[0])
        if product is None or argument is None:
            continue
        x, c = argument
        factor = _other(product, total.result)
        k = 1.0 if factor is x else next(
            (k for y, k in filter(None, [_times_number(factor)]) if y is x), 0.0)
        if c > 0 and k > 0:
            gone.add(product)
            wholes[erf] = product, partial(times_one_plus_erf, c, k), (x,)
    return wholes, gone


def _collect(statements: list[Stmt], readers: dict[KValue, list[Instr | None]],
             erfs: list[Instr]) -> None:
    """Who reads each value (None: a loop), and the erfs of f32."""
    for s in statements:
        if isinstance(s, Instr):
            for v in s.args:
                readers[v].append(s)
            if s.op == "erf" and s.result.dtype is f32:
                erfs.append(s)
        elif isinstance(s, For):
            for v in [*s.inits, *s.yields]:
                readers[v].append(None)
            _collect(s.body, readers, erfs)
        else:
            _collect(s.then, readers, erfs)
            _collect(s.otherwise, readers, erfs)


def _other(instr: Instr, v: KValue) -> KValue:
    a, b = instr.args
    return b if a is v else a


def _times_number(v: KValue) -> tuple[KValue, float] | None:
    """x and the number, where v is their product."""
    if isinstance(v.producer, Instr) and v.producer.op == "mul":
        for x, y in (v.producer.args, v.producer.args[::-1]):
            number = _number(y)
            if number is not None:
                return x, number
    return None


def _number(v: KValue) -> float | None:
    p = v.producer
    while isinstance(p, Instr) and p.op == "broadcast":
        p = p.args[0].producer
    return float(p.attrs["value"]) if isinstance(p, Instr) and p.op == "const" else None
