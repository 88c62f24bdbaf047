"""Operators on numbers: computed in Python where the operands are known, as 0-d ops otherwise.

TorchScript's int has 64 bits and wraps; `/` is true division; `//` and `%` round as Python's.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering import expr as E
from lowering.abstract import Raised, describe, number_type
from lowering.evaluate_sizes import note_emptiness, of_sizes
from lowering.objects import DeviceValue, EnumValue
from lowering.ops.vector import gcd
from lowering.tensor_ir import Value
from lowering.types import Bool, Float, Int
from runtime.dtypes import DType, bool_, f64, i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator
    from lowering.graph import Node


def wrap64(n: int) -> int:
    """n as a 64-bit two's complement integer."""
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


def _arithmetic(fn: Callable) -> Callable:
    def apply(a, b, alpha=1):
        if alpha != 1:
            b = b * alpha
        result = fn(a, b)
        return wrap64(result) if type(result) is int else result

    return apply


_BY_ZERO = "ZeroDivisionError: integer division or modulo by zero"


def _divide(a, b):
    if b == 0:
        return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)
    return a / b


def _floordiv(a, b):
    if b == 0:
        if isinstance(a, float) or isinstance(b, float):
            return _divide(a, b)
        raise Raised(_BY_ZERO)
    return a // b


def _remainder(a, b):
    if b == 0 and not (isinstance(a, float) or isinstance(b, float)):
        raise Raised(_BY_ZERO)
    return a % b if b else math.nan


def _power(a, b):
    try:
        if isinstance(a, int) and isinstance(b, int):
            return wrap64(pow(a, b, 1 << 64)) if b >= 0 else float(a) ** b
        result = math.pow(a, b)
    except (OverflowError, ZeroDivisionError):
        return math.inf
    except ValueError:
        return math.nan
    return result


def _to_zero(a: int, b: int) -> int:
    return int(a / b) if abs(a) < 1 << 53 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _math(fn: Callable) -> Callable:
    """A libm function with IEEE's answers where Python raises."""

    def apply(x):
        try:
            return fn(x)
        except ValueError:
            return -math.inf if fn in (math.log, math.log2, math.log10) and x == 0 else math.nan
        except OverflowError:
            return math.inf

    return apply


def _integral(fn: Callable) -> Callable:
    return lambda x: fn(x) if math.isfinite(x) else x


def _shift_right(a: int, b: int) -> int:
    return a >> b


# Values of equal kinds: numbers, strings, None, enumeration members, devices, objects.
def _equal(a, b) -> bool:
    if isinstance(a, DeviceValue) and isinstance(b, DeviceValue):
        return a.kind == b.kind and (a.index or 0) == (b.index or 0)
    if isinstance(a, EnumValue) and isinstance(b, EnumValue):
        return a.type is b.type and a.name == b.name
    return a == b


def _is(a, b) -> bool:
    return a is b or (a is not None and b is not None and type(a) is type(b) and _equal(a, b))


def _extreme(fn: Callable) -> Callable:
    def apply(a, b=None):
        if b is None:
            return a
        return fn(a, b)

    return apply


def _to_int(x, base=10):
    if isinstance(x, str):
        return int(x, base)
    return wrap64(int(x))


KNOWN: dict[str, Callable] = {
    "aten::add": _arithmetic(operator.add),
    "aten::sub": _arithmetic(operator.sub),
    "aten::rsub": lambda a, b, alpha=1: _arithmetic(operator.sub)(b, a * alpha),
    "aten::mul": _arithmetic(operator.mul),
    "aten::div": _divide,
    "aten::true_divide": _divide,
    "aten::floordiv": _floordiv,
    "aten::floor_divide": _floordiv,
    "aten::remainder": _remainder,
    "aten::mod": _remainder,
    "aten::__round_to_zero_floordiv": _to_zero,
    "aten::fmod": math.fmod,
    "aten::mathremainder": math.remainder,
    "aten::pow": _power,
    "aten::neg": lambda a: wrap64(-a) if type(a) is int else -a,
    "aten::abs": abs,
    "prim::abs": abs,
    "prim::min": _extreme(min),
    "prim::max": _extreme(max),
    "aten::eq": _equal,
    "aten::ne": lambda a, b: not _equal(a, b),
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::__is__": _is,
    "aten::__isnot__": lambda a, b: not _is(a, b),
    "aten::__not__": operator.not_,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__xor__": operator.xor,
    "aten::bitwise_not": operator.invert,
    "aten::__lshift__": lambda a, b: wrap64(a << b),
    "aten::__rshift__": _shift_right,
    "aten::Int": _to_int,
    "aten::Float": float,
    "aten::Bool": bool,
    "aten::IntImplicit": int,
    "aten::FloatImplicit": float,
    "aten::ScalarImplicit": lambda x: x,
    "aten::Complex": complex,
    "aten::ceil": _integral(math.ceil),
    "aten::floor": _integral(math.floor),
    "aten::round": _integral(lambda x: float(round(x))),
    "aten::trunc": _integral(math.trunc),
    "aten::gcd": math.gcd,
    "aten::factorial": math.factorial,
    "aten::isnan": math.isnan,
    "aten::isinf": math.isinf,
    "aten::isfinite": math.isfinite,
    "aten::copysign": math.copysign,
    "aten::atan2": math.atan2,
    "aten::ldexp": math.ldexp,
    "aten::hypot": math.hypot,
    "aten::frexp": math.frexp,
    "aten::modf": math.modf,
    "aten::divmod": divmod,
    "aten::fabs": math.fabs,
    "aten::chr": chr,
    "aten::hex": hex,
    "aten::oct": oct,
    "aten::bin": bin,
    **{
        f"aten::{name}": _math(getattr(math, name))
        for name in "sqrt exp expm1 log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh "
        "asinh acosh atanh erf erfc gamma lgamma degrees radians".split()
    },
    "aten::log": lambda x, base=None: _math(math.log)(x) if base is None else math.log(x, base),
    "aten::__range_length": lambda lo, hi, step: len(range(lo, hi, step)),
    "aten::__derive_index": lambda i, start, step: start + i * step,
    "aten::device": lambda text, index=None: _device(text, index),
    "aten::can_cast": lambda a, b: True,
    "aten::result_type": max,
    "aten::is_grad_enabled": lambda: False,
    "aten::set_grad_enabled": lambda flag: None,
    "aten::is_autocast_enabled": lambda *_: False,
    "aten::is_autocast_cpu_enabled": lambda *_: False,
    "aten::is_scripting": lambda: True,
    "aten::has_torch_function": lambda *_: False,
    "aten::_unwrap_optional": lambda x: _unwrap(x),
    "aten::manual_seed": lambda *_: None,
    "aten::item": lambda x: x,
}


def _device(text: str, index: int | None) -> DeviceValue:
    device = DeviceValue.parse(text)
    return device if index is None else DeviceValue(device.kind, index)


def _unwrap(x: object) -> object:
    if x is None:
        raise ValueError("Unwrapping null optional")
    return x


# Run-time numbers: (result type of the operand types, expression). The types are int, float, bool.


def _wider(*types: type) -> type:
    return float if float in types else int


def _same(*types: type) -> type:
    return bool if set(types) == {bool} else _wider(*types)


def _comparison(op: str):
    return (_same, lambda a, b: E.binary(op, a, b))


def _float(fn: Callable):
    return (lambda *_: float, fn)


def _binary(op: str, result: Callable = _wider):
    return (result, lambda a, b: E.binary(op, a, b))


def _floordiv_expr(a, b):
    return E.unary("floor", a / b) if a.dtype.is_float else E.binary("floordiv", a, b)


def _remainder_expr(a, b):
    return a - E.unary("floor", a / b) * b if a.dtype.is_float else E.binary("mod", a, b)


# What it is computed in, and how; comparisons give bool whatever they are computed in.
RUNTIME: dict[str, tuple[Callable, Callable]] = {
    "aten::add": (_wider, lambda a, b: a + b),
    "aten::sub": (_wider, lambda a, b: a - b),
    "aten::rsub": (_wider, lambda a, b: b - a),
    "aten::mul": (_wider, lambda a, b: a * b),
    "aten::div": _float(lambda a, b: a / b),
    "aten::true_divide": _float(lambda a, b: a / b),
    "aten::floordiv": (_wider, _floordiv_expr),
    "aten::floor_divide": (_wider, _floordiv_expr),
    "aten::remainder": (_wider, _remainder_expr),
    "aten::mod": (_wider, _remainder_expr),
    "aten::pow": _float(lambda a, b: E.binary("pow", a, b)),
    "aten::fmod": _float(lambda a, b: E.binary("fmod", a, b)),
    "aten::atan2": _float(lambda a, b: E.binary("atan2", a, b)),
    "aten::neg": (_wider, lambda a: -a),
    "aten::abs": (_wider, lambda a: E.unary("abs", a)),
    "prim::abs": (_wider, lambda a: E.unary("abs", a)),
    "prim::min": _binary("min"),
    "prim::max": _binary("max"),
    **{f"aten::{op}": _comparison(op) for op in ("eq", "ne", "lt", "le", "gt", "ge")},
    "aten::__is__": _comparison("eq"),
    "aten::__isnot__": _comparison("ne"),
    "aten::__not__": (lambda *_: bool, lambda a: ~a),
    "aten::__and__": _binary("and", _same),
    "aten::__or__": _binary("or", _same),
    "aten::__xor__": _binary("xor", _same),
    "aten::__lshift__": _binary("shl"),
    "aten::__rshift__": _binary("shr"),
    "aten::ceil": _float(lambda a: E.unary("ceil", a)),
    "aten::floor": _float(lambda a: E.unary("floor", a)),
    "aten::round": _float(lambda a: E.unary("round", a)),
    "aten::trunc": _float(lambda a: E.unary("trunc", a)),
    "aten::Float": _float(lambda a: a),
    "aten::FloatImplicit": _float(lambda a: a),
    "aten::isnan": _float(E.isnan),
    **{
        f"aten::{name}": _float(lambda a, name=name: E.unary(name, a))
        for name in "sqrt exp expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh "
        "asinh acosh atanh erf erfc lgamma".split()
    },
    "aten::__derive_index": (_wider, lambda i, start, step: start + i * step),
}
_DIVISIONS = frozenset(
    f"aten::{name}" for name in ("floordiv", "floor_divide", "remainder", "mod"))
_UNCHANGED = frozenset(("aten::ScalarImplicit", "aten::item", "aten::_unwrap_optional"))
_DTYPES: dict[type, DType] = {int: i64, float: f64, bool: bool_}


def convert(ev: Evaluator, x: object, target: type) -> object:
    """int(x), float(x) or bool(x) of a number."""
    if not isinstance(x, Value):
        return _to_int(x) if target is int else target(x)
    if number_type(x) is target:
        return x
    value = ev.memory.build(lambda: B.cast(x, _DTYPES[target]))
    value.wrapped = True
    return value


def compute(ev: Evaluator, node: Node | None, kind: str, args: list, kwargs: dict) -> object:
    """An operator on numbers, of the type that the node declares. KeyError for others."""
    if any(isinstance(x, Value) for x in args):
        result = _run_time(ev, kind, args, kwargs)
    else:
        result = KNOWN[kind](*args, **kwargs)
    if node is None or len(node.outputs) != 1 or isinstance(result, tuple):
        return result
    declared = node.outputs[0].type
    wanted = {Float: float, Int: int, Bool: bool}.get(declared)  # type: ignore[call-overload]
    if wanted is not None and _is_plain_number(result) and number_type(result) is not wanted:
        return convert(ev, result, wanted)
    return result


def _no_zero(ev: Evaluator, divisor: object) -> None:
    if isinstance(divisor, Value):
        ev.check(ev.memory.build(lambda: B.pointwise(lambda b: E.ne(b, 0), divisor)), _BY_ZERO)
    elif divisor == 0:
        raise Raised(_BY_ZERO)


def _is_plain_number(x: object) -> bool:
    return isinstance(x, (int, float, Value))


def _run_time(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    if kind in ("aten::__is__", "aten::__isnot__") and None in args:
        return kind == "aten::__isnot__"
    if kind in _UNCHANGED:
        return args[0]
    size = None if kwargs else of_sizes(ev, kind, args)
    if size is not None:
        return size
    if kind in ("aten::Int", "aten::IntImplicit"):
        return convert(ev, args[0], int)
    if kind == "aten::Bool":
        return convert(ev, args[0], bool)
    if kwargs or not all(isinstance(x, (int, float, Value)) for x in args):
        raise KeyError(kind)
    if kind == "aten::divmod":
        return tuple(_run_time(ev, k, args, {}) for k in ("aten::floordiv", "aten::remainder"))
    if kind == "aten::gcd" and all(number_type(x) is int for x in args):
        value = ev.memory.build(lambda: gcd(*map(ev.value_of, args)))
        value.wrapped = True
        return value
    if kind not in RUNTIME:
        if kind in KNOWN:
            raise ValueError(f"{kind} needs numbers that are known when compiling, found "
                             f"{', '.join(map(describe, args))}")
        raise KeyError(kind)
    types, fn = RUNTIME[kind]
    working = types(*map(number_type, args))
    if working is bool and kind not in ("aten::__and__", "aten::__or__", "aten::__xor__",
                                        "aten::__not__", "aten::eq", "aten::ne",
                                        "aten::__is__", "aten::__isnot__"):
        working = int
    operands = [convert(ev, x, working) if isinstance(x, Value) else x for x in args]
    if kind in _DIVISIONS and working is int:
        _no_zero(ev, args[1])
    value = ev.memory.build(lambda: B.pointwise(fn, *operands, dtype=_DTYPES[working]))
    value.wrapped = True
    if len(args) == 2:
        note_emptiness(ev, kind, args, value)
    return value
