"""prim::If.

A known condition takes one branch. One that depends on run-time data becomes a tensor_ir.If:
tensors and numbers that differ between the branches are its results, and so are the storages that
were written inside. A branch that raises becomes a Check, and the other one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Sequence

from lowering import build as B
from lowering.abstract import (
    UNINITIALIZED, AbstractTensor, Choice, Maybe, Raised, Rows, Storage, Unknown, describe,
    is_number, number_type,
)  # fmt: skip
from lowering.evaluate_attributes import complete_attributes
from lowering.evaluate_kin import Kin
from lowering.evaluate_lists import as_rows, rows_of
from lowering.evaluate_memory import replace_content, rivals
from lowering.evaluate_numbers import convert
from lowering.evaluate_optional import present
from lowering.graph import Block, Node
from lowering.objects import NamedTupleValue
from lowering.sizes import divides, forget, size_values
from lowering.string_numbers import number_of
from lowering.tensor_ir import Check, If, Region, Value, defined
from lowering.texts import Text

if TYPE_CHECKING:
    from lowering.evaluator import Env, Evaluator


@dataclass
class Branch:
    """What evaluating a block under a run-time condition came to."""

    region: Region
    outputs: list = field(default_factory=list)
    values: dict = field(default_factory=dict)  # AbstractTensor -> its Value at the end
    storages: dict = field(default_factory=dict)  # Storage -> its current Value at the end
    containers: dict = field(default_factory=dict)  # id -> (container, its content at the end)
    rivals: dict = field(default_factory=dict)  # Storage -> storages that may be the same
    links: list = field(default_factory=list)  # pairs of storages noted as rivals
    twins: list = field(default_factory=list)  # noted
    stale: list = field(default_factory=list)  # storages that are stale at the end
    raised: Raised | None = None
    serial: int = 0


def run_if(ev: Evaluator, node: Node, env: Env) -> list:
    """The If's outputs."""
    condition = env[node.inputs[0]]
    if isinstance(condition, Unknown):
        return _survey(ev, node, env, condition)
    if isinstance(condition, AbstractTensor):
        condition = ev.to_number(ev.item(condition), bool)
    if not isinstance(condition, Value):
        return ev.run_block(node.blocks[0 if condition else 1], [], env)
    then = branch_of(ev, node.blocks[0], env)
    otherwise = branch_of(ev, node.blocks[1], env)
    if then.raised is not None:
        _raise_if(ev, condition, True, then)
        if otherwise.raised is not None:
            ev.memory.splice(otherwise.region)
            raise otherwise.raised
        return adopt(ev, otherwise)
    if otherwise.raised is not None:
        _raise_if(ev, condition, False, otherwise)
        return adopt(ev, then)
    return _merge(ev, condition, then, otherwise)


def _raise_if(ev: Evaluator, condition: Value, holds: bool, branch: Branch) -> None:
    """The check that the branch, which raises, is not taken. What it tells before it raises, and
    the numbers that its message needs, are in a region of their own."""
    raised = branch.raised
    assert raised is not None
    if isinstance(raised.message, Text) or has_effects(branch.region):
        with ev.memory.inside(branch.region):
            ev.fail(raised)
        regions = [branch.region, Region()]
        ev.memory.region.ops.append(If(condition, *(regions if holds else regions[::-1])))
    else:
        denied = condition
        if holds:
            denied = ev.memory.build(lambda: B.pointwise(lambda c: ~c, condition))
        ev.check(denied, raised.message, raised.where)


def _survey(ev: Evaluator, node: Node, env: Env, condition: Unknown) -> list:
    """The condition cannot be told because of an unsupported operator: look for more of them."""
    ev.use(condition)
    for block in node.blocks:
        branch_of(ev, block, env)
    return [Unknown(None) for _ in node.outputs]


def branch_of(ev: Evaluator, block: Block, env: Env, args: Sequence = ()) -> Branch:
    """Evaluates a block in a region of its own and undoes what it changed."""
    branch = Branch(Region())
    with ev.memory.frame() as frame:
        branch.serial = frame.serial
        try:
            with ev.memory.inside(branch.region):
                branch.outputs = ev.run_block(block, list(args), env)
                for x in [*branch.outputs, *(c for c, _ in frame.containers.values())]:
                    _read_all(ev, x, branch.values)
                branch.rivals = {t.storage: rivals(t.storage) for t in branch.values}
        except Raised as e:
            branch.raised = e
        branch.stale = [s for s in frame.stale if s.stale]
        branch.links, branch.twins = frame.links, frame.twins
        branch.storages, branch.containers = ev.memory.undo(frame)
    forget(defined(branch.region))
    return branch


def _read_all(ev: Evaluator, x: object, values: dict) -> None:
    if isinstance(x, AbstractTensor):
        if not x.storage.stale:
            values[x] = ev.memory.read(x)
    elif isinstance(x, Maybe):
        _read_all(ev, x.value, values)
    elif isinstance(x, (list, tuple)):
        for v in x:
            _read_all(ev, v, values)
    elif isinstance(x, dict):
        for v in x.values():
            _read_all(ev, v, values)


def _read_after(ev: Evaluator, x: object, branch: Branch) -> None:
    """Reads tensors as they are at the end of a branch that knew nothing of them."""
    if isinstance(x, AbstractTensor):
        if x not in branch.values and not x.storage.stale and x.storage not in branch.stale:
            with ev.memory.inside(branch.region):
                branch.values[x] = _after(ev, x, branch)
    elif isinstance(x, (list, tuple, dict)):
        for v in x.values() if isinstance(x, dict) else x:
            _read_after(ev, v, branch)


def _after(ev: Evaluator, x: AbstractTensor, branch: Branch) -> Value:
    if x.storage not in branch.storages:
        return ev.memory.read(x)
    if x.base is None:
        return branch.storages[x.storage]
    below, view = _after(ev, x.base, branch), x.view
    return ev.memory.build(lambda: view.get(below))  # type: ignore[union-attr]


def adopt(ev: Evaluator, branch: Branch) -> list:
    """The branch runs in any case: its ops and changes belong to the current region."""
    ev.memory.splice(branch.region)
    for storage, value in branch.storages.items():
        ev.memory.set_current(storage, value)
    for container, content in branch.containers.values():
        ev.memory.mutate(container)
        replace_content(container, content)
    for a, b in branch.links:
        ev.memory.link(a, b)
    for twin in branch.twins:
        ev.memory.pair(twin)
    for storage in branch.stale:
        ev.memory.set_stale(storage, True)
    return branch.outputs


class _Merger:
    """Collects the pairs of Values that become an If's results."""

    def __init__(self, ev: Evaluator, condition: Value, then: Branch, otherwise: Branch):
        self.ev, self.place, self.condition = ev, ev.place(ev.node), condition
        self.then, self.otherwise = then, otherwise
        self.pairs: list[tuple[Value | None, Value | None]] = []
        self.merged: dict[tuple, Callable] = {}  # tensors of the branches -> the merged one
        self.kin = Kin(ev.memory, condition, then, otherwise)

    def pair(self, a: Value | None, b: Value | None) -> int:
        self.pairs.append((a, b))
        return len(self.pairs) - 1

    def merge(self, a: object, b: object) -> Callable[[list[Value]], object]:
        """A function of the If's results that gives the merged value."""
        if a is b or (type(a) is type(b) and isinstance(a, (int, float, str)) and a == b):
            if not isinstance(a, AbstractTensor) or self._unchanged(a):
                return lambda results: a
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            return self._with_unknown(a, b)
        if isinstance(a, AbstractTensor) and isinstance(b, AbstractTensor):
            return self._tensors(a, b)
        if is_number(a) and is_number(b):
            return self._numbers(a, b)
        if a is None or b is None or type(a) is Maybe or type(b) is Maybe:
            return self._maybe(a, b)
        if isinstance(a, (str, Choice)) and isinstance(b, (str, Choice)):
            return self._strings(a, b)
        if isinstance(a, list) and isinstance(b, list) and (
                len(a) != len(b) or rows_of(a) is not None or rows_of(b) is not None):
            return self._lists(a, b)
        if isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b):  # type: ignore
            parts = [self.merge(x, y) for x, y in zip(a, b)]  # type: ignore[call-overload]
            if isinstance(a, NamedTupleValue):
                named = a.type
                return lambda results: NamedTupleValue([p(results) for p in parts], named)
            return lambda results: type(a)(p(results) for p in parts)
        if isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b):
            merged = {k: self.merge(a[k], b[k]) for k in a}
            return lambda results: {k: p(results) for k, p in merged.items()}
        if a == b and not is_number(a):
            return lambda results: a
        return self._cannot(f"it is {describe(a)} on one path and {describe(b)} on the other")

    def _cannot(self, why: str) -> Callable:
        problem = f"a value depends on a condition that is known only at run time: {why}"
        unknown = Unknown(f"{problem}\n{self.place}")
        return lambda results: unknown

    def _unchanged(self, t: AbstractTensor) -> bool:
        return (t.storage not in self.then.storages and t.storage not in self.otherwise.storages
                and t.storage.serial <= self.then.serial)

    def _with_unknown(self, a: object, b: object) -> Callable:
        """One path leaves the value undefined: the other path's, guarded by the same If."""
        if a is not UNINITIALIZED and b is not UNINITIALIZED:
            unknown = a if isinstance(a, Unknown) else b
            return lambda results: unknown
        x = b if a is UNINITIALIZED else a
        branch = self.then if x is a else self.otherwise

        def beside(v: object) -> Callable:
            """A part of x."""
            return self.merge(*((v, b) if x is a else (a, v)))

        if isinstance(x, AbstractTensor):
            if x not in branch.values:
                return self._cannot("it may have been written through another tensor")
            value = branch.values[x]
        elif isinstance(x, Value):
            value = x
        elif isinstance(x, Choice):
            k = self.pair(*((x.number, None) if x is a else (None, x.number)))
            return lambda results: Choice(results[k])
        elif isinstance(x, Rows):
            value = self._in(branch, lambda: self.ev.memory.read(x.data))
            k = self.pair(*((value, None) if x is a else (None, value)))
            return lambda results: Rows(AbstractTensor(Storage(results[k])), x.number)
        elif isinstance(x, Maybe):
            flag, inner = beside(x.present), beside(x.value)
            return lambda results: Maybe(flag(results), inner(results))
        elif isinstance(x, dict):
            pairs = {key: beside(v) for key, v in x.items()}
            return lambda results: {key: p(results) for key, p in pairs.items()}
        elif isinstance(x, (list, tuple)):
            parts = [beside(v) for v in x]
            if isinstance(x, NamedTupleValue):
                return lambda results: NamedTupleValue([p(results) for p in parts], x.type)
            return lambda results: type(x)(p(results) for p in parts)
        else:
            return lambda results: x
        k = self.pair(*((value, None) if x is a else (None, value)))
        if isinstance(x, AbstractTensor):
            return self._tensor(k, *((x, None) if x is a else (None, x)))
        return self._number(k)

    def _tensor(self, k: int, a: AbstractTensor | None, b: AbstractTensor | None) -> Callable:
        merged = self.kin.expect(a, b)

        def tensor(results: list[Value]) -> AbstractTensor:
            if merged.tensor is None:
                merged.tensor = AbstractTensor(Storage(results[k]))
            return merged.tensor

        self.merged[a, b] = tensor
        return tensor

    def _number(self, k: int) -> Callable:
        def number(results: list[Value]) -> Value:
            results[k].wrapped = True
            return results[k]

        return number

    def _tensors(self, a: AbstractTensor, b: AbstractTensor) -> Callable:
        same = a.storage is b.storage and a.view is b.view and a.base is b.base
        if same and a.storage.serial <= self.then.serial:
            return lambda results: a  # its storage is merged with the other storages
        if (a, b) in self.merged:
            return self.merged[a, b]
        x, y = self.then.values.get(a), self.otherwise.values.get(b)
        if x is None or y is None:
            return self._cannot("it may have been written through another tensor")
        full = self._of_the_full(x, y)
        if full is not None:
            return self._tensor(self.pair(*full), a, b)
        if x.ndim != y.ndim or x.dtype is not y.dtype:
            return self._cannot(f"it is a {describe(a)} on one path and a {describe(b)} on the "
                                "other; the number of dims and dtypes must agree")
        return self._tensor(self.pair(x, y), a, b)

    def _of_the_full(self, x: Value, y: Value) -> tuple[Value | None, Value | None] | None:
        """Where the branches are told apart by whether there is anything, and with nothing neither
        tensor has elements, but another number of dims: the tensor there is where there is
        something stands for both."""
        size, then_full = self.ev.fullness.get(self.condition, (None, True))
        if size is None or x.ndim == y.ndim or x.dtype is not y.dtype or not all(
                divides(size, v.numel) for v in (x, y)):
            return None
        return (x, None) if then_full else (None, y)

    def _numbers(self, a: object, b: object) -> Callable:
        kinds = {number_type(a), number_type(b)}
        if len(kinds) > 1:
            if bool in kinds:
                return self._cannot(f"it is {describe(a)} on one path and {describe(b)} on the "
                                    "other")
            a = self._in(self.then, lambda: convert(self.ev, a, float))
            b = self._in(self.otherwise, lambda: convert(self.ev, b, float))
        x = self._in(self.then, lambda: self.ev.value_of(a))
        y = self._in(self.otherwise, lambda: self.ev.value_of(b))
        return self._number(self.pair(x, y))

    def _maybe(self, a: object, b: object) -> Callable:
        """None on one path, or perhaps on both."""
        flags = [self._in(branch, lambda x=x: present(self.ev, x))
                 for branch, x in ((self.then, a), (self.otherwise, b))]
        k = self.pair(*flags)
        inner = self.merge(*(UNINITIALIZED if x is None else x.value if type(x) is Maybe else x
                             for x in (a, b)))

        def maybe(results: list[Value]) -> object:
            value = inner(results)
            results[k].wrapped = True
            return value if isinstance(value, Unknown) else Maybe(results[k], value)

        return maybe

    def _lists(self, a: list, b: list) -> Callable:
        """Lists whose length depends on the branch."""
        left = self._in(self.then, lambda: as_rows(self.ev, a, b))
        right = self._in(self.otherwise, lambda: as_rows(self.ev, b, a))
        if left is None or right is None or left.number is not right.number or (
                left.data.dtype is not right.data.dtype
                or left.data.shape[1:] != right.data.shape[1:]):
            return self._cannot(f"it is {describe(a)} on one path and {describe(b)} on the other")
        x = self._in(self.then, lambda: self.ev.memory.read(left.data))
        y = self._in(self.otherwise, lambda: self.ev.memory.read(right.data))
        k = self.pair(x, y)
        return lambda results: [Rows(AbstractTensor(Storage(results[k])), left.number)]

    def _strings(self, a: str | Choice, b: str | Choice) -> Callable:
        x = self._in(self.then, lambda: number_of(self.ev, a))
        y = self._in(self.otherwise, lambda: number_of(self.ev, b))
        k = self.pair(x, y)
        return lambda results: Choice(results[k])

    def _in(self, branch: Branch, fn: Callable):
        with self.ev.memory.inside(branch.region):
            return fn()

    def placeholder(self, branch: Branch, like: Value) -> Value:
        other = self.otherwise if branch is self.then else self.then
        inside = set(defined(other.region))
        shape = [0 if inside.intersection(size_values((n,))) else n for n in like.shape]
        return self._in(branch, lambda: self.ev.memory.build(
            lambda: B.full(shape, 0, like.dtype)))


def _merge(ev: Evaluator, condition: Value, then: Branch, otherwise: Branch) -> list:
    """Appends the If and gives the merged outputs; merges what both branches changed."""
    merger = _Merger(ev, condition, then, otherwise)
    outputs = [merger.merge(a, b) for a, b in zip(then.outputs, otherwise.outputs)]
    storages = {}
    for storage in {**then.storages, **otherwise.storages}:
        if storage.serial > then.serial:
            continue
        x, y = (b.storages.get(storage, storage.current) for b in (then, otherwise))
        if x.ndim != y.ndim or x.dtype is not y.dtype:
            raise ValueError("a tensor changes how many dims it has under a condition known only "
                             "at run time")
        storages[storage] = merger.pair(x, y)
    containers = []
    for key in {**then.containers, **otherwise.containers}:
        container = (then.containers.get(key) or otherwise.containers[key])[0]
        changed = [side for side in (then, otherwise) if key in side.containers]
        complete_attributes(ev, container, *(side.containers[key][1] for side in changed))
        a, b = (side.containers.get(key, (None, container))[1] for side in (then, otherwise))
        _read_after(ev, a, then)
        _read_after(ev, b, otherwise)
        containers.append((container, merger.merge(a.copy(), b.copy())))
    merger.kin.keep(merger.pair)
    results: list[Value] = []
    if merger.pairs:
        for x, y in merger.pairs:
            then.region.results.append(x if x is not None else merger.placeholder(then, y))
            otherwise.region.results.append(y if y is not None else
                                            merger.placeholder(otherwise, x))
        results = B.branch(condition, then.region, otherwise.region).results
    elif has_effects(then.region) or has_effects(otherwise.region):
        ev.memory.region.ops.append(If(condition, then.region, otherwise.region))
    for v in results:
        v.origin = ev.memory.origin
    for storage, k in storages.items():
        ev.memory.set_current(storage, results[k])
    for container, content in containers:
        merged = content(results)
        if isinstance(merged, Unknown):  # an error as soon as something uses the container
            unknown = Unknown(f"a list or dict changes under a condition known only at run time: "
                              f"{merged.problem}")
            merged = {None: unknown} if isinstance(container, dict) else [unknown]
        ev.memory.mutate(container)
        replace_content(container, merged)
    for storage in (*then.stale, *otherwise.stale):
        ev.memory.set_stale(storage, True)
    merged_outputs = [fn(results) for fn in outputs]
    merger.kin.connect(results)
    return merged_outputs


def choose(ev: Evaluator, condition: Value, a: object, b: object) -> object:
    """a if the condition holds, else b: values that exist already."""
    branches = []
    for x in (a, b):
        branch = Branch(Region(), [x], serial=Storage._serials)
        with ev.memory.inside(branch.region):
            _read_all(ev, x, branch.values)
        branch.rivals = {t.storage: rivals(t.storage) for t in branch.values}
        branches.append(branch)
    return _merge(ev, condition, *branches)[0]


def has_effects(region: Region) -> bool:
    """Whether a Check stands in the region or below it."""
    return any(
        isinstance(op, Check) or any(map(has_effects, op.regions())) for op in region.ops
    )
