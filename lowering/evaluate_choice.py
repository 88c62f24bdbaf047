"""Lists and dicts at positions known only at run time, and searches among numbers of run time.

The length is known, so a position is one of a few: the element is chosen among them, or each is
replaced where the position is its own. Positions out of range are errors of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering import expr as E
from lowering.abstract import AbstractTensor, Raised, describe, is_number, number_type
from lowering.evaluate_if import choose
from lowering.evaluate_memory import replace_content
from lowering.tensor_ir import Value
from runtime.dtypes import bool_, f64, i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def _number(ev: Evaluator, fn: Callable, *operands: object) -> Value:
    """fn of numbers, computed as ints, or as floats if one of them is a float."""
    floats = float in map(number_type, operands)
    value = ev.memory.build(
        lambda: B.pointwise(fn, *map(ev.value_of, operands), dtype=f64 if floats else i64))
    value.wrapped = True
    return value


def _position(ev: Evaluator, x: list, i: Value, message: str) -> Value:
    """A checked position, counted from the start."""
    n = len(x)
    if not n:
        raise Raised(message)
    ev.check(_number(ev, lambda a: (a >= -n) & (a < n), i), message)
    return _number(ev, lambda a: E.select(a < 0, a + n, a), i)


def _is(ev: Evaluator, a: object, b: object) -> object:
    """Whether two elements are equal, known or not; tensors are the same ones."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return False
        return _fold(ev, [_is(ev, p, q) for p, q in zip(a, b)], True)
    if isinstance(a, AbstractTensor) or isinstance(b, AbstractTensor):
        raise ValueError("a list of tensors is searched or compared")
    if is_number(a) and is_number(b) and (isinstance(a, Value) or isinstance(b, Value)):
        return a is b or _number(ev, lambda p, q: E.eq(p, q), a, b)
    return a == b


def _fold(ev: Evaluator, flags: list, every: bool) -> object:
    """Whether all of the flags hold, or (not every) any of them."""
    unknown = [f for f in flags if isinstance(f, Value)]
    if any(f is (not every) for f in flags):
        return not every
    result: object = every
    for flag in unknown:
        result = flag if result is every else _number(
            ev, (lambda p, q: E.binary("and", p, q)) if every else
            (lambda p, q: E.binary("or", p, q)), result, flag)
    if isinstance(result, Value) and result.dtype is not bool_:
        result = _number(ev, lambda p: E.eq(p, 0) ^ True, result)
    return result


def select(ev: Evaluator, condition: object, a: object, b: object) -> object:
    """a where the condition holds, else b; values that exist already."""
    if not isinstance(condition, Value):
        return a if condition else b
    if a is b:
        return a
    if is_number(a) and is_number(b) and number_type(a) is number_type(b) is not bool:
        kind = f64 if number_type(a) is float else i64
        value = ev.memory.build(lambda: B.compute((), lambda: E.select(
            E.load(condition), _scalar(a, kind), _scalar(b, kind))))
        value.wrapped = True
        return value
    return choose(ev, condition, a, b)


def _scalar(x: object, kind) -> E.Expr:
    return E.load(x) if isinstance(x, Value) else E.const(x, kind)


def _at(ev: Evaluator, x: list, at: Value) -> object:
    """The element at a checked position."""
    result = x[-1]
    for k in range(len(x) - 2, -1, -1):
        result = select(ev, _number(ev, lambda a, k=k: E.eq(a, k), at), x[k], result)
    return result


def get_item(ev: Evaluator, x: list | dict, i: Value) -> object:
    if isinstance(x, dict):
        return _at_key(ev, x, i)
    return _at(ev, x, _position(ev, x, i, "list index out of range"))


def _at_key(ev: Evaluator, x: dict, key: Value) -> object:
    same = [_is(ev, k, key) for k in x]
    found = _fold(ev, same, False)
    if found is False:
        raise Raised("KeyError: no such key")
    if found is not True:
        ev.check(found, "KeyError: no such key")  # type: ignore[arg-type]
    values = list(x.values())
    result = values[-1]
    for is_this, value in list(zip(same, values))[-2::-1]:
        result = select(ev, is_this, value, result)
    return result


def set_item(ev: Evaluator, x: list | dict, i: Value, value: object) -> object:
    if isinstance(x, dict):
        raise ValueError(f"a dict is given a key, {describe(i)}, that is known only at run time")
    at = _position(ev, x, i, "list assignment index out of range")
    _replace(ev, x, [select(ev, _number(ev, lambda a, k=k: E.eq(a, k), at), value, old)
                     for k, old in enumerate(x)])
    return x


def pop(ev: Evaluator, x: list | dict, i: Value) -> object:
    if isinstance(x, dict):
        raise ValueError("a dict loses a key that is known only at run time")
    at = _position(ev, x, i, "pop index out of range" if x else "pop from empty list")
    taken = _at(ev, x, at)
    _replace(ev, x, [select(ev, _number(ev, lambda a, k=k: a > k, at), x[k], x[k + 1])
                     for k in range(len(x) - 1)])
    return taken


def delete(ev: Evaluator, x: list | dict, i: Value) -> None:
    pop(ev, x, i)


def insert(ev: Evaluator, x: list, i: Value, value: object) -> None:
    n = len(x)
    at = _number(ev, lambda a: E.maximum(E.minimum(E.select(a < 0, a + n, a), n), 0), i)
    made = [*x, value]
    for k in range(n + 1):
        before = x[k - 1] if k else value
        old = select(ev, _number(ev, lambda a, k=k: a < k, at), before, value)
        made[k] = old if k == n else select(
            ev, _number(ev, lambda a, k=k: a > k, at), x[k], old)
    _replace(ev, x, made)


def _replace(ev: Evaluator, x: list, content: list) -> None:
    ev.memory.mutate(x)
    replace_content(x, content)


# Searches


def contains(ev: Evaluator, x: list | dict, value: object) -> object:
    return _fold(ev, [_is(ev, v, value) for v in x], False)


def count(ev: Evaluator, x: list, value: object) -> object:
    total: object = 0
    for v in x:
        same = _is(ev, v, value)
        if same is not False:
            total = _number(ev, lambda p, q: p + q, total, 1 if same is True else same)
    return total


def index(ev: Evaluator, x: list, value: object) -> object:
    """The first position of the value."""
    found = contains(ev, x, value)
    message = "ValueError: the value is not in list"
    if found is False:
        raise Raised(message)
    if found is not True:
        ev.check(found, message)  # type: ignore[arg-type]
    result: object = len(x) - 1
    for k in range(len(x) - 2, -1, -1):
        result = select(ev, _is(ev, x[k], value), k, result)
    return result


def remove(ev: Evaluator, x: list, value: object) -> None:
    at = index(ev, x, value)
    if isinstance(at, Value):
        pop(ev, x, at)
        return
    ev.memory.mutate(x)
    del x[at]  # type: ignore[arg-type]


def equal(ev: Evaluator, a: list, b: list) -> object:
    return _is(ev, a, b)


def not_equal(ev: Evaluator, a: list, b: list) -> object:
    same = _is(ev, a, b)
    return _number(ev, lambda p: E.eq(p, 0), same) if isinstance(same, Value) else not same


def in_order(ev: Evaluator, x: list, reverse: bool = False) -> list:
    """The numbers in order: a network of comparisons of neighbours."""
    made = list(x)
    for done in range(len(made)):
        for k in range(done % 2, len(made) - 1, 2):
            a, b = made[k], made[k + 1]
            least, most = (_number(ev, fn, a, b) for fn in (E.minimum, E.maximum))
            made[k], made[k + 1] = (most, least) if reverse else (least, most)
    return made


def sort(ev: Evaluator, x: list, reverse: bool = False) -> None:
    _replace(ev, x, in_order(ev, x, reverse))


def total(ev: Evaluator, x: list) -> object:
    result = x[0]
    for v in x[1:]:
        result = _number(ev, lambda p, q: p + q, result, v)
    return result


# Of a position of run time, the second argument
AT: dict[str, Callable] = {
    "aten::__getitem__": get_item, "aten::select": get_item, "aten::_set_item": set_item,
    "aten::pop": pop, "aten::Delete": delete, "aten::__delitem__": delete, "aten::insert": insert,
}  # fmt: skip
# Of numbers of run time, in the list or beside it
AMONG: dict[str, Callable] = {
    "aten::__contains__": contains, "aten::index": index, "aten::count": count,
    "aten::remove": remove, "aten::eq": equal, "aten::ne": not_equal, "aten::sort": sort,
    "aten::sorted": in_order, "aten::sum": total,
}  # fmt: skip


def concerns(kind: str, args: list) -> Callable | None:
    """The function for these arguments, if one here is needed."""
    if not args or not isinstance(args[0], (list, dict)):
        return None
    if kind in AT and len(args) > 1 and isinstance(args[1], Value):
        return AT[kind]
    if kind in AMONG and (any(map(_has_value, args[0])) or any(map(_has_value, args[1:]))):
        return AMONG[kind]
    return None


def _has_value(x: object) -> bool:
    return isinstance(x, Value) or isinstance(x, (list, tuple)) and any(map(_has_value, x))
