"""The evaluator: walks a Graph once, node by node, with abstract values (lowering/abstract.py).

What is known is computed in Python; operators on tensors append TensorOps; calls are followed, so
that the result is one flat program. Errors name the line that the node came from and the calls that
led there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lowering import (
    build as B, evaluate_complex, evaluate_containers, evaluate_forks, evaluate_lists,
    evaluate_nested, evaluate_numbers, evaluate_optional, evaluate_packed, evaluate_prims,
    evaluate_strings, evaluate_tensors, known,
)  # fmt: skip
from lowering.abstract import (
    AbstractTensor, Choice, Maybe, Raised, Storage, Unknown, describe, known_array,
)  # fmt: skip
from lowering.evaluate_if import run_if
from lowering.evaluate_loop import run_loop
from lowering.evaluate_memory import Memory
from lowering.evaluate_operators import Unsupported, apply, kind_of
from lowering.graph import Block, Function, Graph, Node
from lowering.graph import Value as GraphValue
from lowering.objects import ScriptObject, TensorData
from lowering.ops import TABLE
from lowering.sizes import Number, Size
from lowering.tensor_ir import Value
from lowering.texts import Text
from runtime.dtypes import bool_, to_compute
from runtime.errors import AotError, CompileError, RuntimeFailure

if TYPE_CHECKING:
    from lowering.program_state import Entered

Env = dict[GraphValue, Any]

DEEPEST_CALL = 150
# A program that unrolls to more nodes than this does not end, or would not fit into memory.
MOST_NODES = 2_000_000
SHOWN_CALLERS = 3
# Nodes whose list or dict is a new one.
_MAKERS = frozenset((
    "prim::ListConstruct", "prim::DictConstruct", "prim::Constant", "prim::tolist", "aten::list",
    "aten::dict", "aten::copy", "aten::slice", "aten::add", "aten::mul", "aten::size",
    "aten::keys", "aten::values", "aten::items", "aten::sorted", "aten::split", "aten::chunk",
    "aten::unbind", "prim::rangelist",
))  # fmt: skip
# PyTorch takes the second operand of these as a number where it is a 0-d constant of the graph:
# traces hold numbers that way, and numbers promote otherwise than tensors.
_NUMBER_SECOND = frozenset(("aten::add", "aten::sub", "aten::mul", "aten::div"))
# What operators raise for arguments that do not fit.
_WRONG_ARGUMENTS = (
    ValueError, IndexError, TypeError, RuntimeError, KeyError, AttributeError, OverflowError,
    ZeroDivisionError, NotImplementedError, AssertionError, MemoryError,
)  # fmt: skip


class Evaluator:
    """The state of one partial evaluation."""

    def __init__(self, eager: bool = False):
        self.memory = Memory(eager)
        self.loaded: dict[tuple[int, str], tuple] = {}  # attributes read: object, value, abstract
        self.assigned: dict[tuple[int, str], ScriptObject] = {}  # attributes given another value
        self.state: dict[tuple, Entered] = {}  # what is kept from call to call
        # Unsupported operators: name and kinds of the arguments -> message, places
        self.problems: dict[tuple, list[str]] = {}
        self.callers: list[Node] = []
        self.node: Node | None = None
        self.nodes = 0  # evaluated so far
        self.bounds: dict[Value, tuple[Number, Number]] = {}  # of loop counters of run time
        # Bools of run time that tell whether a size is above 0 (True), or 0 (False)
        self.fullness: dict[Value, tuple[Size, bool]] = {}
        self.packed: dict[Storage, evaluate_packed.Packed] = {}  # packed sequences by their rows
        self.device = evaluate_tensors.CPU

    # Running

    def call(self, function: Function, args: list, kwargs: dict) -> object:
        """The result of a function or method; missing arguments take their defaults."""
        if len(self.callers) >= DEEPEST_CALL:
            raise ValueError(f"calls are nested {DEEPEST_CALL} deep; recursion whose depth is not "
                             "known when compiling is not supported")
        if len(args) > len(function.parameters):
            raise TypeError(f"{function.name} takes {len(function.parameters)} arguments, found "
                            f"{len(args)}")
        bound = list(args)
        for p in function.parameters[len(args):]:
            if p.name in kwargs:
                bound.append(kwargs[p.name])
            elif not p.required:
                bound.append(evaluate_prims.abstract(self, p.default))
            else:
                raise TypeError(f"{function.name}: the argument '{p.name}' is missing")
        caller = self.node
        if caller is not None:
            self.callers.append(caller)
        try:
            return self.run_graph(function.graph, bound)
        finally:
            if caller is not None:
                self.callers.pop()
            self.node = caller

    def run_graph(self, graph: Graph, args: list) -> object:
        results = self.run_block(graph.block, args, {})
        return results[0] if len(results) == 1 else tuple(results) if results else None

    def run_block(self, block: Block, args: list, env: Env) -> list:
        env.update(zip(block.params, args))
        self.nodes += len(block.nodes)
        if self.nodes > MOST_NODES and not self.memory.eager:
            raise ValueError(f"the program unrolls to more than {MOST_NODES} operations: a loop "
                             "does not end, or takes too many turns, at compile time")
        for node in block.nodes:
            self.run_node(node, env)
        return [env[v] for v in block.outputs]

    def run_node(self, node: Node, env: Env) -> None:
        self.node = node
        self.memory.origin = node.range
        try:
            if node.kind == "prim::If":
                results = run_if(self, node, env)
            elif node.kind == "prim::Loop":
                results = run_loop(self, node, env)
            else:
                result = self.operate(node, [env[v] for v in node.inputs])
                if len(node.outputs) == 1:
                    if isinstance(result, (list, dict)) and node.kind in _MAKERS:
                        self.memory.made(result)
                    env[node.outputs[0]] = result
                    return
                if not node.outputs:
                    return
                if isinstance(result, Unknown):
                    result = (result,) * len(node.outputs)
                results = result  # type: ignore[assignment]
        except (AotError, Raised) as e:
            if isinstance(e, Raised) and not e.where:
                e.where = self.place(node)
            if isinstance(e, RuntimeFailure):
                raise Raised(str(e), self.place(node)) from None
            raise
        except Unsupported:
            self.node = node
            results = self._record(node, [env[v] for v in node.inputs])
        except known.Unsupported as e:
            self.node = node
            results = self._record(node, [env[v] for v in node.inputs], str(e))
        except (IndexError, RuntimeError) as e:  # of an operator, in PyTorch's words
            if isinstance(e, NotImplementedError | RecursionError):
                raise
            if self.memory.frames or self.memory.eager or isinstance(e, IndexError):
                raise Raised(str(e), self.place(node)) from None  # on this path
            raise CompileError(self._wrong(node, [env.get(v) for v in node.inputs], e)) from e
        except _WRONG_ARGUMENTS as e:
            self.node = node
            if isinstance(e, (TypeError, AttributeError)) and _has_run_time_numbers(node, env):
                results = self._record(node, [env[v] for v in node.inputs],
                                       "sizes and dims must be known at compile time")
                env.update(zip(node.outputs, results))
                return
            raise CompileError(self._wrong(node, [env.get(v) for v in node.inputs], e)) from e
        if len(node.outputs) != len(results):
            raise CompileError(f"{node.kind} gave {len(results)} results for {len(node.outputs)} "
                               f"names\n{self.place(node)}")
        env.update(zip(node.outputs, results))

    def operate(self, node: Node, args: list) -> object:
        """The result of a node without blocks; a tuple of several."""
        kind = node.kind
        prim = evaluate_prims.TABLE.get(kind) or evaluate_forks.TABLE.get(kind)
        if prim is not None:
            if kind not in evaluate_prims.LAZY and any(isinstance(x, Unknown) for x in args):
                return self._unknown(args)
            return prim(self, node, args)
        for x in args:
            if _has_unknown(x):
                if not _is_supported(kind):
                    raise Unsupported(kind)
                return self._unknown(args)
        if kind in _NUMBER_SECOND and "rounding_mode" not in node.kwarg_names:
            first, second = node.inputs[:2]
            if second.is_constant and not first.is_constant:
                args = [args[0], _number_of(second.constant, args[1]), *args[2:]]
        count = len(args) - len(node.kwarg_names)
        kwargs = dict(zip(node.kwarg_names, args[count:]))
        return self.operate_with(kind, args[:count], kwargs, node)

    def operate_with(self, kind: str, args: list, kwargs: dict, node: Node | None = None) -> object:
        """The result of an operator; the node it stands for, if any, tells a number's type."""
        if evaluate_complex.concerns(kind, args, kwargs):
            return evaluate_complex.compute(self, kind, args, kwargs)
        if evaluate_nested.concerns(kind, args):
            return evaluate_nested.compute(self, kind, args, kwargs)
        for x in args:
            if type(x) is Choice:
                return evaluate_strings.compute(self, kind, args)
            if type(x) is Maybe:
                return evaluate_optional.compute(self, kind, args)
            if type(x) is list and evaluate_lists.rows_of(x) is not None:
                return evaluate_lists.compute(self, kind, args, kwargs)
        first = args[0] if args else next(iter(kwargs.values()), None)
        try:
            if isinstance(first, AbstractTensor):
                if kind in evaluate_packed.LAYERS and isinstance(args[3], list):
                    return evaluate_packed.LAYERS[kind](self, *args, **kwargs)
                special = evaluate_tensors.TABLE.get(kind)
                if special is not None:
                    return special(self, *args, **kwargs)
            elif kind in ("aten::tensor", "aten::as_tensor", "aten::scalar_tensor"):
                return evaluate_tensors.from_data(self, *args, **kwargs)
            elif isinstance(first, (list, tuple, dict, str, Text)) or not (args or kwargs):
                if kind in evaluate_containers.TABLE:
                    return evaluate_containers.compute(self, node, kind, args, kwargs)
                if isinstance(first, str) and kind in evaluate_numbers.KNOWN:
                    return evaluate_numbers.compute(self, node, kind, args, kwargs)
            if kind in evaluate_numbers.KNOWN and not any(
                isinstance(x, AbstractTensor) for x in args
            ):
                return evaluate_numbers.compute(self, node, kind, args, kwargs)
        except KeyError as e:
            if e.args != (kind,):
                raise
        return apply(self, kind, args, kwargs)

    # Values

    def item(self, t: object) -> object:
        """The number in a tensor of one element (numbers stay)."""
        return evaluate_tensors.item(self, t) if isinstance(t, AbstractTensor) else t

    def to_number(self, x: object, target: type) -> object:
        return evaluate_numbers.convert(self, x, target)

    def value_of(self, x: object) -> Value:
        """A number as a 0-d wrapped Value."""
        return x if isinstance(x, Value) else self.memory.number(x)  # type: ignore[arg-type]

    def check(self, condition: Value, message: str | Text, where: str = "") -> None:
        """Fails the run with the message unless the condition holds."""
        array = known_array(condition)
        if array is not None:
            if not array:
                raise Raised(message, where)
            return
        where = (where or self.place(self.node)).partition("\n")[0]
        self.memory.build(lambda: B.check(condition, message, where))

    def fail(self, raised: Raised) -> None:
        """Fails the run at this point with what was raised."""
        where = raised.where.partition("\n")[0]
        never = B.constant(np.array(False), bool_)  # not through `build`, which would try it now
        B.check(never, raised.message, where)

    def use(self, x: object) -> None:
        """Complains if x cannot be told."""
        if isinstance(x, Unknown) and x.problem is not None:
            raise CompileError(f"{x.problem}\n{self.place(self.node)}")

    def _unknown(self, args: list) -> Unknown:
        for x in args:
            self.use(x)
            if isinstance(x, (list, tuple, dict)):
                for v in x.values() if isinstance(x, dict) else x:
                    self.use(v)
        return Unknown(None)

    # Messages

    def place(self, node: Node | None) -> str:
        """Where a node comes from: file, line, caret, and the calls that led there."""
        lines = []
        if node is not None and node.range is not None:
            lines.append(f"  at {node.range}")
            excerpt = node.range.excerpt()
            if excerpt:
                lines.append(excerpt)
        for caller in self.callers[::-1][:SHOWN_CALLERS]:
            if caller.range is not None:
                lines.append(f"  called from {caller.range}")
        return "\n".join(lines)

    def _record(self, node: Node, args: list, why: str = "") -> list:
        """Notes an unsupported operator; its results are unknown from here on."""
        kind = node.kind
        key = (kind, *map(kind_of, args))
        if "U" in key:  # after another unsupported operator: any call of this one stands for it
            key = next((known for known in self.problems if known[0] == kind), key)
        if key not in self.problems:
            found = f"{kind}({', '.join(map(describe, args))})"
            if why:
                found += f": {why}"
            elif kind in TABLE or kind.rstrip("_") in TABLE:
                found += ": no overload takes these arguments"
            self.problems[key] = [found, self.place(node)]
        else:
            self.problems[key].append(self.place(node))
        return [Unknown(None) for _ in node.outputs]

    def _wrong(self, node: Node, args: list, e: Exception) -> str:
        text = str(e.args[0]) if isinstance(e, KeyError) and e.args else str(e)
        if not text:
            text = "the arguments do not fit"
        call = f"{node.kind}({', '.join(map(describe, args))})" if args else node.kind
        return f"{text}\n  in {call}\n{self.place(node)}"

    def problems_text(self) -> str:
        """All unsupported operators, one message."""
        count = len(self.problems)
        lines = [f"{count} operator{'s are' if count > 1 else ' is'} not supported:"]
        for found, place, *others in self.problems.values():
            lines += [found, place]
            if others:
                lines.append(f"  and in {len(others)} other places")
        if any(not kind.startswith(("aten::", "prim::")) and kind not in TABLE
               for kind, *_ in self.problems):
            lines.append("operators of one's own are declared first: aot.library, or --operator")
        return "\n".join(lines)


def _is_supported(kind: str) -> bool:
    """Whether some arguments exist that the operator takes."""
    functional = kind[:-1] if kind.endswith("_") else kind
    return functional in TABLE or any(
        kind in table
        for table in (TABLE, evaluate_tensors.TABLE, evaluate_containers.TABLE,
                      evaluate_numbers.KNOWN, evaluate_complex.OPERATORS,
                      evaluate_nested.OPERATORS)
    )


def _number_of(constant: object, x: object) -> object:
    """The number in a 0-d constant; x for all else."""
    if (not isinstance(constant, TensorData) or constant.sizes or constant.problem is not None
            or isinstance(constant.storage.dtype, str) or constant.dtype is bool_):
        return x
    return to_compute(constant.numpy(), constant.dtype).item()


def _has_unknown(x: object) -> bool:
    if isinstance(x, dict):
        return any(isinstance(v, Unknown) for v in x.values())
    return isinstance(x, Unknown) or (
        isinstance(x, (list, tuple)) and any(isinstance(v, Unknown) for v in x)
    )


def _has_run_time_numbers(node: Node, env: Env) -> bool:
    for x in (env[v] for v in node.inputs):
        if isinstance(x, Value) or (
            isinstance(x, list) and any(isinstance(v, Value) for v in x)
        ):
            return True
    return False
