"""Single nodes and constants as expressions of TorchScript's code text."""

from __future__ import annotations

from typing import Callable

from lowering import types
from lowering.graph import Function, Node, Value
from lowering.graph_print import format_complex, format_float, quote
from lowering.objects import DeviceValue, EnumValue, TensorData, TypedDict, TypedList
from lowering.schema_table import schemas_of
from lowering.types import ListType, OptionalType, TupleType, Type

_STATEMENTS = frozenset(
    """prim::If prim::Loop prim::SetAttr prim::Enter prim::Exit prim::fork prim::CreateObject
    prim::isinstance prim::Uninitialized prim::TupleUnpack prim::ListUnpack
    prim::ModuleContainerIndex""".split()
)
_CONVERSIONS = {"aten::Int": "int", "aten::Float": "float", "aten::Bool": "bool",
                "aten::str": "str", "aten::Complex": "complex", "prim::Print": "print",
                "aten::sorted": "sorted"}
_IMPLICIT = {"aten::IntImplicit": "int", "aten::FloatImplicit": "float",
             "aten::ComplexImplicit": "complex", "aten::ScalarImplicit": "number"}


def is_statement(node: Node) -> bool:
    """Whether a node is never written inside another expression."""
    return node.kind in _STATEMENTS


def expression_text(node: Node, texts: list[str]) -> str:
    """The expression of a node whose inputs have these texts."""
    printer = _PRINTERS.get(node.kind)
    if printer is not None:
        return printer(node, texts)
    if node.kind in _CONVERSIONS and (node.kind != "aten::sorted" or len(texts) == 1):
        return f"{_CONVERSIONS[node.kind]}({', '.join(texts)})"
    if node.kind in _IMPLICIT:
        return f"annotate({_IMPLICIT[node.kind]}, {texts[0]})"
    namespace, _, name = node.kind.partition("::")
    function = f"torch.{name}" if namespace == "aten" else f"ops.{namespace}.{name}"
    positional = len(node.positional)
    arguments = texts[:positional]
    arguments += [f"{k}={t}" for k, t in zip(node.kwarg_names, texts[positional:])]
    arguments = arguments[: len(arguments) - _trailing_defaults(node)]
    return f"{function}({', '.join(arguments)})"


def _trailing_defaults(node: Node) -> int:
    """How many of the last arguments are what the overload's schema gives by default."""
    if node.overload is None:
        return 0
    schema = next((s for s in schemas_of(node.kind) if s.overload == node.overload), None)
    if schema is None or len(schema.formals) != len(node.inputs):
        return 0
    count = 0
    for formal, value in zip(reversed(schema.formals), reversed(node.inputs)):
        if formal.default is ... or not _is_default(value, formal.default):
            break
        count += 1
    return count


def _is_default(value: Value, default: object) -> bool:
    if value.is_constant:
        found = value.constant
        if isinstance(found, (bool, int, float)) and type(found) is not type(default):
            return False  # 1 and 1.0 and True are equal, and mean different calls
        if isinstance(found, list) and isinstance(default, (list, tuple)):
            return list(found) == list(default)
        return found == default and (found is None) is (default is None)
    return False  # a list that is constructed is printed, whatever is in it


def _get_attr(node: Node, texts: list[str]) -> str:
    name = node.attributes["name"]
    if not name.isidentifier():
        return f'getattr({texts[0]}, "{name}")'
    return f"{_base(texts[0])}.{name}"


def _base(text: str) -> str:
    """The text of an object whose attribute is asked for, or that is indexed."""
    return text if text.isidentifier() else f"({text})"


def _call_method(node: Node, texts: list[str]) -> str:
    arguments = "".join(f"{t}, " for t in texts[1:])
    return f"({texts[0]}).{node.attributes['name']}({arguments})"


def _call_function(node: Node, texts: list[str]) -> str:
    return f"{texts[0]}({''.join(f'{t}, ' for t in texts[1:])})"


def _tuple_construct(node: Node, texts: list[str]) -> str:
    type_ = node.output.type
    if isinstance(type_, TupleType) and type_.name is not None:
        return f"{type_.name}({', '.join(texts)})"
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"


def _list_construct(node: Node, texts: list[str]) -> str:
    type_ = node.output.type
    text = f"[{', '.join(texts)}]"
    element = type_.element if isinstance(type_, ListType) else types.Tensor
    plain = bool(texts) and all(_same(v.type, element) for v in node.inputs)
    if plain and not _refined(element):
        return text
    return f"annotate({type_.annotation()}, {text})"


def _refined(element: Type) -> bool:
    """Whether the text of a list or dict alone would not tell its elements' type."""
    return isinstance(element, OptionalType) or element == types.Number


def _same(found: Type, wanted: Type) -> bool:
    return found.annotation() == wanted.annotation()


def _dict_construct(node: Node, texts: list[str]) -> str:
    type_ = node.output.type
    text = "{%s}" % ", ".join(f"{k}: {v}" for k, v in zip(texts[::2], texts[1::2]))
    plain = bool(texts) and all(_same(v.type, type_.key) for v in node.inputs[::2])
    plain = plain and all(_same(v.type, type_.value) for v in node.inputs[1::2])
    if plain and not _refined(type_.value):
        return text
    return f"annotate({type_.annotation()}, {text})"


def _isinstance(node: Node, texts: list[str]) -> str:
    asked = [t.annotation() for t in node.attributes["types"]]
    listed = asked[0] if len(asked) == 1 else f"({', '.join(asked)})"
    return f"isinstance({texts[0]}, {listed})"


def _raise(node: Node, texts: list[str]) -> str:
    # A second argument of None is the default.
    if len(texts) == 2 and texts[1] == "None":
        texts = texts[:1]
    return f"ops.prim.RaiseException({', '.join(texts)})"


def _to_list(node: Node, texts: list[str]) -> str:
    return f"annotate({node.output.type.annotation()}, {texts[0]}.tolist())"


_PRINTERS = {
    "prim::GetAttr": _get_attr,
    "prim::CallMethod": _call_method,
    "prim::CallFunction": _call_function,
    "prim::TupleConstruct": _tuple_construct,
    "prim::ListConstruct": _list_construct,
    "prim::DictConstruct": _dict_construct,
    "prim::isinstance": _isinstance,
    "prim::RaiseException": _raise,
    "prim::tolist": _to_list,
    "prim::TupleIndex": lambda node, texts: f"({texts[0]})[{texts[1]}]",
    "prim::TupleSlice": lambda node, texts: (
        f"({texts[0]})[{node.attributes['beg']}:{node.attributes['end']}]"
    ),
    "aten::__getitem__": lambda node, texts: f"{_base(texts[0])}[{texts[1]}]",
    "prim::TupleUnpack": lambda node, texts: texts[0],
    "prim::ListUnpack": lambda node, texts: texts[0],
    "prim::EnumName": lambda node, texts: f"({texts[0]}).name",
    "prim::EnumValue": lambda node, texts: f"({texts[0]}).value",
    "prim::unchecked_cast": lambda node, texts: (
        f"unchecked_cast({node.output.type.annotation()}, {texts[0]})"
    ),
    "prim::PythonOp": lambda node, texts: f"^{node.attributes['name']}()({', '.join(texts)})",
    "prim::Uninitialized": lambda node, texts: f"uninitialized({node.output.type.annotation()})",
    "prim::CreateObject": lambda node, texts: (
        f"{node.output.type.annotation()}.__new__({node.output.type.annotation()})"
    ),
    "prim::ModuleContainerIndex": lambda node, texts: f"{_base(texts[0])}[{texts[1]}]",
}


def constant_text(value: object, stored: Callable[[object], str]) -> str:
    """A constant as the code text spells it. `stored` names what a text cannot hold, a tensor or
    an object, as `CONSTANTS.cN`."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, complex):
        return format_complex(value)
    if isinstance(value, str):
        return quote(value) if value.isascii() else stored(value)
    if isinstance(value, DeviceValue):
        return f'torch.device("{value}")'
    if isinstance(value, EnumValue):
        return repr(value)
    if isinstance(value, Function):
        return value.name
    if isinstance(value, list):
        text = "[%s]" % ", ".join((constant_text(v, stored) for v in value))
        if value or not isinstance(value, TypedList) or value.element is None:
            return text
        return f"annotate(List[{value.element.annotation()}], [])"
    if isinstance(value, tuple):
        texts = [constant_text(v, stored) for v in value]
        return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
    if isinstance(value, dict):
        text = "{%s}" % ", ".join(
            f"{constant_text(k, stored)}: {constant_text(v, stored)}" for k, v in value.items()
        )
        if value or not isinstance(value, TypedDict) or value.key is None:
            return text
        return f"annotate(Dict[{value.key.annotation()}, {value.value.annotation()}], {{}})"
    return stored(value)


_COMPARED = 1 << 16  # bytes of a tensor that are looked at to find its equals


def stored_key(value: object) -> object:
    """What constants of the table that are the same have in common: small tensors their values."""
    if isinstance(value, str):
        return ("text", value)
    if not isinstance(value, TensorData):
        return id(value)
    geometry = (str(value.storage.dtype), value.sizes, value.strides, value.requires_grad)
    if value.problem is None and value.storage.array.nbytes <= _COMPARED:
        return (*geometry, value.numpy().tobytes())
    return (*geometry, value.offset, id(value.storage))
