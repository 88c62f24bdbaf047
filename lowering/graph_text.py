"""Graphs as text: prints as TorchScript prints them (graph_print.py) and reads them back."""

from __future__ import annotations

import re

import numpy as np

from lowering import types
from lowering.graph import Block, Function, Graph, Node, SourceRange, Value
from lowering.graph_builder import Builder
from lowering.graph_print import print_graph
from lowering.objects import DeviceValue, EnumValue, TensorData, TypedDict, TypedList
from lowering.type_text import GraphTextError, TypeReader
from lowering.types import (
    DictType, EnumType, FunctionType, ListType, OptionalType, TensorType, TupleType, Type,
)

__all__ = ["GraphTextError", "parse_graph", "print_graph"]

_NODE = re.compile(r"^(?P<outputs>.*?)= (?P<kind>[\w]+::\w+)(?P<rest>[\[(].*)$")
_RANGE = re.compile(r"\s+# (?P<file>.*):(?P<line>\d+):(?P<column>\d+)$")
_BLOCK = re.compile(r"^block\d+\((?P<params>.*)\):$")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)
_NUMBER = re.compile(r"-?(?:inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?)")
# No text can name a value so; the value gets its own name as soon as it exists.
_UNNAMED = "<new>"
# `<Tensor>`, `{1.5}`, ` 1  2 [ CPUFloatType{2} ]`: format_tensor of graph_print.py
_TENSOR_TEXT = re.compile(
    r"<Tensor>|\{(?P<one>[^{}:]+)\}"
    r"|(?P<many>[^\[\]{}]*)\[ CPU\w+Type\{(?P<sizes>[\d,]*)\} \]")
_TENSOR_LABEL = re.compile(r"\([\d,]*\.,\.\) =|(?P<factor>[\d.e+-]+) \*")
_SUBGRAPH = re.compile(r"^with (?P<name>\w+::\w+) = graph\(", re.M)


def parse_graph(
    text: str,
    classes: dict[str, Type] | None = None,
    functions: dict[str, Function] | None = None,
    tensors: dict[str, np.ndarray | TensorData] | None = None,
) -> Graph:
    """The Graph a text spells; GraphTextError, with the line, if it spells none.

    What the text only names comes from the arguments: `classes` by qualified name, `functions` by
    the name a constant shows, `tensors` (the values of tensor constants) by the name of the
    constant's output; a small tensor that is not given has the rounded values that the text shows.
    `print_graph(parse_graph(text)) == text` for a printed graph.
    """
    pieces = _SUBGRAPH.split(text)
    subgraphs: dict[str, Graph] = {}
    context = (classes if classes is not None else {}, functions or {}, tensors or {}, subgraphs)
    # A subgraph may itself have subgraphs; those stand behind it, so the last comes first.
    for name, body in reversed(list(zip(pieces[1::2], pieces[2::2]))):
        subgraphs[name] = _GraphReader("graph(" + body, *context).read()
    return _GraphReader(pieces[0], *context).read()


class _GraphReader:
    def __init__(
        self,
        text: str,
        classes: dict[str, Type],
        functions: dict[str, Function],
        tensors: dict[str, np.ndarray | TensorData],
        subgraphs: dict[str, Graph],
    ) -> None:
        self.lines = _logical_lines(text)
        self.at = 0
        self.functions = functions
        self.tensors = tensors
        self.subgraphs = subgraphs
        self.types = TypeReader(classes)
        self.graph = Graph()
        self.builder = Builder(self.graph)
        self.values: dict[str, Value] = {}

    def read(self) -> Graph:
        try:
            return self._graph()
        except (GraphTextError, ValueError, KeyError, IndexError) as error:
            number, line = self.lines[min(self.at, len(self.lines) - 1)] if self.lines else (1, "")
            raise GraphTextError(f"graph text line {number}: {error}: {line.strip()!r}") from None

    def _graph(self) -> Graph:
        head = self.lines[0][1]
        if not head.startswith("graph(") or not head.endswith("):"):
            raise GraphTextError("expected 'graph(...):'")
        for name, type_ in self._declarations(head[len("graph(") : -2]):
            self._define(self.builder.add_param(self.graph.block, type_, _UNNAMED), name)
        self.at = 1
        self._block(self.builder, 2)
        line = self.lines[self.at][1].strip()
        if not (line.startswith("return (") and line.endswith(")")):
            raise GraphTextError("expected 'return (...)'")
        self.builder.set_outputs(self.graph.block, self._uses(line[len("return (") : -1]))
        self.builder.adopt_constants()
        return self.graph

    def _block(self, builder: Builder, indent: int) -> None:
        """Read the nodes that stand at `indent`."""
        while self.at < len(self.lines):
            line = self.lines[self.at][1]
            text = line.strip()
            if len(line) - len(line.lstrip()) < indent or text.startswith(("return (", "-> (")):
                return
            node = self._node(builder, text)
            self.at += 1
            while self.at < len(self.lines):
                match = _BLOCK.match(self.lines[self.at][1].strip())
                if match is None:
                    break
                self._nested(builder.add_block(node), match.group("params"))

    def _nested(self, block: Block, params: str) -> None:
        line = self.lines[self.at][1]
        inner = self.builder.at_end(block)
        for name, type_ in self._declarations(params):
            self._define(inner.add_param(block, type_, _UNNAMED), name)
        self.at += 1
        self._block(inner, len(line) - len(line.lstrip()) + 2)
        end = self.lines[self.at][1].strip()
        if not (end.startswith("-> (") and end.endswith(")")):
            raise GraphTextError("expected '-> (...)'")
        inner.set_outputs(block, self._uses(end[len("-> (") : -1]))
        self.at += 1

    def _node(self, builder: Builder, text: str) -> Node:
        place = None
        match = _RANGE.search(text)
        if match is not None:
            place = SourceRange(match["file"], int(match["line"]), int(match["column"]))
            text = text[: match.start()]
        match = _NODE.match(text if text.startswith("%") else " " + text)
        if match is None:
            raise GraphTextError("expected '%name : type = kind(...)'")
        outputs = self._declarations(match["outputs"])
        kind, rest = match["kind"], match["rest"]
        attributes: dict[str, object] = {}
        if kind in self.subgraphs:
            attributes["Subgraph"] = self.subgraphs[kind]
            kind = kind.rpartition("_")[0]
        if rest.startswith("["):
            attributes, end = self._attributes(rest, outputs)
            rest = rest[end:]
        if not rest.startswith("(") or not rest.endswith(")"):
            raise GraphTextError("expected '(inputs)'")
        inputs, keywords = [], []
        for part in filter(None, (p.strip() for p in rest[1:-1].split(","))):
            keyword, equals, name = part.rpartition("=")
            if equals:
                keywords.append(keyword)
            elif keywords:
                raise GraphTextError("a positional input behind a keyword")
            inputs += self._uses(name)
        names = (_UNNAMED,) * len(outputs)
        node = builder.node(
            kind, inputs, [t for _, t in outputs], attributes, tuple(keywords), names, place
        )
        for value, (name, _) in zip(node.outputs, outputs):
            self._define(value, name)
        return node

    # --- values -------------------------------------------------------------------------------

    def _define(self, value: Value, name: str) -> None:
        if name in self.values:
            raise GraphTextError(f"%{name} is defined twice")
        self.values[name] = value
        self.builder.set_name(value, name)

    def _uses(self, text: str) -> list[Value]:
        values = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            if not part.startswith("%") or part[1:] not in self.values:
                raise GraphTextError(f"{part} is not defined")
            values.append(self.values[part[1:]])
        return values

    def _declarations(self, text: str) -> list[tuple[str, Type]]:
        """The `%name : type` pairs of a list."""
        out, position = [], 0
        while text[position:].strip():
            match = re.compile(r"\s*,?\s*%([\w.]+) : ").match(text, position)
            if match is None:
                raise GraphTextError(f"expected '%name : type', found {text[position:][:30]!r}")
            type_, position = self.types.read(text, match.end())
            out.append((match.group(1), type_))
        return out

    # --- attributes ---------------------------------------------------------------------------

    def _attributes(
        self, text: str, outputs: list[tuple[str, Type]]
    ) -> tuple[dict[str, object], int]:
        attributes: dict[str, object] = {}
        position = 1
        while text[position] != "]":
            match = re.compile(r"(?:, )?(\w+)=").match(text, position)
            if match is None:
                raise GraphTextError(f"expected 'name=value', found {text[position:][:30]!r}")
            name, position = match.group(1), match.end()
            if name == "types":
                attributes[name], position = self._type_list(text, position)
            elif name == "name" and outputs and str(outputs[0][1]) == "Function":
                found, position = _literal(text, position)
                function = self.functions.get(found) or Function(found, [], types.Tensor)
                outputs[0] = (outputs[0][0], FunctionType(function))
                attributes["value"] = function
            elif name == "value" and outputs:
                attributes[name], position = self._constant(text, position, *outputs[0])
            else:
                attributes[name], position = _literal(text, position)
        return attributes, position + 1

    def _type_list(self, text: str, position: int) -> tuple[list[Type], int]:
        found = []
        position += 1
        while text[position] != "]":
            type_, position = self.types.read(text, position)
            found.append(type_)
            if text[position] == ",":
                position += 1
        return found, position + 1

    def _constant(self, text: str, position: int, name: str, type_: Type) -> tuple[object, int]:
        tensor = _TENSOR_TEXT.match(text, position)
        if tensor is not None and isinstance(type_, TensorType):
            value = self.tensors.get(name)
            if value is None:
                value = _shown_values(tensor)
                if value is not None and value.size == 1 and None not in (type_.sizes or (None,)):
                    value = value.reshape(type_.sizes)
            if value is None:
                raise GraphTextError(f"the values of the tensor %{name} are not given")
            if not isinstance(value, TensorData):
                dtype = None if isinstance(type_.dtype, str) else type_.dtype
                value = TensorData.from_numpy(value, dtype)
            return value, tensor.end()
        if isinstance(type_, EnumType):
            match = re.compile(r"[\w.]+").match(text, position)
            member = match.group().rpartition(".")[2]
            type_.members.setdefault(member, None)
            return EnumValue(type_, member), match.end()
        value, position = _literal(text, position)
        return _typed(value, type_), position


def _shown_values(text: re.Match) -> np.ndarray | None:
    """The numbers that a tensor constant shows, None for one that shows none."""
    if text["one"] is not None:
        return np.array(float(text["one"]))
    if text["many"] is None:
        return None
    sizes = [int(n) for n in text["sizes"].split(",") if n]
    if len(sizes) > 3:
        return None
    factors = [m["factor"] for m in _TENSOR_LABEL.finditer(text["many"]) if m["factor"]]
    numbers = _TENSOR_LABEL.sub(" ", text["many"]).split()
    return np.array([float(n) for n in numbers]).reshape(sizes) * float((factors or [1])[0])


def _typed(value: object, type_: Type) -> object:
    """A literal as its type has it: 1 as True where the type is bool."""
    if isinstance(type_, OptionalType):
        return None if value is None else _typed(value, type_.element)
    if type_ == types.Bool:
        return bool(value)
    if type_ == types.Float:
        return float(value)
    if type_ == types.Complex:
        return complex(value)
    if type_ == types.Device:
        return DeviceValue.parse(value)
    if isinstance(type_, ListType):
        return TypedList([_typed(v, type_.element) for v in value], type_.element)
    if isinstance(type_, TupleType):
        return tuple(_typed(v, t) for v, t in zip(value, type_.elements))
    if isinstance(type_, DictType):
        items = {_typed(k, type_.key): _typed(v, type_.value) for k, v in value.items()}
        return TypedDict(items, type_.key, type_.value)
    return value


_CLOSING = {"[": "]", "(": ")", "{": "}"}


def _literal(text: str, position: int) -> tuple[object, int]:
    """The constant that starts at `position`, and where it ends."""
    if text.startswith("None", position):
        return None, position + 4
    if text[position] == '"':
        match = _STRING.match(text, position)
        if match is None:
            raise GraphTextError("a string without an end")
        return _unquote(match.group()[1:-1]), match.end()
    closing = _CLOSING.get(text[position])
    if closing is None:
        return _number(text, position)
    values, keys = [], []
    position += 1
    while text[position] != closing:
        value, position = _literal(text, position)
        if text.startswith(": ", position):
            keys.append(value)
            value, position = _literal(text, position + 2)
        values.append(value)
        while text[position] in ", ":
            position += 1
    if closing == "}":
        return dict(zip(keys, values)), position + 1
    return (values if closing == "]" else tuple(values)), position + 1


def _number(text: str, position: int) -> tuple[object, int]:
    match = _NUMBER.match(text, position)
    if match is None:
        raise GraphTextError(f"expected a constant, found {text[position:][:30]!r}")
    number = match.group()
    second = re.compile(r"([+-](?:inf|nan|[\d.]+(?:e[+-]?\d+)?))j").match(text, match.end())
    if second is not None:
        return complex(float(number), float(second.group(1))), second.end()
    if number.lstrip("-").isdigit():
        return int(number), match.end()
    return float(number), match.end()


_ESCAPE = re.compile(r"\\(?:([0-7]{3})|(.))", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def _unquote(text: str) -> str:
    """The string inside quotes; octal escapes are the bytes of UTF-8."""

    def replace(match: re.Match) -> str:
        if match.group(1) is not None:
            return chr(int(match.group(1), 8))
        return _ESCAPED.get(match.group(2), match.group(2))

    plain = _ESCAPE.sub(replace, text)
    return plain.encode("latin-1").decode("utf-8", "surrogatepass")


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """(number, text) of each line, a graph's parameters joined into one line."""
    lines: list[tuple[int, str]] = []
    joining = False
    for number, line in enumerate(text.split("\n"), 1):
        if joining:
            lines[-1] = (lines[-1][0], lines[-1][1] + " " + line.strip())
        elif line.strip():
            lines.append((number, line))
        else:
            continue
        joining = lines[-1][1].lstrip().startswith("graph(") and not lines[-1][1].endswith("):")
    indent = min((len(t) - len(t.lstrip()) for _, t in lines), default=0)
    return [(n, t[indent:]) for n, t in lines]
