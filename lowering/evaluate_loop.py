"""prim::Loop.

A known trip count and known conditions unroll. A loop that depends on run-time data, or one of many
turns over tensors whose state is stable, becomes a tensor_ir.Loop. What it carries is found by
evaluating the body until nothing new changes: first everything is taken to stay as it is, then the
values and storages that did not are made parameters of the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowering import build as B
from lowering import expr as E
from lowering.abstract import UNINITIALIZED, AbstractTensor, Maybe, Raised, Storage, Unknown
from lowering.evaluate_attributes import complete_attributes
from lowering.evaluate_if import has_effects
from lowering.evaluate_lists import as_rows
from lowering.evaluate_optional import present
from lowering.graph import Block, Node
from lowering.loop_state import (
    Unstable, aliases_of, leaves, leaves_like, link_aliases, rebuild, same, zeros_like,
)
from lowering.sizes import Number, Size, forget
from lowering.tensor_ir import Loop, Region, Value, defined
from lowering.types import TensorType
from runtime.dtypes import i64
from runtime.errors import CompileError

if TYPE_CHECKING:
    from lowering.evaluator import Env, Evaluator

# A loop over tensors of more turns than this is kept as a loop, if it can be.
UNROLLED_TURNS = 64
# A loop that is still running after this many turns at compile time is given up.
MOST_TURNS = 1_000_000
# Evaluations of a body until what it carries is found; each but the last finds something new.
MOST_ATTEMPTS = 200
Loose = tuple[int, int]  # (which carried Value, which dim): its size changes from turn to turn


def run_loop(ev: Evaluator, node: Node, env: Env) -> list:
    """The Loop's outputs."""
    trip, running = env[node.inputs[0]], env[node.inputs[1]]
    state = [env[v] for v in node.inputs[2:]]
    block = node.blocks[0]
    if isinstance(trip, AbstractTensor):
        trip = ev.to_number(ev.item(trip), int)
    if isinstance(running, AbstractTensor):
        running = ev.to_number(ev.item(running), bool)
    if (running is True and isinstance(trip, int) and UNROLLED_TURNS < trip < MOST_TURNS
            and not ev.memory.eager and _has_tensors(block)):
        kept = _try_to_keep(ev, node, env, trip, state)
        if kept is not None:
            return kept
    turn = 0
    while True:
        for x in (trip, running):
            if isinstance(x, Unknown):
                return _survey(ev, node, env, x)
        if isinstance(trip, Value) or isinstance(running, Value):
            try:
                return _keep(ev, node, env, turn, trip, running, state)
            except Unstable as e:
                raise ValueError(f"a loop whose end is known only at run time: {e}") from None
            except Raised as e:  # its first turn does, so there must be none
                ev.check(_ends_at_once(ev, turn, trip, running), str(e.message), e.where)
                return state
        if not running or turn >= trip:  # type: ignore[operator]
            return state
        if turn >= MOST_TURNS:
            raise ValueError(f"a loop does not end after {MOST_TURNS} turns at compile time")
        running, *state = ev.run_block(block, [turn, *state], env)
        if isinstance(running, AbstractTensor):
            running = ev.to_number(ev.item(running), bool)
        turn += 1


def _ends_at_once(ev: Evaluator, turn: int, trip: int | Value, running: bool | Value) -> Value:
    """Whether a loop takes no turn from here on."""
    return ev.memory.build(lambda: B.pointwise(
        lambda t, r: (t <= turn) | E.eq(r, 0), ev.value_of(trip), ev.value_of(running), dtype=i64))


def _has_tensors(block: Block) -> bool:
    return any(isinstance(v.type, TensorType) for n in block.walk() for v in n.outputs)


def _survey(ev: Evaluator, node: Node, env: Env, unknown: Unknown) -> list:
    """The end cannot be told because of an unsupported operator: look for more in the body."""
    ev.use(unknown)
    ev.run_block(node.blocks[0], [Unknown(None)] * len(node.blocks[0].params), env)
    return [Unknown(None) for _ in node.outputs]


def _try_to_keep(ev: Evaluator, node: Node, env: Env, trip: int, state: list) -> list | None:
    """The outputs of a loop kept as one; None where it must be unrolled."""
    problems = dict(ev.problems)
    try:
        kept = _keep(ev, node, env, 0, trip, True, state, known=True)
        if len(ev.problems) == len(problems):
            return kept
    except (Unstable, CompileError, Raised, ValueError, TypeError):
        pass
    ev.problems = problems
    return None


def _keep(ev: Evaluator, node: Node, env: Env, start: int, trip: int | Value,
          running: bool | Value, state: list, known: bool = False) -> list:
    """Appends a Loop that begins at turn `start`; gives the outputs. known: it could be unrolled,
    so sizes must not depend on the turn."""
    state, count = list(state), len(state)
    attributes: list[tuple] = []  # (container, key): their values follow what the node carries
    varying: set[int] = set()
    written: dict[Storage, None] = {}
    loose: dict[Loose, None] = {}
    aliases: set[tuple[int, Storage | int]] = set()
    stale: set[Storage] = set()
    for _ in range(MOST_ATTEMPTS):
        attempt = _Body(ev, node, env, start, state, attributes, varying, written, loose, aliases,
                        stale)
        most = ev.memory.sizes.get(trip, trip) if isinstance(trip, Value) else trip
        if not isinstance(most, Value):
            attempt.turns = most - start
        attempt.known = known
        settled = attempt.run()
        forget(defined(attempt.region))
        if settled:
            break
        if loose and known:
            raise Unstable("sizes change from turn to turn, whose number is known")
    else:
        raise Unstable("what it carries does not settle")
    conditional = not (running is True and attempt.condition is True)
    inits = [v for k in sorted(varying) for v in attempt.inits[k]]
    inits += [s.current for s in written]
    inits += [ev.memory.build(lambda n=n: B.full((), n, i64)) for n in attempt.first_sizes()]
    first = ev.value_of(running) if conditional else None
    attempt.region.results = attempt.yields(conditional)
    if isinstance(trip, Value):
        if start:
            total = trip
            trip = ev.memory.build(lambda: B.pointwise(lambda t: t - start, total, dtype=i64))
    elif trip != 2**63 - 1:
        trip = trip - start
    op = Loop(trip, first, inits, attempt.region)
    attempt.set_sizes(op.results)
    if inits or has_effects(attempt.region):
        ev.memory.region.ops.append(op)
    for v in op.results:
        v.origin = ev.memory.origin
    results = iter(op.results)
    outputs = list(state)
    for k in sorted(varying):
        outputs[k] = rebuild(state[k], results)
    for storage in written:
        ev.memory.set_current(storage, next(results))
    link_aliases(ev, outputs, state, varying, aliases)  # later: what they hold now is the truth
    for storage in stale:
        ev.memory.set_stale(storage, True)
    for (owner, name), value in zip(attributes, outputs[count:]):
        ev.memory.mutate(owner)
        owner[name] = value
    return outputs[:count]


class _Body:
    """One evaluation of the body with some of the state as parameters."""

    def __init__(self, ev: Evaluator, node: Node, env: Env, start: int, state: list,
                 attributes: list[tuple], varying: set[int],
                 written: dict[Storage, None], loose: dict[Loose, None],
                 aliases: set[tuple[int, Storage | int]], stale: set[Storage]):
        self.ev, self.node, self.env, self.start = ev, node, env, start
        self.state, self.varying, self.written, self.loose = state, varying, written, loose
        self.attributes, self.aliases, self.stale = attributes, aliases, stale
        self.turns: Number | None = None  # at most, where it is known
        self.known = False  # the number of turns is: sizes and lengths must stay what they are
        self.region = Region()
        self.inits = {k: leaves(ev, state[k]) for k in varying}
        self.condition: object = True
        self._yields: list[Value] = []
        self.growing: list[tuple[list, list]] = []  # lists whose length is another after a turn

    def run(self) -> bool:
        """Evaluates; False if something else than assumed changes (which is noted)."""
        ev = self.ev
        with ev.memory.frame() as frame:
            try:
                with ev.memory.inside(self.region):
                    grown = self._evaluate(frame)
            finally:
                storages, containers = ev.memory.undo(frame)
            for container, content in containers.values():
                if not same(container, content):
                    grown |= self._carry_content(container, content)
        if self.growing and self.known:
            raise Unstable("a list changes its length in turns whose number is known")
        for container, content in self.growing:
            rows = as_rows(ev, container, content)
            if rows is None:
                raise Unstable("a list changes its length in its body, and its elements are not "
                               "numbers of one type or tensors of one shape")
            ev.memory.mutate(container)
            container[:] = [rows]
        return not grown

    def _carry_content(self, container: object, content: object) -> bool:
        """Adds what the body has set in an object, list or dict to what the loop carries; whether
        there was something new. Lengths and keys stay what they are."""
        complete_attributes(self.ev, container, content)
        found = False
        keys = _keys(container)
        if keys != _keys(content) and isinstance(container, list):
            self.growing.append((container, content))
            return True
        if keys != _keys(content):
            raise Unstable("a list or dict changes its length in its body")
        for key in keys:
            value = container[key]  # type: ignore[index]
            known = any(owner is container and key == k for owner, k in self.attributes)
            if not known and not same(value, content[key]):  # type: ignore[index]
                self.attributes.append((container, key))
                self.state.append(value)
                found = True
        return found

    def _evaluate(self, frame) -> bool:
        ev, region = self.ev, self.region
        counter = Value((), i64, wrapped=True)
        region.params.append(counter)
        if self.turns is not None:
            ev.bounds[counter] = 0, self.turns - 1
        args = list(self.state)
        carried: list[Value] = []
        for k in sorted(self.varying):
            params = [Value(v.shape, v.dtype, wrapped=v.wrapped) for v in self.inits[k]]
            carried.extend(params)
            args[k] = rebuild(self.state[k], iter(params))
        link_aliases(ev, args, self.state, self.varying, self.aliases)
        for storage in self.written:
            param = Value(storage.current.shape, storage.current.dtype)
            carried.append(param)
            ev.memory.set_current(storage, param)
        region.params += [*carried, *(Value((), i64) for _ in self.loose)]
        self.set_sizes(region.params[1:])
        for storage in self.stale:
            ev.memory.set_stale(storage, True)
        turn: object = counter
        if self.start:
            turn = ev.memory.build(
                lambda: B.pointwise(lambda c: c + self.start, counter, dtype=i64))
            turn.wrapped = True  # type: ignore[attr-defined]
        count = len(args) - len(self.attributes)
        for (owner, name), value in zip(self.attributes, args[count:]):
            ev.memory.mutate(owner)
            owner[name] = value
        self.condition, *outputs = ev.run_block(self.node.blocks[0], [turn, *args[:count]],
                                                self.env)
        outputs += [owner[name] for owner, name in self.attributes]
        if isinstance(self.condition, AbstractTensor):
            self.condition = ev.to_number(ev.item(self.condition), bool)
        ev.use(self.condition)
        grown = False
        for k, (a, b) in enumerate(zip(args, outputs)):
            if k in self.varying:
                self._yields += leaves_like(ev, b, self.inits[k], self.state[k])
            elif not same(a, b):
                if a is UNINITIALIZED:
                    self.state[k] = zeros_like(ev, b)
                elif a is None or b is None or type(b) is Maybe:
                    self.state[k] = self._maybe(a, b)
                self.varying.add(k)
                grown = True
        for storage in frame.storages:
            if storage.serial <= frame.serial and storage not in self.written:
                self.written[storage] = None
                grown = True
        for storage in self.written:
            self._yields.append(storage.current)
        if grown:
            self.loose.clear()  # it counts what is carried, which has become more
        else:
            grown = self._compare_sizes(carried)
        found = aliases_of(args, outputs, self.varying, frame.serial)
        stale = {s for s in frame.stale if s.stale and s.serial <= frame.serial}
        if not (found <= self.aliases and stale <= self.stale):
            self.aliases |= found
            self.stale |= stale
            grown = True
        if not grown:
            ending = ev.value_of(self.condition)
            self._yields.insert(0, ending)
        return grown

    def _maybe(self, a: object, b: object) -> object:
        """What is None before or after a turn, as something that may be."""
        if type(a) is Maybe:
            return a
        like = b.value if type(b) is Maybe else b
        value = a if a is not None else zeros_like(self.ev, like)
        with self.ev.memory.inside(self.ev.memory.regions[-2]):
            return Maybe(present(self.ev, a), value)

    def _compare_sizes(self, params: list[Value]) -> bool:
        """Notes which dims of what is carried have another size after a turn, and carries those
        sizes; whether there was a new one."""
        before = len(self.loose)
        for k, (v, param) in enumerate(zip(self._yields, params)):
            for d, (n, m) in enumerate(zip(v.shape, param.shape)):
                if n != m:
                    self.loose[k, d] = None
        self._yields += [self.ev.memory.build(lambda n=self._yields[k].shape[d]: B.full((), n, i64))
                         for k, d in self.loose]
        return len(self.loose) > before

    def first_sizes(self) -> list[Number]:
        """What the carried sizes are before the first turn."""
        inits = [v for k in sorted(self.varying) for v in self.inits[k]]
        inits += [s.current for s in self.written]
        return [inits[k].shape[d] for k, d in self.loose]

    def set_sizes(self, values: list[Value]) -> None:
        """Makes the last of `values` the sizes that the others have."""
        for (k, d), size in zip(self.loose, values[len(values) - len(self.loose):]):
            shape = list(values[k].shape)
            shape[d] = Size(size)
            values[k].shape = tuple(shape)

    def yields(self, conditional: bool) -> list[Value]:
        return self._yields if conditional else self._yields[1:]


def _keys(container: object) -> list:
    return list(container) if isinstance(container, dict) else list(
        range(len(container)))  # type: ignore[arg-type]
