"""Lists whose length is known only at run time: the rows of a tensor.

Such a list is a Python list with one Rows in it, the same object before and after it became one, so
that whoever holds the list sees what is appended. Its elements are numbers of one type or tensors
of one shape. Elements are copies: a write in place to one makes the list unreadable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from lowering import build as B
from lowering import expr as E
from lowering.abstract import AbstractTensor, Raised, Rows, describe, is_number, number_type
from lowering.ops.creation import tensor as tensor_of
from lowering.sizes import Size
from lowering.tensor_ir import Grow, Value
from runtime.dtypes import DType, bool_, f64, i64

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

_DTYPES = {int: i64, float: f64, bool: bool_}


def rows_of(x: object) -> Rows | None:
    """The rows of a list of a run-time length; None for everything else."""
    return x[0] if type(x) is list and len(x) == 1 and type(x[0]) is Rows else None


def as_rows(ev: Evaluator, items: list, like: list) -> Rows | None:
    """A list as rows, an empty one of the kind of another's elements; None if it cannot be."""
    rows = rows_of(items)
    if rows is not None:
        return rows
    kinds = {_kind(x) for x in items or like[:1]}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        return None
    number, dtype, shape = kind
    if not items:
        empty = ev.memory.build(lambda: B.full((0, *shape), 0, dtype))
        return Rows(ev.memory.tensor(empty), number)
    if not number:
        return Rows(_call(ev, "aten::stack", items, 0), False)
    return Rows(ev.memory.tensor(ev.memory.build(lambda: tensor_of(items, dtype=dtype))), True)


def _kind(x: object) -> tuple[bool, DType, tuple] | None:
    if type(x) is Rows:
        return x.number, x.data.dtype, tuple(x.data.shape[1:])
    if isinstance(x, AbstractTensor):
        return False, x.dtype, tuple(x.shape)
    return (True, _DTYPES[number_type(x)], ()) if is_number(x) else None


def _call(ev: Evaluator, kind: str, *args: object) -> Any:
    return ev.operate_with(kind, list(args), {})


def compute(ev: Evaluator, kind: str, args: list, kwargs: dict) -> object:
    """An operator with such a list among its arguments. ValueError for those that want the list's
    length at compile time."""
    name = kind.partition("::")[2]
    function = _TABLE.get(name)
    if function is None or rows_of(args[0]) is None and name not in _OF_TWO:
        raise ValueError(f"the length of a list is known only at run time, and {kind} must know it "
                         "at compile time")
    return function(ev, *args, **kwargs)


def _count(ev: Evaluator, rows: Rows) -> Value:
    return ev.value_of(ev.memory.size_number(rows.data.shape[0]))


def _put(ev: Evaluator, x: list, data: AbstractTensor, number: bool) -> None:
    ev.memory.mutate(x)
    x[:] = [Rows(data, number)]


def _row(ev: Evaluator, rows: Rows, x: Any) -> AbstractTensor:
    """An element as a tensor of one row."""
    if not rows.number:
        if tuple(x.shape) != tuple(rows.data.shape[1:]) or x.dtype is not rows.data.dtype:
            raise ValueError(f"a list of a run-time length has elements {_element_text(rows)} and "
                             f"gets a {describe(x)}")
        return _call(ev, "aten::unsqueeze", x, 0)
    value = ev.value_of(ev.to_number(x, float) if rows.data.dtype is f64 else x)
    return ev.memory.tensor(ev.memory.build(lambda: B.full((1,), value, rows.data.dtype)))


def _element_text(rows: Rows) -> str:
    return f"{rows.data.dtype}{list(rows.data.shape[1:])}"


def _joined(ev: Evaluator, rows: Rows, other: AbstractTensor) -> AbstractTensor:
    """The rows with those of another list behind them: in a loop they grow where they lie."""
    n = rows.data.shape[0]
    if n == 0:
        return other
    if not isinstance(n, Size):
        return _call(ev, "aten::cat", [rows.data, other], 0)
    data, new = ev.memory.read(rows.data), ev.memory.read(other)

    def build() -> Value:
        longer = B.append(Grow(data, n + new.shape[0])).out
        return B.insert(longer, new, [n, *(0 for _ in new.shape[1:])])

    return ev.memory.tensor(ev.memory.build(build))


def _append(ev: Evaluator, x: list, value: Any) -> list:
    rows = x[0]
    row = _row(ev, rows, value)
    data = _joined(ev, rows, row)
    if isinstance(value, AbstractTensor):
        ev.memory.link(data.storage, value.storage)
    _put(ev, x, data, rows.number)
    return x


def _sum_of_lists(ev: Evaluator, a: list, b: list) -> list:
    left, right = as_rows(ev, a, b), as_rows(ev, b, a)
    if left is None or right is None:
        raise ValueError("lists of a run-time length have elements of one kind")
    return [Rows(_joined(ev, left, right.data), left.number)]


def _extend(ev: Evaluator, x: list, other: list) -> list:
    joined = _sum_of_lists(ev, x, other)
    ev.memory.mutate(x)
    x[:] = joined
    return x


def _position(ev: Evaluator, rows: Rows, i: object) -> Value:
    """The place of an element, which is checked."""
    count, at = _count(ev, rows), ev.value_of(i)

    def build() -> tuple[Value, Value]:
        place = B.pointwise(lambda p, n: E.select(p < 0, p + n, p), at, count, dtype=i64)
        inside = B.pointwise(lambda p, n: (p >= 0) & (p < n), place, count, dtype=i64)
        return place, inside

    place, inside = ev.memory.build(build)
    ev.check(inside, "list index out of range")
    return place


def _get(ev: Evaluator, x: list, i: object) -> object:
    rows = x[0]
    if rows.data.shape[0] == 0:
        raise Raised("list index out of range")
    place, data = _position(ev, rows, i), ev.memory.read(rows.data)
    held = E.minimum(E.maximum(E.load(place), 0), E.const(data.shape[0]) - 1)
    value = ev.memory.build(lambda: B.compute(
        data.shape[1:], lambda *r: E.load(data, [held, *r])))
    if rows.number:
        value.wrapped = True
        return value
    element = ev.memory.tensor(value)
    ev.memory.link(element.storage, rows.data.storage)
    return element


def _set(ev: Evaluator, x: list, i: object, value: Any) -> list:
    rows = x[0]
    if rows.data.shape[0] == 0:
        raise Raised("list assignment index out of range")
    place, data = _position(ev, rows, i), ev.memory.read(rows.data)
    row = ev.memory.read(_row(ev, rows, value))
    changed = ev.memory.build(lambda: B.scatter(
        data, (1, *data.shape[1:]), lambda k, *r: [E.load(place), *r],
        lambda k, *r: E.load(row, [0, *r])))
    _put(ev, x, ev.memory.tensor(changed), rows.number)
    return x


def _pop(ev: Evaluator, x: list, i: object = -1) -> object:
    """The element; those behind it move up."""
    rows = x[0]
    if type(i) is int and i == -1:
        return _pop_last(ev, x)
    element, place, data = _get(ev, x, i), _position(ev, rows, i), ev.memory.read(rows.data)
    left = ev.memory.build(lambda: B.pointwise(lambda n: E.maximum(n - 1, 0), _count(ev, rows)))
    size = B.as_size(left)
    shorter = ev.memory.build(lambda: B.compute((size, *data.shape[1:]), lambda k, *r: E.load(
        data, [E.minimum(E.select(k < E.load(place), k, k + 1), E.const(data.shape[0]) - 1), *r])))
    _put(ev, x, ev.memory.tensor(shorter), rows.number)
    return element


def _pop_last(ev: Evaluator, x: list) -> object:
    rows = x[0]
    element, data = _get(ev, x, -1), ev.memory.read(rows.data)
    left = ev.memory.build(lambda: B.pointwise(lambda n: E.maximum(n - 1, 0), _count(ev, rows)))
    size = B.as_size(left)
    shorter = ev.memory.build(lambda: B.compute(
        (size, *data.shape[1:]), lambda *k: E.load(data, k)))
    _put(ev, x, ev.memory.tensor(shorter), rows.number)
    return element


def _insert(ev: Evaluator, x: list, i: object, value: Any) -> None:
    """Before element i, which is held within the list."""
    rows = x[0]
    row = _row(ev, rows, value)
    if rows.data.shape[0] == 0:
        return _put(ev, x, row, rows.number)
    data, new, count = ev.memory.read(rows.data), ev.memory.read(row), _count(ev, rows)
    place = ev.memory.build(lambda: B.pointwise(lambda p, n: E.minimum(E.maximum(
        E.select(p < 0, p + n, p), 0), n), ev.value_of(i), count, dtype=i64))
    n = data.shape[0]

    def element(k: E.Expr, *r: E.Expr) -> E.Expr:
        at = E.load(place)
        before = E.maximum(E.minimum(E.select(k < at, k, k - 1), E.const(n) - 1), 0)
        return E.select(E.eq(k, at), E.load(new, [0, *r]), E.load(data, [before, *r]))

    longer = ev.memory.build(lambda: B.compute((n + 1, *data.shape[1:]), element))
    _put(ev, x, ev.memory.tensor(longer), rows.number)
    if isinstance(value, AbstractTensor):
        ev.memory.link(x[0].data.storage, value.storage)


def _equals(ev: Evaluator, x: list, value: object) -> AbstractTensor:
    return _call(ev, "aten::eq", x[0].data, value)


def _index(ev: Evaluator, x: list, value: object) -> object:
    """The first place of a number."""
    found = _contains(ev, x, value)
    ev.check(ev.value_of(found), "ValueError: the value is not in list")
    return ev.item(_call(ev, "aten::argmax", _call(ev, "aten::to", _equals(ev, x, value), 3)))


def _remove(ev: Evaluator, x: list, value: object) -> None:
    ev.check(ev.value_of(_contains(ev, x, value)), "list.remove(x): x not in list")
    _pop(ev, x, _index(ev, x, value))


def _same(ev: Evaluator, a: list, b: list) -> Value:
    """Whether two lists of numbers are equal."""
    left, right = as_rows(ev, a, b), as_rows(ev, b, a)
    if left is None or right is None or not (left.number and right.number):
        raise ValueError("lists of run-time lengths are compared where they hold numbers")
    x, y = ev.memory.read(left.data), ev.memory.read(right.data)
    m, n = x.shape[0], y.shape[0]
    if 0 in (m, n):
        return ev.memory.build(lambda: B.pointwise(
            lambda p, q: E.eq(p, q), _count(ev, left), _count(ev, right), dtype=i64))

    def build() -> Value:
        k = E.index(0)
        held = E.minimum(k, E.const(n) - 1)
        alike = B.generic((m,), 0, E.eq(E.load(x, [k]), E.load(y, [held])), "and")
        return B.pointwise(lambda p, q, a: E.eq(p, q) & E.ne(a, 0), _count(ev, left),
                           _count(ev, right), alike, dtype=i64)

    return ev.memory.build(build)


def _compared(ev: Evaluator, a: list, b: list, equal: bool) -> Value:
    same = _same(ev, a, b)
    result = same if equal else ev.memory.build(lambda: B.pointwise(lambda c: ~c, same))
    result.wrapped = True
    return result


def _clear(ev: Evaluator, x: list) -> None:
    rows = x[0]
    empty = ev.memory.build(lambda: B.full((0, *rows.data.shape[1:]), 0, rows.data.dtype))
    _put(ev, x, ev.memory.tensor(empty), rows.number)


def _slice(ev: Evaluator, x: list, start=None, end=None, step: int = 1) -> list:
    return [Rows(_call(ev, "aten::slice", x[0].data, 0, start, end, step), x[0].number)]


def _reverse(ev: Evaluator, x: list) -> None:
    rows = x[0]
    _put(ev, x, _call(ev, "aten::flip", rows.data, [0]), rows.number)


def _sort(ev: Evaluator, x: list, reverse: bool = False) -> None:
    rows = x[0]
    _put(ev, x, _call(ev, "aten::sort", rows.data, 0, reverse)[0], rows.number)


def _contains(ev: Evaluator, x: list, value: object) -> object:
    return ev.to_number(ev.item(_call(ev, "aten::any", _equals(ev, x, value))), bool)


def _reduction(name: str) -> Callable:
    def reduce(ev: Evaluator, x: list) -> object:
        if name != "sum":
            ev.check(ev.memory.build(lambda: B.pointwise(lambda n: n > 0, _count(ev, x[0]))),
                     f"{name}() arg is an empty sequence")
        return ev.item(_call(ev, f"aten::{name}", x[0].data))

    return reduce


def _stack(ev: Evaluator, x: list, dim: int = 0) -> object:
    data, count = x[0].data, len(x[0].data.shape)
    order = list(range(1, count))
    order.insert(dim % count, 0)
    return _call(ev, "aten::permute", _call(ev, "aten::clone", data), order)


def _cat(ev: Evaluator, x: list, dim: int = 0) -> object:
    data = x[0].data
    rank = len(data.shape) - 1
    order = list(range(1, rank + 1))
    order.insert(dim % rank, 0)
    moved = _call(ev, "aten::permute", data, order)
    return _call(ev, "aten::clone", _call(ev, "aten::flatten", moved, dim % rank, dim % rank + 1))


def _tensor(ev: Evaluator, x: list, dtype: object = None, *_: object, **__: object) -> object:
    rows = x[0]
    code = dtype if dtype is not None else 6 if rows.data.dtype is f64 else None  # float32
    copy = _call(ev, "aten::clone", rows.data)
    return copy if code is None else _call(ev, "aten::to", copy, code)


_OF_TWO = ("add", "extend", "add_", "eq", "ne")  # the second may be the one of a run-time length
_TABLE: dict[str, Callable] = {
    "insert": _insert, "index": _index, "remove": _remove,
    "count": lambda ev, x, value: ev.item(_call(ev, "aten::sum", _equals(ev, x, value))),
    "eq": lambda ev, a, b: _compared(ev, a, b, True),
    "ne": lambda ev, a, b: _compared(ev, a, b, False),
    "len": lambda ev, x: ev.memory.size_number(x[0].data.shape[0]),
    "append": _append, "extend": _extend, "add_": _extend, "add": _sum_of_lists,
    "__getitem__": _get, "select": _get, "_set_item": _set, "pop": _pop, "clear": _clear,
    "slice": _slice, "copy": lambda ev, x: [x[0]], "list": lambda ev, x: [x[0]],
    "reverse": _reverse, "sort": _sort,
    "sorted": lambda ev, x: [Rows(_call(ev, "aten::sort", x[0].data, 0, False)[0], True)],
    "__contains__": _contains,
    "sum": _reduction("sum"), "min": _reduction("min"), "max": _reduction("max"),
    "stack": _stack, "cat": _cat, "concat": _cat, "tensor": _tensor, "as_tensor": _tensor,
}
