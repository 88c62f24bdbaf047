"""The code members of an archive: the classes and functions that a module needs, as text."""

from __future__ import annotations

from collections.abc import Iterator

from lowering.code_expressions import constant_text, stored_key
from lowering.graph import Function, Graph, Node
from lowering.graph_code import print_code
from lowering.objects import EnumValue, ScriptObject
from lowering.types import (
    ClassType, EnumType, InterfaceType, TensorType, TupleType, Type, contained,
)  # fmt: skip
from runtime.errors import InputError

Definition = ClassType | InterfaceType | EnumType | TupleType | Function

# What an operator means changed with these versions: an archive that uses it has at least this one.
_VERSIONS = {"aten::full": 5, "aten::linspace": 8, "aten::logspace": 9, "aten::gelu": 10}
_DIVISIONS = frozenset(("aten::div", "aten::div_", "aten::true_divide", "aten::true_divide_",
                        "aten::divide", "aten::divide_"))
_OLDEST = 3


class Constants:
    """The tuple that `CONSTANTS.cN` indexes; one thing stands in it once."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self._numbers: dict[object, int] = {}

    def name(self, value: object) -> str:
        key = stored_key(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return f"CONSTANTS.c{self._numbers[key]}"


class CodeWriter:
    """Finds what `root` needs; `members()` gives the texts by name.

    Two things of one name, which can meet when modules of different origins are put together, are
    told apart by `___torch_mangle_N` in the name of the later one.
    """

    def __init__(self, roots: list[object]) -> None:
        self.constants = Constants()
        self.definitions: dict[str, Definition] = {}
        self.version = _OLDEST
        self._seen: dict[int, object] = {}
        pending: list[object] = list(reversed(roots))
        while pending:
            thing = pending.pop()
            if isinstance(thing, (list, tuple)) and not isinstance(thing, Type):
                pending.extend(reversed(thing))
                continue
            if id(thing) in self._seen:
                continue
            self._seen[id(thing)] = thing
            if isinstance(thing, ScriptObject):
                pending.append(thing.type)
                pending.extend(v for v in thing.attributes.values() if _may_hold_types(v))
            elif isinstance(thing, dict):
                pending.extend((*thing.keys(), *thing.values()))
            elif isinstance(thing, EnumValue):
                pending.append(thing.type)
            elif isinstance(thing, Graph):
                pending.extend(reversed(list(self._of_graph(thing))))
            elif isinstance(thing, (Type, Function)):
                self._define(thing)
                pending.extend(reversed(list(self._needs(thing))))

    # --- what is needed -----------------------------------------------------------------------

    def _define(self, thing: Type | Function) -> None:
        if isinstance(thing, TupleType) and thing.name is None:
            return
        if not isinstance(thing, (ClassType, InterfaceType, EnumType, TupleType, Function)):
            return
        name = thing.name
        assert name is not None
        known = self.definitions.get(name)
        if known is thing or (isinstance(thing, TupleType) and known == thing):
            return
        if known is not None:
            if isinstance(thing, TupleType):
                raise InputError(f"save: two different NamedTuples are named {name}")
            name = thing.name = self._mangled(name)
        self.definitions[name] = thing

    def _mangled(self, name: str) -> str:
        path, _, last = name.rpartition(".")
        parts = [p for p in path.split(".") if not p.startswith("___torch_mangle_")]
        number = 0
        while True:
            found = ".".join((*parts, f"___torch_mangle_{number}", last))
            if found not in self.definitions:
                return found
            number += 1

    def _needs(self, thing: Type | Function) -> Iterator[object]:
        if isinstance(thing, Function):
            yield from (p.type for p in thing.parameters)
            yield from (p.default for p in thing.parameters if _may_hold_types(p.default))
            yield thing.returns
            yield thing.graph
        elif isinstance(thing, ClassType):
            yield from thing.attributes.values()
            yield from thing.constant_types.values()
            yield from (v for v in thing.constants.values() if _may_hold_types(v))
            for method in thing.methods.values():
                yield from self._needs(method)
        elif isinstance(thing, InterfaceType):
            for method in thing.methods.values():
                yield from (p.type for p in method.parameters)
                yield method.returns
        else:
            yield from contained(thing)

    def _of_graph(self, graph: Graph) -> Iterator[object]:
        for node in graph.nodes():
            self._note_version(node)
            for value in node.outputs:
                yield value.type
            for block in node.blocks:
                yield from (v.type for v in block.params)
            for value in node.attributes.values():
                if isinstance(value, (Type, Function, Graph)) or _may_hold_types(value):
                    yield value

    def _note_version(self, node: Node) -> None:
        version = _VERSIONS.get(node.kind, 0)
        if node.kind in _DIVISIONS and any(isinstance(v.type, TensorType) for v in node.inputs):
            version = 4
        self.version = max(self.version, version)

    # --- texts --------------------------------------------------------------------------------

    def members(self) -> dict[str, str]:
        """Member name -> text, in the order in which things were found."""
        texts: dict[str, str] = {}
        counted: dict[str, dict[str, int]] = {}
        for name, thing in self.definitions.items():
            path = name.rpartition(".")[0].replace(".", "/")
            member = f"code/{path}.py"
            text = self._text(thing, counted.setdefault(member, {}))
            texts[member] = texts.get(member, "") + text
        return texts

    def _text(self, thing: Definition, numbers: dict[str, int]) -> str:
        if isinstance(thing, Function):
            return self._code(thing, 0, numbers)
        assert thing.name is not None
        last = thing.name.rpartition(".")[2]
        if isinstance(thing, TupleType):
            fields = [f"{f} : {t.annotation()}" for f, t in zip(thing.fields or (), thing.elements)]
            return _lines(f"class {last}(NamedTuple):", fields)
        if isinstance(thing, EnumType):
            rows = [f"{k} = {self._constant(v)}" for k, v in thing.members.items()]
            return _lines(f"class {last}(Enum):", rows)
        if isinstance(thing, InterfaceType):
            head = f"class {last}({'ModuleInterface' if thing.is_module else 'Interface'}):"
            return _lines(head, []) + "".join(map(_declaration, thing.methods.values()))
        return self._class(thing, last, numbers)

    def _class(self, cls: ClassType, last: str, numbers: dict[str, int]) -> str:
        rows = []
        if cls.is_module:
            rows.append(f"__parameters__ = {_names(cls.parameters)}")
            rows.append(f"__buffers__ = {_names(cls.buffers)}")
        if cls.forward_pre_hooks:
            rows.append(f"__forward_pre_hooks__ = {_names(cls.forward_pre_hooks)}")
        if cls.forward_hooks:
            rows.append(f"__forward_hooks__ = {_names(cls.forward_hooks)}")
        for i, (name, type_) in enumerate(cls.attributes.items()):
            if name.isidentifier():
                rows.append(f"{name} : {type_.annotation()}")
                continue
            if i == 0:
                rows.append("__annotations__ = []")
            rows.append(f'__annotations__["{name}"] = {type_.annotation()}')
        for name, value in cls.constants.items():
            type_ = cls.constant_types[name].annotation()
            rows.append(f"{name} : Final[{type_}] = {self._constant(value)}")
        head = f"class {last}(Module):" if cls.is_module else f"class {last}:"
        methods = [self._code(m, 1, numbers) for m in cls.methods.values()]
        if not rows and not methods:
            rows.append("pass")
        return _lines(head, rows) + "".join(methods)

    def _code(self, function: Function, level: int, numbers: dict[str, int]) -> str:
        for node in function.graph.nodes():
            if node.kind == "prim::PythonOp":
                raise InputError(
                    f"save: {function.name} calls the Python function "
                    f"{node.attributes['name']!r}, which is marked to be ignored and has no place "
                    "in an archive")
        return print_code(function, level, self.constants.name, True, numbers)

    def _constant(self, value: object) -> str:
        return constant_text(value, self.constants.name)


def _may_hold_types(value: object) -> bool:
    return isinstance(value, (ScriptObject, EnumValue, list, tuple, dict))


def _names(names: tuple[str, ...]) -> str:
    return "[%s]" % "".join(f'"{name}", ' for name in names)


def _lines(head: str, rows: list[str]) -> str:
    return "".join((head, "\n", *(f"  {row}\n" for row in rows)))


def _declaration(method: Function) -> str:
    """A method of an interface, which has no body."""
    head = ",\n    ".join(f"{p.name}: {p.type.annotation()}" for p in method.parameters)
    last = method.name.rpartition(".")[2]
    return f"  def {last}({head}) -> {method.returns.annotation()}:\n    pass\n"


