"""The Graph: TorchScript's intermediate representation.

A Graph is SSA: a Block has parameters, nodes in order, and outputs (the block's `return`); a Node
has a kind, inputs, outputs, attributes and nested blocks. A value may be used by any later node of
its block and by the blocks nested in them. Every change goes through `Builder`
(lowering/graph_builder.py), which keeps the use lists right.

Node kinds, beside the operators (`aten::add`, `torchvision::nms`; `prim::min`, `prim::dtype`):

    prim::Constant[value=V]()            V: None, bool, int, float, complex, str, TensorData, list,
                                         EnumValue, DeviceValue, Function, ScriptObject
    prim::GetAttr[name=N](obj)           an attribute as it is now
    prim::SetAttr[name=N](obj, v)        no output
    prim::CallMethod[name=N](obj, *args) a method of the object's class
    prim::CallFunction(fn, *args)        fn is a constant that holds a Function
    prim::PythonOp[name=N, value=F](*xs) the Python function F, which is not compiled
    prim::CreateObject()                 a fresh object of the output's class, attributes unset;
                                         prim::CallMethod[name="__init__"] follows
    prim::TupleConstruct(*xs)            also NamedTuples: the output's type says
    prim::TupleUnpack(t) -> *xs          prim::TupleIndex(t, i)   prim::TupleSlice[beg, end](t)
    prim::ListConstruct(*xs)             prim::ListUnpack(l) -> *xs: raises unless the length fits
    prim::DictConstruct(k0, v0, k1, v1 ...)
    prim::If(cond) -> *ys                block0 where cond (bool) is true, block1 otherwise; the
                                         outputs are those of the block that ran
    prim::Loop(max, cond, *xs) -> *xs    one block(i, *xs) -> (cond, *xs); it runs while i < max
                                         and cond; i counts from 0; the condition is tested first
    prim::Uninitialized()                a value that no path reads
    prim::unchecked_cast(x)              x, known to be of the output's type (a refined Optional)
    prim::isinstance[types=[...]](x)     bool
    prim::RaiseException(msg, cls?)      cls: None or the exception's qualified name; no output
    prim::Print(*xs)                     no output
    prim::Enter(obj), prim::Exit(obj)    `with obj:`; Enter's output is the `as` value
    prim::fork[Subgraph=Graph](*xs)      Future of the subgraph applied to xs
    prim::EnumName(e), prim::EnumValue(e)
    prim::tolist[type=T](tensor)         nested list of the output's type

Operators are `namespace::name` without an overload. `kwarg_names` names the last inputs, those the
text gave by keyword; the inputs before them are positional. Arguments the text left out are not
there: whoever resolves the overload fills in the schema's defaults. `overload` is None until then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterator, NamedTuple

from lowering import types
from lowering.graph_print import print_graph
from lowering.objects import (
    DeviceValue, EnumValue, NamedTupleValue, ScriptObject, TensorData, TypedDict,
)
from lowering.types import Type


@dataclass(frozen=True)
class SourceRange:
    """A place in source text: 1-based line, 0-based column, and the text of that line.

    A place in an archive's code may know where the user wrote what stands there (`original`); it
    then prints as that.
    """

    file: str
    line: int
    column: int
    text: str = ""
    find_original: Callable[[], SourceRange | None] | None = field(
        default=None, compare=False, repr=False
    )
    scope: str = ""  # the modules whose calls were traced, as in '__module.a/__module.a.b'

    @property
    def original(self) -> SourceRange:
        """The user's own place if it is known, this one otherwise."""
        found = self.find_original() if self.find_original is not None else None
        return self if found is None else found

    def __str__(self) -> str:
        place = self.original
        return f"{place.file}:{place.line}:{place.column}"

    def excerpt(self) -> str:
        """The source line with a caret below it; empty if the text is not known."""
        place = self.original
        if not place.text:
            return ""
        return f"    {place.text}\n    {' ' * place.column}^"


class Use(NamedTuple):
    """Input `index` of a node, or output `index` of a block."""

    user: Node | Block
    index: int


class Value:
    """What a node or a block's parameter list defines. `name` is unique in the graph."""

    __slots__ = ("name", "type", "node", "block", "uses")

    def __init__(self, name: str, type: Type, node: Node | None, block: Block | None) -> None:
        self.name = name
        self.type = type
        self.node = node  # the defining node, None for a block's parameter
        self.block = block  # the block whose parameter it is, None otherwise
        self.uses: dict[Use, None] = {}  # an ordered set

    @property
    def has_name(self) -> bool:
        """Whether a person chose the name; otherwise it is a number."""
        return not self.name.isdigit()

    @property
    def is_constant(self) -> bool:
        return self.node is not None and self.node.kind == "prim::Constant"

    @property
    def constant(self) -> object:
        """The value of the prim::Constant that defines this; TypeError if something else does."""
        if not self.is_constant:
            raise TypeError(f"%{self.name} is not a constant")
        return self.node.attributes.get("value")

    def __repr__(self) -> str:
        return f"%{self.name} : {self.type}"


class Node:
    """One operation. Read freely, change through a Builder."""

    __slots__ = (
        "kind", "inputs", "outputs", "attributes", "blocks", "range", "kwarg_names", "overload",
        "owner",
    )

    def __init__(self, kind: str, owner: Block, range: SourceRange | None) -> None:
        self.kind = kind
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.attributes: dict[str, object] = {}
        self.blocks: list[Block] = []
        self.range = range
        self.kwarg_names: tuple[str, ...] = ()
        self.overload: str | None = None
        self.owner = owner

    @property
    def output(self) -> Value:
        """The only output; ValueError if there is not exactly one."""
        if len(self.outputs) != 1:
            raise ValueError(f"{self.kind} has {len(self.outputs)} outputs, not one")
        return self.outputs[0]

    @property
    def positional(self) -> list[Value]:
        return self.inputs[: len(self.inputs) - len(self.kwarg_names)]

    @property
    def keywords(self) -> dict[str, Value]:
        count = len(self.kwarg_names)
        return dict(zip(self.kwarg_names, self.inputs[len(self.inputs) - count :]))

    def __repr__(self) -> str:
        return f"<{self.kind} -> {', '.join('%' + v.name for v in self.outputs)}>"


class Block:
    """A straight run of nodes. `owner` is the node it is nested in, None for the graph's block."""

    __slots__ = ("params", "nodes", "outputs", "owner", "graph")

    def __init__(self, graph: Graph, owner: Node | None) -> None:
        self.graph = graph
        self.owner = owner
        self.params: list[Value] = []
        self.nodes: list[Node] = []
        self.outputs: list[Value] = []

    def walk(self) -> Iterator[Node]:
        """All nodes in order, each before those nested in it."""
        for node in self.nodes:
            yield node
            for block in node.blocks:
                yield from block.walk()


class Graph:
    """A function's body. `constants` counts the interned constants at the head of the block."""

    __slots__ = ("block", "_names", "_next_number", "_next_suffix", "_interned", "constants")

    def __init__(self) -> None:
        self.block = Block(self, None)
        self._names: set[str] = set()
        self._next_number = 0
        self._next_suffix: dict[str, int] = {}
        self._interned: dict[tuple, Value] = {}
        self.constants = 0

    @property
    def inputs(self) -> list[Value]:
        return self.block.params

    @property
    def outputs(self) -> list[Value]:
        return self.block.outputs

    def nodes(self) -> Iterator[Node]:
        """All nodes in order, each before those nested in it."""
        return self.block.walk()

    def unique_name(self, hint: str | None) -> str:
        """`hint`, or `hint.N` where it is taken; a fresh number without a hint."""
        if not hint or hint.isdigit():
            while str(self._next_number) in self._names:
                self._next_number += 1
            name = str(self._next_number)
        elif hint not in self._names:
            name = hint
        else:
            base, dot, tail = hint.rpartition(".")
            base = base if dot and tail.isdigit() else hint
            number = self._next_suffix.get(base, 1)
            while f"{base}.{number}" in self._names:
                number += 1
            self._next_suffix[base] = number + 1
            name = f"{base}.{number}"
        self._names.add(name)
        return name

    def __str__(self) -> str:
        return print_graph(self)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function; `default` is `Parameter.REQUIRED` where there is none."""

    name: str
    type: Type
    default: object = ...

    @property
    def required(self) -> bool:
        return self.default is ...


@dataclass(eq=False)
class Function:
    """A function or method: its signature, and its graph, which is built when first asked for.

    `parameters` of a method begin with the object itself. `build` may raise an AotError. Functions
    are compared by identity.
    """

    name: str  # qualified: '__torch__.torch.nn.functional.relu', '__torch__.M.forward'
    parameters: list[Parameter]
    returns: Type
    build: Callable[[], Graph] | None = None
    range: SourceRange | None = None
    _graph: Graph | None = field(default=None, repr=False)
    # Makes the graph as TorchScript shows it, where the one to run is numbered differently.
    build_shown: Callable[[], Graph] | None = field(default=None, repr=False)
    _shown: Graph | None = field(default=None, repr=False)

    def as_shown(self) -> Function:
        """The function with its shown graph: what its code is printed from."""
        if self.build_shown is None:
            return self
        return Function(self.name, self.parameters, self.returns, _graph=self.shown_graph)

    @property
    def shown_graph(self) -> Graph:
        """The graph with TorchScript's names and numbers: what people look at."""
        if self.build_shown is None:
            return self.graph
        if self._shown is None:
            self._shown = self.build_shown()
        return self._shown

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            if self.build is None:
                raise ValueError(f"{self.name} is declared without a body")
            self._graph = self.build()
            self.build = None
        return self._graph

    @graph.setter
    def graph(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def is_built(self) -> bool:
        return self._graph is not None


def type_of_value(value: object) -> Type:
    """The type of a constant of any kind, as far as the value tells; TypeError if it does not."""
    simple = {type(None): types.NoneT, bool: types.Bool, int: types.Int, float: types.Float,
              str: types.Str, complex: types.Complex}.get(value.__class__)
    if simple is not None:
        return simple
    if isinstance(value, TensorData):
        dtype = value.storage.dtype
        return types.TensorType(dtype, value.sizes, value.strides, value.requires_grad, "cpu")
    if isinstance(value, (ScriptObject, EnumValue, NamedTupleValue)):
        return value.type
    if isinstance(value, DeviceValue):
        return types.Device
    if isinstance(value, Function):
        return types.FunctionType(value)
    if isinstance(value, list):
        element = getattr(value, "element", None)
        if element is None:
            element = type_of_value(value[0]) if value else types.Tensor
        return types.ListType(types.Tensor if isinstance(element, types.TensorType) else element)
    if isinstance(value, tuple):
        return types.TupleType(tuple(type_of_value(v) for v in value))
    if isinstance(value, dict):
        if isinstance(value, TypedDict) and value.key is not None:
            return types.DictType(value.key, value.value)
        if value:
            key, item = next(iter(value.items()))
            return types.DictType(type_of_value(key), type_of_value(item))
        return types.DictType(types.Str, types.Tensor)
    raise TypeError(f"a {type(value).__name__} has no TorchScript type")
