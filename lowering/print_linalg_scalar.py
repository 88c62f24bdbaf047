"""Scalar expressions as upstream MLIR: one line an operation of arith, math and tensor.

Integers are signless in MLIR, so u8 and bool choose the unsigned operation. Floats become integers
with arith.fptosi, whose result upstream leaves open for numbers out of range; where a Python
constant shows that a divisor is not zero, no guard is printed.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Callable

import numpy as np

from lowering.expr import Expr, in_loads, walk
from lowering.sizes import Size, of_symbol
from lowering.tensor_ir import Value
from runtime.dtypes import DType, bf16, bool_, f16, f32, f64, u8

_TYPES = {"bool": "i1", "u8": "i8"}
_FLOAT_OPS = {
    "add": "arith.addf", "sub": "arith.subf", "mul": "arith.mulf", "div": "arith.divf",
    "min": "arith.minimumf", "max": "arith.maximumf", "fmin": "arith.minnumf",
    "fmax": "arith.maxnumf", "fmod": "arith.remf", "pow": "math.powf", "atan2": "math.atan2",
    "neg": "arith.negf", "abs": "math.absf", "round": "math.roundeven",
}
_MATH = frozenset("sqrt rsqrt floor ceil trunc exp exp2 log log2 log10 log1p expm1 sin cos tan "
                  "asin "
                  "acos atan sinh cosh tanh asinh acosh atanh erf erfc".split())
_OUTSIDE = frozenset(("erfinv", "lgamma", "digamma"))  # math has none: declared functions
_INTEGER_OPS = {"add": "arith.addi", "sub": "arith.subi", "mul": "arith.muli", "and": "arith.andi",
                "or": "arith.ori", "xor": "arith.xori", "shl": "arith.shli", "abs": "math.absi"}
_FLOAT_PREDICATES = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}


def mlir_type(dtype: DType) -> str:
    return _TYPES.get(dtype.name, dtype.name)


def shaped_type(shape, dtype: DType) -> str:
    sizes = "".join(f"{'?' if isinstance(n, Size) else n}x" for n in shape)
    return f"tensor<{sizes}{mlir_type(dtype)}>"


def tensor_type(value: Value) -> str:
    return shaped_type(value.shape, value.dtype)


def literal(x, dtype: DType) -> str:
    """A number as an MLIR attribute of the dtype, exact; infinities and NaN as bits."""
    if dtype is bool_:
        return "true" if x else "false"
    if not dtype.is_float:
        return str(int(x) - 256 if dtype is u8 and int(x) > 127 else int(x))
    x = float(x)
    if dtype in (f16, f32):
        with np.errstate(over="ignore"):
            x = float(np.dtype(dtype.compute).type(x))
    if math.isfinite(x):
        return f"{x:.17e}"
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    if dtype is f64:
        return f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"
    if dtype is f16:
        return f"0x{struct.unpack('<H', struct.pack('<e', x))[0]:04X}"
    return f"0x{bits >> 16:04X}" if dtype is bf16 else f"0x{bits:08X}"


def nested(data, dtype: DType) -> str:
    """The numbers of an array of the interpreter's, in brackets."""
    if data.ndim == 0:
        return literal(data.item(), dtype)
    return "[" + ", ".join(nested(x, dtype) for x in data) + "]"


class Lines:
    """The text under construction: lines, fresh names, and the functions it calls."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.count = 0
        self.names: dict[Value, str] = {}
        self.declared: dict[str, str] = {}
        self._taken: set[str] = set()

    def put(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def fresh(self) -> str:
        self.count += 1
        return f"%{self.count - 1}"

    def let(self, text: str) -> str:
        name = self.fresh()
        self.put(f"{name} = {text}")
        return name

    def name_of(self, value: Value, wanted: str = "") -> str:
        """The SSA name of a Value: the wanted one, else its own, where that is free."""
        if value not in self.names:
            base = re.sub(r"\W", "_", wanted or value.name)
            base = base if base[:1].isalpha() else f"v_{base}"
            name, n = base, 0
            while name in self._taken:
                n += 1
                name = f"{base}_{n}"
            self._taken.add(name)
            self.names[value] = f"%{name}"
        return self.names[value]

    def index(self, n: int) -> str:
        return self.let(f"arith.constant {n} : index")

    def call(self, name: str, args: list[str], types: list[str], result: str) -> str:
        """A call of a function that is declared at the end of the module."""
        self.declared[name] = f"func.func private @{name}({', '.join(types)}) -> {result}"
        return f"func.call @{name}({', '.join(args)}) : ({', '.join(types)}) -> {result}"


def scalar_of(lines: Lines, value: Value) -> str:
    """The number in a 0-d tensor."""
    return lines.let(f"tensor.extract {lines.name_of(value)}[] : {tensor_type(value)}")


def as_type(lines: Lines, v: Value, like: Value) -> str:
    """v with the type of another Value, some of whose sizes are known only at run time."""
    old, new = tensor_type(v), tensor_type(like)
    name = lines.name_of(v)
    return name if old == new else lines.let(f"tensor.cast {name} : {old} to {new}")


class ScalarPrinter:
    """Prints expressions at one place: `index` gives the i64 name of a loop index; `given` names
    that some nodes (block arguments, the accumulator) have already."""

    def __init__(self, lines: Lines, index: Callable[[int], str], given: dict[Expr, str]):
        self.lines, self.index = lines, index
        self.done = dict(given)

    def print(self, e: Expr) -> str:
        """The SSA name of the expression's value."""
        needed = self._needed(e)
        for x in walk(e):
            if x in needed and x not in self.done:
                self.done[x] = self._node(x, [self.done.get(a, "") for a in x.args])
        return self.done[e]

    def _needed(self, e: Expr) -> set[Expr]:
        found: set[Expr] = set()
        stack = [e]
        while stack:
            x = stack.pop()
            if x in found or x in self.done:
                continue
            found.add(x)
            stack.extend(x.args)
        return found

    def _node(self, e: Expr, a: list[str]) -> str:
        let, t = self.lines.let, mlir_type(e.dtype)
        if e.op == "const":
            text = literal(e.attr, e.dtype)
            return let(f"arith.constant {text}" + ("" if e.dtype is bool_ else f" : {t}"))
        if e.op == "index":
            return self.index(e.attr)
        if e.op == "size":
            return self.print(in_loads(of_symbol(e.attr)))
        if e.op == "load":
            at = [let(f"arith.index_cast {i} : i64 to index") for i in a]
            return let(f"tensor.extract {self.lines.name_of(e.attr)}[{', '.join(at)}] : "
                       f"{tensor_type(e.attr)}")
        if e.op == "select":
            return let(f"arith.select {', '.join(a)} : {t}")
        if e.op == "cast":
            return self._cast(a[0], e.args[0].dtype, e.dtype)
        source = e.args[0].dtype
        if e.op in _FLOAT_PREDICATES:
            return self._compare(e.op, a, source)
        if source.is_float:
            return self._float(e, a, t)
        return self._integer(e, a, t)

    def _compare(self, op: str, a: list[str], source: DType) -> str:
        if source.is_float:
            return self.lines.let(f"arith.cmpf {_FLOAT_PREDICATES[op]}, {a[0]}, {a[1]} : "
                                  f"{mlir_type(source)}")
        sign = "" if op in ("eq", "ne") else "u" if source.kind in "bu" else "s"
        return self.lines.let(f"arith.cmpi {sign}{op}, {a[0]}, {a[1]} : {mlir_type(source)}")

    def _float(self, e: Expr, a: list[str], t: str) -> str:
        if e.op in _OUTSIDE:
            return self.lines.let(self.lines.call(f"{e.op}_{t}", a, [t], t))
        name = _FLOAT_OPS.get(e.op) or (f"math.{e.op}" if e.op in _MATH else None)
        if name is None:
            raise ValueError(f"no MLIR operation for {e.op} of {e.dtype}")
        return self.lines.let(f"{name} {', '.join(a)} : {t}")

    def _integer(self, e: Expr, a: list[str], t: str) -> str:
        let, unsigned = self.lines.let, e.dtype.kind in "bu"
        if e.op == "abs" and unsigned:
            return a[0]
        if e.op in _INTEGER_OPS:
            return let(f"{_INTEGER_OPS[e.op]} {', '.join(a)} : {t}")
        if e.op in ("min", "max"):
            return let(f"arith.{e.op}{'ui' if unsigned else 'si'} {', '.join(a)} : {t}")
        if e.op == "shr":
            return let(f"arith.shr{'ui' if unsigned else 'si'} {', '.join(a)} : {t}")
        if e.op in ("neg", "not"):
            c = self._constant(0 if e.op == "neg" else 1 if e.dtype is bool_ else -1, e.dtype)
            return let(f"arith.{'subi' if e.op == 'neg' else 'xori'} {c}, {a[0]} : {t}")
        if e.op in ("idiv", "irem", "floordiv", "mod"):
            return self._divide(e, a, t, unsigned)
        raise ValueError(f"no MLIR operation for {e.op} of {e.dtype}")

    def _divide(self, e: Expr, a: list[str], t: str, unsigned: bool) -> str:
        """Quotient and remainder are 0 where the divisor is."""
        let, divisor = self.lines.let, e.args[1]
        safe = divisor.is_const and divisor.attr != 0
        zero = "" if safe else self._constant(0, e.dtype)
        is_zero = "" if safe else let(f"arith.cmpi eq, {a[1]}, {zero} : {t}")
        by = a[1]
        if not safe:
            by = let(f"arith.select {is_zero}, {self._constant(1, e.dtype)}, {by} : {t}")
        if e.op in ("idiv", "irem"):
            op = ("arith.div" if e.op == "idiv" else "arith.rem") + ("ui" if unsigned else "si")
            out = let(f"{op} {a[0]}, {by} : {t}")
        else:
            op = "arith.divui" if unsigned else "arith.floordivsi"
            out = let(f"{op} {a[0]}, {by} : {t}")
            if e.op == "mod":
                whole = let(f"arith.muli {out}, {by} : {t}")
                out = let(f"arith.subi {a[0]}, {whole} : {t}")
        return out if safe else let(f"arith.select {is_zero}, {zero}, {out} : {t}")

    def _constant(self, x: int, dtype: DType) -> str:
        text = literal(x, dtype)
        return self.lines.let(f"arith.constant {text}" +
                              ("" if dtype is bool_ else f" : {mlir_type(dtype)}"))

    def _cast(self, a: str, source: DType, to: DType) -> str:
        let = self.lines.let
        s, t = mlir_type(source), mlir_type(to)
        if source is to:
            return a
        if to is bool_:
            zero = self._constant(0, source)
            op = "arith.cmpf une" if source.is_float else "arith.cmpi ne"
            return let(f"{op}, {a}, {zero} : {s}")
        if source.is_float and to.is_float:
            if {source, to} <= {f16, bf16} or (source is f64 and to.bits == 16):
                middle = let(f"arith.{'truncf' if source is f64 else 'extf'} {a} : {s} to f32")
                return let(f"arith.truncf {middle} : f32 to {t}")
            return let(f"arith.{'extf' if to.bits > source.bits else 'truncf'} {a} : {s} to {t}")
        if source.is_float:
            return let(f"arith.{'fptoui' if to is u8 else 'fptosi'} {a} : {s} to {t}")
        if to.is_float:
            op = "arith.uitofp" if source.kind in "bu" else "arith.sitofp"
            if to.bits == 16:
                middle = let(f"{op} {a} : {s} to f32")
                return let(f"arith.truncf {middle} : f32 to {t}")
            return let(f"{op} {a} : {s} to {t}")
        if s == t:
            return a
        width = {bool_: 1}
        if width.get(source, source.bits) > to.bits:
            return let(f"arith.trunci {a} : {s} to {t}")
        return let(f"arith.{'extui' if source.kind in 'bu' else 'extsi'} {a} : {s} to {t}")


def extreme(dtype: DType, low: bool):
    """The least or greatest number of a dtype: what max and min start from."""
    if dtype.is_float:
        return -math.inf if low else math.inf
    if dtype is bool_:
        return not low
    if dtype is u8:
        return 0 if low else 255
    return -(2 ** (dtype.bits - 1)) if low else 2 ** (dtype.bits - 1) - 1


