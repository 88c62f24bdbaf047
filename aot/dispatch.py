"""The one place that every operator call goes through.

    call("aten::add", (x, 2), {"alpha": 3})

An operator of the table is bound to its overload, its TensorOps for these shapes and dtypes are
built once (aot/tensor_plan.py) and run with numpy. In-place and out= variants are derived from the
functional entry, views lie on the storage of their base. Whoever wants to see calls (tracing)
installs a recorder; autograd's tape is written here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from aot import autograd_graph, tensor_plan, trace_state
from aot.dtypes import Size, device, dtype, layout
from aot.tensor_core import Tensor
from aot.tensor_order import lay_out
from aot.tensor_plan import Out, Plan, Same
from lowering import build as B
from lowering.evaluate_operators import (
    _IN_PLACE_DUNDER, _NEVER_COPY, _RESHAPES, Call, Unsupported, _bind, _search,
)
from lowering.known import Unsupported as NeedsValues
from lowering.objects import DeviceValue
from lowering.ops import TABLE
from lowering.tensor_ir import Value
from lowering.views import View
from runtime import dtypes
from runtime.dtypes import DType, bool_

# Operators that are no TensorOps: name -> function of the call's arguments. Filled by the modules
# that define them (aot/tensor_special.py, aot/random_operators.py).
SPECIAL: dict[str, Callable] = {}


class NotReal(Exception):
    """An argument is complex. aot/complex_tensor.py sets what such tensors are, and what runs
    operators on them."""

    types: tuple[type, ...] = ()
    operate: Callable


@dataclass
class Event:
    """One operator call, for recorders: `call` is the resolved overload (None for the operators of
    SPECIAL), `arguments` are in its schema's order with defaults filled in."""

    name: str
    call: Call | None
    args: tuple
    kwargs: dict
    result: object

    @property
    def arguments(self) -> list[object]:
        if self.call is None:
            return [*self.args, *self.kwargs.values()]
        out = []
        for a, source in zip(self.call.entry.schema.arguments, self.call.sources):
            if source is None:
                out.append(a.default)
            else:
                out.append(self.args[source] if isinstance(source, int) else self.kwargs[source])
        return out


def exists(name: str) -> bool:
    """Whether `aten::name` is an operator, or the in-place form of one."""
    full = f"aten::{name}"
    if full in TABLE or full in SPECIAL:
        return True
    return name.endswith("_") and not name.startswith("_") and (
        full[:-1] in TABLE or full in _IN_PLACE_DUNDER
    )


def call(name: str, args: tuple = (), kwargs: dict | None = None) -> object:
    """The result of an operator on tensors and Python values.

    TypeError where no overload takes the arguments; the operators' own errors are PyTorch's."""
    try:
        args, kwargs = _normalised(args), _normalised_kwargs(kwargs)
    except NotReal:
        return NotReal.operate(name, args, kwargs or {})
    if not trace_state.is_recording():
        result, _ = _perform(name, args, kwargs)
    else:
        with trace_state.not_recording():
            result, resolved = _perform(name, args, kwargs)
        trace_state.tell(Event(name, resolved, args, kwargs, result))
    return tuple(result) if type(result) is list else result  # Python gets lists as tuples


def _perform(name: str, args: tuple, kwargs: dict) -> tuple[object, Call | None]:
    special = SPECIAL.get(name)
    if special is not None:
        result = special(*args, **kwargs)
        if result is not NotImplemented:
            return result, None
    if "out" in kwargs:
        rest = {k: v for k, v in kwargs.items() if k != "out"}
        result, resolved = _perform(name, args, rest)
        return (result if kwargs["out"] is None else _write_out(kwargs["out"], result)), resolved
    if name not in TABLE and name.endswith("_"):
        functional = _IN_PLACE_DUNDER.get(name) or name[:-1]
        return _in_place(functional, args, kwargs)
    args, kwargs, resolved = _resolve(name, args, kwargs)
    plan, tensors = plan_of(resolved, args, kwargs)
    return run_plan(plan, tensors), resolved


# Arguments


def _normal(x: object) -> object:
    """An argument as schemas have it: dtypes and layouts are codes, devices DeviceValues."""
    kind = type(x)
    if kind in (int, float, bool, str) or x is None or isinstance(x, Tensor):
        return x
    if kind is complex:
        raise NotReal
    if kind in (list, tuple, Size, range):
        return [_normal(v) for v in x]  # type: ignore[union-attr]
    if isinstance(x, (dtype, layout)):
        return x.code
    if isinstance(x, DType):
        return x.torch_code
    if isinstance(x, device):
        return DeviceValue(x.type, x.index)
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, (list, tuple)):
        return [_normal(v) for v in x]
    if isinstance(x, type) and x in (float, int, bool):
        return {float: 6, int: 4, bool: 11}[x]
    if hasattr(x, "__index__"):
        return x.__index__()
    if isinstance(x, NotReal.types):
        raise NotReal
    return x


def _normalised(args: tuple) -> tuple:
    return tuple([_normal(x) for x in args])


_PYTHON_NAMES = {"input": "self", "axis": "dim", "keepdims": "keepdim"}


def _normalised_kwargs(kwargs: dict | None) -> dict:
    if not kwargs:
        return {}
    return {_PYTHON_NAMES.get(k, k): _normal(v) for k, v in kwargs.items()}


def kind_of(x: object) -> str:
    """The kind of one argument; see lowering/evaluate_operators.py."""
    if isinstance(x, Tensor):
        return "T"
    if x is None:
        return "N"
    simple = {bool: "b", int: "i", float: "f", str: "s", complex: "c"}.get(type(x))
    if simple:
        return simple
    if isinstance(x, list):
        return "[" + "".join(sorted({kind_of(v) for v in x}))
    return "D" if isinstance(x, DeviceValue) else "?"


_resolved: dict[tuple, Call | None] = {}


def _find(name: str, args: tuple, kwargs: dict) -> Call | None:
    kinds = tuple(map(kind_of, args))
    named = tuple((k, kind_of(v)) for k, v in kwargs.items())
    key = (name, kinds, named, len(TABLE.get(name, ())))
    if key not in _resolved:
        found = _search(name, kinds, dict(named))
        if found is not None and "upsample" in name:  # factors in a list before single ones
            for entry in TABLE[name]:
                if entry.schema.overload == "vec":
                    listed = _bind(entry, kinds, dict(named))
                    found = listed[1] if listed is not None else found
        _resolved[key] = found
    return _resolved[key]


def _resolve(name: str, args: tuple, kwargs: dict) -> tuple[tuple, dict, Call]:
    """The overload of a call, with the arguments as it takes them: several sizes may be given in
    place of a list of them, and `input` may be an operator's own argument name."""
    found = _find(name, args, kwargs)
    if found is not None:
        return args, kwargs, found
    for start in (1, 0):
        rest = args[start:]
        if rest and all(type(v) is int or _is_size(v) for v in rest):
            packed = (*args[:start], list(rest))
            found = _find(name, packed, kwargs)
            if found is not None:
                return packed, kwargs, found
    for inner, outer in (("self", "input"), ("dim", "axis"), ("requires_grad", None)):
        if inner in kwargs:
            renamed = {outer if k == inner else k: v for k, v in kwargs.items()
                       if outer or k != inner}
            found = _find(name, args, renamed)
            if found is not None:
                return args, renamed, found
    raise TypeError(_no_overload(name, args, kwargs))


def _is_size(x: object) -> bool:
    """A size as a trace has it: a tensor of one whole number."""
    return isinstance(x, Tensor) and not x._data.sizes and x.row.kind == "i"


def _no_overload(name: str, args: tuple, kwargs: dict) -> str:
    short = name.partition("::")[2]
    if name not in TABLE:
        return f"{short}(): no operator {name} with these arguments"
    given = [_describe(x) for x in args] + [f"{k}={_describe(v)}" for k, v in kwargs.items()]
    wanted = "\n".join(f" * {entry.schema.text}" for entry in TABLE[name])
    return (f"{short}() received an invalid combination of arguments - got ({', '.join(given)}), "
            f"but expected one of:\n{wanted}")


def _describe(x: object) -> str:
    if isinstance(x, list):
        return "tuple of (" + ", ".join(map(_describe, x[:4])) + ")" if x else "list"
    return "NoneType" if x is None else type(x).__name__


# Plans


class _Leaf:
    """Stands for tensor number k among a call's arguments."""

    __slots__ = ("k",)

    def __init__(self, k: int) -> None:
        self.k = k


def _is_leaf(x: object) -> bool:
    return type(x) is _Leaf


_plans: dict[tuple, Plan] = {}
# Plans are forgotten when there are this many: programs with ever new shapes do not fill memory.
_MOST_PLANS = 4096


def plan_of(resolved: Call, args: tuple, kwargs: dict) -> tuple[Plan, list[Tensor]]:
    """The plan of a call and the tensors that it runs on."""
    tensors: list[Tensor] = []
    values: list[object] = []
    key: list[object] = [id(resolved)]
    for a, source in zip(resolved.entry.schema.arguments, resolved.sources):
        if source is None:
            values.append(None)
            continue
        x = args[source] if isinstance(source, int) else kwargs[source]
        values.append(_leaves(x, a.type.startswith("Tensor"), tensors, key))
    shapes = [(t._data.sizes, t.row) for t in tensors]
    full = (*key, *shapes)
    plan = _plans.get(full)
    if plan is None:
        plan, cached = _build(resolved, values, shapes, tensors)
        if cached:
            if len(_plans) >= _MOST_PLANS:
                _plans.clear()
            _plans[full] = plan
    return plan, tensors


def _leaves(x: object, wants_tensor: bool, tensors: list[Tensor], key: list[object]) -> object:
    """The argument with its tensors replaced by placeholders; numbers in tensors are taken out."""
    if isinstance(x, Tensor):
        if wants_tensor:
            tensors.append(x)
            key.append("T")
            return _Leaf(len(tensors) - 1)
        x = x.item()
    if isinstance(x, list):
        key.append(len(x))
        return [_leaves(v, wants_tensor, tensors, key) for v in x]
    # -0.0 and 0.0, 1 and True and 1.0 are equal, and mean different plans
    key.append((type(x), repr(x)) if isinstance(x, (float, bool)) else (type(x), x))
    return x


def _build(resolved: Call, values: list, shapes: list, tensors: list[Tensor]) -> tuple[Plan, bool]:
    """The plan, and whether it holds for all tensors of these shapes. Where a result's shape
    depends on tensors' values, those of masks and indices are built in, then all."""
    try:
        return tensor_plan.build(resolved, values, shapes, _is_leaf, {}), True
    except NeedsValues:
        pass
    except ValueError as e:
        if "known at compile time" not in str(e):
            raise RuntimeError(_mismatch(shapes) or str(e)) from None
    whole = {k: compute_array(t) for k, t in enumerate(tensors) if not t.row.is_float}
    try:
        return tensor_plan.build(resolved, values, shapes, _is_leaf, whole), False
    except NeedsValues:
        every = {k: compute_array(t) for k, t in enumerate(tensors)}
        return tensor_plan.build(resolved, values, shapes, _is_leaf, every), False


def _mismatch(shapes: list) -> str | None:
    """PyTorch's words for two tensors that do not broadcast."""
    if len(shapes) < 2:
        return None
    a, b = shapes[0][0], shapes[1][0]
    for k in range(1, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and 1 not in (a[-k], b[-k]):
            return (f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                    f"non-singleton dimension {max(len(a), len(b)) - k}")
    return None


def compute_array(t: Tensor) -> np.ndarray:
    """The tensor's elements in the interpreter's form; a window on its storage where it can be."""
    return dtypes.to_compute(t._data.numpy(), t.row)


def run_plan(plan: Plan, tensors: list[Tensor]) -> object:
    """The plan's results, recorded for backward() if gradients are wanted."""
    fresh: list[Tensor] = []
    if plan.region.results or plan.region.ops:
        arrays = tensor_plan.run(plan.region, [compute_array(t) for t in tensors])
        fresh = [new_tensor(x, v.dtype) for x, v in zip(arrays, plan.region.results)]
        if len(fresh) == 1:
            lay_out(plan, tensors, fresh[0])
        autograd_graph.record(plan, tensors, fresh)

    def give(x: object) -> object:
        if isinstance(x, Out):
            return fresh[x.k].item() if x.number else fresh[x.k]
        if isinstance(x, Same):
            return tensors[x.k]
        if isinstance(x, View):
            return _view(plan, tensors[plan.viewed], x)
        if isinstance(x, (list, tuple)):
            return type(x)(give(v) for v in x)
        return x

    return give(plan.results)


def new_tensor(array: np.ndarray, row: DType) -> Tensor:
    """A tensor of an array that is its own, in the interpreter's form."""
    return Tensor._of_array(tensor_plan.storage_array(array, row), row)


def _view(plan: Plan, base: Tensor, view: View) -> Tensor:
    """The view on the base's storage, or a copy where strides cannot express a reshape."""
    geometry = tensor_plan.view_geometry(view, base._data.strides)
    if geometry is None:
        if plan.name in _NEVER_COPY or plan.name not in _RESHAPES:
            raise RuntimeError(
                "view size is not compatible with input tensor's size and stride (at least one "
                "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
        copy = view_plan(plan, base, view)
        result = run_plan(copy, [base])
        assert isinstance(result, Tensor)
        return result
    offset, strides = geometry
    out = base._window(base._data.offset + offset, view.shape, strides)
    autograd_graph.record_view(plan.name, plan.overload, base, out,
                               lambda: view_plan(plan, base, view))
    return out


def view_plan(plan: Plan, base: Tensor, view: View) -> Plan:
    """Reading through the view, as TensorOps."""
    return _gathering(plan.name, plan.overload, base.row, view)


def _gathering(name: str, overload: str, row: DType, view: View) -> Plan:
    region = B.Region([Value(view.base_shape, row)])
    with B.collect(region):
        region.results = [view.get(region.params[0])]
    return Plan(name, overload, region, Out(0))


# Variants


def _in_place(name: str, args: tuple, kwargs: dict) -> tuple[object, Call]:
    """x.name_(...): the functional operator's result written back into x."""
    if not args and "self" in kwargs:
        kwargs = dict(kwargs)
        args = (kwargs.pop("self"),)
    if name not in TABLE:
        raise TypeError(_no_overload(f"{name}_", args, kwargs))
    target = args[0]
    if not isinstance(target, Tensor):
        raise TypeError(f"{name}_(): the first argument must be a tensor")
    args, kwargs, resolved = _resolve(name, args, kwargs)
    plan, tensors = plan_of(resolved, args, kwargs)
    if isinstance(plan.results, View):
        autograd_graph.check_in_place(target)
        view = _view(plan, target, plan.results)
        target._data, target._node, target._nr = view._data, view._node, view._nr
        target._data.storage.version += 1
        return target, resolved
    if isinstance(plan.results, Same):
        return target, resolved
    if not isinstance(plan.results, Out):
        raise Unsupported(f"{name}_")
    write_result(target, plan, tensors)
    return target, resolved


def write_result(target: Tensor, plan: Plan, tensors: list[Tensor]) -> None:
    """Runs the plan and writes its one result into the target, whatever dtype it has."""
    autograd_graph.check_in_place(target, tensors)
    value = plan.region.results[plan.results.k]  # type: ignore[union-attr]
    if _category(value.dtype) > _category(target.row) and plan.name != "aten::copy":
        raise RuntimeError(f"result type {_title(value.dtype)} can't be cast to the desired output "
                           f"type {_title(target.row)}")
    if B.broadcast_shape(value.shape, target._data.sizes) != target._data.sizes:
        raise RuntimeError(
            f"output with shape {list(target._data.sizes)} doesn't match the broadcast shape "
            f"{list(B.broadcast_shape(value.shape, target._data.sizes))}")
    (array,) = tensor_plan.run(plan.region, [compute_array(t) for t in tensors])
    pending = autograd_graph.prepare_in_place(plan, tensors, target)
    target._write(array)
    if pending is not None:
        pending()


_TITLES = {"f64": "Double", "f32": "Float", "f16": "Half", "bf16": "BFloat16", "i64": "Long",
           "i32": "Int", "i16": "Short", "i8": "Char", "u8": "Byte", "bool": "Bool"}


def _title(row: DType) -> str:
    return _TITLES[row.name]


def _category(row: DType) -> int:
    return 0 if row is bool_ else 2 if row.is_float else 1


def _write_out(out: object, result: object) -> object:
    """Stores results in the tensors given as out=, which take the results' shape."""
    if isinstance(out, (list, tuple)) and isinstance(result, (list, tuple)):
        return type(result)(_write_out(o, r) for o, r in zip(out, result))
    if not isinstance(out, Tensor) or not isinstance(result, Tensor):
        raise TypeError(f"out= must be a tensor, found {type(out).__name__}")
    if out._data.sizes != result._data.sizes:
        fresh = Tensor._of_array(
            np.empty(result._data.sizes, out.row.storage), out.row)._data
        out._data.storage.array, out._data.offset = fresh.storage.array, 0
        out._data.sizes, out._data.strides = fresh.sizes, fresh.strides
    if _category(result.row) > _category(out.row):
        raise RuntimeError(f"result type {_title(result.row)} can't be cast to the desired output "
                           f"type {_title(out.row)}")
    out._write(compute_array(result))
    return out

