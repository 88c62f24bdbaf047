"""prim:: nodes other than If and Loop: constants, attributes, calls, tuples, lists, casts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from lowering import build as B
from lowering import evaluate_complex, types
from lowering.abstract import (
    UNINITIALIZED, AbstractComplex, AbstractNested, AbstractTensor, Raised, Unknown,
    describe, is_number, number_type,
)  # fmt: skip
from lowering.evaluate_optional import refined
from lowering.evaluate_state import is_same
from lowering.evaluate_tensors import number_to_tensor, tolist
from lowering.evaluate_texts import text_of
from lowering.graph import Function, Node
from lowering.objects import (
    DeviceValue, EnumValue, NamedTupleValue, ScriptObject, TensorData,
)  # fmt: skip
from lowering.tensor_ir import Value
from lowering.texts import Text, tell, text_of_parts
from lowering.types import Type

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator


def abstract(ev: Evaluator, x: object) -> object:
    """A value of the archive as partial evaluation has it; lists and dicts become new ones."""
    if isinstance(x, TensorData):
        if isinstance(x.storage.dtype, str):
            found = evaluate_complex.constant(ev, x)
            if found is not None:
                return found
        return Unknown(x.problem) if x.problem is not None else ev.memory.constant(x)
    if isinstance(x, list):
        return [abstract(ev, v) for v in x]
    if isinstance(x, dict):
        return {k: abstract(ev, v) for k, v in x.items()}
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([abstract(ev, v) for v in x], x.type)
    if isinstance(x, tuple):
        return tuple(abstract(ev, v) for v in x)
    return x


def _constant(ev: Evaluator, node: Node, args: list) -> object:
    return abstract(ev, node.attributes.get("value"))


def _get_attr(ev: Evaluator, node: Node, args: list) -> object:
    return get_attribute(ev, args[0], node.attributes["name"])  # type: ignore[arg-type]


def get_attribute(ev: Evaluator, obj: object, name: str) -> object:
    """An attribute as the program sees it now."""
    if isinstance(obj, NamedTupleValue):
        return getattr(obj, name)
    if not isinstance(obj, ScriptObject):
        raise TypeError(f"{describe(obj)} has no attribute '{name}'")
    written = ev.memory.written_attributes(obj)
    key = (id(obj), name)
    if name in written:
        kept = ev.state.get(key)
        if kept is not None and kept.value is written[name]:
            kept.read = True
        return written[name]
    if key not in ev.loaded:
        if name in obj.attributes:
            value = obj.attributes[name]
        elif name in obj.type.constants:
            value = obj.type.constants[name]
        else:
            raise AttributeError(f"an object of {obj.type.name} has no attribute '{name}'")
        ev.loaded[key] = (obj, value, abstract(ev, value))
    return ev.loaded[key][2]


def _module_item(ev: Evaluator, node: Node, args: list) -> object:
    """`modules[i]` of a ModuleList, `modules[key]` of a ModuleDict."""
    container, key = args
    if not isinstance(key, (int, str)):
        raise ValueError("a module is chosen by a number known only at run time")
    if isinstance(key, int):
        names = [n for n, v in container.attributes.items() if isinstance(v, ScriptObject)]
        if not -len(names) <= key < len(names):
            raise IndexError(f"index {key} of {len(names)} modules")
        key = names[key]
    return get_attribute(ev, container, key)


def _set_attr(ev: Evaluator, node: Node, args: list) -> object:
    obj, value = args
    if not isinstance(obj, ScriptObject):
        raise TypeError(f"{describe(obj)} has no attributes to set")
    written, name = ev.memory.written_attributes(obj), node.attributes["name"]
    if name in obj.attributes and not is_same(obj.attributes[name], value):
        ev.assigned[id(obj), name] = obj  # type: ignore[index]
    ev.memory.mutate(written)
    written[name] = value  # type: ignore[index]
    return None


def _call_method(ev: Evaluator, node: Node, args: list) -> object:
    obj, name = args[0], node.attributes["name"]
    if not isinstance(obj, ScriptObject):
        raise TypeError(f"{describe(obj)} has no method '{name}'")
    function = obj.type.methods.get(name)  # type: ignore[arg-type]
    if function is None:
        raise AttributeError(f"{obj.type.name} has no method '{name}'")
    count = len(args) - len(node.kwarg_names)
    return ev.call(function, args[:count], dict(zip(node.kwarg_names, args[count:])))


def _call_function(ev: Evaluator, node: Node, args: list) -> object:
    if not isinstance(args[0], Function):
        raise TypeError(f"{describe(args[0])} is not a function")
    count = len(args) - len(node.kwarg_names)
    return ev.call(args[0], args[1:count], dict(zip(node.kwarg_names, args[count:])))


def _create_object(ev: Evaluator, node: Node, args: list) -> object:
    return ScriptObject(node.output.type)  # type: ignore[arg-type]


def _tuple(ev: Evaluator, node: Node, args: list) -> object:
    type = node.output.type
    if isinstance(type, types.TupleType) and type.fields is not None:
        return NamedTupleValue(args, type)
    return tuple(args)


def _unpack(ev: Evaluator, node: Node, args: list) -> object:
    values = args[0]
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{describe(values)} cannot be unpacked")
    if len(values) != len(node.outputs):
        raise Raised(f"Expected {len(node.outputs)} elements in a list but found {len(values)}")
    return values[0] if len(node.outputs) == 1 else tuple(values)


def _tuple_index(ev: Evaluator, node: Node, args: list) -> object:
    if not isinstance(args[1], int):
        raise ValueError("a tuple is indexed by a number known only at run time")
    if not -len(args[0]) <= args[1] < len(args[0]):
        raise Raised("tuple index out of range")
    return args[0][args[1]]


def _tuple_slice(ev: Evaluator, node: Node, args: list) -> object:
    return tuple(args[0][node.attributes["beg"]:node.attributes["end"]])  # type: ignore[misc]


def _dict(ev: Evaluator, node: Node, args: list) -> object:
    if any(isinstance(k, (Value, AbstractTensor)) for k in args[::2]):
        raise ValueError("a dict is built with keys known only at run time")
    return dict(zip(args[::2], args[1::2]))


def _isinstance(ev: Evaluator, node: Node, args: list) -> object:
    return any(value_is(args[0], t) for t in node.attributes["types"])  # type: ignore[union-attr]


def value_is(x: object, t: Type) -> bool:
    """Whether a value is of a type, as prim::isinstance asks it."""
    if t == types.Any:
        return True
    if isinstance(t, types.OptionalType):
        return x is None or value_is(x, t.element)
    if isinstance(t, types.UnionType):
        return any(value_is(x, e) for e in t.elements)
    if isinstance(t, types.TensorType):
        return isinstance(x, (AbstractTensor, AbstractComplex, AbstractNested))
    if isinstance(t, types.ListType):
        return isinstance(x, list) and all(value_is(v, t.element) for v in x)
    if isinstance(t, types.DictType):
        return isinstance(x, dict) and all(
            value_is(k, t.key) and value_is(v, t.value) for k, v in x.items()
        )
    if isinstance(t, types.TupleType):
        return isinstance(x, tuple) and len(x) == len(t.elements) and all(
            map(value_is, x, t.elements)
        )
    if isinstance(t, types.InterfaceType):
        return isinstance(x, ScriptObject) and all(m in x.type.methods for m in t.methods)
    if isinstance(t, (types.ClassType, types.EnumType)):
        return isinstance(x, (ScriptObject, EnumValue)) and x.type is t
    if is_number(x):
        kind = {int: types.Int, float: types.Float, bool: types.Bool}[number_type(x)]
        return t == kind or (t == types.Number and kind != types.Bool)
    named: dict[Type, Callable[[], bool]] = {
        types.NoneT: lambda: x is None,
        types.Str: lambda: isinstance(x, (str, Text)),
        types.Device: lambda: isinstance(x, DeviceValue),
        types.AnyList: lambda: isinstance(x, list),
        types.AnyTuple: lambda: isinstance(x, tuple),
        types.AnyClass: lambda: isinstance(x, ScriptObject),
        types.AnyEnum: lambda: isinstance(x, EnumValue),
        types.Complex: lambda: isinstance(x, complex),
    }
    return named[t]() if t in named else False


def _raise(ev: Evaluator, node: Node, args: list) -> object:
    message = text_of(ev.memory, args[0]) if args else ""
    if len(args) > 1 and isinstance(args[1], str):
        message = f"{args[1].rpartition('.')[2]}: " + message
    raise Raised(message, ev.place(node))


def _print(ev: Evaluator, node: Node, args: list) -> object:
    parts = [p for x in args for p in (" ", text_of(ev.memory, x))]
    return _tell(ev, "print", text_of_parts(parts[1:]))


def _warn(ev: Evaluator, node: Node, args: list) -> object:
    return _tell(ev, "warn", text_of(ev.memory, args[0]))


def _tell(ev: Evaluator, kind: str, message: str | Text) -> None:
    if ev.memory.eager:
        tell(kind, str(message))
    else:
        ev.memory.build(lambda: B.tell(kind, message))


def _enter(ev: Evaluator, node: Node, args: list) -> object:
    return _context(ev, args[0], "__enter__", [])


def _exit(ev: Evaluator, node: Node, args: list) -> object:
    _context(ev, args[0], "__exit__", [None, None, None])
    return None


def _context(ev: Evaluator, obj: object, name: str, args: list) -> object:
    if not isinstance(obj, ScriptObject) or name not in obj.type.methods:
        raise TypeError(f"{describe(obj)} is no context manager")
    function = obj.type.methods[name]
    return ev.call(function, [obj, *args[: len(function.parameters) - 1]], {})


def _first(ev: Evaluator, node: Node, args: list) -> object:
    return args[0]


def _nothing(ev: Evaluator, node: Node, args: list) -> object:
    return None


def _device_type(ev: Evaluator, node: Node, args: list) -> object:
    if not isinstance(args[0], DeviceValue):
        raise TypeError(f"{describe(args[0])} has no type")
    return args[0].kind


def _to_list(ev: Evaluator, node: Node, args: list) -> object:
    if not isinstance(args[0], AbstractTensor):
        raise TypeError(f"{describe(args[0])} has no tolist")
    return tolist(ev, args[0])


# Node kind -> function (evaluator, node, arguments) -> result.
TABLE: dict[str, Callable] = {
    "prim::Constant": _constant,
    "prim::GetAttr": _get_attr,
    "prim::SetAttr": _set_attr,
    "prim::ModuleContainerIndex": _module_item,
    "prim::CallMethod": _call_method,
    "prim::CallFunction": _call_function,
    "prim::CreateObject": _create_object,
    "prim::TupleConstruct": _tuple,
    "prim::TupleUnpack": _unpack,
    "prim::TupleIndex": _tuple_index,
    "prim::TupleSlice": _tuple_slice,
    "prim::ListConstruct": lambda ev, node, args: list(args),
    "prim::ListUnpack": _unpack,
    "prim::DictConstruct": _dict,
    "prim::Uninitialized": lambda ev, node, args: UNINITIALIZED,
    "prim::unchecked_cast": lambda ev, node, args: refined(node, args[0]),
    "prim::unchecked_unwrap_optional": lambda ev, node, args: refined(node, args[0]),
    "prim::annotate": _first,
    "prim::isinstance": _isinstance,
    "prim::RaiseException": _raise,
    "prim::Print": _print,
    "aten::warn": _warn,
    "aten::_print": _nothing,
    "prim::Enter": _enter,
    "prim::Exit": _exit,
    "prim::EnumName": lambda ev, node, args: args[0].name,
    "prim::EnumValue": lambda ev, node, args: abstract(ev, args[0].value),
    "prim::tolist": _to_list,
    "aten::tolist": _to_list,
    "prim::NumToTensor": lambda ev, node, args: number_to_tensor(ev, args[0]),
    "prim::type": _device_type,
    "prim::index": lambda ev, node, args: args[0].index,
    "aten::str": lambda ev, node, args: text_of(ev.memory, args[0]),
    "prim::rangelist": lambda ev, node, args: list(range(args[0])),
}
# These take values that cannot be told without using them.
LAZY = frozenset((
    "prim::TupleConstruct", "prim::ListConstruct", "prim::unchecked_cast",
    "prim::TupleUnpack", "prim::TupleIndex", "prim::DictConstruct",
    "prim::SetAttr", "prim::CallMethod", "prim::CallFunction", "prim::ListUnpack",
))  # fmt: skip
