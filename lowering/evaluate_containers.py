"""Operators on lists, dicts, tuples and strings, which are Python's own here."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Callable

from lowering import evaluate_choice, evaluate_numbers
from lowering.abstract import AbstractTensor, Raised, describe
from lowering.evaluate_memory import Memory
from lowering.evaluate_texts import format_text, percent_text
from lowering.objects import DeviceValue, EnumValue, ScriptObject
from lowering.tensor_ir import Value
from lowering.texts import Text

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator
    from lowering.graph import Node

INT_MAX = 2**63 - 1


def _position(container, i: object) -> int:
    """A known index within bounds; negative ones count from the end."""
    if isinstance(i, Value):
        raise ValueError("a list is indexed by a number known only at run time")
    n = len(container)
    if not -n <= i < n:  # type: ignore[operator]
        raise Raised("list index out of range" if not isinstance(container, str)
                     else "string index out of range")
    return i % n  # type: ignore[operator, return-value]


def _key(container: dict, key: object) -> object:
    """A known key of the dict."""
    if isinstance(key, (Value, AbstractTensor)):
        raise ValueError(f"a dict is indexed by a {describe(key)} known only at run time")
    if key not in container:
        raise Raised(f"KeyError: {key!r}")
    return key


def _getitem(memory: Memory, x, i):
    return x[_key(x, i)] if isinstance(x, dict) else x[_position(x, i)]


def _slice(memory: Memory, x, start=None, end=None, step=1):
    if any(isinstance(v, Value) for v in (start, end, step)):
        raise ValueError("a list is sliced at a number known only at run time")
    if step == 0:
        raise Raised("List slice should have non-zero step")
    return x[slice(start, end, step)]


def _mutation(fn: Callable) -> Callable:
    """A function that changes its first argument, which is entered in the journal."""

    @functools.wraps(fn)
    def apply(memory: Memory, x, *args, **kwargs):
        memory.mutate(x)
        return fn(x, *args, **kwargs)

    return apply


@_mutation
def _append(x, value):
    x.append(value)
    return x


@_mutation
def _set_item(x, i, value):
    if isinstance(x, dict):
        if isinstance(i, (Value, AbstractTensor)):
            raise ValueError(f"a dict is indexed by a {describe(i)} known only at run time")
        x[i] = value
        return None
    x[_position(x, i)] = value
    return x


@_mutation
def _insert(x, i, value):
    x.insert(i, value)


@_mutation
def _extend(x, values):
    x.extend(list(values))


@_mutation
def _clear(x):
    x.clear()


@_mutation
def _delete(x, i):
    del x[_key(x, i) if isinstance(x, dict) else _position(x, i)]


@_mutation
def _pop(x, i=-1, default=None):
    if isinstance(x, dict):
        return x.pop(i, default) if default is not None else x.pop(_key(x, i))
    if not x:
        raise Raised("pop from empty list")
    return x.pop(_position(x, i))


@_mutation
def _popitem(x):
    return x.popitem()


@_mutation
def _setdefault(x, key, value):
    return x.setdefault(key, value)


@_mutation
def _update(x, other):
    x.update(dict(other))


@_mutation
def _reverse(x):
    x.reverse()


@_mutation
def _sort(x, reverse=False):
    _require_known(x, "sorted")
    x.sort(reverse=reverse)


@_mutation
def _remove(x, value):
    for k, v in enumerate(x):
        if _same(v, value):
            del x[k]
            return
    raise Raised("list.remove(x): x not in list")


@_mutation
def _repeat_in_place(x, times):
    x[:] = x * times
    return x


@_mutation
def _add_in_place(x, other):
    x.extend(other)
    return x


def _require_known(x, done: str) -> None:
    if any(isinstance(v, (Value, AbstractTensor)) for v in x):
        raise ValueError(f"values known only at run time cannot be {done}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Text) or isinstance(b, Text):
        raise ValueError("a string with numbers known only at run time cannot be compared")
    if isinstance(a, Value) or isinstance(b, Value):
        if a is b:
            return True
        raise ValueError("a list holds a number known only at run time, so it cannot be searched "
                         "or compared")
    if isinstance(a, AbstractTensor) or isinstance(b, AbstractTensor):
        return a is b
    if isinstance(a, (EnumValue, DeviceValue)):
        return evaluate_numbers.KNOWN["aten::eq"](a, b)
    return a == b


def _contains(memory: Memory, x, value):
    if isinstance(x, str):
        return value in x
    return any(_same(v, value) for v in x)


def _index(memory: Memory, x, value):
    if isinstance(x, str):
        return x.index(value)
    for k, v in enumerate(x):
        if _same(v, value):
            return k
    raise Raised(f"ValueError: {value!r} is not in list")


def _ordered(op: Callable) -> Callable:
    def apply(memory: Memory, a, b):
        if not isinstance(a, str):
            _require_known([*a, *b], "compared")
        return op(a, b)

    return apply


def _extreme(fn: Callable) -> Callable:
    def apply(memory: Memory, x, other=None):
        if other is not None:
            return fn(x, other)
        if not x:
            raise Raised(f"{fn.__name__}() arg is an empty sequence")
        return fn(x)

    return apply


def _sum(memory: Memory, x):
    return sum(x)


def _pure(fn: Callable) -> Callable:
    return lambda memory, *args, **kwargs: fn(*args, **kwargs)


def _copy(x):
    return list(x) if not isinstance(x, dict) else dict(x)


def _dict(pairs=()):
    return dict(pairs)


TABLE: dict[str, Callable] = {
    "aten::len": _pure(len),
    "aten::__getitem__": _getitem,
    "aten::select": _getitem,
    "aten::slice": _slice,
    "aten::append": _append,
    "aten::_set_item": _set_item,
    "aten::insert": _insert,
    "aten::extend": _extend,
    "aten::clear": _clear,
    "aten::Delete": _delete,
    "aten::__delitem__": _delete,
    "aten::pop": _pop,
    "aten::popitem": _popitem,
    "aten::setdefault": _setdefault,
    "aten::update": _update,
    "aten::reverse": _reverse,
    "aten::sort": _sort,
    "aten::remove": _remove,
    "aten::add_": _add_in_place,
    "aten::mul_": _repeat_in_place,
    "aten::add": _pure(lambda a, b: a + b if isinstance(a, (str, Text)) else [*a, *b]),
    "aten::mul": _pure(lambda a, b: a * b if isinstance(b, int) else b * a),
    "aten::eq": _pure(_same),
    "aten::ne": _pure(lambda a, b: not _same(a, b)),
    **{f"aten::{op}": _ordered(getattr(operator, op)) for op in ("lt", "le", "gt", "ge")},
    "aten::__contains__": _contains,
    "aten::index": _index,
    "aten::count": _pure(lambda x, v: x.count(v) if isinstance(x, str) else
                         sum(_same(u, v) for u in x)),
    "aten::copy": _pure(_copy),
    "aten::list": _pure(list),
    "aten::dict": _pure(_dict),
    "aten::sorted": _pure(sorted),
    "aten::keys": _pure(lambda x: list(x)),
    "aten::values": _pure(lambda x: list(x.values())),
    "aten::items": _pure(lambda x: [(k, v) for k, v in x.items()]),
    "aten::get": _pure(lambda x, key, default_value=None: x.get(key, default_value)),
    "prim::min": _extreme(min),
    "prim::max": _extreme(max),
    "aten::min": _extreme(min),
    "aten::max": _extreme(max),
    "aten::sum": _sum,
    "aten::all": _pure(all),
    "aten::any": _pure(any),
    "aten::format": format_text,
    "aten::percentFormat": percent_text,
    "aten::Int": _pure(lambda x, base=10: int(x, base)),
    "aten::Float": _pure(float),
    "aten::Bool": _pure(bool),
    "aten::ord": _pure(ord),
    "aten::Size": _pure(list),
    "aten::__is__": _pure(operator.is_),
    "aten::__isnot__": _pure(operator.is_not),
    "aten::__not__": _pure(operator.not_),
    "aten::device": _pure(evaluate_numbers.KNOWN["aten::device"]),
    "aten::_unwrap_optional": _pure(lambda x: x),
    "aten::join": _pure(lambda separator, parts: separator.join(parts)),
    "aten::strip": _pure(lambda x, chars=" \n\t\f\v": x.strip(chars)),
    "aten::lstrip": _pure(lambda x, chars=" \n\t\f\v": x.lstrip(chars)),
    "aten::rstrip": _pure(lambda x, chars=" \n\t\f\v": x.rstrip(chars)),
    "prim::StringIndex": _getitem,
    **{
        f"aten::{name}": (lambda memory, x, *args, name=name: getattr(x, name)(*args))
        for name in "split rsplit splitlines startswith endswith find rfind rindex replace lower "
        "upper capitalize title swapcase center ljust rjust zfill expandtabs partition rpartition "
        "isalnum isalpha isdecimal isdigit isidentifier islower isnumeric isprintable isspace "
        "istitle isupper".split()
    },
}  # fmt: skip


def compute(ev: Evaluator, node: Node | None, kind: str, args: list, kwargs: dict) -> object:
    """An operator whose first argument is a list, dict, tuple or string. KeyError for others."""
    fn = TABLE[kind]
    first = args[0] if args else None  # dict() has none
    of_run_time = evaluate_choice.concerns(kind, args)
    if of_run_time is not None:
        return of_run_time(ev, *args, **kwargs)
    if kind in ("prim::min", "prim::max") and isinstance(first, list) and len(args) == 1:
        if first and any(isinstance(v, Value) for v in first):
            result = first[0]
            for x in first[1:]:
                result = evaluate_numbers.compute(ev, node, kind, [result, x], {})
            return result
    if kind in ("aten::sort", "aten::sorted") and isinstance(first, list) and (
        first and isinstance(first[0], ScriptObject)
    ):
        return _sort_objects(ev, kind, *args, **kwargs)
    return fn(ev.memory, *args, **kwargs)


def _sort_objects(ev: Evaluator, kind: str, x: list, reverse: bool = False) -> list | None:
    """Objects in the order of their class's `__lt__`."""
    def order(a: ScriptObject, b: ScriptObject) -> int:
        less = ev.call(a.type.methods["__lt__"], [a, b], {})
        if not isinstance(less, bool):
            raise ValueError("objects whose order is known only at run time cannot be sorted")
        return -1 if less else 1

    result = sorted(x, key=functools.cmp_to_key(order), reverse=reverse)
    if kind == "aten::sorted":
        return result
    ev.memory.mutate(x)
    x[:] = result
    return None
