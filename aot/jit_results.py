"""What of a call's results is an argument itself, or lies in the memory of one.

Compiled code returns tensors of its own. A result that is an argument is put in its place; where a
result is a window on an argument, or on what a module holds, the program runs operator by operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lowering.graph import Graph, Value
from lowering.objects import NamedTupleValue, TypedDict, TypedList
from lowering.types import TensorType

Path = tuple

# Their results are their first argument, or lie in its memory, or may do so.
_WINDOWS = frozenset(
    f"aten::{name}" for name in
    """view view_as reshape reshape_as expand expand_as permute transpose t numpy_T swapaxes
    swapdims movedim moveaxis select slice narrow unsqueeze squeeze flatten unflatten diagonal
    unfold alias detach contiguous to type_as split split_with_sizes chunk unbind tensor_split ravel
    broadcast_to mT real imag positive __getitem__""".split())
_SAME = frozenset("prim::unchecked_cast prim::unchecked_unwrap_optional aten::_unwrap_optional"
                  .split())
_PARTS = frozenset("prim::TupleUnpack prim::TupleIndex prim::ListUnpack".split())


@dataclass
class Shared:
    """`passed`: which results are which inputs of the graph, by their paths. `windows`: whether
    something in the results is a window on memory that the caller knows."""

    passed: dict[Path, int] = field(default_factory=dict)
    windows: bool = False
    rebound: set[str] = field(default_factory=set)


def shared_results(graph: Graph, rebound: set[str]) -> Shared:
    """What the results of a graph, whose calls are inlined, share with the caller. Attributes in
    `rebound` are set anew by each call, and never written into."""
    found = Shared(rebound=rebound)
    for value in graph.outputs:  # there is one
        _look(value, graph, (), found)
    return found


def _look(value: Value, graph: Graph, path: Path, found: Shared) -> None:
    if value in graph.inputs:
        found.passed[path] = graph.inputs.index(value)
        return
    node = value.node
    if node is None:
        return
    if node.kind in ("prim::TupleConstruct", "prim::ListConstruct"):
        for k, part in enumerate(node.inputs):
            _look(part, graph, (*path, k), found)
    elif node.kind == "prim::DictConstruct":
        for key, part in zip(node.inputs[::2], node.inputs[1::2]):
            if key.is_constant:
                _look(part, graph, (*path, key.constant), found)
            else:
                found.windows = found.windows or _is_window(part, graph, found.rebound)
    elif node.kind in _SAME:
        _look(node.inputs[0], graph, path, found)
    else:
        found.windows = found.windows or _is_window(value, graph, found.rebound)


def _is_window(value: Value, graph: Graph, rebound: set[str]) -> bool:
    """Whether a value may lie in the memory of an input or an attribute; loops are trusted to turn
    at least once."""
    if value in graph.inputs:
        return True
    node = value.node
    if node is None:
        return False
    if node.kind == "prim::GetAttr":
        return isinstance(value.type, TensorType) and node.attributes["name"] not in rebound
    if node.kind == "prim::If":
        k = node.outputs.index(value)
        return any(_is_window(block.outputs[k], graph, rebound) for block in node.blocks)
    if node.kind not in _WINDOWS | _SAME | _PARTS:
        return False
    maker = node.inputs[0].node
    if maker is not None and maker.kind in ("prim::TupleConstruct", "prim::ListConstruct"):
        return any(_is_window(part, graph, rebound) for part in maker.inputs)
    return _is_window(node.inputs[0], graph, rebound)


def put_passed(result: Any, passed: dict[Path, int], inputs: list, path: Path = ()) -> Any:
    """The result with the inputs themselves where they were passed on."""
    if path in passed:
        return inputs[passed[path]]
    if isinstance(result, NamedTupleValue):
        return NamedTupleValue([put_passed(v, passed, inputs, (*path, k))
                                for k, v in enumerate(result)], result.type)
    if isinstance(result, (TypedList, list)):
        for k, v in enumerate(result):
            result[k] = put_passed(v, passed, inputs, (*path, k))
        return result
    if isinstance(result, tuple):
        return tuple(put_passed(v, passed, inputs, (*path, k)) for k, v in enumerate(result))
    if isinstance(result, (TypedDict, dict)):
        for k, v in result.items():
            result[k] = put_passed(v, passed, inputs, (*path, k))
    return result
