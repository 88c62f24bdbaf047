"""What the reader makes of archives' pickles and code, on archives made by hand."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from aot.archive.reader import read_archive
from lowering import types
from lowering.graph_text import print_graph
from lowering.graph_verify import verify_graph
from lowering.objects import DeviceValue, EnumValue, NamedTupleValue, TypedDict, TypedList
from lowering.run_method import run_method
from runtime import dtypes
from runtime.errors import AotError, ArchiveError
from tests import hand_made as hand
from tests.conftest import ROOT


def attribute(declared: str, value: bytes, **more: bytes) -> object:
    """An attribute of the declared type, read back from its pickle."""
    return read_archive(hand.with_attribute(declared, value, **more)).root.attributes["a"]


def called(function: str, *arguments: bytes, module: str = "torch.jit._pickle") -> bytes:
    return hand.global_(module, function) + hand.tuple_(*arguments) + b"R"


def list_(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("FloatStorage", dtypes.f32), ("DoubleStorage", dtypes.f64), ("HalfStorage", dtypes.f16),
        ("BFloat16Storage", dtypes.bf16), ("LongStorage", dtypes.i64), ("IntStorage", dtypes.i32),
        ("ShortStorage", dtypes.i16), ("CharStorage", dtypes.i8), ("ByteStorage", dtypes.u8),
        ("BoolStorage", dtypes.bool_),
    ],
)
def test_every_dtype(kind: str, dtype: dtypes.DType) -> None:
    values = np.array([1, 0, 1, 1, 0, 1], dtype.storage)
    value = hand.tensor("0", 6, (2, 3), (3, 1), kind=kind)
    tensor = attribute("Tensor", value, data__0=values.tobytes())
    assert tensor.dtype is dtype and tensor.numpy().dtype == dtype.storage
    assert (tensor.numpy() == values.reshape(2, 3)).all()
    assert not tensor.numpy().flags.writeable


@pytest.mark.parametrize(
    "kind, size",
    [("ComplexFloatStorage", 8), ("QInt8Storage", 1), ("Float8_e4m3fnStorage", 1),
     ("UInt16Storage", 2)],
)
def test_other_dtypes_fail_where_they_are_used(kind: str, size: int) -> None:
    value = hand.tensor("0", 4, (4,), (1,), kind=kind)
    tensor = attribute("Tensor", value, data__0=bytes(4 * size))
    assert tensor.sizes == (4,)
    with pytest.raises(AotError, match="not supported"):
        tensor.numpy()


def test_strides_and_offsets() -> None:
    data = np.arange(12, dtype=np.float32)
    for sizes, strides, offset, expected in (
        ((4, 3), (1, 4), 0, data.reshape(3, 4).T),
        ((2, 2), (3, 2), 1, data[1:].reshape(-1)[[[0, 2], [3, 5]]]),
        ((3, 5), (1, 0), 2, np.broadcast_to(data[2:5, None], (3, 5))),  # expanded
        ((), (), 7, data[7]),
        ((0, 3), (3, 1), 12, np.zeros((0, 3), np.float32)),
    ):
        value = hand.tensor("0", 12, sizes, strides, offset)
        tensor = attribute("Tensor", value, data__0=data.tobytes())
        assert tensor.sizes == sizes and np.array_equal(tensor.numpy(), expected)


def test_tensors_share_their_storage() -> None:
    first = hand.tensor("0", 4, (2, 2), (2, 1))
    second = hand.tensor("0", 4, (2,), (1,), 2)
    pair = hand.tuple_(first + b"q\x07", second, b"h\x07")
    one, two, again = attribute("Tuple[Tensor, Tensor, Tensor]", pair, data__0=bytes(16))
    assert one.storage is two.storage and one is again


def test_containers_know_their_types() -> None:
    ints = attribute("List[int]", called("build_intlist", list_(b"K\x01", b"K\x02")))
    assert ints == [1, 2] and isinstance(ints, TypedList) and ints.element == types.Int
    floats = attribute("List[float]", called("build_doublelist", list_(b"K\x01")))
    assert floats == [1.0] and isinstance(floats[0], float)
    tag = hand.text("Dict[str, List[int]]")
    pairs = b"}(" + hand.text("k") + called("build_intlist", list_()) + b"u"
    table = attribute("Dict[str, List[int]]", called("restore_type_tag", pairs, tag))
    assert table == {"k": []} and isinstance(table, TypedDict)
    assert table.value == types.ListType(types.Int)
    assert attribute("Optional[List[int]]", b"N") is None
    assert attribute("Union[int, str]", hand.text("x")) == "x"


def test_other_values() -> None:
    assert attribute("Device", called("device", hand.text("cuda:1"), module="torch")) == (
        DeviceValue("cuda", 1)
    )
    number = called("complex", b"G" + struct.pack(">d", 1.5), b"K\x02", module="builtins")
    assert attribute("complex", number) == 1.5 + 2j
    assert attribute("int", hand.integer(-(2**63))) == -(2**63)
    assert attribute("float", b"K\x03") == 3.0
    assert attribute("str", hand.text("é\n\"")) == "é\n\""


def test_enumerations_and_named_tuples() -> None:
    code = (
        "class M(Module):\n  a : __torch__.Color\n  b : __torch__.Point\n"
        "class Color(Enum):\n  RED = 1\n  GREEN = 2\n"
        "class Point(NamedTuple):\n  x : int\n  y : float\n"
    )
    values = {
        "a": hand.global_("__torch__", "Color") + b"K\x02R",
        "b": hand.tuple_(b"K\x01", b"K\x02"),
    }
    root = read_archive(hand.archive(code=code, data=hand.pickled(hand.instance("M", values)))).root
    color, point = root.attributes["a"], root.attributes["b"]
    assert isinstance(color, EnumValue) and (color.name, color.value) == ("GREEN", 2)
    assert isinstance(point, NamedTupleValue) and point.y == 2.0 and point == (1, 2)
    values["a"] = hand.global_("__torch__", "Color") + b"K\x07R"
    with pytest.raises(ArchiveError, match="no member with the value 7"):
        read_archive(hand.archive(code=code, data=hand.pickled(hand.instance("M", values))))


def test_sources(tmp_path: Path) -> None:
    data = hand.archive(extra__note=b"hello")
    path = tmp_path / "m.pt"
    path.write_bytes(data)
    with path.open("rb") as file:
        for source in (data, path, str(path), io.BytesIO(data), file):
            archive = read_archive(source)
            assert archive.extra_file("note") == b"hello" and archive.extra_file("no") is None


# --- code -----------------------------------------------------------------------------------------


def graph_of(body: str, signature: str = "x: Tensor", returns: str = "Tensor") -> str:
    """The text of a forward method with these statements, without places."""
    archive = read_archive(hand.with_body(body, signature, returns))
    graph = archive.methods["forward"].graph
    verify_graph(graph)
    return print_graph(graph, ranges=False)


def test_an_if_returns_what_its_branches_assign() -> None:
    body = "if b:\n  y = torch.relu(x)\n  z = 1\nelse:\n  y = x\nreturn y"
    assert (
        graph_of(body, "x: Tensor, b: bool")
        == """\
graph(%self : __torch__.M,
      %x : Tensor,
      %b : bool):
  %y.1 : Tensor = prim::If(%b)
    block0():
      %y : Tensor = aten::relu(%x)
      -> (%y)
    block1():
      -> (%x)
  return (%y.1)
"""
    )


def test_a_loop_carries_what_its_body_assigns() -> None:
    body = "y = x\nfor i in range(n):\n  z = torch.add(y, i)\n  y = torch.relu(z)\nreturn y"
    assert (
        graph_of(body, "x: Tensor, n: int")
        == """\
graph(%self : __torch__.M,
      %x : Tensor,
      %n : int):
  %0 : bool = prim::Constant[value=1]()
  %y.2 : Tensor = prim::Loop(%n, %0, %x)
    block0(%i : int, %y : Tensor):
      %z : Tensor = aten::add(%y, %i)
      %y.1 : Tensor = aten::relu(%z)
      -> (%0, %y.1)
  return (%y.2)
"""
    )


def test_a_while_loop_tests_first() -> None:
    text = graph_of("c = b\nwhile c:\n  c = torch.__not__(c)\nreturn x", "x: Tensor, b: bool")
    assert "prim::Loop(%0, %b, %b)" in text and "[value=9223372036854775807]" in text


def test_keywords_stay_keywords() -> None:
    assert "dtype=%" in graph_of("return torch.full([2], 1., dtype=6)")
    archive = read_archive(hand.with_body("return torch.full([2], 1., dtype=6)"))
    (node,) = [n for n in archive.methods["forward"].graph.nodes() if n.kind == "aten::full"]
    assert node.kwarg_names == ("dtype",) and node.keywords["dtype"].constant == 6
    assert len(node.positional) == 2


@pytest.mark.parametrize(
    "expression, kind, type_",
    [
        ("torch.size(x)", "aten::size", "int[]"),
        ("torch.size(x, 0)", "aten::size", "int"),
        ("torch.split(x, 2)", "aten::split", "Tensor[]"),
        ("torch.add(1, 2.5)", "aten::add", "float"),
        ("torch.add([1], [2])", "aten::add", "int[]"),
        ("torch.lt(x, 1)", "aten::lt", "Tensor"),
        ("torch.len([1])", "aten::len", "int"),
        ("int(x)", "aten::Int", "int"),
        ("ops.prim.device(x)", "prim::device", "Device"),
        ("ops.torchvision.nms(x, x, 0.5)", "torchvision::nms", "Tensor"),
        ("annotate(List[float], [])", "prim::ListConstruct", "float[]"),
        ("annotate(Optional[Tensor], x)", "", "Tensor"),
        ("annotate(int, x)", "aten::IntImplicit", "int"),
        ("unchecked_cast(Tensor, None)", "prim::unchecked_cast", "Tensor"),
        ("uninitialized(Dict[str, int])", "prim::Uninitialized", "Dict(str, int)"),
        ("isinstance(x, (int, str))", "prim::isinstance", "bool"),
        ("annotate(List[List[int]], x.tolist())", "prim::tolist", "int[][]"),
        ("(x, 1)[1]", "prim::TupleIndex", "int"),
        ("{\"a\": 1}", "prim::DictConstruct", "Dict(str, int)"),
        ("[1, 2][0]", "aten::__getitem__", "int"),
        ("x.relu()", "aten::relu", "Tensor"),
        ("x * 1 + 0", "aten::add", "Tensor"),
    ],
)
def test_expressions(expression: str, kind: str, type_: str) -> None:
    archive = read_archive(hand.with_body(f"return {expression}", returns="Any"))
    graph = archive.methods["forward"].graph
    value = graph.outputs[0]
    assert str(value.type) == type_
    assert ("" if value.node is None else value.node.kind) == kind


def test_constants() -> None:
    def constant(text: str) -> object:
        archive = read_archive(hand.with_body(f"return {text}", returns="Any"))
        return archive.methods["forward"].graph.outputs[0].constant

    assert constant("-5") == -5 and constant("5.") == 5.0 and constant("-inf") == -math.inf
    assert math.isnan(constant("nan")) and constant("1.+2.j") == 1 + 2j
    assert math.copysign(1, constant("-0.")) == -1
    assert constant(r'"a\n\"\t\x41"') == 'a\n"\tA'
    assert constant('torch.device("cuda:1")') == DeviceValue("cuda", 1)


def test_a_fault_names_its_line() -> None:
    with pytest.raises(ArchiveError) as caught:
        graph_of("y = torch.relu(x)\nreturn torch.relu(z)")
    assert "code/__torch__.py:5: the name 'z' is not defined" in str(caught.value)
    assert "return torch.relu(z)" in str(caught.value)


def test_nodes_know_their_place() -> None:
    archive = read_archive(hand.with_body("y = torch.relu(x)\nreturn y"))
    (node,) = [n for n in archive.methods["forward"].graph.nodes() if n.kind == "aten::relu"]
    assert (node.range.file, node.range.line) == ("code/__torch__.py", 4)
    assert node.range.text.strip() == "y = torch.relu(x)"


def source_table(strings: list[str], records: list[tuple]) -> bytes:
    """A table of places: (offset, lines, file, first line, start) of each."""
    pickled = []
    for offset, lines, file, first, start in records:
        numbers = called("build_intlist", list_(*map(hand.integer, lines)))
        source = hand.tuple_(numbers, hand.integer(file), hand.integer(first))
        place = hand.tuple_(source, hand.integer(start), hand.integer(start + 1))
        pickled.append(hand.tuple_(hand.integer(offset), place, b"K\x00"))
    texts = hand.tuple_(*map(hand.text, strings))
    name = hand.text("FORMAT_WITH_STRING_TABLE")
    return hand.pickled(hand.tuple_(name, texts, hand.tuple_(*pickled)))


def test_nodes_know_where_the_user_wrote_them() -> None:
    parts = hand.members()
    offset = hand.FORWARD.index("torch.relu")
    table = source_table(
        ["", "def é(x):\n", "  return F.relu(x)\n", "me.py"],
        [(0, [], 0, 0, 0), (offset, [1, 2], 3, 41, 10 + 10), (offset + 20, [], 0, 0, 0)],
    )
    for damaged, place in (
        (table, "me.py:42:9"),
        (table[:-20], "code/__torch__.py:7:11"),
        (b"", "code/__torch__.py:7:11"),
        (table.replace(b"build_intlist", b"build_malware"), "code/__torch__.py:7:11"),
        (table.replace(b"FORMAT", b"FORMIT"), "code/__torch__.py:7:11"),
    ):
        parts["code/__torch__.py.debug_pkl"] = damaged
        graph = read_archive(hand.zipped(parts)).methods["forward"].graph
        (node,) = [n for n in graph.nodes() if n.kind == "aten::relu"]
        assert str(node.range) == place
        if damaged is table:
            assert node.range.excerpt() == "      return F.relu(x)\n             ^"


# --- versions -------------------------------------------------------------------------------------


def run(version: int, body: str, *arguments: object, signature: str = "x: Tensor") -> np.ndarray:
    """The result of `body` in an archive of this version."""
    archive = read_archive(hand.with_body(body, signature, version=b"%d\n" % version))
    verify_graph(archive.methods["forward"].graph)
    result = run_method(archive.methods["forward"], [archive.root, *arguments])
    return result if isinstance(result, np.ndarray) else result.numpy()


def test_division_before_version_4() -> None:
    x = np.array([-7, 7, 5])
    assert run(3, "return torch.div(x, 2)", x).tolist() == [-3, 3, 2]
    assert run(4, "return torch.div(x, 2)", x).tolist() == [-3.5, 3.5, 2.5]
    assert run(3, "return torch.div(x, 2)", x.astype(np.float32)).tolist() == [-3.5, 3.5, 2.5]
    assert run(3, "return torch.div(x, 2.5)", x).tolist() == pytest.approx([-2.8, 2.8, 2.0])
    y = np.array([2, 2, -2])
    body, both = "return torch.div(x, y)", "x: Tensor, y: Tensor"
    assert run(3, body, x, y, signature=both).tolist() == [-3, 3, -2]
    assert run(3, body, x, y.astype(np.float32), signature=both).tolist() == [-3.5, 3.5, -2.5]
    body = 'return torch.div(x, 2, rounding_mode="floor")'
    assert run(3, body, x).tolist() == [-4, 3, 2]


def test_full_before_version_5() -> None:
    x = np.zeros(1, np.float32)
    assert run(4, "return torch.full([2], 3)", x).dtype == np.float32
    assert run(5, "return torch.full([2], 3)", x).dtype == np.int64
    assert run(4, "return torch.full([2], True)", x).tolist() == [1.0, 1.0]
    assert run(4, "return torch.full([2], 3, dtype=4)", x).dtype == np.int64


def test_steps_before_versions_8_and_9() -> None:
    x = np.zeros(1, np.float32)
    found = run(7, "return torch.linspace(0., 1.)", x)
    assert found.shape == (100,) and found[-1] == 1.0
    assert run(7, "return torch.linspace(0., 1., 5)", x).shape == (5,)
    assert run(7, "return torch.linspace(0., 1., None)", x).shape == (100,)


def test_the_archives_of_this_folder_are_read_whole() -> None:
    """Every function of every archive becomes a sound graph."""
    count = 0
    for path in sorted((ROOT / "tests" / "archives").glob("*.pt")):
        archive = read_archive(path)
        pending = [d for d in archive.program.defined()]
        while pending:
            item = pending.pop()
            functions = [item] if hasattr(item, "graph") else getattr(item, "methods", {}).values()
            for function in functions:
                verify_graph(function.graph)
                count += 1
    assert count > 30
