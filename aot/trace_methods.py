"""From the record of a trace to methods: each call of a module becomes a method of its class.

    linear(x) recorded inside the call of `linear`, its weights as attributes of the whole
    ~>
    a method of linear's class:  linear(x, GetAttr[weight](self), GetAttr[bias](self))
    in the caller:               CallMethod[forward](GetAttr[linear](self), x)
"""

from __future__ import annotations

from aot.trace_dead import remove_dead
from aot.trace_graph import TracedBlock, TracedGraph, TracedNode, TracedValue
from lowering import types
from lowering.graph import Function, Graph, Parameter, Value
from lowering.graph_builder import Builder
from lowering.objects import ScriptObject
from lowering.types import ClassType, TupleType, Type


def write_methods(trace: TracedGraph, module: ScriptObject | None, name: str) -> Function:
    """Turns a trace into the function `name`; the modules called on the way get their methods.

    `module` is the object that is traced, whose class the function becomes a method of; None for
    the trace of a function.
    """
    trace.root.results = trace.outputs
    if module is not None:
        trace.root.own = trace.inputs[0]
    _Lifter(trace).run()
    if module is not None:
        resolver = _AttributeResolver(trace, module)
        resolver.convert(trace.root)
    _return_tuples(trace, trace.root)
    return _Writer(trace, module).write(name)


class _Lifter:
    """Values that are used outside the call that made them become results of the call."""

    def __init__(self, trace: TracedGraph) -> None:
        self.trace = trace
        self.lifted: dict[tuple[int, int], TracedValue] = {}

    def run(self) -> None:
        self.block(self.trace.root)
        root = self.trace.root
        root.results = [self.reach(v, root) for v in root.results]

    def block(self, block: TracedBlock) -> None:
        for item in list(block.items):
            if isinstance(item, TracedBlock):
                self.block(item)
            else:
                item.inputs = [self.reach(v, block) for v in item.inputs]

    def reach(self, value: TracedValue, block: TracedBlock) -> TracedValue:
        """The value as `block` can use it."""
        around = block.ancestors()
        while value.owner is not None and value.owner not in around:
            made = value.owner
            key = (id(made), id(value))
            if key not in self.lifted:
                made.results.append(value)
                out = self.trace.value(value.type, made.parent)
                made.outputs.append(out)
                self.lifted[key] = out
            value = self.lifted[key]
        return value


class _AttributeResolver:
    """Attributes are read from the module that a block belongs to, or handed in by the caller."""

    def __init__(self, trace: TracedGraph, module: ScriptObject) -> None:
        self.trace = trace
        self.module = module
        self.known: dict[tuple[int, tuple[str, ...]], TracedValue] = {}

    def convert(self, block: TracedBlock) -> None:
        if block.own is None:
            block.own = self.trace.value(self.object_at(block.path).type, block, "self")
        for item in list(block.items):
            if isinstance(item, TracedBlock):
                self.convert(item)
                item.module = self.read(block, item.path)
                item.extra = [(inside, self.resolve(block, outside))
                              for inside, outside in item.extra]
            else:
                item.inputs = [self.resolve(block, v) for v in item.inputs]
        block.results = [self.resolve(block, v) for v in block.results]

    def resolve(self, block: TracedBlock, value: TracedValue) -> TracedValue:
        if value.path is None:
            return value
        if value.path[: len(block.path)] == block.path:
            return self.read(block, value.path)
        key = (id(block), value.path)
        if key not in self.known:  # another module's: the caller hands it in
            inside = self.trace.value(value.type, block)
            block.extra.append((inside, value))
            self.known[key] = inside
        return self.known[key]

    def read(self, block: TracedBlock, path: tuple[str, ...]) -> TracedValue:
        """GetAttr after GetAttr at the block's head, down to the attribute."""
        key = (id(block), path)
        if key in self.known:
            return self.known[key]
        assert block.own is not None
        current, chain = block.own, []
        for depth in range(len(block.path), len(path)):
            name = path[depth]
            type_ = self.type_at(path[: depth + 1])
            node = TracedNode("prim::GetAttr", [current], {"name": name}, None)
            current = self.trace.value(type_, block, name if name.isidentifier() else f"_{name}")
            node.outputs.append(current)
            chain.append(node)
        block.items[:0] = chain
        self.known[key] = current
        return current

    def object_at(self, path: tuple[str, ...]) -> ScriptObject:
        instance: object = self.module
        for name in path:
            assert isinstance(instance, ScriptObject)
            instance = instance.attributes[name]
        assert isinstance(instance, ScriptObject)
        return instance

    def type_at(self, path: tuple[str, ...]) -> Type:
        return self.object_at(path[:-1]).type.attributes[path[-1]]


def _return_tuples(trace: TracedGraph, block: TracedBlock) -> None:
    """A call has one result: several are a tuple, which the caller takes apart."""
    for item in list(block.items):
        if not isinstance(item, TracedBlock):
            continue
        _return_tuples(trace, item)
        if len(item.results) == 1:
            continue
        position = block.items.index(item) + 1
        if not item.results:
            none = TracedNode("prim::Constant", [], {}, None)
            none.outputs.append(trace.value(types.NoneT, item))
            item.items.append(none)
            item.results = [none.outputs[0]]
            item.outputs = [trace.value(types.NoneT, block)]
            continue
        inner = TracedNode("prim::TupleConstruct", item.results, {}, None)
        inner.outputs.append(trace.value(TupleType(tuple(v.type for v in item.results)), item))
        item.items.append(inner)
        unpack = TracedNode("prim::TupleUnpack", [], {}, None)
        whole = trace.value(inner.outputs[0].type, block)
        for old in item.outputs:
            old.number = trace.value(old.type, block).number
        unpack.outputs = item.outputs
        unpack.inputs = [whole]
        item.results, item.outputs = [inner.outputs[0]], [whole]
        block.items.insert(position, unpack)


class _Writer:
    """Writes blocks as Graphs."""

    def __init__(self, trace: TracedGraph, module: ScriptObject | None) -> None:
        self.trace = trace
        self.module = module
        self.captures: dict[int, list[TracedValue]] = {}

    def write(self, name: str) -> Function:
        root = self.trace.root
        self.find_captures(root)
        numbers = {id(v): v.number for v in self._defined(root)}
        for value in self.trace.inputs:
            numbers[id(value)] = value.number
        return self.function(root, self.trace.inputs, numbers, self.trace._next, name, 0)

    def find_captures(self, block: TracedBlock) -> None:
        """Which outer values a block uses, in the order of their first use."""
        found: dict[int, TracedValue] = {}
        inside = {id(v) for v in self._defined(block)}
        inside.update(id(v) for v, _ in block.extra)
        if block.own is not None:
            inside.add(id(block.own))
        for item in block.items:
            if isinstance(item, TracedBlock):
                self.find_captures(item)
            for value in self._used(item):
                if id(value) not in inside:
                    found.setdefault(id(value), value)
        for value in block.results:
            if id(value) not in inside:
                found.setdefault(id(value), value)
        self.captures[id(block)] = list(found.values())

    def _used(self, item: TracedNode | TracedBlock) -> list[TracedValue]:
        if isinstance(item, TracedNode):
            return item.inputs
        assert item.module is not None
        outside = [v for _, v in item.extra]
        return [item.module, *outside, *self.captures[id(item)]]

    def _defined(self, block: TracedBlock) -> list[TracedValue]:
        return [v for item in block.items for v in item.outputs]

    def method(self, block: TracedBlock, depth: int) -> str:
        """Writes a call's block as a method of its module's class; the method's name."""
        assert block.own is not None
        cls = block.own.type
        assert isinstance(cls, ClassType)
        captured = self.captures[id(block)]
        extra = [v for v, _ in block.extra]
        inputs = [block.own, *extra, *captured]
        numbers: dict[int, int] = {}

        def count(value: TracedValue) -> None:
            numbers.setdefault(id(value), len(numbers))

        # A call at the top is copied once, which meets outer values where they are used; those
        # below are copied again with their caller, whose copies have their inputs first.
        for value in inputs if depth > 1 else [block.own, *extra]:
            count(value)
        for item in block.items:
            for value in (*item.outputs, *(self._used(item) if depth == 1 else ())):
                count(value)
        for value in inputs:
            count(value)
        name, k = "forward", 0
        while name in cls.methods:
            k += 1
            name = f"forward{k}"
        cls.methods[name] = Function(name, [], types.NoneT)  # taken, while the calls in it are made
        qualified = f"{cls.name}.{name}"
        cls.methods[name] = self.function(block, inputs, numbers, len(numbers), qualified, depth)
        return name

    def function(self, block: TracedBlock, inputs: list[TracedValue], numbers: dict[int, int],
                 following: int, name: str, depth: int) -> Function:
        graph = Graph()
        builder = Builder(graph)
        made: dict[int, Value] = {}
        texts: dict[int, str] = {}

        def enter(old: TracedValue, new: Value) -> None:
            made[id(old)] = new
            texts[id(old)] = old.name or str(numbers[id(old)])

        for value in inputs:
            enter(value, builder.add_param(graph.block, value.type, "t"))
        for item in block.items:
            if isinstance(item, TracedNode):
                node = builder.node(item.kind, [made[id(v)] for v in item.inputs],
                                    [v.type for v in item.outputs], item.attributes, item.keywords,
                                    ("t",) * len(item.outputs), item.range)
                node.overload = item.overload
                for old, new in zip(item.outputs, node.outputs):
                    enter(old, new)
                continue
            called = self.method(item, depth + 1)
            (output,) = item.outputs
            shown = _plain(output.type)
            node = builder.node("prim::CallMethod", [made[id(v)] for v in self._used(item)],
                                [shown], {"name": called}, names=("t",))
            made[id(output)] = node.output
            texts[id(output)] = str(following)
            following += 1
        builder.set_outputs(graph.block, [made[id(v)] for v in block.results])
        for key, value in made.items():
            value.name = f"t.{key}"
        graph._names = set()
        for key, value in made.items():
            builder.set_name(value, texts[key])
        remove_dead(graph)
        parameters = []
        for i, value in enumerate(inputs):
            label = value.variable or f"argument_{i}"
            if i == 0 and block.own is not None:
                label = "self"
            parameters.append(Parameter(label, _signature(value.type)))
        returns = [_signature(v.type) for v in graph.outputs]
        result = returns[0] if len(returns) == 1 else TupleType(tuple(returns))
        function = Function(name, parameters, result if returns else types.NoneT)
        function.graph = graph
        return function


def _plain(type_: Type) -> Type:
    """The type of a call's result: tensors without their shapes."""
    if isinstance(type_, types.TensorType):
        return types.Tensor
    if isinstance(type_, TupleType):
        return TupleType(tuple(map(_plain, type_.elements)), type_.name, type_.fields)
    if isinstance(type_, types.ListType):
        return types.ListType(_plain(type_.element))
    if isinstance(type_, types.DictType):
        return types.DictType(type_.key, _plain(type_.value))
    return type_


_signature = _plain
