"""Prints functions as TorchScript's code text: the language of an archive's `code/` members.

A value that is used once, right where it is made, is written inside the expression that uses it;
others get a name: their own, or `_0`, `_1` ... An expression that would grow too long is named too.
"""

from __future__ import annotations

import keyword
import re
from typing import Callable

from lowering.code_expressions import constant_text, expression_text, is_statement, stored_key
from lowering.graph import Block, Function, Graph, Node, Value
from lowering.types import ClassType, InterfaceType, OptionalType, Type, UnionType

_LONG = 40  # an expression of this many characters, indentation included, gets a name
_RESERVED = frozenset(keyword.kwlist) | frozenset(
    """_ as aten attribute CONSTANTS fork getattr inf nan infj nanj ops __torch__ uninitialized
    unchecked_cast awaitable print torch""".split()
)
_NO_LIMIT = 2**63 - 1


def print_code(
    function: Function, level: int = 0, store: Callable[[object], str] | None = None,
    whole_names: bool = False, numbers: dict[str, int] | None = None,
) -> str:
    """The text of one function or method, with a line's end, indented `level` times.

    In an archive `store` gives what a text cannot hold its name in the table of constants, and with
    `whole_names` the first parameter of a method states its type. Functions of one file share
    `numbers`, which counts the names made up (`_0`, `_1` ...).
    """
    printer = _CodePrinter(store=store)
    printer.numbers = {} if numbers is None else numbers
    printer.level = level + 1
    head = []
    for i, (parameter, value) in enumerate(zip(function.parameters, function.graph.inputs)):
        name = printer.name_value(value, parameter.name)
        text = name
        if i or whole_names or not isinstance(parameter.type, (ClassType, InterfaceType)):
            text += f": {parameter.type.annotation()}"
        if not parameter.required:
            text += f"={printer.constant(parameter.default)}"
        head.append(text)
    last = function.name.rpartition(".")[2]
    indent = "  " * level
    signature = ",\n    ".join(head)
    printer.body(function.graph, returns=True)
    first = f"{indent}def {last}({signature}) -> {function.returns.annotation()}:"
    return "\n".join([first, *printer.lines]) + "\n"


class _CodePrinter:
    def __init__(self, outer: _CodePrinter | None = None,
                 store: Callable[[object], str] | None = None) -> None:
        self.store = store or (self.number if outer is None else outer.store)
        self.numbers: dict[str, int] = {} if outer is None else outer.numbers
        self.lines: list[str] = []
        self.level = 1
        self.names: dict[Value, str] = {} if outer is None else dict(outer.names)
        self.used: set[str] = set(_RESERVED) if outer is None else outer.used
        self.next: dict[str, int] = {} if outer is None else outer.next
        self.stored: dict[object, str] = {} if outer is None else outer.stored
        self.inlined: set[Value] = set()
        self.measured: dict[Value, tuple[str, bool]] = {}

    def body(self, graph: Graph, returns: bool) -> None:
        """Print a graph whose inputs are named."""
        self.scan_block(graph.block)
        for node in graph.nodes():
            for value in node.inputs:
                self.hoist(value)
            for block in node.blocks:
                for value in block.outputs:
                    self.hoist(value)
        for value in graph.outputs:
            self.hoist(value)
        self.block(graph.block)
        if returns:
            texts = self.texts(graph.outputs)
            self.line(f"return {', '.join(texts)}")

    def line(self, text: str) -> None:
        self.lines.append("  " * self.level + text)

    # --- names --------------------------------------------------------------------------------

    def name_value(self, value: Value, hint: str | None = None) -> str:
        """Give a value its name in the text."""
        if hint is None and value.has_name:
            hint = value.name
        name = self.fresh(hint)
        self.names[value] = name
        return name

    def fresh(self, hint: str | None) -> str:
        base = "_" if hint is None else re.sub(r"\.\d+$", "", hint)
        base = re.sub(r"\W", "_", base)
        if base[:1].isdigit():
            base = "_" + base
        name = base
        counts = self.numbers if hint is None else self.next
        while name in self.used:
            number = counts.get(base, 0)
            counts[base] = number + 1
            name = f"{base}{number}"
        self.used.add(name)
        return name

    # --- what is written inside other expressions ---------------------------------------------

    def scan_block(self, block: Block) -> None:
        done: set[Node] = set()
        position = {node: i for i, node in enumerate(block.nodes)}
        self.scan_values(block.outputs, block, len(block.nodes) - 1, position, done, True)
        for node in reversed(block.nodes):
            if node not in done:
                self.scan_node(node, block, position, done)

    def scan_node(self, node: Node, block: Block, position: dict[Node, int], done: set) -> int:
        """Mark what `node` can absorb; the index of the node before all it absorbed."""
        done.add(node)
        for inner in node.blocks:
            self.scan_block(inner)
        return self.scan_values(node.inputs, block, position[node] - 1, position, done, False)

    def scan_values(
        self, values: list[Value], block: Block, point: int, position: dict[Node, int],
        done: set, returned: bool,
    ) -> int:
        for value in reversed(values):
            while point >= 0 and block.nodes[point].kind == "prim::Constant":
                point -= 1
            node = value.node
            if (
                point >= 0
                and node is block.nodes[point]
                and len(node.outputs) == 1
                and len(value.uses) == 1
                and (returned or not value.has_name)
                and not is_statement(node)
            ):
                self.inlined.add(value)
                point = self.scan_node(node, block, position, done)
        return point

    # --- expressions --------------------------------------------------------------------------

    def hoist(self, value: Value) -> None:
        """Name a long constant at the head of the function."""
        if not value.is_constant or value in self.names:
            return
        text = self.constant(value.constant)
        if self.is_long(text, self.level):
            self.line(f"{self.name_value(value)} = {text}")

    def is_long(self, text: str, level: int) -> bool:
        return len(text) + 2 * level >= _LONG

    def text(self, value: Value) -> str:
        """The expression for a value: its name, a constant, or what makes it."""
        name = self.names.get(value)
        if name is not None:
            return name
        if value.is_constant:
            return self.constant(value.constant)
        return expression_text(value.node, self.texts(value.node.inputs))

    def texts(self, values: list[Value]) -> list[str]:
        """The expressions for several values, in the order they run.

        If one is long it gets a name. If naming it, or a part of it, takes a statement, those
        before it, which must run first, get names too.
        """
        named = -1
        for i, value in enumerate(values):
            if self.is_pending(value):
                text, emits = self.measure(value)
                if emits or self.is_long(text, self.level):
                    named = i
        out = []
        for i, value in enumerate(values):
            text = self.text(value)
            if i <= named and self.is_pending(value):
                if i < named or self.is_long(text, self.level):
                    name = self.name_value(value)
                    self.line(f"{name} = {text}")
                    text = name
            out.append(text)
        return out

    def is_pending(self, value: Value) -> bool:
        """Whether a value is still an expression without a name."""
        return value in self.inlined and value not in self.names

    def measure(self, value: Value) -> tuple[str, bool]:
        """The expression of a pending value, with stand-ins for the names that parts of it will
        get, and whether there are any."""
        known = self.measured.get(value)
        if known is not None:
            return known
        texts, emits = [], False
        for part in value.node.inputs:
            if not self.is_pending(part):
                texts.append(self.text(part))
                continue
            text, inner = self.measure(part)
            long = self.is_long(text, self.level)
            emits = emits or inner or long
            texts.append("_00" if long else text)
        self.measured[value] = expression_text(value.node, texts), emits
        return self.measured[value]

    def constant(self, value: object) -> str:
        return constant_text(value, self.store)

    def number(self, value: object) -> str:
        """The name of a constant that stands in the archive's table of constants."""
        return self.stored.setdefault(stored_key(value), f"CONSTANTS.c{len(self.stored)}")

    # --- statements ---------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        for node in block.nodes:
            if node.kind == "prim::Constant" or (node.outputs and node.outputs[0] in self.inlined):
                continue
            self.statement(node)

    def statement(self, node: Node) -> None:
        kind = node.kind
        if kind == "prim::If":
            self.if_(node)
        elif kind == "prim::Loop":
            self.loop(node)
        elif kind == "prim::fork":
            self.fork(node)
        elif kind == "prim::Enter":
            (manager,) = self.texts(node.inputs)
            target = f" as {self.name_value(node.output)}" if node.output.uses else ""
            self.line(f"with {manager}{target}:")
            self.level += 1
            if _following(node).kind == "prim::Exit":
                self.line("pass")
        elif kind == "prim::Exit":
            self.level -= 1
        else:
            self.simple(node)

    def simple(self, node: Node) -> None:
        texts = self.texts(node.inputs)
        if node.kind == "prim::SetAttr":
            self.line(f"{_attribute(texts[0], node)} = {texts[1]}")
            return
        text = expression_text(node, texts)
        if not node.outputs:
            if node.kind in ("prim::TupleUnpack", "prim::ListUnpack"):
                text = f"[] = {text}"
            self.line(text)
            return
        targets = ", ".join(self.name_value(v) for v in node.outputs)
        if node.kind in ("prim::TupleUnpack", "prim::ListUnpack"):
            targets += ","
        elif node.kind == "prim::ModuleContainerIndex":  # its interface, which the text must tell
            targets += f" : {node.output.type.annotation()}"
        self.line(f"{targets} = {text}")

    def if_(self, node: Node) -> None:
        (condition,) = self.texts(node.inputs)
        names = [self.name_value(v) for v in node.outputs]
        for word, block in zip((f"if {condition}:", "else:"), node.blocks):
            self.line(word)
            self.level += 1
            before = len(self.lines)
            self.block(block)
            self.assign(names, block.outputs, [v.type for v in node.outputs], word != "else:")
            if len(self.lines) == before:
                self.line("pass")
            self.level -= 1

    def assign(
        self, names: list[str], values: list[Value], wanted: list[Type], annotate: bool
    ) -> None:
        if not names:
            return
        texts = self.texts(values)
        if annotate and len(names) == 1 and isinstance(wanted[0], (OptionalType, UnionType)):
            # The reader of the text learns the variable's type from its first assignment.
            names = [f"{names[0]} : {wanted[0].annotation()}"]
        self.line(f"{', '.join(names)} = {', '.join(texts)}")

    def loop(self, node: Node) -> None:
        block = node.blocks[0]
        limit, condition, *carried = node.inputs
        counted = not (limit.is_constant and limit.constant == _NO_LIMIT)
        texts = self.texts([*carried, limit, condition])
        names = []
        for output, param, text in zip(node.outputs, block.params[1:], texts):
            name = self.name_value(output)
            stated = ""
            if isinstance(output.type, (OptionalType, UnionType)):
                stated = f": {output.type.annotation()}"
            self.line(f"{name}{stated} = {text}")
            self.names[param] = name
            names.append(name)
        again: list[Value] = []
        if counted:
            index = self.name_value(block.params[0])
            self.line(f"for {index} in range({texts[-2]}):")
        else:
            flag = self.fresh(None)
            self.line(f"{flag} = {texts[-1]}")
            self.line(f"while {flag}:")
            names.insert(0, flag)
            again = [block.outputs[0]]
        self.level += 1
        before = len(self.lines)
        self.block(block)
        results = [*again, *block.outputs[1:]]
        self.assign(names, results, [v.type for v in results], False)
        if len(self.lines) == before:
            self.line("pass")
        self.level -= 1

    def fork(self, node: Node) -> None:
        graph = node.attributes["Subgraph"]
        name = self.fresh("__forked_function")
        inner = _CodePrinter(self)
        inner.level = self.level + 1
        for param, value in zip(graph.inputs, node.inputs):
            inner.names[param] = self.text(value)
        inner.body(graph, returns=True)
        self.line(f"def {name}():")
        self.lines += inner.lines
        self.line(f"{self.name_value(node.output)} = fork({name})")


def _attribute(base: str, node: Node) -> str:
    return f"{base}.{node.attributes['name']}"


def _following(node: Node) -> Node:
    nodes = node.owner.nodes
    return nodes[nodes.index(node) + 1]
