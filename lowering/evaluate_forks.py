"""prim::fork and aten::wait: what is forked and only computes becomes a task, at the wait.

A fork that does more (it writes what was there before, prints, draws random numbers), or gives what
is no tensor, number, list or tuple, runs in order, where it stands. What a fork raises is raised
where its result is awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering.abstract import AbstractTensor, Future, Raised
from lowering.evaluate_if import Branch, adopt, branch_of
from lowering.graph import Node
from lowering.objects import NamedTupleValue
from lowering.sizes import size_values
from lowering.tensor_ir import Check, Region, Tasks, Value, defined

if TYPE_CHECKING:
    from lowering.evaluator import Evaluator

_PLAIN = (int, float, bool, str, type(None))


def fork(ev: Evaluator, node: Node, args: list) -> Future:
    """The result of the subgraph, to be awaited."""
    graph = node.attributes["Subgraph"]
    if ev.memory.eager:
        return Future(ev.run_graph(graph, args))  # type: ignore[arg-type]
    branch = branch_of(ev, graph.block, {}, args)  # type: ignore[union-attr]
    if branch.raised is None and _only_computes(branch):
        return _task(ev, branch)
    outputs = adopt(ev, branch)
    if branch.raised is not None:
        return Future(None, raised=branch.raised)
    return Future(outputs[0] if len(outputs) == 1 else tuple(outputs))


def wait(ev: Evaluator, node: Node, args: list) -> object:
    """What a fork gave."""
    x = args[0]
    if not isinstance(x, Future):
        return x
    if x.raised is not None:
        raise Raised(x.raised.message, x.raised.where)
    ev.memory.start(x)
    return x.value


def _only_computes(branch: Branch) -> bool:
    """Whether nothing outside changes, and the results can be handed over as Values."""
    changed = (branch.storages, branch.containers, branch.stale, branch.links, branch.twins)
    return not any(changed) and not _tells(branch.region) and all(
        _is_plain(x) for x in branch.outputs)


def _tells(region: Region) -> bool:
    return any(isinstance(op, Check) and op.kind != "raise" or any(map(_tells, op.regions()))
               for op in region.ops)


def _is_plain(x: object) -> bool:
    if type(x) in (list, tuple) or isinstance(x, NamedTupleValue):
        return all(map(_is_plain, x))  # type: ignore[arg-type]
    return isinstance(x, (AbstractTensor, Value, *_PLAIN))


def _task(ev: Evaluator, branch: Branch) -> Future:
    """The branch as a task that has not begun. Its results, and the memory of tensors among them,
    are Values of the Tasks op."""
    region, inside = branch.region, set(defined(branch.region))
    storages = {t.storage: None for x in branch.outputs for t in _tensors(x)
                if t.storage.current in inside}
    numbers = {v: None for x in branch.outputs for v in _numbers(x) if v in inside}
    region.results = [*(s.current for s in storages), *numbers]
    outputs = branch.outputs
    value = outputs[0] if len(outputs) == 1 else tuple(outputs)
    if any(v in inside for r in region.results for v in size_values(r.shape)):
        ev.memory.splice(region)  # the sizes would have to be handed over first
        return Future(value)
    op = Tasks([region])
    made = dict(zip(region.results, op.results))
    for storage in storages:
        ev.memory.set_current(storage, made[storage.current])
    for old, new in made.items():
        new.wrapped, new.origin = old.wrapped, old.origin
    future = Future(_with(value, made))
    ev.memory.postpone(future, op)
    return future


def _tensors(x: object) -> list[AbstractTensor]:
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in _tensors(v)]
    return [x] if isinstance(x, AbstractTensor) else []


def _numbers(x: object) -> list[Value]:
    if isinstance(x, (list, tuple)):
        return [n for v in x for n in _numbers(v)]
    return [x] if isinstance(x, Value) else []


def _with(x: object, made: dict[Value, Value]) -> object:
    """A result with the numbers of the op."""
    if isinstance(x, NamedTupleValue):
        return NamedTupleValue([_with(v, made) for v in x], x.type)
    if isinstance(x, (list, tuple)):
        return type(x)(_with(v, made) for v in x)
    return made.get(x, x) if isinstance(x, Value) else x


# As evaluate_prims.TABLE.
TABLE = {"prim::fork": fork, "aten::wait": wait}
