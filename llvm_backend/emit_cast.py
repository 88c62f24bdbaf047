"""Casts as LLVM IR, f16 and bf16 included, without compiler-rt on any target.

f16 and bf16 are i16 in registers. f64 and integers reach them through f32 (as PyTorch does).
"""

from __future__ import annotations

from llvm_backend.ir_text import (Writer, intrinsic_suffix, literal, register_type, scalar_type,
                                  splat, vector_of)
from llvm_backend.kernel import Instr, Type
from runtime.dtypes import DType, bf16, f16, f32, i32


def has_f16c(w: Writer) -> bool:
    """True if half and float convert by one instruction."""
    return not w.target.triple.startswith("x86_64") or "f16c" in w.target.features


def cast(w: Writer, instr: Instr, a: str) -> str:
    """cast a to the result's dtype: see kernel.py for what is saturated, wrapped and rounded."""
    return convert(w, a, instr.args[0].type, instr.result.type.dtype)


def convert(w: Writer, a: str, source: Type, to: DType) -> str:
    d, lanes = source.dtype, source.lanes
    if d is to:
        return a
    if d in (f16, bf16):
        wide = half_to_float(w, a, lanes) if d is f16 else brain_to_float(w, a, lanes)
        return convert(w, wide, Type(f32, lanes), to)
    if to in (f16, bf16):
        x = convert(w, a, source, f32)
        return float_to_half(w, x, lanes) if to is f16 else float_to_brain(w, x, lanes)
    t, r = register_type(source), vector_of(scalar_type(to), lanes)
    if to.kind == "b":
        zero = splat(literal(0, d), scalar_type(d), lanes)
        return w.value(f"{'fcmp une' if d.is_float else 'icmp ne'} {t} {a}, {zero}")
    if d.is_float and to.is_float:
        return w.value(f"{'fpext' if to.bits > d.bits else 'fptrunc'} {t} {a} to {r}")
    if d.is_float:
        return _float_to_int(w, a, source, to)
    if to.is_float:
        return w.value(f"{'sitofp' if d.kind == 'i' else 'uitofp'} {t} {a} to {r}")
    bits = 1 if d.kind == "b" else d.bits
    if to.bits == bits:
        return a
    if to.bits < bits:
        return w.value(f"trunc {t} {a} to {r}")
    return w.value(f"{'sext' if d.kind == 'i' else 'zext'} {t} {a} to {r}")


def _float_to_int(w: Writer, a: str, source: Type, to: DType) -> str:
    """Towards zero, saturating, NaN is 0; narrow integers through i32, which has instructions."""
    d, lanes = source.dtype, source.lanes
    wide = to if to.bits >= 32 else i32
    t, r = register_type(source), vector_of(scalar_type(wide), lanes)
    name = (f"llvm.fptosi.sat.{intrinsic_suffix(scalar_type(wide), lanes)}."
            f"{intrinsic_suffix(scalar_type(d), lanes)}")
    x = w.value(f"call {r} @{name}({t} {a})")
    if to is wide:
        return x
    low = -1 << (to.bits - 1) if to.kind == "i" else 0
    high = low + (1 << to.bits) - 1
    s = scalar_type(wide)
    for predicate, bound in (("slt", low), ("sgt", high)):
        limit = splat(literal(bound, wide), s, lanes)
        outside = w.value(f"icmp {predicate} {r} {x}, {limit}")
        x = w.select(outside, r, limit, x, lanes)
    return w.value(f"trunc {r} {x} to {vector_of(scalar_type(to), lanes)}")


def bitcast(w: Writer, instr: Instr, a: str) -> str:
    source, result = instr.args[0].type, instr.result.type
    t, r = register_type(source), register_type(result)
    return a if t == r else w.value(f"bitcast {t} {a} to {r}")


def _ints(lanes: int, scalar: str = "i32"):
    """(vector type, function value -> splat literal)."""
    return vector_of(scalar, lanes), lambda value: splat(str(value), scalar, lanes)


def brain_to_float(w: Writer, a: str, lanes: int) -> str:
    """bf16 is the upper half of an f32."""
    t, k = _ints(lanes)
    x = w.value(f"zext {vector_of('i16', lanes)} {a} to {t}")
    x = w.value(f"shl {t} {x}, {k(16)}")
    return w.value(f"bitcast {t} {x} to {vector_of('float', lanes)}")


def float_to_brain(w: Writer, a: str, lanes: int) -> str:
    """Adds 0x7fff and the last kept bit (ties to even), keeps the upper half; NaN is 0x7fc0."""
    t, k = _ints(lanes)
    f = vector_of("float", lanes)
    bits = w.value(f"bitcast {f} {a} to {t}")
    shifted = w.value(f"lshr {t} {bits}, {k(16)}")
    last = w.value(f"and {t} {shifted}, {k(1)}")
    bump = w.value(f"add {t} {last}, {k(0x7FFF)}")
    rounded = w.value(f"add {t} {bits}, {bump}")
    upper = w.value(f"lshr {t} {rounded}, {k(16)}")
    nan = w.value(f"fcmp uno {f} {a}, {a}")
    r = w.select(nan, t, k(0x7FC0), upper, lanes)
    return w.value(f"trunc {t} {r} to {vector_of('i16', lanes)}")


def half_to_float(w: Writer, a: str, lanes: int) -> str:
    """With F16C one instruction, else by integers: exponent and fraction moved to f32's place are
    the value times 2^-112, exactly (f16 denormals become f32 denormals); 31 is inf or NaN."""
    f = vector_of("float", lanes)
    if has_f16c(w):
        h = w.value(f"bitcast {vector_of('i16', lanes)} {a} to {vector_of('half', lanes)}")
        return w.value(f"fpext {vector_of('half', lanes)} {h} to {f}")
    t, k = _ints(lanes)
    x = w.value(f"zext {vector_of('i16', lanes)} {a} to {t}")
    size = w.value(f"and {t} {x}, {k(0x7FFF)}")
    sign = w.value(f"xor {t} {x}, {size}")
    sign = w.value(f"shl {t} {sign}, {k(16)}")
    moved = w.value(f"shl {t} {size}, {k(13)}")
    small = w.value(f"bitcast {t} {moved} to {f}")
    scale = splat(literal(2.0**112, f32), "float", lanes)
    value = w.value(f"fmul {f} {small}, {scale}")
    finite = w.value(f"bitcast {f} {value} to {t}")
    special = w.value(f"or {t} {moved}, {k(0x7F800000)}")
    isnan = w.value(f"icmp ugt {t} {size}, {k(0x7C00)}")
    quiet = w.value(f"or {t} {special}, {k(0x00400000)}")
    special = w.select(isnan, t, quiet, special, lanes)
    isspecial = w.value(f"icmp uge {t} {size}, {k(0x7C00)}")
    r = w.select(isspecial, t, special, finite, lanes)
    r = w.value(f"or {t} {r}, {sign}")
    return w.value(f"bitcast {t} {r} to {f}")


def float_to_half(w: Writer, a: str, lanes: int) -> str:
    """With F16C one instruction, else by integers, rounding ties to even.

    |x| >= 2^-14: the exponent is rebased by 112, the fraction rounded by adding 0xfff and the last
    kept bit (a carry runs into the exponent, and on to infinity from 65520 on). Below: adding 0.5
    lets the FPU round at 2^-24, f16's smallest step, and the sum's fraction is the answer.
    """
    f, narrow = vector_of("float", lanes), vector_of("i16", lanes)
    if has_f16c(w):
        h = w.value(f"fptrunc {f} {a} to {vector_of('half', lanes)}")
        return w.value(f"bitcast {vector_of('half', lanes)} {h} to {narrow}")
    t, k = _ints(lanes)
    bits = w.value(f"bitcast {f} {a} to {t}")
    size = w.value(f"and {t} {bits}, {k(0x7FFFFFFF)}")
    sign = w.value(f"xor {t} {bits}, {size}")
    sign = w.value(f"lshr {t} {sign}, {k(16)}")
    last = w.value(f"lshr {t} {size}, {k(13)}")
    last = w.value(f"and {t} {last}, {k(1)}")
    bump = w.value(f"add {t} {last}, {k((0xFFF - (112 << 23)) & 0xFFFFFFFF)}")
    normal = w.value(f"add {t} {size}, {bump}")
    normal = w.value(f"lshr {t} {normal}, {k(13)}")
    positive = w.value(f"bitcast {t} {size} to {f}")
    half = splat(literal(0.5, f32), "float", lanes)
    summed = w.value(f"fadd {f} {positive}, {half}")
    tiny = w.value(f"bitcast {f} {summed} to {t}")
    tiny = w.value(f"sub {t} {tiny}, {k(0x3F000000)}")
    istiny = w.value(f"icmp ult {t} {size}, {k(0x38800000)}")
    r = w.select(istiny, t, tiny, normal, lanes)
    big = w.value(f"icmp uge {t} {size}, {k(0x47800000)}")
    r = w.select(big, t, k(0x7C00), r, lanes)
    isnan = w.value(f"icmp ugt {t} {size}, {k(0x7F800000)}")
    r = w.select(isnan, t, k(0x7E00), r, lanes)
    r = w.value(f"or {t} {r}, {sign}")
    return w.value(f"trunc {t} {r} to {narrow}")


OPS = {"cast": cast, "bitcast": bitcast}
