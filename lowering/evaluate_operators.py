"""Applies the operator table: overload resolution, conversions, views, in-place and out= variants.

Which overload a call means depends only on the kinds of its arguments, so the answer is remembered
by them. Kinds: T tensor, i f b c s numbers and strings known now, I F B numbers of run time,
N None, D device, and lists as '[' with the kinds of their elements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering.abstract import AbstractTensor, Unknown, describe
from lowering.index_algebra import contiguous_strides
from lowering.objects import DeviceValue
from lowering.ops import TABLE
from lowering.ops.random import IN_MEMORY_ORDER, normal_strided
from lowering.ops.table import Entry
from lowering.random_stream import drawing_from
from lowering.schema import Argument
from lowering.tensor_ir import Constant, Value
from lowering.views import View, permute
from runtime.dtypes import DType, bool_, dtype_of_code

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

NUMBERS = frozenset(("int", "float", "bool"))  # results of these types are no tensors

_IN_PLACE_DUNDER = {
    f"aten::__i{name}__": f"aten::__{name}__" for name in "and or xor lshift rshift".split()
}
# View operators that must not copy: PyTorch raises where strides cannot express the result.
_NEVER_COPY = frozenset(("aten::view", "aten::view_as"))
# View operators whose result strides may fail to express; all others always lie in their base.
_RESHAPES = frozenset(
    f"aten::{name}" for name in "view view_as reshape reshape_as flatten unflatten ravel "
    "_unsafe_view _reshape_alias".split()
)


class Unsupported(Exception):
    """No entry of the table takes these arguments."""


@dataclass(frozen=True)
class Call:
    """A resolved overload and, per formal argument, where its value comes from."""

    entry: Entry
    converters: tuple[Callable | None, ...]
    sources: tuple[int | str | None, ...]  # position, keyword, or None: the default


_resolved: dict[tuple, Call | None] = {}


def kind_of(x: object) -> str:
    """The kind of one argument; see the module's text."""
    if isinstance(x, AbstractTensor):
        return "T"
    if isinstance(x, Value):
        return "B" if x.dtype is bool_ else "F" if x.dtype.is_float else "I"
    if x is None:
        return "N"
    simple = {bool: "b", int: "i", float: "f", str: "s", complex: "c"}.get(type(x))
    if simple:
        return simple
    if isinstance(x, (list, tuple)):
        return "[" + "".join(sorted({kind_of(v) for v in x}))
    return "D" if isinstance(x, DeviceValue) else "U" if isinstance(x, Unknown) else "?"


def resolve(name: str, args: list, kwargs: dict) -> Call:
    """The overload that takes these arguments. Unsupported if there is none."""
    kinds = tuple(map(kind_of, args))
    named = tuple((k, kind_of(v)) for k, v in kwargs.items())
    key = (name, kinds, named, len(TABLE.get(name, ())))
    if key not in _resolved:
        _resolved[key] = _search(name, kinds, dict(named))
    call = _resolved[key]
    if call is None:
        raise Unsupported(name)
    return call


def _search(name: str, kinds: tuple[str, ...], named: dict[str, str]) -> Call | None:
    best: tuple[int, Call] | None = None
    for entry in TABLE.get(name, ()):
        scored = _bind(entry, kinds, named)
        if scored is not None and (best is None or scored[0] < best[0]):
            best = scored
    return best[1] if best else None


def _bind(entry: Entry, kinds: tuple[str, ...], named: dict[str, str]) -> tuple[int, Call] | None:
    """The call and its cost (0: no implicit conversion), or None if the arguments do not fit."""
    positional = [a for a in entry.schema.arguments if not a.keyword_only]
    if len(kinds) > len(positional):
        return None
    cost, sources, converters, used = 0, [], [], 0
    for i, a in enumerate(entry.schema.arguments):
        if not a.keyword_only and i < len(kinds):
            kind, source = kinds[i], i
        elif a.name in named:
            kind, source = named[a.name], a.name
            used += 1
        elif a.has_default:
            sources.append(None)
            converters.append(None)
            continue
        else:
            return None
        fit = _fit(a.type, kind)
        if fit is None:
            return None
        cost += fit
        sources.append(source)
        makes = a.name == "output_size" or a.name == "size" and all(
            x.type != "Tensor" for x in entry.schema.arguments)
        # A bound of a slice that is a size makes a dim that is known to be equal to others.
        converters.append((lambda ev, x: ev.memory.dim_of(x, False))
                          if entry.name == "aten::slice" and kind == "I"
                          else _converter(a, kind, makes))
    if used != len(named):
        return None
    return cost, Call(entry, tuple(converters), tuple(sources))


_SCALARS = {"int": "iI", "float": "fF", "bool": "bB", "str": "s", "Scalar": "ifbIFBc",
            "ScalarType": "i", "Layout": "i", "MemoryFormat": "i", "Device": "D", "SymInt": "iI"}
# What TorchScript converts implicitly, or what traces leave: costs 1.
_LENIENT = {"int": "bBT", "float": "iIT", "bool": "iIT", "Scalar": "T", "Device": "s",
            "SymInt": "bT", "Tensor": "ifbIFB"}


def _fit(type: str, kind: str) -> int | None:
    """0 if the kind fits the formal type, 1 if after an implicit conversion, None if not."""
    if kind == "U":
        return 0
    if type.endswith("?"):
        return 0 if kind == "N" else _fit(type[:-1], kind)
    if type.endswith("]"):
        element, _, size = type[:-1].rpartition("[")
        if not kind.startswith("["):
            return (1 if size and len(kind) == 1 else None) if _fit(element, kind) == 0 else None
        fits = [_fit(element, k) for k in _element_kinds(kind)]
        if None in fits:
            return None
        return max(fits, default=0)  # type: ignore[type-var]
    if type == "Tensor":
        return 0 if kind == "T" else 1 if kind in _LENIENT["Tensor"] else None
    if type == "Generator":
        return 0
    if kind and kind in _SCALARS.get(type, ""):
        return 0
    return 1 if kind and kind in _LENIENT.get(type, "") else None


def _element_kinds(kind: str) -> list[str]:
    """The kinds of a list's elements; of nested lists, one nested kind."""
    inner = kind[1:]
    return [inner] if inner.startswith("[") else list(inner)


_SIZES = frozenset(("k", "length"))  # numbers that are a dim of the result


def _converter(a: Argument, kind: str, makes: bool) -> Callable | None:
    """A function (evaluator, argument) -> what the entry takes; None where nothing is to do. makes:
    the operator makes a tensor from its size alone."""
    type = a.type.rstrip("?")
    if kind == "N":
        return None
    if type.endswith("]"):
        element, _, size = type[:-1].rpartition("[")
        if not kind.startswith("["):
            return lambda ev, x: [x] * int(size)
        if element.rstrip("?") == "Tensor":
            return lambda ev, x: [None if v is None else _tensor(ev, v) for v in x]
        if "T" in kind:
            return lambda ev, x: [_plain(ev, v) for v in x]
        if element == "float":
            return lambda ev, x: [float(v) if isinstance(v, int) else v for v in x]
        if "I" in kind:
            return lambda ev, x: [ev.memory.dim_of(v, makes) for v in x]
        return lambda ev, x: list(x)
    if type == "Tensor":
        return _tensor
    if type == "ScalarType":
        return lambda ev, x: _dtype(x)
    if type == "float" and kind == "i":
        return lambda ev, x: float(x)
    if type == "bool" and kind == "i":
        return lambda ev, x: bool(x)
    if type in ("int", "SymInt") and kind == "b":
        return lambda ev, x: int(x)
    if a.name in _SIZES and kind == "I":
        return lambda ev, x: ev.memory.dim_of(x, True)
    return _plain if kind == "T" else None


def _tensor(ev: Evaluator, x: object) -> Value:
    if isinstance(x, AbstractTensor):
        return ev.memory.read(x)
    return x if isinstance(x, Value) else ev.memory.number(x)  # type: ignore[arg-type]


def _plain(ev: Evaluator, x: object) -> object:
    """The number in a tensor of one element."""
    return ev.item(x) if isinstance(x, AbstractTensor) else x


def _dtype(code: int) -> DType:
    try:
        return dtype_of_code(code)
    except KeyError:
        raise ValueError(f"tensors of PyTorch's dtype number {code} (complex, quantised or 8-bit "
                         "float) are not supported") from None


def _default(a: Argument) -> object:
    if isinstance(a.default, tuple):
        return list(a.default)
    if a.type.startswith("ScalarType") and isinstance(a.default, int):
        return _dtype(a.default)
    size = a.type.rstrip("?]").rpartition("[")[2]
    if "[" in a.type and size.isdigit() and isinstance(a.default, int):
        return [a.default] * int(size)
    return a.default


def invoke(ev: Evaluator, call: Call, args: list, kwargs: dict) -> object:
    """Runs the entry: Values, Views or lists of them."""
    values = []
    for a, source, convert in zip(call.entry.schema.arguments, call.sources, call.converters):
        if source is None:
            values.append(_default(a))
            continue
        x = args[source] if isinstance(source, int) else kwargs[source]
        values.append(convert(ev, x) if convert is not None and x is not None else x)
    positional = [v for v, a in zip(values, call.entry.schema.arguments) if not a.keyword_only]
    keywords = {a.name: v for v, a in zip(values, call.entry.schema.arguments) if a.keyword_only}
    with drawing_from(ev.memory.stream):
        return ev.memory.build(lambda: call.entry.function(*positional, **keywords))


def apply(ev: Evaluator, name: str, args: list, kwargs: dict) -> object:
    """A call of an operator of the table, or of its in-place or out= variant."""
    if "out" in kwargs and name in TABLE:
        rest = {k: v for k, v in kwargs.items() if k != "out"}
        return _write_out(ev, kwargs["out"], apply(ev, name, args, rest))
    if name.endswith("_") and (name not in TABLE or TABLE[name][0].schema.written):
        functional = _IN_PLACE_DUNDER.get(name) or name if name in TABLE else name[:-1]
        return _in_place(ev, functional, args, kwargs)
    call = resolve(name, args, kwargs)
    result = invoke(ev, call, args, kwargs)
    first = args[0] if args else next(iter(kwargs.values()), None)
    kinds = [kind for kind, _ in call.entry.schema.returns]
    if isinstance(result, tuple) and len(result) == len(kinds):
        return type(result)(_wrap(ev, call, r, first, kind) for r, kind in zip(result, kinds))
    return _wrap(ev, call, result, first, kinds[0] if len(kinds) == 1 else "")


def _wrap(ev: Evaluator, call: Call, result: object, first: object, kind: str = "") -> object:
    """Makes tensors of an entry's results, or numbers, as their `kind` says; views keep their
    storage."""
    if isinstance(result, (list, tuple)):
        return type(result)(_wrap(ev, call, r, first) for r in result)
    if kind in NUMBERS and isinstance(result, Value):
        result.wrapped = True
        return result.op.data.item() if isinstance(result.op, Constant) else result
    name = call.entry.name
    if isinstance(result, View):
        if not isinstance(first, AbstractTensor):
            raise TypeError(f"{name} is a view of its first argument, found {describe(first)}")
        view = ev.memory.view(first, result)
        if name in _RESHAPES and not _may_alias(first, view, name):
            return ev.memory.tensor(ev.memory.read(view))
        return view
    if isinstance(result, Value):
        if (isinstance(first, AbstractTensor) and call.entry.schema.is_view
                and result is ev.memory.read(first)):
            return first
        return ev.memory.tensor(result)
    return result


def _may_alias(base: AbstractTensor, view: AbstractTensor, name: str) -> bool:
    """Whether the view lies in its base's memory; where not, reshape and its like copy."""
    if base.strides() is None or view.strides() is not None:
        return True
    if name in _NEVER_COPY:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return False


def _in_place(ev: Evaluator, name: str, args: list, kwargs: dict) -> object:
    """x.name_(...) as the functional operator `name` written back into x."""
    target = args[0] if args else kwargs.get("self")
    if not isinstance(target, AbstractTensor):
        raise Unsupported(name)
    call = resolve(name, args, kwargs)
    if name in IN_MEMORY_ORDER and not target.is_contiguous:
        return _fill_in_memory_order(ev, call, target, args, kwargs)
    result = invoke(ev, call, args, kwargs)
    if isinstance(result, View):
        return _reshape_in_place(ev, target, result)
    if not isinstance(result, Value):
        raise Unsupported(name)
    if result is ev.memory.read(target):
        return target
    assign(ev, target, result)
    return target


def _fill_in_memory_order(ev: Evaluator, call: Call, target: AbstractTensor, args: list,
                          kwargs: dict) -> AbstractTensor:
    """Random numbers into a tensor that is not contiguous; where it has no gaps, they come in the
    order of its memory."""
    strides, order = target.strides(), list(range(target.ndim))
    if strides is not None:
        found = sorted(order, key=lambda d: -strides[d])
        if tuple(strides[d] for d in found) == contiguous_strides(
                [target.shape[d] for d in found]):
            order = found
    if call.entry.name == "aten::normal_":
        call = replace(call, entry=replace(call.entry, function=normal_strided))
    view = ev.memory.view(target, permute(target.shape, order))
    if "self" in kwargs:
        kwargs = {**kwargs, "self": view}
    result = invoke(ev, call, [view, *args[1:]] if args else [], kwargs)
    assign(ev, view, result)  # type: ignore[arg-type]
    return target


def assign(ev: Evaluator, target: AbstractTensor, x: Value) -> None:
    """Writes x into the target: cast to its dtype, broadcast to its shape."""
    if _category(x.dtype) > _category(target.dtype):
        raise RuntimeError(f"result type {x.dtype.torch_name} can't be cast to the desired output "
                           f"type {target.dtype.torch_name}")
    copy_into(ev, target, x)


def copy_into(ev: Evaluator, target: AbstractTensor, x: Value) -> None:
    """target.copy_(x): any dtype, broadcast to the target's shape."""
    if not B.stretch_to(x.shape, target.shape):
        shape = B.broadcast_shape(target.shape, x.shape)
        raise RuntimeError(f"output with shape {list(target.shape)} doesn't match the broadcast "
                           f"shape {list(shape)}")

    def converted() -> Value:
        shaped = x
        if x.shape != target.shape or x.wrapped:
            shaped = B.compute(target.shape, lambda *_: B.read(x, target.shape, x.dtype))
        return B.cast(shaped, target.dtype)

    ev.memory.write(target, ev.memory.build(converted))


def _category(dtype: DType) -> int:
    return 0 if dtype is bool_ else 2 if dtype.is_float else 1


def _reshape_in_place(ev: Evaluator, target: AbstractTensor, view: View) -> AbstractTensor:
    """x.squeeze_() and its like: the tensor itself becomes a view of what it was."""
    if ev.memory.frames:
        raise ValueError("an operator that changes a tensor's shape in place stands under a "
                         "condition known only at run time")
    if target.has_views:
        raise ValueError("an operator changes the shape of a tensor in place that has views")
    before = AbstractTensor(target.storage, target.base, target.view)
    target.base, target.view, target.cache = before, view, None
    return target


def _write_out(ev: Evaluator, out: object, result: object) -> object:
    """Stores results in the tensors given as out=, which take the results' shape."""
    if isinstance(out, (list, tuple)) and isinstance(result, (list, tuple)):
        return type(result)(_write_out(ev, o, r) for o, r in zip(out, result))
    if not isinstance(out, AbstractTensor) or not isinstance(result, AbstractTensor):
        raise TypeError(f"out= must be a tensor, found {describe(out)}")
    x = ev.memory.read(result)
    if out.shape == x.shape:
        assign(ev, out, x)
    elif out.view is None:
        dtype = out.dtype
        ev.memory.set_current(out.storage, ev.memory.build(lambda: B.cast(x, dtype)), True)
        out.storage.strides = contiguous_strides(x.shape)
    else:
        raise RuntimeError("out= is a view of another shape than the result's")
    return out
