"""Graph passes: a graph before, the graph after. A case without `after` must stay as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lowering import types
from lowering.graph import Function, Graph, Parameter
from lowering.graph_builder import Builder
from lowering.graph_passes.dead_code import drop_unused_results, eliminate_dead_code
from lowering.graph_passes.fold_batch_norm import fold_batch_norm
from lowering.graph_passes.fold_constants import fold_constants
from lowering.graph_passes.freeze import freeze_graphs
from lowering.graph_passes.inline import inline_calls
from lowering.graph_passes.share_common import share_common
from lowering.graph_text import parse_graph, print_graph
from lowering.graph_verify import verify_graph
from lowering.objects import ScriptObject, TensorData
from lowering.types import ClassType
from runtime.errors import CompileError


def after(change: Callable[[Graph], object], text: str, **names) -> str:
    """The text of a graph that a pass changed in place, and that is sound and settled."""
    graph = parse_graph(text, **names)
    verify_graph(graph)
    before = print_graph(graph)
    changed = change(graph)
    verify_graph(graph)
    result = print_graph(graph)
    assert bool(changed) == (result != before)
    assert not change(graph) and print_graph(graph) == result, "a second run changes it again"
    return result


def lines(text: str) -> str:
    """A graph's text with the indentation of this file taken off."""
    return print_graph(parse_graph(text, tensors=AnyTensors()))


class AnyTensors(dict):
    """Every tensor a text names, as one zero."""

    def get(self, name: str, default: object = None) -> object:
        return np.zeros((), np.float32)


# --- dead code ------------------------------------------------------------------------------------


def test_dead_nodes_go() -> None:
    found = after(
        eliminate_dead_code,
        """
        graph(%x : Tensor, %t : Tensor[]):
          %0 : int = prim::Constant[value=1]()
          %1 : int = prim::Constant[value=2]()
          %2 : Tensor = aten::relu(%x)
          %3 : Tensor = aten::add(%2, %x, %1)
          %4 : Tensor[] = aten::append(%t, %x)
          %5 : Tensor = aten::add_(%x, %x, %0)
          %6 : Tensor = aten::rand_like(%x)
          return (%x)
        """,
    )
    assert found == lines(
        """
        graph(%x : Tensor, %t : Tensor[]):
          %0 : int = prim::Constant[value=1]()
          %4 : Tensor[] = aten::append(%t, %x)
          %5 : Tensor = aten::add_(%x, %x, %0)
          %6 : Tensor = aten::rand_like(%x)
          return (%x)
        """
    )


LOOP = """
graph(%x : Tensor, %n : int, %c : bool):
  %0 : bool = prim::Constant[value=1]()
  %1 : int = prim::Constant[value=1]()
  %a : Tensor, %b : Tensor, %d : int = prim::Loop(%n, %0, %x, %x, %1)
    block0(%i : int, %p : Tensor, %q : Tensor, %r : int):
      %2 : Tensor = aten::relu(%p)
      %3 : Tensor = aten::neg(%q)
      %4 : int = aten::add(%r, %1)
      -> (%0, %2, %3, %4)
  return (%b)
"""


def test_carried_values_that_nothing_reads_go() -> None:
    expected = """
graph(%x : Tensor, %n : int, %c : bool):
  %0 : bool = prim::Constant[value=1]()
  %b : Tensor = prim::Loop(%n, %0, %x)
    block0(%i : int, %q : Tensor):
      %3 : Tensor = aten::neg(%q)
      -> (%0, %3)
  return (%b)
"""
    assert after(eliminate_dead_code, LOOP) == lines(expected)


def test_a_carried_value_that_another_needs_stays() -> None:
    text = LOOP.replace("aten::neg(%q)", "aten::mul(%q, %p)")
    found = after(eliminate_dead_code, text)
    assert "%a : Tensor, %b : Tensor = prim::Loop(%n, %0, %x, %x)" in found


def test_a_branch_with_nothing_to_do_goes_and_one_that_raises_stays() -> None:
    text = """
graph(%x : Tensor, %c : bool):
  %0 : str = prim::Constant[value="no"]()
  %1 : NoneType = prim::Constant()
   = prim::If(%c)
    block0():
      %2 : Tensor = aten::relu(%x)
      -> ()
    block1():
      EFFECT
      -> ()
  return (%x)
"""
    raising = text.replace("EFFECT", " = prim::RaiseException(%0, %1)")
    assert "RaiseException" in after(eliminate_dead_code, raising)
    idle = text.replace("      EFFECT\n", "")
    assert "prim::If" not in after(eliminate_dead_code, idle)


def test_unused_results_go_and_nodes_stay() -> None:
    found = after(
        drop_unused_results,
        """
        graph(%x : Tensor, %c : bool):
          %a : Tensor, %b : Tensor = prim::If(%c)
            block0():
              %0 : Tensor = aten::relu(%x)
              -> (%x, %0)
            block1():
              %1 : Tensor = aten::neg(%x)
              -> (%1, %x)
          return (%a)
        """,
    )
    assert "%a : Tensor = prim::If(%c)" in found and "aten::relu" in found


# --- constants ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, types_, values, expected",
    [
        ("aten::add", "int int int", "2 3", "5"),
        ("aten::sub", "float int float", "2.5 1", "1.5"),
        ("aten::remainder", "int int int", "-7 3", "2"),
        ("aten::floordiv", "int int int", "-7 2", "-4"),
        ("aten::lt", "int int bool", "2 3", "1"),
        ("aten::add", "str str str", '"a" "b"', '"ab"'),
        ("aten::Float", "int float", "3", "3."),
        ("aten::__not__", "bool bool", "0", "1"),
        ("aten::floordiv", "int int int", "1 0", None),  # raises when it runs
        ("aten::add", "int int int", "9223372036854775807 1", None),
        ("aten::Int", "str int", '"7"', None),
    ],
)
def test_numbers(kind: str, types_: str, values: str, expected: str | None) -> None:
    *given, result = types_.split()
    constants = [
        f"  %c{i} : {t} = prim::Constant[value={v}]()\n"
        for i, (t, v) in enumerate(zip(given, values.split()))
    ]
    inputs = ", ".join(f"%c{i}" for i in range(len(given)))
    text = f"graph():\n{''.join(constants)}  %y : {result} = {kind}({inputs})\n  return (%y)\n"
    found = after(lambda g: fold_constants(g) | eliminate_dead_code(g), text)
    assert (kind in found) == (expected is None)
    assert expected is None or f"[value={expected}]" in found


def test_a_known_branch_is_taken() -> None:
    found = after(
        lambda g: fold_constants(g) | eliminate_dead_code(g),
        """
        graph(%x : Tensor, %o : Tensor?):
          %0 : int = prim::Constant[value=3]()
          %1 : int = prim::Constant[value=2]()
          %n : NoneType = prim::Constant()
          %c : bool = aten::gt(%0, %1)
          %y : Tensor = prim::If(%c)
            block0():
              %d : bool = aten::__isnot__(%x, %n)
              %z : Tensor = prim::If(%d)
                block0():
                  %a : Tensor = aten::relu(%x)
                  -> (%a)
                block1():
                  -> (%x)
              -> (%z)
            block1():
              -> (%x)
          %e : bool = aten::__is__(%o, %n)
          %f : (Tensor, bool) = prim::TupleConstruct(%y, %e)
          return (%f)
        """,
    )
    assert found == lines(
        """
        graph(%x : Tensor, %o : Tensor?):
          %n : NoneType = prim::Constant()
          %a : Tensor = aten::relu(%x)
          %e : bool = aten::__is__(%o, %n)
          %f : (Tensor, bool) = prim::TupleConstruct(%a, %e)
          return (%f)
        """
    )


def test_a_loop_that_never_runs() -> None:
    text = LOOP.replace("prim::Loop(%n, %0", "prim::Loop(%z, %0").replace(
        "  %1 : int", "  %z : int = prim::Constant[value=0]()\n  %1 : int"
    )
    found = after(lambda g: fold_constants(g) | eliminate_dead_code(g), text)
    assert "prim::Loop" not in found and "return (%x)" in found


# --- common expressions ---------------------------------------------------------------------------

TWICE = """
graph(%x : Tensor, %c : bool):
  %0 : int = prim::Constant[value=0]()
  %1 : int = aten::size(%x, %0)
  %2 : int = aten::size(%x, %0)
  %a : Tensor = aten::relu(%x)
  %b : Tensor = aten::relu(%x)
  %y : Tensor = prim::If(%c)
    block0():
      %d : Tensor = aten::relu(%x)
      -> (%d)
    block1():
      -> (%a)
  %3 : (int, int, Tensor, Tensor) = prim::TupleConstruct(%1, %2, %b, %y)
WRITE  return (%3)
"""


def test_equal_things_are_computed_once() -> None:
    found = after(
        lambda g: share_common(g) | eliminate_dead_code(g), TWICE.replace("WRITE", "")
    )
    assert found.count("aten::relu") == 1 and found.count("aten::size") == 1
    assert "TupleConstruct(%1, %1, %a, %y)" in found


def test_nothing_is_shared_where_somebody_writes() -> None:
    text = TWICE.replace("WRITE", "  %4 : Tensor = aten::add_(%b, %0, %0)\n")
    found = after(lambda g: share_common(g) | eliminate_dead_code(g), text)
    assert found.count("aten::relu") == 3  # %b, and what If and the tuple join with it
    text = TWICE.replace("WRITE", "  %4 : Tensor = aten::add_(%x, %0, %0)\n")
    found = after(lambda g: share_common(g) | eliminate_dead_code(g), text)
    assert found.count("aten::relu") == 3


def test_random_numbers_are_not_shared() -> None:
    text = """
graph(%x : Tensor):
  %a : Tensor = aten::rand_like(%x)
  %b : Tensor = aten::rand_like(%x)
  %c : Tensor = aten::mul(%a, %b)
  return (%c)
"""
    assert after(share_common, text) == lines(text)


# --- batch norm -----------------------------------------------------------------------------------

NORM = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %b : Tensor = prim::Constant[value=<Tensor>]()
  %gamma : Tensor = prim::Constant[value=<Tensor>]()
  %beta : Tensor = prim::Constant[value=<Tensor>]()
  %mean : Tensor = prim::Constant[value=<Tensor>]()
  %var : Tensor = prim::Constant[value=<Tensor>]()
  %train : bool = prim::Constant[value=0]()
  %momentum : float = prim::Constant[value=0.10000000000000001]()
  %eps : float = prim::Constant[value=0.001]()
  %two : int = prim::Constant[value=2]()
  %0 : int[] = prim::ListConstruct(%two, %two)
  %1 : Tensor = aten::conv2d(%x, %w, %b, %0)
  %y : Tensor = aten::batch_norm(%1, %gamma, %beta, %mean, %var, %train, %momentum, %eps, %train)
  return (%y)
"""


def norm_tensors() -> dict[str, np.ndarray]:
    source = np.random.default_rng(1)
    shapes = {"w": (4, 3, 2, 2), **dict.fromkeys(("b", "gamma", "beta", "mean", "var"), (4,))}
    return {n: source.random(s).astype(np.float32) + 0.5 for n, s in shapes.items()}


def test_questions_about_the_shape_do_not_hinder() -> None:
    text = NORM.replace("  return (%y)", "  %d : int = aten::dim(%1)\n  return (%y)")
    assert fold_batch_norm(parse_graph(text, tensors=norm_tensors()))


def test_batch_norm_folds_into_the_convolution() -> None:
    tensors = norm_tensors()
    graph = parse_graph(NORM, tensors=tensors)
    assert fold_batch_norm(graph)
    verify_graph(graph)
    (conv,) = [n for n in graph.nodes() if n.kind == "aten::conv2d"]
    assert "batch_norm" not in str(graph) and graph.outputs == [conv.output]
    weight, bias = (conv.inputs[i].constant.numpy().astype(np.float64) for i in (1, 2))
    # A 2x2 convolution of one 2x2 patch is a product; any patch must come out as before.
    patch = np.random.default_rng(2).random((3, 2, 2))
    t = {n: v.astype(np.float64) for n, v in tensors.items()}
    before = (t["w"] * patch).sum((1, 2, 3)) + t["b"]
    normal = (before - t["mean"]) / np.sqrt(t["var"] + 0.001) * t["gamma"] + t["beta"]
    assert np.allclose((weight * patch).sum((1, 2, 3)) + bias, normal, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        ("%train : bool = prim::Constant[value=0]", "%train : bool = prim::Constant[value=1]"),
        ("return (%y)", "%z : Tensor = aten::add(%y, %1, %two)\n  return (%z)"),
        ("aten::conv2d(%x, %w, %b, %0)", "aten::conv2d(%x, %x, %b, %0)"),
        ("aten::conv2d", "aten::conv_transpose2d"),
    ],
)
def test_batch_norm_that_must_stay(change: tuple[str, str]) -> None:
    text = NORM.replace(*change)
    graph = parse_graph(text, tensors=norm_tensors())
    before = print_graph(graph)
    assert not fold_batch_norm(graph) and print_graph(graph) == before


# --- calls and attributes -------------------------------------------------------------------------


def method(cls: ClassType, name: str, text: str, **names) -> Function:
    """Add a method with this graph to a class."""
    graph = parse_graph(text, {cls.name: cls, **names.pop("classes", {})}, **names)
    parameters = [Parameter(v.name, v.type) for v in graph.inputs]
    function = Function(f"{cls.name}.{name}", parameters, graph.outputs[0].type)
    function.graph = graph
    cls.methods[name] = function
    return function


def small_module() -> tuple[ScriptObject, Function]:
    child = ClassType("__torch__.Child", True, {"weight": types.Tensor, "count": types.Int})
    parent = ClassType("__torch__.Parent", True, {"child": child, "training": types.Bool})
    method(
        child,
        "forward",
        """
        graph(%self : __torch__.Child, %x : Tensor):
          %one : int = prim::Constant[value=1]()
          %count : int = prim::GetAttr[name="count"](%self)
          %0 : int = aten::add(%count, %one)
           = prim::SetAttr[name="count"](%self, %0)
          %weight : Tensor = prim::GetAttr[name="weight"](%self)
          %1 : Tensor = aten::mul(%x, %weight)
          return (%1)
        """,
    )
    forward = method(
        parent,
        "forward",
        """
        graph(%self : __torch__.Parent, %x : Tensor):
          %training : bool = prim::GetAttr[name="training"](%self)
          %y : Tensor = prim::If(%training)
            block0():
              %a : Tensor = aten::neg(%x)
              -> (%a)
            block1():
              -> (%x)
          %child : __torch__.Child = prim::GetAttr[name="child"](%self)
          %0 : Tensor = prim::CallMethod[name="forward"](%child, %y)
          return (%0)
        """,
        classes={child.name: child},
    )
    weight = TensorData.from_numpy(np.ones(2, np.float32))
    instance = ScriptObject(child, {"weight": weight, "count": 0})
    return ScriptObject(parent, {"child": instance, "training": False}), forward


def test_calls_are_inlined() -> None:
    _, forward = small_module()
    graph = inline_calls(forward.graph)
    verify_graph(graph)
    kinds = [n.kind for n in graph.nodes()]
    assert "prim::CallMethod" not in kinds and kinds.count("prim::SetAttr") == 1
    assert "prim::CallMethod" in str(forward.graph)  # the original is as it was


def test_recursion_is_refused() -> None:
    cls = ClassType("__torch__.R", True)
    function = method(
        cls,
        "forward",
        "graph(%self : __torch__.R, %x : Tensor):\n  return (%x)\n",
    )
    builder = Builder(function.graph)
    inputs = function.graph.inputs
    again = builder.op("prim::CallMethod", inputs, types.Tensor, attributes={"name": "forward"})
    builder.set_outputs(function.graph.block, [again])
    with pytest.raises(CompileError, match="calls itself"):
        inline_calls(function.graph)


def test_freezing_keeps_what_changes() -> None:
    module, forward = small_module()
    (graph,) = freeze_graphs([forward.graph], module)
    verify_graph(graph)
    text = print_graph(graph)
    assert "aten::neg" not in text and "prim::If" not in text  # training is False
    assert text.count('GetAttr[name="count"]') == 1 and "SetAttr" in text
    assert '"weight"' not in text
    assert "%self.child.weight : Float(2, strides=[1], requires_grad=0, device=cpu) = " in text


def test_freezing_sees_what_another_method_writes() -> None:
    module, forward = small_module()
    child = module.attributes["child"]
    parent = module.type
    child.type.attributes["shared"] = types.Tensor
    # Another tensor on the same memory.
    weight = child.attributes["weight"]
    child.attributes["shared"] = TensorData(weight.storage, 0, (2,), (1,))
    reset = method(
        parent,
        "reset",
        """
        graph(%self : __torch__.Parent):
          %child : __torch__.Child = prim::GetAttr[name="child"](%self)
          %shared : Tensor = prim::GetAttr[name="shared"](%child)
          %0 : Tensor = aten::zero_(%shared)
          return (%0)
        """,
        classes={child.type.name: child.type},
    )
    (alone,) = freeze_graphs([forward.graph], module)
    assert 'GetAttr[name="weight"]' not in str(alone)
    frozen, frozen_reset = freeze_graphs([forward.graph, reset.graph], module)
    verify_graph(frozen)
    verify_graph(frozen_reset)
    assert 'GetAttr[name="weight"]' in str(frozen)
    assert 'GetAttr[name="shared"]' in str(frozen_reset)


def test_freezing_keeps_a_tensor_that_is_written() -> None:
    module, forward = small_module()
    child = module.attributes["child"].type
    method(
        child,
        "forward",
        """
        graph(%self : __torch__.Child, %x : Tensor):
          %one : int = prim::Constant[value=1]()
          %zero : int = prim::Constant[value=0]()
          %weight : Tensor = prim::GetAttr[name="weight"](%self)
          %view : Tensor = aten::select(%weight, %zero, %zero)
          %1 : Tensor = aten::add_(%view, %one, %one)
          return (%1)
        """,
    )
    (graph,) = freeze_graphs([forward.graph], module)
    verify_graph(graph)
    assert 'GetAttr[name="weight"]' in str(graph)
