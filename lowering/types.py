"""TorchScript's types.

Types are facts: frozen and compared by value. The exception is the classes an archive or a program
defines (`ClassType`, `InterfaceType`, `EnumType`): they are compared by identity, because two
archives may both define `__torch__.M` and mean different things.

`str(type)` is the spelling of TorchScript's graph text (`int[]`, `Tensor?`, `Dict(str, int)`);
`type.annotation()` is the spelling of its code text (`List[int]`, `Optional[Tensor]`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime import dtypes
from runtime.dtypes import DType

if TYPE_CHECKING:
    from lowering.graph import Function

# TorchScript's name of a tensor's element type in graph text <-> our dtype. A dtype this project
# does not compute with stands for itself as a string ("ComplexFloat").
SCALAR_NAMES: dict[str, DType] = {
    "Byte": dtypes.u8,
    "Char": dtypes.i8,
    "Short": dtypes.i16,
    "Int": dtypes.i32,
    "Long": dtypes.i64,
    "Half": dtypes.f16,
    "Float": dtypes.f32,
    "Double": dtypes.f64,
    "Bool": dtypes.bool_,
    "BFloat16": dtypes.bf16,
}
OTHER_SCALAR_NAMES = (
    "ComplexHalf", "ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32",
    "Float8_e5m2", "Float8_e4m3fn", "Float8_e5m2fnuz", "Float8_e4m3fnuz",
    "UInt16", "UInt32", "UInt64",
)
_NAME_OF_DTYPE = {d: n for n, d in SCALAR_NAMES.items()}


def scalar_name(dtype: DType | str) -> str:
    """TorchScript's name of an element type: f32 is 'Float'."""
    return dtype if isinstance(dtype, str) else _NAME_OF_DTYPE[dtype]


class Type:
    """Base of all types."""

    __slots__ = ()

    def annotation(self) -> str:
        """The type as TorchScript's code text spells it."""
        return str(self)


@dataclass(frozen=True)
class TensorType(Type):
    """A tensor; every field that is None is unknown. `sizes` and `strides` may hold None."""

    dtype: DType | str | None = None
    sizes: tuple[int | None, ...] | None = None
    strides: tuple[int | None, ...] | None = None
    requires_grad: bool | None = None
    device: str | None = None

    def __str__(self) -> str:
        if self.dtype is None:
            return "Tensor"
        name = scalar_name(self.dtype)
        if self.sizes is None:
            return name
        parts = ["*" if s is None else str(s) for s in self.sizes]
        if self.strides is not None and self.sizes:
            strides = ", ".join("*" if s is None else str(s) for s in self.strides)
            parts.append(f"strides=[{strides}]")
        if self.requires_grad is not None:
            parts.append(f"requires_grad={int(self.requires_grad)}")
        if self.device is not None:
            parts.append(f"device={self.device}")
        return f"{name}({', '.join(parts)})"

    def annotation(self) -> str:
        return "Tensor"


@dataclass(frozen=True)
class SimpleType(Type):
    """A type that is only its name: int, float, bool, str, NoneType, Device, Any ..."""

    name: str
    code_name: str = ""

    def __str__(self) -> str:
        return self.name

    def annotation(self) -> str:
        return self.code_name or self.name


@dataclass(frozen=True)
class ListType(Type):
    element: Type

    def __str__(self) -> str:
        return f"{self.element}[]"

    def annotation(self) -> str:
        return f"List[{self.element.annotation()}]"


@dataclass(frozen=True)
class DictType(Type):
    key: Type
    value: Type

    def __str__(self) -> str:
        return f"Dict({self.key}, {self.value})"

    def annotation(self) -> str:
        return f"Dict[{self.key.annotation()}, {self.value.annotation()}]"


@dataclass(frozen=True)
class TupleType(Type):
    """A tuple; with `name` and `fields` a NamedTuple (`name` is its qualified name).

    `defaults` are the values of the last fields that have one; they are no part of the identity.
    """

    elements: tuple[Type, ...]
    name: str | None = None
    fields: tuple[str, ...] | None = None
    defaults: tuple = field(default=(), compare=False)

    def __str__(self) -> str:
        if self.fields is not None:
            inner = ", ".join(f"{f} : {t}" for f, t in zip(self.fields, self.elements))
            return f"NamedTuple({inner})"
        return f"({', '.join(map(str, self.elements))})"

    def annotation(self) -> str:
        if self.name is not None:
            return self.name
        return "Tuple[%s]" % (", ".join(t.annotation() for t in self.elements) or "()")


@dataclass(frozen=True)
class OptionalType(Type):
    element: Type

    def __str__(self) -> str:
        return f"{self.element}?"

    def annotation(self) -> str:
        return f"Optional[{self.element.annotation()}]"


@dataclass(frozen=True)
class UnionType(Type):
    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"Union({', '.join(map(str, self._in_order()))})"

    def annotation(self) -> str:
        return f"Union[{', '.join(t.annotation() for t in self._in_order())}]"

    def _in_order(self) -> list[Type]:
        """The elements as PyTorch lists them: by kind, whatever order they were written in."""
        def rank(t: Type) -> tuple[int, str]:
            kind = type(t) if not isinstance(t, SimpleType) else t
            return _UNION_ORDER.index(kind) if kind in _UNION_ORDER else -1, t.annotation()

        return sorted(self.elements, key=rank)


@dataclass(frozen=True)
class FutureType(Type):
    element: Type

    def __str__(self) -> str:
        return f"Future[{self.element}]"

    def annotation(self) -> str:
        return f"Future[{self.element.annotation()}]"


@dataclass(frozen=True)
class AwaitType(Type):
    element: Type

    def __str__(self) -> str:
        return f"Await[{self.element}]"

    def annotation(self) -> str:
        return f"Await[{self.element.annotation()}]"


@dataclass(frozen=True, eq=False)
class FunctionType(Type):
    """The type of a `prim::Constant` that holds a Function (its value)."""

    function: Function

    def __str__(self) -> str:
        return "Function"

    def annotation(self) -> str:
        return "Function"


@dataclass(eq=False)
class ClassType(Type):
    """A class of the program; a module's class has `is_module` set.

    `attributes` are in declaration order, which is also the order of pickled attributes.
    `constants` are the `Final` ones; their values stand in the class, not in its objects.
    `parameters` and `buffers` name the attributes `parameters()` and `buffers()` list.
    """

    name: str
    is_module: bool = False
    attributes: dict[str, Type] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)
    constant_types: dict[str, Type] = field(default_factory=dict)
    methods: dict[str, Function] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    forward_pre_hooks: tuple[str, ...] = ()
    forward_hooks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"ClassType({self.name!r})"


@dataclass(eq=False)
class InterfaceType(Type):
    """An interface: the methods any implementing class has. A module interface has `is_module`."""

    name: str
    is_module: bool = False
    methods: dict[str, Function] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"InterfaceType<{self.name.rpartition('.')[2]}>"

    def annotation(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"InterfaceType({self.name!r})"


@dataclass(eq=False)
class EnumType(Type):
    """An enumeration; `members` maps each name to its value, all of type `value_type`."""

    name: str
    value_type: Type
    members: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"Enum<{self.name}>"

    def annotation(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"EnumType({self.name!r})"


Tensor = TensorType()
Int = SimpleType("int")
Float = SimpleType("float")
Bool = SimpleType("bool")
Str = SimpleType("str")
Complex = SimpleType("complex")
NoneT = SimpleType("NoneType")
Number = SimpleType("Scalar", "number")
Device = SimpleType("Device")
Any = SimpleType("Any")
AnyList = SimpleType("list")
AnyTuple = SimpleType("tuple")
AnyClass = SimpleType("AnyClassType")
AnyEnum = SimpleType("AnyEnumType")
Generator = SimpleType("Generator")
Stream = SimpleType("Stream")
Storage = SimpleType("Storage")
Capsule = SimpleType("Capsule")
QScheme = SimpleType("QScheme")
_UNION_ORDER = (TensorType, TupleType, ListType, DictType, Float, Complex, Int, NoneT, Str, Bool,
                Device, Number)  # measured

# Every name that stands for a type without arguments, in either spelling.
NAMED_TYPES: dict[str, Type] = {
    "Tensor": Tensor, "int": Int, "float": Float, "bool": Bool, "str": Str, "complex": Complex,
    "NoneType": NoneT, "None": NoneT, "Scalar": Number, "number": Number, "Device": Device,
    "Any": Any, "AnyClassType": AnyClass, "AnyEnumType": AnyEnum, "Generator": Generator,
    "Stream": Stream, "Storage": Storage, "Capsule": Capsule, "QScheme": QScheme,
    "list": AnyList, "tuple": AnyTuple,
    # The code text writes dtypes, layouts and memory formats as integers.
    "Layout": Int, "ScalarType": Int, "MemoryFormat": Int,
}


def is_subtype(a: Type, b: Type) -> bool:
    """Whether a value of type `a` may stand where `b` is asked for, without conversion."""
    if a is b or a == b or b == Any:
        return True
    if isinstance(b, OptionalType):
        if isinstance(a, OptionalType):
            return is_subtype(a.element, b.element)
        return a == NoneT or is_subtype(a, b.element)
    if isinstance(a, UnionType):
        return all(is_subtype(x, b) for x in a.elements)
    if isinstance(a, OptionalType):
        return is_subtype(a.element, b) and is_subtype(NoneT, b)
    if isinstance(b, UnionType):
        return any(is_subtype(a, x) for x in b.elements)
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        return _refines(a, b)
    if isinstance(a, TupleType) and isinstance(b, TupleType):
        if b.fields is not None and (a.fields != b.fields or a.name != b.name):
            return False
        return len(a.elements) == len(b.elements) and all(map(is_subtype, a.elements, b.elements))
    if isinstance(a, (ListType, DictType, FutureType)) and type(a) is type(b):
        return _containers_agree(a, b)
    if b == Number:
        return a in (Int, Float, Complex)
    if isinstance(b, InterfaceType) and isinstance(a, (ClassType, InterfaceType)):
        return all(m in a.methods for m in b.methods)
    if b == AnyList:
        return isinstance(a, ListType)
    if b == AnyTuple:
        return isinstance(a, TupleType)
    if b == AnyClass:
        return isinstance(a, ClassType)
    if b == AnyEnum:
        return isinstance(a, EnumType)
    return False


def _refines(a: TensorType, b: TensorType) -> bool:
    for name in ("dtype", "sizes", "strides", "requires_grad", "device"):
        wanted = getattr(b, name)
        if wanted is not None and wanted != getattr(a, name):
            return False
    return True


def _containers_agree(a: Type, b: Type) -> bool:
    # Containers are invariant, but two spellings of a tensor are the same element.
    if isinstance(a, DictType):
        return _same(a.key, b.key) and _same(a.value, b.value)
    return _same(a.element, b.element)


def _same(a: Type, b: Type) -> bool:
    return a == b or (isinstance(a, TensorType) and isinstance(b, TensorType) and _refines(a, b))


def unify(a: Type, b: Type) -> Type | None:
    """The type of a value that is an `a` on one path and a `b` on the other; None if there is none.

    Optional arises from a value and None; unequal tensors meet as `Tensor`.
    """
    if a == b:
        return a
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        return Tensor
    if is_subtype(a, b):
        return b
    if is_subtype(b, a):
        return a
    if a == NoneT or b == NoneT:
        other = b if a == NoneT else a
        return other if isinstance(other, OptionalType) else OptionalType(other)
    if isinstance(a, OptionalType) or isinstance(b, OptionalType):
        inner = unify(_without_none(a), _without_none(b))
        return None if inner is None else OptionalType(inner)
    if isinstance(a, TupleType) and isinstance(b, TupleType):
        if len(a.elements) != len(b.elements):
            return None
        parts = [unify(x, y) for x, y in zip(a.elements, b.elements)]
        return None if None in parts else TupleType(tuple(parts))
    if isinstance(a, (ListType, FutureType)) and type(a) is type(b):
        inner = unify(a.element, b.element)
        return type(a)(inner) if isinstance(inner, TensorType) else None
    return None


def union_of(a: Type, b: Type) -> UnionType:
    """The union of two types; those of unions in it are its own."""
    elements: list[Type] = []
    for t in (a, b):
        for e in t.elements if isinstance(t, UnionType) else (t,):
            if e not in elements:
                elements.append(e)
    return UnionType(tuple(elements))


def _without_none(t: Type) -> Type:
    return t.element if isinstance(t, OptionalType) else t


def contained(t: Type) -> tuple[Type, ...]:
    """The types directly inside a container type; empty for others."""
    if isinstance(t, (ListType, OptionalType, FutureType, AwaitType)):
        return (t.element,)
    if isinstance(t, DictType):
        return (t.key, t.value)
    if isinstance(t, (TupleType, UnionType)):
        return t.elements
    return ()
