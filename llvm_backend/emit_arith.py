"""Arithmetic instructions as LLVM IR: one function an op, found by name in `OPS`.

Each takes the writer, the instruction and its operands' names, and returns the result's name.
Nothing here may become a call of libm or compiler-rt on any target, so what a target lacks
(rounding before SSE4.1, fused multiply-add before FMA3) is spelled out.
"""

from __future__ import annotations

from typing import Callable

from llvm_backend.ir_text import Writer, literal, register_type, scalar_type, splat, vector_of
from llvm_backend.kernel import Instr, KValue, Type
from runtime.dtypes import DType

_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT_BINARY = {"add": "fadd contract", "sub": "fsub contract", "mul": "fmul contract",
                 "div": "fdiv"}
_PREDICATE = {"lt": "lt", "le": "le", "gt": "gt", "ge": "ge", "eq": "eq", "ne": "ne"}


def constant_of(v: KValue) -> int | float | bool | None:
    """The value behind an operand that a const instruction made (also through broadcast)."""
    p = v.producer
    while isinstance(p, Instr) and p.op == "broadcast":
        p = p.args[0].producer
    return p.attrs["value"] if isinstance(p, Instr) and p.op == "const" else None


def has_native_rounding(w: Writer) -> bool:
    """True if floor, ceil, trunc and roundeven are one instruction."""
    return not w.target.triple.startswith("x86_64") or "sse4.2" in w.target.features


def has_fma(w: Writer) -> bool:
    return not w.target.triple.startswith("x86_64") or "fma" in w.target.features


def _splat_of(value: int | float | bool, dtype: DType, lanes: int) -> str:
    return splat(literal(value, dtype), scalar_type(dtype), lanes)


def binary(w: Writer, instr: Instr, a: str, b: str) -> str:
    """add sub mul div and or xor. attrs strict: a product that must round by itself."""
    t = instr.result.type
    name = (_FLOAT_BINARY if t.dtype.is_float else _INT_BINARY)[instr.op]
    if instr.attrs.get("strict"):
        name = name.split()[0]
    return w.value(f"{name} {register_type(t)} {a}, {b}")


def compare(w: Writer, instr: Instr, a: str, b: str) -> str:
    """lt le gt ge eq ne. bool compares as unsigned, so false < true."""
    t = instr.args[0].type
    p = _PREDICATE[instr.op]
    if t.dtype.is_float:
        return w.value(f"fcmp {'une' if p == 'ne' else 'o' + p} {register_type(t)} {a}, {b}")
    if p not in ("eq", "ne"):
        p = ("s" if t.dtype.kind == "i" else "u") + p
    return w.value(f"icmp {p} {register_type(t)} {a}, {b}")


def _pick(w: Writer, t: str, lanes: int, predicate: str, a: str, b: str) -> str:
    """a if a `predicate` b, else b: x86's maxps and minps, which give b for unordered operands."""
    compare = "icmp" if predicate[0] in "su" else "fcmp"
    c = w.value(f"{compare} {predicate} {t} {a}, {b}")
    return w.select(c, t, a, b, lanes)


def min_max(w: Writer, instr: Instr, a: str, b: str) -> str:
    """min max: NaN if either is NaN. fmin fmax: the other one if one is NaN."""
    x, y = instr.args
    kind = x.dtype.kind
    lower = instr.op in ("min", "fmin")
    propagate = instr.op in ("min", "max")
    return pick_extreme(w, x, lower, propagate, a, b, constant_of(x), constant_of(y), kind)


def pick_extreme(w: Writer, like: KValue, lower: bool, propagate: bool, a: str, b: str,
                 ca: object, cb: object, kind: str) -> str:
    """min or max of a and b; ca, cb are their values where they are constants."""
    t, lanes = register_type(like.type), like.lanes
    if kind != "f":
        predicate = ("s" if kind == "i" else "u") + ("lt" if lower else "gt")
        return _pick(w, t, lanes, predicate, a, b)
    predicate = "olt" if lower else "ogt"
    if cb is not None and cb == cb and propagate:  # a constant first: one instruction, NaN is kept
        return _pick(w, t, lanes, predicate, b, a)
    if ca is not None and ca == ca and propagate:
        return _pick(w, t, lanes, predicate, a, b)
    if cb is not None and cb == cb:
        return _pick(w, t, lanes, predicate, a, b)
    if ca is not None and ca == ca:
        return _pick(w, t, lanes, predicate, b, a)
    r = _pick(w, t, lanes, predicate, a, b)
    tested = a if propagate else b
    nan = w.value(f"fcmp uno {t} {tested}, {tested}")
    return w.select(nan, t, a, r, lanes)


def _safe_division(w: Writer, instr: Instr, a: str, b: str) -> tuple[str, str | None]:
    """(a divisor that cannot trap; the name of `b == 0`, None where b is a constant not 0, -1)."""
    dtype, lanes = instr.result.dtype, instr.result.lanes
    t = register_type(instr.result.type)
    c = constant_of(instr.args[1])
    if c is not None and c not in (0, -1):
        return b, None
    zero = w.value(f"icmp eq {t} {b}, {_splat_of(0, dtype, lanes)}")
    bad = zero
    if dtype.kind == "i":
        mask = vector_of("i1", lanes)
        least = w.value(f"icmp eq {t} {a}, {_splat_of(-1 << (dtype.bits - 1), dtype, lanes)}")
        minus = w.value(f"icmp eq {t} {b}, {_splat_of(-1, dtype, lanes)}")
        both = w.value(f"and {mask} {least}, {minus}")
        bad = w.value(f"or {mask} {zero}, {both}")
    return w.select(bad, t, _splat_of(1, dtype, lanes), b, lanes), zero


def divide(w: Writer, instr: Instr, a: str, b: str) -> str:
    """idiv irem floordiv mod, guarded so that nothing traps."""
    dtype, lanes = instr.result.dtype, instr.result.lanes
    t = register_type(instr.result.type)
    op = instr.op
    c = constant_of(instr.args[1])
    if c is not None and c > 0 and c & (c - 1) == 0 and op in ("floordiv", "mod"):
        if op == "mod":
            return w.value(f"and {t} {a}, {_splat_of(c - 1, dtype, lanes)}")
        shift = "ashr" if dtype.kind == "i" else "lshr"
        return w.value(f"{shift} {t} {a}, {_splat_of(c.bit_length() - 1, dtype, lanes)}")
    d, zero = _safe_division(w, instr, a, b)
    sign = "s" if dtype.kind == "i" else "u"
    zeros = _splat_of(0, dtype, lanes)
    if op in ("idiv", "floordiv"):
        q = w.value(f"{sign}div {t} {a}, {d}")
        if zero is not None:
            q = w.select(zero, t, zeros, q, lanes)
        if op == "idiv" or sign == "u":
            return q
        product = w.value(f"mul {t} {q}, {d}")
        r = w.value(f"sub {t} {a}, {product}")
    else:
        r = w.value(f"{sign}rem {t} {a}, {d}")
        if op == "irem" or sign == "u":
            # x rem 1 is 0, which is what a zero divisor shall give
            return r
    # The remainder has a's sign; where that is not the divisor's, step one down.
    mask = vector_of("i1", lanes)
    some = w.value(f"icmp ne {t} {r}, {zeros}")
    signs = w.value(f"xor {t} {r}, {d}")
    differ = w.value(f"icmp slt {t} {signs}, {zeros}")
    fix = w.value(f"and {mask} {some}, {differ}")
    if zero is not None:
        nonzero = w.value(f"xor {mask} {zero}, {splat('true', 'i1', lanes)}")
        fix = w.value(f"and {mask} {fix}, {nonzero}")
    if op == "mod":
        add = w.select(fix, t, d, zeros, lanes)
        return w.value(f"add {t} {r}, {add}")
    one = w.value(f"sext {mask} {fix} to {t}")
    return w.value(f"add {t} {q}, {one}")


def shift(w: Writer, instr: Instr, a: str, b: str) -> str:
    """shl shr. Amounts outside 0 .. bits-1: shl gives 0, shr every bit the sign (0 if unsigned)."""
    dtype, lanes = instr.result.dtype, instr.result.lanes
    t = register_type(instr.result.type)
    c = constant_of(instr.args[1])
    name = "shl" if instr.op == "shl" else "ashr" if dtype.kind == "i" else "lshr"
    if c is not None and 0 <= c < dtype.bits:
        return w.value(f"{name} {t} {a}, {b}")
    last = _splat_of(dtype.bits - 1, dtype, lanes)
    inside = w.value(f"icmp ule {t} {b}, {last}")
    amount = w.select(inside, t, b, last, lanes)
    r = w.value(f"{name} {t} {a}, {amount}")
    if name == "ashr":
        return r
    return w.select(inside, t, r, _splat_of(0, dtype, lanes), lanes)


def fma(w: Writer, instr: Instr, a: str, b: str, c: str) -> str:
    """Rounded once where the target has the instruction (fmaf of libm is no option), else twice."""
    return _multiply_add(w, instr.result.type, a, b, c)


def _multiply_add(w: Writer, t: Type, a: str, b: str, c: str) -> str:
    if t.dtype.is_float and has_fma(w):
        return w.call("fma", scalar_type(t.dtype), t.lanes, a, b, c)
    ty = register_type(t)
    mul, add = ("fmul contract", "fadd contract") if t.dtype.is_float else ("mul", "add")
    product = w.value(f"{mul} {ty} {a}, {b}")
    return w.value(f"{add} {ty} {product}, {c}")


def dot2(w: Writer, instr: Instr, a: str, b: str, c: str) -> str:
    """The instruction of avx512bf16 for a whole register; else a pair is an i32, whose halves
    become floats by a shift and a mask."""
    lanes = instr.result.lanes
    if "avx512bf16" in w.target.features and lanes == 16:
        halves = f"<{2 * lanes} x bfloat>"
        x, y = (w.value(f"bitcast <{2 * lanes} x i16> {v} to {halves}") for v in (a, b))
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        return w.value(f"call <16 x float> @{name}(<16 x float> {c}, {halves} {x}, {halves} {y})")
    pairs, floats = vector_of("i32", lanes), register_type(instr.result.type)
    wide = [w.value(f"bitcast <{2 * lanes} x i16> {v} to {pairs}") for v in (a, b)]
    for change in (f"shl {pairs} %s, {splat('16', 'i32', lanes)}",
                   f"and {pairs} %s, {splat('-65536', 'i32', lanes)}"):
        x, y = (w.value(f"bitcast {pairs} {w.value(change % v)} to {floats}") for v in wide)
        c = _multiply_add(w, instr.result.type, x, y, c)
    return c


def negate(w: Writer, instr: Instr, a: str) -> str:
    t = instr.result.type
    if t.dtype.is_float:
        return w.value(f"fneg {register_type(t)} {a}")
    return w.value(f"sub {register_type(t)} {_splat_of(0, t.dtype, t.lanes)}, {a}")


def absolute(w: Writer, instr: Instr, a: str) -> str:
    t = instr.result.type
    if t.dtype.is_float:
        return w.call("fabs", scalar_type(t.dtype), t.lanes, a)
    if t.dtype.kind != "i":
        return w.value(f"freeze {register_type(t)} {a}")
    ty = register_type(t)
    zero = _splat_of(0, t.dtype, t.lanes)
    minus = w.value(f"sub {ty} {zero}, {a}")
    negative = w.value(f"icmp slt {ty} {a}, {zero}")
    return w.select(negative, ty, minus, a, t.lanes)


def square_root(w: Writer, instr: Instr, a: str) -> str:
    t = instr.result.type
    return w.call("sqrt", scalar_type(t.dtype), t.lanes, a)


def logical_not(w: Writer, instr: Instr, a: str) -> str:
    t = instr.result.type
    ones = "true" if t.dtype.kind == "b" else "-1"
    return w.value(f"xor {register_type(t)} {a}, {splat(ones, scalar_type(t.dtype), t.lanes)}")


def rounding(w: Writer, instr: Instr, a: str) -> str:
    """floor ceil trunc round. Integers are whole already.

    Without SSE4.1: adding and taking away 2^(p-1) with x's sign rounds |x| < 2^(p-1) to the nearest
    integer, ties to even; one step corrects it for the other modes; larger |x| (and NaN) are whole.
    """
    t = instr.result.type
    ty, s, lanes = register_type(t), scalar_type(t.dtype), t.lanes
    if not t.dtype.is_float:
        return w.value(f"freeze {ty} {a}")
    op = instr.op
    if has_native_rounding(w):
        return w.call("roundeven" if op == "round" else op, s, lanes, a)
    limit = _splat_of(2.0 ** (23 if t.dtype.bits == 32 else 52), t.dtype, lanes)
    one, zero = _splat_of(1.0, t.dtype, lanes), _splat_of(0.0, t.dtype, lanes)
    size = w.call("fabs", s, lanes, a)
    x = size if op == "trunc" else a
    signed = limit if op == "trunc" else w.call("copysign", s, lanes, limit, a)
    up = w.value(f"fadd {ty} {x}, {signed}")
    r = w.value(f"fsub {ty} {up}, {signed}")
    if op != "round":
        beyond = w.value(f"fcmp {'olt' if op == 'ceil' else 'ogt'} {ty} {r}, {x}")
        step = w.select(beyond, ty, one, zero, lanes)
        r = w.value(f"{'fadd' if op == 'ceil' else 'fsub'} {ty} {r}, {step}")
    r = w.call("copysign", s, lanes, r, a)
    small = w.value(f"fcmp olt {ty} {size}, {limit}")
    return w.select(small, ty, r, a, lanes)


def scale_by_power(w: Writer, instr: Instr, a: str, b: str) -> str:
    """ldexp: AVX-512's vscalef in pieces that fill whole registers (expand_math emits it only where
    it exists, with lanes that fill 128 bits or more)."""
    t = instr.result.type
    s, bits = scalar_type(t.dtype), t.dtype.bits
    register = min(t.lanes * bits, w.target.vector_bytes * 8)
    while t.lanes * bits % register:
        register //= 2
    lanes = register // bits
    letter = "s" if bits == 32 else "d"
    v = vector_of(s, lanes)
    mask = f"i{max(lanes, 8)}"
    mode = ", i32 4" if register == 512 else ""

    def one(x: str, y: str) -> str:
        return w.value(f"call {v} @llvm.x86.avx512.mask.scalef.p{letter}.{register}({v} {x}, "
                       f"{v} {y}, {v} zeroinitializer, {mask} -1{mode})")

    if lanes == t.lanes:
        return one(a, b)
    whole = register_type(t)
    parts = []
    for first in range(0, t.lanes, lanes):
        which = ", ".join(f"i32 {first + k}" for k in range(lanes))
        pick = f"poison, <{lanes} x i32> <{which}>"
        parts.append(one(w.value(f"shufflevector {whole} {a}, {whole} {pick}"),
                         w.value(f"shufflevector {whole} {b}, {whole} {pick}")))
    return _concatenate(w, parts, s, lanes)


def _concatenate(w: Writer, parts: list[str], s: str, lanes: int) -> str:
    """Vectors of equal lanes end to end."""
    while len(parts) > 1:
        if len(parts) % 2:  # the last two become one of the others' length by way of poison lanes
            return _append_one_by_one(w, parts, s, lanes)
        which = ", ".join(f"i32 {k}" for k in range(2 * lanes))
        v = vector_of(s, lanes)
        parts = [w.value(f"shufflevector {v} {x}, {v} {y}, <{2 * lanes} x i32> <{which}>")
                 for x, y in zip(parts[::2], parts[1::2])]
        lanes *= 2
    return parts[0]


def _append_one_by_one(w: Writer, parts: list[str], s: str, lanes: int) -> str:
    whole, have = parts[0], lanes
    for p in parts[1:]:
        total = have + lanes
        grow = ", ".join(f"i32 {k}" if k < lanes else "i32 poison" for k in range(have))
        v, part = vector_of(s, have), vector_of(s, lanes)
        wide = w.value(f"shufflevector {part} {p}, {part} poison, <{have} x i32> <{grow}>")
        which = ", ".join(f"i32 {k}" for k in range(total))
        whole = w.value(f"shufflevector {v} {whole}, {v} {wide}, <{total} x i32> <{which}>")
        have = total
    return whole


def select(w: Writer, instr: Instr, c: str, a: str, b: str) -> str:
    t = register_type(instr.result.type)
    return w.select(c, t, a, b, instr.args[0].lanes)


def shuffle(w: Writer, instr: Instr, a: str, b: str) -> str:
    t, lanes = register_type(instr.args[0].type), instr.attrs["lanes"]
    picked = ", ".join(f"i32 {k}" for k in lanes)
    return w.value(f"shufflevector {t} {a}, {t} {b}, <{len(lanes)} x i32> <{picked}>")


def reduce(w: Writer, instr: Instr, a: str) -> str:
    """Halves are combined until one lane is left: a balanced tree, the same on every target."""
    source = instr.args[0]
    dtype = source.dtype
    s = scalar_type(dtype)
    combine = instr.attrs["combine"]

    def join(x: str, y: str, lanes: int) -> str:
        t = vector_of(s, lanes)
        if combine in ("min", "max"):
            like = KValue(Type(dtype, lanes))
            return pick_extreme(w, like, combine == "min", True, x, y, None, None, dtype.kind)
        if dtype.kind == "b" and combine in ("add", "mul"):
            return w.value(f"{'or' if combine == 'add' else 'and'} {t} {x}, {y}")
        table = _FLOAT_BINARY if dtype.is_float else _INT_BINARY
        return w.value(f"{table[combine]} {t} {x}, {y}")

    def part(first: int, count: int, width: int) -> str:
        if count == 1:
            return w.value(f"extractelement <{width} x {s}> {a}, i64 {first}")
        wide = f"<{width} x {s}>"
        lanes = ", ".join(f"i32 {first + k}" for k in range(count))
        return w.value(f"shufflevector {wide} {a}, {wide} poison, <{count} x i32> <{lanes}>")

    left_over = None
    width = source.lanes
    while width > 1:
        half = width // 2
        if width % 2:
            odd = part(width - 1, 1, width)
            left_over = odd if left_over is None else join(left_over, odd, 1)
        low, high = part(0, half, width), part(half, half, width)
        a = join(low, high, half)
        width = half
    return a if left_over is None else join(a, left_over, 1)


OPS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "and", "or", "xor"), binary),
    **dict.fromkeys(_PREDICATE, compare),
    **dict.fromkeys(("min", "max", "fmin", "fmax"), min_max),
    **dict.fromkeys(("idiv", "irem", "floordiv", "mod"), divide),
    **dict.fromkeys(("shl", "shr"), shift),
    **dict.fromkeys(("floor", "ceil", "trunc", "round"), rounding),
    "fma": fma, "dot2": dot2,
    "neg": negate,
    "abs": absolute,
    "sqrt": square_root,
    "not": logical_not,
    "select": select,
    "shuffle": shuffle,
    "reduce": reduce,
    "ldexp": scale_by_power,
}
