"""Prints a Graph as TorchScript prints it.

One thing differs, because our Graph says less than TorchScript's: an input given by keyword whose
overload is not resolved yet is `dtype=%3`.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Callable

from lowering.objects import DeviceValue, EnumValue, ScriptObject, TensorData
from lowering.types import FunctionType, Type, scalar_name
from runtime import dtypes

if TYPE_CHECKING:
    import numpy as np

    from lowering.graph import Block, Graph, Node, Value


# TorchScript shows no place beside these.
_WITHOUT_PLACE = frozenset(
    """prim::GetAttr prim::SetAttr prim::ListConstruct prim::ListUnpack prim::TupleConstruct
    prim::TupleUnpack prim::TupleIndex prim::TupleSlice prim::DictConstruct prim::isinstance
    prim::unchecked_cast prim::tolist prim::Enter prim::Exit""".split()
)


def print_graph(graph: Graph, ranges: bool = True) -> str:
    """The graph's text, with a line's end; `ranges` adds the `# file:line:column` comments."""
    printer = _Printer(ranges)
    head = ",\n      ".join(f"%{v.name} : {v.type}" for v in graph.inputs)
    printer.lines.append(f"graph({head}):")
    printer.block(graph.block, 1)
    printer.lines.append(f"  return ({_values(graph.outputs)})")
    for name, inner in printer.subgraphs:
        text = print_graph(inner, ranges).rstrip("\n")
        printer.lines.append(f"with {name} = {text}")
    return "\n".join(printer.lines) + "\n"


class _Printer:
    def __init__(self, ranges: bool) -> None:
        self.ranges = ranges
        self.lines: list[str] = []
        self.subgraphs: list[tuple[str, Graph]] = []

    def block(self, block: Block, depth: int) -> None:
        for node in block.nodes:
            self.node(node, depth)

    def node(self, node: Node, depth: int) -> None:
        indent = "  " * depth
        outputs = ", ".join(f"%{v.name} : {v.type}" for v in node.outputs)
        text = f"{indent}{outputs} = {self.kind(node)}({_inputs(node)})"
        if self.ranges and node.range is not None:
            if node.range.scope:
                text += f", scope: {node.range.scope}"
            if node.range.file and node.kind not in _WITHOUT_PLACE:
                text += f" # {node.range}"
        self.lines.append(text)
        for i, block in enumerate(node.blocks):
            params = ", ".join(f"%{v.name} : {v.type}" for v in block.params)
            self.lines.append(f"{indent}  block{i}({params}):")
            self.block(block, depth + 2)
            self.lines.append(f"{indent}    -> ({_values(block.outputs)})")

    def kind(self, node: Node) -> str:
        attributes = dict(node.attributes)
        if "Subgraph" in attributes:
            name = f"{node.kind}_{len(self.subgraphs)}"
            self.subgraphs.append((name, attributes.pop("Subgraph")))
            return name
        if node.kind == "prim::PythonOp":
            return f"^{attributes['name']}[]()"
        if not attributes:
            return node.kind
        if node.outputs and isinstance(node.outputs[0].type, FunctionType):
            return f'{node.kind}[name="{attributes["value"].name.rpartition(".")[2]}"]'
        inner = ", ".join(_attribute(k, v) for k, v in attributes.items())
        return f"{node.kind}[{inner}]"


def _values(values: list[Value]) -> str:
    return ", ".join("%" + v.name for v in values)


def _inputs(node: Node) -> str:
    if node.overload is not None:
        return _values(node.inputs)
    texts = ["%" + v.name for v in node.positional]
    texts += [f"{name}=%{v.name}" for name, v in node.keywords.items()]
    return ", ".join(texts)


def _attribute(name: str, value: object) -> str:
    if isinstance(value, Type):
        return f"{name}={value}"
    if name == "types":
        return "types=[%s]" % ", ".join(map(str, value))
    return f"{name}={format_constant(value)}"


def format_constant(value: object) -> str:
    """A constant in TorchScript's graph text: 5. "a\\n" [1, 2] (1,) <Tensor>."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format_float(value)
    if isinstance(value, complex):
        return format_complex(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, DeviceValue):
        return f'"{value}"'
    if isinstance(value, EnumValue):
        return repr(value)
    if isinstance(value, TensorData):
        return format_tensor(value)
    if isinstance(value, ScriptObject):
        return f"<{value.type.name}>"
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(format_constant, value))
    if isinstance(value, tuple):
        return "(%s%s)" % (", ".join(map(format_constant, value)), "," * (len(value) == 1))
    if isinstance(value, dict):
        items = (f"{format_constant(k)}: {format_constant(v)}" for k, v in value.items())
        return "{%s}" % ", ".join(items)
    return f"<{type(value).__name__}>"


_SHOWN_ELEMENTS = 10


def format_tensor(tensor: TensorData) -> str:
    """`{1.5}` for one number, the values of a small tensor in one line, `<Tensor>` for others."""
    numbers = not isinstance(tensor.storage.dtype, str) and tensor.problem is None
    if not numbers or tensor.numel > _SHOWN_ELEMENTS:
        return "<Tensor>"
    row = tensor.dtype
    values = dtypes.to_compute(tensor.numpy(), row)
    if tensor.numel == 1:
        return "{%s}" % _short(values.reshape(-1).tolist()[0])
    kind = f"[ CPU{scalar_name(row)}Type{{{','.join(map(str, tensor.sizes))}}} ]"
    return f"{_numbers_text(values)} {kind}" if tensor.numel else kind


def _numbers_text(values: np.ndarray) -> str:
    """The numbers of a tensor, columns of one width, lines joined."""
    scale, width, style = _layout([abs(v) for v in values.reshape(-1).tolist()])
    factor = "" if scale == 1 else f"{scale:g} * "

    def line(row: np.ndarray) -> str:
        return " ".join(f"{style(v / scale):>{width}}" for v in row.tolist())

    if values.ndim == 1:
        return factor + line(values)
    if values.ndim == 2:
        return factor + ("  " if factor else " ").join(map(line, values))
    matrices = []
    outer = values.shape[:-2][::-1]  # the first index runs fastest
    for place in itertools.product(*map(range, outer)):
        index = place[::-1]
        rows = ("   " if factor else "  ").join(map(line, values[index]))
        head = f"({','.join(str(i + 1) for i in index)},.,.) ="
        matrices.append(f"{head}  {factor and factor + ' '}{rows}")
    return "  ".join(matrices)


def _layout(sizes: list[float]) -> tuple[float, int, Callable[[float], str]]:
    """A common factor, the width of a column and the style of a number, for absolute values."""
    finite = [v for v in sizes if math.isfinite(v)]
    ends = (max(finite), min(finite)) if finite else (0, 0)
    most, least = (math.floor(math.log10(v)) + 1 if v else 1 for v in ends)
    if all(v == int(v) for v in finite):
        return (1, 11, _scientific) if most > 9 else (1, most + 1, _short)
    if most - least > 4:
        return 1, 11, _scientific
    if most > 5 or most < 0:
        return 10.0 ** (most - 1), 7, _fixed
    return 1, most + (6 if most else 7), _fixed


def _fixed(value: float) -> str:
    return f"{value:.4f}"


def _scientific(value: float) -> str:
    return f"{value:.4e}"


def _short(value: float | int | bool) -> str:
    """Six significant digits, as C++ streams print numbers."""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.6g}"


def format_float(value: float) -> str:
    """17 significant digits, and a point where the text would look like an integer."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:.17g}"
    return text + "." if text.lstrip("-").isdigit() else text


def format_complex(value: complex) -> str:
    """As in `1.+2.j`."""
    imaginary = format_float(value.imag)
    sign = "" if imaginary.startswith("-") else "+"
    return f"{format_float(value.real)}{sign}{imaginary}j"


_ESCAPES = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r",
            "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def quote(text: str) -> str:
    """A string literal of TorchScript's texts; bytes outside printable ASCII are octal escapes."""
    out = ['"']
    for char in text:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif " " <= char <= "~":
            out.append(char)
        else:
            # surrogatepass: a text may hold half of a surrogate pair and must print anyway
            out.extend(f"\\{b:03o}" for b in char.encode("utf-8", "surrogatepass"))
    out.append('"')
    return "".join(out)
