"""Which values of a Graph may share memory, as far as passes must know: whom does a write reach?"""

from __future__ import annotations

from lowering.graph import Block, Graph, Node, Value
from lowering.graph_effects import is_in_place
from lowering.types import (
    DictType, ListType, OptionalType, TensorType, TupleType, Type, UnionType, contained,
)

# Operators whose result may be a window on an argument, or the argument itself.
_VIEWS = frozenset(
    """view view_as reshape reshape_as _unsafe_view expand expand_as permute transpose t numpy_T
    swapaxes swapdims movedim moveaxis select slice narrow unsqueeze squeeze flatten unflatten
    diagonal unfold as_strided alias detach contiguous to type_as float double half int long bool
    bfloat16 cpu split split_with_sizes chunk unbind tensor_split hsplit vsplit dsplit real imag
    view_as_real view_as_complex ravel broadcast_to broadcast_tensors meshgrid dropout
    feature_dropout alpha_dropout mT mH adjoint conj resolve_conj resolve_neg atleast_1d
    atleast_2d atleast_3d positive lift lift_fresh values indices data requires_grad_ tile
    __getitem__ get items keys list dict copy sorted append insert extend _set_item pop popitem
    setdefault update add_ wait expand_copy native_dropout nan_to_num clamp index""".split()
)
_LIST_MUTATIONS = frozenset(
    """append extend insert pop popitem clear remove reverse _set_item Delete __delitem__ update
    setdefault sort add_ mul_""".split()
)
# They pass values through without looking at them.
_CARRIERS = frozenset(
    """prim::TupleConstruct prim::TupleUnpack prim::TupleIndex prim::TupleSlice
    prim::ListConstruct prim::ListUnpack prim::DictConstruct prim::unchecked_cast prim::data
    prim::unchecked_unwrap_optional""".split()
)


class Aliases:
    """Sets of values that may share memory, in one graph; conservative, insensitive to order."""

    def __init__(self, graph: Graph) -> None:
        self._parent: dict[Value, Value] = {}
        self._written: set[Value] = set()
        self._visit(graph.block)
        self._written = {self._root(v) for v in self._written}

    def is_written(self, value: Value) -> bool:
        """Whether any node of the graph may write into the memory of `value`."""
        return self._root(value) in self._written

    @property
    def anything_written(self) -> bool:
        return bool(self._written)

    def _root(self, value: Value) -> Value:
        while value in self._parent:
            value = self._parent[value]
        return value

    def _join(self, a: Value, b: Value) -> None:
        if not (has_memory(a.type) and has_memory(b.type)):
            return
        a, b = self._root(a), self._root(b)
        if a is not b:
            self._parent[a] = b

    def _visit(self, block: Block) -> None:
        for node in block.nodes:
            self._node(node)
            for inner in node.blocks:
                self._visit(inner)
            if node.kind == "prim::If":
                for inner in node.blocks:
                    for value, output in zip(inner.outputs, node.outputs):
                        self._join(value, output)
            elif node.kind == "prim::Loop":
                body = node.blocks[0]
                for i, output in enumerate(node.outputs):
                    self._join(node.inputs[i + 2], output)
                    self._join(body.params[i + 1], output)
                    self._join(body.outputs[i + 1], output)

    def _node(self, node: Node) -> None:
        name = node.kind.partition("::")[2]
        if _is_opaque(node):
            # What a call does with its arguments is not known: it may write and keep them all.
            for value in node.inputs:
                self._written.add(value)
                for output in node.outputs:
                    self._join(value, output)
        elif node.kind in _CARRIERS or name in _VIEWS or is_in_place(node):
            for value in node.inputs:
                for output in node.outputs:
                    self._join(value, output)
            if name in _LIST_MUTATIONS:
                for value in node.inputs[1:]:
                    self._join(value, node.inputs[0])
        elif node.kind == "prim::SetAttr":
            self._written.add(node.inputs[1])  # it is reachable from outside from now on
        if node.inputs and (is_in_place(node) or name in _LIST_MUTATIONS):
            self._written.add(node.inputs[0])
        out = node.keywords.get("out")
        if out is not None:
            self._written.add(out)
        if name in ("batch_norm", "instance_norm") and _may_train(node):
            self._written.update(node.inputs[3:5])


def _is_opaque(node: Node) -> bool:
    if node.kind in ("prim::CallMethod", "prim::CallFunction", "prim::PythonOp", "prim::fork",
                     "prim::Exit", "prim::Enter"):
        return True
    return node.kind.partition("::")[0] not in ("aten", "prim", "torchvision")


def _may_train(node: Node) -> bool:
    training = node.keywords.get("training")
    if training is None and len(node.positional) > 5:
        training = node.positional[5]
    return training is None or not training.is_constant or training.constant is not False


def has_memory(type_: Type) -> bool:
    """Whether values of a type can be written into, or hold such values."""
    if isinstance(type_, (TensorType, ListType, DictType)):
        return True
    if isinstance(type_, (OptionalType, TupleType, UnionType)):
        return any(map(has_memory, contained(type_)))
    return str(type_) not in ("int", "float", "bool", "str", "NoneType", "Device", "Scalar",
                              "complex")
