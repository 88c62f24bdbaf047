"""Arithmetic instructions as MLIR lines: one function an op, found by name in `OPS`."""

from __future__ import annotations

import struct
from typing import Callable

import numpy as np

from llvm_backend.kernel import Instr, KValue, Type
from runtime.dtypes import DType, bf16, f16, f32, i64, round_bf16

_FLOAT = {"add": "addf", "sub": "subf", "mul": "mulf", "div": "divf", "min": "minimumf",
          "max": "maximumf", "fmin": "minnumf", "fmax": "maxnumf", "fmod": "remf"}
_INT = {"add": "addi", "sub": "subi", "mul": "muli", "and": "andi", "or": "ori", "xor": "xori"}
_MATH = {op: op for op in
         "exp exp2 log log2 log10 log1p expm1 sin cos tan asin acos atan sinh cosh tanh asinh "
         "acosh atanh erf erfc rsqrt sqrt floor ceil trunc atan2".split()} | {"round": "roundeven",
                                                                        "pow": "powf"}


def element(dtype: DType) -> str:
    """The type of one element in a register."""
    if dtype.is_float:
        return dtype.name
    return "i1" if dtype.kind == "b" else f"i{dtype.bits}"


def vector_of(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"vector<{lanes}x{scalar}>"


class MlirWriter:
    """Lines of one function at a depth of indentation; `names`: value -> its text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[KValue, str] = {}
        self.depth = 0
        self._next = 0

    def fresh(self) -> str:
        self._next += 1
        return f"%v{self._next}"

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def value(self, text: str) -> str:
        name = self.fresh()
        self.line(f"{name} = {text}")
        return name

    def type(self, t: Type) -> str:
        return vector_of(element(t.dtype), t.lanes)

    def memory(self, t: Type) -> str:
        return vector_of("i8" if t.dtype.kind == "b" else element(t.dtype), t.lanes)


def _literal(value: int | float | bool, dtype: DType) -> str:
    """One element; floats by their bits, so that none is lost in decimals."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if not dtype.is_float:
        wrapped = int(value) & ((1 << dtype.bits) - 1)
        return str(wrapped - (1 << dtype.bits) if wrapped >> (dtype.bits - 1) else wrapped)
    value = float(value)
    with np.errstate(over="ignore"):
        if dtype is f16:
            return f"0x{int(np.float16(value).view(np.uint16)):04X}"
        if dtype is bf16:
            return f"0x{int(round_bf16(np.float32(value).reshape(1)).view(np.uint32)[0]) >> 16:04X}"
        if dtype is f32:
            return f"0x{int(np.float32(value).view(np.uint32)):08X}"
    return "0x" + struct.pack(">d", value).hex().upper()


def constant(w: MlirWriter, value: int | float | bool, dtype: DType, lanes: int,
             memory: bool = False) -> str:
    scalar = "i8" if memory and dtype.kind == "b" else element(dtype)
    text = str(int(value)) if scalar == "i8" and dtype.kind == "b" else _literal(value, dtype)
    if lanes > 1:
        return w.value(f"arith.constant dense<{text}> : {vector_of(scalar, lanes)}")
    if text in ("true", "false"):
        return w.value(f"arith.constant {text}")
    return w.value(f"arith.constant {text} : {scalar}")


def _same(w: MlirWriter, t: Type, value: int | float | bool) -> str:
    return constant(w, value, t.dtype, t.lanes)


def _bools(w: MlirWriter, t: Type) -> str:
    return vector_of("i1", t.lanes)


def _compare(w: MlirWriter, predicate: str, a: str, b: str, t: Type) -> str:
    kind = "cmpf" if t.dtype.is_float else "cmpi"
    return w.value(f"arith.{kind} {predicate}, {a}, {b} : {w.type(t)}")


def _select(w: MlirWriter, c: str, a: str, b: str, t: Type) -> str:
    condition = f"{_bools(w, t)}, " if t.lanes > 1 else ""
    return w.value(f"arith.select {c}, {a}, {b} : {condition}{w.type(t)}")


def op_const(w: MlirWriter, s: Instr) -> str:
    return _same(w, s.result.type, s.attrs["value"])


def op_iota(w: MlirWriter, s: Instr) -> str:
    t = s.result.type
    if t.lanes == 1:
        return _same(w, t, 0)
    steps = w.value(f"vector.step : vector<{t.lanes}xindex>")
    wide = Type(i64, t.lanes)
    x = w.value(f"arith.index_cast {steps} : vector<{t.lanes}xindex> to {w.type(wide)}")
    return _convert(w, x, wide, t.dtype)


def op_broadcast(w: MlirWriter, s: Instr, a: str) -> str:
    return w.value(f"vector.broadcast {a} : {element(s.result.dtype)} to {w.type(s.result.type)}")


def op_extract(w: MlirWriter, s: Instr, a: str) -> str:
    if s.args[0].lanes == 1:
        return a
    return w.value(f"vector.extract {a}[{s.attrs['lane']}] : {element(s.result.dtype)} from "
                   f"{w.type(s.args[0].type)}")


def op_shuffle(w: MlirWriter, s: Instr, a: str, b: str) -> str:
    t = w.type(s.args[0].type)
    return w.value(f"vector.shuffle {a}, {b} {list(s.attrs['lanes'])} : {t}, {t}")


def op_binary(w: MlirWriter, s: Instr, a: str, b: str) -> str:
    t = s.result.type
    if s.op in ("pow", "atan2"):
        return w.value(f"math.{_MATH[s.op]} {a}, {b} : {w.type(t)}")
    name = (_FLOAT if t.dtype.is_float else _INT).get(s.op)
    if name is None:
        name = s.op.removeprefix("f") + ("si" if t.dtype.kind == "i" else "ui")
    return w.value(f"arith.{name} {a}, {b} : {w.type(t)}")


def op_unary_math(w: MlirWriter, s: Instr, a: str) -> str:
    if not s.result.dtype.is_float:  # floor ceil trunc round of integers
        return a
    return w.value(f"math.{_MATH[s.op]} {a} : {w.type(s.result.type)}")


def op_compare(w: MlirWriter, s: Instr, a: str, b: str) -> str:
    t = s.args[0].type
    if t.dtype.is_float:
        return _compare(w, "une" if s.op == "ne" else "o" + s.op, a, b, t)
    sign = "" if s.op in ("eq", "ne") else "s" if t.dtype.kind == "i" else "u"
    return _compare(w, sign + s.op, a, b, t)


def op_select(w: MlirWriter, s: Instr, c: str, a: str, b: str) -> str:
    t = s.result.type
    if s.args[0].lanes == 1 and t.lanes > 1:
        return w.value(f"arith.select {c}, {a}, {b} : {w.type(t)}")
    return _select(w, c, a, b, t)


def op_fma(w: MlirWriter, s: Instr, a: str, b: str, c: str) -> str:
    t = w.type(s.result.type)
    if s.result.dtype.is_float:
        return w.value(f"math.fma {a}, {b}, {c} : {t}")
    product = w.value(f"arith.muli {a}, {b} : {t}")
    return w.value(f"arith.addi {product}, {c} : {t}")


def op_dot2(w: MlirWriter, s: Instr, a: str, b: str, c: str) -> str:
    pairs, floats = w.type(s.args[0].type), w.type(s.result.type)
    half = w.type(Type(bf16, s.result.lanes))
    for first in (0, 1):
        lanes = list(range(first, s.args[0].lanes, 2))
        x, y = (w.value(f"vector.shuffle {v}, {v} {lanes} : {pairs}, {pairs}") for v in (a, b))
        x, y = (w.value(f"arith.extf {v} : {half} to {floats}") for v in (x, y))
        c = w.value(f"math.fma {x}, {y}, {c} : {floats}")
    return c


def op_neg(w: MlirWriter, s: Instr, a: str) -> str:
    t = s.result.type
    if t.dtype.is_float:
        return w.value(f"arith.negf {a} : {w.type(t)}")
    return w.value(f"arith.subi {_same(w, t, 0)}, {a} : {w.type(t)}")


def op_abs(w: MlirWriter, s: Instr, a: str) -> str:
    t = s.result.type
    if t.dtype.is_float:
        return w.value(f"math.absf {a} : {w.type(t)}")
    return w.value(f"math.absi {a} : {w.type(t)}") if t.dtype.kind == "i" else a


def op_not(w: MlirWriter, s: Instr, a: str) -> str:
    t = s.result.type
    ones = _same(w, t, True if t.dtype.kind == "b" else -1)
    return w.value(f"arith.xori {a}, {ones} : {w.type(t)}")


def op_divide(w: MlirWriter, s: Instr, a: str, b: str) -> str:
    """idiv irem floordiv mod with a divisor that cannot trap; see kernel.py for x by 0."""
    t = s.result.type
    ty, sign = w.type(t), "s" if t.dtype.kind == "i" else "u"
    zero, one = _same(w, t, 0), _same(w, t, 1)
    by_zero = _compare(w, "eq", b, zero, t)
    bad = by_zero
    if sign == "s":
        least = _compare(w, "eq", a, _same(w, t, -1 << (t.dtype.bits - 1)), t)
        minus = _compare(w, "eq", b, _same(w, t, -1), t)
        both = w.value(f"arith.andi {least}, {minus} : {_bools(w, t)}")
        bad = w.value(f"arith.ori {by_zero}, {both} : {_bools(w, t)}")
    d = _select(w, bad, one, b, t)
    q = w.value(f"arith.div{sign}i {a}, {d} : {ty}")
    q = _select(w, by_zero, zero, q, t)
    if s.op == "idiv" or (s.op == "floordiv" and sign == "u"):
        return q
    r = w.value(f"arith.rem{sign}i {a}, {d} : {ty}")
    if s.op == "irem" or sign == "u":
        return r
    some = _compare(w, "ne", r, zero, t)
    mixed = w.value(f"arith.xori {r}, {d} : {ty}")
    differ = _compare(w, "slt", mixed, zero, t)
    fix = w.value(f"arith.andi {some}, {differ} : {_bools(w, t)}")
    if s.op == "mod":
        return w.value(f"arith.addi {r}, {_select(w, fix, d, zero, t)} : {ty}")
    return w.value(f"arith.addi {q}, {_select(w, fix, _same(w, t, -1), zero, t)} : {ty}")


def op_shift(w: MlirWriter, s: Instr, a: str, b: str) -> str:
    t = s.result.type
    ty = w.type(t)
    last = _same(w, t, t.dtype.bits - 1)
    inside = _compare(w, "ule", b, last, t)
    amount = _select(w, inside, b, last, t)
    name = "shli" if s.op == "shl" else "shrsi" if t.dtype.kind == "i" else "shrui"
    r = w.value(f"arith.{name} {a}, {amount} : {ty}")
    return r if name == "shrsi" else _select(w, inside, r, _same(w, t, 0), t)


def op_cast(w: MlirWriter, s: Instr, a: str) -> str:
    return _convert(w, a, s.args[0].type, s.result.dtype)


def _convert(w: MlirWriter, a: str, source: Type, to: DType) -> str:
    d = source.dtype
    t, r = w.type(source), w.type(Type(to, source.lanes))
    if t == r and d.kind != "b" and to.kind != "b":
        return a
    if to.kind == "b":
        zero = _same(w, source, 0)
        return _compare(w, "une" if d.is_float else "ne", a, zero, source)
    if d.is_float and to.is_float:
        if to.bits == d.bits or (to.bits < 32 and d.bits > 32):  # by way of f32
            return _convert(w, _convert(w, a, source, f32), Type(f32, source.lanes), to)
        return w.value(f"arith.{'extf' if to.bits > d.bits else 'truncf'} {a} : {t} to {r}")
    if d.is_float:
        return _saturate(w, a, source, to)
    if to.is_float:
        if to.bits < 32:
            return _convert(w, _convert(w, a, source, f32), Type(f32, source.lanes), to)
        return w.value(f"arith.{'si' if d.kind == 'i' else 'ui'}tofp {a} : {t} to {r}")
    if to.bits < d.bits:
        return w.value(f"arith.trunci {a} : {t} to {r}")
    return w.value(f"arith.{'extsi' if d.kind == 'i' else 'extui'} {a} : {t} to {r}")


def _saturate(w: MlirWriter, a: str, source: Type, to: DType) -> str:
    """fptosi and fptoui leave values out of range open; NaN becomes 0."""
    if source.dtype.bits < 32:
        return _saturate(w, _convert(w, a, source, f32), Type(f32, source.lanes), to)
    result = Type(to, source.lanes)
    low = -(1 << (to.bits - 1)) if to.kind == "i" else 0
    high = low + (1 << to.bits) - 1
    name = "fptosi" if to.kind == "i" else "fptoui"
    x = w.value(f"arith.{name} {a} : {w.type(source)} to {w.type(result)}")
    # low is a power of two (or 0), and so is high + 1: both are exact
    under = _compare(w, "ole", a, _same(w, source, float(low)), source)
    x = _select(w, under, _same(w, result, low), x, result)
    over = _compare(w, "oge", a, _same(w, source, float(high + 1)), source)
    x = _select(w, over, _same(w, result, high), x, result)
    nan = _compare(w, "uno", a, a, source)
    return _select(w, nan, _same(w, result, 0), x, result)


def op_bitcast(w: MlirWriter, s: Instr, a: str) -> str:
    t, r = w.type(s.args[0].type), w.type(s.result.type)
    return a if t == r else w.value(f"arith.bitcast {a} : {t} to {r}")


def op_reduce(w: MlirWriter, s: Instr, a: str) -> str:
    t = s.args[0].type
    combine = s.attrs["combine"]
    if t.dtype.is_float:
        combine = {"min": "minimumf", "max": "maximumf"}.get(combine, combine)
    elif t.dtype.kind == "b":
        combine = {"add": "or", "max": "or", "mul": "and", "min": "and"}.get(combine, combine)
    elif combine in ("min", "max"):
        combine += "si" if t.dtype.kind == "i" else "ui"
    return w.value(f"vector.reduction <{combine}>, {a} : {w.type(t)} into {element(t.dtype)}")


OPS: dict[str, Callable[..., str]] = {
    "const": op_const, "iota": op_iota, "broadcast": op_broadcast, "extract": op_extract,
    "shuffle": op_shuffle, "select": op_select, "fma": op_fma, "dot2": op_dot2,
    "neg": op_neg, "abs": op_abs,
    "not": op_not, "cast": op_cast, "bitcast": op_bitcast, "reduce": op_reduce,
    **dict.fromkeys("add sub mul div min max fmin fmax and or xor fmod pow atan2".split(),
                    op_binary),
    **dict.fromkeys("idiv irem floordiv mod".split(), op_divide),
    **dict.fromkeys(("shl", "shr"), op_shift),
    **dict.fromkeys("lt le gt ge eq ne".split(), op_compare),
    **dict.fromkeys((op for op in _MATH if op not in ("pow", "atan2")), op_unary_math),
}
