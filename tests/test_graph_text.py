"""Types, constants and whole graphs as texts: what is printed reads back as the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aot.archive.reader import read_archive
from lowering import types
from lowering.graph import Graph, Value
from lowering.graph_builder import Builder, copy_graph
from lowering.graph_text import GraphTextError, parse_graph, print_graph
from lowering.graph_verify import GraphFault, verify_graph
from lowering.objects import TensorData
from lowering.type_text import TypeReader
from lowering.types import (
    ClassType, DictType, EnumType, FutureType, ListType, OptionalType, TensorType, TupleType,
    UnionType, is_subtype, unify,
)
from runtime.dtypes import bf16, f32, i64
from tests.conftest import ROOT

# What PyTorch 2.13 prints for each type in graphs and in code.
SPELLINGS = [
    (types.Tensor, "Tensor", "Tensor"),
    (ListType(OptionalType(types.Tensor)), "Tensor?[]", "List[Optional[Tensor]]"),
    (OptionalType(ListType(types.Tensor)), "Tensor[]?", "Optional[List[Tensor]]"),
    (ListType(ListType(types.Int)), "int[][]", "List[List[int]]"),
    (DictType(types.Str, types.Int), "Dict(str, int)", "Dict[str, int]"),
    (TupleType((types.Tensor, types.Int)), "(Tensor, int)", "Tuple[Tensor, int]"),
    (TupleType((types.Int,)), "(int)", "Tuple[int]"),
    (TupleType(()), "()", "Tuple[()]"),
    (UnionType((types.Float, types.Int)), "Union(float, int)", "Union[float, int]"),
    (FutureType(types.Tensor), "Future[Tensor]", "Future[Tensor]"),
    (types.Number, "Scalar", "number"),
    (types.NoneT, "NoneType", "NoneType"),
    (types.Device, "Device", "Device"),
    (TensorType(f32, (3, 4), (4, 1), False, "cpu"),
     "Float(3, 4, strides=[4, 1], requires_grad=0, device=cpu)", "Tensor"),
    (TensorType(i64, (), None, True, "cuda:0"), "Long(requires_grad=1, device=cuda:0)", "Tensor"),
    (TensorType(bf16, (2, None)), "BFloat16(2, *)", "Tensor"),
    (TensorType("ComplexFloat", (2,)), "ComplexFloat(2)", "Tensor"),
    (TupleType((types.Tensor, types.Int), None, ("x", "y")),
     "NamedTuple(x : Tensor, y : int)", "Tuple[Tensor, int]"),
]


@pytest.mark.parametrize("type_, graph, code", SPELLINGS, ids=[s[1] for s in SPELLINGS])
def test_types(type_: types.Type, graph: str, code: str) -> None:
    assert str(type_) == graph and type_.annotation() == code
    assert TypeReader({}).read(graph + " rest") == (type_, len(graph))


def test_classes_are_what_the_reader_is_told() -> None:
    cls, enum = ClassType("__torch__.M"), EnumType("__torch__.E", types.Int)
    reader = TypeReader({cls.name: cls, enum.name: enum})
    assert reader.read("__torch__.M?")[0] == OptionalType(cls)
    assert reader.read("Enum<__torch__.E>")[0] is enum
    assert reader.read("__torch__.N")[0] is reader.read("__torch__.N")[0]


@pytest.mark.parametrize("text", ["", "Tensr", "Dict(int", "Float(3, wide=1)", "[]", "Enum<int>"])
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(GraphTextError):
        TypeReader({}).read(text)


def test_subtypes_and_common_types() -> None:
    optional = OptionalType(types.Tensor)
    assert is_subtype(types.Tensor, optional) and is_subtype(types.NoneT, optional)
    assert not is_subtype(optional, types.Tensor)
    assert is_subtype(TensorType(f32, (3,)), types.Tensor)
    assert not is_subtype(types.Tensor, TensorType(f32, (3,)))
    assert not is_subtype(ListType(types.Tensor), ListType(optional))  # lists are invariant
    assert is_subtype(types.Int, types.Number) and not is_subtype(types.Bool, types.Number)
    assert is_subtype(types.Int, UnionType((types.Int, types.Str)))
    assert unify(types.Tensor, types.NoneT) == optional
    assert unify(optional, types.Tensor) == optional
    assert unify(TensorType(f32), TensorType(i64)) == types.Tensor
    assert unify(types.Int, types.Str) is None
    pair = TupleType((types.Tensor, types.Int))
    assert unify(pair, TupleType((types.NoneT, types.Int))) == TupleType((optional, types.Int))


CONSTANTS = [
    (types.Int, "-3", -3), (types.Bool, "1", True), (types.Float, "5.", 5.0),
    (types.Float, "1.0000000000000001e-30", 1e-30), (types.Float, "-inf", -math.inf),
    (types.Str, r'"a\n\"b\\\t\303\251"', 'a\n"b\\\té'), (types.Complex, "1.+2.j", 1 + 2j),
    (types.Complex, "0.-infj", complex(0, -math.inf)),
    (ListType(types.Int), "[1, 2]", [1, 2]), (ListType(types.Float), "[1., nan]", None),
    (ListType(types.Str), '["a", "b]"]', ["a", "b]"]),
    (ListType(types.Bool), "[1, 0]", [True, False]),
    (TupleType((types.Int, types.Str)), '(1, "x")', (1, "x")),
    (TupleType((types.Int,)), "(1,)", (1,)),
    (DictType(types.Str, types.Int), '{"a": 1}', {"a": 1}), (types.Device, '"cuda:1"', None),
]


@pytest.mark.parametrize("type_, text, value", CONSTANTS, ids=[c[1] for c in CONSTANTS])
def test_constants(type_: types.Type, text: str, value: object) -> None:
    whole = f"graph():\n  %0 : {type_} = prim::Constant[value={text}]()\n  return (%0)\n"
    graph = parse_graph(whole)
    assert print_graph(graph) == whole
    found = graph.outputs[0].constant
    assert value is None or (found == value and type(found) in (type(value), *type(found).__mro__))


WHOLE = """\
graph(%self : __torch__.M,
      %x.1 : Tensor,
      %n : int):
  %7 : int = prim::Constant[value=1]() # m.py:3:4
  %c : bool = prim::Constant[value=1]()
  %w : Float(2, strides=[1], requires_grad=0, device=cpu) = prim::Constant[value= 1  1 [ CPUFloatType{2} ]]()
  %f : Function = prim::Constant[name="relu"]()
  %3 : int = prim::GetAttr[name="a b"](%self)
   = prim::SetAttr[name="n"](%self, %7)
  %y : Tensor, %5 : int = prim::Loop(%n, %c, %x.1, %3) # m.py:5:2
    block0(%i : int, %y.1 : Tensor, %6 : int):
      %d : bool = prim::isinstance[types=[int, Tensor?]](%y.1)
       = prim::If(%d)
        block0():
          -> ()
        block1():
          -> ()
      %8 : Tensor = aten::full(%y.1, %7, dtype=%7, device=%6)
      -> (%c, %8, %6)
  %g : Future[Tensor] = prim::fork_0(%y)
  %9 : Tensor, %10 : Tensor = aten::max(%y, %7) # a b/c.py:12:0
  %11 : (Tensor, Tensor) = prim::TupleConstruct(%9, %w)
  return (%11)
with prim::fork_0 = graph(%x : Tensor):
  %1 : Tensor = prim::CallFunction(%x, %x)
  return (%1)
"""


def test_a_whole_graph() -> None:
    graph = parse_graph(WHOLE, tensors={"w": np.ones(2, np.float32)})
    verify_graph(graph)
    assert print_graph(graph) == WHOLE
    assert print_graph(copy_graph(graph)).count("\n") == WHOLE.count("\n")
    assert graph.constants == 4


@pytest.mark.parametrize(
    "line",
    [
        "  %y : Tensor = aten::relu(%z)",
        "  %x : Tensor = aten::relu(%x)",
        "  %y : Tensor = relu(%x)",
        "  %y Tensor = aten::relu(%x)",
        "  %y : Tensor = aten::relu(%x",
        "  %y : Tensor = prim::Constant[value=<Tensor>]()",
        "  %y : int = prim::Constant[value=]()",
        "  %y : Tensor = aten::add(alpha=%x, %x)",
    ],
)
def test_what_is_no_graph(line: str) -> None:
    with pytest.raises(GraphTextError, match="line 2"):
        parse_graph(f"graph(%x : Tensor):\n{line}\n  return (%x)\n")


def test_the_graphs_of_the_archives_read_back() -> None:
    for path in sorted((ROOT / "tests" / "archives").glob("*.pt")):
        for function in read_archive(path).methods.values():
            graph = function.graph
            tensors, classes = {}, {}
            for node in graph.nodes():
                for value in (*node.inputs, *node.outputs):
                    if isinstance(value.type, (ClassType, EnumType)):
                        classes[value.type.name] = value.type
                if node.kind == "prim::Constant":
                    constant = node.output.constant
                    if isinstance(constant, TensorData):
                        tensors[node.output.name] = constant
            text = print_graph(graph)
            assert print_graph(parse_graph(text, classes, tensors=tensors)) == text


# --- the builder and the verifier -----------------------------------------------------------------


def small() -> tuple[Graph, Builder, Value]:
    graph = Graph()
    builder = Builder(graph)
    return graph, builder, builder.add_param(graph.block, types.Tensor, "x")


def test_equal_constants_are_one() -> None:
    graph, builder, _ = small()
    assert builder.constant(1) is builder.constant(1)
    assert builder.constant(1) is not builder.constant(True)
    assert builder.constant(0.0) is not builder.constant(-0.0)
    assert builder.constant(math.nan) is builder.constant(math.nan)
    assert graph.constants == 5


def test_names_are_unique() -> None:
    graph, builder, x = small()
    names = [builder.op("aten::relu", [x], types.Tensor, names=(n,)).name for n in ("x", "x", "y")]
    assert names == ["x.1", "x.2", "y"]
    assert builder.op("aten::relu", [x], types.Tensor).name == "0"
    builder.rename(x, "y")
    assert x.name == "y.1"


def test_uses_are_kept() -> None:
    graph, builder, x = small()
    y = builder.op("aten::add", [x, x], types.Tensor)
    builder.set_outputs(graph.block, [y])
    assert len(x.uses) == 2
    with pytest.raises(ValueError, match="still used"):
        builder.erase(y.node)
    builder.remove_input(y.node, 0)
    assert [use.index for use in x.uses] == [0]
    builder.replace_uses(y, x)
    builder.erase(y.node)
    assert graph.outputs == [x] and len(x.uses) == 1
    verify_graph(graph)


def test_faults_are_found() -> None:
    def broken(damage) -> str:
        graph = parse_graph(WHOLE, tensors={"w": np.ones(2, np.float32)})
        damage(graph, {v.name: v for n in graph.nodes() for v in n.outputs})
        with pytest.raises(GraphFault) as caught:
            verify_graph(graph)
        return str(caught.value)

    assert "use list" in broken(lambda g, v: v["3"].uses.clear())
    assert "a Loop has" in broken(lambda g, v: Builder(g).remove_input(v["y"].node, 3))
    assert "expected int" in broken(lambda g, v: Builder(g).set_input(v["y"].node, 3, v["w"]))
    assert "not defined" in broken(lambda g, v: g.block.nodes.reverse())
    assert "defined twice" in broken(lambda g, v: setattr(v["9"], "name", "y"))
    assert "does not know its block" in broken(lambda g, v: setattr(v["9"].node, "owner", None))
